//! BERT: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
//! Understanding", 2019 (arXiv:1810.04805), and the models that share its encoder:
//!
//! - RoBERTa: Liu et al., 2019 (arXiv:1907.11692). Positions count from `pad_token_id + 1` and skip
//!   padding; the classifier has a layer of its own instead of the pooler.
//! - DistilBERT: Sanh et al., 2019 (arXiv:1910.01108). No token types and no pooler.
//! - MiniLM: Wang et al., 2020 (arXiv:2002.10957). BERT with fewer and narrower layers.
//!
//! Layout and defaults are those of Hugging Face's `BertModel`, `RobertaModel` and
//! `DistilBertModel` and their heads. One difference: the vector of the padding token is drawn like
//! the others when a model starts from nothing; the reference makes it zero. DistilBERT's `qa_dropout`
//! is taken to be its `dropout`.

mod config;
mod heads;
mod keys;

pub use config::{BertConfig, Variant};
pub use heads::{
    BertForMaskedLm, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification, DenseHead, MaskedLmHead, SequenceHead,
};
pub use keys::{DISTILBERT_KEY_MAP, KEY_MAP, NEW_HEAD, ROBERTA_KEY_MAP};

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Embedding, LayerNorm, LayerNormConfig, Linear},
    tensor::{Bool, Device, Int, Tensor},
};
use panoply_core::nn::{
    Activation, Attention, AttentionConfig, AttentionInput, LinearInit, Mlp, MlpConfig, embedding,
    linear, ops, padding_bias,
};

impl BertConfig {
    /// A new encoder, with the pooler (which DistilBERT has not): the reference's base model.
    pub fn init(&self, device: &Device) -> Bert {
        let pooler = (self.variant != Variant::DistilBert)
            .then(|| self.linear([self.hidden_size; 2], device));
        Bert {
            pooler,
            ..self.encoder(device)
        }
    }

    /// A new encoder without pooler.
    fn encoder(&self, device: &Device) -> Bert {
        let table = |count| embedding(count, self.hidden_size, self.initializer_range, device);
        Bert {
            embeddings: Embeddings {
                word: table(self.vocab_size),
                position: table(self.max_position_embeddings),
                token_type: (self.variant != Variant::DistilBert)
                    .then(|| table(self.type_vocab_size)),
                norm: self.norm(device),
                dropout: DropoutConfig::new(self.hidden_dropout_prob).init(),
                padding: (self.variant == Variant::Roberta).then_some(self.pad_token_id),
            },
            layers: (0..self.num_hidden_layers)
                .map(|_| self.layer(device))
                .collect(),
            pooler: None,
        }
    }

    fn layer(&self, device: &Device) -> Layer {
        let init = LinearInit::Normal(self.initializer_range);
        Layer {
            attention: AttentionConfig::new(self.hidden_size, self.num_attention_heads)
                .with_dropout(self.attention_probs_dropout_prob)
                .with_init(init)
                .init(device),
            attention_norm: self.norm(device),
            mlp: MlpConfig::new(self.hidden_size, self.intermediate_size)
                .with_activation(self.hidden_act)
                .with_dropout(self.hidden_dropout_prob)
                .with_init(init)
                .init(device),
            mlp_norm: self.norm(device),
            dropout: DropoutConfig::new(self.hidden_dropout_prob).init(),
        }
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.hidden_size)
            .with_epsilon(self.layer_norm_eps)
            .init(device)
    }

    fn linear(&self, features: [usize; 2], device: &Device) -> Linear {
        linear(
            features,
            true,
            LinearInit::Normal(self.initializer_range),
            device,
        )
    }
}

/// A batch of token sequences.
#[derive(Clone, Debug)]
pub struct EncoderInput {
    ids: Tensor<2, Int>,
    token_types: Option<Tensor<2, Int>>,
    mask: Option<Tensor<2, Bool>>,
}

impl EncoderInput {
    /// Token ids, `[batch, seq]`.
    pub fn new(ids: Tensor<2, Int>) -> Self {
        Self {
            ids,
            token_types: None,
            mask: None,
        }
    }

    /// The type of each token, `[batch, seq]`: 0 in the first text, 1 in the second. All are 0
    /// unless given; DistilBERT ignores them.
    #[must_use]
    pub fn token_types(mut self, token_types: Tensor<2, Int>) -> Self {
        self.token_types = Some(token_types);
        self
    }

    /// False at padding, `[batch, seq]`; no token looks at padding. Without it nothing is padding.
    #[must_use]
    pub fn mask(mut self, mask: Tensor<2, Bool>) -> Self {
        self.mask = Some(mask);
        self
    }
}

/// Vectors of tokens, positions and types, added and normalised.
#[derive(Module, Debug)]
pub struct Embeddings {
    word: Embedding,
    position: Embedding,
    token_type: Option<Embedding>,
    norm: LayerNorm,
    dropout: Dropout,
    /// The padding token from which RoBERTa's positions count.
    padding: Option<usize>,
}

