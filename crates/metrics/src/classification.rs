//! Metrics of decided labels: accuracy, precision, recall, F-beta, Matthews' coefficient, all read
//! off one confusion matrix (`sklearn.metrics._classification`).

use crate::counts::{Counts, averaged, check_beta};
use crate::{MetricError, Result, check};
use serde::Serialize;

/// How per-class values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// Over all decisions of all classes together.
    Micro,
    /// The plain mean over classes. For a [`ConfusionMatrix`] over the classes that occur among
    /// the true or the predicted labels, as scikit-learn with `labels=None`; likewise for entity
    /// types in an [`EntityScorer`](crate::EntityScorer).
    Macro,
    /// The mean over classes, weighted by how often each is true.
    Weighted,
}

/// Precision, recall and F1 of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// Of the samples called this class, the share that is.
    pub precision: f64,
    /// Of the samples of this class, the share that was called so.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// Samples of this class.
    pub support: u64,
}

/// Counts of (true, predicted) pairs over the labels `0..num_classes`.
///
/// Divisions by zero give 0, scikit-learn's `zero_division` default: a class never predicted has
/// precision 0, one never true has recall 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfusionMatrix {
    num_classes: usize,
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// No samples yet, of `num_classes` classes (at least one).
    pub fn new(num_classes: usize) -> Result<Self> {
        let cells = num_classes
            .checked_mul(num_classes)
            .filter(|&cells| cells > 0);
        let cells = cells.ok_or_else(|| MetricError::Argument {
            name: "num_classes",
            value: num_classes.to_string(),
            expected: "at least one class, and a square that fits in memory",
        })?;
        Ok(Self {
            num_classes,
            counts: vec![0; cells],
        })
    }

    /// The matrix of one pair of slices.
    pub fn from_labels(y_true: &[usize], y_pred: &[usize], num_classes: usize) -> Result<Self> {
        let mut matrix = Self::new(num_classes)?;
        matrix.update(y_true, y_pred)?;
        Ok(matrix)
    }

    /// Counts a batch. Nothing is counted if it is an error: the slices differ in length, or a
    /// label is out of range. An empty batch is fine.
    pub fn update(&mut self, y_true: &[usize], y_pred: &[usize]) -> Result<()> {
        check::same_length(("y_pred", y_pred.len()), ("y_true", y_true.len()))?;
        check::labels("y_true", y_true, self.num_classes)?;
        check::labels("y_pred", y_pred, self.num_classes)?;
        for (&truth, &predicted) in y_true.iter().zip(y_pred) {
            self.counts[truth * self.num_classes + predicted] += 1;
        }
        Ok(())
    }

    /// Adds the counts of another matrix over the same classes.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if other.num_classes != self.num_classes {
            return Err(MetricError::LengthMismatch {
                what: "the other matrix",
                found: other.num_classes,
                expected: self.num_classes,
                against: "this one's classes",
            });
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        Ok(())
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// Samples counted so far.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Samples of true class `truth` that were called `predicted`; 0 outside the matrix.
    pub fn get(&self, truth: usize, predicted: usize) -> u64 {
        if predicted >= self.num_classes {
            return 0;
        }
        self.counts
            .get(truth * self.num_classes + predicted)
            .copied()
            .unwrap_or(0)
    }

    /// One slice of predicted counts for each true class, in order.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks_exact(self.num_classes)
    }

    /// Share of samples whose predicted label is the true one.
    pub fn accuracy(&self) -> Result<f64> {
        let total = self.samples("accuracy")?;
        Ok(self.micro().hits as f64 / total as f64)
    }

    /// Mean recall over the classes that occur among the true labels
    /// (`balanced_accuracy_score`).
    pub fn balanced_accuracy(&self) -> Result<f64> {
        self.samples("balanced accuracy")?;
        let recalls: Vec<f64> = self
            .classes()
            .filter(|c| c.support > 0)
            .map(Counts::recall)
            .collect();
        Ok(recalls.iter().sum::<f64>() / recalls.len() as f64)
    }

    /// Matthews' correlation coefficient, for any number of classes (Gorodkin 2004). 0 if all
    /// samples are, or are called, one class, as in scikit-learn.
    pub fn matthews_corrcoef(&self) -> Result<f64> {
        // Products of counts are exact in i128 and not in f64.
        let total = i128::from(self.samples("Matthews' coefficient")?);
        let (mut truth_truth, mut pred_pred, mut truth_pred) = (0i128, 0i128, 0i128);
        for class in self.classes() {
            let (support, predicted) = (i128::from(class.support), i128::from(class.predicted));
            truth_truth += support * support;
            pred_pred += predicted * predicted;
            truth_pred += support * predicted;
        }
        let covariance = i128::from(self.micro().hits) * total - truth_pred;
        let (spread_pred, spread_truth) = (total * total - pred_pred, total * total - truth_truth);
        if spread_pred == 0 || spread_truth == 0 {
            return Ok(0.0);
        }
        Ok(covariance as f64 / ((spread_pred as f64).sqrt() * (spread_truth as f64).sqrt()))
    }

    /// Precision, averaged.
    pub fn precision(&self, average: Average) -> Result<f64> {
        self.averaged("precision", average, Counts::precision)
    }

    /// Recall, averaged.
    pub fn recall(&self, average: Average) -> Result<f64> {
        self.averaged("recall", average, Counts::recall)
    }

    /// F1, averaged.
    pub fn f1(&self, average: Average) -> Result<f64> {
        self.f_beta(1.0, average)
    }

    /// F-beta, averaged: `beta` of 0 is precision, infinite is recall.
    pub fn f_beta(&self, beta: f64, average: Average) -> Result<f64> {
        check_beta(beta)?;
        self.averaged("F-beta", average, |counts| counts.f_beta(beta))
    }

    /// F-beta of every class in `0..num_classes`.
    pub fn f_beta_per_class(&self, beta: f64) -> Result<Vec<f64>> {
        check_beta(beta)?;
        Ok(self.classes().map(|counts| counts.f_beta(beta)).collect())
    }

    /// Scores of every class in `0..num_classes`; for a yes/no question, entry 1 is
    /// scikit-learn's `average="binary"`.
    pub fn per_class(&self) -> Vec<ClassScores> {
        self.classes().map(Counts::scores).collect()
    }

    /// Whether the class occurs among the true or the predicted labels.
    pub fn is_present(&self, class: usize) -> bool {
        (0..self.num_classes).any(|other| self.get(class, other) + self.get(other, class) > 0)
    }

    fn samples(&self, metric: &'static str) -> Result<u64> {
        match self.total() {
            0 => Err(MetricError::Empty { metric }),
            total => Ok(total),
        }
    }

    fn classes(&self) -> impl Iterator<Item = Counts> {
        let mut counts = vec![Counts::default(); self.num_classes];
        for (truth, row) in self.rows().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                counts[truth].support += count;
                counts[predicted].predicted += count;
                if truth == predicted {
                    counts[truth].hits += count;
                }
            }
        }
        counts.into_iter()
    }

    fn micro(&self) -> Counts {
        Counts::sum(self.classes())
    }

    fn averaged(
        &self,
        metric: &'static str,
        average: Average,
        score: impl Fn(Counts) -> f64,
    ) -> Result<f64> {
        self.samples(metric)?;
        let occurs = |class: &Counts| class.support + class.predicted > 0;
        let present: Vec<Counts> = self.classes().filter(occurs).collect();
        averaged(metric, &present, average, score)
    }
}

