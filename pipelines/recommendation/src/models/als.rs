//! Alternating least squares for implicit feedback (Hu, Koren and Volinsky, 2008).
//!
//! Least Σ c (p - x·y)² + λ (Σ||x||² + Σ||y||²) over all pairs of a user and an item, where p is 1 and the confidence c is
//! 1 + α for pairs that interacted, and p is 0 and c is 1 for the others. Users and items take turns; each vector is the
//! exact solution with the other side fixed (a Cholesky factorisation of `factors` by `factors`). `implicit` 0.7.3's
//! `AlternatingLeastSquares` with `use_cg=False` on a matrix of 1 + α is the same; there `alpha` multiplies the matrix.

use super::factors::{Factors, FoldIn, Solver};
use panoply_core::{Error, Result, progress::Interrupt, seed};
use panoply_datasets::interactions::Csr;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Settings of [`fit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlsConfig {
    /// Numbers of a vector. Default 64.
    pub factors: usize,
    /// L2 regularisation, λ. Default 0.1.
    pub regularization: f32,
    /// Confidence of an interaction beyond the 1 of every pair, α. Default 10.
    pub alpha: f32,
    /// How often both sides are solved. Default 15.
    pub iterations: usize,
    /// Seed of the first vectors.
    pub seed: u64,
}

impl Default for AlsConfig {
    fn default() -> Self {
        Self {
            factors: 64,
            regularization: 0.1,
            alpha: 10.0,
            iterations: 15,
            seed: 0,
        }
    }
}

impl AlsConfig {
    /// How a new user's vector is found: as a user's of training is.
    pub fn fold_in(&self) -> FoldIn {
        FoldIn {
            alpha: self.alpha,
            regularization: self.regularization,
        }
    }

    fn check(&self) -> Result<()> {
        let valid = |value: f32| value.is_finite() && value > 0.0;
        if self.factors > 0
            && self.iterations > 0
            && valid(self.regularization)
            && valid(self.alpha)
        {
            return Ok(());
        }
        let what = format!("{self:?}");
        let expected = "positive factors, iterations, regularization and alpha";
        Err(Error::input("model", what, expected))
    }
}

/// The first vectors: uniform in ±0.5 / factors, a function of the seed and the place.
fn start(count: usize, config: &AlsConfig) -> Vec<f32> {
    let draw = |at: usize| {
        let bits = seed::derive(&[config.seed, at as u64]) >> 40;
        (bits as f32 / (1 << 24) as f32 - 0.5) / config.factors as f32
    };
    (0..count * config.factors).map(draw).collect()
}

/// Solves for the vectors on `train`, a row of distinct items a user.
///
/// # Errors
/// Settings that are not positive; [`Error::Interrupted`].
pub fn fit(
    config: &AlsConfig,
    train: &Csr,
    num_items: usize,
    interrupt: &Interrupt,
) -> Result<Factors> {
    config.check()?;
    fit_from(config, train, start(num_items, config), interrupt)
}

/// As [`fit`], from given vectors of the items, `[items, factors]`.
///
/// # Errors
/// As [`fit`].
pub fn fit_from(
    config: &AlsConfig,
    train: &Csr,
    mut items: Vec<f32>,
    interrupt: &Interrupt,
) -> Result<Factors> {
    config.check()?;
    let of_item = train.transposed(items.len() / config.factors);
    let mut users = Vec::new();
    for _ in 0..config.iterations {
        if interrupt.is_raised() {
            return Err(Error::Interrupted {
                resume: "alternating least squares keep no state: run it again".into(),
            });
        }
        users = solve_all(&items, train, config)?;
        items = solve_all(&users, &of_item, config)?;
    }
    Ok(Factors::new(config.factors, users, items, config.fold_in()))
}

/// The vectors of one side, a row of `histories` each.
fn solve_all(others: &[f32], histories: &Csr, config: &AlsConfig) -> Result<Vec<f32>> {
    let solver = Solver::new(others, config.factors, config.fold_in());
    let rows = (0..histories.num_rows()).into_par_iter();
    let solved: Result<Vec<Vec<f32>>> = rows.map(|row| solver.solve(histories.row(row))).collect();
    Ok(solved?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Query, Recommender};

    #[test]
    fn blocks_of_users_and_items_are_found_again() {
        // Two groups that share nothing: the unseen item of one's own group scores highest.
        let train = Csr::from_rows([
            vec![0, 1],
            vec![1, 2],
            vec![0, 2],
            vec![3, 4],
            vec![4, 5],
            vec![3, 5],
        ]);
        let config = AlsConfig {
            factors: 2,
            iterations: 100,
            ..AlsConfig::default()
        };
        let model = fit(&config, &train, 6, &Interrupt::default()).unwrap();
        let scores = model
            .scores(&[Query {
                user: Some(0),
                history: &[],
            }])
            .unwrap();
        assert!(
            scores[2] > 0.5 && scores[3..].iter().all(|s| s.abs() < 0.1),
            "{scores:?}"
        );
        // Folding the same history in gives nearly the same vector: the items moved last.
        let folded = model.scores(&[Query::cold(&[0, 1])]).unwrap();
        assert!(
            folded
                .iter()
                .zip(&scores)
                .all(|(a, b)| (a - b).abs() < 1e-2),
            "{folded:?}"
        );
        assert_eq!(
            model,
            fit(&config, &train, 6, &Interrupt::default()).unwrap()
        );
        let raised = Interrupt::default();
        raised.raise();
        assert!(fit(&config, &train, 6, &raised).is_err());
        assert!(
            fit(
                &AlsConfig {
                    alpha: 0.0,
                    ..config
                },
                &train,
                6,
                &Interrupt::default()
            )
            .is_err()
        );
    }
}
