//! What scores are worth on labelled rows.

use super::{Scorer, Settings, draw};
use panoply_core::{
    Artefact, Error, Evaluation, Result, fit::Metrics, predictions::read_predictions,
};
use panoply_datasets::frame::{Frame, frame_file_for_eval};
use panoply_metrics::{
    MetricError, average_precision, f1_max, precision_at_n, recall_at_fpr, roc_auc,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, path::Path};

/// The false-positive rate at which recall is told.
const MAX_FPR: f64 = 0.01;

/// Scores with what is known of their rows.
pub(super) struct Judged {
    scores: Vec<f64>,
    labels: Option<Vec<bool>>,
    threshold: f64,
}

pub(super) fn metric_error(error: MetricError) -> Error {
    Error::Internal {
        context: "scoring".into(),
        message: error.to_string(),
    }
}

impl Judged {
    pub(super) fn new(scores: Vec<f64>, labels: Option<Vec<bool>>, threshold: f64) -> Self {
        Self {
            scores,
            labels,
            threshold,
        }
    }

    pub(super) fn of(scorer: &Scorer, frame: &Frame) -> Result<Self> {
        let scores = scorer.score_frame(frame)?;
        Ok(Self::new(
            scores,
            frame.is_anomaly(),
            scorer.calibration.threshold,
        ))
    }

    /// Headline metrics, in order: what needs no labels, and what needs both kinds of them.
    pub(super) fn metrics(&self) -> Result<Metrics> {
        let alarms: Vec<bool> = self.scores.iter().map(|&s| s > self.threshold).collect();
        let count = alarms.iter().filter(|&&alarm| alarm).count() as f64;
        let mut metrics = vec![("alarm_rate".into(), count / alarms.len().max(1) as f64)];
        let Some(labels) = self.both_kinds() else {
            return Ok(metrics);
        };
        let scores = &self.scores;
        let hits = alarms
            .iter()
            .zip(labels)
            .filter(|(alarm, label)| **alarm && **label)
            .count();
        let anomalies = labels.iter().filter(|&&label| label).count() as f64;
        let hits = hits as f64;
        let ranked = [
            ("auroc", roc_auc(labels, scores)),
            ("average_precision", average_precision(labels, scores)),
            ("precision_at_n", precision_at_n(labels, scores, None)),
            ("f1_max", f1_max(labels, scores).map(|best| best.f1)),
            ("recall_at_fpr_0.01", recall_at_fpr(labels, scores, MAX_FPR)),
        ];
        let mut all = Vec::new();
        for (name, value) in ranked {
            all.push((name.to_string(), value.map_err(metric_error)?));
        }
        all.push((
            "precision".into(),
            if count > 0.0 { hits / count } else { 0.0 },
        ));
        all.push(("recall".into(), hits / anomalies));
        all.push(("f1".into(), 2.0 * hits / (count + anomalies)));
        all.append(&mut metrics);
        Ok(all)
    }

    fn both_kinds(&self) -> Option<&[bool]> {
        let labels = self.labels.as_deref()?;
        (labels.contains(&true) && labels.contains(&false)).then_some(labels)
    }

    pub(super) fn pictures(&self) -> Result<Vec<Artefact>> {
        draw::pictures(&self.scores, self.labels.as_deref(), self.threshold)
    }
}

/// How many rows of each label are called anomalies; header first.
fn by_label(frame: &Frame, judged: &Judged) -> Vec<Vec<String>> {
    let Some(labels) = frame.labels() else {
        return Vec::new();
    };
    let mut counts: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
    for (label, &score) in labels.iter().zip(&judged.scores) {
        let (alarms, all) = counts.entry(label).or_default();
        *alarms += usize::from(score > judged.threshold);
        *all += 1;
    }
    let header = ["", "label", "rows", "called anomalous", "share"];
    let row = |(label, (alarms, all)): (&String, (usize, usize))| {
        let share = format!("{:.4}", alarms as f64 / all as f64);
        vec![
            String::new(),
            label.clone(),
            all.to_string(),
            alarms.to_string(),
            share,
        ]
    };
    let rows = counts.into_iter().map(row);
    std::iter::once(header.map(String::from).to_vec())
        .chain(rows)
        .collect()
}

/// Scores a model on the test file of `data`, else its validation file, else its training file, or on the file itself.
pub(super) fn eval(scorer: &Scorer, data: &Path) -> Result<Evaluation> {
    let file = frame_file_for_eval(data)?;
    let kinds = scorer.encoder.kinds();
    let frame = Frame::open(&file, &scorer.config.table, Some(&kinds))?;
    evaluation(&frame, &Judged::of(scorer, &frame)?)
}

/// Scores predictions, whoever made them: one a row of the table that parses, in order.
pub(super) fn score_predictions(
    predictions: &Path,
    data: &Path,
    settings: &Settings,
) -> Result<Evaluation> {
    #[derive(Deserialize)]
    struct Line {
        score: f64,
        threshold: Option<f64>,
    }
    let file = frame_file_for_eval(data)?;
    let frame = Frame::open(&file, &settings.table, None)?;
    let (mut scores, mut threshold) = (Vec::new(), f64::INFINITY);
    for line in read_predictions(predictions)? {
        let line = line?.parse::<Line>("{\"score\": a number, \"threshold\": a number}")?;
        scores.push(line.score);
        threshold = line.threshold.unwrap_or(threshold);
    }
    if scores.len() != frame.len() || !scores.iter().all(|score| score.is_finite()) {
        let what = format!("{} predictions", scores.len());
        let expected = format!("finite scores for the {} rows that parse", frame.len());
        return Err(Error::input(
            predictions.display().to_string(),
            what,
            expected,
        ));
    }
    evaluation(&frame, &Judged::new(scores, frame.is_anomaly(), threshold))
}

fn evaluation(frame: &Frame, judged: &Judged) -> Result<Evaluation> {
    if frame.is_empty() {
        return Err(Error::input(
            frame.location(),
            "no rows that parse",
            "rows to score",
        ));
    }
    let metrics = judged.metrics()?;
    let named = metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)));
    let headline: Map<String, Value> = named.collect();
    let table = by_label(frame, judged);
    let labels: Map<String, Value> = table
        .iter()
        .skip(1)
        .map(|row| {
            let counts = [&row[2], &row[3]].map(|cell| cell.parse::<usize>().ok());
            (
                row[1].clone(),
                json!({ "rows": counts[0], "called_anomalous": counts[1] }),
            )
        })
        .collect();
    Ok(Evaluation {
        num_samples: frame.len(),
        json: json!({
            "num_samples": frame.len(), "unparsed": frame.unparsed().len(),
            "threshold": judged.threshold.is_finite().then_some(judged.threshold),
            "metrics": headline, "labels": labels,
        }),
        metrics,
        table,
        artefacts: if judged.threshold.is_finite() {
            judged.pictures()?
        } else {
            Vec::new()
        },
    })
}
