//! GPT-2: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
//!
//! Layout and defaults are Hugging Face's `GPT2LMHeadModel`: norms in front of attention and
//! perceptron, learned positions, an output layer that is the transposed table of tokens, and weights
//! stored `[in, out]` (`Conv1D`).
//!
//! The sizes of GPT-3 (Brown et al., "Language Models are Few-Shot Learners", 2020,
//! arXiv:2005.14165, table 2.1) are here too, since it has "the same model and architecture as
//! GPT-2". Its weights were never published. Two differences: every layer attends densely, where
//! every other one of the paper's has a locally banded sparse pattern that it does not specify; and
//! where heads times their size do not give the width that the table prints, [`gpt3_xl`] has 16
//! heads instead of 24 and [`gpt3_13b`] 5120 features instead of 5140, which fit the printed counts
//! of parameters.
//!
//! [`gpt3_xl`]: Gpt2Config::gpt3_xl
//! [`gpt3_13b`]: Gpt2Config::gpt3_13b

use super::{
    CausalInput, Decoder, Visit,
    hf_config::{HfConfig, activation_name, check_heads},
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

/// Keys of `GPT2LMHeadModel`; those of `GPT2Model` lack the prefix.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("h.{}.attn.c_attn.{}", "h.{}.attn.qkv.{}"),
        ("h.{}.attn.c_proj.{}", "h.{}.attn.out.{}"),
        ("h.{}.mlp.c_fc.{}", "h.{}.mlp.fc1.{}"),
        ("h.{}.mlp.c_proj.{}", "h.{}.mlp.fc2.{}"),
    ],
    dropped: &["h.{}.attn.bias", "h.{}.attn.masked_bias"],
    prefix: Some(("transformer.", "transformer.")),
    in_out: &[
        "h.{}.attn.c_attn.weight",
        "h.{}.attn.c_proj.weight",
        "h.{}.mlp.c_fc.weight",
        "h.{}.mlp.c_proj.weight",
    ],
    tied: &[("lm_head.weight", "transformer.wte.weight")],
};

/// Configuration of [`Gpt2`]; fields are called as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpt2Config {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Longest sequence.
    pub n_positions: usize,
    /// Features of a token.
    pub n_embd: usize,
    /// Number of layers.
    pub n_layer: usize,
    /// Number of heads; divides `n_embd`.
    pub n_head: usize,
    /// Features inside the perceptron.
    pub n_inner: usize,
    /// Of the perceptron.
    pub activation_function: Activation,
    /// Added to the variance by the norms.
    pub layer_norm_epsilon: f64,
    /// Dropout of the branches.
    pub resid_pdrop: f64,
    /// Dropout of the embeddings.
    pub embd_pdrop: f64,
    /// Dropout of attention weights.
    pub attn_pdrop: f64,
    /// Standard deviation of initial weights; a branch's last layer has it divided by
    /// `sqrt(2 * n_layer)`.
    pub initializer_range: f64,
    /// Whether scores are divided by the square root of the head's size.
    pub scale_attn_weights: bool,
    /// Whether scores of layer `i` are divided by `i + 1`.
    pub scale_attn_by_inverse_layer_idx: bool,
}

impl Gpt2Config {
    /// A model of `n_layer` layers of `n_embd` features with GPT-2's vocabulary.
    fn sized(n_layer: usize, n_embd: usize, n_head: usize) -> Self {
        Self {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd,
            n_layer,
            n_head,
            n_inner: 4 * n_embd,
            activation_function: Activation::GeluTanh,
            layer_norm_epsilon: 1e-5,
            resid_pdrop: 0.1,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            initializer_range: 0.02,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
        }
    }

    /// `gpt2`, 124 M parameters.
    pub fn gpt2() -> Self {
        Self::sized(12, 768, 12)
    }

    /// `gpt2-medium`, 355 M parameters.
    pub fn medium() -> Self {
        Self::sized(24, 1024, 16)
    }

    /// `gpt2-large`, 774 M parameters.
    pub fn large() -> Self {
        Self::sized(36, 1280, 20)
    }

    /// `gpt2-xl`, 1.56 B parameters.
    pub fn xl() -> Self {
        Self::sized(48, 1600, 25)
    }

    fn gpt3(n_layer: usize, n_embd: usize, n_head: usize) -> Self {
        Self {
            n_positions: 2048,
            ..Self::sized(n_layer, n_embd, n_head)
        }
    }

