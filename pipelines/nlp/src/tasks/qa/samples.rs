//! Questions as training samples and batches.
//!
//! Each window of a text is a sample of its own, as in transformers' `run_qa`: it learns the first and
//! the last token of the first answer, or `[CLS]` for both where the window does not hold the whole
//! answer. Padding goes to the longest window of a batch; it takes part in the softmax, as there.

use super::answerer::windows;
use crate::{
    models::bert::{BertConfig, BertForQuestionAnswering, EncoderInput},
    preprocess::{Encoded, TextTokenizer, encoder_input},
};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};
use panoply_core::{
    Result,
    fit::{Collate, Samples, StepOutput, Targets, Trainable, cross_entropy},
};
use panoply_datasets::QuestionSet;
use rayon::prelude::*;

/// A window with the first and the last token of the answer; 0, `[CLS]`, for both where it holds none.
pub(super) struct Feature {
    encoded: Encoded,
    answer: [i64; 2],
}

/// The first and the last token of the characters `[start, end)` in a window.
pub(super) fn token_span(encoded: &Encoded, span: Option<(usize, usize)>) -> [i64; 2] {
    let tokens: Vec<usize> = (0..encoded.len())
        .filter(|&at| encoded.texts[at] == Some(1))
        .collect();
    let (Some((start, end)), Some((&first, &last))) = (span, tokens.first().zip(tokens.last()))
    else {
        return [0, 0];
    };
    if encoded.offsets[first].0 > start || encoded.offsets[last].1 < end {
        return [0, 0];
    }
    // The last token that begins no later, the first one that ends no earlier.
    let from = tokens
        .iter()
        .rev()
        .find(|&&at| encoded.offsets[at].0 <= start);
    let to = tokens.iter().find(|&&at| encoded.offsets[at].1 >= end);
    match (from, to) {
        (Some(&from), Some(&to)) => [from as i64, to as i64],
        _ => [0, 0],
    }
}

/// The windows of a data set; they are cut anew each time, because those of a whole corpus are large.
pub(super) struct QuestionSamples<'a> {
    set: &'a QuestionSet,
    tokenizer: &'a TextTokenizer,
    stride: usize,
    /// Question and window of each sample.
    places: Vec<(usize, usize)>,
}

impl<'a> QuestionSamples<'a> {
    /// Counts the windows of all questions.
    pub(super) fn new(
        set: &'a QuestionSet,
        tokenizer: &'a TextTokenizer,
        stride: usize,
    ) -> Result<Self> {
        let mut samples = Self {
            set,
            tokenizer,
            stride,
            places: Vec::new(),
        };
        let rows = 0..set.len();
        let counts: Vec<usize> = rows
            .into_par_iter()
            .map(|row| Ok(samples.windows(row)?.len()))
            .collect::<Result<_>>()?;
        let of_row = |(row, count): (usize, usize)| (0..count).map(move |window| (row, window));
        samples.places = counts.into_iter().enumerate().flat_map(of_row).collect();
        Ok(samples)
    }

    /// The windows of a question's text.
    pub(super) fn windows(&self, row: usize) -> Result<Vec<Encoded>> {
        let (name, asked) = (self.set.name(row), &self.set.questions()[row]);
        windows(
            self.tokenizer,
            &name,
            &asked.question,
            &asked.context,
            self.stride,
        )
    }
}

impl Samples for QuestionSamples<'_> {
    type Sample = Feature;

    fn len(&self) -> usize {
        self.places.len()
    }

    fn load(&self, index: usize, _seed: u64) -> Result<Feature> {
        let (row, window) = self.places[index];
        let encoded = self.windows(row)?.swap_remove(window);
        let span = self.set.questions()[row].span();
        Ok(Feature {
            answer: token_span(&encoded, span),
            encoded,
        })
    }
}

/// One batch.
pub(super) struct Batch {
    input: EncoderInput,
    /// First and last token of each answer.
    answers: Vec<[i64; 2]>,
}

/// Pads and stacks samples.
pub(super) struct QuestionCollate<'a> {
    pub(super) config: &'a BertConfig,
}

impl Collate<Feature> for QuestionCollate<'_> {
    type Batch = Batch;

    fn collate(&self, samples: Vec<Feature>, _seed: u64, device: &Device) -> Result<Batch> {
        let encoded: Vec<&Encoded> = samples.iter().map(|sample| &sample.encoded).collect();
        Ok(Batch {
            input: encoder_input(&encoded, self.config, device),
            answers: samples.iter().map(|sample| sample.answer).collect(),
        })
    }
}

/// A model for questions with its loss.
#[derive(Module, Debug)]
pub(super) struct Supervised {
    pub(super) network: BertForQuestionAnswering,
}

impl Trainable for Supervised {
    type Batch = Batch;

    fn loss(&self, batch: Batch) -> StepOutput {
        let logits = self.network.forward(&batch.input);
        let rows = batch.answers.len();
        let mut right = vec![true; rows];
        let ends = [0, 1].map(|side| {
            let logits = logits.clone().narrow(2, side, 1).squeeze_dim::<2>(2);
            let truth: Vec<i64> = batch.answers.iter().map(|answer| answer[side]).collect();
            let best = logits.clone().inner().argmax(1).into_data();
            for ((right, found), truth) in right.iter_mut().zip(best.iter::<i64>()).zip(&truth) {
                *right &= found == *truth;
            }
            let truth = TensorData::new(truth, [rows]);
            let truth = Tensor::<1, Int>::from_data(truth, &logits.device());
            cross_entropy(logits, Targets::Classes(truth), 0.0)
        });
        let [start, end] = ends;
        StepOutput {
            loss: (start + end).div_scalar(2.0),
            num_samples: rows,
            metrics: vec![("exact", right.iter().filter(|&&right| right).count() as f64)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Positions as transformers' `run_qa` finds them in overlapping windows.
    #[test]
    fn targets_equal_run_qa() {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        let read = |file: &str| std::fs::read_to_string(format!("{fixtures}/{file}")).unwrap();
        let file: Value = serde_json::from_str(&read("spans/qa.json")).unwrap();
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let (length, stride) = (number(&file["max_length"]), number(&file["doc_stride"]));
        let json = read("text/bert/tokenizer.json");
        let tokenizer = TextTokenizer::from_json(json.as_bytes(), 1000, length).unwrap();
        let rows = file["targets"].as_array().unwrap();
        assert_eq!(rows.len(), 6);
        for row in rows {
            let text = |field: &str| row[field].as_str().unwrap();
            let encoded = windows(&tokenizer, "row", text("question"), text("context"), stride);
            let start = number(&row["start"]);
            let span = Some((start, start + text("text").chars().count()));
            let found: Vec<[i64; 2]> = encoded
                .unwrap()
                .iter()
                .map(|window| token_span(window, span))
                .collect();
            assert_eq!(serde_json::json!(found), row["targets"], "{row}");
        }
        let nothing = windows(&tokenizer, "row", "Who?", "A reader.", stride).unwrap();
        assert_eq!(token_span(&nothing[0], None), [0, 0]);
    }
}
