//! The counts that precision, recall and F-beta are made of, and how those of several classes
//! become one number. Divisions by zero give 0, scikit-learn's and seqeval's default.

use crate::{Average, ClassScores, MetricError, Result};
use serde::Serialize;

/// Decisions about one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Called this class and of this class.
    pub(crate) hits: u64,
    /// Called this class.
    pub(crate) predicted: u64,
    /// Of this class.
    pub(crate) support: u64,
}

impl Counts {
    pub(crate) fn precision(self) -> f64 {
        ratio(self.hits as f64, self.predicted as f64)
    }

    pub(crate) fn recall(self) -> f64 {
        ratio(self.hits as f64, self.support as f64)
    }

    pub(crate) fn f_beta(self, beta: f64) -> f64 {
        if beta.is_infinite() {
            return self.recall();
        }
        let beta2 = beta * beta;
        let denominator = beta2 * self.support as f64 + self.predicted as f64;
        ratio((1.0 + beta2) * self.hits as f64, denominator)
    }

    pub(crate) fn scores(self) -> ClassScores {
        ClassScores {
            precision: self.precision(),
            recall: self.recall(),
            f1: self.f_beta(1.0),
            support: self.support,
        }
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.hits += more.hits;
        self.predicted += more.predicted;
        self.support += more.support;
    }

    /// All decisions together.
    pub(crate) fn sum(classes: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        classes.into_iter().for_each(|class| sum.add(class));
        sum
    }
}

/// One number of a score over `classes`; the macro average of no classes is undefined.
pub(crate) fn averaged(
    metric: &'static str,
    classes: &[Counts],
    average: Average,
    score: impl Fn(Counts) -> f64,
) -> Result<f64> {
    match average {
        Average::Micro => Ok(score(Counts::sum(classes.iter().copied()))),
        Average::Macro if classes.is_empty() => Err(MetricError::Undefined {
            metric,
            why: "there is no class to take the mean over".into(),
        }),
        Average::Macro => Ok(classes.iter().map(|&c| score(c)).sum::<f64>() / classes.len() as f64),
        Average::Weighted => {
            let weighted = classes.iter().map(|&c| c.support as f64 * score(c));
            let support: u64 = classes.iter().map(|c| c.support).sum();
            Ok(ratio(weighted.sum::<f64>(), support as f64))
        }
    }
}

pub(crate) fn check_beta(beta: f64) -> Result<()> {
    if beta >= 0.0 {
        return Ok(());
    }
    Err(MetricError::Argument {
        name: "beta",
        value: beta.to_string(),
        expected: "zero, a positive number, or infinity",
    })
}

pub(crate) fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 {
        0.0
    } else {
        numerator / denominator
    }
}
