//! `panoply-nlp`: language, from raw text to a decoded answer.
//!
//! - [`preprocess`]: the tokenizer that travels with the weights; batches of tokens.
//! - [`models`]: encoders of the BERT family decoders that generate, in their published layouts; taggers.
//! - [`tasks`]: what the command line offers, and the types behind it for library users.
//!
//! ```
//! use panoply_core::{Predictor, RunContext};
//! use panoply_nlp::tasks::embed::Embedder;
//!
//! // A folder, or a name on the Hub such as "sentence-transformers/all-MiniLM-L6-v2".
//! let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/bert");
//! let embedder = Embedder::open(folder, &RunContext::cpu())?;
//! let vectors = embedder.predict(&["A quick fox".into(), "The lazy dog".into()])?;
//! let similarity: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
//! assert!(vectors[0].len() == 32 && similarity.abs() <= 1.0 + 1e-6);
//! # Ok::<(), panoply_core::Error>(())
//! ```

pub mod models;
pub mod preprocess;
pub mod tasks;

use panoply_core::Pipeline;

/// The pipeline.
pub const PIPELINE: Pipeline = Pipeline {
    name: "nlp",
    about: "language: embeddings, masked words, text classification, named entities, answers to questions, generation, word segmentation",
    tasks: tasks::ALL,
};
