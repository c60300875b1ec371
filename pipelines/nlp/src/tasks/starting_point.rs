//! Where the training of an encoder with a head begins: a published encoder under a new head, or a network
//! from nothing with a tokenizer learnt from the training texts.

use super::encoder::{Companions, EncoderFolder, architecture};
use crate::{
    models::bert::{BertConfig, NEW_HEAD, Variant},
    preprocess::TextTokenizer,
};
use burn::{module::Module, tensor::Device};
use panoply_core::{
    Error, ModelCard, ModelFolder, Result, RunContext,
    fit::{BestMetric, FitConfig, OptimizerConfig, ScheduleConfig, ScheduleName},
    seed,
    weights::{self, LoraConfig, SaveDtype},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Low-rank adapters instead of all weights (Hu et al., 2021).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSettings {
    /// Rank of the factors under the weights of queries and values.
    pub rank: usize,
    /// Their product is multiplied by `alpha / rank`.
    pub alpha: f64,
}

/// Which network, and where its weights come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Model whose encoder is the start (folder, Hub name); `null` for one from nothing.
    pub pretrained: Option<String>,
    /// Train adapters and the head alone; `null` for all weights. The run then leaves an `adapter`
    /// folder beside the `model` folder, which holds the sum.
    pub lora: Option<LoraSettings>,
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

impl ModelConfig {
    /// A network of one layer from nothing, for recipes that take seconds.
    pub(super) fn tiny(vocab_size: usize, max_length: usize) -> Self {
        Self {
            pretrained: None,
            lora: None,
            max_length,
            vocab_size,
            hidden_size: 32,
            num_hidden_layers: 1,
            num_attention_heads: 2,
        }
    }

    /// MiniLM, else as `self`.
    pub(super) fn minilm(self, max_length: usize) -> Self {
        Self {
            pretrained: Some(super::embed::DEFAULT.into()),
            max_length,
            ..self
        }
    }
}

/// The training loop for a [tiny](ModelConfig::tiny) network; the best epoch by `metric` counts.
pub(super) fn tiny_fit(epochs: usize, batch_size: usize, lr: f64, metric: &str) -> FitConfig {
    FitConfig {
        epochs,
        batch_size,
        optimizer: OptimizerConfig {
            lr,
            ..OptimizerConfig::default()
        },
        schedule: ScheduleConfig {
            warmup_epochs: 0.3,
            ..ScheduleConfig::default()
        },
        clip_norm: Some(1.0),
        best_metric: Some(BestMetric::max(metric)),
        ..FitConfig::default()
    }
}

/// The training loop of the BERT paper's fine-tuning (Devlin et al., 2019, A.3): decay of 0.01, warm-up
/// and linear decay of the rate; the rest as `fit`.
pub(super) fn fine_tuning(fit: FitConfig, epochs: usize, lr: f64) -> FitConfig {
    FitConfig {
        epochs,
        optimizer: OptimizerConfig {
            lr,
            weight_decay: 0.01,
            ..fit.optimizer
        },
        schedule: ScheduleConfig {
            name: ScheduleName::Linear,
            ..fit.schedule
        },
        ..fit
    }
}

/// What stands on an encoder.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// First parts of the published names of its parameters; DistilBERT's in the second list.
    pub(super) names: [&'static [&'static str]; 2],
    /// peft's word for the kind of model.
    pub(super) peft: &'static str,
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
    /// What stands on the encoder, by the first parts of the published names, and peft's word for the
    /// kind of model.
    pub(super) head: Head,
}

/// The network before training, with everything that goes with it.
pub(super) struct Start<M> {
    pub(super) config: BertConfig,
    pub(super) network: M,
    pub(super) tokenizer: TextTokenizer,
    task: &'static str,
    /// The model that it started from.
    base: Option<String>,
    lora: Option<LoraConfig>,
    peft: &'static str,
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
            lora: wanted.lora(&config),
            peft: wanted.head.peft,
            base: None,
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
            lora: wanted.lora(&found.config),
            peft: wanted.head.peft,
            base: Some(absolute(model)),
            config: found.config,
            task: wanted.task,
            origin: format!("fine-tuned from {model} ({})", card.origin),
            licence: card.licence,
        })
    }

    /// What is trained: the network, or adapters under it.
    pub(super) fn trainable(&self) -> Result<M> {
        let network = self.network.clone();
        match &self.lora {
            Some(lora) => lora.apply(network, self.config.key_map()),
            None => Ok(network),
        }
    }

    /// Writes the trained network into `out/model`, in a form that transformers reads too, and
    /// adapters also alone into `out/adapter`.
    pub(super) fn write<P: Serialize>(
        &self,
        out: &Path,
        trained: &M,
        companions: &Companions<'_, P>,
    ) -> Result<ModelFolder> {
        let map = self.config.key_map();
        if let Some(lora) = &self.lora {
            let folder = ModelFolder::create(&out.join("adapter"))?;
            let base = self.base.as_deref().unwrap_or_default();
            lora.save(trained, &folder, map, base, self.peft)?;
            companions.write(&folder, &self.tokenizer)?;
        }
        let folder = ModelFolder::create(&out.join("model"))?;
        let merged = trained.clone().materialize();
        weights::save(
            &merged,
            &folder.file(ModelFolder::WEIGHTS),
            map,
            SaveDtype::F32,
        )?;
        companions.write(&folder, &self.tokenizer)?;
        Ok(folder)
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

impl<M> Wanted<'_, M> {
    /// Factors for queries and values, as the LoRA paper has them, and the head whole.
    fn lora(&self, config: &BertConfig) -> Option<LoraConfig> {
        let settings = self.model.lora?;
        let [head, distilbert_head] = self.head.names;
        let (targets, whole): (&[&str], _) = match config.variant {
            Variant::Bert | Variant::Roberta => (&["query", "value"], head),
            Variant::DistilBert => (&["q_lin", "v_lin"], distilbert_head),
        };
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Some(LoraConfig {
            rank: settings.rank,
            alpha: settings.alpha,
            targets: owned(targets),
            whole: owned(whole),
        })
    }
}

/// A folder's name that means the same from anywhere; a Hub name as it is.
fn absolute(model: &str) -> String {
    let path = Path::new(model);
    let from_root = std::path::absolute(path).ok().filter(|_| path.exists());
    from_root.map_or_else(|| model.into(), |path| path.display().to_string())
}
