//! The recipes of `nlp tokens`: typed configs, one function each.

use crate::tasks::starting_point::{ModelConfig, fine_tuning, tiny_fit};
use panoply_core::{RecipeInfo, Result, fit::FitConfig, recipe};
use panoply_datasets::TagColumns;
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "a tiny BERT from scratch on a bundled slice of WNUT-17 (600 sentences), 11 s, test F1 0.10: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "MiniLM (or --model) with a new head; --data tagged words (CoNLL, JSON lines), or a folder of train, dev, test; F1 not measured",
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
    /// The training loop.
    pub fit: FitConfig,
}

/// Which sentences, and how they are split.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Train on the bundled slice of WNUT-17 unless `--data` names a data set.
    pub bundled: bool,
    /// Columns of CoNLL files.
    pub columns: TagColumns,
    /// Fraction of the training sentences held out where the set has no validation file.
    pub validation: f64,
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        recipe::named(name, RECIPES, &[Self::debug, Self::base])
    }

    /// `cargo xtask train nlp tokens --recipe debug`: 11 s on two cores; a network that has read
    /// 600 sentences finds little, entity F1 0.10 on the bundled test sentences.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                columns: TagColumns::default(),
                validation: 0.1,
            },
            model: ModelConfig::tiny(1500, 96),
            fit: tiny_fit(12, 16, 5e-3, "f1"),
        }
    }

    /// `cargo xtask train nlp tokens --recipe base --data FOLDER [--model MODEL]`: the settings of the
    /// BERT paper's fine-tuning (Devlin et al., 2019, A.3), with a rate and a number of epochs for
    /// small models and small corpora. Entity F1: not measured.
    pub fn base() -> Self {
        let small = Self::debug();
        Self {
            data: DataConfig {
                bundled: false,
                ..small.data
            },
            model: small.model.minilm(128),
            fit: fine_tuning(small.fit, 5, 1e-4),
        }
    }
}
