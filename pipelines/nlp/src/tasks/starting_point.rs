//! Where the training of an encoder with a head begins: a published encoder under a new head, or a network
//! from nothing with a tokenizer learnt from the training texts.

use super::encoder::{EncoderFolder, architecture};
use crate::{
    models::bert::{BertConfig, NEW_HEAD},
    preprocess::TextTokenizer,
};
use burn::{module::Module, tensor::Device};
use panoply_core::{Error, ModelCard, Result, RunContext, seed, weights};
use serde::{Deserialize, Serialize};

/// Which network, and where its weights come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Model whose encoder is the start (folder, Hub name); `null` for one from nothing.
    pub pretrained: Option<String>,
    /// Longest sequence in tokens; longer texts are cut.
    pub max_length: usize,
    /// From nothing: number of tokens that the tokenizer learns.
    pub vocab_size: usize,
    /// From nothing: features of a token.
    pub hidden_size: usize,
    /// From nothing: number of layers.
    pub num_hidden_layers: usize,
    /// From nothing: number of heads.
    pub num_attention_heads: usize,
}

/// What a training run begins with.
pub(super) struct Wanted<'a, M> {
    /// Name of the task, for the card.
    pub(super) task: &'static str,
    pub(super) model: &'a ModelConfig,
    /// Model named on the command line, which goes before the recipe's.
    pub(super) pretrained: Option<&'a String>,
    pub(super) num_labels: usize,
    pub(super) seed: u64,
    /// Makes the network.
    pub(super) init: fn(&BertConfig, &Device) -> M,
}

/// The network before training, with everything that goes with it.
pub(super) struct Start<M> {
    pub(super) config: BertConfig,
    pub(super) network: M,
    pub(super) tokenizer: TextTokenizer,
    task: &'static str,
    origin: String,
    licence: String,
}

impl<M: Module> Start<M> {
    /// The start that is wanted; `texts` are for the tokenizer of a network from nothing.
    pub(super) fn of<'t>(
        wanted: &Wanted<'_, M>,
        texts: impl Iterator<Item = &'t str> + Send,
        context: &RunContext,
    ) -> Result<Self> {
        // The device's generator initialises the weights: the same seed, the same start.
        context.device.seed(seed::derive(&[wanted.seed]));
        match wanted.pretrained.or(wanted.model.pretrained.as_ref()) {
            Some(model) => Self::pretrained(model, wanted, context),
            None => Self::scratch(wanted, texts, context),
        }
    }

    /// A network from nothing, and a tokenizer learnt from the training texts.
    fn scratch<'t>(
        wanted: &Wanted<'_, M>,
        texts: impl Iterator<Item = &'t str> + Send,
        context: &RunContext,
    ) -> Result<Self> {
        let model = wanted.model;
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
            num_labels: wanted.num_labels,
            // The published 0.02 is for hundreds of features; with few, all signals would be tiny.
            initializer_range: (model.hidden_size as f64).powf(-0.5),
            ..BertConfig::tiny(tokenizer.vocab_size())
        };
        Ok(Self {
            network: (wanted.init)(&config, &context.device),
            config,
            tokenizer,
            task: wanted.task,
            origin: "trained from scratch".into(),
            licence: "unknown".into(),
        })
    }

    /// The published encoder under a new head.
    fn pretrained(model: &str, wanted: &Wanted<'_, M>, context: &RunContext) -> Result<Self> {
        let mut found = EncoderFolder::find(model, context)?;
        found.config.num_labels = wanted.num_labels;
        let mut network = (wanted.init)(&found.config, &found.device);
        found.load(&mut network, NEW_HEAD)?;
        let card = found.card(wanted.task, &network)?;
        Ok(Self {
            network,
            tokenizer: found.tokenizer.with_max_length(wanted.model.max_length)?,
            config: found.config,
            task: wanted.task,
            origin: format!("fine-tuned from {model} ({})", card.origin),
            licence: card.licence,
        })
    }

    /// The card of what training makes of it.
    pub(super) fn card(&self, network: &M) -> ModelCard {
        ModelCard::new(
            ["nlp", self.task, architecture(&self.config)],
            weights::num_params(network),
            &self.licence,
            &self.origin,
        )
    }
}
