//! Training by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    eval::{Pass, Scores},
    recipe::Recipe,
    samples::{Supervised, TaggedCollate, TaggedSamples},
};
use crate::{
    models::bert::{BertConfig, BertForTokenClassification},
    tasks::{
        encoder::{labelled_config, write_folder},
        report::{OBSERVED, Trained, observe},
        start::{Start, Wanted},
    },
};
use panoply_core::{
    Error, ModelCard, Output, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Run},
    model_folder::{write_atomic, write_json},
    recipe::apply_sets,
    report::{DataStage, Report, SplitRow},
};
use panoply_datasets::{
    TaggedSplits, TaggedText, bundled,
    gate::{self, GateReport},
};
use serde_json::json;
use std::{collections::BTreeMap, path::Path, time::Instant};

/// The data of a recipe: the bundled slice, or what `--data` names.
fn splits(recipe: &Recipe, data: Option<&Path>) -> Result<TaggedSplits> {
    let (holdout, seed) = (recipe.data.validation, recipe.fit.seed);
    match data {
        Some(path) => TaggedSplits::open(path, &recipe.data.columns, holdout, seed),
        None if recipe.data.bundled => {
            let (train, test) = bundled::wnut17_slice()?;
            let (train, valid) = train.holdout(holdout, seed)?;
            let test = Some(test);
            Ok(TaggedSplits { train, valid, test })
        }
        None => Err(Error::input(
            "--data",
            "missing; this recipe has no data of its own",
            "tagged words (.conll, .txt, .jsonl), or a folder of train, dev and test",
        )),
    }
}

fn inspect(splits: &TaggedSplits) -> GateReport {
    let mut others = vec![("valid", &splits.valid)];
    others.extend(splits.test.as_ref().map(|test| ("test", test)));
    gate::inspect_tagged(&splits.train, &others)
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<Output> {
    Ok(inspect(&splits(&Recipe::base(), Some(data))?).to_output())
}

/// The data without what the gate found unusable, once the user has accepted that.
fn usable(splits: &TaggedSplits, found: &GateReport) -> Result<TaggedSplits> {
    let part = |name: &str, text: &TaggedText| {
        let text = text.without(found.unusable(name));
        if text.is_empty() {
            let what = format!("no usable sentence in {name}");
            return Err(Error::input(text.location(), what, "tagged words"));
        }
        Ok(text)
    };
    Ok(TaggedSplits {
        train: part("train", &splits.train)?,
        valid: part("valid", &splits.valid)?,
        test: splits
            .test
            .as_ref()
            .map(|test| part("test", test))
            .transpose()?,
    })
}

/// Says how many training sentences are longer than the recipe reads.
fn warn_of_cuts(data: &TaggedText, start: &Start<BertForTokenClassification>) -> Result<()> {
    let mut cut = 0;
    for (row, sentence) in data.sentences().iter().enumerate() {
        let encoded = start
            .tokenizer
            .encode_quietly(&data.name(row), &sentence.text())?;
        cut += usize::from(encoded.truncated);
    }
    if cut > 0 {
        let tokens = start.tokenizer.max_length();
        tracing::warn!(
            "{cut} training sentences have more than {tokens} tokens and are cut (--set model.max_length)"
        );
    }
    Ok(())
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

    let labels = data.train.tags();
    let wanted = Wanted {
        task: "tokens",
        model: &recipe.model,
        pretrained: request.model.as_ref(),
        num_labels: labels.len(),
        seed: recipe.fit.seed,
        init: BertConfig::init_token_classification,
    };
    let texts: Vec<String> = data.train.sentences().iter().map(|s| s.text()).collect();
    let start = Start::of(&wanted, texts.iter().map(String::as_str), context)?;
    warn_of_cuts(&data.train, &start)?;
    let fitted = run_fit(&recipe, &data, &start, &labels, request, context)?;
    let network = &fitted.model.network;

    let (scored, split) = data
        .test
        .as_ref()
        .map_or((&data.valid, "valid"), |test| (test, "test"));
    let scores = Scores::of(network, scored, &pass(&recipe, &start, &labels, context))?;
    let metrics: Vec<(String, f64)> = scores
        .metrics()?
        .into_iter()
        .map(|(name, value)| (format!("{split}_{name}"), value))
        .collect();

    let mut card = start.card(network);
    card.labels.clone_from(&labels);
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(data.train.digest());
    let folder = write_folder(
        &request.out.join("model"),
        network,
        &start.config,
        &start.tokenizer,
        &json!(labelled_config(&start.config, &labels)?),
        &recipe.data.columns,
        &card,
    )?;
    let mut page = page(
        &recipe, request, &data, &found, &start, &fitted, &card, context,
    )?;
    page.metrics.clone_from(&metrics);
    let picture = scores.picture()?;
    write_atomic(&request.out.join(&picture.file_name), &picture.bytes)?;
    let svg = String::from_utf8_lossy(&picture.bytes);
    page.figures.push(svg.into_owned());
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
    start: &'a Start<BertForTokenClassification>,
    labels: &'a [String],
    context: &'a RunContext,
) -> Pass<'a> {
    Pass {
        config: &start.config,
        tokenizer: &start.tokenizer,
        labels,
        batch: recipe.fit.batch_size,
        device: &context.device,
        context,
        label: None,
    }
}

