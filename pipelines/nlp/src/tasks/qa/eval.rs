//! Scores a model on questions: exact match and F1 as SQuAD's scripts compute them.

use super::{
    Answerer, Settings,
    answerer::{best, fill, logits, windows},
};
use crate::{
    models::bert::{BertConfig, BertForQuestionAnswering},
    preprocess::{Encoded, TextTokenizer},
    tasks::encoder::metric_error,
};
use burn::tensor::Device;
use panoply_core::{Error, Evaluation, Result, RunContext, fit::Metrics, progress::Progress};
use panoply_datasets::{Question, QuestionSet, open_questions_for_eval};
use panoply_metrics::{SquadScores, SquadV2Scores, squad_v1, squad_v2};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What is scored, and where it runs.
pub(super) struct Pass<'a> {
    pub(super) config: &'a BertConfig,
    pub(super) tokenizer: &'a TextTokenizer,
    pub(super) settings: &'a Settings,
    /// Whether the model may answer nothing.
    pub(super) handle_impossible: bool,
    pub(super) batch: usize,
    pub(super) device: &'a Device,
    pub(super) context: &'a RunContext,
    /// Name under which the progress shows; hidden if `None`.
    pub(super) label: Option<&'a str>,
}

/// What SQuAD's scripts say, that of 2.0 where some question has no answer.
pub(super) enum Scores {
    V1(SquadScores),
    V2(SquadV2Scores),
}

impl Scores {
    /// Runs `network` (on an inference device) over the questions, in order.
    pub(super) fn of(
        network: &BertForQuestionAnswering,
        set: &QuestionSet,
        pass: &Pass<'_>,
    ) -> Result<Self> {
        let total = set.len() as u64;
        let mut progress = pass
            .label
            .map_or_else(Progress::hidden, |label| Progress::new(label, total));
        let rows: Vec<usize> = (0..set.len()).collect();
        let mut found = Vec::with_capacity(set.len());
        // Several batches together, so that those of like length can be found.
        for chunk in rows.chunks(pass.batch.max(1) * 4) {
            if pass.context.interrupt.is_raised() {
                return Err(Error::Interrupted {
                    resume: "an evaluation keeps no state: run it again".into(),
                });
            }
            found.extend(predict(network, set, chunk, pass)?);
            progress.advance(chunk.len() as u64, "");
        }
        progress.finish();
        let gold = |q: &Question| q.answers.iter().map(|a| a.text.clone()).collect();
        let golds: Vec<Vec<String>> = set.questions().iter().map(gold).collect();
        if golds.iter().any(Vec::is_empty) {
            let scores = squad_v2::<_, _, _, f64>(&found, &golds, None, 1.0);
            return Ok(Self::V2(scores.map_err(metric_error)?));
        }
        Ok(Self::V1(squad_v1(&found, &golds).map_err(metric_error)?))
    }

    /// Headline metrics, in order, in percent.
    pub(super) fn metrics(&self) -> Metrics {
        let pair = |prefix: &str, scores: &SquadScores| {
            let named = [("exact_match", scores.exact), ("f1", scores.f1)];
            named.map(|(name, value)| (format!("{prefix}{name}"), value))
        };
        match self {
            Self::V1(scores) => pair("", scores).to_vec(),
            Self::V2(scores) => {
                let mut metrics = pair("", &scores.all).to_vec();
                metrics.extend(scores.has_ans.iter().flat_map(|s| pair("has_answer_", s)));
                metrics.extend(scores.no_ans.iter().flat_map(|s| pair("no_answer_", s)));
                metrics
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::V1(scores) => json!(scores),
            Self::V2(scores) => json!(scores),
        }
    }
}

/// The texts of the chosen answers to some questions, empty for none.
fn predict(
    network: &BertForQuestionAnswering,
    set: &QuestionSet,
    rows: &[usize],
    pass: &Pass<'_>,
) -> Result<Vec<String>> {
    let encode = |&row: &usize| {
        let question = &set.questions()[row];
        let (text, stride) = (&question.context, pass.settings.doc_stride);
        windows(
            pass.tokenizer,
            &set.name(row),
            &question.question,
            text,
            stride,
        )
    };
    let encoded: Vec<Vec<Encoded>> = rows.par_iter().map(encode).collect::<Result<_>>()?;
    let windows: Vec<&[Encoded]> = encoded.iter().map(Vec::as_slice).collect();
    let logits = logits(network, pass.config, &windows, pass.batch, pass.device)?;
    let answer = |((&row, windows), logits): ((&usize, &Vec<Encoded>), &Vec<_>)| {
        let mut answers = best(windows, logits, pass.settings, pass.handle_impossible);
        answers.truncate(1);
        fill(&mut answers, &set.questions()[row].context);
        answers.pop().map(|answer| answer.text).unwrap_or_default()
    };
    Ok(rows.iter().zip(&encoded).zip(&logits).map(answer).collect())
}

/// Scores on the test file of `data`, else its validation file, else everything.
pub(super) fn eval(
    answerer: &Answerer,
    data: &Path,
    batch: usize,
    context: &RunContext,
) -> Result<Evaluation> {
    let set = open_questions_for_eval(data)?;
    let is_unusable = |q: &Question| {
        let empty = q.question.trim().is_empty() || q.context.trim().is_empty();
        empty || (q.answers.is_empty() && !q.is_impossible)
    };
    let all = set.questions().iter().enumerate();
    let unusable: Vec<usize> = all
        .filter(|(_, q)| is_unusable(q))
        .map(|(row, _)| row)
        .collect();
    if let Some(&first) = unusable.first() {
        let (count, name) = (unusable.len(), set.name(first));
        tracing::warn!("{count} questions are empty or have no answer and are left out ({name})");
    }
    let set = set.without(&unusable);
    if set.is_empty() {
        let location = data.display().to_string();
        return Err(Error::input(
            location,
            "no question with an answer",
            "a SQuAD file",
        ));
    }
    let pass = Pass {
        config: &answerer.config,
        tokenizer: &answerer.tokenizer,
        settings: &answerer.settings,
        handle_impossible: answerer.handle_impossible,
        batch,
        device: answerer.device(),
        context,
        label: Some("eval"),
    };
    let scores = Scores::of(&answerer.model, &set, &pass)?;
    let metrics = scores.metrics();
    let headline: Map<String, Value> = metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let row = |(name, value): &(String, f64)| vec![name.clone(), format!("{value:.2}")];
    let mut table = vec![["metric", "percent"].map(String::from).to_vec()];
    table.extend(metrics.iter().map(row));
    Ok(Evaluation {
        num_samples: set.len(),
        json: json!({ "num_samples": set.len(), "metrics": headline, "report": scores.json() }),
        metrics,
        table,
        artefacts: Vec::new(),
    })
}
