//! Llama: Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023
//! (arXiv:2302.13971), and its successors and relatives with the same blocks: Llama 2, SmolLM, the
//! "stories" models of llama2.c.
//!
//! Layout and defaults are Hugging Face's `LlamaForCausalLM`: root-mean-square norms, rotary positions
//! in the half-split convention, heads of queries that share keys, a gated perceptron, an output
//! layer that may be the transposed table of tokens. Of the longer contexts' position scalings only
//! linear interpolation is implemented; another one is refused by name.

use super::{
    CausalInput, Decoder, Visit,
    hf_config::{HfConfig, activation_name, check_heads, wrong},
};
use burn::{
    module::Module,
    nn::{Embedding, Linear, RmsNorm, RmsNormConfig},
    tensor::{Device, Tensor},
};
use panoply_core::{
    Error, Result,
    nn::{
        Activation, Attention, AttentionConfig, AttentionInput, CausalContext, CausalMask,
        GatedMlp, GatedMlpConfig, KvCache, LayerCache, LinearInit, Rotary, Rotation, embedding,
        linear, ops,
    },
    weights::KeyMap,
};
use serde_json::{Value, json};

/// Keys of `LlamaForCausalLM`; those of `LlamaModel` lack the prefix.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("layers.{}.self_attn.q_proj.{}", "layers.{}.self_attn.q.{}"),
        ("layers.{}.self_attn.k_proj.{}", "layers.{}.self_attn.k.{}"),
        ("layers.{}.self_attn.v_proj.{}", "layers.{}.self_attn.v.{}"),
        (
            "layers.{}.self_attn.o_proj.{}",
            "layers.{}.self_attn.out.{}",
        ),
        ("layers.{}.mlp.gate_proj.{}", "layers.{}.mlp.gate.{}"),
        ("layers.{}.mlp.up_proj.{}", "layers.{}.mlp.up.{}"),
        ("layers.{}.mlp.down_proj.{}", "layers.{}.mlp.down.{}"),
    ],
    dropped: &["**.rotary_emb.inv_freq"],
    prefix: Some(("model.", "model.")),
    tied: &[("lm_head.weight", "model.embed_tokens.weight")],
    ..KeyMap::IDENTITY
};

/// Configuration of [`Llama`]; fields are called as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Features of a token.
    pub hidden_size: usize,
    /// Features inside the perceptron.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of heads of queries.
    pub num_attention_heads: usize,
    /// Number of heads of keys and values; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Features of a head; even.
    pub head_dim: usize,
    /// Of the perceptron's gate.
    pub hidden_act: Activation,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Added to the mean square by the norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// What positions are divided by: 1 but for linear interpolation to a longer context.
    pub rope_factor: f64,
    /// Whether the output layer is the transposed table of tokens.
    pub tie_word_embeddings: bool,
    /// Whether the projections of attention have biases.
    pub attention_bias: bool,
    /// Whether the perceptron's layers have biases.
    pub mlp_bias: bool,
    /// Dropout of attention weights.
    pub attention_dropout: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
}

impl LlamaConfig {
    /// Llama 7B, the reference's defaults.
    pub fn llama_7b() -> Self {
        Self {
            vocab_size: 32000,
            hidden_size: 4096,
            intermediate_size: 11008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 32,
            head_dim: 128,
            hidden_act: Activation::Silu,
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            rope_theta: 10000.0,
            rope_factor: 1.0,
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            attention_dropout: 0.0,
            initializer_range: 0.02,
        }
    }

    /// The 15 M parameters that llama2.c trained on TinyStories.
    pub fn stories15m() -> Self {
        Self {
            hidden_size: 288,
            intermediate_size: 768,
            num_hidden_layers: 6,
            num_attention_heads: 6,
            num_key_value_heads: 6,
            head_dim: 48,
            max_position_embeddings: 256,
            rms_norm_eps: 1e-5,
            tie_word_embeddings: true,
            ..Self::llama_7b()
        }
    }

    /// `SmolLM2-135M`.
    pub fn smollm2_135m() -> Self {
        Self {
            vocab_size: 49152,
            hidden_size: 576,
            intermediate_size: 1536,
            num_hidden_layers: 30,
            num_attention_heads: 9,
            num_key_value_heads: 3,
            head_dim: 64,
            max_position_embeddings: 8192,
            rms_norm_eps: 1e-5,
            rope_theta: 100_000.0,
            tie_word_embeddings: true,
            initializer_range: 0.041_666_666_666_666_664,
            ..Self::llama_7b()
        }
    }

