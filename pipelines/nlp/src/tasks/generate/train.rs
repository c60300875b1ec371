//! Training by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    Generator,
    generator::architecture,
    perplexity::nll,
    recipe::Recipe,
    samples::{Stack, Supervised},
};
use crate::{
    models::{CausalLm, CausalLmConfig, Decoder, gpt2::Gpt2Config},
    preprocess::{TextTokenizer, causal_input},
    tasks::blocks::{Blocks, check_length, corpora, tokens},
};
use panoply_core::{
    Conclusion, DataCheck, Error, ModelCard, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Metrics, Run, Samples},
    recipe::apply_sets,
    report::{OBSERVED, Observed, Trained},
    seed,
    train::measured_on,
    weights,
};
use panoply_datasets::{Corpus, Split};
use serde_json::{Value, json};
use std::{path::Path, time::Instant};

/// Blocks of a forward pass of the validation.
const VALIDATION_BATCH: usize = 32;

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    let (train, valid) = corpora(Some(data), false, Recipe::finetune().data.validation)?;
    Ok(Corpus::inspect(&train, &valid).to_check())
}

/// The network before training, with everything that goes with it.
pub(super) struct Start {
    config: CausalLmConfig,
    model: CausalLm,
    tokenizer: TextTokenizer,
    /// Token between documents.
    separator: Option<u32>,
    /// Content of `generation_config.json`.
    generation: Value,
    origin: String,
    licence: String,
    /// Tokens of a block.
    pub(super) block_size: usize,
}

impl Start {
    fn of(
        recipe: &Recipe,
        request: &TrainRequest,
        corpora: &(Corpus, Corpus),
        context: &RunContext,
    ) -> Result<Self> {
        if recipe.model.block_size == 0 {
            let (location, expected) = ("model.block_size", "at least one token");
            return Err(Error::input(location, "0", expected));
        }
        // The device's generator initialises the weights: the same seed, the same start.
        context.device.seed(seed::derive(&[recipe.fit.seed]));
        match &request.model {
            Some(model) => Self::pretrained(model, recipe, context),
            None if recipe.model.pretrained => {
                let what = "missing; this recipe goes on from a model";
                Err(Error::input("--model", what, "a folder or a Hub name"))
            }
            None => Self::scratch(recipe, corpora, context),
        }
    }

    /// A GPT-2 over the characters of both parts, as published: the validation text has no character
    /// that has no token.
    fn scratch(
        recipe: &Recipe,
        (train, valid): &(Corpus, Corpus),
        context: &RunContext,
    ) -> Result<Self> {
        let model = &recipe.model;
        let texts = train.documents().iter().chain(valid.documents());
        let tokenizer = TextTokenizer::characters(texts.map(String::as_str), model.block_size)?;
        if model.n_head == 0 || !model.n_embd.is_multiple_of(model.n_head) {
            let what = format!("{} heads for {} features", model.n_head, model.n_embd);
            return Err(Error::input(
                "model",
                what,
                "heads that divide the features",
            ));
        }
        if !(0.0..1.0).contains(&model.dropout) {
            let what = model.dropout.to_string();
            return Err(Error::input("model.dropout", what, "in [0, 1)"));
        }
        let config = CausalLmConfig::Gpt2(Gpt2Config {
            n_positions: model.block_size,
            n_embd: model.n_embd,
            n_layer: model.n_layer,
            n_head: model.n_head,
            n_inner: 4 * model.n_embd,
            resid_pdrop: model.dropout,
            embd_pdrop: model.dropout,
            attn_pdrop: model.dropout,
            ..Gpt2Config::tiny(tokenizer.vocab_size())
        });
        Ok(Self {
            model: config.init(&context.device),
            config,
            tokenizer,
            separator: None,
            generation: json!({"do_sample": true, "temperature": 0.8, "top_k": 200, "max_new_tokens": 256}),
            origin: "trained from scratch".into(),
            licence: "unknown".into(),
            block_size: model.block_size,
        })
    }

