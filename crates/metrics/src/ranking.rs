//! Metrics of how scores rank samples: ROC and precision-recall curves and the areas under them
//! (`sklearn.metrics._ranking`).

use crate::{Average, MetricError, Result, Score, check, probability::class_probabilities};
use serde::Serialize;

/// One threshold of a ROC curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RocPoint {
    /// Samples with a score at or above it count as positive; infinite for the first point.
    pub threshold: f64,
    /// Share of negatives called positive.
    pub false_positive_rate: f64,
    /// Share of positives called positive.
    pub true_positive_rate: f64,
}

/// One threshold of a precision-recall curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PrPoint {
    /// Samples with a score at or above it count as positive.
    pub threshold: f64,
    /// Share of those that are positive.
    pub precision: f64,
    /// Share of positives among those.
    pub recall: f64,
}

/// Positives and negatives with a score at or above `threshold`.
struct Cut {
    threshold: f64,
    positives: u64,
    negatives: u64,
}

/// One cut for each distinct score, from the highest down; equal scores fall together.
fn cuts(labels: impl Iterator<Item = bool>, scores: &[f64]) -> Vec<Cut> {
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut cuts: Vec<Cut> = Vec::new();
    for (score, positive) in ranked {
        let (p, n) = cuts
            .last()
            .map_or((0, 0), |cut| (cut.positives, cut.negatives));
        let (positives, negatives) = (p + u64::from(positive), n + u64::from(!positive));
        match cuts.last_mut() {
            // `==` and not the sort's order: 0.0 and -0.0 are one score.
            Some(cut) if cut.threshold == score => {
                (cut.positives, cut.negatives) = (positives, negatives);
            }
            _ => cuts.push(Cut {
                threshold: score,
                positives,
                negatives,
            }),
        }
    }
    cuts
}

/// Area under the ROC curve from the cuts; `None` if all samples are of one kind.
///
/// Counted in integers: each negative of a tie group sees the positives above it whole and those
/// beside it half.
fn area(cuts: &[Cut]) -> Option<f64> {
    let last = cuts
        .last()
        .filter(|cut| cut.positives > 0 && cut.negatives > 0)?;
    let (mut twice, mut before) = (0u128, (0u64, 0u64));
    for cut in cuts {
        let (seen, more) = (
            u128::from(before.0 + cut.positives),
            u128::from(cut.negatives - before.1),
        );
        twice += seen * more;
        before = (cut.positives, cut.negatives);
    }
    Some(twice as f64 / (2.0 * last.positives as f64 * last.negatives as f64))
}

/// Step-wise area under the precision-recall curve; 0 without positives, as in scikit-learn.
fn step_area(cuts: &[Cut]) -> f64 {
    let total = cuts.last().map_or(0, |cut| cut.positives);
    if total == 0 {
        return 0.0;
    }
    let (mut sum, mut before) = (0.0, 0);
    for cut in cuts {
        let precision = cut.positives as f64 / (cut.positives + cut.negatives) as f64;
        sum += (cut.positives - before) as f64 * precision;
        before = cut.positives;
    }
    sum / total as f64
}

fn binary_cuts<S: Score>(metric: &'static str, y_true: &[bool], y_score: &[S]) -> Result<Vec<Cut>> {
    check::same_length(("y_score", y_score.len()), ("y_true", y_true.len()))?;
    check::not_empty(metric, y_true.len())?;
    let scores = check::finite("y_score", y_score)?;
    Ok(cuts(y_true.iter().copied(), &scores))
}

fn one_kind(metric: &'static str, cuts: &[Cut]) -> MetricError {
    let positive = cuts.last().is_some_and(|cut| cut.positives > 0);
    let kind = if positive { "positive" } else { "negative" };
    MetricError::Undefined {
        metric,
        why: format!("every sample is {kind}; it needs both kinds"),
    }
}

