//! What the decoders take, and any of them chosen by `config.json` at run time.

use super::{
    Decoder, Visit,
    gpt_neo::{GptNeo, GptNeoConfig},
    gpt2::{Gpt2, Gpt2Config},
    hf_config::{HfConfig, wrong},
    llama::{Llama, LlamaConfig},
};
use burn::{
    module::Module,
    tensor::{Bool, Device, Int, Tensor},
};
use panoply_core::{
    Result,
    nn::{CausalContext, KvCache},
    weights::{self, KeyMap, LoadReport, SaveDtype},
};
use serde_json::Value;
use std::path::Path;

/// A batch of token sequences.
#[derive(Clone, Debug)]
pub struct CausalInput {
    pub(crate) ids: Tensor<2, Int>,
    pub(crate) mask: Option<Tensor<2, Bool>>,
}

impl CausalInput {
    /// Token ids, `[batch, seq]`.
    pub fn new(ids: Tensor<2, Int>) -> Self {
        Self { ids, mask: None }
    }

    /// False at padding, on either side, `[batch, seq]`. Positions count from the first token that
    /// is not padding, so a padded row gives the numbers that it gives alone.
    #[must_use]
    pub fn mask(mut self, mask: Tensor<2, Bool>) -> Self {
        self.mask = Some(mask);
        self
    }
}

/// Configuration of any of the decoders.
#[derive(Clone, Debug, PartialEq)]
pub enum CausalLmConfig {
    /// [`gpt2`](super::gpt2)
    Gpt2(Gpt2Config),
    /// [`gpt_neo`](super::gpt_neo)
    GptNeo(GptNeoConfig),
    /// [`llama`](super::llama)
    Llama(LlamaConfig),
}

impl CausalLmConfig {
    /// Reads a `config.json`; its `model_type` decides.
    pub fn from_hf(config: &Value) -> Result<Self> {
        let c = HfConfig(config);
        Ok(match c.text("model_type")? {
            Some("gpt2") => Self::Gpt2(Gpt2Config::from_hf(config)?),
            Some("gpt_neo") => Self::GptNeo(GptNeoConfig::from_hf(config)?),
            Some("llama") => Self::Llama(LlamaConfig::from_hf(config)?),
            _ => {
                let found = c.get("model_type").unwrap_or(&Value::Null);
                return Err(wrong("model_type", found, "gpt2, gpt_neo or llama"));
            }
        })
    }

    /// The `config.json` that [`from_hf`](Self::from_hf) and `transformers` read.
    pub fn to_hf(&self) -> Value {
        match self {
            Self::Gpt2(c) => c.to_hf(),
            Self::GptNeo(c) => c.to_hf(),
            Self::Llama(c) => c.to_hf(),
        }
    }

    /// The untrained network.
    pub fn init(&self, device: &Device) -> CausalLm {
        match self {
            Self::Gpt2(c) => CausalLm::Gpt2(c.init(device)),
            Self::GptNeo(c) => CausalLm::GptNeo(c.init(device)),
            Self::Llama(c) => CausalLm::Llama(c.init(device)),
        }
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Gpt2(c) => c.vocab_size,
            Self::GptNeo(c) => c.vocab_size,
            Self::Llama(c) => c.vocab_size,
        }
    }

    /// Longest sequence, prompt and answer together.
    pub fn max_length(&self) -> usize {
        match self {
            Self::Gpt2(c) => c.n_positions,
            Self::GptNeo(c) => c.max_position_embeddings,
            Self::Llama(c) => c.max_position_embeddings,
        }
    }
}

/// Any of the decoders with its output layer. Should be created with [`CausalLmConfig`].
///
/// Keys in weight files are those of the network itself; the variant's name is not part of them.
#[derive(Module, Debug)]
pub enum CausalLm {
    /// [`gpt2`](super::gpt2)
    Gpt2(Gpt2),
    /// [`gpt_neo`](super::gpt_neo)
    GptNeo(GptNeo),
    /// [`llama`](super::llama)
    Llama(Llama),
}

impl CausalLm {
    fn net(&self) -> &dyn Decoder {
        match self {
            Self::Gpt2(m) => m,
            Self::GptNeo(m) => m,
            Self::Llama(m) => m,
        }
    }

    /// Loads published weights; anything but a perfect fit is an error that names the keys.
    pub fn load(&mut self, path: &Path) -> Result<LoadReport> {
        let map = self.key_map();
        weights::load(self, path, map)
    }

    /// Saves the weights as safetensors that `transformers` loads.
    pub fn save(&self, path: &Path, dtype: SaveDtype) -> Result<()> {
        weights::save(self, path, self.key_map(), dtype)
    }
}

impl Decoder for CausalLm {
    fn key_map(&self) -> &'static KeyMap {
        self.net().key_map()
    }

    fn num_layers(&self) -> usize {
        self.net().num_layers()
    }

    fn run(
        &self,
        input: &CausalInput,
        cache: Option<&mut KvCache>,
        visit: &mut Visit<'_>,
    ) -> (Tensor<3>, CausalContext) {
        self.net().run(input, cache, visit)
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.net().head(hidden)
    }
}
