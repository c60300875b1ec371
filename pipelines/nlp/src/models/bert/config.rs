//! The published sizes, and `config.json`.

use super::super::hf_config::{HfConfig, activation_name, check_heads, wrong};
use super::{DISTILBERT_KEY_MAP, KEY_MAP, ROBERTA_KEY_MAP};
use panoply_core::{Result, nn::Activation, weights::KeyMap};
use serde_json::{Value, json};

/// A member of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// BERT and MiniLM.
    Bert,
    /// RoBERTa, XLM-RoBERTa and CamemBERT.
    Roberta,
    /// DistilBERT.
    DistilBert,
}

/// Configuration of [`Bert`](super::Bert) and its heads; fields are called as in BERT's `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Which member of the family.
    pub variant: Variant,
    /// Number of tokens.
    pub vocab_size: usize,
    /// Features of a token.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Features inside the perceptron.
    pub intermediate_size: usize,
    /// Of the perceptron, and of BERT's and DistilBERT's masked-token head.
    pub hidden_act: Activation,
    /// Rows of the table of positions. RoBERTa's sequences are `pad_token_id + 1` shorter.
    pub max_position_embeddings: usize,
    /// Number of token types; DistilBERT has none.
    pub type_vocab_size: usize,
    /// Added to the variance by the norms.
    pub layer_norm_eps: f64,
    /// The padding token.
    pub pad_token_id: usize,
    /// Dropout of embeddings and branches.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights.
    pub attention_probs_dropout_prob: f64,
    /// Dropout before a classifier.
    pub classifier_dropout: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    /// Number of classes of a classifier.
    pub num_labels: usize,
}

impl BertConfig {
    /// `bert-base-uncased`, 109 M parameters.
    pub fn bert_base() -> Self {
        Self {
            variant: Variant::Bert,
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: 0.1,
            initializer_range: 0.02,
            num_labels: 2,
        }
    }

    /// `bert-large-uncased`, 335 M parameters.
    pub fn bert_large() -> Self {
        Self {
            hidden_size: 1024,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            intermediate_size: 4096,
            ..Self::bert_base()
        }
    }

    /// `all-MiniLM-L6-v2` and its like, 23 M parameters.
    pub fn minilm_l6() -> Self {
        Self {
            hidden_size: 384,
            num_hidden_layers: 6,
            intermediate_size: 1536,
            ..Self::bert_base()
        }
    }

    /// `roberta-base`, 125 M parameters.
    pub fn roberta_base() -> Self {
        Self {
            variant: Variant::Roberta,
            vocab_size: 50265,
            max_position_embeddings: 514,
            type_vocab_size: 1,
            layer_norm_eps: 1e-5,
            pad_token_id: 1,
            ..Self::bert_base()
        }
    }

    /// `distilbert-base-uncased`, 66 M parameters.
    pub fn distilbert_base() -> Self {
        Self {
            variant: Variant::DistilBert,
            num_hidden_layers: 6,
            type_vocab_size: 0,
            classifier_dropout: 0.2,
            ..Self::bert_base()
        }
    }

