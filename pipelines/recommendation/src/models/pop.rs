//! The most popular items for everybody: the baseline that a personal recommendation has to beat.
//!
//! An item's score is its number of interactions in training, divided by that of the most popular item.
//!
//! RecBole 1.2.1's `Pop` counts an item once for each batch that it occurs in, and sampled negatives too; with `train_batch_size` 1 and
//! `train_neg_sample_args` none it counts interactions and gives the same lists.

use super::{Query, Recommender, check_items};
use panoply_core::{Result, weights::Arrays};
use panoply_datasets::interactions::Csr;
use std::path::Path;

/// Popularity.
#[derive(Clone, Debug, PartialEq)]
pub struct Pop {
    /// `[items]`, from 0 to 1.
    popularity: Vec<f32>,
}

impl Pop {
    const POPULARITY: &'static str = "popularity";

    /// Counts the items of `train`, a row a user.
    pub fn fit(train: &Csr, num_items: usize) -> Self {
        let mut counts = vec![0_u32; num_items];
        for &item in train.indices() {
            counts[item as usize] += 1;
        }
        let most = counts.iter().copied().max().unwrap_or_default().max(1);
        let share = |count: &u32| *count as f32 / most as f32;
        Self {
            popularity: counts.iter().map(share).collect(),
        }
    }

    /// The model as arrays.
    pub fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        arrays.put(
            Self::POPULARITY,
            [self.popularity.len()],
            self.popularity.clone(),
        );
        arrays
    }

    /// The model out of [`arrays`](Self::arrays).
    ///
    /// # Errors
    /// Other arrays.
    pub fn from_arrays(mut arrays: Arrays, num_items: usize) -> Result<Self> {
        let popularity = arrays.take_shaped(Self::POPULARITY, [num_items])?;
        arrays.finish()?;
        Ok(Self { popularity })
    }
}

impl Recommender for Pop {
    fn num_items(&self) -> usize {
        self.popularity.len()
    }

    fn scores(&self, queries: &[Query<'_>]) -> Result<Vec<f32>> {
        Ok(self.popularity.repeat(queries.len()))
    }

    /// Of like popularity, for want of anything else: minus the difference.
    fn similarities(&self, item: u32) -> Result<Vec<f32>> {
        check_items(&[item], self.num_items())?;
        let own = self.popularity[item as usize];
        Ok(self.popularity.iter().map(|p| -(p - own).abs()).collect())
    }

    fn is_history_based(&self) -> bool {
        true
    }

    fn num_params(&self) -> usize {
        self.popularity.len()
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.arrays().save(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_shares_of_the_most_popular() {
        let pop = Pop::fit(&Csr::from_rows([vec![0, 1], vec![1]]), 3);
        let queries = [Query::cold(&[0]), Query::cold(&[])];
        assert_eq!(
            pop.scores(&queries).unwrap(),
            [0.5, 1.0, 0.0, 0.5, 1.0, 0.0]
        );
        assert_eq!(pop.similarities(0).unwrap(), [0.0, -0.5, -0.5]);
        assert_eq!(Pop::from_arrays(pop.arrays(), 3).unwrap(), pop);
        assert!(Pop::from_arrays(pop.arrays(), 4).is_err() && pop.similarities(3).is_err());
    }
}
