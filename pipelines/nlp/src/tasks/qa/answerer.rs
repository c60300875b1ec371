//! A loaded model that answers questions: encoder with head, tokenizer; windows of long texts.

use super::decode::{Answer, Scored, decode};
use crate::{
    models::bert::{BertConfig, BertForQuestionAnswering},
    preprocess::{Encoded, TextTokenizer, encoder_input, shortened},
    tasks::encoder::{EncoderFolder, by_length},
};
use burn::tensor::Device;
use panoply_core::{
    Error, ModelCard, ModelFolder, Predictor, Result, RunContext, guard, host, weights::LoadOptions,
};
use serde::{Deserialize, Serialize};

/// What `--set` of `run` and `eval` changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Answers shown for a question.
    pub top_k: usize,
    /// Tokens that two windows of a long text have in common.
    pub doc_stride: usize,
    /// Longest answer in tokens.
    pub max_answer_len: usize,
    /// Tokens of a window, question included; at most the model's.
    pub max_length: usize,
    /// Whether there may be no answer; `null` for what the model was trained for.
    pub handle_impossible: Option<bool>,
    /// Candidates for the first and for the last token of a window, and answers that share the
    /// probability.
    pub n_best: usize,
    /// By how much the logits of "no answer" must exceed those of the best answer to be chosen.
    pub null_score_diff_threshold: f64,
    /// Longest text in characters; what follows is cut off, with a warning.
    pub max_characters: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            top_k: 1,
            doc_stride: 128,
            max_answer_len: 30,
            max_length: 384,
            handle_impossible: None,
            n_best: 20,
            null_score_diff_threshold: 0.0,
            max_characters: 500_000,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        for (name, value) in [
            ("top_k", self.top_k),
            ("max_answer_len", self.max_answer_len),
            ("max_length", self.max_length),
            ("n_best", self.n_best),
            ("max_characters", self.max_characters),
        ] {
            if value == 0 {
                return Err(Error::input(name, "0", "at least 1"));
            }
        }
        Ok(())
    }
}

/// What a model folder of this task says in `preprocessor_config.json`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Trained {
    /// Whether questions without an answer were among its training data.
    pub(super) handle_impossible: bool,
}

/// A question about a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The question.
    pub question: String,
    /// The text that holds the answer.
    pub context: String,
}

/// The answer to one question.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The best answers, the chosen one first; empty where no stretch of the text is possible.
    pub answers: Vec<Answer>,
    /// What the model said about each window of the text.
    pub windows: Vec<WindowLogits>,
}

/// The logits of a window's tokens, special tokens and question included.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowLogits {
    /// Where the tokens of the text stand in it; `null` for all others.
    pub offsets: Vec<Option<(usize, usize)>>,
    /// To be the first token of the answer.
    pub start_logits: Vec<f32>,
    /// To be the last one.
    pub end_logits: Vec<f32>,
}

/// A question with its text cut into windows.
#[derive(Clone, Debug)]
pub struct Windowed {
    context: String,
    windows: Vec<Encoded>,
}

/// Logits of a window's tokens, to be the first and the last one of the answer.
pub(super) type Pair = (Vec<f32>, Vec<f32>);

/// Questions with the logits of each window.
#[derive(Clone, Debug)]
pub struct SpanLogits {
    questions: Vec<Windowed>,
    logits: Vec<Vec<Pair>>,
}

/// A model that answers questions.
#[derive(Debug)]
pub struct Answerer {
    pub(super) config: BertConfig,
    pub(super) model: BertForQuestionAnswering,
    pub(super) tokenizer: TextTokenizer,
    pub(super) settings: Settings,
    pub(super) handle_impossible: bool,
    card: ModelCard,
    device: Device,
}

