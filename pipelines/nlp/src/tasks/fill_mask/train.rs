//! Pretraining by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    OTHER_HEADS,
    recipe::Recipe,
    samples::{Batch, Masked, MaskedBlocks, Masking, Stack, Supervised},
};
use crate::{
    models::bert::{BertConfig, BertForMaskedLm},
    preprocess::TextTokenizer,
    tasks::{
        blocks::{Blocks, check_length, corpora, tokens},
        encoder::{EncoderFolder, architecture},
    },
};
use panoply_core::{
    Conclusion, DataCheck, Error, ModelCard, ModelFolder, Result, RunContext, TrainOutcome,
    TrainRequest, fit,
    fit::{Metrics, Samples},
    host,
    recipe::apply_sets,
    report::{OBSERVED, Observed, Trained},
    seed,
    train::measured_on,
    weights::{self, SaveDtype},
};
use panoply_datasets::{Corpus, Split};
use std::{path::Path, time::Instant};

/// Blocks of a forward pass of the validation.
const VALIDATION_BATCH: usize = 32;

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    let (train, valid) = corpora(Some(data), false, Recipe::base().data.validation)?;
    Ok(Corpus::inspect(&train, &valid).to_check())
}

/// The network before training, with everything that goes with it.
struct Start {
    config: BertConfig,
    network: BertForMaskedLm,
    tokenizer: TextTokenizer,
    origin: String,
    licence: String,
}

impl Start {
    fn of(
        recipe: &Recipe,
        request: &TrainRequest,
        train: &Corpus,
        context: &RunContext,
    ) -> Result<Self> {
        // The device's generator initialises the weights: the same seed, the same start.
        context.device.seed(seed::derive(&[recipe.fit.seed]));
        match &request.model {
            Some(model) => Self::pretrained(model, recipe, context),
            None => Self::scratch(recipe, train, context),
        }
    }

    /// A network from nothing, and a tokenizer learnt from the training text.
    fn scratch(recipe: &Recipe, train: &Corpus, context: &RunContext) -> Result<Self> {
        let model = &recipe.model;
        let (heads, hidden) = (model.num_attention_heads, model.hidden_size);
        if heads == 0 || !hidden.is_multiple_of(heads) {
            let what = format!("{heads} heads for {hidden} features");
            let expected = "heads that divide the features";
            return Err(Error::input("model", what, expected));
        }
        let texts = train.documents().iter().map(String::as_str);
        let tokenizer = TextTokenizer::train(texts, model.vocab_size, model.block_size)?;
        let config = BertConfig {
            hidden_size: hidden,
            num_hidden_layers: model.num_hidden_layers,
            num_attention_heads: heads,
            intermediate_size: 4 * hidden,
            max_position_embeddings: model.block_size,
            ..BertConfig::tiny(tokenizer.vocab_size())
        };
        Ok(Self {
            network: config.init_masked_lm(&context.device),
            config,
            tokenizer,
            origin: "trained from scratch".into(),
            licence: "unknown".into(),
        })
    }

    /// Another model's weights and tokenizer.
    fn pretrained(model: &str, recipe: &Recipe, context: &RunContext) -> Result<Self> {
        let found = EncoderFolder::find(model, context)?;
        let mut network = found.config.init_masked_lm(&found.device);
        found.load(&mut network, OTHER_HEADS)?;
        let card = found.card("fill-mask", &network)?;
        Ok(Self {
            network,
            tokenizer: found.tokenizer.with_max_length(recipe.model.block_size)?,
            config: found.config,
            origin: format!("fine-tuned from {model} ({})", card.origin),
            licence: card.licence,
        })
    }

    fn save(&self, path: &Path, network: &BertForMaskedLm, card: &ModelCard) -> Result<()> {
        let folder = ModelFolder::create(path)?;
        let file = folder.file(ModelFolder::WEIGHTS);
        weights::save(network, &file, self.config.key_map(), SaveDtype::F32)?;
        self.tokenizer.save(&folder)?;
        folder.write_json(ModelFolder::CONFIG, &self.config.to_hf())?;
        folder.write_json(ModelFolder::CARD, card)
    }
}

