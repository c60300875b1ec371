//! GPT-Neo: Black et al., "GPT-Neo: Large Scale Autoregressive Language Modeling with
//! Mesh-TensorFlow", 2021.
//!
//! Layout and defaults are Hugging Face's `GPTNeoForCausalLM`: GPT-2 with attention over everything
//! and over the last 256 tokens in turn, scores that are not scaled, and separate projections to
//! queries, keys and values without bias.

use super::{
    CausalInput, Decoder, Visit,
    hf_config::{HfConfig, activation_name, check_heads, wrong},
};
use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Embedding, LayerNorm, LayerNormConfig},
    tensor::{Device, Tensor},
};
use panoply_core::{
    Result,
    nn::{
        Activation, AttentionConfig, CausalContext, KvCache, LinearInit, MlpConfig, PreNormLayer,
        embedding, ops,
    },
    weights::KeyMap,
};
use serde_json::{Value, json};

/// Keys of `GPTNeoForCausalLM`; those of `GPTNeoModel` lack the prefix.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("h.{}.attn.attention.q_proj.{}", "h.{}.attn.q.{}"),
        ("h.{}.attn.attention.k_proj.{}", "h.{}.attn.k.{}"),
        ("h.{}.attn.attention.v_proj.{}", "h.{}.attn.v.{}"),
        ("h.{}.attn.attention.out_proj.{}", "h.{}.attn.out.{}"),
        ("h.{}.mlp.c_fc.{}", "h.{}.mlp.fc1.{}"),
        ("h.{}.mlp.c_proj.{}", "h.{}.mlp.fc2.{}"),
    ],
    dropped: &[
        "h.{}.attn.attention.bias",
        "h.{}.attn.attention.masked_bias",
    ],
    prefix: Some(("transformer.", "transformer.")),
    tied: &[("lm_head.weight", "transformer.wte.weight")],
    ..KeyMap::IDENTITY
};

/// Configuration of [`GptNeo`]; fields are called as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct GptNeoConfig {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Features of a token.
    pub hidden_size: usize,
    /// Of each layer, whether it attends to the last `window_size` tokens only (`local`).
    pub local_layers: Vec<bool>,
    /// Number of heads; divides `hidden_size`.
    pub num_heads: usize,
    /// Features inside the perceptron.
    pub intermediate_size: usize,
    /// Tokens that a local layer sees, its own included.
    pub window_size: usize,
    /// Of the perceptron.
    pub activation_function: Activation,
    /// Added to the variance by the norms.
    pub layer_norm_epsilon: f64,
    /// Dropout of the branches.
    pub resid_dropout: f64,
    /// Dropout of the embeddings.
    pub embed_dropout: f64,
    /// Dropout of attention weights.
    pub attention_dropout: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
}

impl GptNeoConfig {
    fn sized(num_layers: usize, hidden_size: usize, num_heads: usize) -> Self {
        Self {
            vocab_size: 50257,
            max_position_embeddings: 2048,
            hidden_size,
            local_layers: (0..num_layers).map(|i| i % 2 == 1).collect(),
            num_heads,
            intermediate_size: 4 * hidden_size,
            window_size: 256,
            activation_function: Activation::GeluTanh,
            layer_norm_epsilon: 1e-5,
            resid_dropout: 0.0,
            embed_dropout: 0.0,
            attention_dropout: 0.0,
            initializer_range: 0.02,
        }
    }

    /// `gpt-neo-125m`.
    pub fn neo_125m() -> Self {
        Self::sized(12, 768, 12)
    }

    /// `gpt-neo-1.3B`.
    pub fn neo_1_3b() -> Self {
        Self::sized(24, 2048, 16)
    }

    /// `gpt-neo-2.7B`.
    pub fn neo_2_7b() -> Self {
        Self::sized(32, 2560, 20)
    }

