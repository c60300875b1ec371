//! The contract check itself: a sound task passes, and each planted fault is found.

use crate::{ContractOptions, ContractReport, check_task};
use panoply_core::{
    Error, ExplainRequest, Input, InputKind, ModelCard, Output, Payload, PredictOptions,
    RecipeInfo, Result, RunContext, Session, SizeClass, Task, TrainOutcome, TrainRequest,
};
use serde_json::json;
use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// What is wrong with a [`Fake`] task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    LossRises,
    LossIsNan,
    SeedIsIgnored,
    NoReport,
    ForgetsItsPlace,
    BatchMatters,
    OrderIsLost,
    AnswersTooFew,
    AnswersEmpty,
    PanicsOnGarbage,
    BlamesItself,
    HidesTheName,
    SpoilsNeighbours,
    RemembersGarbage,
    AcceptsAnyRecipe,
    ExplainsNothing,
    HasNoRecipes,
}

/// Scores a text by its length times a trained weight.
struct Fake {
    fault: Fault,
    runs: AtomicU64,
}

impl Fake {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            runs: AtomicU64::new(0),
        }
    }
}

impl Task for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn about(&self) -> &'static str {
        "Scores a text by its length"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Text
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        if self.fault == Fault::HasNoRecipes {
            return &[];
        }
        &[RecipeInfo {
            name: "debug",
            about: "no data, no time",
        }]
    }

    fn examples(&self) -> Vec<Input> {
        ["one", "three", "fourteen"]
            .map(|text| Input {
                name: text.into(),
                payload: Payload::Text(text.into()),
            })
            .to_vec()
    }

    fn explain_methods(&self) -> &'static [&'static str] {
        &["length"]
    }

    fn default_model(&self) -> &'static str {
        "fake"
    }

    fn open(&self, model: &str, _context: &RunContext) -> Result<Box<dyn Session>> {
        let path = Path::new(model).join("weight");
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let mut weight: f64 = text
            .parse()
            .map_err(|_bad| Error::input(model, "no weight", "a number"))?;
        if self.fault == Fault::ForgetsItsPlace && model.ends_with("moved") {
            weight += 1.0;
        }
        let card = ModelCard {
            pipeline: "test".into(),
            task: "fake".into(),
            arch: "fake".into(),
            num_params: 1,
            size_class: SizeClass::Small,
            labels: Vec::new(),
            metrics: std::collections::BTreeMap::new(),
            data_sha256: None,
            licence: "unknown".into(),
            origin: "test".into(),
            panoply: "test".into(),
        };
        Ok(Box::new(FakeSession {
            fault: self.fault,
            weight,
            card,
        }))
    }

    fn train(&self, request: &TrainRequest, _context: &RunContext) -> Result<TrainOutcome> {
        if request.recipe != "debug" && self.fault != Fault::AcceptsAnyRecipe {
            return Err(Error::unknown("recipe", &request.recipe, ["debug"]));
        }
        if let Some(set) = request.sets.first() {
            return Err(Error::unknown("recipe key", set, ["none"]));
        }
        let model = request.out.join("model");
        fs::create_dir_all(&model).map_err(|e| Error::io("create", &model, e))?;
        let run = self.runs.fetch_add(1, Ordering::SeqCst) as f64;
        let drift = if self.fault == Fault::SeedIsIgnored {
            run * 1e-12
        } else {
            0.0
        };
        fs::write(model.join("weight"), "0.5").map_err(|e| Error::io("write", &model, e))?;
        let report = request.out.join("report.html");
        if self.fault != Fault::NoReport {
            fs::write(&report, "").map_err(|e| Error::io("write", &report, e))?;
        }
        let loss = |step: usize| match self.fault {
            Fault::LossRises => step as f64,
            Fault::LossIsNan if step == 5 => f64::NAN,
            _ => 1.0 / (step as f64 + 1.0) + drift,
        };
        Ok(TrainOutcome {
            model,
            report,
            metrics: vec![("accuracy".into(), 1.0)],
            losses: (0..8).map(loss).collect(),
        })
    }

    fn explain(&self, request: &ExplainRequest, _context: &RunContext) -> Result<Output> {
        if request.method != "length" {
            return Err(Error::unknown(
                "method",
                &request.method,
                self.explain_methods().to_vec(),
            ));
        }
        if let Some(target) = request.target.filter(|&target| target > 0) {
            return Err(Error::input("--target", target.to_string(), "class 0"));
        }
        let json = if self.fault == Fault::ExplainsNothing {
            json!(null)
        } else {
            json!({"length": 1})
        };
        Ok(Output {
            json,
            ..Output::default()
        })
    }
}

struct FakeSession {
    fault: Fault,
    weight: f64,
    card: ModelCard,
}

