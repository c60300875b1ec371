//! Checks of labels and scores that all metrics share.

use crate::{MetricError, Result};

/// A score or probability: `f32` or `f64`, computed with as `f64`.
pub trait Score: Copy + Into<f64> {}

impl<T: Copy + Into<f64>> Score for T {}

/// How far class probabilities may sum from one: scikit-learn's `sqrt(eps)` rule for `f32` arrays,
/// because probabilities come out of an `f32` softmax.
const SUM_TOLERANCE: f64 = 3.452_669_830_725_202e-4;

/// One length for both slices.
pub(crate) fn same_length(
    (what, found): (&'static str, usize),
    (against, expected): (&'static str, usize),
) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(MetricError::LengthMismatch {
        what,
        found,
        expected,
        against,
    })
}

/// At least one sample.
pub(crate) fn not_empty(metric: &'static str, len: usize) -> Result<()> {
    if len == 0 {
        Err(MetricError::Empty { metric })
    } else {
        Ok(())
    }
}

/// Every label is the index of a class.
pub(crate) fn labels(what: &'static str, labels: &[usize], num_classes: usize) -> Result<()> {
    match labels.iter().position(|&label| label >= num_classes) {
        None => Ok(()),
        Some(index) => Err(MetricError::LabelOutOfRange {
            what,
            index,
            label: labels[index],
            num_classes,
        }),
    }
}

/// The scores as finite `f64`.
pub(crate) fn finite<S: Score>(what: &'static str, scores: &[S]) -> Result<Vec<f64>> {
    let scores: Vec<f64> = scores.iter().map(|&score| score.into()).collect();
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(scores),
        Some(index) => Err(MetricError::NotFinite {
            what,
            index,
            value: scores[index],
        }),
    }
}

/// The scores as probabilities.
pub(crate) fn probabilities<S: Score>(what: &'static str, scores: &[S]) -> Result<Vec<f64>> {
    let scores = finite(what, scores)?;
    match scores.iter().position(|score| !(0.0..=1.0).contains(score)) {
        None => Ok(scores),
        Some(index) => Err(MetricError::NotAProbability {
            what,
            index,
            value: scores[index],
        }),
    }
}

/// Every row sums to one, to within [`SUM_TOLERANCE`].
pub(crate) fn normalised(what: &'static str, table: &[f64], num_classes: usize) -> Result<()> {
    for (row, values) in table.chunks_exact(num_classes).enumerate() {
        let sum: f64 = values.iter().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(MetricError::NotNormalised { what, row, sum });
        }
    }
    Ok(())
}

/// At least `least` classes, and a table of `[samples, num_classes]` beside one label a sample.
pub(crate) fn table(
    y_true: &[usize],
    (what, len): (&'static str, usize),
    num_classes: usize,
    least: usize,
) -> Result<()> {
    if num_classes < least {
        let expected = if least == 1 {
            "at least one class"
        } else {
            "at least two classes"
        };
        return Err(MetricError::Argument {
            name: "num_classes",
            value: num_classes.to_string(),
            expected,
        });
    }
    let cells = y_true.len().saturating_mul(num_classes);
    same_length((what, len), ("y_true times num_classes", cells))?;
    labels("y_true", y_true, num_classes)
}
