//! From scores to a list.

use crate::{MetricError, Result, Score};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// An item and its score; greater is what comes first in the list.
#[derive(Clone, Copy, PartialEq)]
struct Candidate {
    score: f64,
    item: usize,
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores hold no NaN, and 0.0 equals -0.0: not the total order of floats.
        let score = self.score.partial_cmp(&other.score);
        let by_score = score.unwrap_or(Ordering::Equal);
        by_score.then(other.item.cmp(&self.item))
    }
}

/// The items with the `k` highest scores, best first; `scores[i]` belongs to item `i`. Among equal
/// scores the lower item comes first.
///
/// A score of minus infinity takes an item out (seen items are masked so): the list is shorter than
/// `k` where fewer items remain. NaN and plus infinity are errors.
///
/// ```
/// use panoply_metrics::top_k_items;
///
/// let scores = [0.5f32, 0.9, f32::NEG_INFINITY, 0.5];
/// assert_eq!(top_k_items(&scores, 2)?, [1, 0]);
/// assert_eq!(top_k_items(&scores, 10)?, [1, 0, 3]);
/// # Ok::<(), panoply_metrics::MetricError>(())
/// ```
pub fn top_k_items<S: Score>(scores: &[S], k: usize) -> Result<Vec<usize>> {
    let mut best: BinaryHeap<Reverse<Candidate>> = BinaryHeap::with_capacity(k.min(scores.len()));
    for (item, &score) in scores.iter().enumerate() {
        let score: f64 = score.into();
        if score.is_nan() || score == f64::INFINITY {
            return Err(MetricError::NotFinite {
                what: "scores",
                index: item,
                value: score,
            });
        }
        if score == f64::NEG_INFINITY {
            continue;
        }
        let candidate = Candidate { score, item };
        if best.len() < k {
            best.push(Reverse(candidate));
        } else if let Some(mut worst) = best.peek_mut()
            && candidate > worst.0
        {
            worst.0 = candidate;
        }
    }
    // Ascending order of `Reverse` is descending order of candidates.
    let ranked = best.into_sorted_vec().into_iter();
    Ok(ranked.map(|Reverse(candidate)| candidate.item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_a_stable_sort() {
        // Every list over three scores, five items long, at every k.
        for code in 0..3usize.pow(5) {
            let scores: Vec<f32> = (0..5)
                .map(|i| [0.0, -0.0, 1.0][code / 3usize.pow(i) % 3])
                .collect();
            let mut sorted: Vec<usize> = (0..5).collect();
            sorted.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap());
            for k in 0..=6 {
                let ours = top_k_items(&scores, k).unwrap();
                assert_eq!(ours, sorted[..k.min(5)], "{scores:?} at {k}");
            }
        }
    }

    #[test]
    fn masked_items_stay_out_and_bad_scores_are_named() {
        let masked = [f32::NEG_INFINITY; 3];
        assert_eq!(top_k_items(&masked, 2).unwrap(), [0; 0]);
        assert_eq!(top_k_items::<f32>(&[], 2).unwrap(), [0; 0]);
        for bad in [f32::NAN, f32::INFINITY] {
            let error = top_k_items(&[0.0, bad], 1).unwrap_err().to_string();
            assert!(error.contains("scores[1]"), "{error}");
        }
    }
}