fn run_fit(
    recipe: &Recipe,
    data: &TaggedSplits,
    start: &Start<BertForTokenClassification>,
    labels: &[String],
    request: &TrainRequest,
    context: &RunContext,
) -> Result<Fitted<Supervised>> {
    let numbered = labels.iter().map(String::as_str).zip(0..);
    let classes: BTreeMap<&str, i64> = numbered.collect();
    let samples = TaggedSamples {
        text: &data.train,
        tokenizer: &start.tokenizer,
        classes: &classes,
    };
    let collate = TaggedCollate {
        config: &start.config,
    };
    let model = Supervised {
        network: start.network.clone(),
    };
    let pass = pass(recipe, start, labels, context);
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

/// The report; the caller adds the final metrics and the times that it alone knows.
#[expect(clippy::too_many_arguments, reason = "all that a run was made of")]
fn page(
    recipe: &Recipe,
    request: &TrainRequest,
    data: &TaggedSplits,
    found: &GateReport,
    start: &Start<BertForTokenClassification>,
    fitted: &Fitted<Supervised>,
    card: &ModelCard,
    context: &RunContext,
) -> Result<Report> {
    let encode = |(row, sentence): (usize, &panoply_datasets::TaggedSentence)| {
        let name = data.train.name(row);
        start.tokenizer.encode_quietly(&name, &sentence.text())
    };
    let shown = data.train.sentences().iter().take(OBSERVED).enumerate();
    let network = &fitted.model.network;
    let observed = observe(
        &shown.map(encode).collect::<Result<Vec<_>>>()?,
        &start.config,
        &network.bert,
        |hidden| network.head(hidden),
        context,
    )?;
    let run = Trained {
        recipe,
        fit: &recipe.fit,
        request,
        fitted,
        card,
        data: data_stage(data, found, card),
        loss: (
            "cross-entropy",
            "-log softmax(logits)[tag] of the first token of each word, mean over the words of the batch"
                .into(),
        ),
        num_samples: data.train.len(),
    };
    run.page(observed, context)
}

fn data_stage(data: &TaggedSplits, found: &GateReport, card: &ModelCard) -> DataStage {
    let splits = found.splits.iter().enumerate();
    let row = |(at, split): (usize, &gate::SplitSummary)| SplitRow {
        name: split.name.clone(),
        num_samples: split.samples - split.unusable.len(),
        classes: found
            .balance
            .iter()
            .map(|class| (class.class.clone(), class.counts[at] as u64))
            .collect(),
    };
    DataStage {
        source: data.train.location().into(),
        sha256: card.data_sha256.clone().unwrap_or_default(),
        splits: splits.map(row).collect(),
        gate: found.summary(),
    }
}