/// The ROC curve from the strictest threshold to the laxest, with every distinct score
/// (`drop_intermediate=False`) after the point (0, 0).
///
/// Undefined where all samples are of one kind.
pub fn roc_curve<S: Score>(y_true: &[bool], y_score: &[S]) -> Result<Vec<RocPoint>> {
    let cuts = binary_cuts("the ROC curve", y_true, y_score)?;
    let both = cuts
        .last()
        .filter(|cut| cut.positives > 0 && cut.negatives > 0);
    let last = both.ok_or_else(|| one_kind("the ROC curve", &cuts))?;
    let start = Cut {
        threshold: f64::INFINITY,
        positives: 0,
        negatives: 0,
    };
    Ok(std::iter::once(&start)
        .chain(&cuts)
        .map(|cut| RocPoint {
            threshold: cut.threshold,
            false_positive_rate: cut.negatives as f64 / last.negatives as f64,
            true_positive_rate: cut.positives as f64 / last.positives as f64,
        })
        .collect())
}

/// The precision-recall curve from the strictest threshold to the laxest: scikit-learn's arrays
/// read backwards, without its closing point (1, 0). Without positives, recall is 1 throughout,
/// as there.
pub fn precision_recall_curve<S: Score>(y_true: &[bool], y_score: &[S]) -> Result<Vec<PrPoint>> {
    let cuts = binary_cuts("the precision-recall curve", y_true, y_score)?;
    let total = cuts.last().map_or(0, |cut| cut.positives);
    Ok(cuts
        .iter()
        .map(|cut| PrPoint {
            threshold: cut.threshold,
            precision: cut.positives as f64 / (cut.positives + cut.negatives) as f64,
            recall: if total == 0 {
                1.0
            } else {
                cut.positives as f64 / total as f64
            },
        })
        .collect())
}

/// Area under the ROC curve: the chance that a positive scores above a negative, ties counted
/// half.
///
/// Undefined where all samples are of one kind (scikit-learn answers NaN).
pub fn roc_auc<S: Score>(y_true: &[bool], y_score: &[S]) -> Result<f64> {
    let cuts = binary_cuts("AUROC", y_true, y_score)?;
    area(&cuts).ok_or_else(|| one_kind("AUROC", &cuts))
}

/// One-vs-rest area under the ROC curve (`roc_auc_score(multi_class="ovr")`); `y_proba` is
/// `[samples, num_classes]` and its rows sum to one.
///
/// With [`Average::Macro`] undefined where a class has no sample, or every one; with
/// [`Average::Weighted`] absent classes weigh nothing, and it is undefined only where all samples
/// are of one class. [`Average::Micro`] ranks all cells of the table together.
pub fn roc_auc_ovr<S: Score>(
    y_true: &[usize],
    y_proba: &[S],
    num_classes: usize,
    average: Average,
) -> Result<f64> {
    const METRIC: &str = "one-vs-rest AUROC";
    let proba = class_probabilities(y_true, y_proba, num_classes)?;
    check::not_empty(METRIC, y_true.len())?;
    if average == Average::Micro {
        let cells = y_true
            .iter()
            .flat_map(|&truth| (0..num_classes).map(move |c| c == truth));
        let cuts = cuts(cells, &proba);
        return area(&cuts).ok_or_else(|| one_kind(METRIC, &cuts));
    }
    let (mut sum, mut weights) = (0.0, 0.0);
    for class in 0..num_classes {
        let support = y_true.iter().filter(|&&truth| truth == class).count();
        let weight = if average == Average::Weighted {
            support as f64
        } else {
            1.0
        };
        if weight == 0.0 {
            continue;
        }
        let column: Vec<f64> = proba
            .iter()
            .skip(class)
            .step_by(num_classes)
            .copied()
            .collect();
        let cuts = cuts(y_true.iter().map(|&truth| truth == class), &column);
        let area = area(&cuts).ok_or_else(|| MetricError::Undefined {
            metric: METRIC,
            why: format!("class {class} has {support} of {} samples", y_true.len()),
        })?;
        sum += weight * area;
        weights += weight;
    }
    Ok(sum / weights)
}

