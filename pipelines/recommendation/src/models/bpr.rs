//! Matrix factorisation trained by Bayesian personalised ranking (Rendle, Freudenthaler, Gantner and
//! Schmidt-Thieme, 2009).
//!
//! A score is the scalar product of a user's and an item's vector; the loss asks that the items that a user has score above
//! those drawn from the others. Layout, initial values (Xavier-normal) and loss are those of RecBole 1.2.1's `BPR`, which
//! adds 1e-10 within the logarithm where this one computes it stably. RecBole's tables have a row 0 for padding more.

use super::factors::{Factors, FoldIn};
use crate::preprocess::PairBatch;
use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, Initializer},
    tensor::{Device, Int, Tensor, activation::log_sigmoid},
};
use panoply_core::{
    Error, Result,
    fit::{StepOutput, Trainable},
    host,
};
use serde::{Deserialize, Serialize};

/// How a user whom training has not seen is folded in: least squares on the items' vectors.
pub const FOLD_IN: FoldIn = FoldIn {
    alpha: 10.0,
    regularization: 0.1,
};

/// Sizes of [`Bpr`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BprConfig {
    /// Numbers of a vector. Default 64.
    pub embedding_size: usize,
}

impl Default for BprConfig {
    fn default() -> Self {
        Self { embedding_size: 64 }
    }
}

impl BprConfig {
    /// Fresh vectors of `num_users` users and `num_items` items.
    ///
    /// # Errors
    /// Vectors without numbers.
    pub fn init(&self, [num_users, num_items]: [usize; 2], device: &Device) -> Result<Bpr> {
        if self.embedding_size == 0 {
            return Err(Error::input("model.embedding_size", "0", "at least 1"));
        }
        let table = |rows| xavier_normal(rows, self.embedding_size, device);
        Ok(Bpr {
            user_embedding: table(num_users),
            item_embedding: table(num_items),
        })
    }
}

/// A table whose values are normal with the variance 2 / (rows + features): `torch.nn.init.xavier_normal_`.
pub fn xavier_normal(rows: usize, features: usize, device: &Device) -> Embedding {
    let std = (2.0 / (rows + features) as f64).sqrt();
    let initializer = Initializer::Normal { mean: 0.0, std };
    let config = EmbeddingConfig::new(rows, features).with_initializer(initializer);
    config.init(device)
}

/// Vectors of users and items.
#[derive(Module, Debug)]
pub struct Bpr {
    /// `[users, embedding_size]`.
    pub user_embedding: Embedding,
    /// `[items, embedding_size]`.
    pub item_embedding: Embedding,
}

impl Bpr {
    /// The score of each user's item.
    ///
    /// # Shapes
    /// `users`, `items`: `[batch]`; the result: `[batch]`.
    pub fn forward(&self, users: Tensor<1, Int>, items: Tensor<1, Int>) -> Tensor<1> {
        scalar_products(
            rows(&self.user_embedding, users),
            rows(&self.item_embedding, items),
        )
    }

    /// The trained vectors.
    ///
    /// # Errors
    /// What the device says when it is read.
    pub fn factors(&self) -> Result<Factors> {
        let [_, dim] = self.user_embedding.weight.dims();
        let users = host::to_vec(self.user_embedding.weight.val())?;
        let items = host::to_vec(self.item_embedding.weight.val())?;
        Ok(Factors::new(dim, users, items, FOLD_IN))
    }
}

impl Trainable for Bpr {
    type Batch = PairBatch;

    fn loss(&self, batch: PairBatch) -> StepOutput {
        let num_samples = batch.len();
        let users = rows(&self.user_embedding, batch.users);
        let positives = rows(&self.item_embedding, batch.positives);
        let negatives = rows(&self.item_embedding, batch.negatives);
        StepOutput {
            loss: bpr_loss(
                scalar_products(users.clone(), positives),
                scalar_products(users, negatives),
            ),
            num_samples,
            metrics: Vec::new(),
        }
    }
}

/// The mean of -ln σ(positive - negative), `[1]`.
///
/// # Shapes
/// `positives`, `negatives`: `[batch]`.
pub fn bpr_loss(positives: Tensor<1>, negatives: Tensor<1>) -> Tensor<1> {
    log_sigmoid(positives - negatives).mean().neg()
}

/// Rows of a table, `[batch, features]`.
pub fn rows(table: &Embedding, indices: Tensor<1, Int>) -> Tensor<2> {
    table.weight.val().select(0, indices)
}

/// Scalar products row by row: `[batch, features]` twice to `[batch]`.
pub fn scalar_products(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    (a * b).sum_dim(1).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        models::{Query, Recommender},
        preprocess::Pair,
    };

    #[test]
    fn the_loss_is_the_mean_over_pairs() {
        let device = Device::flex();
        let positives = Tensor::<1>::from_data([2.0, 0.0], &device);
        let negatives = Tensor::<1>::from_data([1.0, 0.0], &device);
        let loss = host::to_vec(bpr_loss(positives, negatives)).unwrap()[0];
        let expected = f32::midpoint((1.0 + (-1.0_f32).exp()).ln(), 2.0_f32.ln());
        assert!((loss - expected).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn vectors_give_the_scores_of_the_forward_pass() {
        let device = Device::flex();
        device.seed(3);
        let model = BprConfig { embedding_size: 4 }
            .init([2, 3], &device)
            .unwrap();
        let factors = model.factors().unwrap();
        let scores = factors
            .scores(&[Query {
                user: Some(1),
                history: &[],
            }])
            .unwrap();
        let users = Tensor::<1, Int>::from_data([1, 1, 1], &device);
        let items = Tensor::<1, Int>::from_data([0, 1, 2], &device);
        let forward = host::to_vec(model.forward(users, items)).unwrap();
        assert!(
            scores
                .iter()
                .zip(&forward)
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
        let pair = Pair {
            user: 0,
            positive: 1,
            negative: 2,
        };
        let step = model.loss(PairBatch::new(&[pair], &device));
        assert!(step.num_samples == 1 && host::to_vec(step.loss).unwrap()[0] > 0.0);
        assert!(
            BprConfig { embedding_size: 0 }
                .init([2, 3], &device)
                .is_err()
        );
    }
}
