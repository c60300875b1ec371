//! The recipes of `anomaly table`: typed configs, one function each.

use super::detectors::{DetectorConfig, DetectorName};
use crate::{
    models::pca::{PcaConfig, PcaScore},
    threshold::{ProbabilityMethod, ThresholdConfig, ThresholdMethod},
};
use panoply_core::{
    Error, RecipeInfo, Result,
    fit::{FitConfig, OptimizerConfig, ScheduleConfig, ScheduleName},
    recipe,
};
use panoply_datasets::frame::{EncodeConfig, Scaling, TableOptions};
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "isolation forest on the bundled cell samples, a second: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "isolation forest; --data a table (CSV, TSV, JSON lines, Parquet, .npz) with a column 'label', or --set data.fit_on=all without labels",
    },
    RecipeInfo {
        name: "ecod",
        about: "ECOD: tail probabilities of each column, without settings; --data as for base",
    },
    RecipeInfo {
        name: "knn",
        about: "distance to the 5th neighbour; --data as for base, up to some 50,000 rows",
    },
    RecipeInfo {
        name: "lof",
        about: "local outlier factor of 20 neighbours; --data as for base, up to some 50,000 rows",
    },
    RecipeInfo {
        name: "hbos",
        about: "histograms of 10 bins; --data as for base",
    },
    RecipeInfo {
        name: "pca",
        about: "Mahalanobis distance along the principal components; --data as for base",
    },
    RecipeInfo {
        name: "auto-encoder",
        about: "autoencoder 64-32-64 over standardised columns; --data as for base",
    },
    RecipeInfo {
        name: "vae",
        about: "variational autoencoder with a code of 2; --data as for base",
    },
    RecipeInfo {
        name: "deep-svdd",
        about: "Deep SVDD 64-32; --data as for base",
    },
    RecipeInfo {
        name: "nsl-kdd",
        about: "intrusion detection: autoencoder on the normal rows of NSL-KDD; --data a folder with its files as train.csv and test.csv; 7 s, AUROC .917 on KDDTest+",
    },
    RecipeInfo {
        name: "card-fraud",
        about: "card fraud: Mahalanobis distance to the normal rows of the earlier transactions, tested on the last fifth; --data creditcard.csv; 6 s, AUROC .959, recall .760 at 1 % false alarms",
    },
];

/// Everything that decides what a run computes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Data.
    pub data: DataConfig,
    /// How rows become numbers.
    pub encode: EncodeConfig,
    /// The detector.
    pub detector: DetectorConfig,
    /// Where scores become alarms.
    pub threshold: ThresholdConfig,
    /// How scores become numbers from 0 to 1.
    pub probability: ProbabilityMethod,
    /// The training loop of neural detectors; its seed is that of the run.
    pub fit: FitConfig,
}

/// What a detector is fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FitOn {
    /// Rows that are labelled normal.
    Normal,
    /// All rows: labels, if there are any, are for the evaluation.
    All,
}

/// Which table, and how it is split.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Take the bundled cell samples unless `--data` names a table.
    pub bundled: bool,
    /// How the table is read.
    pub table: TableOptions,
    /// What the detector is fitted to.
    pub fit_on: FitOn,
    /// Fraction of the rows held out for the test where `--data` is a single file; 0 for none.
    pub test: f64,
    /// Fraction of the training rows held out for threshold and calibration.
    pub validation: f64,
    /// A numeric column: the parts are then held out from its greatest values, not at random. A clock says nothing of a
    /// row that comes later, so the detector does not see it.
    pub order: Option<String>,
    /// Share of rows that do not parse from which on the data is refused.
    pub max_unparsed: f64,
    /// Fit to at most so many rows, drawn at random; `null` for all.
    pub max_rows: Option<usize>,
}

impl Recipe {
    /// The recipe called `name`.
    ///
    /// # Errors
    /// An unknown name.
    pub fn named(name: &str) -> Result<Self> {
        let recipes: [fn() -> Self; 12] = [
            Self::debug,
            Self::base,
            Self::ecod,
            Self::knn,
            Self::lof,
            Self::hbos,
            Self::pca,
            Self::auto_encoder,
            Self::vae,
            Self::deep_svdd,
            Self::nsl_kdd,
            Self::card_fraud,
        ];
        recipe::named(name, RECIPES, &recipes)
    }

    /// Checks what can be checked before data is read.
    ///
    /// # Errors
    /// The first value out of range.
    pub fn validate(&self) -> Result<()> {
        let fraction = |name: &str, value: f64, low: bool| {
            let ok = value < 1.0 && (value > 0.0 || (low && value == 0.0));
            let expected = if low {
                "from 0 to below 1"
            } else {
                "between 0 and 1"
            };
            if ok {
                Ok(())
            } else {
                Err(Error::input(name, value.to_string(), expected))
            }
        };
        fraction("data.test", self.data.test, true)?;
        fraction("data.validation", self.data.validation, false)?;
        fraction("data.max_unparsed", self.data.max_unparsed, true)?;
        if self.data.max_rows.is_some_and(|rows| rows < 2) {
            return Err(Error::input(
                "data.max_rows",
                "fewer than 2",
                "2 or more, or null",
            ));
        }
        self.threshold.validate()?;
        self.detector.validate()?;
        self.fit.validate()
    }

