//! A tagger of characters: embeddings, a bidirectional recurrent network, a linear-chain CRF.
//!
//! Huang, Xu and Yu, "Bidirectional LSTM-CRF Models for Sequence Tagging" (2015, arXiv:1508.01991);
//! with the two bigrams around each character as further input as in Ma, Ganchev and Weiss,
//! "State-of-the-art Chinese Word Segmentation with Bi-LSTMs" (EMNLP 2018). The reference is the
//! PyTorch twin of `tests/fixtures/tagger/reference.py`: `nn.Embedding`, `nn.LSTM` or `nn.GRU` over
//! packed sequences, `nn.Linear`, and `pytorch-crf`. Differences: none in the numbers.

use burn::{
    config::Config,
    module::Module,
    nn::{Dropout, DropoutConfig, Embedding, EmbeddingConfig, Linear},
    tensor::{Device, Int, Tensor},
};
use panoply_core::{
    Result,
    nn::{Activation, Crf, CrfConfig, LinearInit, Rnn, RnnConfig, RnnKind, linear, ops},
    weights::{self, KeyMap, LoadReport, SaveDtype},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// PyTorch's names of the recurrent layers.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        (
            "rnn.weight_ih_l{}_reverse",
            "rnn.layers.{}.reverse.weight_ih",
        ),
        (
            "rnn.weight_hh_l{}_reverse",
            "rnn.layers.{}.reverse.weight_hh",
        ),
        ("rnn.bias_ih_l{}_reverse", "rnn.layers.{}.reverse.bias_ih"),
        ("rnn.bias_hh_l{}_reverse", "rnn.layers.{}.reverse.bias_hh"),
        ("rnn.weight_ih_l{}", "rnn.layers.{}.forward.weight_ih"),
        ("rnn.weight_hh_l{}", "rnn.layers.{}.forward.weight_hh"),
        ("rnn.bias_ih_l{}", "rnn.layers.{}.forward.bias_ih"),
        ("rnn.bias_hh_l{}", "rnn.layers.{}.forward.bias_hh"),
    ],
    dropped: &[],
    ..KeyMap::IDENTITY
};

/// Configuration of [`Tagger`]: what `config.json` holds.
#[derive(Config, Debug)]
pub struct TaggerConfig {
    /// Name of the architecture, see [`ARCHITECTURES`].
    pub architecture: String,
    /// Rows of the character embedding.
    pub num_chars: usize,
    /// Rows of the bigram embedding; 0 for a tagger without bigrams.
    pub num_bigrams: usize,
    /// Tags.
    pub num_tags: usize,
    /// Features of a character.
    #[config(default = 64)]
    pub char_dim: usize,
    /// Features of a bigram.
    #[config(default = 32)]
    pub bigram_dim: usize,
    /// Rows, features a row, and rows a character of the embedding of lexicon features; `None` for a
    /// tagger without.
    pub lexicon: Option<LexiconConfig>,
    /// Features of the hidden state in each direction.
    #[config(default = 128)]
    pub hidden_size: usize,
    /// Recurrent layers.
    #[config(default = 1)]
    pub num_layers: usize,
    /// Dropout on the embeddings, between layers, and before the tags' scores.
    #[config(default = 0.3)]
    pub dropout: f64,
}

/// The embedding of lexicon features in a [`TaggerConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LexiconConfig {
    /// Rows of the embedding.
    pub rows: usize,
    /// Features of a row.
    pub dim: usize,
    /// Rows that each character has.
    pub per_char: usize,
}

/// Architectures by name, with their recurrence.
pub const ARCHITECTURES: [(&str, RnnKind); 2] =
    [("bilstm_crf", RnnKind::Lstm), ("bigru_crf", RnnKind::Gru)];

/// The network.
///
/// Should be created with [`TaggerConfig`].
#[derive(Module, Debug)]
pub struct Tagger {
    /// `[num_chars, char_dim]`.
    pub char_embedding: Embedding,
    /// `[num_bigrams, bigram_dim]`.
    pub bigram_embedding: Option<Embedding>,
    /// `[lexicon.rows, lexicon.dim]`.
    pub lexicon_embedding: Option<Embedding>,
    /// Acts in training only.
    pub dropout: Dropout,
    /// Reads the sentence in both directions.
    pub rnn: Rnn,
    /// From hidden states to scores of tags.
    pub classifier: Linear,
    /// Scores of tags after tags.
    pub crf: Crf,
}

