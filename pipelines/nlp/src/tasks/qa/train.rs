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
        encoder::Companions,
        report::observe,
        starting_point::{Head, Start, Wanted},
    },
};
use burn::module::Module;
use panoply_core::{
    Conclusion, DataCheck, Error, ModelCard, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Run, Samples},
    recipe::apply_sets,
    report::{OBSERVED, Report, Trained},
    train::measured_on,
};
use panoply_datasets::{
    QuestionSet, Splits, bundled,
    gate::{self, GateReport},
    open_question_splits,
};
use std::{collections::BTreeSet, path::Path, time::Instant};

/// The data of a recipe: the bundled slice, or what `--data` names.
fn splits(recipe: &Recipe, data: Option<&Path>) -> Result<Splits<QuestionSet>> {
    match data {
        Some(path) => open_question_splits(path, recipe.data.validation),
        None if recipe.data.bundled => {
            let (train, test) = bundled::squad_slice()?;
            let (train, valid) = train.holdout(recipe.data.validation)?;
            Ok(Splits {
                train,
                valid,
                is_held_out: true,
                test: Some(test),
            })
        }
        None => Err(Error::input(
            "--data",
            "missing; this recipe has no data of its own",
            "a SQuAD file (.json), or a folder of train, dev and test",
        )),
    }
}

fn inspect(splits: &Splits<QuestionSet>) -> GateReport {
    gate::inspect_questions(&splits.train, &splits.others())
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    Ok(inspect(&splits(&Recipe::base(), Some(data))?).to_check())
}

/// The data without what the gate found unusable, once the user has accepted that.
fn usable(splits: Splits<QuestionSet>, found: &GateReport) -> Result<Splits<QuestionSet>> {
    splits.try_map(|split, set| {
        let set = set.without(found.unusable(split.name()));
        if set.is_empty() {
            let what = format!("no usable question in {split}");
            return Err(Error::input(set.location(), what, "questions with answers"));
        }
        Ok(set)
    })
}

/// Everything that a run is made of.
struct Parts<'a> {
    recipe: &'a Recipe,
    request: &'a TrainRequest,
    run: &'a Run,
    data: &'a Splits<QuestionSet>,
    start: &'a Start<BertForQuestionAnswering>,
    settings: &'a Settings,
    context: &'a RunContext,
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    let data = splits(&recipe, request.data.as_deref())?;
    let run = request.begin(&recipe)?;
    let found = inspect(&data);
    found.admit(request)?;
    let data = usable(data, &found)?;
    let gate_secs = started.elapsed().as_secs_f64();

    let wanted = Wanted {
        task: "qa",
        model: &recipe.model,
        pretrained: request.model.as_ref(),
        num_labels: 2,
        seed: recipe.fit.seed,
        init: BertConfig::init_question_answering,
        head: Head {
            names: [&["qa_outputs"]; 2],
            peft: "QUESTION_ANS",
        },
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
        run: &run,
        data: &data,
        start: &start,
        settings: &settings,
        context,
    };
    let samples = QuestionSamples::new(&data.train, &start.tokenizer, recipe.data.doc_stride)?;
    let fitted = parts.fit(&samples)?;
    // Adapters become part of the weights.
    let network = &fitted.model.network.clone().materialize();

    let (split, scored) = data.scored();
    let metrics = measured_on(split, Scores::of(network, scored, &parts.pass())?.metrics());

    let mut card = start.card(network);
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(data.train.digest());
    let trained = answerer::Trained {
        handle_impossible: data.train.has_impossible(),
    };
    let companions = Companions {
        config: start.config.to_hf(),
        preprocessor: &trained,
        card: &card,
    };
    let folder = start.write(&request.out, &fitted.model.network, &companions)?;
    let page = parts.page(&fitted, &found, &card, &samples)?;
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: Vec::new(),
        model: folder.path(),
        history: &fitted.history,
    };
    end.write(page, &request.out)
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
            network: self.start.trainable()?,
        };
        let pass = self.pass();
        let mut validate = |model: &Supervised| {
            let scores = Scores::of(&model.network, &self.data.valid, &pass)?;
            Ok(scores.metrics())
        };
        fit::fit(
            model,
            &self.recipe.fit,
            samples,
            &collate,
            &mut validate,
            self.run,
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
            data: found.stage(train.location(), card),
            loss: ("cross-entropy", formula.into()),
            num_samples: samples.len(),
        };
        run.page(observed, self.context)
    }
}
