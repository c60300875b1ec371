//! The model that is compiled into the program; `weights/segment-ud-zh/ORIGIN.md` says how it was made.

use super::{
    characters::Vocabulary,
    segmenter::{Parts, Segmenter},
};
use burn::tensor::Device;
use panoply_core::{Error, Result};
use serde::de::DeserializeOwned;

/// Name of the bundled model.
pub const BUNDLED: &str = "segment-ud-zh";

macro_rules! file {
    ($include:ident, $name:literal) => {
        $include!(concat!("../../../weights/segment-ud-zh/", $name))
    };
}

fn json<T: DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::Internal {
        context: format!("bundled {name}"),
        message: e.to_string(),
    })
}

/// The bundled model on `device`.
pub(super) fn open(device: &Device) -> Result<Segmenter> {
    let bigrams = file!(include_str, "bigrams.txt");
    let vocabulary = Vocabulary::parse(BUNDLED, file!(include_str, "vocab.txt"), Some(bigrams))?;
    let words = file!(include_str, "words.txt").lines();
    let parts = Parts {
        config: json("config", file!(include_str, "config.json"))?,
        preprocessing: json(
            "preprocessing",
            file!(include_str, "preprocessor_config.json"),
        )?,
        card: json("card", file!(include_str, "panoply.json"))?,
        words: words.map(String::from).collect(),
        vocabulary,
    };
    let weights = file!(include_bytes, "model.safetensors");
    Segmenter::load(BUNDLED, parts, device, |tagger| {
        tagger
            .load_bytes(weights, "bundled segment-ud-zh")
            .map(drop)
    })
}
