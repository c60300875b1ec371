//! The windowed Gaussian of the Numenta Anomaly Benchmark: how far into the tail of a normal distribution a value lies
//! whose mean and deviation are those of a window before it.
//!
//! Same settings as the benchmark's detector (6,400 values, moved on by 100), whose published results are 39.6
//! (standard), 20.9 (low FP rate) and 47.4 (low FN rate).

use super::stream::ColumnStream;
use panoply_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Deviation of a window that never changes.
const MIN_DEVIATION: f64 = 1e-6;

/// The window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowedGaussianConfig {
    /// Values in the window.
    pub window_size: usize,
    /// Values after which a full window moves on.
    pub step_size: usize,
}

impl Default for WindowedGaussianConfig {
    fn default() -> Self {
        Self {
            window_size: 6400,
            step_size: 100,
        }
    }
}

/// The detector over one column.
#[derive(Clone, Debug)]
pub struct WindowedGaussian {
    config: WindowedGaussianConfig,
    window: Vec<f64>,
    pending: Vec<f64>,
    mean: f64,
    deviation: f64,
}

impl WindowedGaussian {
    /// An empty window.
    ///
    /// # Errors
    /// A window of 0, or a step of 0 or longer than the window.
    pub fn new(config: WindowedGaussianConfig) -> Result<Self> {
        if config.window_size == 0 || !(1..=config.window_size).contains(&config.step_size) {
            let expected = "a window of at least 1, and a step from 1 to it";
            return Err(Error::input(
                "windowed Gaussian",
                format!("{config:?}"),
                expected,
            ));
        }
        Ok(Self {
            config,
            window: Vec::new(),
            pending: Vec::new(),
            mean: 0.0,
            deviation: 1.0,
        })
    }

    fn measure(&mut self) {
        let n = self.window.len() as f64;
        self.mean = self.window.iter().sum::<f64>() / n;
        let squares = self.window.iter().map(|value| (value - self.mean).powi(2));
        self.deviation = (squares.sum::<f64>() / n).sqrt();
        if self.deviation == 0.0 {
            self.deviation = MIN_DEVIATION;
        }
    }
}

impl ColumnStream for WindowedGaussian {
    /// 1 less the tail probability: from 0.5, at the mean, to 1.
    fn push(&mut self, value: f64) -> f64 {
        let score = if self.window.is_empty() {
            0.0
        } else {
            let z = (value - self.mean).abs() / self.deviation;
            1.0 - 0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
        };
        if self.window.len() < self.config.window_size {
            self.window.push(value);
            self.measure();
        } else {
            self.pending.push(value);
            if self.pending.len() == self.config.step_size {
                self.window.drain(..self.config.step_size);
                self.window.append(&mut self.pending);
                self.measure();
            }
        }
        score
    }

    fn reset(&mut self) {
        self.window.clear();
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_by_hand() {
        let config = WindowedGaussianConfig {
            window_size: 4,
            step_size: 2,
        };
        let mut stream = WindowedGaussian::new(config).unwrap();
        let scores: Vec<f64> = [0.0, 2.0, 1.0, 3.0].map(|value| stream.push(value)).into();
        // Nothing before; a constant window; the mean of 0 and 2; two deviations (0.8165) above a mean of 1.
        assert_eq!((scores[0], scores[1], scores[2]), (0.0, 1.0, 0.5));
        assert!((scores[3] - 0.992_847).abs() < 1e-6, "{}", scores[3]);
        // The full window stands still until two more have come.
        let (mean, deviation) = (stream.mean, stream.deviation);
        stream.push(9.0);
        assert_eq!((stream.mean, stream.deviation), (mean, deviation));
        stream.push(9.0);
        assert_eq!((stream.mean, stream.window.len()), (5.5, 4));
        stream.reset();
        assert_eq!(stream.push(7.0), 0.0);
    }

    #[test]
    fn a_window_of_nothing_is_refused() {
        for (window_size, step_size) in [(0, 1), (5, 0), (5, 6)] {
            let config = WindowedGaussianConfig {
                window_size,
                step_size,
            };
            assert!(WindowedGaussian::new(config).is_err());
        }
    }
}