    /// GPT-3 Small, 125 M parameters.
    pub fn gpt3_small() -> Self {
        Self::gpt3(12, 768, 12)
    }

    /// GPT-3 Medium, 350 M parameters.
    pub fn gpt3_medium() -> Self {
        Self::gpt3(24, 1024, 16)
    }

    /// GPT-3 Large, 760 M parameters.
    pub fn gpt3_large() -> Self {
        Self::gpt3(24, 1536, 16)
    }

    /// GPT-3 XL, 1.3 B parameters.
    pub fn gpt3_xl() -> Self {
        Self::gpt3(24, 2048, 16)
    }

    /// GPT-3 2.7B.
    pub fn gpt3_2_7b() -> Self {
        Self::gpt3(32, 2560, 32)
    }

    /// GPT-3 6.7B.
    pub fn gpt3_6_7b() -> Self {
        Self::gpt3(32, 4096, 32)
    }

    /// GPT-3 13B.
    pub fn gpt3_13b() -> Self {
        Self::gpt3(40, 5120, 40)
    }

    /// GPT-3 175B, the one called GPT-3.
    pub fn gpt3_175b() -> Self {
        Self::gpt3(96, 12288, 96)
    }

    /// Two layers of 32 features, for tests and `debug` recipes.
    pub fn tiny(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            n_positions: 64,
            ..Self::sized(2, 32, 4)
        }
    }

    /// Reads a `config.json` of `GPT2LMHeadModel`; absent fields have the reference's defaults.
    pub fn from_hf(config: &Value) -> Result<Self> {
        let (c, d) = (HfConfig(config), Self::gpt2());
        c.only("model_type", &json!("gpt2"))?;
        c.only("tie_word_embeddings", &json!(true))?;
        c.only("add_cross_attention", &json!(false))?;
        let n_embd = c.size("n_embd", d.n_embd)?;
        let read = Self {
            vocab_size: c.size("vocab_size", d.vocab_size)?,
            n_positions: c.size("n_positions", d.n_positions)?,
            n_embd,
            n_layer: c.size("n_layer", d.n_layer)?,
            n_head: c.size("n_head", d.n_head)?,
            n_inner: c.size("n_inner", 4 * n_embd)?,
            activation_function: c.activation("activation_function", d.activation_function)?,
            layer_norm_epsilon: c.positive("layer_norm_epsilon", d.layer_norm_epsilon)?,
            resid_pdrop: c.dropout("resid_pdrop", d.resid_pdrop)?,
            embd_pdrop: c.dropout("embd_pdrop", d.embd_pdrop)?,
            attn_pdrop: c.dropout("attn_pdrop", d.attn_pdrop)?,
            initializer_range: c.positive("initializer_range", d.initializer_range)?,
            scale_attn_weights: c.flag("scale_attn_weights", true)?,
            scale_attn_by_inverse_layer_idx: c.flag("scale_attn_by_inverse_layer_idx", false)?,
        };
        check_heads(read.n_head, read.n_embd)?;
        Ok(read)
    }

    /// The `config.json` that [`from_hf`](Self::from_hf) and `transformers` read.
    pub fn to_hf(&self) -> Value {
        json!({
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": self.vocab_size,
            "n_positions": self.n_positions,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_inner": self.n_inner,
            "activation_function": activation_name(self.activation_function),
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "resid_pdrop": self.resid_pdrop,
            "embd_pdrop": self.embd_pdrop,
            "attn_pdrop": self.attn_pdrop,
            "initializer_range": self.initializer_range,
            "scale_attn_weights": self.scale_attn_weights,
            "scale_attn_by_inverse_layer_idx": self.scale_attn_by_inverse_layer_idx,
            "tie_word_embeddings": true,
        })
    }

    /// A new model.
    pub fn init(&self, device: &Device) -> Gpt2 {
        let table = |count| embedding(count, self.n_embd, self.initializer_range, device);
        Gpt2 {
            transformer: Transformer {
                wte: table(self.vocab_size),
                wpe: table(self.n_positions),
                dropout: DropoutConfig::new(self.embd_pdrop).init(),
                h: (0..self.n_layer).map(|i| self.block(i, device)).collect(),
                ln_f: self.norm(device),
            },
        }
    }

    fn block(&self, index: usize, device: &Device) -> PreNormLayer {
        let init = LinearInit::Normal(self.initializer_range);
        let depth = (2.0 * self.n_layer as f64).sqrt();
        let out_init = LinearInit::Normal(self.initializer_range / depth);
        let mut scale = 1.0;
        if self.scale_attn_weights {
            scale /= ((self.n_embd / self.n_head) as f64).sqrt();
        }
        if self.scale_attn_by_inverse_layer_idx {
            scale /= (index + 1) as f64;
        }
        PreNormLayer {
            ln_1: self.norm(device),
            attn: AttentionConfig::new(self.n_embd, self.n_head)
                .with_fused(true)
                .with_scale(Some(scale))
                .with_dropout(self.attn_pdrop)
                .with_init(init)
                .with_out_init(Some(out_init))
                .init(device),
            ln_2: self.norm(device),
            mlp: MlpConfig::new(self.n_embd, self.n_inner)
                .with_activation(self.activation_function)
                .with_dropout(self.resid_pdrop)
                .with_init(init)
                .with_out_init(Some(out_init))
                .init(device),
            dropout: DropoutConfig::new(self.resid_pdrop).init(),
        }
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.n_embd)
            .with_epsilon(self.layer_norm_epsilon)
            .init(device)
    }
}

