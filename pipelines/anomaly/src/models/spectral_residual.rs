//! Spectral residual (Ren et al. 2019, "Time-Series Anomaly Detection Service at Microsoft"): what remains of a
//! window's log amplitude spectrum after its local mean is taken away, brought back to the time domain, is large where
//! the window is unlike itself.
//!
//! The same numbers as alibi-detect's `SpectralResidual` (0.13.0) with its default, reflecting, paddings and equidistant
//! times. Differences: a window of one value has the scores 0 (rounding noise decides there); and a stream scores each
//! value as the last of the window before it, as the paper does, so that a score never depends on what comes later.

use super::stream::ColumnStream;
use panoply_core::{Error, Result};
use realfft::{RealFftPlanner, num_complex::Complex64};
use serde::{Deserialize, Serialize};

/// Against division by zero, as in the reference.
const EPSILON: f64 = 1e-8;
/// While fewer than `window` values have come, their number is rounded down to a multiple of this: few transforms to plan.
const GROWTH: usize = 16;

/// Windows of the method. Defaults are the paper's, but for a history that divides well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpectralResidualConfig {
    /// Values that a stream looks back on (the paper's omega).
    pub window: usize,
    /// Frequencies in the mean of the log amplitude (q).
    pub window_amp: usize,
    /// Preceding values in the mean of the saliency map (z).
    pub window_local: usize,
    /// Estimated values put after the window, because its last value is what is scored (kappa).
    pub n_est_points: usize,
    /// Values whose slopes make that estimate (m).
    pub n_grad_points: usize,
}

impl Default for SpectralResidualConfig {
    fn default() -> Self {
        Self {
            window: 251,
            window_amp: 3,
            window_local: 21,
            n_est_points: 5,
            n_grad_points: 5,
        }
    }
}

impl SpectralResidualConfig {
    /// The fewest values that can be scored.
    pub fn min_len(&self) -> usize {
        self.window_local
            .max(self.n_grad_points)
            .max(self.window_amp)
            + 1
    }

    fn check(&self) -> Result<()> {
        let parts = [
            self.window_amp,
            self.window_local,
            self.n_est_points,
            self.n_grad_points,
        ];
        if parts.contains(&0) || self.window < self.min_len() || self.window > 1 << 20 {
            let what = format!("{self:?}");
            let expected = format!(
                "windows of at least 1, and a history of {} to 1048576",
                self.min_len()
            );
            return Err(Error::input("spectral residual", what, expected));
        }
        Ok(())
    }
}

/// The method over one column.
pub struct SpectralResidual {
    config: SpectralResidualConfig,
    planner: RealFftPlanner<f64>,
    history: Vec<f64>,
}

