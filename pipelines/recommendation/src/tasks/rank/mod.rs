//! `recommendation rank`: the items that fit a user best.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run recommendation rank` | lists for three users of the bundled interactions |
//! | `cargo xtask train recommendation rank --recipe ease --data ratings.csv` | a model, its split files and a report |
//! | `cargo xtask run recommendation rank users.jsonl --model RUN/model` | lists for `{"user": …}` or `{"history": […]}`, a line each |
//! | `cargo xtask eval recommendation rank --model RUN/model --data RUN/split` | full ranking with seen items masked |
//! | `cargo xtask eval recommendation rank --metrics-only lists.jsonl --data RUN/split` | the same metrics of anybody's lists |
//! | `cargo xtask explain recommendation rank user.jsonl --model RUN/model --method removal` | which of the user's items spoke for it |

mod bundled;
mod eval;
mod explain;
mod learn;
mod networks;
mod protocol;
mod ranker;
mod recipe;
mod train;

pub use bundled::BUNDLED;
pub use protocol::Protocol;
pub use ranker::{Prepared, RankConfig, RankRequest, Ranker, Ranking, ScoredItem, Settings};
pub use recipe::{DataConfig, RECIPES, Recipe, recbole_fit};
pub(crate) use train::{PARTS, inspect, splits};

use crate::tasks::rows;
use panoply_core::{
    DataCheck, Evaluation, ExplainRequest, Input, InputKind, ModelCard, Output, PredictOptions,
    Predictor, RecipeInfo, Result, RunContext, Session, Task, TrainOutcome, TrainRequest,
    answer_batch,
};
use serde_json::{Value, json};
use std::path::Path;

/// The task.
pub struct Rank;

impl Task for Rank {
    fn name(&self) -> &'static str {
        "rank"
    }

    fn about(&self) -> &'static str {
        "rank items for users, known ones or new ones with a few items"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Row
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        let examples = [
            json!({ "user": "u1" }),
            json!({ "user": "u2", "k": 5, "exclude": ["i1", "i2"] }),
            json!({ "history": ["i3", "i8", "i13"] }),
        ];
        rows::examples(examples)
    }

    fn settings(&self) -> Value {
        json!(Settings::default())
    }

    fn default_model(&self) -> &'static str {
        BUNDLED
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(RankSession(Ranker::open(model, context)?)))
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
        eval::eval(&Ranker::open(model, context)?, data, context)
    }

    fn score_predictions(
        &self,
        predictions: &Path,
        data: &Path,
        context: &RunContext,
    ) -> Result<Evaluation> {
        eval::score_predictions(predictions, data, &context.settings()?)
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }

    fn explain_methods(&self) -> &'static [&'static str] {
        explain::METHODS
    }

    fn explain(&self, request: &ExplainRequest, context: &RunContext) -> Result<Output> {
        let model = request.model.as_deref().unwrap_or(BUNDLED);
        explain::explain(&Ranker::open(model, context)?, request)
    }
}

/// What a row may hold.
const FIELDS: &str = "{\"user\": id} or {\"history\": [id, …]}, and k, exclude, only as you like";

/// A loaded ranker behind the task's edge.
struct RankSession(Ranker);

impl Session for RankSession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let mut answers = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(options.batch.max(1)) {
            answers.extend(answer_batch(
                "ranking",
                chunk,
                |input| self.0.prepare(&rows::parse(input, FIELDS)?, &input.name),
                |requests| self.0.postprocess(self.0.forward(requests.to_vec())?),
                |_, _, ranking| Ok(output(ranking, options)),
            ));
        }
        answers
    }
}

fn output(ranking: &Ranking, options: &PredictOptions) -> Output {
    let header = ["", "item", "score"].map(String::from).to_vec();
    let row = |item: &ScoredItem| {
        vec![
            String::new(),
            item.item.clone(),
            format!("{:.4}", item.score),
        ]
    };
    let scores: Vec<f32> = ranking.items.iter().map(|item| item.score).collect();
    Output {
        json: json!(ranking),
        raw: options.raw.then(|| json!({ "scores": scores })),
        table: std::iter::once(header)
            .chain(ranking.items.iter().map(row))
            .collect(),
        ..Output::default()
    }
}
