//! The recipes of `nlp fill-mask`: typed configs, one function each.

use panoply_core::{
    RecipeInfo, Result,
    fit::{BestMetric, FitConfig, Mode, OptimizerConfig, ScheduleConfig},
    recipe,
};
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "a tiny BERT on the bundled slice of Shakespeare, seconds: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "a small BERT, or --model's weights, on --data, a text or a folder of texts; not measured",
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
    /// The training loop; an epoch ends with a validation and has `data.steps_per_epoch` steps.
    pub fit: FitConfig,
}

/// Which text, how it is split, and how much of it is hidden.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Train on the bundled slice of Shakespeare unless `--data` names a text.
    pub bundled: bool,
    /// Fraction of the text, at its end, that is for validation.
    pub validation: f64,
    /// Batches between two validations; `null` for as many as hold the text once.
    pub steps_per_epoch: Option<usize>,
    /// Probability that a token is to be guessed.
    pub mask_probability: f64,
}

/// Which network; with `--model` its weights, sizes and tokenizer are the start instead, and of this
/// only `block_size` counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Tokens of a new tokenizer at most.
    pub vocab_size: usize,
    /// Tokens of a block, special ones included; of a new model the longest sequence too.
    pub block_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Features of a token.
    pub hidden_size: usize,
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        recipe::named(name, RECIPES, &[Self::debug, Self::base])
    }

    /// `cargo xtask train nlp fill-mask --recipe debug`: seconds on two cores.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                validation: 0.1,
                steps_per_epoch: Some(25),
                mask_probability: 0.15,
            },
            model: ModelConfig {
                vocab_size: 400,
                block_size: 32,
                num_hidden_layers: 2,
                num_attention_heads: 2,
                hidden_size: 32,
            },
            fit: FitConfig {
                epochs: 4,
                batch_size: 16,
                optimizer: OptimizerConfig {
                    lr: 3e-3,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    warmup_steps: 10,
                    ..ScheduleConfig::default()
                },
                clip_norm: Some(1.0),
                best_metric: Some(BestMetric {
                    name: "loss".into(),
                    mode: Mode::Min,
                }),
                ..FitConfig::default()
            },
        }
    }

    /// `cargo xtask train nlp fill-mask --recipe base --data DIR`. Not measured.
    pub fn base() -> Self {
        let debug = Self::debug();
        Self {
            data: DataConfig {
                bundled: false,
                steps_per_epoch: None,
                ..debug.data
            },
            model: ModelConfig {
                vocab_size: 8000,
                block_size: 128,
                num_hidden_layers: 4,
                num_attention_heads: 4,
                hidden_size: 256,
            },
            fit: FitConfig {
                epochs: 10,
                batch_size: 32,
                optimizer: OptimizerConfig {
                    lr: 5e-4,
                    ..debug.fit.optimizer
                },
                schedule: ScheduleConfig {
                    warmup_epochs: 0.5,
                    ..ScheduleConfig::default()
                },
                checkpoint_every_steps: Some(500),
                ..debug.fit
            },
        }
    }
}