impl FakeSession {
    fn answer(&mut self, input: &Input, batch: usize) -> Result<Output> {
        let name = if self.fault == Fault::HidesTheName {
            "input"
        } else {
            &input.name
        };
        let Payload::Text(text) = &input.payload else {
            if self.fault == Fault::RemembersGarbage {
                self.weight += 1.0;
            }
            if self.fault == Fault::BlamesItself {
                return Err(Error::Internal {
                    context: name.into(),
                    message: "no text".into(),
                });
            }
            assert!(self.fault != Fault::PanicsOnGarbage, "planted");
            return Err(Error::input(name, "no text", "a text"));
        };
        if text.is_empty() && self.fault != Fault::AnswersEmpty {
            return Err(Error::input(
                name,
                "an empty text",
                "at least one character",
            ));
        }
        let mut score = self.weight * text.len() as f64;
        if self.fault == Fault::BatchMatters {
            score += 1e-4 * batch as f64;
        }
        let raw = Some(json!({ "logits": [score] }));
        Ok(Output {
            json: json!({ "score": score }),
            raw,
            ..Output::default()
        })
    }
}

impl Session for FakeSession {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let batch = options.batch.min(inputs.len());
        let mut answers: Vec<Result<Output>> = inputs
            .iter()
            .map(|input| self.answer(input, batch))
            .collect();
        let failed = answers.iter().any(Result::is_err);
        match self.fault {
            Fault::OrderIsLost if batch > 2 => answers.reverse(),
            Fault::AnswersTooFew if failed => answers.retain(Result::is_ok),
            Fault::SpoilsNeighbours if failed => {
                for answer in &mut answers {
                    *answer = Err(Error::input("batch", "one is bad", "all good"));
                }
            }
            _ => {}
        }
        answers
    }
}

fn check(fault: Fault) -> ContractReport {
    check_task(&Fake::new(fault), &ContractOptions::default())
}

#[test]
fn a_sound_task_passes() {
    let report = check(Fault::None);
    assert!(report.held.len() > 20, "{:?}", report.held);
    report.finish();
}

#[test]
fn each_planted_fault_is_found() {
    for (fault, clause) in [
        (Fault::LossRises, "the loss falls: from"),
        (
            Fault::LossIsNan,
            "the loss falls: the loss of step 6 is NaN",
        ),
        (
            Fault::SeedIsIgnored,
            "the same seed gives the same run: losses differ from step 1",
        ),
        (Fault::NoReport, "model and report are on disk"),
        (
            Fault::ForgetsItsPlace,
            "a copied model predicts the same: prediction 0: /score",
        ),
        (
            Fault::BatchMatters,
            "a batch is answered as one by one: prediction 0: /score",
        ),
        (Fault::OrderIsLost, "a batch is answered as one by one"),
        (Fault::AnswersTooFew, "2 answers to 3 inputs"),
        (Fault::AnswersEmpty, "hostile: empty text: was answered"),
        (
            Fault::PanicsOnGarbage,
            "internal error in predict: panicked",
        ),
        (Fault::BlamesItself, "not refused as wrong input"),
        (Fault::HidesTheName, "does not name the input"),
        (Fault::SpoilsNeighbours, "a good neighbour failed"),
        (
            Fault::RemembersGarbage,
            "the session outlives hostile inputs: prediction 0",
        ),
        (
            Fault::AcceptsAnyRecipe,
            "an unknown recipe is refused: was accepted",
        ),
        (
            Fault::ExplainsNothing,
            "explain length: it explains nothing",
        ),
    ] {
        let report = check(fault);
        let found = report.breaches.iter().any(|breach| breach.contains(clause));
        assert!(found, "{fault:?}: {:?}", report.breaches);
        assert!(
            std::panic::catch_unwind(|| report.finish()).is_err(),
            "{fault:?}"
        );
    }
}

#[test]
fn a_task_without_recipes_is_held_to_the_rest_with_a_given_model() {
    let report = check(Fault::HasNoRecipes);
    let breach = "no recipes, and no model to hold it to";
    assert!(
        report.breaches.iter().any(|b| b.contains(breach)),
        "{report:?}"
    );

    let dir = tempfile::tempdir().unwrap();
    let options = ContractOptions {
        model: Some(dir.path().into()),
        ..ContractOptions::default()
    };
    let report = check_task(&Fake::new(Fault::HasNoRecipes), &options);
    let breach = "the model opens";
    assert!(
        report.breaches.iter().any(|b| b.contains(breach)),
        "{report:?}"
    );

    fs::write(dir.path().join("weight"), "0.5").unwrap();
    let report = check_task(&Fake::new(Fault::HasNoRecipes), &options);
    for clause in ["a copied model predicts the same", "hostile: empty text"] {
        assert!(report.held.iter().any(|h| h == clause), "{report:?}");
    }
    report.finish();
}

#[test]
fn edits_reach_the_recipe() {
    let options = ContractOptions {
        sets: vec!["x=1".into()],
        ..ContractOptions::default()
    };
    let report = check_task(&Fake::new(Fault::None), &options);
    assert!(
        report
            .breaches
            .iter()
            .any(|b| b.contains("unknown recipe key 'x=1'")),
        "{report:?}"
    );
}
