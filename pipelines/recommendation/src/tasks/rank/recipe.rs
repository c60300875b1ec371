//! The recipes of `recommendation rank`: typed configs, one function each.

use super::protocol::Protocol;
use crate::models::{
    ModelConfig, als::AlsConfig, bpr::BprConfig, ease::EaseConfig, item_knn::ItemKnnConfig,
    light_gcn::LightGcnConfig, neu_mf::NeuMfConfig, sas_rec::SasRecConfig,
};
use panoply_core::{
    RecipeInfo, Result,
    fit::{
        BestMetric, EarlyStopping, FitConfig, Mode, OptimizerConfig, ScheduleConfig, ScheduleName,
    },
    recipe,
};
use panoply_datasets::{InteractionOptions, SplitConfig};
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "small BPR-MF on the bundled generated interactions, seconds: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "EASE, the closed form; --data a table of interactions or a folder with a file for each part",
    },
    RecipeInfo {
        name: "pop",
        about: "the most popular items for everybody; --data as for base",
    },
    RecipeInfo {
        name: "item-knn",
        about: "the 100 nearest items by cosine similarity; --data as for base",
    },
    RecipeInfo {
        name: "ease",
        about: "the same as base",
    },
    RecipeInfo {
        name: "als",
        about: "implicit-feedback ALS, 64 factors, 15 iterations; --data as for base",
    },
    RecipeInfo {
        name: "bpr",
        about: "BPR-MF, 64 numbers a vector, Adam 1e-3, up to 300 epochs, stopped early by MRR@10; --data as for base",
    },
    RecipeInfo {
        name: "neu-mf",
        about: "NeuMF, 64 numbers a vector, layers of 128 and 64, trained as bpr; --data as for base",
    },
    RecipeInfo {
        name: "light-gcn",
        about: "LightGCN, 64 numbers a vector, 2 layers, trained as bpr; --data as for base",
    },
    RecipeInfo {
        name: "sas-rec",
        about: "SASRec over the last 50 items, 2 layers of 64 features; --data as for base, with timestamps",
    },
];

/// Everything that decides what a run computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Data.
    pub data: DataConfig,
    /// Model.
    pub model: ModelConfig,
    /// How it is scored.
    pub protocol: Protocol,
    /// The training loop; `null` for models that need no steps of an optimiser.
    pub fit: Option<FitConfig>,
}

/// Which interactions, and how they are split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Train on the bundled generated interactions unless `--data` names others.
    pub bundled: bool,
    /// Columns and filters.
    pub columns: InteractionOptions,
    /// Training, validation and test part of a file; a folder has its own.
    pub split: SplitConfig,
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        let recipes = [
            Self::debug,
            Self::ease,
            Self::pop,
            Self::item_knn,
            Self::ease,
            Self::als,
            Self::bpr,
            Self::neu_mf,
            Self::light_gcn,
            Self::sas_rec,
        ];
        recipe::named(name, RECIPES, &recipes)
    }

    /// `cargo xtask train recommendation rank --recipe debug`: seconds on two cores.
    pub fn debug() -> Self {
        let bpr = Self::bpr();
        Self {
            data: DataConfig {
                bundled: true,
                ..bpr.data
            },
            model: ModelConfig::Bpr(BprConfig { embedding_size: 16 }),
            fit: bpr.fit.map(|fit| FitConfig {
                epochs: 20,
                batch_size: 256,
                optimizer: OptimizerConfig {
                    lr: 1e-2,
                    ..fit.optimizer
                },
                ..fit
            }),
            ..bpr
        }
    }

    /// A model that needs no training loop.
    fn solved(model: ModelConfig) -> Self {
        Self {
            data: DataConfig {
                bundled: false,
                columns: InteractionOptions::default(),
                split: SplitConfig::default(),
            },
            model,
            protocol: Protocol::default(),
            fit: None,
        }
    }

    /// `cargo xtask train recommendation rank --recipe pop --data FILE`.
    pub fn pop() -> Self {
        Self::solved(ModelConfig::Pop)
    }

    /// `cargo xtask train recommendation rank --recipe item-knn --data FILE`.
    pub fn item_knn() -> Self {
        Self::solved(ModelConfig::ItemKnn(ItemKnnConfig::default()))
    }

    /// `cargo xtask train recommendation rank --recipe ease --data FILE`.
    pub fn ease() -> Self {
        Self::solved(ModelConfig::Ease(EaseConfig::default()))
    }

    /// `cargo xtask train recommendation rank --recipe als --data FILE`.
    pub fn als() -> Self {
        Self::solved(ModelConfig::Als(AlsConfig::default()))
    }

    /// `cargo xtask train recommendation rank --recipe bpr --data FILE`: RecBole's settings.
    pub fn bpr() -> Self {
        Self {
            fit: Some(recbole_fit()),
            ..Self::solved(ModelConfig::Bpr(BprConfig::default()))
        }
    }

    /// `cargo xtask train recommendation rank --recipe neu-mf --data FILE`: RecBole's settings. Its batch of 2048 holds
    /// 1024 pairs of the data and as many drawn ones.
    ///
    /// Expected metric: not measured.
    pub fn neu_mf() -> Self {
        Self {
            fit: Some(FitConfig {
                batch_size: 1024,
                ..recbole_fit()
            }),
            ..Self::solved(ModelConfig::NeuMf(NeuMfConfig::default()))
        }
    }

    /// `cargo xtask train recommendation rank --recipe light-gcn --data FILE`: RecBole's settings. RecBole-GNN found on
    /// MovieLens-1M `--set model.n_layers=3 --set model.reg_weight=1e-4 --set fit.optimizer.lr=0.002 --set
    /// fit.batch_size=4096` to be best.
    ///
    /// Expected metric: not measured.
    pub fn light_gcn() -> Self {
        Self {
            fit: Some(recbole_fit()),
            ..Self::solved(ModelConfig::LightGcn(LightGcnConfig::default()))
        }
    }

    /// `cargo xtask train recommendation rank --recipe sas-rec --data FILE`: RecBole's network with the paper's training,
    /// 128 sequences a step. The paper's MovieLens-1M has `--set model.max_seq_length=200` and dropouts of 0.2.
    ///
    /// Expected metric: not measured.
    pub fn sas_rec() -> Self {
        Self {
            fit: Some(FitConfig {
                batch_size: 128,
                ..recbole_fit()
            }),
            ..Self::solved(ModelConfig::SasRec(SasRecConfig::default()))
        }
    }
}

/// RecBole's training loop: Adam 1e-3 without decay, batches of 2048, at most 300 epochs, the best MRR@10 on the
/// validation part kept, stopped after ten epochs without a better one.
pub fn recbole_fit() -> FitConfig {
    const METRIC: &str = "mrr@10";
    FitConfig {
        epochs: 300,
        batch_size: 2048,
        optimizer: OptimizerConfig {
            lr: 1e-3,
            weight_decay: 0.0,
            ..OptimizerConfig::default()
        },
        schedule: ScheduleConfig {
            name: ScheduleName::Constant,
            ..ScheduleConfig::default()
        },
        early_stopping: Some(EarlyStopping {
            metric: METRIC.into(),
            mode: Mode::Max,
            patience: 10,
        }),
        best_metric: Some(BestMetric::max(METRIC)),
        ..FitConfig::default()
    }
}
