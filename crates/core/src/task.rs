//! The few types at the edge between the engine's tasks and whoever calls them: the command line,
//! the server, the benches and the contract tests.

use crate::{Error, ModelCard, Result, TrainOutcome, TrainRequest, guard, progress::Interrupt};
use burn::tensor::Device;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One domain: its tasks in the order in which they are listed.
pub struct Pipeline {
    /// The word on the command line.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// Every task; a plain list, no registry macros.
    pub tasks: &'static [&'static dyn Task],
}

impl Pipeline {
    /// The task called `name`, or an error that lists the known ones.
    pub fn task(&self, name: &str) -> Result<&'static dyn Task> {
        let found = self.tasks.iter().find(|task| task.name() == name);
        found
            .copied()
            .ok_or_else(|| Error::unknown("task", name, self.tasks.iter().map(|t| t.name())))
    }
}

/// What a task reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Encoded image files.
    Image,
    /// Lines of text.
    Text,
    /// JSON objects, one a line, or the rows of a CSV file as such objects.
    Row,
    /// Encoded audio files.
    Audio,
    /// Whole tables, a file each: CSV, TSV, JSON lines.
    Table,
}

/// One thing to predict on.
#[derive(Clone, Debug)]
pub struct Input {
    /// Shown in outputs and errors: a path, or `line 3`.
    pub name: String,
    /// The content.
    pub payload: Payload,
}

/// The content of an [`Input`].
#[derive(Clone, Debug)]
pub enum Payload {
    /// Text, already decoded.
    Text(String),
    /// A JSON object.
    Row(Value),
    /// An encoded file: image, audio, table.
    Bytes(Vec<u8>),
}

impl Input {
    /// An encoded file in memory.
    pub fn bytes(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            payload: Payload::Bytes(bytes.into()),
        }
    }

    /// Reads a file whole; the path becomes the name.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        Ok(Self::bytes(path.display().to_string(), bytes))
    }

    /// The text; bytes are read as UTF-8. An error says what came instead.
    pub fn as_text(&self) -> Result<&str> {
        match &self.payload {
            Payload::Text(text) => Ok(text),
            Payload::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|e| {
                let what = format!("byte {} is not UTF-8", e.valid_up_to());
                Error::input(&self.name, what, "UTF-8 text")
            }),
            Payload::Row(_) => Err(Error::input(&self.name, "a JSON row", "a text")),
        }
    }

    /// The encoded bytes, or an error that says what came instead.
    pub fn as_bytes(&self) -> Result<&[u8]> {
        match &self.payload {
            Payload::Bytes(bytes) => Ok(bytes),
            Payload::Text(_) => Err(Error::input(&self.name, "a text", "the bytes of a file")),
            Payload::Row(_) => Err(Error::input(
                &self.name,
                "a JSON row",
                "the bytes of a file",
            )),
        }
    }
}

/// One answer an input, in order: `decode` in parallel, one `run` over all that decoded, `show` for
/// each. A bad input is an `Err` in its place; if `run` fails, every input of it says so. `doing` is
/// for messages (`"classifying"`).
pub fn answer_batch<T: Send, P>(
    doing: &str,
    inputs: &[Input],
    decode: impl Fn(&Input) -> Result<T> + Sync,
    run: impl FnOnce(&[T]) -> Result<Vec<P>>,
    show: impl Fn(&Input, &T, &P) -> Result<Output>,
) -> Vec<Result<Output>> {
    let decode_one = |input: &Input| guard(&input.name, || decode(input));
    let decoded: Vec<Result<T>> = inputs.par_iter().map(decode_one).collect();
    let mut good = Vec::new();
    let mut slots = Vec::new();
    for outcome in decoded {
        slots.push(outcome.map(|one| {
            good.push(one);
            good.len() - 1
        }));
    }
    let predictions = if good.is_empty() {
        Ok(Vec::new())
    } else {
        guard(doing, || run(&good))
    };
    let failure = predictions.as_ref().err().map(ToString::to_string);
    let predictions = predictions.unwrap_or_default();
    let answer = |(input, slot): (&Input, Result<usize>)| {
        let at = slot?;
        match (&failure, predictions.get(at)) {
            (None, Some(prediction)) => show(input, &good[at], prediction),
            (failure, _) => Err(Error::Internal {
                context: doing.into(),
                message: failure.clone().unwrap_or_else(|| "no answer".into()),
            }),
        }
    };
    inputs.iter().zip(slots).map(answer).collect()
}

/// A file that a task made: an annotated picture, a heat map, a table.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// Suggested file name, without a folder.
    pub file_name: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// A piece of a text, and how much it speaks for an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Shade {
    /// The piece.
    pub text: String,
    /// From -1, strongly against, to 1, strongly for.
    pub weight: f64,
}

