//! What recommendations do to the catalogue: coverage, concentration, popularity, novelty.

use super::{cut_offs, head};
use crate::{MetricError, Result, check};
use serde::Serialize;

/// Which items of the training data are the long tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tail {
    /// This share (above 0, at most 1) of the items that occur in training, the least popular
    /// first, then by index; at least one item. RecBole's default is 0.1.
    Share(f64),
    /// Items with at most so many interactions in training, but at least one.
    AtMost(u64),
}

impl Default for Tail {
    fn default() -> Self {
        Self::Share(0.1)
    }
}

/// What lists of one cut-off, taken together, do to the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CatalogueScores {
    /// The cut-off.
    pub k: usize,
    /// Of all items, the share that somebody is recommended.
    pub item_coverage: f64,
    /// How unequally recommendations fall on all items: 0 if all get the same number, near 1 if
    /// one gets all. Lower is more diverse.
    pub gini_index: f64,
    /// Entropy (in nats) of how recommendations fall on items, divided by the number of items that
    /// are recommended at all. The division is RecBole's; papers give the entropy itself.
    pub shannon_entropy: f64,
    /// Interactions in training of an item in the list: mean over the list, then over users. Lower
    /// is more personal.
    pub average_popularity: f64,
    /// Of a list, the share of items from the long tail: mean over users.
    pub tail_percentage: f64,
    /// Self-information of an item in the list, -log2(its interactions / number of users): mean
    /// over the list, then over users. Vargas and Castells 2011 call it mean inverse user
    /// frequency, as does `MeanInvUserFreq` of RecTools 0.19.0, which this equals; an item that
    /// training lacks counts as if one user had it.
    pub novelty: f64,
}

/// Sums of one cut-off.
#[derive(Clone, Debug, PartialEq)]
struct Sums {
    k: usize,
    /// Times that each item was recommended.
    recommended: Vec<u64>,
    popularity: f64,
    tail: f64,
    novelty: f64,
}

/// Sums over users what they are recommended, for several cut-offs at once: RecBole's
/// `ItemCoverage`, `GiniIndex`, `ShannonEntropy`, `AveragePopularity` and `TailPercentage`, and
/// novelty.
///
/// Every user with a list counts, with or without positives; an empty list does not.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogueScorer {
    popularity: Vec<u64>,
    is_tail: Vec<bool>,
    num_train_users: usize,
    sums: Vec<Sums>,
    num_lists: u64,
}

impl CatalogueScorer {
    /// No list yet. `popularity` holds the number of interactions in training of every item of the
    /// catalogue, those that nobody had included; `num_train_users` is the number of users there,
    /// at least 1.
    pub fn new(
        ks: &[usize],
        popularity: &[u64],
        num_train_users: usize,
        tail: Tail,
    ) -> Result<Self> {
        check::not_empty("a catalogue", popularity.len())?;
        if num_train_users == 0 {
            return Err(MetricError::Argument {
                name: "num_train_users",
                value: num_train_users.to_string(),
                expected: "at least 1",
            });
        }
        let sums = |k| Sums {
            k,
            recommended: vec![0; popularity.len()],
            popularity: 0.0,
            tail: 0.0,
            novelty: 0.0,
        };
        Ok(Self {
            popularity: popularity.to_vec(),
            is_tail: tail.members(popularity)?,
            num_train_users,
            sums: cut_offs(ks)?.into_iter().map(sums).collect(),
            num_lists: 0,
        })
    }

    /// Counts one user's list, best first.
    pub fn update(&mut self, ranked: &[usize]) -> Result<()> {
        let longest = self.sums.last().map_or(0, |sums| sums.k);
        let ranked = head(ranked, longest)?;
        check::labels("ranked", ranked, self.popularity.len())?;
        if ranked.is_empty() {
            return Ok(());
        }
        self.num_lists += 1;
        for sums in &mut self.sums {
            let list = &ranked[..ranked.len().min(sums.k)];
            let mean = |value: &dyn Fn(usize) -> f64| {
                list.iter().map(|&item| value(item)).sum::<f64>() / list.len() as f64
            };
            sums.popularity += mean(&|item| self.popularity[item] as f64);
            sums.tail += mean(&|item| f64::from(self.is_tail[item]));
            let users = self.num_train_users as f64;
            sums.novelty += mean(&|item| -(self.popularity[item].max(1) as f64 / users).log2());
            for &item in list {
                sums.recommended[item] += 1;
            }
        }
        Ok(())
    }

    /// The scores so far, one entry a cut-off, ascending; an error if there is no list.
    pub fn scores(&self) -> Result<Vec<CatalogueScores>> {
        if self.num_lists == 0 {
            return Err(MetricError::Empty {
                metric: "coverage of recommendations",
            });
        }
        Ok(self.sums.iter().map(|sums| self.of(sums)).collect())
    }