impl Embeddings {
    fn forward(&self, input: &EncoderInput) -> Tensor<3> {
        let ids = input.ids.clone();
        let [_, seq] = ids.dims();
        let positions = match self.padding {
            Some(padding) => {
                let real = ids.clone().not_equal_elem(padding as i64).int();
                real.clone().cumsum(1) * real + padding as i64
            }
            None => Tensor::<1, Int>::arange(0..seq as i64, &ids.device()).unsqueeze(),
        };
        let mut x = self.word.forward(ids) + self.position.forward(positions);
        if let Some(table) = &self.token_type {
            x = x + match &input.token_types {
                Some(types) => table.forward(types.clone()),
                None => table.weight.val().narrow(0, 0, 1).unsqueeze(),
            };
        }
        self.dropout.forward(self.norm.forward(x))
    }
}

/// One layer: attention and perceptron, each added to its input and normalised.
#[derive(Module, Debug)]
pub struct Layer {
    attention: Attention,
    attention_norm: LayerNorm,
    mlp: Mlp,
    mlp_norm: LayerNorm,
    dropout: Dropout,
}

impl Layer {
    fn forward(&self, x: Tensor<3>, bias: Option<Tensor<4>>) -> Tensor<3> {
        let input = attention_input(x.clone(), bias);
        let attended = self.dropout.forward(self.attention.forward(input));
        let x = self.attention_norm.forward(x + attended);
        self.mlp_norm.forward(x.clone() + self.mlp.forward(x))
    }
}

fn attention_input(x: Tensor<3>, bias: Option<Tensor<4>>) -> AttentionInput {
    let input = AttentionInput::new(x);
    match bias {
        Some(bias) => input.bias(bias),
        None => input,
    }
}

/// The encoder. Should be created with [`BertConfig`].
#[derive(Module, Debug)]
pub struct Bert {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    pooler: Option<Linear>,
}

impl Bert {
    /// Hidden states of the last layer.
    ///
    /// # Shapes
    /// - output: `[batch, seq, hidden_size]`
    pub fn forward(&self, input: &EncoderInput) -> Tensor<3> {
        self.walk(input, &mut |_, _| ())
    }

    /// As [`forward`](Self::forward); shows `visit` the output of the embeddings (`embeddings`) and
    /// of each layer (`layers.0`, ...) on the way.
    pub fn walk(&self, input: &EncoderInput, visit: &mut dyn FnMut(&str, &Tensor<3>)) -> Tensor<3> {
        let x = self.embed(input);
        visit("embeddings", &x);
        self.encode(x, input.mask.clone(), visit)
    }

    /// The embedded tokens: what the first layer reads.
    ///
    /// # Shapes
    /// - output: `[batch, seq, hidden_size]`
    pub fn embed(&self, input: &EncoderInput) -> Tensor<3> {
        self.embeddings.forward(input)
    }

    /// The layers on embedded tokens; `mask` and `visit` as above.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, seq, hidden_size]`
    /// - `mask`: `[batch, seq]`
    pub fn encode(
        &self,
        x: Tensor<3>,
        mask: Option<Tensor<2, Bool>>,
        visit: &mut dyn FnMut(&str, &Tensor<3>),
    ) -> Tensor<3> {
        let bias = mask.map(padding_bias);
        let layers = self.layers.iter().enumerate();
        layers.fold(x, |x, (i, layer)| {
            let x = layer.forward(x, bias.clone());
            visit(&format!("layers.{i}"), &x);
            x
        })
    }

    /// How much each token attends to each other one, layer by layer: transformers' `attentions`.
    ///
    /// # Shapes
    /// - output: `[batch, heads, seq, seq]` a layer
    pub fn attentions(&self, input: &EncoderInput) -> Vec<Tensor<4>> {
        let bias = input.mask.clone().map(padding_bias);
        let mut x = self.embed(input);
        let mut found = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let input = attention_input(x.clone(), bias.clone());
            found.push(layer.attention.weights(input));
            x = layer.forward(x, bias.clone());
        }
        found
    }

    /// The pooler's view of the first token, if there is a pooler: `tanh(linear(hidden[:, 0]))`.
    ///
    /// # Shapes
    /// - `hidden`: `[batch, seq, hidden_size]`
    /// - output: `[batch, hidden_size]`
    pub fn pooled(&self, hidden: Tensor<3>) -> Option<Tensor<2>> {
        let pooler = self.pooler.as_ref()?;
        Some(ops::linear_act(first(hidden), pooler, Activation::Tanh))
    }

    fn words(&self) -> Tensor<2> {
        self.embeddings.word.weight.val()
    }
}

/// The first token: `[batch, hidden_size]`.
fn first(hidden: Tensor<3>) -> Tensor<2> {
    let [batch, _, features] = hidden.dims();
    hidden.narrow(1, 0, 1).reshape([batch, features])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roberta_counts_positions_from_the_first_real_token() {
        let device = Device::flex();
        let config = BertConfig {
            variant: Variant::Roberta,
            pad_token_id: 1,
            type_vocab_size: 1,
            ..BertConfig::tiny(20)
        };
        let model = config.init(&device);
        let embed =
            |ids: [i64; 3]| model.embed(&EncoderInput::new(Tensor::from_ints([ids], &device)));
        let (left, right) = (embed([1, 5, 6]), embed([5, 6, 1]));
        let difference = left.narrow(1, 1, 2) - right.narrow(1, 0, 2);
        assert_eq!(difference.abs().max().into_scalar::<f32>(), 0.0);
    }
}
