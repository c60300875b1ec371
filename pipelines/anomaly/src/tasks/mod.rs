//! One file or folder a task.

pub mod drift;
pub mod series;
pub mod table;

use panoply_core::Task;

/// Every task of this pipeline, in the order in which they are listed.
pub const ALL: &[&dyn Task] = &[&table::Table, &series::Series, &drift::DriftTask];
