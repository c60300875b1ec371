//! `anomaly series`: what is unlike the rest of a time series.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run anomaly series` | scores a bundled series, and draws it with `--out` |
//! | `tail -f log.jsonl \| cargo xtask run anomaly series --model DIR --json` | one answer a line, as it comes, in constant memory |
//! | `cargo xtask train anomaly series --recipe base --data FILE` | fits a detector to a series |
//! | `cargo xtask eval anomaly series --model DIR --data FILE` | point-wise and range-based metrics |
//! | `cargo xtask eval anomaly series --model DIR --data NAB` | the Numenta benchmark, its own score too |
//! | `cargo xtask eval anomaly series --metrics-only scores.jsonl --data FILE` | the same of any detector |
//!
//! A row is `{"timestamp": …, "value": …}` (or a row of a CSV file) with a field for each column of the model; rows that
//! come one by one are one series, whose past the session remembers as far as the detector looks back. A row of lists is a
//! series of its own. A value that is `null` is missing: the row has no score, and what came before is forgotten, as
//! it is at a gap.

mod detector;
mod draw;
mod eval;
mod explain;
mod recipe;
mod session;
mod train;

pub use detector::{Config, SeriesDetector, Settings};
pub use recipe::{DataConfig, DetectorConfig, RECIPES, Recipe};

use crate::models::forecaster::ForecasterConfig;
use burn::tensor::Device;
use panoply_core::{
    DataCheck, Evaluation, ExplainRequest, Input, InputKind, Output, Payload, RecipeInfo, Result,
    RunContext, Session, Task, TrainOutcome, TrainRequest, weights,
};
use panoply_datasets::{bundled, series::format_stamp};
use serde_json::{Value, json};
use std::path::Path;

/// The task's name.
const NAME: &str = "series";

/// The detector that is used when none is given: the recipe `debug`, fitted when it is opened.
pub const BUNDLED: &str = "spectral-residual-ec2";

/// The task.
pub struct Series;

impl Task for Series {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "anomalies in time series, row by row as they come"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Row
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        // The last days of the bundled series, which hold its anomalies.
        let Ok(series) = bundled::nab_slice() else {
            return Vec::new();
        };
        let series = series.slice(series.len() - 864..series.len());
        let stamps: Vec<String> = series
            .stamps()
            .iter()
            .map(|&stamp| format_stamp(stamp))
            .collect();
        let (name, values) = &series.columns()[0];
        let mut row = json!({ "timestamp": stamps });
        row[name] = json!(values);
        vec![Input {
            name: "three days of a server".into(),
            payload: Payload::Row(row),
        }]
    }

    fn architectures(&self) -> Vec<(String, usize)> {
        // All but the forecaster learn a threshold alone.
        let forecaster = ForecasterConfig::default().init(1, &Device::flex());
        let count = |name: &str| match &forecaster {
            Ok(network) if name == "forecast-residual" => weights::num_params(network),
            _ => 1,
        };
        DetectorConfig::NAMES
            .map(|name| (name.to_string(), count(name)))
            .into()
    }

    fn settings(&self) -> Value {
        json!(Settings::default())
    }

    fn default_model(&self) -> &'static str {
        BUNDLED
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        let detector = SeriesDetector::open(model, context)?;
        Ok(Box::new(session::SeriesSession::new(detector)?))
    }

    fn train(&self, request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
        train::train(request, context)
    }

    fn eval(
        &self,
        model: &str,
        data: &Path,
        _batch: usize,
        context: &RunContext,
    ) -> Result<Evaluation> {
        eval::eval(&SeriesDetector::open(model, context)?, data, context)
    }

    fn score_predictions(
        &self,
        predictions: &Path,
        data: &Path,
        context: &RunContext,
    ) -> Result<Evaluation> {
        eval::score_predictions(predictions, data, context.settings()?)
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }

    fn explain_methods(&self) -> &'static [&'static str] {
        &[explain::COLUMNS]
    }

    fn explain(&self, request: &ExplainRequest, context: &RunContext) -> Result<Output> {
        explain::explain(request, context)
    }
}
