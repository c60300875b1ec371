//! `anomaly table`: which rows of a table are unlike the others.
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run anomaly table rows.csv` | a score for each row, by the bundled model |
//! | `cargo xtask train anomaly table --recipe debug` | fits an isolation forest to the bundled table |
//! | `cargo xtask eval anomaly table --model DIR --data test.csv` | AUROC, average precision, F1 at the threshold |
//! | `cargo xtask explain anomaly table --model DIR --method shap rows.csv` | Shapley values of the columns |
//!
//! A row is a JSON object, or a row of a CSV file, by the names of the columns that the model was fitted to. `null` and empty
//! cells are missing values; a column that is not there, or not known, is an error.

mod detectors;
mod draw;
mod eval;
mod explain;
mod recipe;
mod scorer;
mod train;

pub use detectors::{DetectorConfig, DetectorName};
pub use recipe::{DataConfig, FitOn, RECIPES, Recipe};
pub use scorer::{BUNDLED, Scored, Scorer, Settings};

use panoply_core::{
    DataCheck, Error, Evaluation, ExplainRequest, Input, InputKind, ModelCard, Output, Payload,
    PredictOptions, Predictor, RecipeInfo, Result, RunContext, Session, Task, TrainOutcome,
    TrainRequest, answer_batch,
};
use panoply_datasets::frame::Matrix;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The task.
pub struct Table;

impl Task for Table {
    fn name(&self) -> &'static str {
        "table"
    }

    fn about(&self) -> &'static str {
        "score the rows of a table by how unlike the others they are"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Row
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    /// Two usual cell samples and a malignant one.
    fn examples(&self) -> Vec<Input> {
        let columns = [
            "clump_thickness",
            "cell_size",
            "cell_shape",
            "adhesion",
            "epithelial_cell_size",
            "bare_nuclei",
            "chromatin",
            "nucleoli",
            "mitoses",
        ];
        let rows = [
            [5, 1, 1, 1, 2, 1, 3, 1, 1],
            [3, 1, 1, 1, 2, 2, 3, 1, 1],
            [8, 10, 10, 8, 7, 10, 9, 7, 1],
        ];
        let example = |(number, values): (usize, [i32; 9])| {
            let named = columns.iter().zip(values);
            let row: Map<String, Value> = named
                .map(|(name, value)| ((*name).to_string(), json!(value)))
                .collect();
            Input {
                name: format!("example {number}"),
                payload: Payload::Row(Value::Object(row)),
            }
        };
        (1..).zip(rows).map(example).collect()
    }

    fn explain_methods(&self) -> &'static [&'static str] {
        &["contributions", "shap"]
    }

    fn settings(&self) -> Value {
        json!(Settings::default())
    }

    fn default_model(&self) -> &'static str {
        BUNDLED
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(TableSession(Scorer::open(model, context)?)))
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
        eval::eval(&Scorer::open(model, context)?, data)
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

    fn explain(&self, request: &ExplainRequest, context: &RunContext) -> Result<Output> {
        explain::explain(request, context)
    }
}

/// A loaded scorer behind the task's edge.
struct TableSession(Scorer);

impl Session for TableSession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        // Rows are encoded in parallel; the detector, which may be a network, stays on this thread.
        let encoder = &self.0.encoder;
        answer_batch(
            "scoring rows",
            inputs,
            |input| scorer::encode_row(encoder, row_of(input)?, &input.name),
            |rows| {
                let scored = self.0.forward(Matrix::from_rows(rows)?)?;
                self.0.postprocess(scored)
            },
            |_, row, scored| {
                let raw = options.raw.then(|| json!({ "encoded": row }));
                Ok(output(scored, raw))
            },
        )
    }
}

/// The JSON of an input that is a row.
fn row_of(input: &Input) -> Result<&Value> {
    let wrong = |what: &str| {
        Err(Error::input(
            &input.name,
            what,
            "a JSON object by the names of the columns",
        ))
    };
    match &input.payload {
        Payload::Row(row) => Ok(row),
        Payload::Text(_) => wrong("a text"),
        Payload::Bytes(_) => wrong("the bytes of a file"),
    }
}

/// Contributions that the table for a person shows.
const SHOWN: usize = 3;

fn output(scored: &Scored, raw: Option<Value>) -> Output {
    let mut order: Vec<&(String, f64)> = scored.contributions.iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = order
        .iter()
        .take(SHOWN)
        .map(|(name, value)| format!("{name} {value:+.3}"));
    let most = most.collect::<Vec<_>>().join(", ");
    let row = |cells: [&str; 6]| cells.map(String::from).to_vec();
    let said = if scored.is_anomaly {
        "anomaly"
    } else {
        "normal"
    };
    let (score, threshold) = (
        format!("{:.4}", scored.score),
        format!("{:.4}", scored.threshold),
    );
    let p_value = format!("{:.4}", scored.p_value);
    Output {
        json: json!({
            "score": scored.score,
            "threshold": scored.threshold,
            "is_anomaly": scored.is_anomaly,
            "probability": scored.probability,
            "p_value": scored.p_value,
            "contributions": contributions(&scored.contributions),
        }),
        raw,
        table: vec![
            row(["", "", "score", "threshold", "p-value", "mostly by"]),
            row(["", said, &score, &threshold, &p_value, &most]),
        ],
        ..Output::default()
    }
}

/// Named numbers as a JSON object.
fn contributions(values: &[(String, f64)]) -> Value {
    let named = values
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)));
    Value::Object(named.collect())
}
