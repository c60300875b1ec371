//! One file or folder a task.

mod series;

pub use series::{
    Config as SeriesConfig, DetectorConfig, Recipe as SeriesRecipe, Series, SeriesDetector,
    Settings as SeriesSettings, ThresholdConfig,
};

use panoply_core::Task;

/// Every task of this pipeline, in the order in which they are listed.
pub const ALL: &[&dyn Task] = &[&Series];
