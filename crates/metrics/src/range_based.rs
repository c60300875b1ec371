//! Range-based precision and recall for time series (Tatbul et al. 2018, "Precision and Recall for
//! Time Series"), equal to aeon's `range_precision` and `range_recall`.
//!
//! Labels are one a time step; a range is a longest run of positive ones. Each range is rewarded for
//! how much of it the other side covers, weighted by where (the bias) and divided by the number of
//! pieces that cover it (the cardinality).
//!
//! Difference from aeon 1.6.0: its F-score multiplies the denominator's precision by beta squared too,
//! which is the F-score only for beta 1; [`range_f_beta`] is the definition for every beta. aeon answers
//! 0 with a warning where `y_pred` is constant; here a constant prediction is scored like any other,
//! so that everything called anomalous has full recall.

use crate::{MetricError, Result, check};
use serde::Serialize;
use std::ops::Range;

/// Which positions of a range count more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum PositionalBias {
    /// All the same.
    #[default]
    Flat,
    /// Early ones: what early detection is worth.
    Front,
    /// Those in the middle.
    Middle,
    /// Late ones.
    Back,
}

impl PositionalBias {
    /// Weight of the `position`-th step, counted from 1, of a range of `length`.
    fn weight(self, position: usize, length: usize) -> f64 {
        let (i, n) = (position as f64, length as f64);
        match self {
            Self::Flat => 1.0,
            Self::Front => 1.0 - (i - 1.0) / n,
            Self::Middle if i <= n / 2.0 => i / (n / 2.0),
            Self::Middle => (n - i + 1.0) / (n / 2.0),
            Self::Back => i / n,
        }
    }
}

/// What several pieces over one range cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Cardinality {
    /// Nothing.
    One,
    /// The reward is divided by their number.
    #[default]
    Reciprocal,
}

/// The longest runs of `true`, in order.
pub fn spans(labels: &[bool]) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (i, _) in labels.iter().enumerate().filter(|&(_, &label)| label) {
        match spans.last_mut() {
            Some(last) if last.end == i => last.end = i + 1,
            _ => spans.push(i..i + 1),
        }
    }
    spans
}

/// Mean reward of the ranges of `rated` for how the ranges of `other` cover them; 0 without any range.
fn mean_reward(
    rated: &[Range<usize>],
    other: &[Range<usize>],
    alpha: f64,
    cardinality: Cardinality,
    bias: PositionalBias,
) -> f64 {
    if rated.is_empty() {
        return 0.0;
    }
    let mut sum = 0.0;
    for range in rated {
        let first = other.partition_point(|o| o.end <= range.start);
        let cover = other[first..].iter().take_while(|o| o.start < range.end);
        let (mut pieces, mut covered) = (0usize, 0.0);
        for piece in cover {
            pieces += 1;
            let overlap = piece.start.max(range.start)..piece.end.min(range.end);
            covered += overlap
                .map(|at| bias.weight(at - range.start + 1, range.len()))
                .sum::<f64>();
        }
        let whole: f64 = (1..=range.len()).map(|i| bias.weight(i, range.len())).sum();
        let gamma = match cardinality {
            Cardinality::Reciprocal if pieces > 1 => 1.0 / pieces as f64,
            _ => 1.0,
        };
        let existence = if pieces > 0 { 1.0 } else { 0.0 };
        sum += alpha * existence + (1.0 - alpha) * gamma * covered / whole;
    }
    sum / rated.len() as f64
}

fn checked(y_true: &[bool], y_pred: &[bool], alpha: f64) -> Result<[Vec<Range<usize>>; 2]> {
    check::same_length(("y_pred", y_pred.len()), ("y_true", y_true.len()))?;
    check::not_empty("a range-based metric", y_true.len())?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(MetricError::Argument {
            name: "alpha",
            value: alpha.to_string(),
            expected: "a weight between 0 and 1",
        });
    }
    Ok([spans(y_true), spans(y_pred)])
}

/// Mean over the predicted ranges of how much of each is anomalous; 0 where nothing is predicted.
pub fn range_precision(
    y_true: &[bool],
    y_pred: &[bool],
    cardinality: Cardinality,
    bias: PositionalBias,
) -> Result<f64> {
    let [truth, called] = checked(y_true, y_pred, 0.0)?;
    Ok(mean_reward(&called, &truth, 0.0, cardinality, bias))
}

/// Mean over the anomalous ranges of how much of each is predicted; `alpha` is the weight of being
/// found at all. 0 where nothing is anomalous.
///
/// # Errors
/// `alpha` outside \[0, 1\].
pub fn range_recall(
    y_true: &[bool],
    y_pred: &[bool],
    alpha: f64,
    cardinality: Cardinality,
    bias: PositionalBias,
) -> Result<f64> {
    let [truth, called] = checked(y_true, y_pred, alpha)?;
    Ok(mean_reward(&truth, &called, alpha, cardinality, bias))
}

/// The F-score of a range-based precision and recall.
pub fn range_f_beta(precision: f64, recall: f64, beta: f64) -> f64 {
    let weight = beta * beta;
    let denominator = weight * precision + recall;
    if denominator == 0.0 {
        0.0
    } else {
        (1.0 + weight) * precision * recall / denominator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str) -> Vec<bool> {
        text.chars().map(|c| c == '1').collect()
    }

    #[test]
    fn runs_are_half_open() {
        assert_eq!(spans(&flags("0110010")), vec![1..3, 5..6]);
        assert_eq!(spans(&flags("11")), vec![0..2]);
        assert!(spans(&[]).is_empty());
    }

    #[test]
    fn rewards_by_hand() {
        let (truth, called) = (flags("0111100000"), flags("0100110000"));
        let (one, flat) = (Cardinality::One, PositionalBias::Flat);
        // Ranges [1] (all anomalous) and [4, 5] (half).
        assert_eq!(range_precision(&truth, &called, one, flat).unwrap(), 0.75);
        // Two of four steps found, by two pieces.
        assert_eq!(range_recall(&truth, &called, 0.0, one, flat).unwrap(), 0.5);
        let split = range_recall(&truth, &called, 0.0, Cardinality::Reciprocal, flat).unwrap();
        assert_eq!(split, 0.25);
        assert_eq!(range_recall(&truth, &called, 1.0, one, flat).unwrap(), 1.0);
        // Weights 4, 3, 2, 1 of ten, at the first and the last step.
        let front = range_recall(&truth, &called, 0.0, one, PositionalBias::Front).unwrap();
        assert!((front - 0.5).abs() < 1e-12);
    }

    #[test]
    fn nothing_predicted_or_nothing_anomalous_is_zero() {
        let (some, none) = (flags("0110"), flags("0000"));
        let (gamma, bias) = (Cardinality::default(), PositionalBias::default());
        assert_eq!(range_precision(&some, &none, gamma, bias).unwrap(), 0.0);
        assert_eq!(range_recall(&none, &some, 0.5, gamma, bias).unwrap(), 0.0);
        assert_eq!(range_f_beta(0.0, 0.0, 1.0), 0.0);
        assert!(range_recall(&some, &some, 1.1, gamma, bias).is_err());
        assert!(range_precision(&some, &[true], gamma, bias).is_err());
        assert!(range_precision(&[], &[], gamma, bias).is_err());
    }
}
