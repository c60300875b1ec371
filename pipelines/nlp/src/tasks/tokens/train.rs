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
        report::{OBSERVED, Trained, data_stage, observe},
        starting_point::{Start, Wanted},
    },
};
use panoply_core::{
    Error, ModelCard, Output, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Run},
    model_folder::{write_atomic, write_json},
    recipe::apply_sets,
    report::Report,
};
use panoply_datasets::{
    TaggedSentence, TaggedSplits, TaggedText, bundled,
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

/// Everything that a run is made of.
struct Parts<'a> {
    recipe: &'a Recipe,
    request: &'a TrainRequest,
    data: &'a TaggedSplits,
    start: &'a Start<BertForTokenClassification>,
    labels: &'a [String],
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

    let labels = data.train.tags();
    let wanted = Wanted {
        task: "tokens",
        model: &recipe.model,
        pretrained: request.model.as_ref(),
        num_labels: labels.len(),
        seed: recipe.fit.seed,
        init: BertConfig::init_token_classification,
    };
    let sentences = data.train.sentences().iter();
    let texts: Vec<String> = sentences.map(TaggedSentence::text).collect();
    let start = Start::of(&wanted, texts.iter().map(String::as_str), context)?;
    warn_of_cuts(&data.train, &start)?;
    let parts = Parts {
        recipe: &recipe,
        request,
        data: &data,
        start: &start,
        labels: &labels,
        context,
    };
    let fitted = parts.fit()?;
    let network = &fitted.model.network;

    let (scored, split) = data
        .test
        .as_ref()
        .map_or((&data.valid, "valid"), |test| (test, "test"));
    let scores = Scores::of(network, scored, &parts.pass())?;
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
    let mut page = parts.page(&fitted, &found, &card)?;
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

impl Parts<'_> {
    fn pass(&self) -> Pass<'_> {
        Pass {
            config: &self.start.config,
            tokenizer: &self.start.tokenizer,
            labels: self.labels,
            batch: self.recipe.fit.batch_size,
            device: &self.context.device,
            context: self.context,
            label: None,
        }
    }

    fn fit(&self) -> Result<Fitted<Supervised>> {
        let numbered = self.labels.iter().map(String::as_str).zip(0..);
        let classes: BTreeMap<&str, i64> = numbered.collect();
        let samples = TaggedSamples {
            text: &self.data.train,
            tokenizer: &self.start.tokenizer,
            classes: &classes,
        };
        let collate = TaggedCollate {
            config: &self.start.config,
        };
        let model = Supervised {
            network: self.start.network.clone(),
        };
        let pass = self.pass();
        let mut validate =
            |model: &Supervised| Scores::of(&model.network, &self.data.valid, &pass)?.metrics();
        let run = Run {
            dir: self.request.out.clone(),
            resume: self.request.resume,
            recipe: json!(self.recipe),
        };
        fit::fit(
            model,
            &self.recipe.fit,
            &samples,
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
    ) -> Result<Report> {
        let train = &self.data.train;
        let encode = |(row, sentence): (usize, &TaggedSentence)| {
            let tokenizer = &self.start.tokenizer;
            tokenizer.encode_quietly(&train.name(row), &sentence.text())
        };
        let shown = train.sentences().iter().take(OBSERVED).enumerate();
        let network = &fitted.model.network;
        let observed = observe(
            &shown.map(encode).collect::<Result<Vec<_>>>()?,
            &self.start.config,
            &network.bert,
            |hidden| network.head(hidden),
            self.context,
        )?;
        let formula = "-log softmax(logits)[tag] of the first token of each word, mean over the words of the batch";
        let run = Trained {
            recipe: self.recipe,
            fit: &self.recipe.fit,
            request: self.request,
            fitted,
            card,
            data: data_stage(train.location(), found, card),
            loss: ("cross-entropy", formula.into()),
            num_samples: train.len(),
        };
        run.page(observed, self.context)
    }
}
