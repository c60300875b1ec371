//! The recipes of `anomaly drift`: typed configs, one function each.

use super::compare::DriftConfig;
use panoply_core::{RecipeInfo, Result, recipe};
use panoply_datasets::frame::TableOptions;
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "half of the bundled cell samples as the reference, compared with the other half: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "--data the reference table (CSV, TSV, JSON lines, Parquet)",
    },
];

/// Everything that decides what a run computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Data.
    pub data: DataConfig,
    /// How tables are compared.
    pub drift: DriftConfig,
}

/// Which table, and how it is split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Use the bundled table unless `--data` names another.
    pub bundled: bool,
    /// How files are read. A label column says nothing of drift and is left aside.
    pub table: TableOptions,
    /// Share of the rows that is held out at random and compared with the others: drift there is a false alarm.
    pub holdout: f64,
    /// Share of rows that do not parse that is put up with.
    pub max_unparsed: f64,
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        recipe::named(name, RECIPES, &[Self::debug, Self::base])
    }

    /// `cargo xtask train anomaly drift --recipe debug`.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                table: TableOptions::default(),
                holdout: 0.5,
                max_unparsed: 0.01,
            },
            drift: DriftConfig::default(),
        }
    }

    /// `cargo xtask train anomaly drift --recipe base --data TABLE`.
    pub fn base() -> Self {
        let mut recipe = Self::debug();
        recipe.data.bundled = false;
        recipe.data.holdout = 0.2;
        recipe
    }
}
