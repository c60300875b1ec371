//! The recipes of `nlp qa`: typed configs, one function each.

use crate::tasks::starting_point::{ModelConfig, fine_tuning, tiny_fit};
use panoply_core::{RecipeInfo, Result, fit::FitConfig, recipe};
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "a tiny BERT from scratch on a bundled slice of SQuAD 1.1 (335 questions), 14 s, test F1 0.5 of 100: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "MiniLM (or --model) with a new head; --data a SQuAD file, or a folder of train, dev, test; F1 not measured",
    },
];

/// Everything that decides what a run computes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Data.
    pub data: DataConfig,
    /// Model.
    pub model: ModelConfig,
    /// The training loop; a sample is a window.
    pub fit: FitConfig,
}

/// Which questions, and how they are split.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Train on the bundled slice of SQuAD unless `--data` names a data set.
    pub bundled: bool,
    /// Fraction of the training articles held out where the set has no validation file: the last ones in
    /// the order of their titles.
    pub validation: f64,
    /// Tokens that two windows of a long text have in common.
    pub doc_stride: usize,
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        recipe::named(name, RECIPES, &[Self::debug, Self::base])
    }

    /// `cargo xtask train nlp qa --recipe debug`: 14 s on two cores. So small a network does not
    /// learn to read of 268 questions: exact match 0, F1 0.5 of 100 on the bundled test questions.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                validation: 0.2,
                doc_stride: 64,
            },
            model: ModelConfig::tiny(1500, 192),
            fit: tiny_fit(4, 16, 3e-3, "f1"),
        }
    }

    /// `cargo xtask train nlp qa --recipe base --data FILE [--model MODEL]`: the settings of transformers'
    /// `run_qa` example (windows of 384 tokens, 128 in common), with a rate for small models; the weights of
    /// the last epoch. EM and F1: not measured.
    pub fn base() -> Self {
        let small = Self::debug();
        Self {
            data: DataConfig {
                bundled: false,
                validation: 0.2,
                doc_stride: 128,
            },
            model: small.model.minilm(384),
            fit: FitConfig {
                best_metric: None,
                ..fine_tuning(small.fit, 3, 1e-4)
            },
        }
    }
}
