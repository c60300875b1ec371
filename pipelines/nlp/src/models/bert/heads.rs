//! What stands on the encoder.

use super::{Bert, BertConfig, EncoderInput, Variant, first};
use burn::{
    module::{Module, Param},
    nn::{Dropout, DropoutConfig, Initializer, LayerNorm, Linear},
    tensor::{Device, Tensor},
};
use panoply_core::nn::{Activation, ops};

impl BertConfig {
    /// A new encoder with the head that guesses masked tokens.
    pub fn init_masked_lm(&self, device: &Device) -> BertForMaskedLm {
        let act = match self.variant {
            Variant::Roberta => Activation::Gelu,
            Variant::Bert | Variant::DistilBert => self.hidden_act,
        };
        // The masked-token heads of DistilBERT and of the others have norms of their own epsilon,
        // which equals the layers'.
        BertForMaskedLm {
            bert: self.encoder(device),
            lm_head: MaskedLmHead {
                dense: self.linear([self.hidden_size; 2], device),
                norm: self.norm(device),
                bias: Initializer::Zeros.init([self.vocab_size], device),
                act,
            },
        }
    }

    /// A new encoder with a classifier of whole sequences.
    pub fn init_sequence_classification(&self, device: &Device) -> BertForSequenceClassification {
        let hidden = self.hidden_size;
        let output = self.linear([hidden, self.num_labels], device);
        let dense = || self.linear([hidden; 2], device);
        let (bert, pre_classifier, classifier) = match self.variant {
            Variant::Bert => (self.init(device), None, SequenceHead::Linear(output)),
            Variant::DistilBert => (
                self.encoder(device),
                Some(dense()),
                SequenceHead::Linear(output),
            ),
            Variant::Roberta => {
                let head = DenseHead {
                    dense: dense(),
                    out_proj: output,
                };
                (self.encoder(device), None, SequenceHead::Dense(head))
            }
        };
        BertForSequenceClassification {
            bert,
            pre_classifier,
            classifier,
            dropout: DropoutConfig::new(self.classifier_dropout).init(),
        }
    }