impl SpectralResidual {
    /// An empty history.
    ///
    /// # Errors
    /// A window of 0; a history too short for the others.
    pub fn new(config: SpectralResidualConfig) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config,
            planner: RealFftPlanner::new(),
            history: Vec::new(),
        })
    }

    /// Scores every value of `values` with all of them as the window: how far each stands out of the saliency map's mean
    /// before it, relative to that mean.
    ///
    /// # Errors
    /// Fewer than [`SpectralResidualConfig::min_len`] values.
    pub fn score(&mut self, values: &[f64]) -> Result<Vec<f64>> {
        let least = self.config.min_len();
        if values.len() < least {
            let what = format!("{} values", values.len());
            return Err(Error::input(
                "spectral residual",
                what,
                format!("at least {least}"),
            ));
        }
        if values.iter().all(|value| *value == values[0]) {
            return Ok(vec![0.0; values.len()]);
        }
        let mut saliency = self.saliency_map(&self.extended(values))?;
        saliency.truncate(values.len());
        let local = self.config.window_local;
        // The mean of the preceding values; before the first they are reflected.
        let reflected = saliency[1..=local].iter().rev().chain(&saliency);
        let padded: Vec<f64> = reflected.copied().collect();
        let score = |(at, &value): (usize, &f64)| {
            let mean = padded[at..at + local].iter().sum::<f64>() / local as f64;
            (value - mean) / (mean + EPSILON)
        };
        Ok(saliency.iter().enumerate().map(score).collect())
    }

    /// The values with estimated ones after them.
    fn extended(&self, values: &[f64]) -> Vec<f64> {
        let (m, last) = (self.config.n_grad_points, values.len() - 1);
        let slope = |k: usize| (values[last] - values[last - k]) / k as f64;
        let mean_slope = (1..=m).map(slope).sum::<f64>() / m as f64;
        let estimate = values[values.len() - m] + mean_slope * (m + 1) as f64 / 2.0;
        let estimates = std::iter::repeat_n(estimate, self.config.n_est_points);
        values.iter().copied().chain(estimates).collect()
    }

    /// Absolute value of the signal whose spectrum has the phases of `values` and the spectral residual as its log
    /// amplitude. The spectrum of real values is symmetric: half of it says everything.
    fn saliency_map(&mut self, values: &[f64]) -> Result<Vec<f64>> {
        let failed = |e: realfft::FftError| Error::Internal {
            context: "Fourier transform".into(),
            message: e.to_string(),
        };
        let n = values.len();
        let forward = self.planner.plan_fft_forward(n);
        let mut spectrum = forward.make_output_vec();
        forward
            .process(&mut values.to_vec(), &mut spectrum)
            .map_err(failed)?;
        let log_amp: Vec<f64> = spectrum.iter().map(|c| (c.norm() + EPSILON).ln()).collect();
        let means = self.mean_of_frequencies(&log_amp[1..]);
        let means = std::iter::once(log_amp[0]).chain(means);
        for ((c, log_amp), mean) in spectrum.iter_mut().zip(&log_amp).zip(means) {
            let norm = c.norm();
            let phase = if norm == 0.0 {
                Complex64::new(1.0, 0.0)
            } else {
                *c / norm
            };
            *c = phase * (log_amp - mean).exp();
        }
        // What has no counterpart is real; rounding may have left a trace.
        spectrum[0].im = 0.0;
        if n.is_multiple_of(2) {
            spectrum[n / 2].im = 0.0;
        }
        let mut signal = vec![0.0; n];
        let inverse = self.planner.plan_fft_inverse(n);
        inverse
            .process(&mut spectrum, &mut signal)
            .map_err(failed)?;
        Ok(signal
            .into_iter()
            .map(|value| (value / n as f64).abs())
            .collect())
    }

    /// The moving mean of the log amplitudes, reflected at both ends.
    fn mean_of_frequencies(&self, log_amp: &[f64]) -> Vec<f64> {
        let width = self.config.window_amp;
        let right = (width - 1) / 2;
        let left = width - 1 - right;
        let before = log_amp[1..=left].iter().rev();
        let after = log_amp[log_amp.len() - 1 - right..log_amp.len() - 1]
            .iter()
            .rev();
        let padded: Vec<f64> = before.chain(log_amp).chain(after).copied().collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / width as f64;
        padded.windows(width).map(mean).collect()
    }
}

impl ColumnStream for SpectralResidual {
    fn push(&mut self, value: f64) -> f64 {
        if self.history.len() == self.config.window {
            self.history.remove(0);
        }
        self.history.push(value);
        let mut usable = self.history.len();
        if usable < self.config.window {
            usable -= usable % GROWTH;
        }
        if usable < self.config.min_len() {
            return 0.0;
        }
        let window = self.history[self.history.len() - usable..].to_vec();
        let scores = self.score(&window);
        scores
            .ok()
            .and_then(|scores| scores.last().copied())
            .unwrap_or(0.0)
    }

    fn reset(&mut self) {
        self.history.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panoply_core::seed;

    /// Between -1 and 1.
    fn noise(n: usize) -> Vec<f64> {
        let share = |i: usize| (seed::derive(&[i as u64]) >> 11) as f64 / (1u64 << 53) as f64;
        (0..n).map(|i| 2.0 * share(i) - 1.0).collect()
    }

    #[test]
    fn a_spike_stands_out_as_soon_as_it_comes() {
        let mut stream = SpectralResidual::new(SpectralResidualConfig::default()).unwrap();
        let mut values = noise(600);
        values[450] += 8.0;
        let scores: Vec<f64> = values.iter().map(|&value| stream.push(value)).collect();
        let higher = scores[..450].iter().filter(|&&score| score >= scores[450]);
        assert_eq!(higher.count(), 0, "{}", scores[450]);
        assert!(scores[..16].iter().all(|&score| score == 0.0));
    }

    #[test]
    fn what_never_changes_has_the_score_zero() {
        let mut model = SpectralResidual::new(SpectralResidualConfig::default()).unwrap();
        assert_eq!(model.score(&[3.0; 40]).unwrap(), [0.0; 40]);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let with = |change: fn(&mut SpectralResidualConfig)| {
            let mut config = SpectralResidualConfig::default();
            change(&mut config);
            SpectralResidual::new(config).is_err()
        };
        assert!(with(|c| c.window = 10));
        assert!(with(|c| c.window_amp = 0));
        assert!(with(|c| c.n_est_points = 0));
        assert!(with(|c| c.window_local = 400));
        let mut model = SpectralResidual::new(SpectralResidualConfig::default()).unwrap();
        assert!(model.score(&noise(21)).is_err());
        assert!(model.score(&noise(22)).is_ok());
    }
}