impl Answerer {
    /// Opens a model: a folder, or a Hub name (`owner/name[@revision]`), with the context's [`Settings`].
    ///
    /// # Errors
    /// A folder without a model for questions, or a setting out of its range.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        let settings: Settings = context.settings()?;
        settings.check()?;
        let found = EncoderFolder::find(model, context)?;
        let mut network = found.config.init_question_answering(&found.device);
        // Published files may hold a pooler that this head does not use.
        let unused = LoadOptions {
            allow_missing: &[],
            allow_unexpected: &["**pooler.**"],
        };
        found.load(&mut network, unused)?;
        let trained: Option<Trained> = found.folder.read_json(ModelFolder::PREPROCESSOR)?;
        let trained = trained.unwrap_or_default();
        Ok(Self {
            card: found.card("qa", &network)?,
            model: network,
            tokenizer: found.tokenizer.with_max_length(settings.max_length)?,
            config: found.config,
            device: found.device,
            handle_impossible: settings
                .handle_impossible
                .unwrap_or(trained.handle_impossible),
            settings,
        })
    }

    /// What the model folder says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Windows of a text beside its question; `name` stands for them in messages.
    pub(super) fn encode(&self, name: &str, asked: &Asked) -> Result<Windowed> {
        let context = shortened(name, &asked.context, self.settings.max_characters);
        let stride = self.settings.doc_stride;
        Ok(Windowed {
            windows: windows(&self.tokenizer, name, &asked.question, context, stride)?,
            context: context.into(),
        })
    }

    /// Answers to questions, `batch` windows at a time.
    pub(super) fn answer(&self, questions: &[Windowed], batch: usize) -> Result<Vec<Prediction>> {
        let windows: Vec<&[Encoded]> = questions.iter().map(|q| &q.windows[..]).collect();
        let logits = logits(&self.model, &self.config, &windows, batch, &self.device)?;
        let each = questions.iter().zip(&logits);
        Ok(each.map(|(q, logits)| self.read(q, logits)).collect())
    }

    /// The answer that the logits of a text's windows give.
    fn read(&self, question: &Windowed, logits: &[Pair]) -> Prediction {
        let windows = &question.windows;
        let mut answers = best(windows, logits, &self.settings, self.handle_impossible);
        answers.truncate(self.settings.top_k);
        fill(&mut answers, &question.context);
        let raw = |(window, (start, end)): (&Encoded, &Pair)| WindowLogits {
            offsets: (0..window.len())
                .map(|at| (window.texts[at] == Some(1)).then(|| window.offsets[at]))
                .collect(),
            start_logits: start.clone(),
            end_logits: end.clone(),
        };
        Prediction {
            answers,
            windows: windows.iter().zip(logits).map(raw).collect(),
        }
    }
}

/// Windows of a text, each with the question before it. White space before the question is dropped, as
/// in the reference: some tokenizers count it.
pub(super) fn windows(
    tokenizer: &TextTokenizer,
    name: &str,
    question: &str,
    context: &str,
    stride: usize,
) -> Result<Vec<Encoded>> {
    tokenizer.windows(name, question.trim_start(), Some(context), stride)
}

/// The answers that the logits of a text's windows give, without their texts.
pub(super) fn best(
    windows: &[Encoded],
    logits: &[Pair],
    settings: &Settings,
    impossible: bool,
) -> Vec<Answer> {
    let scored: Vec<Scored<'_>> = windows
        .iter()
        .zip(logits)
        .map(|(encoded, (start, end))| Scored {
            encoded,
            start,
            end,
        })
        .collect();
    decode(&scored, settings, impossible)
}

/// Fills in the texts of answers.
pub(super) fn fill(answers: &mut [Answer], context: &str) {
    for answer in answers {
        let length = answer.end.saturating_sub(answer.start);
        answer.text = context.chars().skip(answer.start).take(length).collect();
    }
}

/// Logits of each window of each text.
pub(super) fn logits(
    model: &BertForQuestionAnswering,
    config: &BertConfig,
    texts: &[&[Encoded]],
    batch: usize,
    device: &Device,
) -> Result<Vec<Vec<Pair>>> {
    let all: Vec<&Encoded> = texts.iter().copied().flatten().collect();
    let rows = by_length(
        &all,
        batch,
        |window| window.len(),
        |batch| {
            let batch: Vec<&Encoded> = batch.iter().map(|window| **window).collect();
            let logits = model.forward(&encoder_input(&batch, config, device));
            let seq = logits.dims()[1];
            let values = host::to_vec(logits)?;
            let pair = |(row, window): (&[f32], &&Encoded)| -> Pair {
                row[..2 * window.len()]
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&[s, e]| (s, e))
                    .unzip()
            };
            Ok(values.chunks(2 * seq).zip(&batch).map(pair).collect())
        },
    )?;
    let mut rows = rows.into_iter();
    Ok(texts
        .iter()
        .map(|windows| rows.by_ref().take(windows.len()).collect())
        .collect())
}

impl Predictor for Answerer {
    type Input = Asked;
    type Batch = Vec<Windowed>;
    type Raw = SpanLogits;
    type Output = Prediction;

    fn preprocess(&self, inputs: &[Asked]) -> Result<Vec<Windowed>> {
        let encode =
            |(i, asked): (usize, &Asked)| self.encode(&format!("question {}", i + 1), asked);
        inputs.iter().enumerate().map(encode).collect()
    }

    fn forward(&self, questions: Vec<Windowed>) -> Result<SpanLogits> {
        let windows: Vec<&[Encoded]> = questions.iter().map(|q| &q.windows[..]).collect();
        let batch = self.batch_size();
        let logits = guard("the forward pass", || {
            logits(&self.model, &self.config, &windows, batch, &self.device)
        })?;
        Ok(SpanLogits { questions, logits })
    }

    fn postprocess(&self, raw: SpanLogits) -> Result<Vec<Prediction>> {
        let each = raw.questions.iter().zip(&raw.logits);
        Ok(each.map(|(q, logits)| self.read(q, logits)).collect())
    }
}
