//! Scores a detector, or given predictions, on labelled series.
//!
//! Point-wise metrics come first; range-based ones next; the point-adjusted F1 stands beside them under its name, never
//! for them; the Numenta benchmark's own score for its folder.

use super::{SeriesDetector, Settings, draw};
use panoply_core::{
    Error, Evaluation, Result, RunContext, predictions::read_predictions, progress::Progress,
};
use panoply_datasets::{
    TimeSeries, open_series_for_eval,
    series::{NabFolder, SeriesOptions},
};
use panoply_metrics::{
    Cardinality, MetricError, NabCorpus, NabProfile, PositionalBias, average_precision, f1_max,
    point_adjusted_f1, pointwise_f1, range_f_beta, range_precision, range_recall, roc_auc,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Weight of being found at all in the range-based recall, as in aeon's F-score.
const EXISTENCE: f64 = 0.5;

/// What is scored.
pub(super) enum Source {
    /// A labelled series.
    One(TimeSeries),
    /// The Numenta benchmark.
    Nab(NabFolder),
}

impl Source {
    pub(super) fn open(path: &Path, options: &SeriesOptions) -> Result<Self> {
        if NabFolder::is_at(path) {
            return Ok(Self::Nab(NabFolder::open(path)?));
        }
        Ok(Self::One(open_series_for_eval(path, options)?))
    }

    /// Every series with its name.
    fn series(&self) -> Vec<(&str, &TimeSeries)> {
        match self {
            Self::One(series) => vec![(series.location(), series)],
            Self::Nab(folder) => folder
                .series
                .iter()
                .map(|one| (one.name.as_str(), &one.series))
                .collect(),
        }
    }
}

/// Scores of every row of every series, and what was called an anomaly.
#[derive(Default)]
pub(super) struct Total {
    labels: Vec<bool>,
    scores: Vec<f64>,
    flagged: Vec<bool>,
    /// The same with a normal row between two series, so that no range spans both.
    ranges: [Vec<bool>; 2],
    nab: Option<NabCorpus>,
    num_series: usize,
}

impl Total {
    /// Scores every series by a detector that starts anew for each.
    pub(super) fn of(
        detector: &SeriesDetector,
        source: &Source,
        context: &RunContext,
    ) -> Result<Self> {
        let mut progress = match source {
            Source::One(_) => Progress::hidden(),
            Source::Nab(folder) => Progress::new("score", folder.series.len() as u64),
        };
        let mut total = Self::default();
        for (at, (_, series)) in source.series().into_iter().enumerate() {
            if context.interrupt.is_raised() {
                return Err(Error::Interrupted {
                    resume: "an evaluation keeps no state: run it again".into(),
                });
            }
            let found = detector.score(series)?;
            // A row that could not be scored is called normal.
            let lowest = found
                .iter()
                .flatten()
                .map(|f| f.score)
                .fold(f64::INFINITY, f64::min);
            let lowest = if lowest.is_finite() { lowest } else { 0.0 };
            let scores: Vec<f64> = found
                .iter()
                .map(|f| f.as_ref().map_or(lowest, |f| f.score))
                .collect();
            let flagged: Vec<bool> = found
                .iter()
                .map(|f| {
                    f.as_ref()
                        .is_some_and(|f| detector.calibration.is_anomaly(f.score))
                })
                .collect();
            total.add(source, at, &scores, &flagged)?;
            progress.advance(1, "");
        }
        progress.finish();
        Ok(total)
    }

    fn add(&mut self, source: &Source, at: usize, scores: &[f64], flagged: &[bool]) -> Result<()> {
        let (name, series) = source.series()[at];
        let labels = series.labels().ok_or_else(|| {
            Error::input(
                name,
                "no column of labels",
                "a column `is_anomaly` or `label` of 0 and 1",
            )
        })?;
        if let Source::Nab(folder) = source {
            let corpus = self.nab.get_or_insert_with(NabCorpus::new);
            corpus
                .add(scores, &folder.series[at].windows)
                .map_err(undefined)?;
        }
        self.labels.extend(labels);
        self.scores.extend(scores);
        self.flagged.extend(flagged);
        for (all, these) in self.ranges.iter_mut().zip([labels, flagged]) {
            all.extend(these);
            all.push(false);
        }
        self.num_series += 1;
        Ok(())
    }

    /// Headline metrics, in order.
    pub(super) fn metrics(&self) -> Result<Vec<(String, f64)>> {
        let (labels, scores) = (&self.labels, &self.scores);
        let best = f1_max(labels, scores).map_err(undefined)?;
        let [truth, called] = &self.ranges;
        let (gamma, bias) = (Cardinality::default(), PositionalBias::default());
        let precision = range_precision(truth, called, gamma, bias).map_err(undefined)?;
        let recall = range_recall(truth, called, EXISTENCE, gamma, bias).map_err(undefined)?;
        let mut metrics = vec![
            ("auroc".into(), roc_auc(labels, scores).map_err(undefined)?),
            (
                "average_precision".into(),
                average_precision(labels, scores).map_err(undefined)?,
            ),
            ("f1_max".into(), best.f1),
            (
                "f1".into(),
                pointwise_f1(labels, &self.flagged).map_err(undefined)?,
            ),
            ("range_precision".into(), precision),
            ("range_recall".into(), recall),
            ("range_f1".into(), range_f_beta(precision, recall, 1.0)),
            (
                "point_adjusted_f1".into(),
                point_adjusted_f1(truth, called).map_err(undefined)?,
            ),
        ];
        if let Some(corpus) = &self.nab {
            for profile in NabProfile::ALL {
                let score = corpus.optimum(profile).map_err(undefined)?;
                metrics.push((format!("nab_{}", profile.name), score.normalized));
            }
        }
        Ok(metrics)
    }

    /// The best threshold of each of NAB's profiles; `null` where no alarm at all is best.
    fn nab_thresholds(&self) -> Result<Map<String, Value>> {
        let mut thresholds = Map::new();
        for profile in self.nab.iter().flat_map(|_| NabProfile::ALL) {
            if let Some(corpus) = &self.nab {
                let score = corpus.optimum(profile).map_err(undefined)?;
                thresholds.insert(profile.name.into(), json!(score.threshold));
            }
        }
        Ok(thresholds)
    }

    fn evaluation(&self, source: &Source) -> Result<Evaluation> {
        let metrics = self.metrics()?;
        let best = f1_max(&self.labels, &self.scores).map_err(undefined)?;
        let headline: Map<String, Value> = metrics
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let mut table = vec![["", "metric", "value"].map(String::from).to_vec()];
        let row = |(name, value): &(String, f64)| {
            vec![String::new(), name.clone(), format!("{value:.4}")]
        };
        table.extend(metrics.iter().map(row));
        let artefacts = match source {
            Source::One(series) => vec![draw::series(series, &self.flagged)?],
            Source::Nab(_) => Vec::new(),
        };
        let num_anomalies = self.labels.iter().filter(|&&label| label).count();
        Ok(Evaluation {
            num_samples: self.labels.len(),
            json: json!({
                "num_samples": self.labels.len(), "num_series": self.num_series, "num_anomalies": num_anomalies,
                "metrics": headline, "f1_max": best, "nab_thresholds": self.nab_thresholds()?,
            }),
            metrics,
            table,
            artefacts,
        })
    }
}

/// A metric that these labels have not, as the data's fault.
fn undefined(error: MetricError) -> Error {
    Error::input("labels", error.to_string(), "labelled rows of both kinds")
}

pub(super) fn eval(
    detector: &SeriesDetector,
    data: &Path,
    context: &RunContext,
) -> Result<Evaluation> {
    let source = Source::open(data, &detector.options)?;
    Total::of(detector, &source, context)?.evaluation(&source)
}

/// One line of a file of predictions.
#[derive(Deserialize)]
struct Row {
    score: Option<f64>,
    is_anomaly: Option<bool>,
}

/// Scores a file of predictions: a line a row, series after series. What a line calls an anomaly counts as such; where it
/// does not say, what lies above `--set threshold`.
pub(super) fn score_predictions(
    predictions: &Path,
    data: &Path,
    settings: Settings,
) -> Result<Evaluation> {
    const EXPECTED: &str = "{\"score\": …, \"is_anomaly\": …}, or a score and --set threshold";
    let source = Source::open(data, &SeriesOptions::default())?;
    let mut rows = Vec::new();
    for line in read_predictions(predictions)? {
        let line = line?;
        let row: Row = line.parse(EXPECTED)?;
        let score = row.score.filter(|score| score.is_finite());
        let above = || Some(score? > settings.threshold?);
        let Some(flagged) = row.is_anomaly.or_else(above) else {
            return Err(Error::input(&line.location, "no `is_anomaly`", EXPECTED));
        };
        rows.push((score, flagged));
    }
    let expected: usize = source.series().iter().map(|(_, series)| series.len()).sum();
    if rows.len() != expected {
        let what = format!("{} predictions", rows.len());
        let expected = format!("{expected}, one for each row of {}", data.display());
        return Err(Error::input(
            predictions.display().to_string(),
            what,
            expected,
        ));
    }
    let lowest = rows
        .iter()
        .filter_map(|row| row.0)
        .fold(f64::INFINITY, f64::min);
    let lowest = if lowest.is_finite() { lowest } else { 0.0 };
    let mut total = Total::default();
    let mut rest = &rows[..];
    for at in 0..source.series().len() {
        let (these, others) = rest.split_at(source.series()[at].1.len());
        rest = others;
        let scores: Vec<f64> = these.iter().map(|row| row.0.unwrap_or(lowest)).collect();
        let flagged: Vec<bool> = these.iter().map(|row| row.1).collect();
        total.add(&source, at, &scores, &flagged)?;
    }
    total.evaluation(&source)
}
