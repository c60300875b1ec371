//! SASRec (Kang and McAuley, "Self-Attentive Sequential Recommendation", 2018): the next item of a sequence by causal
//! self-attention over the items so far.
//!
//! The network is that of RecBole 1.2.1's `SASRec`: vectors of items and of positions added and normalised, layers of
//! attention and perceptron, each added to its input and then normalised (the paper normalises first, and adds a layer at
//! the end), a score by the scalar product with the items' vectors. Row 0 of the items' table is padding, as there: item
//! `i` has row `i + 1`. RecBole hides padding by adding -10,000 to its attention score; here it stands behind the items,
//! where causal attention does not see it.
//!
//! Training is the paper's: a sequence is one sample, and every position of it predicts the next item, by binary cross
//! entropy with one drawn item ([`SasRecLoss::Bce`]) or by cross entropy over all items ([`SasRecLoss::Ce`]). RecBole makes
//! every beginning of a sequence a sample of its own, and predicts one item of each.

use super::{Query, Recommender, check_items, cosines};
use crate::preprocess::sequences::SequenceBatch;
use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Embedding, LayerNorm, LayerNormConfig},
    tensor::{Device, Int, Tensor, activation::log_sigmoid},
};
use panoply_core::{
    Error, Result,
    fit::{StepOutput, Targets, Trainable, cross_entropy},
    host,
    nn::{
        Activation, Attention, AttentionConfig, AttentionInput, LinearInit, Mlp, MlpConfig,
        embedding, ops,
    },
    weights::{self, KeyMap, SaveDtype},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// RecBole's names.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("LayerNorm.{}", "norm.{}"),
        (
            "trm_encoder.layer.{}.multi_head_attention.query.{}",
            "layers.{}.attention.q.{}",
        ),
        (
            "trm_encoder.layer.{}.multi_head_attention.key.{}",
            "layers.{}.attention.k.{}",
        ),
        (
            "trm_encoder.layer.{}.multi_head_attention.value.{}",
            "layers.{}.attention.v.{}",
        ),
        (
            "trm_encoder.layer.{}.multi_head_attention.dense.{}",
            "layers.{}.attention.out.{}",
        ),
        (
            "trm_encoder.layer.{}.multi_head_attention.LayerNorm.{}",
            "layers.{}.attention_norm.{}",
        ),
        (
            "trm_encoder.layer.{}.feed_forward.dense_1.{}",
            "layers.{}.mlp.fc1.{}",
        ),
        (
            "trm_encoder.layer.{}.feed_forward.dense_2.{}",
            "layers.{}.mlp.fc2.{}",
        ),
        (
            "trm_encoder.layer.{}.feed_forward.LayerNorm.{}",
            "layers.{}.mlp_norm.{}",
        ),
    ],
    ..KeyMap::IDENTITY
};

/// What each position of a sequence is trained by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SasRecLoss {
    /// Binary cross entropy of the next item and of one that the user has not: the paper's.
    #[default]
    Bce,
    /// Cross entropy of the next item over all items: RecBole's default.
    Ce,
}

/// Sizes of [`SasRec`] and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SasRecConfig {
    /// Layers. Default 2.
    pub n_layers: usize,
    /// Heads; they divide `hidden_size`. Default 2.
    pub n_heads: usize,
    /// Features of items and positions. Default 64.
    pub hidden_size: usize,
    /// Features within the perceptrons. Default 256.
    pub inner_size: usize,
    /// Dropout of vectors, of attention's output and of the perceptrons'. Default 0.5.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights. Default 0.5.
    pub attn_dropout_prob: f64,
    /// Within the perceptrons. Default `gelu`.
    pub hidden_act: Activation,
    /// Added to the variance in norms. Default 1e-12.
    pub layer_norm_eps: f64,
    /// Standard deviation of the initial weights. Default 0.02.
    pub initializer_range: f64,
    /// The last so many items of a sequence are looked at. Default 50.
    pub max_seq_length: usize,
    /// Default `BCE`.
    pub loss_type: SasRecLoss,
}

