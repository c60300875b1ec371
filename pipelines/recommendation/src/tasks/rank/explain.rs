//! Why an item was recommended: what its score would be without each of the user's items.

use super::ranker::{RankRequest, Ranker};
use crate::{models::Query, tasks::rows};
use panoply_core::{Error, ExplainRequest, Output, Result};
use panoply_metrics::top_k_items;
use serde_json::json;

/// The one method.
pub(super) const METHODS: &[&str] = &["removal"];

/// Items of the history whose removal is tried together.
const CHUNK: usize = 64;

/// The contribution of each of the user's items to the score of the target (an index into `items.json`; the best
/// recommendation if none is given): the score minus the score without that item.
///
/// For models whose scores follow from the history alone this is what the model would answer (EASE and ItemKNN add items up,
/// so the contributions add up to the score). A model with a vector for each user is asked about the history as if it were
/// somebody new's, with and without the item; `exact` says which of the two it was.
pub(super) fn explain(ranker: &Ranker, request: &ExplainRequest) -> Result<Output> {
    if !METHODS.contains(&request.method.as_str()) {
        return Err(Error::unknown(
            "explanation method",
            &request.method,
            METHODS.iter().copied(),
        ));
    }
    let asked: RankRequest = rows::parse(&request.input, super::FIELDS)?;
    let prepared = ranker.prepare(&asked, &request.input.name)?;
    let target = match request.target {
        Some(target) if target >= ranker.config.num_items => {
            let expected = format!("an index below {}", ranker.config.num_items);
            return Err(Error::input("--target", target.to_string(), expected));
        }
        Some(target) => target,
        None => {
            let mut scores = ranker.model.scores(&[prepared.query()])?;
            ranker.filter(&prepared, &mut scores);
            let best = top_k_items(&scores, 1).map_err(super::protocol::metric_error)?;
            best.first().copied().ok_or_else(|| {
                Error::input(
                    &request.input.name,
                    "nothing is left to recommend",
                    "fewer filters",
                )
            })?
        }
    };
    let history = prepared.history();
    let whole = ranker.model.scores(&[Query::cold(history)])?[target];
    let without: Vec<Vec<u32>> = (0..history.len())
        .map(|at| [&history[..at], &history[at + 1..]].concat())
        .collect();
    let mut contributions: Vec<(u32, f32)> = Vec::with_capacity(history.len());
    for (items, shorter) in history.chunks(CHUNK).zip(without.chunks(CHUNK)) {
        let queries: Vec<Query<'_>> = shorter.iter().map(|items| Query::cold(items)).collect();
        let scores = ranker.model.scores(&queries)?;
        let left = scores
            .chunks(ranker.config.num_items)
            .map(|row| row[target]);
        contributions.extend(
            items
                .iter()
                .zip(left)
                .map(|(&item, score)| (item, whole - score)),
        );
    }
    // Stable: of equal contributions the older item first.
    contributions.sort_by(|a, b| b.1.total_cmp(&a.1));
    let name = |item: u32| ranker.ids.items.name(item);
    let items: Vec<_> = contributions
        .iter()
        .map(|&(item, contribution)| json!({ "item": name(item), "contribution": contribution }))
        .collect();
    let shown = format!("contribution to {}", name(target as u32));
    let header = vec![String::new(), "item".into(), shown];
    let rows = contributions
        .iter()
        .map(|&(item, value)| vec![String::new(), name(item).to_string(), format!("{value:.4}")]);
    Ok(Output {
        json: json!({
            "item": name(target as u32), "score": whole,
            "exact": ranker.model.is_history_based(), "items": items,
        }),
        table: std::iter::once(header).chain(rows).collect(),
        ..Output::default()
    })
}
