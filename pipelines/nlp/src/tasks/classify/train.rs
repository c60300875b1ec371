//! Training by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    classifier::Classes,
    eval::{Pass, Scores},
    recipe::Recipe,
    report,
    samples::{Supervised, TextCollate, TextSamples},
};
use crate::{
    models::bert::{BertConfig, BertForSequenceClassification},
    tasks::{
        encoder::{Companions, labelled_config},
        starting_point::{Head, Start, Wanted},
    },
};
use burn::module::Module;
use panoply_core::{
    Conclusion, DataCheck, Error, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Run},
    recipe::apply_sets,
    report::Trained,
    train::measured_on,
};
use panoply_datasets::{
    LabelledTexts, Split, Splits, bundled,
    gate::{self, GateReport},
    open_text_splits,
};
use serde_json::json;
use std::{path::Path, time::Instant};

/// The data of a recipe: the bundled messages, or what `--data` names.
fn splits(recipe: &Recipe, data: Option<&Path>) -> Result<Splits<LabelledTexts>> {
    let (holdout, seed) = (recipe.data.validation, recipe.fit.seed);
    match data {
        Some(path) => open_text_splits(path, &recipe.data.columns, holdout, seed),
        None if recipe.data.bundled => {
            let (train, valid) = bundled::languages(Split::Train)?.holdout(holdout, seed)?;
            let test = Some(bundled::languages(Split::Test)?);
            Ok(Splits {
                train,
                valid,
                is_held_out: true,
                test,
            })
        }
        None => Err(Error::input(
            "--data",
            "missing; this recipe has no data of its own",
            "a table of texts (.csv, .tsv, .jsonl), or a folder of train, dev and test",
        )),
    }
}

fn inspect(splits: &Splits<LabelledTexts>, multi_label: bool) -> GateReport {
    gate::inspect_labelled(&splits.train, &splits.others(), multi_label)
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    Ok(inspect(&splits(&Recipe::base(), Some(data))?, false).to_check())
}

/// Refuses texts with several classes where each must have one.
fn check_labels(splits: &Splits<LabelledTexts>, multi_label: bool) -> Result<()> {
    for (_, texts) in splits.parts() {
        let several = (0..texts.len()).find(|&row| texts.labels(row).len() > 1);
        if let Some(row) = several.filter(|_| !multi_label) {
            let what = format!("{} classes", texts.labels(row).len());
            let expected = "one class, or --set data.multi_label=true";
            return Err(Error::input(texts.name(row), what, expected));
        }
    }
    Ok(())
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    let multi_label = recipe.data.multi_label;
    let data = splits(&recipe, request.data.as_deref())?;
    let run = request.begin(&recipe)?;
    check_labels(&data, multi_label)?;
    let found = inspect(&data, multi_label);
    found.admit(request)?;
    let data = data.map(|split, texts| texts.without(found.unusable(split.name())));
    let gate_secs = started.elapsed().as_secs_f64();

    let wanted = Wanted {
        task: "classify",
        model: &recipe.model,
        pretrained: request.model.as_ref(),
        num_labels: data.train.classes().len(),
        seed: recipe.fit.seed,
        init: BertConfig::init_sequence_classification,
        head: Head {
            names: [&["classifier"], &["pre_classifier", "classifier"]],
            peft: "SEQ_CLS",
        },
    };
    let texts = (0..data.train.len()).map(|row| data.train.text(row));
    let start = Start::of(&wanted, texts, context)?;
    let classes = Classes {
        names: data.train.classes().to_vec(),
        multi_label,
    };
    let fitted = run_fit(&recipe, &data, &start, &classes, &run, context)?;
    // Adapters become part of the weights.
    let network = &fitted.model.network.clone().materialize();

    let (split, scored) = data.scored();
    let scores = Scores::of(network, scored, &pass(&recipe, &start, &classes, context))?;
    let metrics = measured_on(split, scores.metrics()?);

    let mut card = start.card(network);
    card.labels.clone_from(&classes.names);
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(data.train.digest());
    let mut config = labelled_config(&start.config, &classes.names)?;
    config.insert("problem_type".into(), json!(classes.problem_type()));
    let companions = Companions {
        config: json!(config),
        preprocessor: &recipe.data.columns,
        card: &card,
    };
    let folder = start.write(&request.out, &fitted.model.network, &companions)?;
    let trained = Trained {
        recipe: &recipe,
        fit: &recipe.fit,
        request,
        fitted: &fitted,
        card: &card,
        data: found.stage(data.train.location(), &card),
        loss: report::loss(&recipe),
        num_samples: data.train.len(),
    };
    let observed = report::observed(&data.train, &start, &fitted, context)?;
    let page = trained.page(observed, context)?;
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: scores.picture(&classes.names)?.into_iter().collect(),
        model: folder.path(),
        history: &fitted.history,
    };
    end.write(page, &request.out)
}

fn pass<'a>(
    recipe: &Recipe,
    start: &'a Start<BertForSequenceClassification>,
    classes: &'a Classes,
    context: &'a RunContext,
) -> Pass<'a> {
    Pass {
        config: &start.config,
        tokenizer: &start.tokenizer,
        classes,
        batch: recipe.fit.batch_size,
        device: &context.device,
        context,
        label: None,
    }
}

fn run_fit(
    recipe: &Recipe,
    data: &Splits<LabelledTexts>,
    start: &Start<BertForSequenceClassification>,
    classes: &Classes,
    run: &Run,
    context: &RunContext,
) -> Result<Fitted<Supervised>> {
    let samples = TextSamples {
        texts: &data.train,
        tokenizer: &start.tokenizer,
    };
    let collate = TextCollate {
        config: &start.config,
        multi_label: classes.multi_label,
    };
    let model = Supervised {
        network: start.trainable()?,
        label_smoothing: recipe.label_smoothing,
    };
    let pass = pass(recipe, start, classes, context);
    let mut validate =
        |model: &Supervised| Scores::of(&model.network, &data.valid, &pass)?.metrics();
    fit::fit(
        model,
        &recipe.fit,
        &samples,
        &collate,
        &mut validate,
        run,
        context,
    )
}
