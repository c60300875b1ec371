//! The recipes of `nlp tokens`: typed configs, one function each.

use crate::tasks::starting_point::ModelConfig;
use panoply_core::{
    RecipeInfo, Result,
    fit::{BestMetric, FitConfig, OptimizerConfig, ScheduleConfig, ScheduleName},
    recipe,
};
use panoply_datasets::TagColumns;
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "a tiny BERT from scratch on a bundled slice of WNUT-17 (600 sentences), 10 s, test F1 0.09: does everything work?",
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

    /// `cargo xtask train nlp tokens --recipe debug`: 10 s on two cores; a network that has read
    /// 600 sentences finds little, entity F1 0.09 on the bundled test sentences.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                columns: TagColumns::default(),
                validation: 0.1,
            },
            model: ModelConfig {
                pretrained: None,
                lora: None,
                max_length: 96,
                vocab_size: 1500,
                hidden_size: 32,
                num_hidden_layers: 1,
                num_attention_heads: 2,
            },
            fit: FitConfig {
                epochs: 12,
                batch_size: 16,
                optimizer: OptimizerConfig {
                    lr: 5e-3,
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
            model: ModelConfig {
                pretrained: Some(super::super::embed::DEFAULT.into()),
                max_length: 128,
                ..small.model
            },
            fit: FitConfig {
                epochs: 5,
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
                ..small.fit
            },
        }
    }
}
