//! The recipes of `nlp qa`: typed configs, one function each.

use crate::tasks::starting_point::ModelConfig;
use panoply_core::{
    RecipeInfo, Result,
    fit::{BestMetric, FitConfig, OptimizerConfig, ScheduleConfig, ScheduleName},
    recipe,
};
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "a tiny BERT from scratch on a bundled slice of SQuAD 1.1 (335 questions), 20 s, test F1 about 4 of 100: does everything work?",
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

    /// `cargo xtask train nlp qa --recipe debug`: 20 s on two cores. So small a network does not
    /// learn to read of 268 questions: exact match 0, F1 about 4 of 100 on the bundled test questions.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                validation: 0.2,
                doc_stride: 64,
            },
            model: ModelConfig {
                pretrained: None,
                lora: None,
                max_length: 192,
                vocab_size: 1500,
                hidden_size: 32,
                num_hidden_layers: 1,
                num_attention_heads: 2,
            },
            fit: FitConfig {
                epochs: 4,
                batch_size: 16,
                optimizer: OptimizerConfig {
                    lr: 3e-3,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    warmup_epochs: 0.3,
                    ..ScheduleConfig::default()
                },
                clip_norm: Some(1.0),
                best_metric: Some(BestMetric::max("f1")),
                ..FitConfig::default()
            },
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
            model: ModelConfig {
                pretrained: Some(super::super::embed::DEFAULT.into()),
                max_length: 384,
                ..small.model
            },
            fit: FitConfig {
                epochs: 3,
                optimizer: OptimizerConfig {
                    lr: 1e-4,
                    weight_decay: 0.01,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    name: ScheduleName::Linear,
                    warmup_epochs: 0.3,
                    ..ScheduleConfig::default()
                },
                best_metric: None,
                ..small.fit
            },
        }
    }
}