impl Default for SasRecConfig {
    fn default() -> Self {
        Self {
            n_layers: 2,
            n_heads: 2,
            hidden_size: 64,
            inner_size: 256,
            hidden_dropout_prob: 0.5,
            attn_dropout_prob: 0.5,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            initializer_range: 0.02,
            max_seq_length: 50,
            loss_type: SasRecLoss::Bce,
        }
    }
}

impl SasRecConfig {
    /// A fresh model over `num_items` items.
    ///
    /// # Errors
    /// Sizes of 0, heads that do not divide the features, numbers outside their ranges.
    pub fn init(&self, num_items: usize, device: &Device) -> Result<SasRec> {
        self.validate()?;
        let table = |count| embedding(count, self.hidden_size, self.initializer_range, device);
        Ok(SasRec {
            item_embedding: table(num_items + 1),
            position_embedding: table(self.max_seq_length),
            norm: self.norm(device),
            dropout: DropoutConfig::new(self.hidden_dropout_prob).init(),
            layers: (0..self.n_layers).map(|_| self.layer(device)).collect(),
            loss_type: self.loss_type,
        })
    }

    fn layer(&self, device: &Device) -> SasRecLayer {
        let init = LinearInit::Normal(self.initializer_range);
        SasRecLayer {
            attention: AttentionConfig::new(self.hidden_size, self.n_heads)
                .with_dropout(self.attn_dropout_prob)
                .with_init(init)
                .init(device),
            attention_norm: self.norm(device),
            mlp: MlpConfig::new(self.hidden_size, self.inner_size)
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

    fn validate(&self) -> Result<()> {
        let sizes = [
            ("n_layers", self.n_layers),
            ("n_heads", self.n_heads),
            ("hidden_size", self.hidden_size),
            ("inner_size", self.inner_size),
            ("max_seq_length", self.max_seq_length),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(Error::input(format!("model.{name}"), "0", "at least 1"));
        }
        if !self.hidden_size.is_multiple_of(self.n_heads) {
            let expected = format!("a divisor of hidden_size, {}", self.hidden_size);
            return Err(Error::input(
                "model.n_heads",
                self.n_heads.to_string(),
                expected,
            ));
        }
        let shares = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attn_dropout_prob", self.attn_dropout_prob),
        ];
        if let Some((name, found)) = shares.iter().find(|(_, p)| !(0.0..1.0).contains(p)) {
            return Err(Error::input(
                format!("model.{name}"),
                found.to_string(),
                "in [0, 1)",
            ));
        }
        let positive = [
            ("layer_norm_eps", self.layer_norm_eps),
            ("initializer_range", self.initializer_range),
        ];
        match positive.iter().find(|(_, x)| !(x.is_finite() && *x > 0.0)) {
            None => Ok(()),
            Some((name, found)) => {
                let expected = "a positive number";
                Err(Error::input(
                    format!("model.{name}"),
                    found.to_string(),
                    expected,
                ))
            }
        }
    }
}

/// A layer: attention and perceptron, each added to its input and then normalised.
#[derive(Module, Debug)]
pub struct SasRecLayer {
    /// Over the items so far.
    pub attention: Attention,
    /// After it.
    pub attention_norm: LayerNorm,
    /// With its own dropout.
    pub mlp: Mlp,
    /// After it.
    pub mlp_norm: LayerNorm,
    /// Of the attention's output; acts in training only.
    pub dropout: Dropout,
}

impl SasRecLayer {
    /// # Shapes
    /// `x`, output: `[batch, seq, hidden_size]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let attended = self
            .attention
            .forward(AttentionInput::new(x.clone()).causal());
        let x = self
            .attention_norm
            .forward(x + self.dropout.forward(attended));
        self.mlp_norm.forward(x.clone() + self.mlp.forward(x))
    }
}

