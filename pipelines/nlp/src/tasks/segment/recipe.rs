//! The recipes of `nlp segment`: typed configs, one function each.

use super::characters::Preprocessing;
use panoply_core::{
    RecipeInfo, Result,
    fit::{BestMetric, FitConfig, OptimizerConfig, ScheduleConfig},
    recipe,
    weights::SaveDtype,
};
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "a tiny tagger on the bundled slice of UD Chinese GSD (1,000 sentences), seconds: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "BiLSTM-CRF over characters, bigrams and known words; --data a segmented text or a folder with one for each split; 8 minutes an epoch of a million words; F1 .953 on the PKU test of SIGHAN 2005",
    },
    RecipeInfo {
        name: "small",
        about: "a BiLSTM-CRF of less than a megabyte, the recipe of the bundled model; --data as for base",
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
    /// How text becomes characters.
    pub preprocessing: Preprocessing,
    /// Element type of the weights in the model folder.
    pub dtype: SaveDtype,
    /// The training loop.
    pub fit: FitConfig,
}

/// Which text, and how it is split.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Train on the bundled slice of UD Chinese GSD unless `--data` names a data set.
    pub bundled: bool,
    /// Fraction of the training sentences held out where the set has no validation file.
    pub validation: f64,
}

/// Which network; `--model` names one whose weights, sizes and vocabulary are the start instead.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Architecture name.
    pub architecture: String,
    /// Occurrences below which a character is unknown.
    pub min_char_count: usize,
    /// Occurrences below which a bigram is unknown; 0 for a network without bigrams.
    pub min_bigram_count: usize,
    /// Features of a character.
    pub char_dim: usize,
    /// Features of a bigram.
    pub bigram_dim: usize,
    /// Features of each of a character's places in known words; 0 for a network without a lexicon.
    pub lexicon_dim: usize,
    /// Features of the hidden state in each direction.
    pub hidden_size: usize,
    /// Recurrent layers.
    pub num_layers: usize,
    /// Dropout on embeddings and hidden states.
    pub dropout: f64,
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        recipe::named(name, RECIPES, &[Self::debug, Self::base, Self::small])
    }

    /// `cargo xtask train nlp segment --recipe debug`: seconds on two cores.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                validation: 0.1,
            },
            model: ModelConfig {
                architecture: "bilstm_crf".into(),
                min_char_count: 1,
                min_bigram_count: 2,
                char_dim: 32,
                bigram_dim: 8,
                lexicon_dim: 0,
                hidden_size: 32,
                num_layers: 1,
                dropout: 0.1,
            },
            preprocessing: Preprocessing::default(),
            dtype: SaveDtype::F32,
            fit: FitConfig {
                epochs: 3,
                batch_size: 32,
                optimizer: OptimizerConfig {
                    lr: 1e-2,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    warmup_epochs: 0.3,
                    ..ScheduleConfig::default()
                },
                clip_norm: Some(5.0),
                best_metric: Some(BestMetric::max("f1")),
                ..FitConfig::default()
            },
        }
    }

    /// `cargo xtask train nlp segment --recipe base --data FILE`. Trained on the People's Daily of January
    /// 1998 (19,484 lines, which the PKU training file of SIGHAN 2005 is an edition of): word F1 .9532,
    /// recall of unknown words .7599, of known ones .9622 on the PKU test (1,944 lines) with the official
    /// word list; jieba 0.42.1 there: .8183. Validation F1 .9687. Without known words (`model.lexicon_dim=0`)
    /// F1 .9383 there, recall of unknown words .7759.
    pub fn base() -> Self {
        let debug = Self::debug();
        Self {
            data: DataConfig {
                bundled: false,
                validation: 0.05,
            },
            model: ModelConfig {
                min_bigram_count: 3,
                char_dim: 64,
                bigram_dim: 48,
                lexicon_dim: 16,
                hidden_size: 160,
                dropout: 0.4,
                ..debug.model
            },
            fit: FitConfig {
                epochs: 5,
                batch_size: 64,
                optimizer: OptimizerConfig {
                    lr: 2e-3,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    warmup_epochs: 0.2,
                    ..ScheduleConfig::default()
                },
                checkpoint_every_steps: Some(500),
                ..debug.fit
            },
            ..debug
        }
    }

    /// `cargo xtask train nlp segment --recipe small --data FOLDER`.
    pub fn small() -> Self {
        let base = Self::base();
        Self {
            model: ModelConfig {
                char_dim: 48,
                bigram_dim: 16,
                lexicon_dim: 0,
                hidden_size: 96,
                ..base.model
            },
            dtype: SaveDtype::F16,
            fit: FitConfig {
                epochs: 15,
                batch_size: 32,
                checkpoint_every_steps: None,
                ..base.fit
            },
            ..base
        }
    }
}
