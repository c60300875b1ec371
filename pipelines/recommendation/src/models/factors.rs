//! Vectors of users and items whose scalar products are the scores: what matrix factorisation leaves.
//!
//! A new user is folded in as implicit-feedback ALS finds a user's vector (Hu, Koren and Volinsky, 2008, equation 4), with
//! the items' vectors fixed.

use super::{Query, Recommender, check_items};
use faer::{
    Accum, Mat, MatRef, Par, Side,
    linalg::{
        matmul::triangular::{self, BlockStructure},
        solvers::Solve,
    },
};
use panoply_core::{Error, Result, weights::Arrays};
use rayon::prelude::*;
use std::path::Path;

/// How a user's vector is found, given those of the items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldIn {
    /// Confidence of an interaction beyond the 1 of every pair, α.
    pub alpha: f32,
    /// L2 regularisation, λ.
    pub regularization: f32,
}

/// Vectors of users and items.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    dim: usize,
    /// `[users, dim]`, row-major.
    users: Vec<f32>,
    /// `[items, dim]`, row-major.
    items: Vec<f32>,
    fold_in: FoldIn,
}

impl Factors {
    const USERS: &'static str = "user_embedding.weight";
    const ITEMS: &'static str = "item_embedding.weight";

    /// Vectors of `dim` numbers each.
    ///
    /// # Panics
    /// If the vectors are not whole.
    pub fn new(dim: usize, users: Vec<f32>, items: Vec<f32>, fold_in: FoldIn) -> Self {
        assert!(
            dim > 0 && users.len().is_multiple_of(dim) && items.len().is_multiple_of(dim),
            "{} and {} numbers for vectors of {dim}",
            users.len(),
            items.len()
        );
        Self {
            dim,
            users,
            items,
            fold_in,
        }
    }

    /// The vectors of the users, `[users, dim]`.
    pub fn users(&self) -> &[f32] {
        &self.users
    }

    /// The vectors of the items, `[items, dim]`.
    pub fn items(&self) -> &[f32] {
        &self.items
    }

    /// The model as arrays.
    pub fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        let rows = |values: &[f32]| [values.len() / self.dim, self.dim];
        arrays.put(Self::USERS, rows(&self.users), self.users.clone());
        arrays.put(Self::ITEMS, rows(&self.items), self.items.clone());
        arrays
    }

    /// The model out of [`arrays`](Self::arrays).
    ///
    /// # Errors
    /// Other arrays.
    pub fn from_arrays(
        mut arrays: Arrays,
        [num_users, num_items, dim]: [usize; 3],
        fold_in: FoldIn,
    ) -> Result<Self> {
        let users = arrays.take_shaped(Self::USERS, [num_users, dim])?;
        let items = arrays.take_shaped(Self::ITEMS, [num_items, dim])?;
        arrays.finish()?;
        Ok(Self::new(dim, users, items, fold_in))
    }

    /// The vector of each query, `[queries, dim]`.
    fn vectors(&self, queries: &[Query<'_>]) -> Result<Vec<f32>> {
        let cold = queries.iter().any(|query| query.user.is_none());
        let solver = cold.then(|| Solver::new(&self.items, self.dim, self.fold_in));
        let vector = |query: &Query<'_>| match (query.user, &solver) {
            (Some(user), _) => {
                let start = user as usize * self.dim;
                let own = self.users.get(start..start + self.dim);
                own.map(<[f32]>::to_vec).ok_or_else(|| {
                    let expected = format!("an index below {}", self.users.len() / self.dim);
                    Error::input("user", user.to_string(), expected)
                })
            }
            (None, Some(solver)) => {
                check_items(query.history, self.num_items())?;
                solver.solve(query.history)
            }
            (None, None) => Ok(vec![0.0; self.dim]),
        };
        let vectors: Result<Vec<Vec<f32>>> = queries.par_iter().map(vector).collect();
        Ok(vectors?.concat())
    }

    /// Scalar products of `vectors` (`[rows, dim]`) with the items, `[rows, items]`.
    ///
    /// Each is summed in one order, however many there are: a list is the same alone and in a batch, which a matrix
    /// product does not promise.
    pub(super) fn products(&self, vectors: &[f32]) -> Vec<f32> {
        let num_items = self.num_items();
        let mut scores = vec![0.0; vectors.len() / self.dim * num_items];
        let rows = scores.par_chunks_mut(num_items.max(1));
        rows.zip(vectors.par_chunks(self.dim))
            .for_each(|(scores, vector)| {
                for (score, item) in scores.iter_mut().zip(self.items.chunks(self.dim)) {
                    *score = scalar_product(vector, item);
                }
            });
        scores
    }
}

/// The scalar product of two vectors of one length, in eight sums side by side.
pub(super) fn scalar_product(a: &[f32], b: &[f32]) -> f32 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

impl Recommender for Factors {
    fn num_items(&self) -> usize {
        self.items.len() / self.dim
    }

