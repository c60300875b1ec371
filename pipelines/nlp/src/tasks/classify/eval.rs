//! Scores a classifier on labelled texts.

use super::{
    TextClassifier,
    classifier::Classes,
    samples::{Batch, TextCollate, TextSamples, one_hot},
};
use crate::{
    models::bert::{BertConfig, BertForSequenceClassification},
    preprocess::TextTokenizer,
    tasks::encoder::{first_largest, metric_error},
};
use burn::tensor::{Device, activation::softmax};
use panoply_core::{
    Artefact, Error, Evaluation, Result, RunContext, fit::Loader, fit::Metrics, host, plot,
    progress::Progress,
};
use panoply_datasets::{LabelledTexts, open_texts_for_eval};
use panoply_metrics::{Average, ConfusionMatrix, LogLoss, MetricError, MultilabelCounts};
use serde_json::{Map, Value, json};
use std::path::Path;

/// What is scored, and where it runs.
pub(super) struct Pass<'a> {
    pub(super) config: &'a BertConfig,
    pub(super) tokenizer: &'a TextTokenizer,
    pub(super) classes: &'a Classes,
    pub(super) batch: usize,
    pub(super) device: &'a Device,
    pub(super) context: &'a RunContext,
    /// Name under which the progress shows; hidden if `None`.
    pub(super) label: Option<&'a str>,
}

/// The metrics of one pass, as sums and counts.
pub(super) enum Scores {
    /// One class a text.
    Single {
        matrix: ConfusionMatrix,
        loss: LogLoss,
    },
    /// Several classes a text.
    Multi(MultilabelCounts),
}

impl Scores {
    /// Runs `network` (on an inference device) over the texts, in order.
    pub(super) fn of(
        network: &BertForSequenceClassification,
        texts: &LabelledTexts,
        pass: &Pass<'_>,
    ) -> Result<Self> {
        let samples = TextSamples {
            texts,
            tokenizer: pass.tokenizer,
        };
        let collate = TextCollate {
            config: pass.config,
            multi_label: pass.classes.multi_label,
        };
        let num_classes = pass.classes.names.len();
        let mut scores = if pass.classes.multi_label {
            Self::Multi(MultilabelCounts::new(num_classes).map_err(metric_error)?)
        } else {
            Self::Single {
                matrix: ConfusionMatrix::new(num_classes).map_err(metric_error)?,
                loss: LogLoss::default(),
            }
        };
        let mut progress = pass.label.map_or_else(Progress::hidden, |label| {
            Progress::new(label, texts.len() as u64)
        });
        let loader = Loader::ordered(&samples, &collate, pass.batch);
        loader.pass(0, 0, pass.device, |batches| {
            for batch in batches {
                if pass.context.interrupt.is_raised() {
                    return Err(Error::Interrupted {
                        resume: "an evaluation keeps no state: run it again".into(),
                    });
                }
                let batch = batch?;
                let seen = batch.labels.len() as u64;
                scores.add(network, &batch, num_classes)?;
                progress.advance(seen, "");
            }
            Ok(())
        })?;
        progress.finish();
        Ok(scores)
    }

    fn add(
        &mut self,
        network: &BertForSequenceClassification,
        batch: &Batch,
        num_classes: usize,
    ) -> Result<()> {
        let logits = network.forward(&batch.input);
        match self {
            Self::Single { matrix, loss } => {
                let truth: Vec<usize> = batch.labels.iter().flatten().copied().collect();
                let probabilities = host::to_vec(softmax(logits, 1))?;
                let rows = probabilities.chunks(num_classes);
                let predicted: Vec<usize> = rows.map(first_largest).collect();
                matrix.update(&truth, &predicted).map_err(metric_error)?;
                let added = loss.update(&truth, &probabilities, num_classes);
                added.map_err(metric_error)
            }
            Self::Multi(counts) => {
                let on: Vec<bool> = host::to_vec(logits)?.into_iter().map(|v| v > 0.0).collect();
                let truth = one_hot(&batch.labels, num_classes);
                counts.update(&truth, &on).map_err(metric_error)
            }
        }
    }

