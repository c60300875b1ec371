//! `panoply-runner`: the command line over every pipeline, and the only crate that names them all.
//!
//! The binary is `panoply`; `cargo xtask <verb> …` builds it with just the pipeline asked for.
//! Exit codes: 0; 2 for wrong usage or input, with one line on stderr; 1 for a failure of ours;
//! 130 after Ctrl-C (the state is saved and the line says how to resume).

mod cli;
mod inputs;
mod lines;
mod model;
mod print;
#[cfg(feature = "nlp")]
mod tokenizer;
mod verbs;

pub use cli::main;

use panoply_core::{Error, Pipeline, Result};

/// Every pipeline that was compiled in, in the order in which they are listed.
pub const PIPELINES: &[&Pipeline] = &[
    #[cfg(feature = "anomaly")]
    &panoply_anomaly::PIPELINE,
    #[cfg(feature = "nlp")]
    &panoply_nlp::PIPELINE,
    #[cfg(feature = "recommendation")]
    &panoply_recommendation::PIPELINE,
    #[cfg(feature = "vision")]
    &panoply_vision::PIPELINE,
];

/// The pipeline called `name`, or an error that lists the known ones.
pub fn pipeline(name: &str) -> Result<&'static Pipeline> {
    let found = PIPELINES.iter().find(|pipeline| pipeline.name == name);
    found
        .copied()
        .ok_or_else(|| Error::unknown("pipeline", name, PIPELINES.iter().map(|p| p.name)))
}
