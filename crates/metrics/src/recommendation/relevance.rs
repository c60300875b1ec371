//! Recall, NDCG, MRR, hit ratio, precision and mean average precision at k.

use super::{cut_offs, head};
use crate::{MetricError, Result};
use serde::Serialize;
use std::collections::BTreeSet;

/// Means over users of one cut-off, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RelevanceScores {
    /// The cut-off.
    pub k: usize,
    /// Of a user's positives, the share among the first `k`.
    pub recall: f64,
    /// Discounted gain, 1 / log2(rank + 1) a hit, as a share of that of the best possible list.
    pub ndcg: f64,
    /// One over the rank of the first hit; 0 without a hit among the first `k`.
    pub mrr: f64,
    /// 1 if there is a hit among the first `k`: the hit ratio, HR.
    pub hit: f64,
    /// Hits among the first `k`, over `k` (also where a list is shorter).
    pub precision: f64,
    /// Average precision: the precision at the rank of each hit, summed, over `k` or the number of
    /// positives, whichever is less.
    pub map: f64,
}

/// Sums over users what their lists hit, for several cut-offs at once: RecBole's `Recall`, `NDCG`,
/// `MRR`, `Hit`, `Precision` and `MAP`.
///
/// ```
/// use panoply_metrics::RelevanceScorer;
///
/// let mut scorer = RelevanceScorer::new(&[1, 10])?;
/// scorer.update(&[3, 7, 5], &[7, 8])?; // a user's list, and what this user went on to like
/// let at_10 = scorer.scores()?[1];
/// assert_eq!((at_10.recall, at_10.mrr, at_10.precision), (0.5, 0.5, 0.1));
/// # Ok::<(), panoply_metrics::MetricError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RelevanceScorer {
    sums: Vec<RelevanceScores>,
    num_users: u64,
    num_without_positives: u64,
}

impl RelevanceScorer {
    /// No user yet. `ks` are the cut-offs, in any order.
    pub fn new(ks: &[usize]) -> Result<Self> {
        let at = |k| RelevanceScores {
            k,
            ..RelevanceScores::default()
        };
        Ok(Self {
            sums: cut_offs(ks)?.into_iter().map(at).collect(),
            num_users: 0,
            num_without_positives: 0,
        })
    }

    /// Counts one user: `ranked` is the list of items, best first, at least up to the highest
    /// cut-off if so many can be recommended; `positives` are the items held out for the user, in
    /// any order (twice the same counts once).
    pub fn update(&mut self, ranked: &[usize], positives: &[usize]) -> Result<()> {
        let positives: BTreeSet<usize> = positives.iter().copied().collect();
        let longest = self.sums.last().map_or(0, |sums| sums.k);
        let head = head(ranked, longest)?;
        if positives.is_empty() {
            self.num_without_positives += 1;
            return Ok(());
        }
        self.num_users += 1;
        let hits: Vec<bool> = head.iter().map(|item| positives.contains(item)).collect();
        for sums in &mut self.sums {
            sums.add(&hits[..hits.len().min(sums.k)], positives.len());
        }
        Ok(())
    }

    /// The means so far, one entry a cut-off, ascending; an error if no user had a positive.
    pub fn scores(&self) -> Result<Vec<RelevanceScores>> {
        if self.num_users == 0 {
            return Err(MetricError::Undefined {
                metric: "relevance of recommendations",
                why: format!(
                    "none of {} users has a positive",
                    self.num_without_positives
                ),
            });
        }
        let mean = |sum: f64| sum / self.num_users as f64;
        let scores = self.sums.iter().map(|sums| RelevanceScores {
            k: sums.k,
            recall: mean(sums.recall),
            ndcg: mean(sums.ndcg),
            mrr: mean(sums.mrr),
            hit: mean(sums.hit),
            precision: mean(sums.precision),
            map: mean(sums.map),
        });
        Ok(scores.collect())
    }

    /// Users that the means are over.
    pub fn num_users(&self) -> u64 {
        self.num_users
    }

    /// Users left out because they have no positive.
    pub fn num_without_positives(&self) -> u64 {
        self.num_without_positives
    }
}

impl RelevanceScores {
    /// Adds one user, whose list hits as `hits` says, at most `k` of them.
    fn add(&mut self, hits: &[bool], num_positives: usize) {
        let reachable = num_positives.min(self.k);
        let (mut found, mut gain, mut precisions) = (0.0, 0.0, 0.0);
        for (rank, _) in (1..).zip(hits).filter(|&(_, &hit)| hit) {
            if found == 0.0 {
                self.mrr += 1.0 / f64::from(rank);
            }
            found += 1.0;
            gain += discount(rank);
            precisions += found / f64::from(rank);
        }
        let best: f64 = (1..).take(reachable).map(discount).sum();
        self.recall += found / num_positives as f64;
        self.ndcg += gain / best;
        self.hit += f64::from(found > 0.0);
        self.precision += found / self.k as f64;
        self.map += precisions / reachable as f64;
    }
}

/// What a hit at `rank`, from 1, is worth.
fn discount(rank: u32) -> f64 {
    (f64::from(rank) + 1.0).log2().recip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut scorer = RelevanceScorer::new(&[3, 1]).unwrap();
        scorer.update(&[4, 2, 9], &[9, 4, 9]).unwrap();
        let [at_1, at_3] = scorer.scores().unwrap()[..] else {
            panic!("two cut-offs")
        };
        let one = RelevanceScores {
            k: 1,
            recall: 0.5,
            ndcg: 1.0,
            mrr: 1.0,
            hit: 1.0,
            precision: 1.0,
            map: 1.0,
        };
        assert_eq!(at_1, one);
        assert_eq!((at_3.recall, at_3.precision), (1.0, 2.0 / 3.0));
        assert_eq!(at_3.map, f64::midpoint(1.0, 2.0 / 3.0));
        assert_eq!(at_3.ndcg, 1.5 / (1.0 + 3f64.log2().recip()));
    }

    #[test]
    fn users_without_positives_are_counted_apart() {
        let mut scorer = RelevanceScorer::new(&[2]).unwrap();
        scorer.update(&[0, 1], &[]).unwrap();
        let error = scorer.scores().unwrap_err().to_string();
        assert!(error.contains("none of 1 users has a positive"), "{error}");
        scorer.update(&[], &[3]).unwrap();
        scorer.update(&[3], &[3]).unwrap();
        assert_eq!(scorer.scores().unwrap()[0].recall, 0.5);
        assert_eq!((scorer.num_users(), scorer.num_without_positives()), (2, 1));
    }

    #[test]
    fn bad_input_is_named_and_not_counted() {
        for ks in [&[][..], &[0, 5]] {
            assert!(RelevanceScorer::new(ks).is_err());
        }
        let mut scorer = RelevanceScorer::new(&[2]).unwrap();
        let error = scorer.update(&[5, 5], &[1]).unwrap_err().to_string();
        assert_eq!(
            error,
            "ranked is a list with item 5 twice; expected each item once"
        );
        assert_eq!(scorer.num_users(), 0);
        // Beyond the highest cut-off nothing is read.
        scorer.update(&[5, 6, 5], &[1]).unwrap();
    }
}
