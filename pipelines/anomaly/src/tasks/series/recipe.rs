//! The recipes of `anomaly series`: typed configs, one function each.

use crate::models::{
    forecaster::ForecasterConfig,
    spectral_residual::{SpectralResidual, SpectralResidualConfig},
    stream::{ColumnStream, PerColumn, RowStream},
    windowed_gaussian::{WindowedGaussian, WindowedGaussianConfig},
};
use crate::threshold::ThresholdConfig;
use panoply_core::{
    Error, RecipeInfo, Result,
    fit::{FitConfig, OptimizerConfig, ScheduleConfig, ScheduleName},
    recipe,
};
use panoply_datasets::series::SeriesOptions;
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "spectral residual on a bundled series of the Numenta benchmark, a second: does everything work?",
    },
    RecipeInfo {
        name: "base",
        about: "spectral residual; --data a series (CSV, JSON lines, Parquet) or a folder of train and test; not measured",
    },
    RecipeInfo {
        name: "forecast",
        about: "errors of a GRU's forecast of the next row; --data as for base; not measured",
    },
    RecipeInfo {
        name: "nab",
        about: "spectral residual on the Numenta benchmark, 12 s, score 20.6 (standard profile; the benchmark's own `random` 16.8), AUROC .50 over single rows; --data its folder (data/ and labels/)",
    },
    RecipeInfo {
        name: "nab-gaussian",
        about: "the benchmark's windowed Gaussian on it, score 40.1 (standard profile; published at its rounded scores 39.6), 2 s; --data its folder",
    },
    RecipeInfo {
        name: "ucr-135",
        about: "spectral residual on series 135 of the UCR archive; --data the folder KDD-TSAD_135 of aeon 1.6.0; not measured",
    },
];

/// Everything that decides what a run computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Data.
    pub data: DataConfig,
    /// Detector.
    pub detector: DetectorConfig,
    /// A step of more than this many times the usual one makes a detector forget what came before; `null` for never.
    pub gap: Option<f64>,
    /// From which score on a row is called an anomaly, by the normal rows of the training part.
    pub threshold: ThresholdConfig,
    /// The training loop of a forecaster; its seed is that of the run.
    pub fit: FitConfig,
}

/// Which series, and how it is split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Use the bundled series unless `--data` names another.
    pub bundled: bool,
    /// How files are read.
    pub options: SeriesOptions,
    /// Share of the rows, the latest ones, that is scored where the data has no part of its own for that.
    pub holdout: f64,
    /// Leave out of a test part the rows that are not later than the training part: archives whose test file begins with
    /// the training rows.
    pub after_training: bool,
}

/// A detector and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum DetectorConfig {
    /// What a window's spectrum does not explain (Ren et al. 2019).
    SpectralResidual(SpectralResidualConfig),
    /// The tail of a normal distribution over a window.
    WindowedGaussian(WindowedGaussianConfig),
    /// The error of a GRU's forecast of the next row.
    ForecastResidual(ForecasterConfig),
}

impl DetectorConfig {
    /// Every name.
    pub const NAMES: [&str; 3] = [
        "spectral-residual",
        "windowed-gaussian",
        "forecast-residual",
    ];

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SpectralResidual(_) => Self::NAMES[0],
            Self::WindowedGaussian(_) => Self::NAMES[1],
            Self::ForecastResidual(_) => Self::NAMES[2],
        }
    }

    /// How a score comes about, for the report.
    pub(super) fn formula(&self) -> &'static str {
        match self {
            Self::SpectralResidual(_) => "(S - mean S before) / mean S before, S the saliency map",
            Self::WindowedGaussian(_) => "1 - Q(|x - mean| / deviation)",
            Self::ForecastResidual(_) => "|x - forecast| / deviation",
        }
    }

    /// A detector that has seen nothing yet and needs no weights.
    ///
    /// # Errors
    /// Settings that cannot work; a detector that is a network.
    pub fn rows(&self, num_columns: usize) -> Result<Box<dyn RowStream>> {
        let column = || -> Result<Box<dyn ColumnStream>> {
            Ok(match self {
                Self::SpectralResidual(config) => Box::new(SpectralResidual::new(config.clone())?),
                Self::WindowedGaussian(config) => Box::new(WindowedGaussian::new(config.clone())?),
                Self::ForecastResidual(_) => {
                    let expected = "the weights of its network";
                    return Err(Error::input(self.name(), "no network", expected));
                }
            })
        };
        let columns = (0..num_columns).map(|_| column());
        Ok(Box::new(PerColumn(columns.collect::<Result<_>>()?)))
    }
}

impl Recipe {
    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        let all: [fn() -> Self; 6] = [
            Self::debug,
            Self::base,
            Self::forecast,
            Self::nab,
            Self::nab_gaussian,
            Self::ucr,
        ];
        recipe::named(name, RECIPES, &all)
    }

    /// `cargo xtask train anomaly series --recipe debug`.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                options: SeriesOptions::default(),
                holdout: 0.5,
                after_training: false,
            },
            detector: DetectorConfig::SpectralResidual(SpectralResidualConfig::default()),
            gap: Some(SeriesOptions::default().gap),
            threshold: ThresholdConfig {
                contamination: 0.005,
                ..ThresholdConfig::default()
            },
            fit: FitConfig {
                epochs: 10,
                batch_size: 64,
                optimizer: OptimizerConfig {
                    lr: 5e-3,
                    weight_decay: 0.0,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    name: ScheduleName::Constant,
                    ..ScheduleConfig::default()
                },
                clip_norm: Some(1.0),
                ..FitConfig::default()
            },
        }
    }

    /// `cargo xtask train anomaly series --recipe base --data FILE`.
    pub fn base() -> Self {
        let mut recipe = Self::debug();
        recipe.data.bundled = false;
        recipe.data.holdout = 0.2;
        recipe
    }

    /// `cargo xtask train anomaly series --recipe forecast --data FILE`.
    pub fn forecast() -> Self {
        Self {
            detector: DetectorConfig::ForecastResidual(ForecasterConfig::default()),
            ..Self::base()
        }
    }

    /// `cargo xtask train anomaly series --recipe nab --data FOLDER`. Many of its series have no regular step: what came
    /// before is never forgotten, as the benchmark's own detectors do.
    /// The windows are those of alibi-detect's example.
    pub fn nab() -> Self {
        Self {
            detector: DetectorConfig::SpectralResidual(SpectralResidualConfig {
                window_amp: 20,
                window_local: 20,
                n_est_points: 20,
                ..SpectralResidualConfig::default()
            }),
            gap: None,
            ..Self::base()
        }
    }

    /// `cargo xtask train anomaly series --recipe nab-gaussian --data FOLDER`.
    pub fn nab_gaussian() -> Self {
        Self {
            detector: DetectorConfig::WindowedGaussian(WindowedGaussianConfig::default()),
            ..Self::nab()
        }
    }

    /// `cargo xtask train anomaly series --recipe ucr-135 --data FOLDER`. Its test file begins with the training rows.
    pub fn ucr() -> Self {
        let mut recipe = Self::base();
        recipe.data.after_training = true;
        recipe
    }
}
