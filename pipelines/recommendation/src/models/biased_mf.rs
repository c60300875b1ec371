//! Ratings as the overall mean, what a user and an item deviate from it, and the scalar product of their vectors:
//! biased matrix factorisation (Koren, Bell and Volinsky, 2009), and its parts as baselines.
//!
//! Fitted by alternating ridge regressions with L2 regularisation weighted by the number of ratings (Zhou,
//! Wilkinson, Schreiber and Pan, 2008): with the items fixed, a user's deviation and vector are the exact solution over the
//! user's ratings, and the other way round.

use faer::{Mat, Side, linalg::solvers::Solve};
use panoply_core::{Error, Result, progress::Interrupt, seed, weights::Arrays};
use panoply_datasets::{Interactions, interactions::Csr};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Which parts there are, and their sizes; the `model` of a recipe and of `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum RatingConfig {
    /// The mean of all ratings.
    GlobalMean,
    /// The mean of the user's ratings.
    UserMean,
    /// The mean of the item's ratings.
    ItemMean,
    /// All of it.
    BiasedMf(BiasedMfConfig),
}

impl RatingConfig {
    /// The name of the architecture.
    pub fn architecture(&self) -> &'static str {
        match self {
            Self::GlobalMean => "global-mean",
            Self::UserMean => "user-mean",
            Self::ItemMean => "item-mean",
            Self::BiasedMf(_) => "biased-mf",
        }
    }
}

/// Sizes of [`RatingConfig::BiasedMf`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BiasedMfConfig {
    /// Numbers of a vector. Default 16.
    pub factors: usize,
    /// L2 regularisation of a vector, times its number of ratings. Default 0.12.
    pub regularization: f64,
    /// L2 regularisation of a deviation. Default 5.
    pub bias_regularization: f64,
    /// How often both sides are solved. Default 10.
    pub iterations: usize,
    /// Seed of the items' first vectors.
    pub seed: u64,
}

impl Default for BiasedMfConfig {
    fn default() -> Self {
        Self {
            factors: 16,
            regularization: 0.12,
            bias_regularization: 5.0,
            iterations: 10,
            seed: 0,
        }
    }
}

impl BiasedMfConfig {
    fn check(&self) -> Result<()> {
        let valid = |value: f64| value.is_finite() && value > 0.0;
        if self.iterations > 0 && valid(self.regularization) && valid(self.bias_regularization) {
            return Ok(());
        }
        let expected = "positive iterations, regularization and bias_regularization";
        Err(Error::input("model", format!("{self:?}"), expected))
    }
}

/// Deviations and vectors of one side.
#[derive(Clone, Debug, PartialEq)]
struct Terms {
    bias: Vec<f32>,
    /// Row-major, `factors` numbers a row; empty without vectors.
    vectors: Vec<f32>,
}

impl Terms {
    fn zeros(count: usize, factors: usize) -> Self {
        Self {
            bias: vec![0.0; count],
            vectors: vec![0.0; count * factors],
        }
    }
}

/// A fitted model of ratings.
#[derive(Clone, Debug, PartialEq)]
pub struct BiasedMf {
    factors: usize,
    mean: f32,
    /// The least and the greatest rating of training; predictions stay within.
    range: [f32; 2],
    users: Terms,
    items: Terms,
}

/// Ratings of one side: a row's entries are places in the columns.
struct Ratings<'r> {
    of: Csr,
    others: &'r [u32],
    values: &'r [f32],
}

impl BiasedMf {
    /// Fits the parts that `config` names to the ratings of `train`.
    ///
    /// # Errors
    /// No ratings; settings that are not positive; [`Error::Interrupted`].
    pub fn fit(config: &RatingConfig, train: &Interactions, interrupt: &Interrupt) -> Result<Self> {
        let Some(ratings) = train.ratings() else {
            let expected = "a column of ratings";
            return Err(Error::input(train.location(), "no ratings", expected));
        };
        let sum: f64 = ratings.iter().map(|&rating| f64::from(rating)).sum();
        let least = ratings.iter().copied().fold(f32::INFINITY, f32::min);
        let greatest = ratings.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let factors = match config {
            RatingConfig::BiasedMf(config) => config.factors,
            _ => 0,
        };
        let mut model = Self {
            factors,
            mean: (sum / ratings.len().max(1) as f64) as f32,
            range: [least, greatest],
            users: Terms::zeros(train.num_users(), factors),
            items: Terms::zeros(train.num_items(), factors),
        };
        let rows: Vec<u32> = (0..train.len() as u32).collect();
        let side = |own: &[u32], count: usize| Csr::of(count, own, &rows);
        let of_users = Ratings {
            of: side(train.users(), train.num_users()),
            others: train.items(),
            values: ratings,
        };
        let of_items = Ratings {
            of: side(train.items(), train.num_items()),
            others: train.users(),
            values: ratings,
        };
        match config {
            RatingConfig::GlobalMean => {}
            RatingConfig::UserMean => model.users.bias = model.deviations(&of_users),
            RatingConfig::ItemMean => model.items.bias = model.deviations(&of_items),
            RatingConfig::BiasedMf(config) => {
                config.check()?;
                model.alternate(config, &of_users, &of_items, interrupt)?;
            }
        }
        Ok(model)
    }

    /// The mean of each row's ratings less the mean of all.
    fn deviations(&self, side: &Ratings<'_>) -> Vec<f32> {
        let deviation = |row: &[u32]| {
            let own = row.iter().map(|&at| f64::from(side.values[at as usize]));
            if row.is_empty() {
                return 0.0;
            }
            (own.sum::<f64>() / row.len() as f64 - f64::from(self.mean)) as f32
        };
        side.of.rows().map(deviation).collect()
    }

    fn alternate(
        &mut self,
        config: &BiasedMfConfig,
        of_users: &Ratings<'_>,
        of_items: &Ratings<'_>,
        interrupt: &Interrupt,
    ) -> Result<()> {
        for (at, value) in self.items.vectors.iter_mut().enumerate() {
            let bits = seed::derive(&[config.seed, at as u64]) >> 40;
            *value = 0.2 * (bits as f32 / (1 << 24) as f32 - 0.5);
        }
        for _ in 0..config.iterations {
            if interrupt.is_raised() {
                return Err(Error::Interrupted {
                    resume: "alternating least squares keep no state: run it again".into(),
                });
            }
            self.users = self.solve(config, of_users, &self.items)?;
            self.items = self.solve(config, of_items, &self.users)?;
        }
        Ok(())
    }

    /// The exact deviations and vectors of one side, those of the other fixed.
    fn solve(&self, config: &BiasedMfConfig, side: &Ratings<'_>, others: &Terms) -> Result<Terms> {
        let rows = (0..side.of.num_rows()).into_par_iter();
        let solved: Result<Vec<Vec<f64>>> = rows
            .map(|row| self.ridge(config, side, side.of.row(row), others))
            .collect();
        let mut terms = Terms::zeros(0, 0);
        for solution in solved? {
            terms.bias.push(solution[0] as f32);
            terms
                .vectors
                .extend(solution[1..].iter().map(|&value| value as f32));
        }
        Ok(terms)
    }

    /// Deviation and vector of one row.
    fn ridge(
        &self,
        config: &BiasedMfConfig,
        side: &Ratings<'_>,
        row: &[u32],
        others: &Terms,
    ) -> Result<Vec<f64>> {
        let size = self.factors + 1;
        if row.is_empty() {
            return Ok(vec![0.0; size]);
        }
        let mut left = Mat::<f64>::zeros(size, size);
        let mut right = Mat::<f64>::zeros(size, 1);
        let mut features = vec![1.0; size];
        for &at in row {
            let other = side.others[at as usize] as usize;
            let vector = &others.vectors[other * self.factors..][..self.factors];
            for (feature, &value) in features[1..].iter_mut().zip(vector) {
                *feature = f64::from(value);
            }
            let rating = side.values[at as usize] - self.mean - others.bias[other];
            for a in 0..size {
                right[(a, 0)] += features[a] * f64::from(rating);
                for b in 0..=a {
                    left[(a, b)] += features[a] * features[b];
                }
            }
        }
        left[(0, 0)] += config.bias_regularization;
        for at in 1..size {
            left[(at, at)] += config.regularization * row.len() as f64;
        }
        let factors = left.llt(Side::Lower).map_err(|_not_positive| {
            let what = "the normal equations are not positive definite";
            Error::input("model.regularization", what, "a higher regularisation")
        })?;
        let solution = factors.solve(&right);
        Ok(solution.col(0).iter().copied().collect())
    }

    /// The rating of an item by a user; of those that training lacks, what is known without them. Within the ratings
    /// of training.
    pub fn predict(&self, user: Option<u32>, item: Option<u32>) -> f32 {
        let bias = |terms: &Terms, index: Option<u32>| {
            index
                .and_then(|at| terms.bias.get(at as usize))
                .copied()
                .unwrap_or(0.0)
        };
        let vector = |terms: &'_ Terms, index: Option<u32>| {
            let start = index? as usize * self.factors;
            terms
                .vectors
                .get(start..start + self.factors)
                .map(<[f32]>::to_vec)
        };
        let product = match (vector(&self.users, user), vector(&self.items, item)) {
            (Some(user), Some(item)) => user.iter().zip(&item).map(|(a, b)| a * b).sum(),
            _ => 0.0_f32,
        };
        let rating = self.mean + bias(&self.users, user) + bias(&self.items, item) + product;
        rating.clamp(self.range[0], self.range[1])
    }

    /// The model as arrays.
    pub fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        arrays.put("mean", [1], vec![self.mean]);
        arrays.put("range", [2], self.range.to_vec());
        for (name, terms) in [("user", &self.users), ("item", &self.items)] {
            let count = terms.bias.len();
            arrays.put(&format!("{name}_bias"), [count], terms.bias.clone());
            if self.factors > 0 {
                let shape = [count, self.factors];
                arrays.put(
                    &format!("{name}_embedding.weight"),
                    shape,
                    terms.vectors.clone(),
                );
            }
        }
        arrays
    }

    /// The model out of [`arrays`](Self::arrays).
    ///
    /// # Errors
    /// Other arrays, or a range that is none.
    pub fn from_arrays(
        config: &RatingConfig,
        mut arrays: Arrays,
        [num_users, num_items]: [usize; 2],
    ) -> Result<Self> {
        let factors = match config {
            RatingConfig::BiasedMf(config) => config.factors,
            _ => 0,
        };
        let mean: Vec<f32> = arrays.take_shaped("mean", [1])?;
        let range: Vec<f32> = arrays.take_shaped("range", [2])?;
        let mut terms = |name: &str, count: usize| {
            let bias = arrays.take_shaped(&format!("{name}_bias"), [count])?;
            let vectors = match factors {
                0 => Vec::new(),
                _ => arrays.take_shaped(&format!("{name}_embedding.weight"), [count, factors])?,
            };
            Ok::<Terms, Error>(Terms { bias, vectors })
        };
        let (users, items) = (terms("user", num_users)?, terms("item", num_items)?);
        arrays.finish()?;
        if range[0] > range[1] {
            let expected = "the least rating and the greatest";
            return Err(Error::input("range", format!("{range:?}"), expected));
        }
        Ok(Self {
            factors,
            mean: mean[0],
            range: [range[0], range[1]],
            users,
            items,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panoply_datasets::InteractionOptions;

    fn read(text: &str) -> Interactions {
        Interactions::from_bytes("x.csv", text.as_bytes(), &InteractionOptions::default()).unwrap()
    }

    fn fit(config: &RatingConfig, text: &str) -> BiasedMf {
        BiasedMf::fit(config, &read(text), &Interrupt::default()).unwrap()
    }

    const RATINGS: &str = "user,item,rating\na,x,5\na,y,3\nb,x,4\nb,z,2\n";

    #[test]
    fn means_are_means() {
        let global = fit(&RatingConfig::GlobalMean, RATINGS);
        assert_eq!(global.predict(Some(0), Some(2)), 3.5);
        let user = fit(&RatingConfig::UserMean, RATINGS);
        assert_eq!(
            (user.predict(Some(1), Some(0)), user.predict(None, Some(0))),
            (3.0, 3.5)
        );
        let item = fit(&RatingConfig::ItemMean, RATINGS);
        assert_eq!(
            (item.predict(Some(1), Some(0)), item.predict(Some(1), None)),
            (4.5, 3.5)
        );
    }

    #[test]
    fn without_vectors_the_deviations_solve_by_hand() {
        // One user, one item, ratings 4 and 2 of two users: mean 3; b_u = ±1 / (1 + 1) in the first half step, and the
        // item's deviation is 0 by symmetry.
        let config = BiasedMfConfig {
            factors: 0,
            bias_regularization: 1.0,
            ..BiasedMfConfig::default()
        };
        let model = fit(
            &RatingConfig::BiasedMf(config),
            "user,item,rating\na,x,4\nb,x,2\n",
        );
        assert_eq!(
            (
                model.predict(Some(0), Some(0)),
                model.predict(Some(1), Some(0))
            ),
            (3.5, 2.5)
        );
    }

    #[test]
    fn vectors_find_who_likes_what() {
        let mut rows = vec![String::from("user,item,rating\n")];
        for user in 0..12 {
            for item in 0..12 {
                let alike = (user + item) % 2 == 0;
                if (user, item) != (0, 0) {
                    rows.push(format!("u{user},i{item},{}\n", if alike { 5 } else { 1 }));
                }
            }
        }
        let data = read(&rows.concat());
        let config = RatingConfig::BiasedMf(BiasedMfConfig {
            factors: 2,
            ..BiasedMfConfig::default()
        });
        let model = BiasedMf::fit(&config, &data, &Interrupt::default()).unwrap();
        let index =
            |user: &str, item: &str| (data.ids().users.get(user), data.ids().items.get(item));
        let (user, item) = index("u0", "i0");
        assert!(
            model.predict(user, item) > 4.5,
            "{}",
            model.predict(user, item)
        );
        let shape = [data.num_users(), data.num_items()];
        assert_eq!(
            BiasedMf::from_arrays(&config, model.arrays(), shape).unwrap(),
            model
        );
        assert!(BiasedMf::from_arrays(&RatingConfig::GlobalMean, model.arrays(), shape).is_err());
        assert!(BiasedMf::fit(&config, &read("user,item\na,b\n"), &Interrupt::default()).is_err());
    }
}