    /// Two layers of 32 features with two heads of keys for four of queries, for tests and `debug`
    /// recipes.
    pub fn tiny(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            hidden_size: 32,
            intermediate_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 8,
            max_position_embeddings: 64,
            tie_word_embeddings: true,
            ..Self::llama_7b()
        }
    }

    /// Reads a `config.json` of `LlamaForCausalLM`; absent fields have the reference's defaults.
    pub fn from_hf(config: &Value) -> Result<Self> {
        let (c, d) = (HfConfig(config), Self::llama_7b());
        c.only("model_type", &json!("llama"))?;
        let hidden_size = c.size("hidden_size", d.hidden_size)?;
        let heads = c.size("num_attention_heads", d.num_attention_heads)?;
        check_heads(heads, hidden_size)?;
        let (rope_theta, rope_factor) = rope(&c)?;
        let read = Self {
            vocab_size: c.size("vocab_size", d.vocab_size)?,
            hidden_size,
            intermediate_size: c.size("intermediate_size", d.intermediate_size)?,
            num_hidden_layers: c.size("num_hidden_layers", d.num_hidden_layers)?,
            num_attention_heads: heads,
            num_key_value_heads: c.size("num_key_value_heads", heads)?,
            head_dim: c.size("head_dim", hidden_size / heads)?,
            hidden_act: c.activation("hidden_act", d.hidden_act)?,
            max_position_embeddings: c
                .size("max_position_embeddings", d.max_position_embeddings)?,
            rms_norm_eps: c.positive("rms_norm_eps", d.rms_norm_eps)?,
            rope_theta,
            rope_factor,
            tie_word_embeddings: c.flag("tie_word_embeddings", d.tie_word_embeddings)?,
            attention_bias: c.flag("attention_bias", d.attention_bias)?,
            mlp_bias: c.flag("mlp_bias", d.mlp_bias)?,
            attention_dropout: c.dropout("attention_dropout", d.attention_dropout)?,
            initializer_range: c.positive("initializer_range", d.initializer_range)?,
        };
        let keys = read.num_key_value_heads;
        if !heads.is_multiple_of(keys) || !read.head_dim.is_multiple_of(2) {
            let found = format!("{heads} heads of {}, {keys} of keys", read.head_dim);
            let expected = "heads of an even size, a multiple of those of keys";
            return Err(Error::input("config.json", found, expected));
        }
        Ok(read)
    }

    /// The `config.json` that [`from_hf`](Self::from_hf) and `transformers` read.
    pub fn to_hf(&self) -> Value {
        let scaled = self.rope_factor != 1.0;
        let kind = if scaled { "linear" } else { "default" };
        let mut rope = json!({"rope_type": kind, "rope_theta": self.rope_theta});
        if scaled {
            rope["factor"] = self.rope_factor.into();
        }
        json!({
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "hidden_act": activation_name(self.hidden_act),
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_parameters": rope,
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "attention_dropout": self.attention_dropout,
            "initializer_range": self.initializer_range,
        })
    }

    /// A new model.
    pub fn init(&self, device: &Device) -> Llama {
        let init = LinearInit::Normal(self.initializer_range);
        Llama {
            model: Transformer {
                embed_tokens: embedding(
                    self.vocab_size,
                    self.hidden_size,
                    self.initializer_range,
                    device,
                ),
                layers: (0..self.num_hidden_layers)
                    .map(|_| self.layer(device))
                    .collect(),
                norm: self.norm(device),
                rotary: Rotary::new(self.head_dim)
                    .with_theta(self.rope_theta)
                    .with_factor(self.rope_factor),
            },
            lm_head: (!self.tie_word_embeddings)
                .then(|| linear([self.hidden_size, self.vocab_size], false, init, device)),
        }
    }

    fn layer(&self, device: &Device) -> Layer {
        let init = LinearInit::Normal(self.initializer_range);
        Layer {
            input_layernorm: self.norm(device),
            self_attn: AttentionConfig::new(self.hidden_size, self.num_attention_heads)
                .with_num_kv_heads(Some(self.num_key_value_heads))
                .with_head_size(Some(self.head_dim))
                .with_bias(self.attention_bias)
                .with_dropout(self.attention_dropout)
                .with_init(init)
                .init(device),
            post_attention_layernorm: self.norm(device),
            mlp: GatedMlpConfig::new(self.hidden_size, self.intermediate_size)
                .with_activation(self.hidden_act)
                .with_bias(self.mlp_bias)
                .with_init(init)
                .init(device),
        }
    }

    fn norm(&self, device: &Device) -> RmsNorm {
        RmsNormConfig::new(self.hidden_size)
            .with_epsilon(self.rms_norm_eps)
            .init(device)
    }
}