    fn scores(&self, queries: &[Query<'_>]) -> Result<Vec<f32>> {
        Ok(self.products(&self.vectors(queries)?))
    }

    /// Cosines of the items' vectors; 0 where one has no length.
    fn similarities(&self, item: u32) -> Result<Vec<f32>> {
        check_items(&[item], self.num_items())?;
        let start = item as usize * self.dim;
        let products = self.products(&self.items[start..start + self.dim]);
        let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
        let own = norm(&self.items[start..start + self.dim]);
        let cosine = |(product, other): (f32, &[f32])| {
            let norms = own * norm(other);
            if norms > 0.0 { product / norms } else { 0.0 }
        };
        Ok(products
            .into_iter()
            .zip(self.items.chunks(self.dim))
            .map(cosine)
            .collect())
    }

    fn is_history_based(&self) -> bool {
        false
    }

    fn num_params(&self) -> usize {
        self.users.len() + self.items.len()
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.arrays().save(path)
    }
}

/// Least squares for the vector of one user (or item) at a time, those of the other side fixed.
pub(super) struct Solver<'y> {
    /// Y, `[others, dim]`.
    others: &'y [f32],
    dim: usize,
    alpha: f32,
    /// Y'Y + λI, the lower half.
    gram: Mat<f32>,
}

impl<'y> Solver<'y> {
    pub(super) fn new(others: &'y [f32], dim: usize, fold_in: FoldIn) -> Self {
        let all = MatRef::from_row_major_slice(others, others.len() / dim, dim);
        let mut gram = Mat::<f32>::zeros(dim, dim);
        add_gram(&mut gram, all, 1.0);
        for at in 0..dim {
            gram[(at, at)] += fold_in.regularization;
        }
        Self {
            others,
            dim,
            alpha: fold_in.alpha,
            gram,
        }
    }

    /// The x with the least Σ c (p - x·y)² + λ||x||² over all others, where p is 1 and c is 1 + α for those
    /// in `history`, and p is 0 and c is 1 for the rest.
    pub(super) fn solve(&self, history: &[u32]) -> Result<Vec<f32>> {
        let own: Vec<f32> = history
            .iter()
            .flat_map(|&other| &self.others[other as usize * self.dim..][..self.dim])
            .copied()
            .collect();
        let own = MatRef::from_row_major_slice(&own, history.len(), self.dim);
        let mut left = self.gram.clone();
        add_gram(&mut left, own, self.alpha);
        let sum = |at: usize| own.col(at).iter().sum::<f32>();
        let right = Mat::from_fn(self.dim, 1, |at, _| (1.0 + self.alpha) * sum(at));
        let factors = left.llt(Side::Lower).map_err(|_not_positive| {
            let what = "the normal equations are not positive definite";
            Error::input("model.regularization", what, "a higher regularisation")
        })?;
        let solution = factors.solve(&right);
        Ok(solution.col(0).iter().copied().collect())
    }
}

/// Adds `weight` times `rows'rows` to the lower half of `gram`.
fn add_gram(gram: &mut Mat<f32>, rows: MatRef<'_, f32>, weight: f32) {
    triangular::matmul(
        gram.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        rows.transpose(),
        BlockStructure::Rectangular,
        rows,
        BlockStructure::Rectangular,
        weight,
        Par::Seq,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLD_IN: FoldIn = FoldIn {
        alpha: 1.0,
        regularization: 0.5,
    };

    fn factors() -> Factors {
        Factors::new(
            2,
            vec![1.0, 0.0, 0.0, 2.0],
            vec![1.0, 1.0, 0.0, 3.0, 2.0, 0.0],
            FOLD_IN,
        )
    }

    #[test]
    fn scores_are_scalar_products() {
        let known = |user| Query {
            user: Some(user),
            history: &[],
        };
        let scores = factors().scores(&[known(0), known(1)]).unwrap();
        assert_eq!(scores, [1.0, 0.0, 2.0, 2.0, 6.0, 0.0]);
        assert!(factors().scores(&[known(2)]).is_err());
        let near = factors().similarities(0).unwrap();
        assert!((near[1] - 0.5_f32.sqrt()).abs() < 1e-6 && (near[2] - 0.5_f32.sqrt()).abs() < 1e-6);
        let arrays = factors().arrays();
        assert_eq!(
            Factors::from_arrays(arrays, [2, 3, 2], FOLD_IN).unwrap(),
            factors()
        );
    }

    #[test]
    fn a_cold_user_gets_the_least_squares_vector() {
        // One item (2, 0) in the history: Y'Y + λI + α y y' = [[9.5, 1], [1, 10.5]], right side (4, 0).
        let vector = factors().vectors(&[Query::cold(&[2])]).unwrap();
        let determinant = 9.5 * 10.5 - 1.0;
        let expected = [4.0 * 10.5 / determinant, -4.0 / determinant];
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(vector.iter().zip(&expected).all(near), "{vector:?}");
        assert_eq!(factors().vectors(&[Query::cold(&[])]).unwrap(), [0.0, 0.0]);
        assert!(factors().scores(&[Query::cold(&[7])]).is_err());
    }
}
