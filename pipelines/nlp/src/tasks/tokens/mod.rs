//! `nlp tokens`: which words name a person, a place, a product?
//!
//! An encoder of the BERT family with a classifier of each token (Devlin et al., 2019). Models and
//! answers are those of transformers' `token-classification` pipeline (5.23), with these differences:
//!
//! - an answer quotes the characters of the text; the reference joins the tokens' spellings;
//! - a text longer than the model reads is cut into overlapping windows, always; the reference cuts the rest off
//!   unless it is given a stride. Of entities that overlap the longest stays, as there. Without
//!   aggregation a token of two windows is answered where it has more context; the reference refuses;
//! - `O` is what is left out; the reference can be given other classes.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask train nlp tokens --recipe debug` | learns entities of six types from bundled sentences |
//! | `cargo xtask train nlp tokens --recipe base --data DIR` | fine-tunes MiniLM on CoNLL files |
//! | `cargo xtask run nlp tokens --text "Angela Merkel visited Paris."` | entities with scores and places |
//! | `cargo xtask run nlp tokens a.txt --set aggregation=average` | whole words, scores averaged |
//! | `cargo xtask eval nlp tokens --model DIR --data test.conll` | precision, recall and F1 of entities by type |

mod aggregate;
mod classifier;
mod eval;
mod recipe;
mod samples;
mod train;

pub use super::starting_point::ModelConfig;
pub use aggregate::{Aggregation, Entity};
pub use classifier::{Prediction, Settings, TokenClassifier, TokenLogits, WindowLogits, Windowed};
pub use recipe::{DataConfig, RECIPES, Recipe};

use super::encoder::examples;
use panoply_core::{
    DataCheck, Error, Evaluation, Input, InputKind, ModelCard, ModelFolder, Output, PredictOptions,
    RecipeInfo, Result, RunContext, Session, Task, TrainOutcome, TrainRequest,
    task::answer_batch,
    weights::{self, SaveDtype},
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The model used when none is given: persons, places, organisations and others in English.
pub const DEFAULT: &str = "dslim/bert-base-NER";

/// The layout that weights are written in.
const LAYOUT: &str = "transformers";

/// The task.
pub struct Tokens;

impl Task for Tokens {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn about(&self) -> &'static str {
        "find the words that name something: persons, places, products, or your own classes after training"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Text
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        examples(&[
            "Angela Merkel met Barack Obama in Berlin in 2013.",
            "The Fellowship of the Ring was filmed in New Zealand by Peter Jackson.",
            "Apple 🍎 opened its new store in São Paulo.",
        ])
    }

    fn settings(&self) -> Value {
        json!(Settings::default())
    }

    fn default_model(&self) -> &'static str {
        DEFAULT
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        let classifier = TokenClassifier::open(model, context)?;
        Ok(Box::new(TokensSession(classifier)))
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
        eval::eval(
            &TokenClassifier::open(model, context)?,
            data,
            batch,
            context,
        )
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
        let classifier = TokenClassifier::open(&path, &RunContext::cpu())?;
        let map = classifier.config.key_map();
        weights::save(&classifier.model, out, map, SaveDtype::F32)?;
        Ok(out.into())
    }
}

/// A classifier of tokens behind the task's edge.
struct TokensSession(TokenClassifier);

impl Session for TokensSession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let classifier = &self.0;
        answer_batch(
            "finding entities",
            inputs,
            |input| classifier.encode(&input.name, input.as_text()?),
            |texts| classifier.answer(texts, options.batch),
            |_, _, prediction| Ok(output(classifier, prediction, options)),
        )
    }
}

fn output(found: &TokenClassifier, prediction: &Prediction, options: &PredictOptions) -> Output {
    let header = ["", "text", "label", "score", "start", "end"];
    let mut table = vec![header.map(String::from).to_vec()];
    for entity in &prediction.entities {
        table.push(vec![
            String::new(),
            entity.text.clone(),
            entity.label.clone(),
            format!("{:.4}", entity.score),
            entity.start.to_string(),
            entity.end.to_string(),
        ]);
    }
    let raw = || json!({ "labels": found.labels(), "tokens": prediction.tokens });
    Output {
        json: json!({ "entities": prediction.entities }),
        raw: options.raw.then(raw),
        table,
        ..Output::default()
    }
}