    /// `cargo xtask train anomaly table --recipe debug`: about a second.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                table: TableOptions::default(),
                fit_on: FitOn::Normal,
                test: 0.3,
                validation: 0.2,
                order: None,
                max_unparsed: 0.01,
                max_rows: None,
            },
            encode: EncodeConfig::default(),
            detector: DetectorConfig::default(),
            threshold: ThresholdConfig::default(),
            probability: ProbabilityMethod::Unify,
            fit: FitConfig {
                epochs: 10,
                batch_size: 32,
                optimizer: OptimizerConfig {
                    weight_decay: 1e-5,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    name: ScheduleName::Constant,
                    ..ScheduleConfig::default()
                },
                drop_last: true,
                ..FitConfig::default()
            },
        }
    }

    /// `cargo xtask train anomaly table --recipe base --data FILE`.
    pub fn base() -> Self {
        let debug = Self::debug();
        Self {
            data: DataConfig {
                bundled: false,
                ..debug.data
            },
            ..debug
        }
    }

    fn with(name: DetectorName) -> Self {
        let base = Self::base();
        Self {
            detector: DetectorConfig {
                name,
                ..base.detector
            },
            ..base
        }
    }

    fn ecod() -> Self {
        Self::with(DetectorName::Ecod)
    }

    fn knn() -> Self {
        Self::with(DetectorName::Knn)
    }

    fn lof() -> Self {
        Self::with(DetectorName::Lof)
    }

    fn hbos() -> Self {
        Self::with(DetectorName::Hbos)
    }

    fn pca() -> Self {
        let base = Self::with(DetectorName::Pca);
        Self {
            detector: DetectorConfig {
                pca: PcaConfig {
                    score: PcaScore::Mahalanobis,
                    ..PcaConfig::default()
                },
                ..base.detector
            },
            ..base
        }
    }

    /// Neural detectors see standardised columns, as PyOD standardises them itself.
    fn neural(name: DetectorName, epochs: usize, lr: f64) -> Self {
        let base = Self::with(name);
        Self {
            encode: EncodeConfig {
                scaling: Scaling::Standard,
                ..base.encode
            },
            fit: FitConfig {
                epochs,
                optimizer: OptimizerConfig {
                    lr,
                    ..base.fit.optimizer
                },
                ..base.fit
            },
            ..base
        }
    }

    fn auto_encoder() -> Self {
        Self::neural(DetectorName::AutoEncoder, 10, 1e-3)
    }

    fn vae() -> Self {
        Self::neural(DetectorName::Vae, 30, 1e-3)
    }

    fn deep_svdd() -> Self {
        Self::neural(DetectorName::DeepSvdd, 100, 1e-4)
    }

    /// `cargo xtask train anomaly table --recipe nsl-kdd --data FOLDER`, with KDDTrain+.txt as `train.csv` and KDDTest+.txt
    /// as `test.csv` in the folder (the `.gz` files as `train.csv.gz` and `test.csv.gz`). The 42nd column is the label, the
    /// 43rd the difficulty, which is left aside. The detector sees normal rows alone; KDDTest+ has 17 kinds of attack that
    /// KDDTrain+ has not. AUROC .9174, average precision .9152, F1 .8659 at the threshold.
    pub fn nsl_kdd() -> Self {
        let auto_encoder = Self::auto_encoder();
        Self {
            data: DataConfig {
                table: TableOptions {
                    header: false,
                    label: Some("41".into()),
                    normal: vec!["normal".into()],
                    drop: vec!["42".into()],
                    ..TableOptions::default()
                },
                ..auto_encoder.data
            },
            fit: FitConfig {
                epochs: 3,
                batch_size: 128,
                ..auto_encoder.fit
            },
            ..auto_encoder
        }
    }

    /// `cargo xtask train anomaly table --recipe card-fraud --data creditcard.csv`: the set of the Université Libre de
    /// Bruxelles (284,807 transactions of two days, 492 of them fraud), split by time: 75 frauds among the last 56,961.
    /// AUROC .9592, average precision .1560, recall .7600 at a false-positive rate of 1 %.
    pub fn card_fraud() -> Self {
        let base = Self::pca();
        Self {
            data: DataConfig {
                table: TableOptions {
                    label: Some("Class".into()),
                    ..TableOptions::default()
                },
                test: 0.2,
                order: Some("Time".into()),
                ..base.data
            },
            threshold: ThresholdConfig {
                method: ThresholdMethod::Contamination,
                contamination: 0.01,
                ..base.threshold
            },
            ..base
        }
    }
}