/// Average precision: the step-wise area under the precision-recall curve. 0 where no sample is
/// positive, as in scikit-learn.
pub fn average_precision<S: Score>(y_true: &[bool], y_score: &[S]) -> Result<f64> {
    Ok(step_area(&binary_cuts(
        "average precision",
        y_true,
        y_score,
    )?))
}

/// Average precision over several labels a sample; both tables are `[samples, num_labels]`.
///
/// Labels without a positive count 0 in the [`Average::Macro`] mean and weigh nothing in the
/// [`Average::Weighted`] one, which is 0 where there is no positive at all.
pub fn average_precision_multilabel<S: Score>(
    y_true: &[bool],
    y_score: &[S],
    num_labels: usize,
    average: Average,
) -> Result<f64> {
    const METRIC: &str = "average precision";
    if num_labels == 0 || !y_true.len().is_multiple_of(num_labels) {
        return Err(MetricError::Argument {
            name: "num_labels",
            value: num_labels.to_string(),
            expected: "a divisor of y_true's length",
        });
    }
    check::same_length(("y_score", y_score.len()), ("y_true", y_true.len()))?;
    check::not_empty(METRIC, y_true.len())?;
    let scores = check::finite("y_score", y_score)?;
    if average == Average::Micro {
        return Ok(step_area(&cuts(y_true.iter().copied(), &scores)));
    }
    let (mut sum, mut weights) = (0.0, 0.0);
    for label in 0..num_labels {
        let column: Vec<f64> = scores
            .iter()
            .skip(label)
            .step_by(num_labels)
            .copied()
            .collect();
        let cuts = cuts(
            y_true.iter().skip(label).step_by(num_labels).copied(),
            &column,
        );
        let positives = cuts.last().map_or(0, |cut| cut.positives);
        let weight = if average == Average::Weighted {
            positives as f64
        } else {
            1.0
        };
        sum += weight * step_area(&cuts);
        weights += weight;
    }
    Ok(if weights == 0.0 { 0.0 } else { sum / weights })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand() {
        let (y, s) = ([true, false, true, false], [0.9f32, 0.9, 0.5, 0.1]);
        // Pairs: tie, win, loss, win.
        assert_eq!(roc_auc(&y, &s).unwrap(), 2.5 / 4.0);
        // One of two positives at precision 1/2, the other at 2/3.
        assert_eq!(
            average_precision(&y, &s).unwrap(),
            0.5 * 0.5 + 0.5 * (2.0 / 3.0)
        );
        assert_eq!(roc_curve(&y, &s).unwrap().len(), 4);
        assert_eq!(roc_auc(&[true, false], &[0.0, -0.0]).unwrap(), 0.5);
    }

    #[test]
    fn undefined_and_bad_input_are_named() {
        let text = |r: Result<f64>| r.unwrap_err().to_string();
        let one = text(roc_auc(&[true, true], &[0.1, 0.2]));
        assert_eq!(
            one,
            "AUROC is undefined: every sample is positive; it needs both kinds"
        );
        assert!(roc_curve(&[false], &[0.1]).is_err());
        assert!(text(roc_auc(&[true, false], &[0.1, f64::INFINITY])).contains("y_score[1] is inf"));
        let absent = roc_auc_ovr(&[0, 1], &[0.9, 0.1, 0.0, 0.2, 0.8, 0.0], 3, Average::Macro);
        assert!(text(absent).contains("class 2 has 0 of 2 samples"));
        let table =
            average_precision_multilabel(&[true, false, true], &[0.1, 0.2, 0.3], 2, Average::Macro);
        assert!(text(table).contains("num_labels is 2"));
        let none = average_precision_multilabel::<f64>(&[], &[], 2, Average::Macro);
        assert!(text(none).contains("no samples"));
    }
}
