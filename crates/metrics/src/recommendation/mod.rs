//! How good the lists are that a recommender gives to users: relevance ([`RelevanceScorer`]),
//! what they do to the catalogue ([`CatalogueScorer`]), and areas under the ROC curve user by user
//! ([`GroupedAuc`]), as RecBole 1.2.1 computes them.
//!
//! Scores become a list by [`top_k_items`]: higher score first, among equal scores the lower item
//! index. RecBole takes `torch.topk`, which leaves the order of equal scores open.
//!
//! A user without positives says nothing about relevance. RecBole's data loaders leave such users
//! out, and its `GAUC` removes them; here every scorer of relevance counts them apart and nowhere
//! else. Over all candidates together, regardless of the user, RecBole's `AUC` is
//! [`roc_auc`](crate::roc_auc) and its `LogLoss` is [`LogLoss`](crate::LogLoss).
//!
//! Items are indices below the size of the catalogue. RecBole counts its padding item among them
//! (`num_items` is one more than there are items), which lowers its coverage and raises its Gini
//! index a little: to get the figures of such a run, keep index 0 free.

mod catalogue;
mod grouped_auc;
mod relevance;
mod top_k_items;

pub use catalogue::{CatalogueScorer, CatalogueScores, Tail};
pub use grouped_auc::GroupedAuc;
pub use relevance::{RelevanceScorer, RelevanceScores};
pub use top_k_items::top_k_items;

use crate::{MetricError, Result};
use std::collections::BTreeSet;

/// The cut-offs of a scorer: at least one, each at least 1; ascending, each once.
fn cut_offs(ks: &[usize]) -> Result<Vec<usize>> {
    let sorted: BTreeSet<usize> = ks.iter().copied().collect();
    match sorted.first() {
        Some(&least) if least > 0 => Ok(sorted.into_iter().collect()),
        least => Err(MetricError::Argument {
            name: "ks",
            value: least.map_or("empty".to_string(), ToString::to_string),
            expected: "at least one cut-off, each at least 1",
        }),
    }
}

/// The first `k` of a user's list, in which no item may stand twice.
fn head(ranked: &[usize], k: usize) -> Result<&[usize]> {
    let head = &ranked[..ranked.len().min(k)];
    let mut seen = BTreeSet::new();
    match head.iter().find(|&&item| !seen.insert(item)) {
        None => Ok(head),
        Some(item) => Err(MetricError::Argument {
            name: "ranked",
            value: format!("a list with item {item} twice"),
            expected: "each item once",
        }),
    }
}
