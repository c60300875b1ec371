//! The recipes of `recommendation rate`: typed configs, one function each.

use crate::{
    models::biased_mf::{BiasedMfConfig, RatingConfig},
    tasks::rank::DataConfig,
};
use panoply_core::{RecipeInfo, Result, recipe};
use panoply_datasets::{InteractionOptions, SplitConfig};
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "small biased matrix factorisation on the bundled generated ratings, seconds: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "biased matrix factorisation by alternating ridge regressions; --data a table of ratings or a folder with a file for each part",
    },
    RecipeInfo {
        name: "global-mean",
        about: "the mean of all ratings, the least that a model must beat; --data as for base",
    },
    RecipeInfo {
        name: "user-mean",
        about: "the mean of the user's ratings; --data as for base",
    },
    RecipeInfo {
        name: "item-mean",
        about: "the mean of the item's ratings; --data as for base",
    },
];

/// Everything that decides what a run computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Data.
    pub data: DataConfig,
    /// Model.
    pub model: RatingConfig,
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        let recipes = [
            Self::debug,
            Self::base,
            Self::global_mean,
            Self::user_mean,
            Self::item_mean,
        ];
        recipe::named(name, RECIPES, &recipes)
    }

    fn of(model: RatingConfig) -> Self {
        Self {
            data: DataConfig {
                bundled: false,
                columns: InteractionOptions::default(),
                split: SplitConfig::default(),
            },
            model,
        }
    }

    /// `cargo xtask train recommendation rate --recipe debug`: seconds on two cores.
    pub fn debug() -> Self {
        let base = Self::of(RatingConfig::BiasedMf(BiasedMfConfig {
            factors: 4,
            ..BiasedMfConfig::default()
        }));
        Self {
            data: DataConfig {
                bundled: true,
                ..base.data
            },
            ..base
        }
    }

    /// `cargo xtask train recommendation rate --recipe base --data FILE`.
    pub fn base() -> Self {
        Self::of(RatingConfig::BiasedMf(BiasedMfConfig::default()))
    }

    /// `cargo xtask train recommendation rate --recipe global-mean --data FILE`.
    pub fn global_mean() -> Self {
        Self::of(RatingConfig::GlobalMean)
    }

    /// `cargo xtask train recommendation rate --recipe user-mean --data FILE`.
    pub fn user_mean() -> Self {
        Self::of(RatingConfig::UserMean)
    }

    /// `cargo xtask train recommendation rate --recipe item-mean --data FILE`.
    pub fn item_mean() -> Self {
        Self::of(RatingConfig::ItemMean)
    }
}
