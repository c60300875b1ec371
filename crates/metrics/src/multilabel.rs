//! Metrics of decided labels where a sample has any number of them
//! (`sklearn.metrics` over label-indicator matrices).

use crate::counts::{Counts, averaged, check_beta};
use crate::{Average, ClassScores, MetricError, Result, check};
use serde::Serialize;

/// For each label, how often it was true, was predicted, and both.
///
/// Divisions by zero give 0, scikit-learn's `zero_division` default. The macro average is over
/// all labels, also those that never occur.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MultilabelCounts {
    labels: Vec<Counts>,
    num_samples: u64,
    exact: u64,
    wrong_cells: u64,
}

impl MultilabelCounts {
    /// No samples yet, of `num_labels` labels (at least one).
    pub fn new(num_labels: usize) -> Result<Self> {
        if num_labels == 0 {
            return Err(MetricError::Argument {
                name: "num_labels",
                value: num_labels.to_string(),
                expected: "at least one label",
            });
        }
        Ok(Self {
            labels: vec![Counts::default(); num_labels],
            num_samples: 0,
            exact: 0,
            wrong_cells: 0,
        })
    }

    /// Counts a batch; both tables are `[samples, num_labels]`. Nothing is counted if it is an
    /// error: the tables differ in length or hold part of a row.
    pub fn update(&mut self, y_true: &[bool], y_pred: &[bool]) -> Result<()> {
        check::same_length(("y_pred", y_pred.len()), ("y_true", y_true.len()))?;
        let num_labels = self.labels.len();
        let whole = y_true.len() - y_true.len() % num_labels;
        check::same_length(
            ("y_true", y_true.len()),
            ("whole rows of num_labels", whole),
        )?;
        let rows = y_true
            .chunks_exact(num_labels)
            .zip(y_pred.chunks_exact(num_labels));
        for (truth, predicted) in rows {
            for (label, (&truth, &predicted)) in
                self.labels.iter_mut().zip(truth.iter().zip(predicted))
            {
                label.support += u64::from(truth);
                label.predicted += u64::from(predicted);
                label.hits += u64::from(truth && predicted);
                self.wrong_cells += u64::from(truth != predicted);
            }
            self.num_samples += 1;
            self.exact += u64::from(truth == predicted);
        }
        Ok(())
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

    /// Scores of every label in `0..num_labels`.
    pub fn per_label(&self) -> Vec<ClassScores> {
        self.labels.iter().map(|label| label.scores()).collect()
    }

    /// Share of samples whose labels are all right (`accuracy_score`).
    pub fn subset_accuracy(&self) -> Result<f64> {
        let samples = self.samples("subset accuracy")?;
        Ok(self.exact as f64 / samples as f64)
    }

    /// Share of cells of the table that are wrong (`hamming_loss`).
    pub fn hamming_loss(&self) -> Result<f64> {
        let samples = self.samples("Hamming loss")?;
        Ok(self.wrong_cells as f64 / (samples as f64 * self.labels.len() as f64))
    }

    fn samples(&self, metric: &'static str) -> Result<u64> {
        match self.num_samples {
            0 => Err(MetricError::Empty { metric }),
            samples => Ok(samples),
        }
    }

    fn averaged(
        &self,
        metric: &'static str,
        average: Average,
        score: impl Fn(Counts) -> f64,
    ) -> Result<f64> {
        self.samples(metric)?;
        averaged(metric, &self.labels, average, score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let mut counts = MultilabelCounts::new(3).unwrap();
        counts
            .update(&[true, false, false, true, true, false], &[true; 6])
            .unwrap();
        assert_eq!(counts.precision(Average::Micro).unwrap(), 0.5);
        assert_eq!(counts.precision(Average::Macro).unwrap(), 0.5);
        assert_eq!(counts.f1(Average::Weighted).unwrap(), 8.0 / 9.0);
        assert_eq!(counts.per_label()[2].f1, 0.0);
        assert_eq!(counts.subset_accuracy().unwrap(), 0.0);
        assert_eq!(counts.hamming_loss().unwrap(), 0.5);
    }

    #[test]
    fn bad_tables_are_named() {
        let mut counts = MultilabelCounts::new(2).unwrap();
        let text = counts.update(&[true; 3], &[true; 3]).unwrap_err();
        assert_eq!(
            text.to_string(),
            "y_true has 3 elements; expected 2 to match whole rows of num_labels"
        );
        assert!(counts.update(&[true; 2], &[true; 4]).is_err());
        assert!(counts.f_beta(f64::NAN, Average::Micro).is_err());
        assert_eq!(
            counts.f1(Average::Macro),
            Err(MetricError::Empty { metric: "F-beta" })
        );
        assert!(MultilabelCounts::new(0).is_err());
    }
}