/// Causal self-attention over items.
#[derive(Module, Debug)]
pub struct SasRec {
    /// `[items + 1, hidden_size]`; row 0 is padding.
    pub item_embedding: Embedding,
    /// `[max_seq_length, hidden_size]`.
    pub position_embedding: Embedding,
    /// Of the sum of both.
    pub norm: LayerNorm,
    /// After it; acts in training only.
    pub dropout: Dropout,
    /// One after the other.
    pub layers: Vec<SasRecLayer>,
    #[module(skip)]
    loss_type: SasRecLoss,
}

impl SasRec {
    /// What each position makes of the items up to it.
    ///
    /// # Shapes
    /// - `rows`: `[batch, seq]`, rows of the items' table, padding behind them; at most `max_seq_length` of them
    /// - output: `[batch, seq, hidden_size]`
    pub fn forward(&self, rows: Tensor<2, Int>) -> Tensor<3> {
        let [_, seq] = rows.dims();
        let positions = Tensor::<1, Int>::arange(0..seq as i64, &rows.device()).unsqueeze();
        let x = self.item_embedding.forward(rows) + self.position_embedding.forward(positions);
        let x = self.dropout.forward(self.norm.forward(x));
        self.layers.iter().fold(x, |x, layer| layer.forward(x))
    }

    /// Number of items.
    pub fn num_items(&self) -> usize {
        self.item_embedding.weight.dims()[0] - 1
    }

    /// Longest sequence that is looked at.
    pub fn max_seq_length(&self) -> usize {
        self.position_embedding.weight.dims()[0]
    }
}

impl Trainable for SasRec {
    type Batch = SequenceBatch;

    fn loss(&self, batch: SequenceBatch) -> StepOutput {
        let [num_samples, seq] = batch.rows.dims();
        let x = self.forward(batch.rows);
        let features = x.dims()[2];
        // Positions with a next item, one below the other.
        let x = x
            .reshape([num_samples * seq, features])
            .select(0, batch.positions);
        let table = self.item_embedding.weight.val();
        let loss = match self.loss_type {
            SasRecLoss::Ce => {
                let logits = ops::tied_linear(x, table, None);
                cross_entropy(logits, Targets::Classes(batch.targets), 0.0)
            }
            SasRecLoss::Bce => {
                let score = |rows| (x.clone() * table.clone().select(0, rows)).sum_dim(1);
                let right = log_sigmoid(score(batch.targets)).mean();
                let wrong = log_sigmoid(score(batch.negatives).neg()).mean();
                (right + wrong).neg()
            }
        };
        StepOutput {
            loss,
            num_samples,
            metrics: Vec::new(),
        }
    }
}

/// A trained [`SasRec`] that scores all items by a history.
pub struct SasRecRecommender {
    model: SasRec,
}

impl SasRecRecommender {
    /// Histories of one forward pass.
    const CHUNK: usize = 64;

    /// The recommender of a trained model.
    pub fn new(model: &SasRec) -> Self {
        Self {
            model: model.valid(),
        }
    }

    /// The recommender out of the file that [`save`](Recommender::save) wrote, or RecBole.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn load(
        config: &SasRecConfig,
        num_items: usize,
        path: &Path,
        device: &Device,
    ) -> Result<Self> {
        let mut model = config.init(num_items, device)?;
        weights::load(&mut model, path, &KEY_MAP)?;
        Ok(Self::new(&model))
    }

    /// What the last items of each history lead to, `[histories, hidden_size]`.
    fn states(&self, histories: &[&[u32]], device: &Device) -> Tensor<2> {
        let most = self.model.max_seq_length();
        let last = |history: &[u32]| history.len().min(most).max(1) - 1;
        let seq = histories
            .iter()
            .map(|history| last(history) + 1)
            .max()
            .unwrap_or(1);
        let mut rows = vec![0_i64; histories.len() * seq];
        let mut ends = Vec::with_capacity(histories.len());
        for (at, history) in histories.iter().enumerate() {
            let recent = &history[history.len().saturating_sub(most)..];
            for (slot, &item) in rows[at * seq..].iter_mut().zip(recent) {
                *slot = i64::from(item) + 1;
            }
            ends.push((at * seq + last(history)) as i64);
        }
        let ints = |values: Vec<i64>| Tensor::<1, Int>::from_data(values.as_slice(), device);
        let x = self
            .model
            .forward(ints(rows).reshape([histories.len(), seq]));
        let features = x.dims()[2];
        x.reshape([histories.len() * seq, features])
            .select(0, ints(ends))
    }
}