/// The answer to one [`Input`].
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// What `--json` prints under `"output"`.
    pub json: Value,
    /// What `--raw` adds under `"raw"`: model outputs in full precision.
    pub raw: Option<Value>,
    /// Rows for a person: header first.
    pub table: Vec<Vec<String>>,
    /// A text in pieces, coloured where a person watches.
    pub shades: Vec<Shade>,
    /// Pictures and files that belong to this answer.
    pub artefacts: Vec<Artefact>,
}

impl Output {
    /// The line that `--json` prints.
    pub fn to_line(&self, input: &str) -> Value {
        let mut line = json!({ "input": input, "output": self.json });
        if let Some(raw) = &self.raw {
            line["raw"] = raw.clone();
        }
        line
    }
}

/// How to predict.
#[derive(Clone, Debug)]
pub struct PredictOptions {
    /// Inputs a forward pass takes together.
    pub batch: usize,
    /// Keep model outputs in full precision.
    pub raw: bool,
    /// Draw artefacts.
    pub artefacts: bool,
    /// Where an answer goes piece by piece while it is being made, by sessions that
    /// [stream](Session::streams).
    pub pieces: Option<Pieces>,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self {
            batch: 8,
            raw: false,
            artefacts: false,
            pieces: None,
        }
    }
}

/// Shown the text of an answer as it grows. The pieces of one answer, one after the other, are its
/// text; none is empty and none ends within a character.
#[derive(Clone)]
pub struct Pieces(Arc<Show>);

type Show = dyn Fn(&str) -> Result<()> + Send + Sync;

impl Pieces {
    /// Calls `show` with each piece; an error of it ends the answer.
    pub fn new(show: impl Fn(&str) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }

    /// Shows a piece; nothing is done for an empty one.
    pub fn show(&self, piece: &str) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        (self.0)(piece)
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pieces")
    }
}

/// A loaded model, ready to answer: what a server keeps.
pub trait Session: Send {
    /// What the model folder says about itself.
    fn card(&self) -> &ModelCard;

    /// One answer an input, in order; a bad input is an `Err` in its place and spoils no other.
    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>>;

    /// Whether [`predict`](Self::predict) of a single input shows its answer to
    /// [`PredictOptions::pieces`] while it is being made.
    fn streams(&self) -> bool {
        false
    }

    /// Whether an answer depends on the inputs before it: whoever has them one by one asks for each
    /// answer as soon as its input is there.
    fn is_sequential(&self) -> bool {
        false
    }
}

/// The typed view of a task for library users.
pub trait Predictor {
    /// What one prediction takes.
    type Input;
    /// Tensors.
    type Batch;
    /// Model outputs.
    type Raw;
    /// What one prediction gives.
    type Output;

    /// Raw inputs to tensors; the same code that training uses.
    fn preprocess(&self, inputs: &[Self::Input]) -> Result<Self::Batch>;

    /// The model, on a device without autodiff.
    fn forward(&self, batch: Self::Batch) -> Result<Self::Raw>;

    /// Model outputs to one output an input.
    fn postprocess(&self, raw: Self::Raw) -> Result<Vec<Self::Output>>;

    /// Inputs a forward pass takes together.
    fn batch_size(&self) -> usize {
        8
    }

    /// One output an input, in order.
    fn predict(&self, inputs: &[Self::Input]) -> Result<Vec<Self::Output>> {
        let mut outputs = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(self.batch_size().max(1)) {
            outputs.extend(self.postprocess(self.forward(self.preprocess(chunk)?)?)?);
        }
        Ok(outputs)
    }
}

/// A named recipe as `info` prints it.
#[derive(Clone, Copy, Debug)]
pub struct RecipeInfo {
    /// The word after `--recipe`.
    pub name: &'static str,
    /// Data, cost and expected metric, or "not measured".
    pub about: &'static str,
}

/// What every verb that computes needs.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// Inference device, without autodiff.
    pub device: Device,
    /// Set by Ctrl-C; long work looks at it between steps.
    pub interrupt: Interrupt,
    /// Never open a network connection.
    pub offline: bool,
    /// What differs from [`Task::settings`], as `--set` of `run`, `eval` and `explain` edited it;
    /// `null` for nothing.
    pub settings: Value,
}

impl RunContext {
    /// On the CPU, not interruptible, offline: what tests and benches use.
    pub fn cpu() -> Self {
        Self {
            device: Device::flex(),
            interrupt: Interrupt::default(),
            offline: true,
            settings: Value::Null,
        }
    }

    /// The settings as a task's own type: a struct with defaults that refuses unknown keys.
    ///
    /// # Errors
    /// A key that it does not know, or a value of the wrong type.
    pub fn settings<S: Default + DeserializeOwned>(&self) -> Result<S> {
        if self.settings.is_null() {
            return Ok(S::default());
        }
        serde_json::from_value(self.settings.clone())
            .map_err(|e| Error::input("--set", e.to_string(), "a value of the setting's type"))
    }
}

