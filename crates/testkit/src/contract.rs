//! The contract that every registered task keeps.

use crate::{Expect, hostile_inputs, json_difference};
use panoply_core::{
    Error, ExplainRequest, Input, Output, PredictOptions, Result, RunContext, Session, Task,
    TrainOutcome, TrainRequest, guard,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// How much two predictions of the same input may differ when the batch differs.
const BATCH_TOLERANCE: f64 = 1e-5;

/// What to hold a task to.
#[derive(Clone, Debug, Default)]
pub struct ContractOptions {
    /// Recipe to train by; the task's first if `None`.
    pub recipe: Option<String>,
    /// `a.b=v` edits of the recipe, to make the run short.
    pub sets: Vec<String>,
    /// How many of the bundled examples to predict on; all of them if `None`.
    pub max_examples: Option<usize>,
    /// Model folder that a task without recipes is held to; one with recipes trains its own.
    pub model: Option<PathBuf>,
    /// Whether the recipe finds its model without steps of an optimiser, and so without losses.
    pub solved: bool,
}

/// What was checked, and what did not hold.
#[derive(Clone, Debug, Default)]
pub struct ContractReport {
    /// Clauses that held, in order.
    pub held: Vec<String>,
    /// Clauses that did not, with what happened instead.
    pub breaches: Vec<String>,
}

impl ContractReport {
    /// Ends the check.
    ///
    /// # Panics
    ///
    /// If a clause did not hold, with all of them.
    pub fn finish(self) {
        assert!(
            self.breaches.is_empty(),
            "{} breaches of the contract:\n  {}\nheld:\n  {}",
            self.breaches.len(),
            self.breaches.join("\n  "),
            self.held.join("\n  ")
        );
        assert!(!self.held.is_empty(), "nothing was checked");
    }

    /// Files a clause under held or breached; answers whether it held.
    fn clause(&mut self, what: &str, outcome: Result<(), String>) -> bool {
        let held = outcome.is_ok();
        match outcome {
            Ok(()) => self.held.push(what.into()),
            Err(instead) => self.breaches.push(format!("{what}: {instead}")),
        }
        held
    }
}

/// Checks one task, offline and on the CPU, in a temporary folder:
///
/// - its first recipe trains on bundled data with finite and falling losses, or none at all where it
///   [solves](ContractOptions::solved);
/// - the same seed gives the same losses, metrics and predictions, bit for bit;
/// - the saved model (that of the options for a task without recipes, which is spared these two)
///   opens, also elsewhere, and predicts the same each time;
/// - a batch is answered in order and as one by one, to 1e-5;
/// - empty, garbage, oversized and mistyped inputs are refused as such by name, spoil no neighbour
///   and leave the session working; nothing panics;
/// - every explanation method answers, and unknown names of models, recipes, settings and methods
///   are errors that blame the caller.
///
/// The cost is two training runs. An error inside this function itself (no temporary folder) is a
/// breach as well.
pub fn check_task(task: &dyn Task, options: &ContractOptions) -> ContractReport {
    let mut report = ContractReport::default();
    report.clause("the task describes itself", describes_itself(task, options));
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(e) => {
            report.breaches.push(format!("no temporary folder: {e}"));
            return report;
        }
    };
    let context = RunContext::cpu();
    let run = Run {
        task,
        options,
        context: &context,
        folder: folder.path(),
    };
    run.wrong_names(&mut report);
    let model = if task.recipes().is_empty() {
        options.model.clone() // Without one it is a breach already: the task describes itself badly.
    } else {
        run.training(&mut report).map(|outcome| outcome.model)
    };
    let Some(model) = model.map(|path| path.display().to_string()) else {
        return report;
    };
    let Some(mut session) = run.reopening(&model, &mut report) else {
        return report;
    };
    let examples = run.examples();
    if examples.is_empty() {
        return report; // Already a breach: the task describes itself badly.
    }
    batching(session.as_mut(), &examples, &mut report);
    run.hostility(session.as_mut(), &examples, &mut report);
    run.explanations(&model, &examples[0], &mut report);
    report
}

