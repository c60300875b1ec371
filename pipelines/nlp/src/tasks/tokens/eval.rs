//! Scores a classifier of tokens on tagged sentences: entities as seqeval counts them.

use super::{
    TokenClassifier,
    classifier::{logits, most_context, windows},
    samples::{first_tokens, last_chars},
};
use crate::{
    models::bert::{BertConfig, BertForTokenClassification},
    preprocess::{Encoded, TextTokenizer},
    tasks::encoder::{first_largest, metric_error},
};
use burn::tensor::Device;
use panoply_core::{
    Artefact, Error, Evaluation, Result, RunContext, fit::Metrics, plot, progress::Progress,
};
use panoply_datasets::{TaggedSentence, TaggedText, open_tagged_for_eval};
use panoply_metrics::{Average, ConfusionMatrix, EntityScorer, TaggingMode};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The tag of words that the tokenizer drops (control characters alone): nothing was found there.
const OUTSIDE: &str = "O";

/// What is scored, and where it runs.
pub(super) struct Pass<'a> {
    pub(super) config: &'a BertConfig,
    pub(super) tokenizer: &'a TextTokenizer,
    pub(super) labels: &'a [String],
    pub(super) batch: usize,
    pub(super) device: &'a Device,
    pub(super) context: &'a RunContext,
    /// Name under which the progress shows; hidden if `None`.
    pub(super) label: Option<&'a str>,
}

/// The counts of one pass.
pub(super) struct Scores {
    entities: EntityScorer,
    /// Types of words, without `B-` and `I-`.
    matrix: ConfusionMatrix,
    types: Vec<String>,
}

impl Scores {
    /// Runs `network` (on an inference device) over the sentences, in order.
    pub(super) fn of(
        network: &BertForTokenClassification,
        text: &TaggedText,
        pass: &Pass<'_>,
    ) -> Result<Self> {
        let mut types: Vec<String> = pass.labels.iter().map(|l| kind(l).into()).collect();
        types.sort();
        types.dedup();
        let mut scores = Self {
            entities: EntityScorer::new(TaggingMode::Lenient),
            matrix: ConfusionMatrix::new(types.len()).map_err(metric_error)?,
            types,
        };
        let total = text.len() as u64;
        let mut progress = pass
            .label
            .map_or_else(Progress::hidden, |label| Progress::new(label, total));
        let rows: Vec<usize> = (0..text.len()).collect();
        // Several batches together, so that those of like length can be found.
        for chunk in rows.chunks(pass.batch.max(1) * 8) {
            if pass.context.interrupt.is_raised() {
                return Err(Error::Interrupted {
                    resume: "an evaluation keeps no state: run it again".into(),
                });
            }
            let predicted = predict(network, text, chunk, pass)?;
            for (&row, predicted) in chunk.iter().zip(&predicted) {
                scores.add(&text.sentences()[row], predicted)?;
            }
            progress.advance(chunk.len() as u64, "");
        }
        progress.finish();
        Ok(scores)
    }

    fn add(&mut self, sentence: &TaggedSentence, predicted: &[&str]) -> Result<()> {
        let entities = self.entities.update(&[&sentence.tags[..]], &[predicted]);
        entities.map_err(metric_error)?;
        let place = |tag: &str| self.types.iter().position(|t| t == kind(tag));
        let truth = sentence.tags.iter().map(|tag| place(tag));
        let pairs = truth.zip(predicted.iter().map(|tag| place(tag)));
        let (truth, predicted): (Vec<usize>, Vec<usize>) =
            pairs.filter_map(|(t, p)| t.zip(p)).unzip();
        self.matrix.update(&truth, &predicted).map_err(metric_error)
    }

