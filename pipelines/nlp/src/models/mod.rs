//! The networks: encoders of the BERT family, decoders that generate text, taggers.
//!
//! Each config reads and writes `config.json` in Hugging Face's spelling (`from_hf`, `to_hf`), each
//! model has a `KEY_MAP` to the keys of the published weights. Token ids must be below the
//! vocabulary's size and sequences no longer than the positions; who makes the batch sees to it.

pub mod bert;
mod causal_lm;
mod decoder;
pub mod gpt2;
pub mod gpt_neo;
mod hf_config;
pub mod llama;
pub mod tagger;

pub use causal_lm::{CausalInput, CausalLm, CausalLmConfig};
pub use decoder::{Decoder, Visit};