fn describes_itself(task: &dyn Task, options: &ContractOptions) -> Result<(), String> {
    let name = task.name();
    let word = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let distinct = |names: &[&str]| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let recipes: Vec<&str> = task.recipes().iter().map(|recipe| recipe.name).collect();
    if !word(name) {
        return Err(format!("name '{name}' is not a lower-case word"));
    }
    if task.about().trim().is_empty() || task.about().contains('\n') {
        return Err("`about` is not one line".into());
    }
    if recipes.is_empty() && options.model.is_none() {
        return Err("no recipes, and no model to hold it to".into());
    }
    if !distinct(&recipes) || !recipes.iter().all(|name| word(name)) {
        return Err(format!(
            "recipes {recipes:?} are not distinct lower-case words"
        ));
    }
    if task
        .recipes()
        .iter()
        .any(|recipe| recipe.about.trim().is_empty())
    {
        return Err("a recipe says nothing about itself".into());
    }
    if !distinct(task.explain_methods()) {
        return Err(format!(
            "explanation methods {:?} repeat",
            task.explain_methods()
        ));
    }
    if task.default_model().is_empty() {
        return Err("no default model".into());
    }
    if task.examples().is_empty() {
        return Err("no bundled examples".into());
    }
    Ok(())
}

/// One check in progress.
struct Run<'a> {
    task: &'a dyn Task,
    options: &'a ContractOptions,
    context: &'a RunContext,
    folder: &'a Path,
}

