//! `recommendation rate`: what a user would rate an item.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run recommendation rate` | three ratings by the bundled model |
//! | `cargo xtask train recommendation rate --recipe base --data ratings.csv` | a model, its split files and a report |
//! | `cargo xtask run recommendation rate pairs.csv --model RUN/model` | a rating for each `{"user": …, "item": …}` |
//! | `cargo xtask eval recommendation rate --model RUN/model --data test.csv` | RMSE and MAE |
//! | `cargo xtask eval recommendation rate --metrics-only found.jsonl --data test.csv` | the same of anybody's ratings |

mod bundled;
mod rater;
mod recipe;
mod train;

pub use bundled::BUNDLED;
pub use rater::{RateConfig, RateRequest, Rater, Rating};
pub use recipe::{RECIPES, Recipe};

use super::rows;
use panoply_core::{
    DataCheck, Evaluation, Input, InputKind, ModelCard, Output, PredictOptions, Predictor,
    RecipeInfo, Result, RunContext, Session, Task, TrainOutcome, TrainRequest, answer_batch,
};
use serde_json::json;
use std::path::Path;

/// The task.
pub struct Rate;

/// What a row holds.
const FIELDS: &str = "{\"user\": id, \"item\": id}";

impl Task for Rate {
    fn name(&self) -> &'static str {
        "rate"
    }

    fn about(&self) -> &'static str {
        "predict the rating that a user would give an item"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Row
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        let rows = [
            json!({ "user": "u1", "item": "i1" }),
            json!({ "user": "u2", "item": "i2" }),
            json!({ "user": "somebody new", "item": "i3" }),
        ];
        rows::examples(rows)
    }

    fn default_model(&self) -> &'static str {
        BUNDLED
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(RateSession(Rater::open(model, context)?)))
    }

    fn train(&self, request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
        train::train(request, context)
    }

    fn eval(
        &self,
        model: &str,
        data: &Path,
        _batch: usize,
        context: &RunContext,
    ) -> Result<Evaluation> {
        rater::eval(&Rater::open(model, context)?, data)
    }

    fn score_predictions(
        &self,
        predictions: &Path,
        data: &Path,
        _context: &RunContext,
    ) -> Result<Evaluation> {
        rater::score_predictions(predictions, data)
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }
}

/// A loaded rater behind the task's edge.
struct RateSession(Rater);

impl Session for RateSession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        answer_batch(
            "rating",
            inputs,
            |input| rows::parse(input, FIELDS),
            |requests: &[RateRequest]| self.0.predict(requests),
            |_, _, rating| Ok(output(rating, options)),
        )
    }
}

fn output(rating: &Rating, options: &PredictOptions) -> Output {
    let row = |cells: [&str; 4]| cells.map(String::from).to_vec();
    let shown = format!("{:.2}", rating.rating);
    Output {
        json: json!(rating),
        raw: options.raw.then(|| json!({ "rating": rating.rating })),
        table: vec![
            row(["", "user", "item", "rating"]),
            row(["", &rating.user, &rating.item, &shown]),
        ],
        ..Output::default()
    }
}
