//! Training by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    eval::{Pass, Scores},
    recipe::Recipe,
    samples::{Supervised, TaggedCollate, TaggedSamples},
};
use crate::{
    models::bert::{BertConfig, BertForTokenClassification},
    tasks::{
        encoder::{Companions, labelled_config},
        report::observe,
        starting_point::{Head, Start, Wanted},
    },
};
use burn::module::Module;
use panoply_core::{
    Conclusion, DataCheck, Error, ModelCard, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Run},
    recipe::apply_sets,
    report::{OBSERVED, Report, Trained},
    train::measured_on,
};
use panoply_datasets::{
    Splits, TaggedSentence, TaggedText, bundled,
    gate::{self, GateReport},
    open_tagged_splits,
};
use serde_json::json;
use std::{collections::BTreeMap, path::Path, time::Instant};

/// The data of a recipe: the bundled slice, or what `--data` names.
fn splits(recipe: &Recipe, data: Option<&Path>) -> Result<Splits<TaggedText>> {
    let (holdout, seed) = (recipe.data.validation, recipe.fit.seed);
    match data {
        Some(path) => open_tagged_splits(path, &recipe.data.columns, holdout, seed),
        None if recipe.data.bundled => {
            let (train, test) = bundled::wnut17_slice()?;
            let (train, valid) = train.holdout(holdout, seed)?;
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
            "tagged words (.conll, .txt, .jsonl), or a folder of train, dev and test",
        )),
    }
}

fn inspect(splits: &Splits<TaggedText>) -> GateReport {
    gate::inspect_tagged(&splits.train, &splits.others())
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    Ok(inspect(&splits(&Recipe::base(), Some(data))?).to_check())
}

/// The data without what the gate found unusable, once the user has accepted that.
fn usable(splits: Splits<TaggedText>, found: &GateReport) -> Result<Splits<TaggedText>> {
    splits.try_map(|split, text| {
        let text = text.without(found.unusable(split.name()));
        if text.is_empty() {
            let what = format!("no usable sentence in {split}");
            return Err(Error::input(text.location(), what, "tagged words"));
        }
        Ok(text)
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
    run: &'a Run,
    data: &'a Splits<TaggedText>,
    start: &'a Start<BertForTokenClassification>,
    labels: &'a [String],
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

    let labels = data.train.tags();
    let wanted = Wanted {
        task: "tokens",
        model: &recipe.model,
        pretrained: request.model.as_ref(),
        num_labels: labels.len(),
        seed: recipe.fit.seed,
        init: BertConfig::init_token_classification,
        head: Head {
            names: [&["classifier"]; 2],
            peft: "TOKEN_CLS",
        },
    };
    let sentences = data.train.sentences().iter();
    let texts: Vec<String> = sentences.map(TaggedSentence::text).collect();
    let start = Start::of(&wanted, texts.iter().map(String::as_str), context)?;
    warn_of_cuts(&data.train, &start)?;
    let parts = Parts {
        recipe: &recipe,
        request,
        run: &run,
        data: &data,
        start: &start,
        labels: &labels,
        context,
    };
    let fitted = parts.fit()?;
    // Adapters become part of the weights.
    let network = &fitted.model.network.clone().materialize();

    let (split, scored) = data.scored();
    let scores = Scores::of(network, scored, &parts.pass())?;
    let metrics = measured_on(split, scores.metrics()?);

    let mut card = start.card(network);
    card.labels.clone_from(&labels);
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(data.train.digest());
    let companions = Companions {
        config: json!(labelled_config(&start.config, &labels)?),
        preprocessor: &recipe.data.columns,
        card: &card,
    };
    let folder = start.write(&request.out, &fitted.model.network, &companions)?;
    let page = parts.page(&fitted, &found, &card)?;
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: vec![scores.picture()?],
        model: folder.path(),
        history: &fitted.history,
    };
    end.write(page, &request.out)
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
            network: self.start.trainable()?,
        };
        let pass = self.pass();
        let mut validate =
            |model: &Supervised| Scores::of(&model.network, &self.data.valid, &pass)?.metrics();
        fit::fit(
            model,
            &self.recipe.fit,
            &samples,
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
            data: found.stage(train.location(), card),
            loss: ("cross-entropy", formula.into()),
            num_samples: train.len(),
        };
        run.page(observed, self.context)
    }
}
