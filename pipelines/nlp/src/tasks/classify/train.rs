//! Training by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    classifier::{Classes, Parts, write_companions, write_folder},
    eval::{Pass, Scores},
    recipe::Recipe,
    report::{self, Trained},
    samples::{Supervised, TextCollate, TextSamples},
};
use crate::{
    models::bert::{BertConfig, BertForSequenceClassification, NEW_HEAD},
    preprocess::TextTokenizer,
    tasks::encoder::{EncoderFolder, architecture},
};
use burn::module::Module;
use panoply_core::{
    Conclusion, DataCheck, Error, ModelCard, ModelFolder, Result, RunContext, TrainOutcome,
    TrainRequest, fit,
    fit::{Fitted, Run},
    recipe::apply_sets,
    seed,
    weights::{self, LoraConfig},
};
use panoply_datasets::{
    LabelledTexts, Split, Splits, bundled,
    gate::{self, GateReport},
    open_text_splits,
};
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

/// The network before training, with everything that goes with it.
pub(super) struct Start {
    pub(super) config: BertConfig,
    pub(super) network: BertForSequenceClassification,
    pub(super) tokenizer: TextTokenizer,
    /// The model that it started from.
    base: Option<String>,
    lora: Option<LoraConfig>,
    origin: String,
    licence: String,
}

impl Start {
    fn of(
        recipe: &Recipe,
        request: &TrainRequest,
        data: &Splits<LabelledTexts>,
        context: &RunContext,
    ) -> Result<Self> {
        // The device's generator initialises the weights: the same seed, the same start.
        context.device.seed(seed::derive(&[recipe.fit.seed]));
        match request.model.as_ref().or(recipe.model.pretrained.as_ref()) {
            Some(model) => Self::pretrained(model, recipe, data, context),
            None => Self::scratch(recipe, data, context),
        }
    }

    /// A network from nothing, and a tokenizer learnt from the training texts.
    fn scratch(
        recipe: &Recipe,
        data: &Splits<LabelledTexts>,
        context: &RunContext,
    ) -> Result<Self> {
        let model = &recipe.model;
        let texts = (0..data.train.len()).map(|row| data.train.text(row));
        let tokenizer = TextTokenizer::train(texts, model.vocab_size, model.max_length)?;
        if model.num_attention_heads == 0
            || !model.hidden_size.is_multiple_of(model.num_attention_heads)
        {
            let what = format!(
                "{} heads for {} features",
                model.num_attention_heads, model.hidden_size
            );
            return Err(Error::input(
                "model",
                what,
                "heads that divide the features",
            ));
        }
        let config = BertConfig {
            hidden_size: model.hidden_size,
            num_hidden_layers: model.num_hidden_layers,
            num_attention_heads: model.num_attention_heads,
            intermediate_size: 4 * model.hidden_size,
            max_position_embeddings: model.max_length,
            num_labels: data.train.classes().len(),
            // The published 0.02 is for hundreds of features; with few, all signals would be tiny.
            initializer_range: (model.hidden_size as f64).powf(-0.5),
            ..BertConfig::tiny(tokenizer.vocab_size())
        };
        Ok(Self {
            network: config.init_sequence_classification(&context.device),
            lora: lora_of(recipe, &config),
            config,
            tokenizer,
            base: None,
            origin: "trained from scratch".into(),
            licence: "unknown".into(),
        })
    }

    /// The published encoder under a new head.
    fn pretrained(
        model: &str,
        recipe: &Recipe,
        data: &Splits<LabelledTexts>,
        context: &RunContext,
    ) -> Result<Self> {
        let mut found = EncoderFolder::find(model, context)?;
        found.config.num_labels = data.train.classes().len();
        let mut network = found.config.init_sequence_classification(&found.device);
        found.load(&mut network, NEW_HEAD)?;
        let card = found.card("classify", &network)?;
        Ok(Self {
            network,
            tokenizer: found.tokenizer.with_max_length(recipe.model.max_length)?,
            lora: lora_of(recipe, &found.config),
            config: found.config,
            base: Some(absolute(model)),
            origin: format!("fine-tuned from {model} ({})", card.origin),
            licence: card.licence,
        })
    }

    /// Writes the folder with the adapter alone, if there is one.
    fn write_adapter(
        &self,
        trained: &BertForSequenceClassification,
        parts: &Parts<'_>,
        card: &ModelCard,
        out: &Path,
    ) -> Result<()> {
        let Some(lora) = &self.lora else {
            return Ok(());
        };
        let base = self.base.as_deref().unwrap_or_default();
        let folder = ModelFolder::create(&out.join("adapter"))?;
        lora.save(trained, &folder, self.config.key_map(), base, "SEQ_CLS")?;
        write_companions(&folder, parts, card)
    }

    fn card(&self, network: &BertForSequenceClassification) -> ModelCard {
        ModelCard::new(
            ["nlp", "classify", architecture(&self.config)],
            weights::num_params(network),
            &self.licence,
            &self.origin,
        )
    }
}

fn lora_of(recipe: &Recipe, config: &BertConfig) -> Option<LoraConfig> {
    let settings = recipe.model.lora?;
    Some(config.sequence_lora(settings.rank, settings.alpha))
}

/// A folder's name that means the same from anywhere; a Hub name as it is.
fn absolute(model: &str) -> String {
    let path = Path::new(model);
    let from_root = std::path::absolute(path).ok().filter(|_| path.exists());
    from_root.map_or_else(|| model.into(), |path| path.display().to_string())
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

    let start = Start::of(&recipe, request, &data, context)?;
    let classes = Classes {
        names: data.train.classes().to_vec(),
        multi_label,
    };
    let fitted = run_fit(&recipe, &data, &start, &classes, &run, context)?;
    // Adapters become part of the weights.
    let network = &fitted.model.network.clone().materialize();

    let (split, scored) = data.scored();
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
    let parts = Parts {
        config: &start.config,
        tokenizer: &start.tokenizer,
        classes: &classes,
        columns: &recipe.data.columns,
    };
    let folder = write_folder(&request.out.join("model"), network, &parts, &card)?;
    start.write_adapter(&fitted.model.network, &parts, &card, &request.out)?;
    let trained = Trained {
        recipe: &recipe,
        request,
        data: &data,
        found: &found,
        start: &start,
        fitted: &fitted,
        card: &card,
    };
    let page = report::page(&trained, context)?;
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
    start: &'a Start,
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
    start: &Start,
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
    let network = start.network.clone();
    let model = Supervised {
        network: match &start.lora {
            Some(lora) => lora.apply(network, start.config.key_map())?,
            None => network,
        },
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