/// The layers between tokens and hidden states: `GPT2Model`.
#[derive(Module, Debug)]
pub struct Transformer {
    wte: Embedding,
    wpe: Embedding,
    dropout: Dropout,
    h: Vec<PreNormLayer>,
    ln_f: LayerNorm,
}

/// The decoder with its output layer. Should be created with [`Gpt2Config`].
#[derive(Module, Debug)]
pub struct Gpt2 {
    transformer: Transformer,
}

impl Decoder for Gpt2 {
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
        let mask = context.mask(None);
        let positions = t.wpe.forward(context.positions.clone());
        let mut x = t.dropout.forward(t.wte.forward(ids) + positions);
        visit("embeddings", &x);
        for (i, block) in t.h.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| &mut cache.layers()[i]);
            x = block.forward(x, &mask, cache);
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
    use panoply_core::weights::num_params;

    #[test]
    fn configs_survive_the_published_spelling() {
        let odd = Gpt2Config {
            n_inner: 77,
            scale_attn_by_inverse_layer_idx: true,
            ..Gpt2Config::tiny(90)
        };
        for config in [Gpt2Config::gpt2(), odd] {
            assert_eq!(Gpt2Config::from_hf(&config.to_hf()).unwrap(), config);
        }
        let hub = json!({"model_type": "gpt2", "n_inner": null, "n_ctx": 1024});
        assert_eq!(Gpt2Config::from_hf(&hub).unwrap(), Gpt2Config::gpt2());
        let untied = json!({"tie_word_embeddings": false});
        assert!(Gpt2Config::from_hf(&untied).is_err());
    }

    #[test]
    fn gpt3_has_the_sizes_of_its_table() {
        let table = [
            (Gpt2Config::gpt3_small(), 64, 125e6),
            (Gpt2Config::gpt3_medium(), 64, 350e6),
            (Gpt2Config::gpt3_large(), 96, 760e6),
            (Gpt2Config::gpt3_xl(), 128, 1.3e9),
            (Gpt2Config::gpt3_2_7b(), 80, 2.7e9),
            (Gpt2Config::gpt3_6_7b(), 128, 6.7e9),
            (Gpt2Config::gpt3_13b(), 128, 13.0e9),
            (Gpt2Config::gpt3_175b(), 128, 175.0e9),
        ];
        for (config, head_size, printed) in table {
            assert_eq!(config.n_embd / config.n_head, head_size);
            let count = num_params(&config.init(&Device::flex())) as f64;
            assert!((count / printed - 1.0).abs() < 0.02, "{count} {printed}");
        }
    }

    #[test]
    fn the_last_layers_of_branches_start_smaller() {
        let device = Device::flex();
        device.seed(1);
        let model = Gpt2Config::tiny(50).init(&device);
        let std = |x: Tensor<2>| x.square().mean().sqrt().into_scalar::<f32>();
        let mlp = &model.transformer.h[0].mlp;
        assert!((std(mlp.fc1.weight.val()) - 0.02).abs() < 0.001);
        assert!((std(mlp.fc2.weight.val()) - 0.01).abs() < 0.001);
    }
}
