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
pub use ranker::{Id, Prepared, RankConfig, RankRequest, Ranker, Ranking, ScoredItem, Settings};
pub use recipe::{DataConfig, RECIPES, Recipe, recbole_fit};
pub(crate) use train::{inspect, splits};

use panoply_core::{
    DataCheck, Error, Evaluation, ExplainRequest, Input, InputKind, ModelCard, Output, Payload,
    PredictOptions, Predictor, RecipeInfo, Result, RunContext, Session, Task, TrainOutcome,
    TrainRequest, answer_batch,
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
        let rows = [
            json!({ "user": "u1" }),
            json!({ "user": "u2", "k": 5, "exclude": ["i1", "i2"] }),
            json!({ "history": ["i3", "i8", "i13"] }),
        ];
        examples(rows)
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

/// Rows as inputs.
pub(crate) fn examples(rows: impl IntoIterator<Item = Value>) -> Vec<Input> {
    let example = |(number, row): (usize, Value)| Input {
        name: format!("example {number}"),
        payload: Payload::Row(row),
    };
    (1..).zip(rows).map(example).collect()
}

/// A row as the type that a task reads.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(input: &Input) -> Result<T> {
    let wrong = |what: String| {
        Error::input(
            &input.name,
            what,
            "a JSON object with the fields that `README.md` lists",
        )
    };
    let Payload::Row(Value::Object(fields)) = &input.payload else {
        return Err(wrong("no JSON object".into()));
    };
    // Of a table, an empty cell is nothing at all.
    let given = fields.iter().filter(|(_, value)| !value.is_null());
    let given: serde_json::Map<String, Value> = given
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    serde_json::from_value(Value::Object(given)).map_err(|e| wrong(e.to_string()))
}

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
                |input| self.0.prepare(&parse(input)?, &input.name),
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