/// Mean cross entropy of the chosen tokens over a text, block after block, and how many are guessed. The same
/// tokens are chosen every time.
fn validate(model: &Supervised, blocks: &[Masked], context: &RunContext) -> Result<Metrics> {
    let (mut sum, mut right, mut count) = (0.0, 0.0, 0);
    for part in blocks.chunks(VALIDATION_BATCH) {
        let (loss, hits, chosen) = model.score(Batch::of(part, &context.device));
        sum += f64::from(host::to_vec(loss)?[0]) * chosen as f64;
        right += f64::from(host::to_vec(hits.float())?[0]);
        count += chosen;
    }
    let loss = sum / count as f64;
    Ok(vec![
        ("loss".into(), loss),
        ("accuracy".into(), right / count as f64),
        ("perplexity".into(), loss.exp()),
    ])
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    let data = &recipe.data;
    let corpora = corpora(request.data.as_deref(), data.bundled, data.validation)?;
    let run = request.begin(&recipe)?;
    let found = Corpus::inspect(&corpora.0, &corpora.1);
    found.admit(request)?;
    let gate_secs = started.elapsed().as_secs_f64();

    let start = Start::of(&recipe, request, &corpora.0, context)?;
    let masking = Masking::new(&start.tokenizer, data.mask_probability)?;
    let room = start.tokenizer.max_length();
    let length = room.saturating_sub(masking.num_special());
    if length == 0 {
        let expected = "room for text between special tokens";
        return Err(Error::input("model.block_size", room.to_string(), expected));
    }
    let whole = start.tokenizer.clone().uncut()?;
    let (train, valid) = (
        tokens(&whole, &corpora.0, None)?,
        tokens(&whole, &corpora.1, None)?,
    );
    check_length("the validation text", &valid, length)?;
    let batch = recipe.fit.batch_size.max(1);
    let steps = (train.len() / length).div_ceil(batch);
    let steps = data.steps_per_epoch.unwrap_or(steps);
    let samples = MaskedBlocks {
        blocks: Blocks::new(&train, length, steps.saturating_mul(batch))?,
        masking: &masking,
    };
    let held: Vec<Masked> = (0..)
        .zip(valid.chunks_exact(length))
        .map(|(index, block)| masking.hide(block, seed::derive(&[recipe.fit.seed, index])))
        .collect();
    let model = Supervised {
        network: start.network.clone(),
    };
    let mut check = |model: &Supervised| validate(model, &held, context);
    let fitted = fit::fit(
        model,
        &recipe.fit,
        &samples,
        &Stack,
        &mut check,
        &run,
        context,
    )?;

    let metrics = measured_on(Split::Valid, validate(&fitted.model, &held, context)?);
    let network = &fitted.model.network;
    let mut card = ModelCard::new(
        ["nlp", "fill-mask", architecture(&start.config)],
        weights::num_params(network),
        &start.licence,
        &start.origin,
    );
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(corpora.0.digest());
    let path = request.out.join("model");
    start.save(&path, network, &card)?;
    let formula = "-ln p(hidden token), mean over the chosen tokens of the batch";
    let trained = Trained {
        recipe: &recipe,
        fit: &recipe.fit,
        request,
        fitted: &fitted,
        card: &card,
        data: found.stage(corpora.0.location(), &card),
        loss: ("cross-entropy", formula.into()),
        num_samples: samples.len(),
    };
    let shown = Batch::of(&held[..held.len().min(OBSERVED)], &context.device);
    let (mut observed, hidden) = Observed::watch(|visit| network.bert.walk(&shown.input, visit))?;
    observed.note("logits", network.head(hidden))?;
    let page = trained.page(observed, context)?;
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: Vec::new(),
        model: &path,
        history: &fitted.history,
    };
    end.write(page, &request.out)
}
