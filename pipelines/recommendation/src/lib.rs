//! `panoply-recommendation`: from interactions of users with items to ranked items.
//!
//! - [`preprocess`]: interactions as training samples.
//! - [`models`]: popularity, neighbours, closed forms, matrix factorisation; all score all items.
//! - [`tasks`]: what the command line offers, and the types behind it for library users.

pub mod models;
pub mod preprocess;
pub mod tasks;

use panoply_core::Pipeline;

/// The pipeline.
pub const PIPELINE: Pipeline = Pipeline {
    name: "recommendation",
    about: "recommendation: items ranked for users",
    tasks: tasks::ALL,
};
