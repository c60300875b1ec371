//! A detector with its threshold, as a model folder holds it.

use super::{recipe::DetectorConfig, train};
use crate::{
    models::{
        forecaster::{ForecastStream, Forecaster, Standard},
        network::Network,
        stream::{RowStream, SeriesStream, StreamScore},
    },
    threshold::Calibration,
};
use burn::tensor::Device;
use panoply_core::{
    Error, ModelCard, ModelFolder, Result, RunContext,
    weights::{self, Arrays, SaveDtype},
};
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
    /// Of the rows that a network takes.
    #[serde(default)]
    pub standard: Option<Standard>,
}

/// In the folder of a network: the threshold and the scores that go with it.
const CALIBRATION: &str = "calibration.safetensors";

/// A trained forecaster on its device.
#[derive(Clone, Debug)]
pub(super) struct Forecasts {
    pub(super) network: Forecaster,
    pub(super) standard: Standard,
    pub(super) device: Device,
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
    pub(super) forecasts: Option<Forecasts>,
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
            Self::from_folder(&ModelFolder::open(Path::new(model))?, &context.device)?
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

    fn from_folder(folder: &ModelFolder, device: &Device) -> Result<Self> {
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
        let forecasts = match (&config.detector, &config.standard) {
            (DetectorConfig::ForecastResidual(network), Some(standard)) => {
                let columns = config.columns.len();
                if [standard.mean.len(), standard.deviation.len()] != [columns; 2] {
                    return Err(missing("scale of each column"));
                }
                let mut network = network.init(columns, device)?;
                let file = folder.file(ModelFolder::WEIGHTS);
                weights::load(&mut network, &file, &Forecaster::KEY_MAP)?;
                Some(Forecasts {
                    network,
                    standard: standard.clone(),
                    device: device.clone(),
                })
            }
            _ => None,
        };
        let file = if forecasts.is_some() {
            CALIBRATION
        } else {
            ModelFolder::WEIGHTS
        };
        let mut arrays = Arrays::load(&folder.file(file))?;
        let calibration = Calibration::take(&mut arrays)?;
        arrays.finish()?;
        let detector = Self {
            config,
            options,
            calibration,
            card,
            forecasts,
        };
        detector.stream()?;
        Ok(detector)
    }

    /// Threshold and calibration.
    pub(super) fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        self.calibration.put(&mut arrays);
        arrays
    }

    /// Writes a model folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<ModelFolder> {
        let folder = ModelFolder::create(path)?;
        folder.write_json(ModelFolder::CONFIG, &self.config)?;
        folder.write_json(ModelFolder::PREPROCESSOR, &self.options)?;
        let weights = folder.file(ModelFolder::WEIGHTS);
        match &self.forecasts {
            Some(Forecasts { network, .. }) => {
                weights::save(network, &weights, &Forecaster::KEY_MAP, SaveDtype::F32)?;
                self.arrays().save(&folder.file(CALIBRATION))?;
            }
            None => self.arrays().save(&weights)?,
        }
        folder.write_json(ModelFolder::CARD, &self.card)?;
        Ok(folder)
    }

    /// A detector that has seen nothing yet, to be fed row by row.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub fn stream(&self) -> Result<SeriesStream> {
        stream(&self.config, self.forecasts.as_ref())
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

/// A detector that has seen nothing yet.
pub(super) fn stream(config: &Config, forecasts: Option<&Forecasts>) -> Result<SeriesStream> {
    let rows: Box<dyn RowStream> = match forecasts {
        Some(Forecasts {
            network,
            standard,
            device,
        }) => Box::new(ForecastStream::new(
            network.clone(),
            standard.clone(),
            device,
        )),
        None => config.detector.rows(config.columns.len())?,
    };
    Ok(SeriesStream::new(rows, config.gap))
}

/// Feeds a series to a stream.
pub(super) fn score(
    stream: &mut SeriesStream,
    series: &TimeSeries,
) -> Result<Vec<Option<StreamScore>>> {
    let rows: Vec<Vec<f64>> = (0..series.len()).map(|at| series.row(at)).collect();
    stream.push_all(series.location(), series.stamps(), &rows)
}
