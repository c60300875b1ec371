//! Metrics of anomaly scores against point labels: precision at n, the best F1 and its threshold,
//! recall at a false-positive rate, and the point-adjusted F1.

use crate::{MetricError, Result, Score, check, precision_recall_curve, roc_curve};
use serde::Serialize;

/// The threshold at which F1 is highest, and what it gives there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct F1Max {
    /// Samples with a score at or above it count as positive; the lowest one among equals.
    pub threshold: f64,
    /// Share of those that are positive.
    pub precision: f64,
    /// Share of positives among those.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
}

/// Precision among the `n` highest scores, PyOD's `precision_n_scores`; `n` is the number of
/// positives where it is `None`.
///
/// As there, the cut is the `1 - n / samples` percentile, linearly interpolated, and what is called
/// positive lies strictly above it: scores that tie with the cut are left out, and 0 is the answer
/// where they all do.
///
/// # Errors
/// `n` outside `0..=samples`; undefined where `n` is `None` and no sample is positive.
pub fn precision_at_n<S: Score>(y_true: &[bool], y_score: &[S], n: Option<usize>) -> Result<f64> {
    const METRIC: &str = "precision at n";
    check::same_length(("y_score", y_score.len()), ("y_true", y_true.len()))?;
    check::not_empty(METRIC, y_true.len())?;
    let scores = check::finite("y_score", y_score)?;
    let positives = y_true.iter().filter(|&&positive| positive).count();
    let n = n.unwrap_or(positives);
    if n > scores.len() {
        return Err(MetricError::Argument {
            name: "n",
            value: n.to_string(),
            expected: "at most the number of samples",
        });
    }
    if n == 0 && positives == 0 {
        return Err(MetricError::Undefined {
            metric: METRIC,
            why: "no sample is positive".into(),
        });
    }
    let share = n as f64 / scores.len() as f64;
    let cut = percentile(&scores, 100.0 * (1.0 - share));
    let (mut called, mut right) = (0u64, 0u64);
    for (&score, &positive) in scores.iter().zip(y_true) {
        if score > cut {
            called += 1;
            right += u64::from(positive);
        }
    }
    Ok(if called == 0 {
        0.0
    } else {
        right as f64 / called as f64
    })
}

/// NumPy's `percentile(values, q)` with its default, linear, interpolation, rounding included.
fn percentile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = (sorted.len() - 1) as f64 * (q / 100.0);
    let below = position.floor();
    let (low, t) = (below as usize, position - below);
    let (a, b) = (sorted[low], sorted[(low + 1).min(sorted.len() - 1)]);
    if t >= 0.5 {
        b - (b - a) * (1.0 - t)
    } else {
        a + (b - a) * t
    }
}

/// The highest F1 over all thresholds of [`precision_recall_curve`].
///
/// # Errors
/// Undefined where no sample is positive.
pub fn f1_max<S: Score>(y_true: &[bool], y_score: &[S]) -> Result<F1Max> {
    let curve = precision_recall_curve(y_true, y_score)?;
    if !y_true.contains(&true) {
        return Err(MetricError::Undefined {
            metric: "the highest F1",
            why: "no sample is positive".into(),
        });
    }
    let mut best: Option<F1Max> = None;
    for point in curve {
        let f1 = harmonic(point.precision, point.recall);
        // From the strictest to the laxest: `>=` keeps the lowest threshold among equals.
        if best.is_none_or(|best| f1 >= best.f1) {
            best = Some(F1Max {
                threshold: point.threshold,
                precision: point.precision,
                recall: point.recall,
                f1,
            });
        }
    }
    best.ok_or(MetricError::Empty {
        metric: "the highest F1",
    })
}

/// The highest recall whose false-positive rate does not exceed `max_fpr`, over all thresholds.
///
/// # Errors
/// `max_fpr` outside \[0, 1\]; undefined where all samples are of one kind.
pub fn recall_at_fpr<S: Score>(y_true: &[bool], y_score: &[S], max_fpr: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&max_fpr) {
        return Err(MetricError::Argument {
            name: "max_fpr",
            value: max_fpr.to_string(),
            expected: "a rate between 0 and 1",
        });
    }
    let curve = roc_curve(y_true, y_score)?;
    let within = curve.iter().filter(|p| p.false_positive_rate <= max_fpr);
    Ok(within.map(|p| p.true_positive_rate).fold(0.0, f64::max))
}

