//! `anomaly drift`: is this table still like the one before?
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask train anomaly drift --recipe base --data old.csv` | keeps a table as the reference |
//! | `cargo xtask run anomaly drift --model DIR new.csv` | which columns changed, and whether all together did |
//! | `cargo xtask run anomaly drift` | the same with bundled tables |
//! | `cargo xtask eval anomaly drift --model DIR --data new.csv` | the same as numbers |

mod answer;
mod compare;
mod recipe;
mod train;

pub use compare::{
    ColumnDrift, Drift, DriftConfig, MmdDrift, Reference, ReferenceColumn, ReferenceConfig,
};
pub use recipe::{DataConfig, RECIPES, Recipe};

use panoply_core::{
    DataCheck, Evaluation, Input, InputKind, ModelCard, Output, PredictOptions, RecipeInfo, Result,
    RunContext, Session, Task, TrainOutcome, TrainRequest, guard,
};
use panoply_datasets::{bundled, frame::Frame};
use serde_json::json;
use std::path::Path;
use train::Opened;

/// The task's name.
const NAME: &str = "drift";
/// What a reference is called where a network has the name of its architecture.
const ARCH: &str = "two-sample-tests";

/// The reference that is used when none is given: half of the bundled cell samples.
pub const BUNDLED: &str = "breastw-half";

/// The task.
pub struct DriftTask;

impl Task for DriftTask {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "whether a table is still like a reference: column by column, and all together"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Table
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        let file = bundled::files()
            .iter()
            .find(|(name, _)| *name == "breastw/breastw.csv");
        let text = file
            .and_then(|(_, bytes)| std::str::from_utf8(bytes).ok())
            .unwrap_or_default();
        let header = text.lines().next().unwrap_or_default();
        let example = |name: &str, is_shown: &dyn Fn(usize, &str) -> bool| {
            let rows = text.lines().skip(1).enumerate();
            let rows = rows
                .filter(|&(at, row)| is_shown(at, row))
                .map(|(_, row)| row);
            let lines: Vec<&str> = std::iter::once(header).chain(rows).collect();
            Input::bytes(name, lines.join("\n"))
        };
        vec![
            example("every third sample", &|at, _| at % 3 == 0),
            example("malignant samples alone", &|_, row| row.ends_with(",1")),
        ]
    }

    fn architectures(&self) -> Vec<(String, usize)> {
        let num_params = Opened::open(BUNDLED).map_or(0, |opened| opened.card.num_params);
        vec![(ARCH.into(), num_params)]
    }

    fn default_model(&self) -> &'static str {
        BUNDLED
    }

    fn open(&self, model: &str, _context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(DriftSession(Opened::open(model)?)))
    }

    fn train(&self, request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
        train::train(request, context)
    }

    fn eval(
        &self,
        model: &str,
        data: &Path,
        _batch: usize,
        _context: &RunContext,
    ) -> Result<Evaluation> {
        let reference = Opened::open(model)?.reference;
        let frame = Frame::open(data, &reference.config.options, Some(&reference.kinds()))?;
        let drift = reference.compare(&frame)?;
        Ok(Evaluation {
            num_samples: frame.len(),
            metrics: train::metrics(&drift),
            table: answer::table(&drift),
            json: json!(drift),
            artefacts: vec![answer::picture(&drift)?],
        })
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }
}

/// A reference behind the task's edge.
struct DriftSession(Opened);

impl DriftSession {
    fn answer(&self, input: &Input, options: &PredictOptions) -> Result<Output> {
        let reference = &self.0.reference;
        let (table, kinds) = (&reference.config.options, reference.kinds());
        let frame = Frame::from_bytes(&input.name, input.as_bytes()?, table, Some(&kinds))?;
        answer::output(&reference.compare(&frame)?, options)
    }
}

impl Session for DriftSession {
    fn card(&self) -> &ModelCard {
        &self.0.card
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        inputs
            .iter()
            .map(|input| guard(&input.name, || self.answer(input, options)))
            .collect()
    }
}