impl Recommender for SasRecRecommender {
    fn num_items(&self) -> usize {
        self.model.num_items()
    }

    fn scores(&self, queries: &[Query<'_>]) -> Result<Vec<f32>> {
        let num_items = self.num_items();
        let table = self.model.item_embedding.weight.val();
        let items = table.clone().narrow(0, 1, num_items);
        let mut scores = Vec::with_capacity(queries.len() * num_items);
        for chunk in queries.chunks(Self::CHUNK) {
            let histories: Vec<&[u32]> = chunk.iter().map(|query| query.history).collect();
            for history in &histories {
                check_items(history, num_items)?;
            }
            let states = self.states(&histories, &table.device());
            scores.extend(host::to_vec(ops::tied_linear(states, items.clone(), None))?);
        }
        Ok(scores)
    }

    /// Cosines of the items' vectors.
    fn similarities(&self, item: u32) -> Result<Vec<f32>> {
        check_items(&[item], self.num_items())?;
        let table = self.model.item_embedding.weight.val();
        cosines(table.narrow(0, 1, self.num_items()), item)
    }

    fn is_history_based(&self) -> bool {
        true
    }

    fn is_sequential(&self) -> bool {
        true
    }

    fn num_params(&self) -> usize {
        weights::num_params(&self.model)
    }

    fn save(&self, path: &Path) -> Result<()> {
        weights::save(&self.model, path, &KEY_MAP, SaveDtype::F32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> SasRecConfig {
        SasRecConfig {
            hidden_size: 8,
            inner_size: 12,
            max_seq_length: 4,
            initializer_range: 0.5,
            ..SasRecConfig::default()
        }
    }

    #[test]
    fn scores_depend_on_the_last_items_and_on_no_other_history() {
        let device = Device::flex();
        device.seed(1);
        let model = tiny().init(6, &device).unwrap();
        let recommender = SasRecRecommender::new(&model);
        let of = |history: &[u32]| recommender.scores(&[Query::cold(history)]).unwrap();
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        let both = recommender
            .scores(&[Query::cold(&[1, 2]), Query::cold(&[5, 4, 3, 2, 1])])
            .unwrap();
        assert!(near(&both[..6], &of(&[1, 2])) && near(&both[6..], &of(&[4, 3, 2, 1])));
        assert!(!near(&of(&[1, 2]), &of(&[2, 1])));
        assert_eq!(of(&[]).len(), 6);
        assert!(recommender.scores(&[Query::cold(&[6])]).is_err());

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        recommender.save(&path).unwrap();
        let again = SasRecRecommender::load(&tiny(), 6, &path, &device).unwrap();
        assert_eq!(again.scores(&[Query::cold(&[1, 2])]).unwrap(), of(&[1, 2]));
        assert_eq!(recommender.similarities(5).unwrap().len(), 6);
    }

    #[test]
    fn bad_sizes_are_named() {
        for (config, name) in [
            (
                SasRecConfig {
                    n_heads: 3,
                    ..tiny()
                },
                "n_heads",
            ),
            (
                SasRecConfig {
                    n_layers: 0,
                    ..tiny()
                },
                "n_layers",
            ),
            (
                SasRecConfig {
                    hidden_dropout_prob: 1.0,
                    ..tiny()
                },
                "hidden_dropout_prob",
            ),
            (
                SasRecConfig {
                    layer_norm_eps: f64::NAN,
                    ..tiny()
                },
                "layer_norm_eps",
            ),
        ] {
            let error = config.init(6, &Device::flex()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
