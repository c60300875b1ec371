//! The recipes of `nlp generate`: typed configs, one function each.

use panoply_core::{
    RecipeInfo, Result,
    fit::{BestMetric, FitConfig, Mode, OptimizerConfig, ScheduleConfig},
    recipe,
    weights::SaveDtype,
};
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "a tiny character model on the bundled slice of Shakespeare, seconds: does everything work?",
    },
    RecipeInfo {
        name: "shakespeare-char",
        about: "nanoGPT's character model for a CPU, 2,000 steps, the recipe of the bundled model; --data a text",
    },
    RecipeInfo {
        name: "finetune",
        about: "go on training --model (a folder or a Hub name) on --data, a text or a folder of texts; not measured",
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
    /// Element type of the weights in the model folder.
    pub dtype: SaveDtype,
    /// The training loop; an epoch ends with a validation and has `data.steps_per_epoch` steps.
    pub fit: FitConfig,
}

/// Which text, and how it is split.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Train on the bundled slice of Shakespeare unless `--data` names a text.
    pub bundled: bool,
    /// Fraction of the text, at its end, that is for validation.
    pub validation: f64,
    /// Batches between two validations; `null` for as many as hold the text once.
    pub steps_per_epoch: Option<usize>,
}

/// Which network: a GPT-2 over characters. With `--model` its weights, sizes and tokenizer are the start
/// instead, and of this only `block_size` counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Whether `--model` must name a model to start from.
    pub pretrained: bool,
    /// Tokens of a training block; of a new model the context too.
    pub block_size: usize,
    /// Layers.
    pub n_layer: usize,
    /// Heads; divides `n_embd`.
    pub n_head: usize,
    /// Features of a token.
    pub n_embd: usize,
    /// Dropout everywhere.
    pub dropout: f64,
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        recipe::named(
            name,
            RECIPES,
            &[Self::debug, Self::shakespeare_char, Self::finetune],
        )
    }

    /// `cargo xtask train nlp generate --recipe debug`: seconds on two cores.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                validation: 0.1,
                steps_per_epoch: Some(25),
            },
            model: ModelConfig {
                pretrained: false,
                block_size: 32,
                n_layer: 2,
                n_head: 2,
                n_embd: 32,
                dropout: 0.0,
            },
            dtype: SaveDtype::F32,
            fit: FitConfig {
                epochs: 4,
                batch_size: 16,
                optimizer: OptimizerConfig {
                    lr: 1e-2,
                    weight_decay: 0.1,
                    beta_2: 0.99,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    warmup_steps: 10,
                    final_lr_ratio: 0.1,
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

    /// `cargo xtask train nlp generate --recipe shakespeare-char --data input.txt`, with tiny Shakespeare
    /// (1,115,394 characters): the published setting of nanoGPT for a CPU, which states a validation loss
    /// of 1.88 for it.
    pub fn shakespeare_char() -> Self {
        let debug = Self::debug();
        Self {
            data: DataConfig {
                bundled: false,
                steps_per_epoch: Some(250),
                ..debug.data
            },
            model: ModelConfig {
                block_size: 64,
                n_layer: 4,
                n_head: 4,
                n_embd: 128,
                ..debug.model
            },
            dtype: SaveDtype::F16,
            fit: FitConfig {
                epochs: 8,
                batch_size: 12,
                optimizer: OptimizerConfig {
                    lr: 1e-3,
                    ..debug.fit.optimizer
                },
                schedule: ScheduleConfig {
                    warmup_steps: 100,
                    ..debug.fit.schedule
                },
                ..debug.fit
            },
        }
    }

    /// `cargo xtask train nlp generate --recipe finetune --model DIR --data DIR`. Not measured.
    pub fn finetune() -> Self {
        let debug = Self::debug();
        Self {
            data: DataConfig {
                bundled: false,
                validation: 0.1,
                steps_per_epoch: None,
            },
            model: ModelConfig {
                pretrained: true,
                block_size: 256,
                ..debug.model
            },
            fit: FitConfig {
                epochs: 3,
                batch_size: 8,
                optimizer: OptimizerConfig {
                    lr: 5e-5,
                    weight_decay: 0.0,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    warmup_epochs: 0.1,
                    ..ScheduleConfig::default()
                },
                checkpoint_every_steps: Some(200),
                ..debug.fit
            },
            ..debug
        }
    }
}