    /// Headline metrics, in order: entities by micro average, then the share of right tags.
    pub(super) fn metrics(&self) -> Result<Metrics> {
        let entities = &self.entities;
        let metrics = [
            ("f1", entities.f1(Average::Micro)),
            ("precision", entities.precision(Average::Micro)),
            ("recall", entities.recall(Average::Micro)),
            ("accuracy", entities.token_accuracy()),
        ];
        metrics
            .into_iter()
            .map(|(name, value)| Ok((name.into(), value.map_err(metric_error)?)))
            .collect()
    }

    /// The confusion of the words' types as a picture.
    pub(super) fn picture(&self) -> Result<Artefact> {
        let counts: Vec<Vec<u64>> = self.matrix.rows().map(<[u64]>::to_vec).collect();
        let svg = plot::confusion_matrix(&counts, &self.types)?;
        Ok(Artefact {
            file_name: "confusion-matrix.svg".into(),
            bytes: svg.into_bytes(),
        })
    }
}

/// A tag without its prefix.
fn kind(tag: &str) -> &str {
    tag.split_once('-').map_or(tag, |(_, kind)| kind)
}

/// The tag of each word of some sentences: that of its first token, where that has most context.
fn predict<'l>(
    network: &BertForTokenClassification,
    text: &TaggedText,
    rows: &[usize],
    pass: &Pass<'l>,
) -> Result<Vec<Vec<&'l str>>> {
    let encode = |&row: &usize| {
        let sentence = text.sentences()[row].text();
        windows(pass.tokenizer, &text.name(row), &sentence, None)
    };
    let encoded: Vec<Vec<Encoded>> = rows.par_iter().map(encode).collect::<Result<_>>()?;
    let windows: Vec<&[Encoded]> = encoded.iter().map(Vec::as_slice).collect();
    let logits = logits(network, pass.config, &windows, pass.batch, pass.device)?;
    let classes = pass.labels.len();
    let mut answers = Vec::with_capacity(rows.len());
    for ((&row, windows), logits) in rows.iter().zip(&encoded).zip(&logits) {
        let words = &text.sentences()[row].words;
        let mut tags = vec![OUTSIDE; words.len()];
        let places = most_context(windows, 0).into_iter();
        let last: Vec<Vec<Option<usize>>> = windows.iter().map(last_chars).collect();
        for (word, (window, at)) in first_tokens(words, places, |(window, at)| last[window][at]) {
            let row = &logits[window][at * classes..(at + 1) * classes];
            tags[word] = &pass.labels[first_largest(row)];
        }
        answers.push(tags);
    }
    Ok(answers)
}

/// Scores on the test file of `data`, else its validation file, else everything.
pub(super) fn eval(
    classifier: &TokenClassifier,
    data: &Path,
    batch: usize,
    context: &RunContext,
) -> Result<Evaluation> {
    let text = open_tagged_for_eval(data, &classifier.columns)?;
    let labels = classifier.labels();
    if let Some(unknown) = text.tags().iter().find(|tag| !labels.contains(tag)) {
        return Err(Error::unknown("tag", unknown, labels));
    }
    if let Some(first) = text.invalid().first() {
        let (location, count) = (text.location(), text.invalid().len());
        tracing::warn!("{location}: {count} sentences cannot be read and are left out ({first})");
    }
    let pass = Pass {
        config: &classifier.config,
        tokenizer: &classifier.tokenizer,
        labels,
        batch,
        device: classifier.device(),
        context,
        label: Some("eval"),
    };
    let scores = Scores::of(&classifier.model, &text, &pass)?;
    let metrics = scores.metrics()?;
    let headline: Map<String, Value> = metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    // Without any entity, true or found, there is no table.
    let report = scores.entities.report().ok();
    let table = report.as_ref().map(panoply_metrics::EntityReport::table);
    Ok(Evaluation {
        num_samples: text.len(),
        json: json!({ "num_samples": text.len(), "metrics": headline, "report": report }),
        metrics,
        table: table.unwrap_or_default(),
        artefacts: vec![scores.picture()?],
    })
}
