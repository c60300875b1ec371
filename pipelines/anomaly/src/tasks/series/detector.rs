//! A detector with its threshold, as a model folder holds it.

use super::{recipe::DetectorConfig, train};
use crate::{
    models::stream::{SeriesStream, StreamScore},
    threshold::Calibration,
};
use panoply_core::{Error, ModelCard, ModelFolder, Result, RunContext, weights::Arrays};
use panoply_datasets::{TimeSeries, series::SeriesOptions};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// `config.json`: what makes the detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The detector and its settings.
    pub detector: DetectorConfig,
    /// After how many usual steps it forgets; `null` for never.
    pub gap: Option<f64>,
    /// Names of the columns, in order.
    pub columns: Vec<String>,
}

/// What `--set` of `run`, `eval` and `explain` can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Another threshold than the model's.
    pub threshold: Option<f64>,
}

/// A detector that knows from which score on a row is an anomaly.
#[derive(Clone, Debug)]
pub struct SeriesDetector {
    /// What makes it.
    pub config: Config,
    /// How rows are read; travels with the model.
    pub options: SeriesOptions,
    /// Its threshold, and scores of normal training rows: what a score is compared with.
    pub calibration: Calibration,
    pub(super) card: ModelCard,
}

impl SeriesDetector {
    /// Loads a model folder, or fits the [bundled](super::BUNDLED) detector.
    ///
    /// # Errors
    /// No such folder; files of another task, damaged ones, settings that cannot work.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        let settings: Settings = context.settings()?;
        let mut detector = if model == super::BUNDLED {
            train::bundled()?
        } else {
            Self::from_folder(&ModelFolder::open(Path::new(model))?)?
        };
        if let Some(threshold) = settings.threshold {
            if !threshold.is_finite() {
                return Err(Error::input(
                    "--set threshold",
                    threshold.to_string(),
                    "a finite score",
                ));
            }
            detector.calibration.threshold = threshold;
        }
        Ok(detector)
    }

    fn from_folder(folder: &ModelFolder) -> Result<Self> {
        let missing = |name: &str| {
            let location = folder.path().display().to_string();
            Error::input(
                location,
                format!("no {name}"),
                "a model folder of `anomaly series`",
            )
        };
        let card: ModelCard = folder.card()?.ok_or_else(|| missing(ModelFolder::CARD))?;
        if card.task != super::NAME {
            return Err(missing("detector of series"));
        }
        let config: Config = folder
            .read_json(ModelFolder::CONFIG)?
            .ok_or_else(|| missing(ModelFolder::CONFIG))?;
        let options = folder
            .read_json(ModelFolder::PREPROCESSOR)?
            .unwrap_or_default();
        let mut arrays = Arrays::load(&folder.file(ModelFolder::WEIGHTS))?;
        let calibration = Calibration::take(&mut arrays)?;
        arrays.finish()?;
        config.detector.stream(config.columns.len(), config.gap)?;
        Ok(Self {
            config,
            options,
            calibration,
            card,
        })
    }

    /// What it has learned.
    pub(super) fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        self.calibration.put(&mut arrays);
        arrays
    }

    /// A detector that has seen nothing yet, to be fed row by row.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub fn stream(&self) -> Result<SeriesStream> {
        self.config
            .detector
            .stream(self.config.columns.len(), self.config.gap)
    }

    /// Scores every row by itself and the rows before it; `None` where a value is missing.
    ///
    /// # Errors
    /// Other columns than those of the model.
    pub fn score(&self, series: &TimeSeries) -> Result<Vec<Option<StreamScore>>> {
        let names: Vec<&String> = series.columns().iter().map(|(name, _)| name).collect();
        if names.len() != self.config.columns.len() {
            let what = format!("{} columns of values", names.len());
            let expected = self.config.columns.join(", ");
            return Err(Error::input(series.location(), what, expected));
        }
        score(&mut self.stream()?, series)
    }
}

/// Feeds a series to a stream, row by row.
pub(super) fn score(
    stream: &mut SeriesStream,
    series: &TimeSeries,
) -> Result<Vec<Option<StreamScore>>> {
    let row = |at: usize| stream.push(series.location(), series.stamps()[at], &series.row(at));
    (0..series.len()).map(row).collect()
}
