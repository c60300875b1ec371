//! Training by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    classifier::Classes,
    eval::{Pass, Scores},
    recipe::Recipe,
    report::{self, Trained},
    samples::{Supervised, TextCollate, TextSamples},
};
use crate::{
    models::bert::{BertConfig, BertForSequenceClassification},
    tasks::{
        encoder::{labelled_config, write_folder},
        starting_point::{Start, Wanted},
    },
};
use panoply_core::{
    Error, Output, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Run},
    model_folder::{write_atomic, write_json},
    recipe::apply_sets,
};
use panoply_datasets::{
    Split, TextSplits, bundled,
    gate::{self, GateReport},
};
use serde_json::json;
use std::{path::Path, time::Instant};

/// The data of a recipe: the bundled messages, or what `--data` names.
fn splits(recipe: &Recipe, data: Option<&Path>) -> Result<TextSplits> {
    let (holdout, seed) = (recipe.data.validation, recipe.fit.seed);
    match data {
        Some(path) => TextSplits::open(path, &recipe.data.columns, holdout, seed),
        None if recipe.data.bundled => {
            let (train, valid) = bundled::languages(Split::Train)?.holdout(holdout, seed)?;
            let test = Some(bundled::languages(Split::Test)?);
            Ok(TextSplits { train, valid, test })
        }
        None => Err(Error::input(
            "--data",
            "missing; this recipe has no data of its own",
            "a table of texts (.csv, .tsv, .jsonl), or a folder of train, dev and test",
        )),
    }
}

fn inspect(splits: &TextSplits, multi_label: bool) -> GateReport {
    let mut others = vec![("valid", &splits.valid)];
    others.extend(splits.test.as_ref().map(|test| ("test", test)));
    gate::inspect_labelled(&splits.train, &others, multi_label)
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<Output> {
    Ok(inspect(&splits(&Recipe::base(), Some(data))?, false).to_output())
}

/// The data without what the gate found unusable, once the user has accepted that.
fn usable(splits: TextSplits, found: &GateReport) -> TextSplits {
    TextSplits {
        train: splits.train.without(found.unusable("train")),
        valid: splits.valid.without(found.unusable("valid")),
        test: splits.test.map(|test| test.without(found.unusable("test"))),
    }
}

/// Refuses texts with several classes where each must have one.
fn check_labels(splits: &TextSplits, multi_label: bool) -> Result<()> {
    let parts = [
        Some(&splits.train),
        Some(&splits.valid),
        splits.test.as_ref(),
    ];
    for texts in parts.into_iter().flatten() {
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
    check_labels(&data, multi_label)?;
    let found = inspect(&data, multi_label);
    write_json(&request.out.join("data-gate.json"), &found)?;
    found.refuse_unless(request.accept_data_issues)?;
    let data = usable(data, &found);
    let gate_secs = started.elapsed().as_secs_f64();

    let wanted = Wanted {
        task: "classify",
        model: &recipe.model,
        pretrained: request.model.as_ref(),
        num_labels: data.train.classes().len(),
        seed: recipe.fit.seed,
        init: BertConfig::init_sequence_classification,
    };
    let texts = (0..data.train.len()).map(|row| data.train.text(row));
    let start = Start::of(&wanted, texts, context)?;
    let classes = Classes {
        names: data.train.classes().to_vec(),
        multi_label,
    };
    let fitted = run_fit(&recipe, &data, &start, &classes, request, context)?;
    let network = &fitted.model.network;

    let (scored, split) = data
        .test
        .as_ref()
        .map_or((&data.valid, "valid"), |test| (test, "test"));
    let scores = Scores::of(network, scored, &pass(&recipe, &start, &classes, context))?;
    let metrics: Vec<(String, f64)> = scores
        .metrics()?
        .into_iter()
        .map(|(name, value)| (format!("{split}_{name}"), value))
        .collect();

    let mut card = start.card(network);
    card.labels.clone_from(&classes.names);
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(data.train.digest());
    let mut config = labelled_config(&start.config, &classes.names)?;
    config.insert("problem_type".into(), json!(classes.problem_type()));
    let folder = write_folder(
        &request.out.join("model"),
        network,
        &start.config,
        &start.tokenizer,
        &json!(config),
        &recipe.data.columns,
        &card,
    )?;
    let trained = Trained {
        recipe: &recipe,
        request,
        data: &data,
        found: &found,
        start: &start,
        fitted: &fitted,
        card: &card,
    };
    let mut page = report::page(&trained, context)?;
    page.metrics.clone_from(&metrics);
    if let Some(picture) = scores.picture(&classes.names)? {
        write_atomic(&request.out.join(&picture.file_name), &picture.bytes)?;
        let svg = String::from_utf8_lossy(&picture.bytes);
        page.figures.push(svg.into_owned());
    }
    page.timing.part_secs.push(("data gate".into(), gate_secs));
    page.timing.total_secs = started.elapsed().as_secs_f64();
    Ok(TrainOutcome {
        model: folder.path().into(),
        report: page.write(&request.out)?,
        metrics,
        losses: fitted.history.losses,
    })
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
    data: &TextSplits,
    start: &Start<BertForSequenceClassification>,
    classes: &Classes,
    request: &TrainRequest,
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
        network: start.network.clone(),
        label_smoothing: recipe.label_smoothing,
    };
    let pass = pass(recipe, start, classes, context);
    let mut validate =
        |model: &Supervised| Scores::of(&model.network, &data.valid, &pass)?.metrics();
    let run = Run {
        dir: request.out.clone(),
        resume: request.resume,
        recipe: json!(recipe),
    };
    fit::fit(
        model,
        &recipe.fit,
        &samples,
        &collate,
        &mut validate,
        &run,
        context,
    )
}
