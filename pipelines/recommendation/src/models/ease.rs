//! Embarrassingly shallow autoencoders for sparse data (Steck, 2019): a linear model of items by items, in closed
//! form.
//!
//! Of all matrices B with a diagonal of zeros, EASE takes the one with the least
//! `||X - XB||² + reg_weight ||B||²`: with `P = (X'X + reg_weight I)⁻¹` it is `B_ij = -P_ij / P_jj`. The inverse comes
//! from a Cholesky factorisation in f64 (faer); RecBole 1.2.1's `EASE` takes `numpy.linalg.inv` in f32.

use super::{Query, Recommender, check_items};
use faer::{Mat, Side, linalg::solvers::DenseSolveCore};
use panoply_core::{Error, Result, weights::Arrays};
use panoply_datasets::interactions::Csr;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// More would need tens of gigabytes: the closed form holds matrices of items by items.
const MAX_ITEMS: usize = 30_000;

/// Settings of [`Ease`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EaseConfig {
    /// Weight of the L2 regularisation, λ. Default 250.
    pub reg_weight: f64,
}

impl Default for EaseConfig {
    fn default() -> Self {
        Self { reg_weight: 250.0 }
    }
}

/// The weights from items to items.
#[derive(Clone, Debug, PartialEq)]
pub struct Ease {
    num_items: usize,
    /// B, row-major: row `i` is what having item `i` adds to each item's score.
    weights: Vec<f32>,
}

impl Ease {
    const WEIGHTS: &'static str = "item_similarity";

    /// Solves for the weights on `train`, a row of distinct items a user.
    ///
    /// # Errors
    /// A regularisation that is not positive; more items than fit into memory.
    pub fn fit(config: &EaseConfig, train: &Csr, num_items: usize) -> Result<Self> {
        if !(config.reg_weight.is_finite() && config.reg_weight > 0.0) {
            let what = config.reg_weight.to_string();
            return Err(Error::input("model.reg_weight", what, "a positive number"));
        }
        if num_items > MAX_ITEMS {
            let what = format!("{num_items} items");
            let expected =
                format!("at most {MAX_ITEMS} for the closed form; another model, or a k-core");
            return Err(Error::input("model", what, expected));
        }
        let mut gram = Mat::<f64>::zeros(num_items, num_items);
        for row in train.rows() {
            for &a in row {
                for &b in row {
                    gram[(a as usize, b as usize)] += 1.0;
                }
            }
        }
        for item in 0..num_items {
            gram[(item, item)] += config.reg_weight;
        }
        let factors = gram.llt(Side::Lower).map_err(|e| Error::Internal {
            context: "EASE".into(),
            message: format!("the Gram matrix has no Cholesky factors: {e:?}"),
        })?;
        drop(gram);
        let inverse = factors.inverse();
        let mut weights = vec![0.0_f32; num_items * num_items];
        let rows = weights.par_chunks_mut(num_items.max(1)).enumerate();
        rows.for_each(|(i, row)| {
            for (j, weight) in row.iter_mut().enumerate().filter(|(j, _)| *j != i) {
                *weight = (-inverse[(i, j)] / inverse[(j, j)]) as f32;
            }
        });
        Ok(Self { num_items, weights })
    }

    fn row(&self, item: u32) -> &[f32] {
        &self.weights[item as usize * self.num_items..][..self.num_items]
    }

    /// The model as arrays.
    pub fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        arrays.put(Self::WEIGHTS, [self.num_items; 2], self.weights.clone());
        arrays
    }

    /// The model out of [`arrays`](Self::arrays).
    ///
    /// # Errors
    /// Other arrays.
    pub fn from_arrays(mut arrays: Arrays, num_items: usize) -> Result<Self> {
        let weights = arrays.take_shaped(Self::WEIGHTS, [num_items; 2])?;
        arrays.finish()?;
        Ok(Self { num_items, weights })
    }
}

impl Recommender for Ease {
    fn num_items(&self) -> usize {
        self.num_items
    }

    fn scores(&self, queries: &[Query<'_>]) -> Result<Vec<f32>> {
        let mut scores = vec![0.0; queries.len() * self.num_items];
        let rows = scores.par_chunks_mut(self.num_items.max(1)).zip(queries);
        rows.try_for_each(|(row, query)| {
            check_items(query.history, self.num_items)?;
            for &item in query.history {
                for (score, weight) in row.iter_mut().zip(self.row(item)) {
                    *score += weight;
                }
            }
            Ok(())
        })?;
        Ok(scores)
    }

    /// What having the item adds to the score of each.
    fn similarities(&self, item: u32) -> Result<Vec<f32>> {
        check_items(&[item], self.num_items)?;
        Ok(self.row(item).to_vec())
    }

    fn is_history_based(&self) -> bool {
        true
    }

    fn num_params(&self) -> usize {
        self.weights.len()
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.arrays().save(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_items_solve_by_hand() {
        // X'X + λI = [[3, 1], [1, 2]]: P = [[2, -1], [-1, 3]] / 5, so B_01 = 1/3 and B_10 = 1/2.
        let train = Csr::from_rows([vec![0, 1], vec![0]]);
        let ease = Ease::fit(&EaseConfig { reg_weight: 1.0 }, &train, 2).unwrap();
        let expected = [0.0, 1.0 / 3.0, 0.5, 0.0];
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(
            ease.weights.iter().zip(&expected).all(near),
            "{:?}",
            ease.weights
        );
        assert_eq!(
            ease.scores(&[Query::cold(&[0])]).unwrap(),
            ease.similarities(0).unwrap()
        );
        assert_eq!(Ease::from_arrays(ease.arrays(), 2).unwrap(), ease);
        assert!(Ease::fit(&EaseConfig { reg_weight: 0.0 }, &train, 2).is_err());
        assert!(ease.scores(&[Query::cold(&[2])]).is_err());
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let row =
            |user: usize| (0..400_u32).filter(move |i| (user * 7 + *i as usize * 13) % 11 < 3);
        let train = Csr::from_rows((0..300).map(|user| row(user).collect::<Vec<_>>()));
        let fit = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| Ease::fit(&EaseConfig::default(), &train, 400).unwrap())
        };
        assert_eq!(fit(1), fit(4));
    }
}