/// Share of samples whose predicted label is the true one.
pub fn accuracy(y_true: &[usize], y_pred: &[usize]) -> Result<f64> {
    check::same_length(("y_pred", y_pred.len()), ("y_true", y_true.len()))?;
    check::not_empty("accuracy", y_true.len())?;
    let hits = y_true
        .iter()
        .zip(y_pred)
        .filter(|(truth, predicted)| truth == predicted)
        .count();
    Ok(hits as f64 / y_true.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let m = ConfusionMatrix::from_labels(&[0, 0, 1, 1, 1], &[0, 1, 1, 1, 0], 3).unwrap();
        assert_eq!(
            m.rows().collect::<Vec<_>>(),
            [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
        );
        assert_eq!(
            (m.get(1, 1), m.get(1, 7), m.get(7, 1), m.total()),
            (2, 0, 0, 5)
        );
        assert_eq!(m.accuracy().unwrap(), 0.6);
        assert_eq!(
            m.recall(Average::Macro).unwrap(),
            f64::midpoint(0.5, 2.0 / 3.0)
        );
        assert_eq!(
            m.per_class()[2],
            ClassScores {
                precision: 0.0,
                recall: 0.0,
                f1: 0.0,
                support: 0
            }
        );
        assert!(m.is_present(0) && !m.is_present(2));
    }

    #[test]
    fn a_bad_batch_counts_nothing_and_says_why() {
        let mut m = ConfusionMatrix::new(2).unwrap();
        let text = m.update(&[0, 1], &[0, 2]).unwrap_err().to_string();
        assert_eq!(text, "y_pred[1] is label 2; expected a label below 2");
        let text = m.update(&[0], &[]).unwrap_err().to_string();
        assert_eq!(text, "y_pred has 0 elements; expected 1 to match y_true");
        assert_eq!(m.total(), 0);
        assert_eq!(m.accuracy(), Err(MetricError::Empty { metric: "accuracy" }));
        assert!(
            m.f_beta(-1.0, Average::Macro).is_err() && m.f_beta(f64::NAN, Average::Micro).is_err()
        );
        assert!(ConfusionMatrix::new(0).is_err() && ConfusionMatrix::new(usize::MAX).is_err());
        assert!(m.merge(&ConfusionMatrix::new(3).unwrap()).is_err());
    }
}
