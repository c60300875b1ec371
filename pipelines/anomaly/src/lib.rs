//! `panoply-anomaly`: what is unlike the rest.
//!
//! - [`models`]: detectors, one file each, behind the trait [`models::Detector`].
//! - [`tasks`]: what the command line offers, and the types behind it for library users.

pub mod models;
pub mod shap;
pub mod tasks;
pub mod threshold;

use panoply_core::Pipeline;

/// The pipeline.
pub const PIPELINE: Pipeline = Pipeline {
    name: "anomaly",
    about: "anomalies in tables: scores, thresholds, what speaks for them",
    tasks: tasks::ALL,
};
