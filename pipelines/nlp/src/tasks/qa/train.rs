//! Training by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    Settings, answerer,
    eval::{Pass, Scores},
    recipe::Recipe,
    samples::{QuestionCollate, QuestionSamples, Supervised},
};
use crate::{
    models::bert::{BertConfig, BertForQuestionAnswering},
    tasks::{
        encoder::write_folder,
        report::{OBSERVED, Trained, data_stage, observe},
        starting_point::{Start, Wanted},
    },
};
use panoply_core::{
    Error, ModelCard, Output, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Run, Samples},
    model_folder::write_json,
    recipe::apply_sets,
    report::Report,
};
use panoply_datasets::{
    QuestionSet, QuestionSplits, bundled,
    gate::{self, GateReport},
};
use serde_json::json;
use std::{collections::BTreeSet, path::Path, time::Instant};

/// The data of a recipe: the bundled slice, or what `--data` names.
fn splits(recipe: &Recipe, data: Option<&Path>) -> Result<QuestionSplits> {
    match data {
        Some(path) => QuestionSplits::open(path, recipe.data.validation),
        None if recipe.data.bundled => {
            let (train, test) = bundled::squad_slice()?;
            let (train, valid) = train.holdout(recipe.data.validation)?;
            let test = Some(test);
            Ok(QuestionSplits { train, valid, test })
        }
        None => Err(Error::input(
            "--data",
            "missing; this recipe has no data of its own",
            "a SQuAD file (.json), or a folder of train, dev and test",
        )),
    }
}

fn inspect(splits: &QuestionSplits) -> GateReport {
    let mut others = vec![("valid", &splits.valid)];
    others.extend(splits.test.as_ref().map(|test| ("test", test)));
    gate::inspect_questions(&splits.train, &others)
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<Output> {
    Ok(inspect(&splits(&Recipe::base(), Some(data))?).to_output())
}

/// The data without what the gate found unusable, once the user has accepted that.
fn usable(splits: &QuestionSplits, found: &GateReport) -> Result<QuestionSplits> {
    let part = |name: &str, set: &QuestionSet| {
        let set = set.without(found.unusable(name));
        if set.is_empty() {
            let what = format!("no usable question in {name}");
            return Err(Error::input(set.location(), what, "questions with answers"));
        }
        Ok(set)
    };
    Ok(QuestionSplits {
        train: part("train", &splits.train)?,
        valid: part("valid", &splits.valid)?,
        test: splits
            .test
            .as_ref()
            .map(|test| part("test", test))
            .transpose()?,
    })
}

/// Everything that a run is made of.
struct Parts<'a> {
    recipe: &'a Recipe,
    request: &'a TrainRequest,
    data: &'a QuestionSplits,
    start: &'a Start<BertForQuestionAnswering>,
    settings: &'a Settings,
    context: &'a RunContext,
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    let data = splits(&recipe, request.data.as_deref())?;
    let found = inspect(&data);
    write_json(&request.out.join("data-gate.json"), &found)?;
    found.refuse_unless(request.accept_data_issues)?;
    let data = usable(&data, &found)?;
    let gate_secs = started.elapsed().as_secs_f64();

    let wanted = Wanted {
        task: "qa",
        model: &recipe.model,
        pretrained: request.model.as_ref(),
        num_labels: 2,
        seed: recipe.fit.seed,
        init: BertConfig::init_question_answering,
    };
    let start = Start::of(&wanted, texts(&data.train).into_iter(), context)?;
    let settings = Settings {
        doc_stride: recipe.data.doc_stride,
        handle_impossible: Some(data.train.has_impossible()),
        ..Settings::default()
    };
    let parts = Parts {
        recipe: &recipe,
        request,
        data: &data,
        start: &start,
        settings: &settings,
        context,
    };
    let samples = QuestionSamples::new(&data.train, &start.tokenizer, recipe.data.doc_stride)?;
    let fitted = parts.fit(&samples)?;
    let network = &fitted.model.network;

    let (scored, split) = data
        .test
        .as_ref()
        .map_or((&data.valid, "valid"), |test| (test, "test"));
    let metrics: Vec<(String, f64)> = Scores::of(network, scored, &parts.pass())?
        .metrics()
        .into_iter()
        .map(|(name, value)| (format!("{split}_{name}"), value))
        .collect();

    let mut card = start.card(network);
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(data.train.digest());
    let trained = answerer::Trained {
        handle_impossible: data.train.has_impossible(),
    };
    let folder = write_folder(
        &request.out.join("model"),
        network,
        &start.config,
        &start.tokenizer,
        &start.config.to_hf(),
        &trained,
        &card,
    )?;
    let mut page = parts.page(&fitted, &found, &card, &samples)?;
    page.metrics.clone_from(&metrics);
    page.timing.part_secs.push(("data gate".into(), gate_secs));
    page.timing.total_secs = started.elapsed().as_secs_f64();
    Ok(TrainOutcome {
        model: folder.path().into(),
        report: page.write(&request.out)?,
        metrics,
        losses: fitted.history.losses,
    })
}

/// All paragraphs, each once, and all questions: what a tokenizer learns from.
fn texts(set: &QuestionSet) -> Vec<&str> {
    let contexts: BTreeSet<&str> = set.questions().iter().map(|q| &*q.context).collect();
    let questions = set.questions().iter().map(|q| q.question.as_str());
    contexts.into_iter().chain(questions).collect()
}

impl Parts<'_> {
    fn pass(&self) -> Pass<'_> {
        Pass {
            config: &self.start.config,
            tokenizer: &self.start.tokenizer,
            settings: self.settings,
            handle_impossible: self.data.train.has_impossible(),
            batch: self.recipe.fit.batch_size,
            device: &self.context.device,
            context: self.context,
            label: None,
        }
    }

    fn fit(&self, samples: &QuestionSamples<'_>) -> Result<Fitted<Supervised>> {
        let collate = QuestionCollate {
            config: &self.start.config,
        };
        let model = Supervised {
            network: self.start.network.clone(),
        };
        let pass = self.pass();
        let mut validate = |model: &Supervised| {
            let scores = Scores::of(&model.network, &self.data.valid, &pass)?;
            Ok(scores.metrics())
        };
        let run = Run {
            dir: self.request.out.clone(),
            resume: self.request.resume,
            recipe: json!(self.recipe),
        };
        fit::fit(
            model,
            &self.recipe.fit,
            samples,
            &collate,
            &mut validate,
            &run,
            self.context,
        )
    }

    /// The report; the caller adds the final metrics and the times that it alone knows.
    fn page(
        &self,
        fitted: &Fitted<Supervised>,
        found: &GateReport,
        card: &ModelCard,
        samples: &QuestionSamples<'_>,
    ) -> Result<Report> {
        let train = &self.data.train;
        let first = |row| Ok(samples.windows(row)?.swap_remove(0));
        let shown = (0..train.len().min(OBSERVED)).map(first);
        let network = &fitted.model.network;
        let observed = observe(
            &shown.collect::<Result<Vec<_>>>()?,
            &self.start.config,
            &network.bert,
            |hidden| network.head(hidden),
            self.context,
        )?;
        let formula = "-log softmax(logits)[token] over the tokens of a window, mean of first and last token and over the batch";
        let run = Trained {
            recipe: self.recipe,
            fit: &self.recipe.fit,
            request: self.request,
            fitted,
            card,
            data: data_stage(train.location(), found, card),
            loss: ("cross-entropy", formula.into()),
            num_samples: samples.len(),
        };
        run.page(observed, self.context)
    }
}
