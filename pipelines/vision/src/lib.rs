//! Vision: image classification from published checkpoints, from raw bytes to labels.
//!
//! ```
//! use panoply_core::{Predictor, RunContext};
//! use panoply_vision::tasks::classify::Classifier;
//!
//! # fn main() -> panoply_core::Result<()> {
//! let classifier = Classifier::open("efficientnet-lite0", &RunContext::cpu())?;
//! let (name, bytes) = panoply_datasets::bundled::photos()[0];
//! let photo = panoply_datasets::image::decode(bytes, name)?;
//! let labels = &classifier.predict(&[photo])?[0].labels;
//! assert_eq!(labels.len(), 5);
//! println!("{name}: {} ({:.2})", labels[0].label, labels[0].score);
//! # Ok(())
//! # }
//! ```

pub mod augment;
pub mod models;
pub mod preprocess;
pub mod tasks;

use panoply_core::Pipeline;

/// The vision pipeline.
pub const PIPELINE: Pipeline = Pipeline {
    name: "vision",
    about: "images: classification from published checkpoints, training, evaluation, explanation",
    tasks: tasks::ALL,
};