    /// Another model's weights, tokenizer and way of choosing tokens.
    fn pretrained(model: &str, recipe: &Recipe, context: &RunContext) -> Result<Self> {
        let base = Generator::open(model, context)?;
        let decoding = base.decoding();
        let separator = decoding.eos_token_ids.first().copied();
        let eos = match &decoding.eos_token_ids[..] {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        };
        Ok(Self {
            separator,
            generation: json!({
                "do_sample": decoding.do_sample,
                "temperature": decoding.temperature,
                "top_k": decoding.top_k,
                "top_p": decoding.top_p,
                "max_new_tokens": decoding.max_new_tokens,
                "eos_token_id": eos,
            }),
            origin: format!("fine-tuned from {model} ({})", base.card.origin),
            licence: base.card.licence,
            block_size: recipe.model.block_size.min(base.config.max_length()),
            config: base.config,
            model: base.model,
            tokenizer: base.tokenizer,
        })
    }

    fn card(&self, model: &CausalLm) -> ModelCard {
        let names = ["nlp", "generate", architecture(&self.config)];
        ModelCard::new(
            names,
            weights::num_params(model),
            &self.licence,
            &self.origin,
        )
    }
}

/// Cross entropy of the next token over a text, block after block; every token but the first is predicted once.
pub(super) fn validate(
    model: &CausalLm,
    tokens: &[u32],
    block_size: usize,
    context: &RunContext,
) -> Result<Metrics> {
    let starts = (0..tokens.len() - 1).step_by(block_size);
    let block = |start: usize| &tokens[start..(start + block_size + 1).min(tokens.len())];
    let blocks: Vec<&[u32]> = starts.map(block).collect();
    let mut sum = 0.0;
    for alike in blocks.chunk_by(|a, b| a.len() == b.len()) {
        for rows in alike.chunks(VALIDATION_BATCH) {
            super::decode::check(&context.interrupt)?;
            sum += nll(model, rows, rows[0].len() - 1, &context.device)?;
        }
    }
    let loss = sum / (tokens.len() - 1) as f64;
    Ok(vec![
        ("loss".into(), loss),
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

    let start = Start::of(&recipe, request, &corpora, context)?;
    let tokens = |corpus| tokens(&start.tokenizer, corpus, start.separator);
    let (train, valid) = (tokens(&corpora.0)?, tokens(&corpora.1)?);
    let (block_size, batch) = (start.block_size, recipe.fit.batch_size.max(1));
    check_length("the validation text", &valid, 2)?;
    let steps = recipe.data.steps_per_epoch;
    let steps = steps.unwrap_or((train.len() / block_size).div_ceil(batch));
    let blocks = Blocks::new(&train, block_size + 1, steps.saturating_mul(batch))?;
    let fitted = run_fit(&recipe, &start, &blocks, &valid, &run, context)?;

    let model = &fitted.model.model;
    let metrics = validate(model, &valid, block_size, context)?;
    let metrics = measured_on(Split::Valid, metrics);
    let mut card = start.card(model);
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(corpora.0.digest());
    let generator = Generator::new(
        start.config.clone(),
        model.clone(),
        start.tokenizer.clone(),
        card,
        context,
    )?;
    let path = request.out.join("model");
    let folder = generator.save(&path, recipe.dtype, &start.generation)?;
    let formula = "-ln p(next token), mean over the tokens of the batch";
    let trained = Trained {
        recipe: &recipe,
        fit: &recipe.fit,
        request,
        fitted: &fitted,
        card: generator.card(),
        data: found.stage(corpora.0.location(), generator.card()),
        loss: ("cross-entropy", formula.into()),
        num_samples: blocks.len(),
    };
    let page = trained.page(observe(model, &blocks, context)?, context)?;
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

/// The way of the first blocks through the network, without the token that only the targets have.
fn observe(model: &CausalLm, blocks: &Blocks<'_>, context: &RunContext) -> Result<Observed> {
    let blocks = blocks.first(OBSERVED).into_iter();
    let blocks: Vec<&[u32]> = blocks.map(|block| &block[..block.len() - 1]).collect();
    let input = causal_input(&blocks, &context.device);
    let (mut observed, hidden) = Observed::watch(|visit| model.walk(&input, None, visit))?;
    observed.note("logits", model.head(hidden.flatten(0, 1)))?;
    Ok(observed)
}

fn run_fit(
    recipe: &Recipe,
    start: &Start,
    blocks: &Blocks<'_>,
    valid: &[u32],
    run: &Run,
    context: &RunContext,
) -> Result<Fitted<Supervised>> {
    let mut validate =
        |model: &Supervised| validate(&model.model, valid, start.block_size, context);
    let model = Supervised {
        model: start.model.clone(),
    };
    fit::fit(
        model,
        &recipe.fit,
        blocks,
        &Stack,
        &mut validate,
        run,
        context,
    )
}
