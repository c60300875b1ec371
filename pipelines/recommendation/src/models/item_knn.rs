//! Item-based nearest neighbours by cosine similarity (Sarwar, Karypis, Konstan and Riedl, 2001; Aiolli, 2013).
//!
//! The similarity of two items is the number of users of both, over the product of the norms of their columns
//! plus `shrink` plus 1e-6. An item is scored by the sum of its similarities to those of its `k` nearest
//! neighbours that the user has. This is RecBole 1.2.1's `ItemKNN` with `knn_method: item`. Where similarities are
//! equal the lower index is the nearer one; RecBole leaves that open.

use super::{Query, Recommender, check_items};
use panoply_core::{Error, Result, weights::Arrays};
use panoply_datasets::interactions::Csr;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Sizes of [`ItemKnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemKnnConfig {
    /// Neighbours of an item. Default 100.
    pub k: usize,
    /// Added to the denominator: the higher, the less a few common users count. Default 0.
    pub shrink: f64,
}

impl Default for ItemKnnConfig {
    fn default() -> Self {
        Self {
            k: 100,
            shrink: 0.0,
        }
    }
}

/// Similarities of items to their neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemKnn {
    /// A row a neighbour: the items whose neighbour it is.
    of_neighbor: Csr,
    /// Their similarities, entry by entry.
    similarities: Vec<f32>,
}

impl ItemKnn {
    const INDPTR: &'static str = "similarity.indptr";
    const INDICES: &'static str = "similarity.indices";
    const VALUES: &'static str = "similarity.values";

    /// Finds the neighbours in `train`, a row of distinct items a user.
    ///
    /// # Errors
    /// No neighbour is asked for; a shrinkage that is negative or not finite.
    pub fn fit(config: &ItemKnnConfig, train: &Csr, num_items: usize) -> Result<Self> {
        if config.k == 0 || !(config.shrink.is_finite() && config.shrink >= 0.0) {
            let what = format!("k {}, shrink {}", config.k, config.shrink);
            let expected = "at least one neighbour, and a shrinkage that is not negative";
            return Err(Error::input("model", what, expected));
        }
        let users = train.transposed(num_items);
        let norms: Vec<f64> = users.rows().map(|row| (row.len() as f64).sqrt()).collect();
        let neighbors: Vec<Vec<(u32, f32)>> = (0..num_items)
            .into_par_iter()
            .map_init(
                || vec![0_u32; num_items],
                |counts, item| {
                    for &user in users.row(item) {
                        for &other in train.row(user as usize) {
                            counts[other as usize] += 1;
                        }
                    }
                    let similarity = |(other, &count): (usize, &u32)| {
                        let norm = norms[item] * norms[other] + config.shrink + 1e-6;
                        (other as u32, (f64::from(count) / norm) as f32)
                    };
                    let common = counts.iter().enumerate();
                    let common = common.filter(|&(other, &count)| count > 0 && other != item);
                    let mut near: Vec<(u32, f32)> = common.map(similarity).collect();
                    near.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                    near.truncate(config.k);
                    counts.fill(0);
                    near
                },
            )
            .collect();
        Ok(Self::of(&neighbors))
    }

    /// Groups the neighbours of each item by neighbour.
    fn of(neighbors: &[Vec<(u32, f32)>]) -> Self {
        let num_items = neighbors.len();
        let entries = || neighbors.iter().enumerate();
        let items: Vec<u32> = entries()
            .flat_map(|(item, near)| vec![item as u32; near.len()])
            .collect();
        let sources: Vec<u32> = neighbors
            .iter()
            .flatten()
            .map(|&(source, _)| source)
            .collect();
        let of_neighbor = Csr::of(num_items, &sources, &items);
        let mut next = of_neighbor.indptr().to_vec();
        let mut similarities = vec![0.0; sources.len()];
        for &(source, value) in neighbors.iter().flatten() {
            let at = &mut next[source as usize];
            similarities[*at] = value;
            *at += 1;
        }
        Self {
            of_neighbor,
            similarities,
        }
    }

    /// The items whose neighbour `item` is, with their similarities.
    fn entries(&self, item: u32) -> impl Iterator<Item = (u32, f32)> {
        let start = self.of_neighbor.indptr()[item as usize];
        let row = self.of_neighbor.row(item as usize);
        row.iter()
            .copied()
            .zip(self.similarities[start..].iter().copied())
    }

    /// The model as arrays.
    pub fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        let indptr: Vec<i64> = self
            .of_neighbor
            .indptr()
            .iter()
            .map(|&v| v as i64)
            .collect();
        let indices = self.of_neighbor.indices().iter().map(|&v| i64::from(v));
        arrays.put(Self::INDPTR, [indptr.len()], indptr);
        arrays.put(Self::INDICES, [self.similarities.len()], indices.collect());
        arrays.put(
            Self::VALUES,
            [self.similarities.len()],
            self.similarities.clone(),
        );
        arrays
    }

    /// The model out of [`arrays`](Self::arrays).
    ///
    /// # Errors
    /// Other arrays.
    pub fn from_arrays(mut arrays: Arrays, num_items: usize) -> Result<Self> {
        let indptr: Vec<i64> = arrays.take_shaped(Self::INDPTR, [num_items + 1])?;
        let ([entries], indices) = arrays.take::<i64, 1>(Self::INDICES)?;
        let similarities = arrays.take_shaped(Self::VALUES, [entries])?;
        arrays.finish()?;
        let known = |index: &i64| usize::try_from(*index).is_ok_and(|index| index < num_items);
        let ordered = indptr.is_sorted() && indptr[0] == 0 && indptr[num_items] as usize == entries;
        if !ordered || !indices.iter().all(known) {
            let expected = format!("sparse rows over {num_items} items");
            return Err(Error::input(Self::INDPTR, "entries out of place", expected));
        }
        let rows = indptr.windows(2).map(|w| {
            let row = &indices[w[0] as usize..w[1] as usize];
            row.iter().map(|&v| v as u32).collect::<Vec<_>>()
        });
        Ok(Self {
            of_neighbor: Csr::from_rows(rows),
            similarities,
        })
    }
}

impl Recommender for ItemKnn {
    fn num_items(&self) -> usize {
        self.of_neighbor.num_rows()
    }

    fn scores(&self, queries: &[Query<'_>]) -> Result<Vec<f32>> {
        let num_items = self.num_items();
        let mut scores = vec![0.0; queries.len() * num_items];
        let rows = scores.par_chunks_mut(num_items.max(1)).zip(queries);
        rows.try_for_each(|(row, query)| {
            check_items(query.history, num_items)?;
            for &source in query.history {
                for (item, similarity) in self.entries(source) {
                    row[item as usize] += similarity;
                }
            }
            Ok(())
        })?;
        Ok(scores)
    }

    /// Those to its neighbours; 0 for the others.
    fn similarities(&self, item: u32) -> Result<Vec<f32>> {
        check_items(&[item], self.num_items())?;
        let of = |source: u32| self.entries(source).find(|&(target, _)| target == item);
        let found = (0..self.num_items() as u32).into_par_iter().map(of);
        Ok(found
            .map(|found| found.map_or(0.0, |(_, value)| value))
            .collect())
    }

    fn is_history_based(&self) -> bool {
        true
    }

    fn num_params(&self) -> usize {
        self.similarities.len()
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.arrays().save(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train() -> Csr {
        Csr::from_rows([vec![0, 1], vec![0, 1, 2], vec![1, 2], vec![3]])
    }

    #[test]
    fn similarities_are_cosines_of_columns() {
        let knn = ItemKnn::fit(&ItemKnnConfig::default(), &train(), 4).unwrap();
        // Items 0 and 1 share two users and have two and three.
        let cosine = 2.0 / (6.0_f32.sqrt() + 1e-6);
        let near = knn.similarities(0).unwrap();
        assert!(
            (near[1] - cosine).abs() < 1e-6 && near[0] == 0.0 && near[3] == 0.0,
            "{near:?}"
        );
        let scores = knn
            .scores(&[Query::cold(&[0, 2]), Query::cold(&[])])
            .unwrap();
        assert!((scores[1] - 2.0 * cosine).abs() < 1e-6, "{scores:?}");
        assert_eq!(scores[4..], [0.0; 4]);
        assert_eq!(ItemKnn::from_arrays(knn.arrays(), 4).unwrap(), knn);
        assert!(ItemKnn::from_arrays(knn.arrays(), 3).is_err());
    }

    #[test]
    fn one_neighbour_is_the_nearest_and_the_lower_of_equals() {
        let config = ItemKnnConfig { k: 1, shrink: 0.0 };
        let knn = ItemKnn::fit(&config, &train(), 4).unwrap();
        // Item 1 is as near to 0 as to 2: 0 is its neighbour.
        assert!(knn.similarities(1).unwrap()[0] > 0.0 && knn.similarities(1).unwrap()[2] == 0.0);
        assert!(ItemKnn::fit(&ItemKnnConfig { k: 0, shrink: 0.0 }, &train(), 4).is_err());
        assert!(ItemKnn::fit(&ItemKnnConfig { k: 1, shrink: -1.0 }, &train(), 4).is_err());
        assert!(knn.scores(&[Query::cold(&[9])]).is_err());
    }
}
