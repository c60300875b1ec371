//! `nlp classify`: which kind of text is this?
//!
//! An encoder of the BERT family with a classifier of whole sequences (Devlin et al., 2019), one class a
//! text or several. Models are those of transformers' `text-classification` pipeline.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask train nlp classify --recipe debug` | learns to tell eight languages apart |
//! | `cargo xtask train nlp classify --recipe base --data DIR` | fine-tunes MiniLM on a table of texts |
//! | `cargo xtask run nlp classify --model runs/nlp-classify-debug/model --text "Guten Tag"` | labels with scores |
//! | `cargo xtask explain nlp classify --model DIR --method integrated-gradients FILE` | the text, coloured by what speaks for the label |
//! | `cargo xtask eval nlp classify --model DIR --data DIR` | accuracy, F1, Matthews, per-class table, confusion matrix |

mod classifier;
mod eval;
mod explain;
mod recipe;
mod report;
mod samples;
mod train;

pub use super::starting_point::{LoraSettings, ModelConfig};
pub use classifier::{Label, Prediction, TextClassifier};
pub use recipe::{DataConfig, RECIPES, Recipe};

use super::encoder::{by_length, examples};
use crate::preprocess::Encoded;
use panoply_core::{
    DataCheck, Error, Evaluation, ExplainRequest, Input, InputKind, ModelCard, ModelFolder, Output,
    PredictOptions, RecipeInfo, Result, RunContext, Session, Task, TrainOutcome, TrainRequest,
    task::answer_batch,
    weights::{self, SaveDtype},
};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The model used when none is given: sentiment of English sentences.
pub const DEFAULT: &str = "distilbert/distilbert-base-uncased-finetuned-sst-2-english";

/// The layout that weights are written in.
const LAYOUT: &str = "transformers";

/// The task.
pub struct Classify;

impl Task for Classify {
    fn name(&self) -> &'static str {
        "classify"
    }

    fn about(&self) -> &'static str {
        "sort texts into classes: sentiment, topic, language, or your own after training"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Text
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        examples(&[
            "A stirring, funny and finally moving film.",
            "Ein bewegender und sehr komischer Film.",
            "Un film émouvant et très drôle.",
        ])
    }

    fn default_model(&self) -> &'static str {
        DEFAULT
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        let classifier = TextClassifier::open(model, context)?;
        Ok(Box::new(ClassifySession(classifier)))
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
        eval::eval(&TextClassifier::open(model, context)?, data, batch, context)
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }

    fn explain_methods(&self) -> &'static [&'static str] {
        explain::METHODS
    }

    fn explain(&self, request: &ExplainRequest, context: &RunContext) -> Result<Output> {
        explain::explain(request, context)
    }

    fn export(&self, model: &Path, format: &str, out: &Path) -> Result<PathBuf> {
        if format != LAYOUT {
            return Err(Error::unknown(
                "layout for this architecture",
                format,
                [LAYOUT],
            ));
        }
        let folder = ModelFolder::open(model)?;
        let path = folder.path().display().to_string();
        let classifier = TextClassifier::open(&path, &RunContext::cpu())?;
        let map = classifier.config.key_map();
        weights::save(&classifier.model, out, map, SaveDtype::F32)?;
        Ok(out.into())
    }
}

/// A classifier behind the task's edge.
struct ClassifySession(TextClassifier);

impl Session for ClassifySession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let classifier = &self.0;
        answer_batch(
            "classifying",
            inputs,
            |input| classifier.encode(&input.name, input.as_text()?),
            |encoded| {
                by_length(encoded, options.batch, Encoded::len, |batch| {
                    classifier.answer(batch)
                })
            },
            |_, _, prediction| Ok(output(prediction, options)),
        )
    }
}

fn output(prediction: &Prediction, options: &PredictOptions) -> Output {
    let mut table = vec![["", "label", "score"].map(String::from).to_vec()];
    for label in &prediction.labels {
        table.push(vec![
            String::new(),
            label.label.clone(),
            format!("{:.4}", label.score),
        ]);
    }
    Output {
        json: json!({ "labels": prediction.labels }),
        raw: options.raw.then(|| json!({ "logits": prediction.logits })),
        table,
        ..Output::default()
    }
}
