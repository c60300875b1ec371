//! `panoply-nlp`: language, from raw text to a decoded answer.

pub mod models;
pub mod tasks;

use panoply_core::Pipeline;

/// The pipeline.
pub const PIPELINE: Pipeline = Pipeline {
    name: "nlp",
    about: "language: embeddings, classification, tagging, question answering, segmentation, generation",
    tasks: tasks::ALL,
};
