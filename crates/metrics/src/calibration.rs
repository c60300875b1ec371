//! Expected calibration error (Guo et al. 2017) as `torchmetrics.classification.calibration_error`
//! computes it with `norm="l1"`.

use crate::{MetricError, Result, Score, check, probability::class_probabilities};
use serde::Serialize;

/// torchmetrics' number of bins.
pub const DEFAULT_BINS: usize = 15;

/// One bar of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Lower edge, inclusive.
    pub lower: f32,
    /// Upper edge, exclusive.
    pub upper: f32,
    /// Samples in it.
    pub count: u64,
    /// Their mean confidence; 0 if there are none.
    pub confidence: f64,
    /// Their share of correct answers; 0 if there are none.
    pub accuracy: f64,
}

/// Confidence and correctness, summed by confidence.
///
/// Bins are equally wide on \[0, 1\], closed below; a confidence of exactly 1 has a bin of its own,
/// as in torchmetrics. Confidences are compared with the edges as `f32`, the precision in which
/// torchmetrics bins them, and summed as `f64`.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationBins {
    edges: Vec<f32>,
    counts: Vec<u64>,
    confidences: Vec<f64>,
    hits: Vec<u64>,
}

impl CalibrationBins {
    /// `num_bins` empty bins, at least one.
    pub fn new(num_bins: usize) -> Result<Self> {
        // More bins than f32 has steps between 0 and 1 could not be told apart.
        if num_bins == 0 || num_bins > 1 << 20 {
            return Err(MetricError::Argument {
                name: "num_bins",
                value: num_bins.to_string(),
                expected: "between 1 and 1048576",
            });
        }
        let slots = num_bins + 1;
        Ok(Self {
            edges: linspace(num_bins),
            counts: vec![0; slots],
            confidences: vec![0.0; slots],
            hits: vec![0; slots],
        })
    }

    /// Adds a batch of confidences, each with whether the answer was correct.
    pub fn update<S: Score>(&mut self, confidence: &[S], correct: &[bool]) -> Result<()> {
        check::same_length(("confidence", confidence.len()), ("correct", correct.len()))?;
        for (value, &correct) in check::probabilities("confidence", confidence)?
            .iter()
            .zip(correct)
        {
            let value = *value as f32;
            let slot = self.edges.partition_point(|edge| *edge <= value) - 1;
            self.counts[slot] += 1;
            self.confidences[slot] += f64::from(value);
            self.hits[slot] += u64::from(correct);
        }
        Ok(())
    }

    /// Gap between confidence and accuracy, averaged over samples; an error if there are none.
    pub fn error(&self) -> Result<f64> {
        let total: u64 = self.counts.iter().sum();
        if total == 0 {
            return Err(MetricError::Empty {
                metric: "calibration error",
            });
        }
        let gaps = self
            .confidences
            .iter()
            .zip(&self.hits)
            .map(|(sum, &hits)| (sum - hits as f64).abs());
        Ok(gaps.sum::<f64>() / total as f64)
    }

    /// The reliability diagram; its last bar holds confidences of exactly 1.
    pub fn bins(&self) -> Vec<Bin> {
        let mean = |sum: f64, count: u64| if count == 0 { 0.0 } else { sum / count as f64 };
        (0..self.edges.len())
            .map(|slot| Bin {
                lower: self.edges[slot],
                upper: self.edges.get(slot + 1).copied().unwrap_or(1.0),
                count: self.counts[slot],
                confidence: mean(self.confidences[slot], self.counts[slot]),
                accuracy: mean(self.hits[slot] as f64, self.counts[slot]),
            })
            .collect()
    }
}

/// `torch.linspace(0, 1, num_bins + 1)` in `f32`: the upper half is measured from the end.
fn linspace(num_bins: usize) -> Vec<f32> {
    let step = 1.0 / num_bins as f32;
    let half = num_bins.div_ceil(2);
    (0..=num_bins)
        .map(|i| {
            if i < half {
                step * i as f32
            } else {
                1.0 - step * (num_bins - i) as f32
            }
        })
        .collect()
}

/// Calibration error of a yes/no question; `y_proba` is the probability of `true`, which is also
/// taken as the confidence (torchmetrics' binary rule).
pub fn binary_calibration_error<S: Score>(
    y_true: &[bool],
    y_proba: &[S],
    num_bins: usize,
) -> Result<f64> {
    check::same_length(("y_proba", y_proba.len()), ("y_true", y_true.len()))?;
    let mut bins = CalibrationBins::new(num_bins)?;
    bins.update(y_proba, y_true)?;
    bins.error()
}

/// Top-label calibration error; `y_proba` is `[samples, num_classes]`. Of equal probabilities the
/// lower class index is the answer.
pub fn multiclass_calibration_error<S: Score>(
    y_true: &[usize],
    y_proba: &[S],
    num_classes: usize,
    num_bins: usize,
) -> Result<f64> {
    let proba = class_probabilities(y_true, y_proba, num_classes)?;
    let (mut confidence, mut correct) = (Vec::new(), Vec::new());
    for (&truth, row) in y_true.iter().zip(proba.chunks_exact(num_classes)) {
        let top = (1..num_classes).fold(
            0,
            |top, class| if row[class] > row[top] { class } else { top },
        );
        confidence.push(row[top]);
        correct.push(top == truth);
    }
    let mut bins = CalibrationBins::new(num_bins)?;
    bins.update(&confidence, &correct)?;
    bins.error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_by_hand() {
        let mut bins = CalibrationBins::new(2).unwrap();
        bins.update(&[0.25, 0.25, 0.5, 1.0], &[false, true, true, true])
            .unwrap();
        let bars = bins.bins();
        assert_eq!(bars.iter().map(|b| b.count).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!((bars[0].confidence, bars[0].accuracy), (0.25, 0.5));
        // (2 * 0.25 + 1 * 0.5 + 1 * 0) / 4
        assert_eq!(bins.error().unwrap(), 0.25);
    }

    #[test]
    fn bad_input_is_named() {
        let text = |r: Result<f64>| r.unwrap_err().to_string();
        assert!(text(binary_calibration_error(&[true], &[2.0], 15)).contains("confidence[0] is 2"));
        assert!(text(binary_calibration_error(&[true], &[0.5], 0)).contains("num_bins is 0"));
        assert!(text(binary_calibration_error::<f64>(&[], &[], 15)).contains("no samples"));
        assert!(
            text(multiclass_calibration_error(&[0], &[0.7, 0.7], 2, 15)).contains("sums to 1.4")
        );
    }
}