    /// Headline metrics, in order. With several classes a text, the accuracy is that of whole texts.
    pub(super) fn metrics(&self) -> Result<Metrics> {
        let metrics = || -> Result<Vec<(&str, f64)>, MetricError> {
            match self {
                Self::Single { matrix, loss } => Ok(vec![
                    ("accuracy", matrix.accuracy()?),
                    ("f1_macro", matrix.f1(Average::Macro)?),
                    ("matthews_corrcoef", matrix.matthews_corrcoef()?),
                    ("log_loss", loss.value()?),
                ]),
                Self::Multi(counts) => Ok(vec![
                    ("accuracy", counts.subset_accuracy()?),
                    ("f1_micro", counts.f1(Average::Micro)?),
                    ("f1_macro", counts.f1(Average::Macro)?),
                    ("hamming_loss", counts.hamming_loss()?),
                ]),
            }
        };
        let named = metrics().map_err(metric_error)?.into_iter();
        Ok(named.map(|(name, value)| (name.into(), value)).collect())
    }

    /// The confusion matrix as a picture, where a text has one class.
    pub(super) fn picture(&self, names: &[String]) -> Result<Option<Artefact>> {
        let Self::Single { matrix, .. } = self else {
            return Ok(None);
        };
        let counts: Vec<Vec<u64>> = matrix.rows().map(<[u64]>::to_vec).collect();
        let svg = plot::confusion_matrix(&counts, names)?;
        Ok(Some(Artefact {
            file_name: "confusion-matrix.svg".into(),
            bytes: svg.into_bytes(),
        }))
    }

    /// A row a class, and the same for programs.
    fn table(&self, names: &[String]) -> Result<(Vec<Vec<String>>, Value)> {
        match self {
            Self::Single { matrix, .. } => {
                let report = matrix.report(names).map_err(metric_error)?;
                Ok((report.table(), json!(report)))
            }
            Self::Multi(counts) => {
                let header = ["class", "precision", "recall", "f1", "support"];
                let mut table = vec![header.map(String::from).to_vec()];
                let mut rows = Map::new();
                for (name, scores) in names.iter().zip(counts.per_label()) {
                    let numbers = [scores.precision, scores.recall, scores.f1];
                    let mut row = vec![name.clone()];
                    row.extend(numbers.map(|v| format!("{v:.4}")));
                    row.push(scores.support.to_string());
                    table.push(row);
                    let [precision, recall, f1] = numbers;
                    let support = scores.support;
                    let json = json!({ "precision": precision, "recall": recall, "f1": f1, "support": support });
                    rows.insert(name.clone(), json);
                }
                Ok((table, Value::Object(rows)))
            }
        }
    }
}

/// Scores on the test split of `data`, else its validation split, else everything. Its classes are
/// found among the model's by name or by index.
pub(super) fn eval(
    classifier: &TextClassifier,
    data: &Path,
    batch: usize,
    context: &RunContext,
) -> Result<Evaluation> {
    let names = classifier.labels();
    let multi_label = classifier.classes.multi_label;
    let texts = open_texts_for_eval(data, &classifier.columns)?.relabelled(names)?;
    let unusable: Vec<usize> = (0..texts.len())
        .filter(|&row| texts.text(row).trim().is_empty())
        .chain((0..texts.len()).filter(|&row| !multi_label && texts.labels(row).len() != 1))
        .collect();
    let texts = texts.without(&unusable);
    if texts.is_empty() {
        let location = data.display().to_string();
        let expected = "texts with a class each";
        return Err(Error::input(location, "no labelled text", expected));
    }
    let pass = Pass {
        config: &classifier.config,
        tokenizer: &classifier.tokenizer,
        classes: &classifier.classes,
        batch,
        device: classifier.device(),
        context,
        label: Some("eval"),
    };
    let scores = Scores::of(&classifier.model, &texts, &pass)?;
    let metrics = scores.metrics()?;
    let (table, report) = scores.table(names)?;
    let headline: Map<String, Value> = metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    Ok(Evaluation {
        num_samples: texts.len(),
        json: json!({ "num_samples": texts.len(), "metrics": headline, "report": report }),
        metrics,
        table,
        artefacts: scores.picture(names)?.into_iter().collect(),
    })
}