    fn of(&self, sums: &Sums) -> CatalogueScores {
        let num_items = self.popularity.len() as f64;
        let mut counts: Vec<u64> = sums.recommended.clone();
        counts.sort_unstable();
        let distinct = counts.iter().filter(|&&count| count > 0).count() as f64;
        let total = counts.iter().sum::<u64>() as f64;
        let (mut weighted, mut entropy) = (0.0, 0.0);
        for (index, &count) in (1..).zip(&counts).filter(|&(_, &count)| count > 0) {
            weighted += (2.0 * f64::from(index) - num_items - 1.0) * count as f64;
            let share = count as f64 / total;
            entropy -= share * share.ln();
        }
        let mean = |sum: f64| sum / self.num_lists as f64;
        CatalogueScores {
            k: sums.k,
            item_coverage: distinct / num_items,
            gini_index: weighted / total / num_items,
            shannon_entropy: entropy / distinct,
            average_popularity: mean(sums.popularity),
            tail_percentage: mean(sums.tail),
            novelty: mean(sums.novelty),
        }
    }
}

impl Tail {
    /// Whether each item belongs to the tail.
    fn members(self, popularity: &[u64]) -> Result<Vec<bool>> {
        match self {
            Self::AtMost(most) => Ok(popularity
                .iter()
                .map(|&count| (1..=most).contains(&count))
                .collect()),
            Self::Share(share) if share > 0.0 && share <= 1.0 => {
                let mut known: Vec<usize> = (0..popularity.len())
                    .filter(|&item| popularity[item] > 0)
                    .collect();
                known.sort_by_key(|&item| (popularity[item], item));
                known.truncate(((known.len() as f64 * share) as usize).max(1));
                let mut is_tail = vec![false; popularity.len()];
                for item in known {
                    is_tail[item] = true;
                }
                Ok(is_tail)
            }
            Self::Share(share) => Err(MetricError::Argument {
                name: "the tail's share",
                value: share.to_string(),
                expected: "a number above 0 and at most 1",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut scorer = CatalogueScorer::new(&[1, 2], &[8, 1, 4, 0], 8, Tail::Share(0.4)).unwrap();
        scorer.update(&[0, 1]).unwrap();
        scorer.update(&[0, 2]).unwrap();
        scorer.update(&[]).unwrap();
        let [at_1, at_2] = scorer.scores().unwrap()[..] else {
            panic!("two cut-offs")
        };
        // One item of four gets all.
        assert_eq!((at_1.item_coverage, at_1.gini_index), (0.25, 0.75));
        assert_eq!((at_1.shannon_entropy, at_1.novelty), (0.0, 0.0));
        assert_eq!(at_2.item_coverage, 0.75);
        assert_eq!(at_2.average_popularity, f64::midpoint(4.5, 6.0));
        assert_eq!(at_2.tail_percentage, 0.25);
        assert_eq!(at_2.novelty, f64::midpoint(1.5, 0.5));
        let entropy = 0.5 * 2f64.ln() + 0.5 * 4f64.ln();
        assert!((at_2.shannon_entropy - entropy / 3.0).abs() < 1e-15);
    }

    #[test]
    fn tails() {
        let popularity = [3, 0, 1, 1, 9, 2];
        let members = |tail: Tail| {
            let is_tail = tail.members(&popularity).unwrap();
            (0..6).filter(|&item| is_tail[item]).collect::<Vec<_>>()
        };
        assert_eq!(members(Tail::default()), [2]);
        assert_eq!(members(Tail::Share(0.4)), [2, 3]);
        assert_eq!(members(Tail::Share(1.0)), [0, 2, 3, 4, 5]);
        assert_eq!(members(Tail::AtMost(2)), [2, 3, 5]);
        assert!(Tail::Share(0.0).members(&popularity).is_err());
        assert!(Tail::Share(f64::NAN).members(&popularity).is_err());
    }

    #[test]
    fn bad_input_is_named_and_not_counted() {
        let new = |ks: &[usize], popularity: &[u64], users| {
            CatalogueScorer::new(ks, popularity, users, Tail::default())
        };
        assert!(new(&[1], &[], 1).is_err());
        assert!(new(&[], &[1], 1).is_err());
        assert!(new(&[1], &[1], 0).is_err());
        let mut scorer = new(&[2], &[1, 1], 1).unwrap();
        assert!(scorer.scores().is_err());
        let error = scorer.update(&[0, 2]).unwrap_err().to_string();
        assert_eq!(error, "ranked[1] is label 2; expected a label below 2");
        assert!(scorer.update(&[0, 0]).is_err());
        assert!(scorer.scores().is_err());
    }
}
