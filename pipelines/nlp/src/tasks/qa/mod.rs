//! `nlp qa`: where in this text is the answer?
//!
//! An encoder of the BERT family that marks the first and the last token of the answer (Devlin et al.,
//! 2019). Models are those of transformers' `…ForQuestionAnswering`; answers are chosen as in its example
//! `run_qa` (`postprocess_qa_predictions`), because the `question-answering` pipeline is no longer part
//! of transformers 5.23. How they differ is said in `decode.rs`. A text longer than the model reads
//! is cut into overlapping windows, each with the question before it.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask train nlp qa --recipe debug` | trains on bundled questions of SQuAD |
//! | `cargo xtask train nlp qa --recipe base --data train-v1.1.json` | fine-tunes MiniLM |
//! | `cargo xtask run nlp qa rows.jsonl --model DIR` | answers with scores and places; a row is `{"question", "context"}` |
//! | `cargo xtask eval nlp qa --model DIR --data dev-v1.1.json` | exact match and F1, SQuAD 1.1 or 2.0 |

mod answerer;
mod decode;
mod eval;
mod recipe;
mod samples;
mod train;

pub use super::starting_point::ModelConfig;
pub use answerer::{Answerer, Asked, Prediction, Settings, SpanLogits, WindowLogits, Windowed};
pub use decode::Answer;
pub use recipe::{DataConfig, RECIPES, Recipe};

use panoply_core::{
    DataCheck, Error, Evaluation, Input, InputKind, ModelCard, ModelFolder, Output, Payload,
    PredictOptions, RecipeInfo, Result, RunContext, Session, Task, TrainOutcome, TrainRequest,
    task::answer_batch,
    weights::{self, SaveDtype},
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The model used when none is given.
pub const DEFAULT: &str = "distilbert/distilbert-base-cased-distilled-squad";

/// The layout that weights are written in.
const LAYOUT: &str = "transformers";

/// The task.
pub struct Qa;

impl Task for Qa {
    fn name(&self) -> &'static str {
        "qa"
    }

    fn about(&self) -> &'static str {
        "find the answer to a question in a text"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Row
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        let context = "Rust is a programming language that began in 2006 as a project of Graydon Hoare at \
                       Mozilla. Version 1.0 was released in May 2015. Its mascot is the crab Ferris 🦀.";
        let questions = [
            "Who began Rust?",
            "When was version 1.0 released?",
            "What is the name of the mascot?",
        ];
        let example = |(number, question): (usize, &str)| Input {
            name: format!("example {number}"),
            payload: Payload::Row(json!({ "question": question, "context": context })),
        };
        (1..).zip(questions).map(example).collect()
    }

    fn settings(&self) -> Value {
        json!(Settings::default())
    }

    fn default_model(&self) -> &'static str {
        DEFAULT
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(QaSession(Answerer::open(model, context)?)))
    }

    fn train(&self, request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
        train::train(request, context)
    }

    fn eval(
        &self,
        model: &str,
        data: &Path,
        batch: usize,
        context: &RunContext,
    ) -> Result<Evaluation> {
        eval::eval(&Answerer::open(model, context)?, data, batch, context)
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }

    fn export(&self, model: &Path, format: &str, out: &Path) -> Result<PathBuf> {
        if format != LAYOUT {
            let what = "layout for this architecture";
            return Err(Error::unknown(what, format, [LAYOUT]));
        }
        let folder = ModelFolder::open(model)?;
        let path = folder.path().display().to_string();
        let answerer = Answerer::open(&path, &RunContext::cpu())?;
        let map = answerer.config.key_map();
        weights::save(&answerer.model, out, map, SaveDtype::F32)?;
        Ok(out.into())
    }
}

/// Question and text of a row; its other fields (`id`, `answers`) are left aside.
fn asked(input: &Input) -> Result<Asked> {
    let expected = "an object {\"question\": \"…\", \"context\": \"…\"}";
    let wrong = |what: String| Error::input(&input.name, what, expected);
    let row = match &input.payload {
        Payload::Row(Value::Object(row)) => row,
        Payload::Row(_) => return Err(wrong("a JSON value that is no object".into())),
        Payload::Text(_) => return Err(wrong("a text".into())),
        Payload::Bytes(_) => return Err(wrong("the bytes of a file".into())),
    };
    let field = |name: &str| match row.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong(format!("a {name} that is no text"))),
        None => Err(wrong(format!("no {name}"))),
    };
    Ok(Asked {
        question: field("question")?,
        context: field("context")?,
    })
}

/// A loaded model behind the task's edge.
struct QaSession(Answerer);

impl Session for QaSession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let answerer = &self.0;
        answer_batch(
            "answering questions",
            inputs,
            |input| answerer.encode(&input.name, &asked(input)?),
            |questions| answerer.answer(questions, options.batch),
            |_, _, prediction| Ok(output(prediction, options)),
        )
    }
}

fn output(prediction: &Prediction, options: &PredictOptions) -> Output {
    let header = ["", "answer", "score", "start", "end"];
    let mut table = vec![header.map(String::from).to_vec()];
    for answer in &prediction.answers {
        table.push(vec![
            String::new(),
            answer.text.clone(),
            format!("{:.4}", answer.score),
            answer.start.to_string(),
            answer.end.to_string(),
        ]);
    }
    let raw = || json!({ "windows": prediction.windows });
    Output {
        json: json!({ "answers": prediction.answers }),
        raw: options.raw.then(raw),
        table,
        ..Output::default()
    }
}
