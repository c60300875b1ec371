//! The model that is compiled into the program; `weights/shakespeare-char/ORIGIN.md` says how it was made.

use super::{
    generator::Generator,
    settings::{Decoding, Settings},
};
use crate::{
    models::{CausalLmConfig, Decoder},
    preprocess::TextTokenizer,
};
use panoply_core::{Error, Result, RunContext, weights};
use serde::de::DeserializeOwned;

/// Name of the bundled model.
pub const BUNDLED: &str = "shakespeare-char";

macro_rules! file {
    ($include:ident, $name:literal) => {
        $include!(concat!("../../../weights/shakespeare-char/", $name))
    };
}

fn json<T: DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::Internal {
        context: format!("bundled {name}"),
        message: e.to_string(),
    })
}

/// The bundled model with the context's settings.
pub(super) fn open(context: &RunContext) -> Result<Generator> {
    let raw = json("config", file!(include_str, "config.json"))?;
    let config = CausalLmConfig::from_hf(&raw)?;
    let (vocab, length) = (config.vocab_size(), config.max_length());
    let tokenizer = file!(include_bytes, "tokenizer.json");
    let tokenizer = TextTokenizer::causal_from_json(tokenizer, vocab, length)?;
    let mut model = config.init(&context.device);
    let bytes = file!(include_bytes, "model.safetensors");
    let map = model.key_map();
    weights::load_bytes(&mut model, bytes, "bundled shakespeare-char", map)?;
    let settings: Settings = context.settings()?;
    let generation = json("generation", file!(include_str, "generation_config.json"))?;
    let decoding = Decoding::of(&settings, generation, &raw, BUNDLED, vocab)?;
    let card = json("card", file!(include_str, "panoply.json"))?;
    Generator::new(config, model, tokenizer, card, context)?.with_decoding(settings, decoding)
}
