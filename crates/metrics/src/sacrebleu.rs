//! What BLEU and chrF share, as in sacrebleu: the checks of a corpus, n-gram counts, and the
//! signature.

use crate::{MetricError, Result, check};
use std::collections::HashMap;
use std::hash::Hash;

/// The sacrebleu release whose numbers and signatures these are.
pub const SACREBLEU_VERSION: &str = "2.6.0";

/// The longest n-grams that are counted; longer ones than any sentence mean a mistake.
const MAX_ORDER: usize = 1000;

/// At least one order, and no more than can be meant.
pub(crate) fn check_order(name: &'static str, order: usize) -> Result<()> {
    if (1..=MAX_ORDER).contains(&order) {
        return Ok(());
    }
    Err(MetricError::Argument {
        name,
        value: order.to_string(),
        expected: "between 1 and 1000",
    })
}

/// References of each hypothesis, checked: as many lists as hypotheses, none of them empty.
pub(crate) fn references<'a, R: AsRef<[T]>, T: AsRef<str> + 'a>(
    metric: &'static str,
    num_hypotheses: usize,
    references: &'a [R],
) -> Result<Vec<Vec<&'a str>>> {
    check::same_length(
        ("references", references.len()),
        ("hypotheses", num_hypotheses),
    )?;
    check::not_empty(metric, num_hypotheses)?;
    let texts = |refs: &'a R| refs.as_ref().iter().map(AsRef::as_ref).collect();
    let lists: Vec<Vec<&str>> = references.iter().map(texts).collect();
    match lists.iter().position(Vec::is_empty) {
        None => Ok(lists),
        Some(index) => Err(MetricError::Argument {
            name: "references",
            value: format!("empty for hypothesis {index}"),
            expected: "at least one reference for each hypothesis",
        }),
    }
}

/// `nrefs:1|case:mixed|…|version:2.6.0`, with sacrebleu's word for a varying number of references.
pub(crate) fn signature(references: &[Vec<&str>], lowercase: bool, own: &str) -> String {
    let mut counts = references.iter().map(Vec::len);
    let first = counts.next().unwrap_or(0);
    let nrefs = if counts.all(|count| count == first) {
        first.to_string()
    } else {
        "var".into()
    };
    let case = if lowercase { "lc" } else { "mixed" };
    format!("nrefs:{nrefs}|case:{case}|{own}|version:{SACREBLEU_VERSION}")
}

pub(crate) fn yes_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// How often each run of `n` items occurs; `n` is at least 1.
pub(crate) fn ngrams<T: Eq + Hash>(items: &[T], n: usize) -> HashMap<&[T], u64> {
    let mut counts = HashMap::new();
    for ngram in items.windows(n) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// How many runs of `n` items there are.
pub(crate) fn num_ngrams(len: usize, n: usize) -> u64 {
    (len + 1).saturating_sub(n) as u64
}

/// How many of the hypothesis' runs of `n` items the references have, each at most as often as
/// the one reference that has it most often.
pub(crate) fn matches<T: Eq + Hash>(
    hypothesis: &[T],
    references: &[HashMap<&[T], u64>],
    n: usize,
) -> u64 {
    let mut seen: HashMap<&[T], u64> = HashMap::new();
    let mut matches = 0;
    for ngram in hypothesis.windows(n) {
        let count = seen.entry(ngram).or_default();
        let most = references
            .iter()
            .filter_map(|counts| counts.get(ngram))
            .max();
        matches += u64::from(most.is_some_and(|most| *count < *most));
        *count += 1;
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_clipped_by_the_best_reference() {
        let references = [["a", "b"], ["a", "a"]];
        let counts: Vec<_> = references.iter().map(|r| ngrams(r, 1)).collect();
        assert_eq!(matches(&["a", "a", "a", "b"], &counts, 1), 3);
        assert_eq!(
            (num_ngrams(4, 4), num_ngrams(3, 4), num_ngrams(0, 1)),
            (1, 0, 0)
        );
    }
}