    /// Two layers of 32 features, for tests and `debug` recipes.
    pub fn tiny(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            hidden_size: 32,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            intermediate_size: 64,
            max_position_embeddings: 64,
            ..Self::bert_base()
        }
    }

    /// Reads a `config.json` of `BertModel`, `RobertaModel` or `DistilBertModel` (or one of their
    /// heads); absent fields have the reference's defaults.
    pub fn from_hf(config: &Value) -> Result<Self> {
        let c = HfConfig(config);
        let read = match c.text("model_type")? {
            Some("bert") => Self::from_bert(&c, Self::bert_base())?,
            Some("roberta" | "xlm-roberta" | "camembert") => {
                let defaults = Self {
                    max_position_embeddings: 512,
                    type_vocab_size: 2,
                    layer_norm_eps: 1e-12,
                    ..Self::roberta_base()
                };
                Self::from_bert(&c, defaults)?
            }
            Some("distilbert") => Self::from_distilbert(&c)?,
            _ => {
                let found = c.get("model_type").unwrap_or(&Value::Null);
                return Err(wrong("model_type", found, "bert, roberta or distilbert"));
            }
        };
        check_heads(read.num_attention_heads, read.hidden_size)?;
        Ok(read)
    }

    fn from_bert(c: &HfConfig<'_>, d: Self) -> Result<Self> {
        c.only("position_embedding_type", &json!("absolute"))?;
        c.only("is_decoder", &json!(false))?;
        let hidden_dropout_prob = c.dropout("hidden_dropout_prob", d.hidden_dropout_prob)?;
        Ok(Self {
            variant: d.variant,
            vocab_size: c.size("vocab_size", d.vocab_size)?,
            hidden_size: c.size("hidden_size", d.hidden_size)?,
            num_hidden_layers: c.size("num_hidden_layers", d.num_hidden_layers)?,
            num_attention_heads: c.size("num_attention_heads", d.num_attention_heads)?,
            intermediate_size: c.size("intermediate_size", d.intermediate_size)?,
            hidden_act: c.activation("hidden_act", d.hidden_act)?,
            max_position_embeddings: c
                .size("max_position_embeddings", d.max_position_embeddings)?,
            type_vocab_size: c.size("type_vocab_size", d.type_vocab_size)?,
            layer_norm_eps: c.positive("layer_norm_eps", d.layer_norm_eps)?,
            pad_token_id: c.count("pad_token_id", d.pad_token_id)?,
            hidden_dropout_prob,
            attention_probs_dropout_prob: c.dropout(
                "attention_probs_dropout_prob",
                d.attention_probs_dropout_prob,
            )?,
            classifier_dropout: c.dropout("classifier_dropout", hidden_dropout_prob)?,
            initializer_range: c.positive("initializer_range", d.initializer_range)?,
            num_labels: c.num_labels()?,
        })
    }

    fn from_distilbert(c: &HfConfig<'_>) -> Result<Self> {
        let d = Self::distilbert_base();
        Ok(Self {
            vocab_size: c.size("vocab_size", d.vocab_size)?,
            hidden_size: c.size("dim", d.hidden_size)?,
            num_hidden_layers: c.size("n_layers", d.num_hidden_layers)?,
            num_attention_heads: c.size("n_heads", d.num_attention_heads)?,
            intermediate_size: c.size("hidden_dim", d.intermediate_size)?,
            hidden_act: c.activation("activation", d.hidden_act)?,
            max_position_embeddings: c
                .size("max_position_embeddings", d.max_position_embeddings)?,
            pad_token_id: c.count("pad_token_id", d.pad_token_id)?,
            hidden_dropout_prob: c.dropout("dropout", d.hidden_dropout_prob)?,
            attention_probs_dropout_prob: c
                .dropout("attention_dropout", d.attention_probs_dropout_prob)?,
            classifier_dropout: c.dropout("seq_classif_dropout", d.classifier_dropout)?,
            initializer_range: c.positive("initializer_range", d.initializer_range)?,
            num_labels: c.num_labels()?,
            ..d
        })
    }

    /// The `config.json` that [`from_hf`](Self::from_hf) and `transformers` read.
    pub fn to_hf(&self) -> Value {
        let common = json!({
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings,
            "pad_token_id": self.pad_token_id,
            "initializer_range": self.initializer_range,
            "num_labels": self.num_labels,
        });
        let act = activation_name(self.hidden_act);
        let own = match self.variant {
            Variant::DistilBert => json!({
                "model_type": "distilbert",
                "dim": self.hidden_size,
                "n_layers": self.num_hidden_layers,
                "n_heads": self.num_attention_heads,
                "hidden_dim": self.intermediate_size,
                "activation": act,
                "dropout": self.hidden_dropout_prob,
                "attention_dropout": self.attention_probs_dropout_prob,
                "seq_classif_dropout": self.classifier_dropout,
            }),
            _ => json!({
                "model_type": if self.variant == Variant::Bert { "bert" } else { "roberta" },
                "hidden_size": self.hidden_size,
                "num_hidden_layers": self.num_hidden_layers,
                "num_attention_heads": self.num_attention_heads,
                "intermediate_size": self.intermediate_size,
                "hidden_act": act,
                "type_vocab_size": self.type_vocab_size,
                "layer_norm_eps": self.layer_norm_eps,
                "hidden_dropout_prob": self.hidden_dropout_prob,
                "attention_probs_dropout_prob": self.attention_probs_dropout_prob,
                "classifier_dropout": self.classifier_dropout,
            }),
        };
        let objects = [own, common].into_iter();
        objects
            .filter_map(|value| match value {
                Value::Object(fields) => Some(fields),
                _ => None,
            })
            .flatten()
            .collect()
    }

    /// Keys of the published weights.
    pub fn key_map(&self) -> &'static KeyMap {
        match self.variant {
            Variant::Bert => &KEY_MAP,
            Variant::Roberta => &ROBERTA_KEY_MAP,
            Variant::DistilBert => &DISTILBERT_KEY_MAP,
        }
    }

    /// Longest sequence, special tokens included.
    pub fn max_length(&self) -> usize {
        match self.variant {
            Variant::Roberta => self
                .max_position_embeddings
                .saturating_sub(self.pad_token_id + 1),
            _ => self.max_position_embeddings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_survive_the_published_spelling() {
        for config in [
            BertConfig::bert_base(),
            BertConfig::roberta_base(),
            BertConfig::distilbert_base(),
            BertConfig::tiny(90),
        ] {
            assert_eq!(BertConfig::from_hf(&config.to_hf()).unwrap(), config);
        }
        assert_eq!(BertConfig::roberta_base().max_length(), 512);
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        let refuse = |change: Value| {
            let mut config = BertConfig::bert_base().to_hf();
            let fields = change.as_object().unwrap().clone();
            config.as_object_mut().unwrap().extend(fields);
            BertConfig::from_hf(&config).unwrap_err().to_string()
        };
        assert!(refuse(json!({"model_type": "t5"})).contains("model_type \"t5\""));
        assert!(
            refuse(json!({"position_embedding_type": "relative_key"})).contains("relative_key")
        );
        assert!(refuse(json!({"num_attention_heads": 7})).contains("7 attention heads"));
        assert!(refuse(json!({"hidden_act": "softplus"})).contains("hidden_act"));
    }
}