    /// A new encoder with a classifier of each token.
    pub fn init_token_classification(&self, device: &Device) -> BertForTokenClassification {
        // DistilBERT's `seq_classif_dropout` is for whole sequences only.
        let dropout = match self.variant {
            Variant::DistilBert => self.hidden_dropout_prob,
            Variant::Bert | Variant::Roberta => self.classifier_dropout,
        };
        BertForTokenClassification {
            bert: self.encoder(device),
            classifier: self.linear([self.hidden_size, self.num_labels], device),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// A new encoder with a head that finds the answer to a question in a text.
    pub fn init_question_answering(&self, device: &Device) -> BertForQuestionAnswering {
        let dropout = match self.variant {
            Variant::DistilBert => self.hidden_dropout_prob,
            Variant::Bert | Variant::Roberta => 0.0,
        };
        BertForQuestionAnswering {
            bert: self.encoder(device),
            qa_outputs: self.linear([self.hidden_size, 2], device),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }
}

/// `norm(act(dense(x)))`, then the transposed word embeddings.
#[derive(Module, Debug)]
pub struct MaskedLmHead {
    dense: Linear,
    norm: LayerNorm,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    act: Activation,
}

/// The encoder with the head it was pretrained with: `BertForMaskedLM` and its like.
#[derive(Module, Debug)]
pub struct BertForMaskedLm {
    /// The encoder.
    pub bert: Bert,
    lm_head: MaskedLmHead,
}

impl BertForMaskedLm {
    /// Logits of each token.
    ///
    /// # Shapes
    /// - output: `[batch, seq, vocab_size]`
    pub fn forward(&self, input: &EncoderInput) -> Tensor<3> {
        self.head(self.bert.forward(input))
    }

    /// Logits of hidden states; give it the masked positions alone where only they matter.
    ///
    /// # Shapes
    /// - `hidden`: `[.., hidden_size]`
    /// - output: `[.., vocab_size]`
    pub fn head<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        let head = &self.lm_head;
        let x = ops::linear_act(hidden, &head.dense, head.act);
        let x = head.norm.forward(x);
        ops::tied_linear(x, self.bert.words(), Some(head.bias.val()))
    }
}

/// The last layer of a sequence classifier.
#[derive(Module, Debug)]
pub enum SequenceHead {
    /// BERT's and DistilBERT's.
    Linear(Linear),
    /// RoBERTa's.
    Dense(DenseHead),
}

/// `out_proj(dropout(tanh(dense(dropout(x)))))`.
#[derive(Module, Debug)]
pub struct DenseHead {
    dense: Linear,
    out_proj: Linear,
}

/// The encoder with a classifier of whole sequences: `BertForSequenceClassification` and its like.
#[derive(Module, Debug)]
pub struct BertForSequenceClassification {
    /// The encoder.
    pub bert: Bert,
    pre_classifier: Option<Linear>,
    classifier: SequenceHead,
    dropout: Dropout,
}

impl BertForSequenceClassification {
    /// Logits.
    ///
    /// # Shapes
    /// - output: `[batch, num_labels]`
    pub fn forward(&self, input: &EncoderInput) -> Tensor<2> {
        self.head(self.bert.forward(input))
    }

    /// Logits of hidden states.
    ///
    /// # Shapes
    /// - `hidden`: `[batch, seq, hidden_size]`
    /// - output: `[batch, num_labels]`
    pub fn head(&self, hidden: Tensor<3>) -> Tensor<2> {
        let x = match &self.pre_classifier {
            Some(pre_classifier) => {
                ops::linear_act(first(hidden), pre_classifier, Activation::Relu)
            }
            None => match self.bert.pooled(hidden.clone()) {
                Some(pooled) => pooled,
                None => first(hidden),
            },
        };
        let x = self.dropout.forward(x);
        match &self.classifier {
            SequenceHead::Linear(output) => ops::linear_act(x, output, Activation::Identity),
            SequenceHead::Dense(head) => {
                let x = self
                    .dropout
                    .forward(ops::linear_act(x, &head.dense, Activation::Tanh));
                ops::linear_act(x, &head.out_proj, Activation::Identity)
            }
        }
    }
}

/// The encoder with a classifier of each token: `BertForTokenClassification` and its like.
#[derive(Module, Debug)]
pub struct BertForTokenClassification {
    /// The encoder.
    pub bert: Bert,
    classifier: Linear,
    dropout: Dropout,
}

impl BertForTokenClassification {
    /// Logits of each token.
    ///
    /// # Shapes
    /// - output: `[batch, seq, num_labels]`
    pub fn forward(&self, input: &EncoderInput) -> Tensor<3> {
        self.head(self.bert.forward(input))
    }

    /// Logits of hidden states.
    ///
    /// # Shapes
    /// - `hidden`: `[batch, seq, hidden_size]`
    /// - output: `[batch, seq, num_labels]`
    pub fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        let x = self.dropout.forward(hidden);
        ops::linear_act(x, &self.classifier, Activation::Identity)
    }
}

/// The encoder with a head that marks the answer in a text: `BertForQuestionAnswering` and its
/// like.
#[derive(Module, Debug)]
pub struct BertForQuestionAnswering {
    /// The encoder.
    pub bert: Bert,
    qa_outputs: Linear,
    dropout: Dropout,
}

impl BertForQuestionAnswering {
    /// Logits of each token to be the answer's first (`[.., 0]`) and last (`[.., 1]`) one.
    ///
    /// # Shapes
    /// - output: `[batch, seq, 2]`
    pub fn forward(&self, input: &EncoderInput) -> Tensor<3> {
        self.head(self.bert.forward(input))
    }

    /// Logits of hidden states.
    ///
    /// # Shapes
    /// - `hidden`: `[batch, seq, hidden_size]`
    /// - output: `[batch, seq, 2]`
    pub fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        let x = self.dropout.forward(hidden);
        ops::linear_act(x, &self.qa_outputs, Activation::Identity)
    }
}