/// F1 of decided points (0 where nothing is right), the measure that [`point_adjusted_f1`] inflates.
pub fn pointwise_f1(y_true: &[bool], y_pred: &[bool]) -> Result<f64> {
    check::same_length(("y_pred", y_pred.len()), ("y_true", y_true.len()))?;
    check::not_empty("F1", y_true.len())?;
    let count = |truth: bool, called: bool| {
        let both = y_true.iter().zip(y_pred);
        both.filter(|&(&t, &p)| (t, p) == (truth, called)).count() as f64
    };
    let right = count(true, true);
    let either = 2.0 * right + count(false, true) + count(true, false);
    Ok(if either == 0.0 {
        0.0
    } else {
        2.0 * right / either
    })
}

/// F1 after point adjustment (Xu et al. 2018, "Unsupervised Anomaly Detection via Variational
/// Auto-Encoder"): one hit within an anomalous span counts the whole span as found.
///
/// It is high for scores that are noise, because a long span is hit by chance (Kim et al. 2022,
/// "Towards a Rigorous Evaluation of Time-Series Anomaly Detection"): give it beside
/// [`pointwise_f1`], never instead.
pub fn point_adjusted_f1(y_true: &[bool], y_pred: &[bool]) -> Result<f64> {
    check::same_length(("y_pred", y_pred.len()), ("y_true", y_true.len()))?;
    let mut adjusted = y_pred.to_vec();
    for span in crate::range_based::spans(y_true) {
        if y_pred[span.clone()].contains(&true) {
            adjusted[span].fill(true);
        }
    }
    pointwise_f1(y_true, &adjusted)
}

fn harmonic(precision: f64, recall: f64) -> f64 {
    if precision + recall == 0.0 {
        0.0
    } else {
        2.0 * precision * recall / (precision + recall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Y: [bool; 5] = [false, true, true, false, false];
    const S: [f64; 5] = [0.1, 0.5, 0.3, 0.2, 0.7];

    #[test]
    fn by_hand() {
        // Two positives, two highest scores 0.7 (wrong) and 0.5 (right).
        assert_eq!(precision_at_n(&Y, &S, None).unwrap(), 0.5);
        assert_eq!(precision_at_n(&Y, &S, Some(1)).unwrap(), 0.0);
        let best = f1_max(&Y, &S).unwrap();
        assert_eq!((best.threshold, best.recall), (0.3, 1.0));
        assert!((best.f1 - 0.8).abs() < 1e-12);
        assert_eq!(recall_at_fpr(&Y, &S, 0.0).unwrap(), 0.0);
        assert_eq!(recall_at_fpr(&Y, &S, 0.34).unwrap(), 1.0);
    }

    #[test]
    fn one_hit_counts_for_the_whole_span_only_when_adjusted() {
        let truth = [false, true, true, true, false, false];
        let called = [false, false, true, false, false, true];
        assert_eq!(pointwise_f1(&truth, &called).unwrap(), 2.0 / 5.0);
        assert_eq!(point_adjusted_f1(&truth, &called).unwrap(), 6.0 / 7.0);
    }

    #[test]
    fn what_is_undefined_says_so() {
        let none = [false; 3];
        let s = [0.1, 0.2, 0.3];
        for text in [
            precision_at_n(&none, &s, None).unwrap_err().to_string(),
            f1_max(&none, &s).unwrap_err().to_string(),
        ] {
            assert!(text.contains("no sample is positive"), "{text}");
        }
        assert!(precision_at_n(&none, &s, Some(4)).is_err());
        assert!(recall_at_fpr(&Y, &S, 1.5).is_err());
        assert!(recall_at_fpr(&none, &s, 0.1).is_err());
        assert_eq!(pointwise_f1(&none, &none).unwrap(), 0.0);
    }
}