/// What the data gate found.
#[derive(Debug, Default)]
pub struct DataCheck {
    /// The findings.
    pub output: Output,
    /// Why a training would refuse the data; `None` if it would not.
    pub refusal: Option<Error>,
}

/// What an evaluation found.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Number of samples scored.
    pub num_samples: usize,
    /// Headline metrics, in order.
    pub metrics: Vec<(String, f64)>,
    /// A table with a header row, for a person.
    pub table: Vec<Vec<String>>,
    /// Everything, for `--json`.
    pub json: Value,
    /// Pictures: confusion matrix, curves.
    pub artefacts: Vec<Artefact>,
}

/// `explain …`.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// Model folder or name; the task's default if `None`.
    pub model: Option<String>,
    /// One of [`Task::explain_methods`].
    pub method: String,
    /// What to explain the answer to.
    pub input: Input,
    /// Class to explain; the predicted one if `None`.
    pub target: Option<usize>,
}

/// The object-safe view of one task. A verb that a task lacks answers [`Error::Unsupported`].
pub trait Task: Sync {
    /// The word on the command line.
    fn name(&self) -> &'static str;

    /// One line.
    fn about(&self) -> &'static str;

    /// What [`Session::predict`] reads.
    fn input_kind(&self) -> InputKind;

    /// Recipes of `train`; the first is the default.
    fn recipes(&self) -> &'static [RecipeInfo];

    /// Bundled inputs, used when `run` gets none.
    fn examples(&self) -> Vec<Input>;

    /// Architectures that `model import` and recipes accept, with their parameter counts.
    fn architectures(&self) -> Vec<(String, usize)> {
        Vec::new()
    }

    /// Methods of `explain`.
    fn explain_methods(&self) -> &'static [&'static str] {
        &[]
    }

    /// What `--set` of `run`, `eval` and `explain` can change, with its defaults, as a JSON object;
    /// [`RunContext::settings`] brings it to [`open`](Self::open). `train --set` edits the recipe.
    fn settings(&self) -> Value {
        json!({})
    }

    /// Name of the model used when none is given.
    fn default_model(&self) -> &'static str;

    /// Loads a model: a folder, a bundled name or a Hub name.
    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>>;

    /// Trains by a recipe.
    fn train(&self, _request: &TrainRequest, _context: &RunContext) -> Result<TrainOutcome> {
        Err(Error::Unsupported {
            task: self.name().into(),
            verb: "train",
        })
    }

    /// Scores a model on labelled data.
    fn eval(
        &self,
        _model: &str,
        _data: &Path,
        _batch: usize,
        _context: &RunContext,
    ) -> Result<Evaluation> {
        Err(Error::Unsupported {
            task: self.name().into(),
            verb: "eval",
        })
    }

    /// Scores a file of predictions on labelled data with the metrics of [`eval`](Self::eval), whoever
    /// made them: evaluators can be compared from outside. What a file holds is what `run --json`
    /// prints, one line a sample.
    fn score_predictions(
        &self,
        _predictions: &Path,
        _data: &Path,
        _context: &RunContext,
    ) -> Result<Evaluation> {
        Err(Error::Unsupported {
            task: self.name().into(),
            verb: "eval --metrics-only",
        })
    }

    /// Runs the data gate on a data set and says what it found.
    fn check_data(&self, _data: &Path, _context: &RunContext) -> Result<DataCheck> {
        Err(Error::Unsupported {
            task: self.name().into(),
            verb: "data check",
        })
    }

    /// A table over all answers of one call, for a person (the inputs' names beside them): what a
    /// single answer cannot show. Empty where there is nothing to add.
    fn overview(&self, _answers: &[(String, Output)]) -> Vec<Vec<String>> {
        Vec::new()
    }

    /// Shows why a model answered as it did.
    fn explain(&self, _request: &ExplainRequest, _context: &RunContext) -> Result<Output> {
        Err(Error::Unsupported {
            task: self.name().into(),
            verb: "explain",
        })
    }

    /// Makes a model folder out of a published checkpoint file.
    fn import(&self, _file: &Path, _arch: &str, _out: &Path) -> Result<ModelCard> {
        Err(Error::Unsupported {
            task: self.name().into(),
            verb: "model import",
        })
    }

    /// Writes a model folder's weights in the published layout `format`.
    fn export(&self, _model: &Path, _format: &str, _out: &Path) -> Result<PathBuf> {
        Err(Error::Unsupported {
            task: self.name().into(),
            verb: "model export",
        })
    }
}

/// What `cargo xtask new task` writes, so that it always compiles.
#[cfg(test)]
#[path = "../../../xtask/templates/task.rs"]
pub mod template;
