//! The recipes of `nlp classify`: typed configs, one function each.

use crate::tasks::starting_point::{LoraSettings, ModelConfig, fine_tuning, tiny_fit};
use panoply_core::{RecipeInfo, Result, fit::FitConfig, recipe};
use panoply_datasets::Columns;
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "a tiny BERT from scratch on bundled messages in eight languages, 7 s, test accuracy 0.82: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "MiniLM (or --model) with a new head; --data a table of texts, or a folder of train, dev, test; accuracy not measured",
    },
    RecipeInfo {
        name: "lora",
        about: "as base, but low-rank adapters and the head alone are trained; leaves an adapter-only folder that peft loads too; accuracy not measured",
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
    /// Label smoothing (Szegedy et al. 2016), 0 for none; not with several classes a text.
    pub label_smoothing: f64,
    /// The training loop.
    pub fit: FitConfig,
}

/// Which texts, and how they are split.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Train on the bundled messages in eight languages unless `--data` names a data set.
    pub bundled: bool,
    /// Names of the columns.
    pub columns: Columns,
    /// Whether a text may have several classes, or none.
    pub multi_label: bool,
    /// Fraction of the training texts held out, class by class, where the set has no validation split.
    pub validation: f64,
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        recipe::named(name, RECIPES, &[Self::debug, Self::base, Self::lora])
    }

    /// `cargo xtask train nlp classify --recipe debug`: 7 s on two cores, test accuracy 0.82.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                columns: Columns::default(),
                multi_label: false,
                validation: 0.1,
            },
            model: ModelConfig::tiny(1000, 48),
            label_smoothing: 0.0,
            fit: tiny_fit(8, 32, 4e-3, "accuracy"),
        }
    }

    /// `cargo xtask train nlp classify --recipe base --data FOLDER [--model MODEL]`: the settings of the
    /// BERT paper's fine-tuning (Devlin et al., 2019, A.3), with the rate that small models like.
    pub fn base() -> Self {
        let small = Self::debug();
        Self {
            data: DataConfig {
                bundled: false,
                ..small.data
            },
            model: small.model.minilm(128),
            fit: fine_tuning(small.fit, 3, 5e-5),
            ..small
        }
    }

    /// `cargo xtask train nlp classify --recipe lora --data FOLDER [--model MODEL]`: as `base`, with
    /// adapters of rank 8 and their higher rate.
    pub fn lora() -> Self {
        let mut recipe = Self::base();
        recipe.model.lora = Some(LoraSettings {
            rank: 8,
            alpha: 16.0,
        });
        recipe.fit.optimizer.lr = 1e-3;
        recipe
    }
}