    /// Two layers of 32 features, the second with a window of 4, for tests and `debug` recipes.
    pub fn tiny(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            max_position_embeddings: 64,
            window_size: 4,
            ..Self::sized(2, 32, 4)
        }
    }

    /// Reads a `config.json` of `GPTNeoForCausalLM`; absent fields have the reference's defaults.
    pub fn from_hf(config: &Value) -> Result<Self> {
        let (c, d) = (HfConfig(config), Self::neo_1_3b());
        c.only("model_type", &json!("gpt_neo"))?;
        c.only("tie_word_embeddings", &json!(true))?;
        let hidden_size = c.size("hidden_size", d.hidden_size)?;
        let num_layers = c.size("num_layers", d.local_layers.len())?;
        let read = Self {
            vocab_size: c.size("vocab_size", d.vocab_size)?,
            max_position_embeddings: c
                .size("max_position_embeddings", d.max_position_embeddings)?,
            hidden_size,
            local_layers: local_layers(c.get("attention_types"), num_layers)?,
            num_heads: c.size("num_heads", d.num_heads)?,
            intermediate_size: c.size("intermediate_size", 4 * hidden_size)?,
            window_size: c.size("window_size", d.window_size)?,
            activation_function: c.activation("activation_function", d.activation_function)?,
            layer_norm_epsilon: c.positive("layer_norm_epsilon", d.layer_norm_epsilon)?,
            resid_dropout: c.dropout("resid_dropout", d.resid_dropout)?,
            embed_dropout: c.dropout("embed_dropout", d.embed_dropout)?,
            attention_dropout: c.dropout("attention_dropout", d.attention_dropout)?,
            initializer_range: c.positive("initializer_range", d.initializer_range)?,
        };
        check_heads(read.num_heads, read.hidden_size)?;
        Ok(read)
    }

    /// The `config.json` that [`from_hf`](Self::from_hf) and `transformers` read.
    pub fn to_hf(&self) -> Value {
        let kinds = self.local_layers.iter();
        let kinds: Vec<&str> = kinds.map(|l| if *l { "local" } else { "global" }).collect();
        json!({
            "model_type": "gpt_neo",
            "architectures": ["GPTNeoForCausalLM"],
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings,
            "hidden_size": self.hidden_size,
            "num_layers": self.local_layers.len(),
            "attention_types": [[kinds, 1]],
            "num_heads": self.num_heads,
            "intermediate_size": self.intermediate_size,
            "window_size": self.window_size,
            "activation_function": activation_name(self.activation_function),
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "resid_dropout": self.resid_dropout,
            "embed_dropout": self.embed_dropout,
            "attention_dropout": self.attention_dropout,
            "initializer_range": self.initializer_range,
            "tie_word_embeddings": true,
        })
    }

    /// A new model.
    pub fn init(&self, device: &Device) -> GptNeo {
        let table = |count| embedding(count, self.hidden_size, self.initializer_range, device);
        let layers = self.local_layers.iter();
        GptNeo {
            transformer: Transformer {
                wte: table(self.vocab_size),
                wpe: table(self.max_position_embeddings),
                dropout: DropoutConfig::new(self.embed_dropout).init(),
                h: layers.map(|_| self.block(device)).collect(),
                local: self.local_layers.clone(),
                ln_f: self.norm(device),
                window_size: self.window_size,
            },
        }
    }

    fn block(&self, device: &Device) -> PreNormLayer {
        let init = LinearInit::Normal(self.initializer_range);
        PreNormLayer {
            ln_1: self.norm(device),
            attn: AttentionConfig::new(self.hidden_size, self.num_heads)
                .with_scale(Some(1.0))
                .with_bias(false)
                .with_out_bias(Some(true))
                .with_dropout(self.attention_dropout)
                .with_init(init)
                .init(device),
            ln_2: self.norm(device),
            mlp: MlpConfig::new(self.hidden_size, self.intermediate_size)
                .with_activation(self.activation_function)
                .with_dropout(self.resid_dropout)
                .with_init(init)
                .init(device),
            dropout: DropoutConfig::new(self.resid_dropout).init(),
        }
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.hidden_size)
            .with_epsilon(self.layer_norm_epsilon)
            .init(device)
    }
}