/// A batch of sentences, padded with any row numbers.
#[derive(Clone, Debug)]
pub struct TaggerInput {
    /// Rows of the character embedding, `[batch, seq]`.
    pub chars: Tensor<2, Int>,
    /// Rows of the bigram embedding: of the bigram that ends at each character and of the one that
    /// begins there, `[batch, seq, 2]`. Not read by a tagger without bigrams.
    pub bigrams: Option<Tensor<3, Int>>,
    /// Rows of the embedding of lexicon features, `[batch, seq, lexicon.per_char]`. Not read by a
    /// tagger without.
    pub lexicon: Option<Tensor<3, Int>>,
    /// Characters of each sentence.
    pub lengths: Vec<usize>,
}

impl TaggerConfig {
    /// A new network.
    ///
    /// # Errors
    /// An unknown architecture.
    pub fn init(&self, device: &Device) -> Result<Tagger> {
        let names = ARCHITECTURES.map(|(name, _)| name);
        let known = ARCHITECTURES
            .iter()
            .find(|(name, _)| *name == self.architecture);
        let (_, kind) = known.ok_or_else(|| {
            panoply_core::Error::unknown("architecture", &self.architecture, names)
        })?;
        let bigrams = self.num_bigrams > 0;
        let lexicon_size = self
            .lexicon
            .map_or(0, |lexicon| lexicon.per_char * lexicon.dim);
        let bigram_size = if bigrams { 2 * self.bigram_dim } else { 0 };
        let input_size = self.char_dim + bigram_size + lexicon_size;
        let rnn = RnnConfig::new(*kind, input_size, self.hidden_size)
            .with_num_layers(self.num_layers)
            .with_bidirectional(true)
            .with_dropout(self.dropout);
        let features = [2 * self.hidden_size, self.num_tags];
        let embedding = |rows, dim| EmbeddingConfig::new(rows, dim).init(device);
        Ok(Tagger {
            char_embedding: embedding(self.num_chars, self.char_dim),
            bigram_embedding: bigrams.then(|| embedding(self.num_bigrams, self.bigram_dim)),
            lexicon_embedding: self
                .lexicon
                .map(|lexicon| embedding(lexicon.rows, lexicon.dim)),
            dropout: DropoutConfig::new(self.dropout).init(),
            rnn: rnn.init(device),
            classifier: linear(features, true, LinearInit::FanIn, device),
            crf: CrfConfig::new(self.num_tags).init(device),
        })
    }
}

impl Tagger {
    /// Scores of the tags of each character, to be decoded by [`crf`](Self::crf).
    ///
    /// # Shapes
    /// - `input`: `[batch, seq]`
    /// - output: `[batch, seq, num_tags]`
    pub fn emissions(&self, input: &TaggerInput) -> Tensor<3> {
        self.walk(input, &mut |_, _| {})
    }

    /// As [`emissions`](Self::emissions); `see` is shown the output of each stage.
    pub fn walk(
        &self,
        input: &TaggerInput,
        see: &mut dyn FnMut(&'static str, &Tensor<3>),
    ) -> Tensor<3> {
        let x = self.dropout.forward(self.embed(input));
        see("embeddings", &x);
        let h = self.rnn.forward(x, &input.lengths);
        see("rnn", &h);
        let h = self.dropout.forward(h);
        let emissions = ops::linear_act(h, &self.classifier, Activation::Identity);
        see("emissions", &emissions);
        emissions
    }

    /// `[batch, seq, char_dim + 2 * bigram_dim + lexicon.per_char * lexicon.dim]`.
    fn embed(&self, input: &TaggerInput) -> Tensor<3> {
        let mut parts = vec![self.char_embedding.forward(input.chars.clone())];
        let more = [
            (&self.bigram_embedding, &input.bigrams),
            (&self.lexicon_embedding, &input.lexicon),
        ];
        for (embedding, rows) in more {
            let (Some(embedding), Some(rows)) = (embedding, rows) else {
                continue;
            };
            let [batch, seq, each] = rows.dims();
            let flat = rows.clone().reshape([batch, seq * each]);
            let vectors = embedding.forward(flat);
            parts.push(vectors.reshape([batch as i64, seq as i64, -1]));
        }
        Tensor::cat(parts, 2)
    }

    /// Loads published weights.
    pub fn load(&mut self, path: &Path) -> Result<LoadReport> {
        weights::load(self, path, &KEY_MAP)
    }

    /// As [`load`](Self::load), from memory; `name` is for messages.
    pub fn load_bytes(&mut self, bytes: &[u8], name: &str) -> Result<LoadReport> {
        weights::load_bytes(self, bytes, name, &KEY_MAP)
    }

    /// Saves the weights as PyTorch's twin names them.
    pub fn save(&self, path: &Path, dtype: SaveDtype) -> Result<()> {
        weights::save(self, path, &KEY_MAP, dtype)
    }
}
