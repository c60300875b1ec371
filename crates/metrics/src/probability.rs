//! Proper scoring rules: log loss and the Brier score (`sklearn.metrics.log_loss`,
//! `brier_score_loss`).

use crate::{MetricError, Result, Score, check};

/// Cross-entropy of the true class in nats, summed over samples.
///
/// Probabilities are clipped to `[eps, 1 - eps]` with `f64`'s epsilon, as scikit-learn does for
/// `f64` arrays, so that a certain and wrong answer costs about 36. Rows that do not sum to one
/// (where scikit-learn warns) are an error; the number of classes is given, so absent classes and
/// a single class are fine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogLoss {
    sum: f64,
    total: u64,
}

impl LogLoss {
    /// Adds a batch; `y_proba` is `[samples, num_classes]`, with at least two classes. Nothing is
    /// added if it is an error.
    pub fn update<S: Score>(
        &mut self,
        y_true: &[usize],
        y_proba: &[S],
        num_classes: usize,
    ) -> Result<()> {
        let proba = class_probabilities(y_true, y_proba, num_classes)?;
        for (&truth, row) in y_true.iter().zip(proba.chunks_exact(num_classes)) {
            self.add(row[truth]);
        }
        Ok(())
    }

    /// Mean loss so far; an error if there is no sample.
    pub fn value(&self) -> Result<f64> {
        match self.total {
            0 => Err(MetricError::Empty { metric: "log loss" }),
            total => Ok(self.sum / total as f64),
        }
    }

    fn add(&mut self, probability_of_truth: f64) {
        self.sum -= probability_of_truth
            .clamp(f64::EPSILON, 1.0 - f64::EPSILON)
            .ln();
        self.total += 1;
    }
}

/// Mean [`LogLoss`] of one table, `[samples, num_classes]`.
pub fn log_loss<S: Score>(y_true: &[usize], y_proba: &[S], num_classes: usize) -> Result<f64> {
    let mut loss = LogLoss::default();
    loss.update(y_true, y_proba, num_classes)?;
    loss.value()
}

/// Mean log loss where `y_proba` is the probability of `true`.
pub fn binary_log_loss<S: Score>(y_true: &[bool], y_proba: &[S]) -> Result<f64> {
    check::same_length(("y_proba", y_proba.len()), ("y_true", y_true.len()))?;
    let mut loss = LogLoss::default();
    for (&truth, p) in y_true.iter().zip(check::probabilities("y_proba", y_proba)?) {
        loss.add(if truth { p } else { 1.0 - p });
    }
    loss.value()
}

/// Squared distance between the class probabilities and the one-hot truth, summed over samples.
///
/// Halved for two classes, as scikit-learn's `scale_by_half="auto"`: from 0 to 1 there, from 0 to
/// 2 for more classes.
#[derive(Clone, Debug, PartialEq)]
pub struct BrierScore {
    num_classes: usize,
    sum: f64,
    total: u64,
}

impl BrierScore {
    /// For `num_classes` classes, at least two.
    pub fn new(num_classes: usize) -> Result<Self> {
        if num_classes < 2 {
            return Err(MetricError::Argument {
                name: "num_classes",
                value: num_classes.to_string(),
                expected: "at least two classes",
            });
        }
        Ok(Self {
            num_classes,
            sum: 0.0,
            total: 0,
        })
    }

    /// Adds a batch; `y_proba` is `[samples, num_classes]`. Nothing is added if it is an error.
    pub fn update<S: Score>(&mut self, y_true: &[usize], y_proba: &[S]) -> Result<()> {
        let proba = class_probabilities(y_true, y_proba, self.num_classes)?;
        for (&truth, row) in y_true.iter().zip(proba.chunks_exact(self.num_classes)) {
            let distances = row.iter().enumerate().map(|(class, p)| {
                let target = if class == truth { 1.0 } else { 0.0 };
                (target - p).powi(2)
            });
            self.sum += distances.sum::<f64>();
        }
        self.total += y_true.len() as u64;
        Ok(())
    }

    /// Mean score so far; an error if there is no sample.
    pub fn value(&self) -> Result<f64> {
        let scale = if self.num_classes == 2 { 0.5 } else { 1.0 };
        match self.total {
            0 => Err(MetricError::Empty {
                metric: "Brier score",
            }),
            total => Ok(scale * self.sum / total as f64),
        }
    }
}

/// Mean [`BrierScore`] of one table, `[samples, num_classes]`.
pub fn brier_score<S: Score>(y_true: &[usize], y_proba: &[S], num_classes: usize) -> Result<f64> {
    let mut score = BrierScore::new(num_classes)?;
    score.update(y_true, y_proba)?;
    score.value()
}

/// Mean Brier score where `y_proba` is the probability of `true`.
pub fn binary_brier_score<S: Score>(y_true: &[bool], y_proba: &[S]) -> Result<f64> {
    check::same_length(("y_proba", y_proba.len()), ("y_true", y_true.len()))?;
    check::not_empty("Brier score", y_true.len())?;
    let proba = check::probabilities("y_proba", y_proba)?;
    let squares = y_true
        .iter()
        .zip(proba)
        .map(|(&truth, p)| (f64::from(u8::from(truth)) - p).powi(2));
    Ok(squares.sum::<f64>() / y_true.len() as f64)
}

/// A checked table of class probabilities whose rows sum to one.
pub(crate) fn class_probabilities<S: Score>(
    y_true: &[usize],
    y_proba: &[S],
    num_classes: usize,
) -> Result<Vec<f64>> {
    check::table(y_true, ("y_proba", y_proba.len()), num_classes, 2)?;
    let proba = check::probabilities("y_proba", y_proba)?;
    check::normalised("y_proba", &proba, num_classes)?;
    Ok(proba)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certain_error_is_dear_and_finite() {
        let loss = binary_log_loss(&[true], &[0.0]).unwrap();
        assert!((loss - 36.043_653_389).abs() < 1e-6, "{loss}");
        assert_eq!(
            binary_brier_score(&[true, false], &[0.0, 0.0]).unwrap(),
            0.5
        );
    }

    #[test]
    fn bad_probabilities_are_named() {
        let text = |r: Result<f64>| r.unwrap_err().to_string();
        assert_eq!(
            text(log_loss(&[0, 1], &[0.5, 0.5, 0.9, 0.3], 2)),
            "row 1 of y_proba sums to 1.2; expected probabilities that sum to 1"
        );
        assert!(text(log_loss(&[0], &[1.5, -0.5], 2)).contains("y_proba[0] is 1.5"));
        assert!(text(log_loss(&[2], &[0.5, 0.5], 2)).contains("label 2"));
        assert!(text(log_loss(&[0], &[1.0], 1)).contains("at least two classes"));
        assert!(text(binary_log_loss(&[true], &[f64::NAN])).contains("NaN"));
        assert!(text(binary_log_loss::<f64>(&[], &[])).contains("no samples"));
        assert!(text(brier_score(&[0], &[1.0], 1)).contains("at least two"));
    }
}