impl Run<'_> {
    fn examples(&self) -> Vec<Input> {
        let examples = self.task.examples();
        let count = self.options.max_examples.unwrap_or(examples.len());
        examples.into_iter().take(count).collect()
    }

    fn request(&self, name: &str) -> TrainRequest {
        let first = self.task.recipes().first().map_or("", |recipe| recipe.name);
        TrainRequest {
            recipe: self.options.recipe.clone().unwrap_or_else(|| first.into()),
            sets: self.options.sets.clone(),
            data: None,
            model: None,
            out: self.folder.join(name),
            resume: false,
            accept_data_issues: false,
        }
    }

    fn train(&self, request: &TrainRequest) -> Result<TrainOutcome> {
        guard("train", || self.task.train(request, self.context))
    }

    fn open(&self, model: &str) -> Result<Box<dyn Session>> {
        guard("open", || self.task.open(model, self.context))
    }

    fn wrong_names(&self, report: &mut ContractReport) {
        let nowhere = self.folder.join("nowhere").display().to_string();
        report.clause(
            "an unknown model is refused",
            blames_caller(self.open(&nowhere)),
        );
        let hollow = self.folder.join("hollow");
        let made = std::fs::create_dir(&hollow).map_err(|e| e.to_string());
        let outcome = made.and_then(|()| blames_caller(self.open(&hollow.display().to_string())));
        report.clause("an empty model folder is refused", outcome);
        let mut request = self.request("wrong-recipe");
        request.recipe = "no-such-recipe".into();
        report.clause(
            "an unknown recipe is refused",
            blames_caller(self.train(&request)),
        );
        let mut request = self.request("wrong-set");
        request.sets = vec!["no_such_key=1".into()];
        report.clause(
            "an unknown setting is refused",
            blames_caller(self.train(&request)),
        );
    }

    fn training(&self, report: &mut ContractReport) -> Option<TrainOutcome> {
        let first = match self.train(&self.request("first")) {
            Ok(outcome) => outcome,
            Err(e) => {
                report
                    .breaches
                    .push(format!("the recipe trains on bundled data: {e}"));
                return None;
            }
        };
        if self.options.solved {
            let steps = first.losses.len();
            let none = (steps == 0).then_some(());
            let none = none.ok_or_else(|| format!("{steps} losses"));
            report.clause("nothing steps", none);
        } else {
            report.clause("the loss falls", falls(&first.losses));
        }
        let files = [&first.model, &first.report]
            .into_iter()
            .find(|path| !path.exists());
        let files = files.map_or(Ok(()), |path| Err(format!("{} is missing", path.display())));
        report.clause("model and report are on disk", files);
        let numbers = first.metrics.iter().all(|(_, value)| value.is_finite());
        let numbers = if numbers && !first.metrics.is_empty() {
            Ok(())
        } else {
            Err(format!("{:?}", first.metrics))
        };
        report.clause("metrics are reported and finite", numbers);
        let again = self
            .train(&self.request("second"))
            .map_err(|e| e.to_string());
        let again = again.and_then(|second| {
            same_bits("losses", &first.losses, &second.losses)?;
            if first.metrics != second.metrics {
                return Err(format!(
                    "metrics {:?} and {:?}",
                    first.metrics, second.metrics
                ));
            }
            self.same_predictions(&first.model, &second.model)
        });
        report.clause("the same seed gives the same run", again);
        Some(first)
    }

    fn same_predictions(&self, left: &Path, right: &Path) -> Result<(), String> {
        let outputs = |model: &Path| {
            let mut session = self
                .open(&model.display().to_string())
                .map_err(|e| e.to_string())?;
            predictions(session.as_mut(), &self.examples(), 8)
        };
        same(&outputs(left)?, &outputs(right)?, 0.0)
    }

    fn reopening(&self, model: &str, report: &mut ContractReport) -> Option<Box<dyn Session>> {
        let session = self.open(model);
        let card = match &session {
            Err(e) => Err(e.to_string()),
            Ok(session) if session.card().task != self.task.name() => {
                Err(format!("its card is for task '{}'", session.card().task))
            }
            Ok(session) if session.card().num_params == 0 => Err("it has no parameters".into()),
            Ok(_) => Ok(()),
        };
        report.clause("the model opens", card);
        let elsewhere: PathBuf = self.folder.join("moved");
        let moved = copy(Path::new(model), &elsewhere).map_err(|e| e.to_string());
        let moved = moved.and_then(|()| self.same_predictions(Path::new(model), &elsewhere));
        report.clause("a copied model predicts the same", moved);
        session.ok()
    }

    fn hostility(
        &self,
        session: &mut dyn Session,
        examples: &[Input],
        report: &mut ContractReport,
    ) {
        let good = &examples[0];
        let before = match predictions(session, std::slice::from_ref(good), 1) {
            Ok(outputs) => outputs,
            Err(e) => {
                report.breaches.push(format!("an example is answered: {e}"));
                return;
            }
        };
        for hostile in hostile_inputs(self.task.input_kind(), good) {
            // Between good neighbours, in one batch with them.
            let inputs = [good.clone(), hostile.input.clone(), good.clone()];
            let outcome = predict(session, &inputs, 3).and_then(|mut outcomes| {
                let last = outcomes.pop();
                let middle = outcomes.pop();
                for neighbour in [outcomes.pop(), last].into_iter().flatten() {
                    let output = neighbour.map_err(|e| format!("a good neighbour failed: {e}"))?;
                    same(&before, &[output], BATCH_TOLERANCE)
                        .map_err(|e| format!("a good neighbour changed: {e}"))?;
                }
                match middle {
                    Some(Err(e)) => refuses(&e, &hostile.input.name),
                    Some(Ok(_)) if hostile.expect == Expect::RefusalOrAnswer => Ok(()),
                    Some(Ok(output)) => Err(format!("was answered: {}", shortened(&output.json))),
                    None => Err("no answer".into()),
                }
            });
            report.clause(&hostile.input.name, outcome);
        }
        let after = predictions(session, std::slice::from_ref(good), 1);
        let outcome = after.and_then(|after| same(&before, &after, 0.0));
        report.clause("the session outlives hostile inputs", outcome);
    }

    fn explanations(&self, model: &str, example: &Input, report: &mut ContractReport) {
        let explain = |method: &str, target| {
            let request = ExplainRequest {
                model: Some(model.into()),
                method: method.into(),
                input: example.clone(),
                target,
            };
            guard("explain", || self.task.explain(&request, self.context))
        };
        for method in self.task.explain_methods() {
            let outcome = explain(method, None)
                .map_err(|e| e.to_string())
                .and_then(|output| {
                    if output.json.is_null() && output.artefacts.is_empty() {
                        return Err("it explains nothing".into());
                    }
                    Ok(())
                });
            report.clause(&format!("explain {method}"), outcome);
            let wide = explain(method, Some(usize::MAX));
            report.clause(
                &format!("explain {method} refuses an unknown class"),
                blames_caller(wide),
            );
        }
        let unknown = blames_caller(explain("no-such-method", None));
        report.clause("an unknown explanation method is refused", unknown);
    }
}