/// Base and divisor of rotary positions: of `rope_parameters`, or in the older spelling `rope_theta`
/// and `rope_scaling`.
fn rope(c: &HfConfig<'_>) -> Result<(f64, f64)> {
    let none = json!({});
    let parameters = c.get("rope_parameters").unwrap_or(&none);
    let scaling = c.get("rope_scaling").unwrap_or(parameters);
    let theta = c.positive("rope_theta", 10000.0)?;
    let theta = HfConfig(parameters).positive("rope_theta", theta)?;
    let kind = scaling.get("rope_type").or_else(|| scaling.get("type"));
    match kind.map(|kind| kind.as_str()) {
        None | Some(Some("default")) => Ok((theta, 1.0)),
        Some(Some("linear")) => Ok((theta, HfConfig(scaling).positive("factor", 1.0)?)),
        Some(_) => Err(wrong(
            "rope_scaling",
            scaling,
            "rope_type default or linear",
        )),
    }
}

/// One layer: attention and perceptron, each on the normalised input and added to it.
#[derive(Module, Debug)]
pub struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: GatedMlp,
}

impl Layer {
    fn forward(
        &self,
        x: Tensor<3>,
        mask: &CausalMask,
        rotation: &Rotation,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let input = AttentionInput::new(self.input_layernorm.forward(x.clone()))
            .mask(mask)
            .rotation(rotation.clone());
        let x = x + self.self_attn.forward_cached(input, cache);
        let branch = self
            .mlp
            .forward(self.post_attention_layernorm.forward(x.clone()));
        x + branch
    }
}

/// The layers between tokens and hidden states: `LlamaModel`.
#[derive(Module, Debug)]
pub struct Transformer {
    embed_tokens: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    #[module(skip)]
    rotary: Rotary,
}

/// The decoder with its output layer. Should be created with [`LlamaConfig`].
#[derive(Module, Debug)]
pub struct Llama {
    model: Transformer,
    lm_head: Option<Linear>,
}

impl Decoder for Llama {
    fn key_map(&self) -> &'static KeyMap {
        &KEY_MAP
    }

    fn num_layers(&self) -> usize {
        self.model.layers.len()
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        match &self.lm_head {
            Some(lm_head) => ops::linear_act(hidden, lm_head, Activation::Identity),
            None => ops::tied_linear(hidden, self.model.embed_tokens.weight.val(), None),
        }
    }

    /// Stages: `embeddings`, the layers (`layers.0`, ...), `norm`.
    fn run(
        &self,
        input: &CausalInput,
        mut cache: Option<&mut KvCache>,
        visit: &mut Visit<'_>,
    ) -> (Tensor<3>, CausalContext) {
        let t = &self.model;
        let (ids, device) = (input.ids.clone(), input.ids.device());
        let context = CausalContext::new(
            ids.dims(),
            input.mask.clone(),
            cache.as_deref_mut(),
            &device,
        );
        let mask = context.mask(None);
        let rotation = t.rotary.at(context.positions.clone());
        let mut x = t.embed_tokens.forward(ids);
        visit("embeddings", &x);
        for (i, layer) in t.layers.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| &mut cache.layers()[i]);
            x = layer.forward(x, &mask, &rotation, cache);
            visit(&format!("layers.{i}"), &x);
        }
        let x = t.norm.forward(x);
        visit("norm", &x);
        (x, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_survive_the_published_spelling() {
        let odd = LlamaConfig {
            rope_factor: 4.0,
            mlp_bias: true,
            ..LlamaConfig::tiny(90)
        };
        for config in [LlamaConfig::llama_7b(), LlamaConfig::smollm2_135m(), odd] {
            assert_eq!(LlamaConfig::from_hf(&config.to_hf()).unwrap(), config);
        }
    }

    #[test]
    fn both_spellings_of_rotary_settings_are_read() {
        let read = |json: Value| rope(&HfConfig(&json));
        assert_eq!(read(json!({})).unwrap(), (10000.0, 1.0));
        assert_eq!(
            read(json!({"rope_theta": 5e5, "rope_scaling": null})).unwrap(),
            (5e5, 1.0)
        );
        let old = json!({"rope_scaling": {"type": "linear", "factor": 2.0}});
        assert_eq!(read(old).unwrap(), (10000.0, 2.0));
        let new = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}});
        assert_eq!(read(new).unwrap(), (7.0, 1.0));
        let yarn = json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}});
        assert!(read(yarn).unwrap_err().to_string().contains("yarn"));
    }

    #[test]
    fn heads_that_do_not_fit_are_refused() {
        let config = json!({"model_type": "llama", "num_key_value_heads": 5});
        let error = LlamaConfig::from_hf(&config).unwrap_err().to_string();
        assert!(error.contains("5 of keys"), "{error}");
    }
}
