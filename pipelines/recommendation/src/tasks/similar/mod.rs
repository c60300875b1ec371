//! `recommendation similar`: the items nearest to an item.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run recommendation similar` | neighbours of three items of the bundled interactions |
//! | `cargo xtask run recommendation similar items.jsonl --model RUN/model` | the same of `{"item": …}`, a line each |
//!
//! The model is one of `rank`. What near means is the model's: cosine of the columns (ItemKNN), the weight from item to item
//! (EASE), cosine of the vectors (ALS, BPR), like popularity (Pop).

use super::{
    rank::{BUNDLED, Ranker},
    rows::{self, Id},
};
use panoply_core::{
    Error, Input, InputKind, ModelCard, Output, PredictOptions, RecipeInfo, Result, RunContext,
    Session, Task, answer_batch,
};
use panoply_metrics::top_k_items;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The task.
pub struct Similar;

/// What `--set` of `run` can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Length of a list. Default 10.
    pub k: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { k: 10 }
    }
}

/// One line of input.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct SimilarRequest {
    item: Id,
    k: Option<usize>,
}

const FIELDS: &str = "{\"item\": id}, and k as you like";

impl Task for Similar {
    fn name(&self) -> &'static str {
        "similar"
    }

    fn about(&self) -> &'static str {
        "find the items nearest to an item, by a model of `rank`"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Row
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        &[]
    }

    fn examples(&self) -> Vec<Input> {
        rows::examples(["i1", "i2", "i3"].map(|item| json!({ "item": item })))
    }

    fn settings(&self) -> Value {
        json!(Settings::default())
    }

    fn default_model(&self) -> &'static str {
        BUNDLED
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        let settings: Settings = context.settings()?;
        check_k(settings.k, "--set k")?;
        // Its settings are not those of `rank`.
        let context = RunContext {
            settings: Value::Null,
            ..context.clone()
        };
        let ranker = Ranker::open(model, &context)?;
        let card = ModelCard {
            task: self.name().into(),
            ..ranker.card().clone()
        };
        Ok(Box::new(SimilarSession {
            ranker,
            card,
            settings,
        }))
    }
}

fn check_k(k: usize, location: &str) -> Result<()> {
    if (1..=10_000).contains(&k) {
        return Ok(());
    }
    Err(Error::input(
        location,
        format!("k {k}"),
        "a length from 1 to 10,000",
    ))
}

/// A model of `rank` behind this task's edge.
struct SimilarSession {
    ranker: Ranker,
    card: ModelCard,
    settings: Settings,
}

impl SimilarSession {
    /// The item's index and the length of its list.
    fn prepare(&self, input: &Input) -> Result<(u32, usize)> {
        let request: SimilarRequest = rows::parse(input, FIELDS)?;
        let k = request.k.unwrap_or(self.settings.k);
        check_k(k, &input.name)?;
        let Id(item) = request.item;
        let known = self.ranker.ids().items.get(&item).ok_or_else(|| {
            let what = format!("unknown item '{item}'");
            Error::input(&input.name, what, "an item of the training data")
        })?;
        Ok((known, k))
    }

    /// Items by falling similarity, the item itself left out.
    fn nearest(&self, (item, k): (u32, usize)) -> Result<Vec<(String, f32)>> {
        let mut scores = self.ranker.similarities(item)?;
        scores[item as usize] = f32::NEG_INFINITY;
        let list = top_k_items(&scores, k).map_err(|e| Error::Internal {
            context: "similarities".into(),
            message: e.to_string(),
        })?;
        let named = |&at: &usize| (self.ranker.ids().items.name(at as u32).into(), scores[at]);
        Ok(list.iter().map(named).collect())
    }
}

impl Session for SimilarSession {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        answer_batch(
            "finding neighbours",
            inputs,
            |input| self.prepare(input),
            |requests| {
                requests
                    .iter()
                    .map(|&request| self.nearest(request))
                    .collect()
            },
            |_, _, near| Ok(output(near, options)),
        )
    }
}

fn output(near: &[(String, f32)], options: &PredictOptions) -> Output {
    let header = ["", "item", "score"].map(String::from).to_vec();
    let row =
        |(item, score): &(String, f32)| vec![String::new(), item.clone(), format!("{score:.4}")];
    let items: Vec<Value> = near
        .iter()
        .map(|(item, score)| json!({ "item": item, "score": score }))
        .collect();
    let scores: Vec<f32> = near.iter().map(|(_, score)| *score).collect();
    Output {
        json: json!({ "items": items }),
        raw: options.raw.then(|| json!({ "scores": scores })),
        table: std::iter::once(header)
            .chain(near.iter().map(row))
            .collect(),
        ..Output::default()
    }
}