/// Answers do not depend on what else is in the batch, nor on its size.
fn batching(session: &mut dyn Session, examples: &[Input], report: &mut ContractReport) {
    // Twice over, so that there is a batch even of one example.
    let inputs: Vec<Input> = examples.iter().chain(examples).cloned().collect();
    let outcome = (|| {
        let whole = predictions(session, &inputs, inputs.len())?;
        if whole.iter().any(|output| output.raw.is_none()) {
            return Err("no raw outputs although asked for".to_string());
        }
        let pairs = predictions(session, &inputs, 2)?;
        same(&whole, &pairs, BATCH_TOLERANCE)?;
        let mut single = Vec::new();
        for input in &inputs {
            single.extend(predictions(session, std::slice::from_ref(input), 1)?);
        }
        same(&whole, &single, BATCH_TOLERANCE)
    })();
    report.clause("a batch is answered as one by one", outcome);
    let none = predictions(session, &[], 4).map(|_| ());
    report.clause("no inputs give no outputs", none);
}

/// Outcomes of one call, one an input; a panic or a wrong number of them in words.
fn predict(
    session: &mut dyn Session,
    inputs: &[Input],
    batch: usize,
) -> Result<Vec<Result<Output>>, String> {
    let options = PredictOptions {
        batch,
        raw: true,
        ..PredictOptions::default()
    };
    let outcomes = guard("predict", || Ok(session.predict(inputs, &options)));
    let outcomes = outcomes.map_err(|e| e.to_string())?;
    if outcomes.len() != inputs.len() {
        return Err(format!(
            "{} answers to {} inputs",
            outcomes.len(),
            inputs.len()
        ));
    }
    Ok(outcomes)
}

/// The answers to inputs that must all be answered, or the first failure in words.
fn predictions(
    session: &mut dyn Session,
    inputs: &[Input],
    batch: usize,
) -> Result<Vec<Output>, String> {
    predict(session, inputs, batch)?
        .into_iter()
        .zip(inputs)
        .map(|(outcome, input)| outcome.map_err(|e| format!("{}: {e}", input.name)))
        .collect()
}

/// The mean of the last quarter of the losses lies below that of the first.
fn falls(losses: &[f64]) -> Result<(), String> {
    if let Some(step) = losses.iter().position(|loss| !loss.is_finite()) {
        return Err(format!("the loss of step {} is {}", step + 1, losses[step]));
    }
    let quarter = losses.len() / 4;
    if quarter == 0 {
        return Err(format!("{} steps are too few to tell", losses.len()));
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (
        mean(&losses[..quarter]),
        mean(&losses[losses.len() - quarter..]),
    );
    if last < first {
        Ok(())
    } else {
        Err(format!("from {first} to {last}"))
    }
}

fn same_bits(what: &str, left: &[f64], right: &[f64]) -> Result<(), String> {
    if left.len() != right.len() {
        return Err(format!("{} and {} {what}", left.len(), right.len()));
    }
    match left
        .iter()
        .zip(right)
        .position(|(a, b)| a.to_bits() != b.to_bits())
    {
        None => Ok(()),
        Some(i) => Err(format!(
            "{what} differ from step {}: {} and {}",
            i + 1,
            left[i],
            right[i]
        )),
    }
}

fn same(left: &[Output], right: &[Output], tolerance: f64) -> Result<(), String> {
    for (i, (a, b)) in left.iter().zip(right).enumerate() {
        let difference = json_difference(&a.json, &b.json, tolerance).or_else(|| {
            let raw = |output: &Output| output.raw.clone().unwrap_or_default();
            json_difference(&raw(a), &raw(b), tolerance).map(|e| format!("raw{e}"))
        });
        if let Some(difference) = difference {
            return Err(format!("prediction {i}: {difference}"));
        }
    }
    if left.len() == right.len() {
        Ok(())
    } else {
        Err(format!("{} and {} predictions", left.len(), right.len()))
    }
}

/// A hostile input must be called wrong input, by its name.
fn refuses(error: &Error, name: &str) -> Result<(), String> {
    let text = error.to_string();
    match error {
        Error::Input { .. } if text.contains(name) => Ok(()),
        Error::Input { .. } => Err(format!("the refusal does not name the input: {text}")),
        _ => Err(format!("not refused as wrong input: {text}")),
    }
}

/// A wrong name must be the caller's fault (exit code 2), not ours.
fn blames_caller<T>(outcome: Result<T>) -> Result<(), String> {
    match outcome {
        Ok(_) => Err("was accepted".into()),
        Err(e) if e.exit_code() == 2 => Ok(()),
        Err(e) => Err(e.to_string()),
    }
}

fn shortened(json: &serde_json::Value) -> String {
    json.to_string().chars().take(120).collect()
}

/// Copies a folder with all below it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