/// Of each layer whether it is local: `[[["global", "local"], 12]]` is both in turn, twelve times.
fn local_layers(types: Option<&Value>, num_layers: usize) -> Result<Vec<bool>> {
    let default = json!([[["global", "local"], 12]]);
    let types = types.unwrap_or(&default);
    let group = |group: &Value| -> Option<Vec<bool>> {
        let kinds = group.get(0)?.as_array()?.iter();
        let kinds = kinds.map(|kind| match kind.as_str()? {
            "global" => Some(false),
            "local" => Some(true),
            _ => None,
        });
        let times = usize::try_from(group.get(1)?.as_u64()?).ok()?;
        // No group can be longer than the model, whatever it says.
        Some(
            kinds
                .collect::<Option<Vec<bool>>>()?
                .repeat(times.min(num_layers + 1)),
        )
    };
    let groups = types.as_array().into_iter().flatten().map(group);
    let layers: Option<Vec<Vec<bool>>> = groups.collect();
    layers
        .map(|groups| groups.concat())
        .filter(|layers| layers.len() == num_layers)
        .ok_or_else(|| {
            let expected = format!("groups of \"global\" and \"local\" for {num_layers} layers");
            wrong("attention_types", types, &expected)
        })
}

/// The layers between tokens and hidden states: `GPTNeoModel`.
#[derive(Module, Debug)]
pub struct Transformer {
    wte: Embedding,
    wpe: Embedding,
    dropout: Dropout,
    h: Vec<PreNormLayer>,
    ln_f: LayerNorm,
    /// Of each layer whether it is local.
    #[module(skip)]
    local: Vec<bool>,
    window_size: usize,
}

/// The decoder with its output layer. Should be created with [`GptNeoConfig`].
#[derive(Module, Debug)]
pub struct GptNeo {
    transformer: Transformer,
}

impl Decoder for GptNeo {
    fn key_map(&self) -> &'static KeyMap {
        &KEY_MAP
    }

    fn num_layers(&self) -> usize {
        self.transformer.h.len()
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        ops::tied_linear(hidden, self.transformer.wte.weight.val(), None)
    }

    /// Stages: `embeddings`, the layers (`h.0`, ...), `ln_f`.
    fn run(
        &self,
        input: &CausalInput,
        mut cache: Option<&mut KvCache>,
        visit: &mut Visit<'_>,
    ) -> (Tensor<3>, CausalContext) {
        let t = &self.transformer;
        let (ids, device) = (input.ids.clone(), input.ids.device());
        let context = CausalContext::new(
            ids.dims(),
            input.mask.clone(),
            cache.as_deref_mut(),
            &device,
        );
        let (global, local) = (context.mask(None), context.mask(Some(t.window_size)));
        let positions = t.wpe.forward(context.positions.clone());
        let mut x = t.dropout.forward(t.wte.forward(ids) + positions);
        visit("embeddings", &x);
        for (i, (layer, &is_local)) in t.h.iter().zip(&t.local).enumerate() {
            let cache = cache.as_deref_mut().map(|cache| &mut cache.layers()[i]);
            x = layer.forward(x, if is_local { &local } else { &global }, cache);
            visit(&format!("h.{i}"), &x);
        }
        let x = t.ln_f.forward(x);
        visit("ln_f", &x);
        (x, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_survive_the_published_spelling() {
        for config in [GptNeoConfig::neo_2_7b(), GptNeoConfig::tiny(90)] {
            assert_eq!(GptNeoConfig::from_hf(&config.to_hf()).unwrap(), config);
        }
        let hub = json!({"model_type": "gpt_neo", "intermediate_size": null});
        assert_eq!(
            GptNeoConfig::from_hf(&hub).unwrap(),
            GptNeoConfig::neo_1_3b()
        );
    }

    #[test]
    fn layers_must_fit_the_attention_types() {
        let layers = |types: &Value, count| local_layers(Some(types), count);
        assert_eq!(
            layers(&json!([[["global", "local"], 1], [["local"], 2]]), 4).unwrap(),
            [false, true, true, true]
        );
        for types in [
            json!([[["global"], 3]]),
            json!([[["sparse"], 4]]),
            json!([[["global"], u64::MAX]]),
            json!("global"),
        ] {
            let error = layers(&types, 4).unwrap_err().to_string();
            assert!(error.contains("attention_types"), "{error}");
        }
    }
}
