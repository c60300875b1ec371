//! `panoply-core`: the neural engine that all six domains share.
//!
//! It knows tensors, blocks, training, weights and explanation. It names no pipeline, no data set
//! and no modality; nothing in it matches on a task's name (ARCHITECTURE.md, invariants).

// The template of `cargo xtask new task`, a test module of `task`, names this crate from outside.
#[cfg(test)]
extern crate self as panoply_core;

pub mod device;
pub mod error;
pub mod explain;
pub mod fit;
pub mod host;
pub mod hub;
pub mod model_folder;
pub mod nn;
pub mod plot;
pub mod predictions;
pub mod progress;
pub mod recipe;
pub mod report;
pub mod seed;
pub mod task;
pub mod train;
pub mod weights;

pub use error::{Error, Result, guard};
pub use model_folder::{ModelCard, ModelFolder, SizeClass};
pub use task::{
    Artefact, DataCheck, Evaluation, ExplainRequest, Input, InputKind, Output, Payload, Pieces,
    Pipeline, PredictOptions, Predictor, RecipeInfo, RunContext, Session, Shade, Task,
    answer_batch,
};
pub use train::{Conclusion, TrainOutcome, TrainRequest};
