//! Where scores become alarms, and what a score is worth.
//!
//! | method | threshold |
//! |---|---|
//! | `contamination` | the quantile `1 - contamination` of the scores (PyOD's `threshold_`) |
//! | `mad` | `factor` scaled median absolute deviations above the median (Iglewicz and Hoaglin, 1993) |
//! | `f1` | the score from which on the F1 of labelled rows is greatest |
//! | `pot` | peaks over threshold: a generalised Pareto tail above the quantile `level`, exceeded with probability `risk` (Siffer et al., 2017) |

use panoply_core::{Error, Result, weights::Arrays};
use serde::{Deserialize, Serialize};

/// How the threshold is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdMethod {
    /// A quantile of the scores.
    Contamination,
    /// Median absolute deviations.
    Mad,
    /// The greatest F1 of labelled rows.
    F1,
    /// Peaks over threshold.
    Pot,
}

/// Settings; each is read by the method that it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThresholdConfig {
    /// The method.
    pub method: ThresholdMethod,
    /// `contamination`: the share of the rows that is anomalous.
    pub contamination: f64,
    /// `mad`: deviations above the median.
    pub factor: f64,
    /// `pot`: the quantile above which the tail begins.
    pub level: f64,
    /// `pot`: the probability of a normal score above the threshold.
    pub risk: f64,
}

impl Default for ThresholdConfig {
    fn default() -> Self {
        Self {
            method: ThresholdMethod::Contamination,
            contamination: 0.1,
            factor: 3.5,
            level: 0.98,
            risk: 1e-3,
        }
    }
}

/// 1 over the 0.75 quantile of the normal distribution: a median absolute deviation times this estimates its deviation.
const MAD_SCALE: f64 = 1.482_602_218_505_602;

/// Excesses that a tail is fitted to at least.
const MIN_EXCESSES: usize = 10;

impl ThresholdConfig {
    /// The threshold: a score above it is an anomaly. `labelled` are scores with their labels, for `f1`.
    ///
    /// # Errors
    /// A setting out of range, no scores, `f1` without anomalies among labelled rows, too short a tail for `pot`.
    pub fn find(&self, scores: &[f64], labelled: Option<(&[f64], &[bool])>) -> Result<f64> {
        self.validate()?;
        if scores.is_empty() {
            return Err(Error::input(
                "threshold",
                "no scores",
                "scores of normal rows",
            ));
        }
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        match self.method {
            ThresholdMethod::Contamination => Ok(quantile(&sorted, 1.0 - self.contamination)),
            ThresholdMethod::Mad => {
                let middle = quantile(&sorted, 0.5);
                let mut away: Vec<f64> = sorted.iter().map(|s| (s - middle).abs()).collect();
                away.sort_by(f64::total_cmp);
                Ok(middle + self.factor * MAD_SCALE * quantile(&away, 0.5))
            }
            ThresholdMethod::F1 => {
                let expected = "validation rows with labels, some of them anomalies";
                let missing = || Error::input("threshold", "f1 without labels", expected);
                let (scores, labels) = labelled.ok_or_else(missing)?;
                best_f1(scores, labels)
                    .ok_or_else(missing)
                    .map(|(threshold, _)| threshold)
            }
            ThresholdMethod::Pot => self.peaks_over_threshold(&sorted),
        }
    }

    /// Checks every range; the error names the field.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn validate(&self) -> Result<()> {
        let wrong = |name: &str, value: f64, expected: &str| {
            Err(Error::input(
                format!("threshold.{name}"),
                value.to_string(),
                expected,
            ))
        };
        let open = |value: f64| value > 0.0 && value < 1.0;
        if !(self.contamination > 0.0 && self.contamination <= 0.5) {
            return wrong("contamination", self.contamination, "above 0, at most 0.5");
        }
        if !(self.factor.is_finite() && self.factor > 0.0) {
            return wrong("factor", self.factor, "a positive number");
        }
        if !open(self.level) {
            return wrong("level", self.level, "between 0 and 1");
        }
        if !(open(self.risk) && self.risk < 1.0 - self.level) {
            return wrong("risk", self.risk, "between 0 and 1 - level");
        }
        Ok(())
    }

    fn peaks_over_threshold(&self, sorted: &[f64]) -> Result<f64> {
        let start = quantile(sorted, self.level);
        let excesses: Vec<f64> = sorted
            .iter()
            .map(|s| s - start)
            .filter(|e| *e > 0.0)
            .collect();
        if excesses.len() < MIN_EXCESSES {
            let what = format!("{} of {} scores in the tail", excesses.len(), sorted.len());
            let expected = format!("{MIN_EXCESSES} or more: a lower level, or more rows");
            return Err(Error::input("threshold.level", what, expected));
        }
        let tail = Pareto::fit(&excesses);
        let ratio = self.risk * sorted.len() as f64 / excesses.len() as f64;
        Ok(start + tail.exceeded_with(ratio))
    }
}

/// numpy's `percentile` of ascending values, with linear interpolation.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * q;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let (low, high, share) = (sorted[below], sorted[above], place - below as f64);
    // As numpy: from the nearer end, so that both ends are met exactly.
    if share < 0.5 {
        low + (high - low) * share
    } else {
        high - (high - low) * (1.0 - share)
    }
}

/// The threshold of the greatest F1, halfway to the next lower score, and that F1; `None` without anomalies.
pub fn best_f1(scores: &[f64], labels: &[bool]) -> Option<(f64, f64)> {
    let total = labels.iter().filter(|&&label| label).count();
    let mut order: Vec<usize> = (0..scores.len().min(labels.len())).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let (mut hits, mut best) = (0usize, None::<(f64, f64)>);
    for (taken, &row) in (1usize..).zip(&order) {
        hits += usize::from(labels[row]);
        let next = order.get(taken).map(|&row| scores[row]);
        if total == 0 || next == Some(scores[row]) {
            continue;
        }
        let f1 = 2.0 * hits as f64 / (taken + total) as f64;
        if best.is_none_or(|(_, earlier)| f1 > earlier) {
            let threshold = next.map_or(scores[row] - 1.0, |next| f64::midpoint(scores[row], next));
            best = Some((threshold, f1));
        }
    }
    best
}

/// A generalised Pareto distribution above 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pareto {
    /// Shape (gamma); 0 is the exponential distribution.
    pub shape: f64,
    /// Scale (sigma).
    pub scale: f64,
}

impl Pareto {
    /// Maximum likelihood, along the profile of Grimshaw (1993): for `theta = shape / scale` the best shape is the mean
    /// of `ln(1 + theta y)`. Shapes at or below -1, where the likelihood has no bound, are not looked at.
    ///
    /// `excesses` are positive; the result for none of them is a scale of 0.
    pub fn fit(excesses: &[f64]) -> Self {
        let n = excesses.len() as f64;
        let mean = excesses.iter().sum::<f64>() / n;
        let largest = excesses.iter().copied().fold(0.0, f64::max);
        if excesses.is_empty() || mean <= 0.0 {
            return Self {
                shape: 0.0,
                scale: 0.0,
            };
        }
        let shape = |theta: f64| excesses.iter().map(|y| (theta * y).ln_1p()).sum::<f64>() / n;
        // The profile log-likelihood of a row.
        let profile = |theta: f64| {
            if theta == 0.0 {
                return -mean.ln() - 1.0;
            }
            let shape = shape(theta);
            if shape <= -1.0 || !shape.is_finite() {
                return f64::NEG_INFINITY;
            }
            -(shape / theta).ln() - shape - 1.0
        };
        let mut grid: Vec<f64> = (1..=60)
            .map(|i| -(1.0 - 0.75f64.powi(i)) / largest)
            .rev()
            .collect();
        grid.push(0.0);
        grid.extend((0..=100).map(|i| 10f64.powf(-6.0 + 0.1 * f64::from(i)) / mean));
        let best = (0..grid.len()).max_by(|&a, &b| profile(grid[a]).total_cmp(&profile(grid[b])));
        let best = best.unwrap_or(0);
        let low = grid[best.saturating_sub(1)];
        let high = grid[(best + 1).min(grid.len() - 1)];
        let theta = maximum(profile, low, high);
        if theta.abs() * mean < 1e-9 {
            return Self {
                shape: 0.0,
                scale: mean,
            };
        }
        let shape = shape(theta);
        Self {
            shape,
            scale: shape / theta,
        }
    }

    /// The excess that is exceeded with probability `probability`.
    pub fn exceeded_with(&self, probability: f64) -> f64 {
        if self.shape == 0.0 {
            return -self.scale * probability.ln();
        }
        self.scale / self.shape * (probability.powf(-self.shape) - 1.0)
    }
}

/// Where `f` is greatest between `low` and `high`, by golden section.
fn maximum(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    for _ in 0..200 {
        let width = (high - low) * RATIO;
        let (left, right) = (high - width, low + width);
        if f(left) >= f(right) {
            high = right;
        } else {
            low = left;
        }
    }
    f64::midpoint(low, high)
}

/// How a score becomes a number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbabilityMethod {
    /// Between the least and the greatest score (PyOD's `linear`).
    Linear,
    /// By the normal distribution of the scores (Kriegel et al., 2011; PyOD's `unify`).
    Unify,
}

/// A threshold, and the scores of normal rows that tell what a score is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// A score above it is an anomaly.
    pub threshold: f64,
    /// Scores of normal rows, ascending.
    sorted: Vec<f64>,
}

impl Calibration {
    /// Keeps `scores`, which are of normal rows: best of some that the detector was not fitted to.
    ///
    /// # Errors
    /// No scores, or one that is not finite.
    pub fn new(threshold: f64, scores: &[f64]) -> Result<Self> {
        if scores.is_empty() || !scores.iter().all(|score| score.is_finite()) {
            let expected = "finite scores of normal rows";
            return Err(Error::input(
                "calibration",
                format!("{} scores", scores.len()),
                expected,
            ));
        }
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        Ok(Self { threshold, sorted })
    }

    /// Whether the score is above the threshold.
    pub fn is_anomaly(&self, score: f64) -> bool {
        score > self.threshold
    }

    /// A number from 0 to 1, higher for what is more abnormal.
    pub fn probability(&self, score: f64, method: ProbabilityMethod) -> f64 {
        let n = self.sorted.len() as f64;
        let value = match method {
            ProbabilityMethod::Linear => {
                let (low, high) = (self.sorted[0], self.sorted[self.sorted.len() - 1]);
                (score - low) / if high > low { high - low } else { 1.0 }
            }
            ProbabilityMethod::Unify => {
                let mean = self.sorted.iter().sum::<f64>() / n;
                let squares = self.sorted.iter().map(|s| (s - mean).powi(2)).sum::<f64>();
                let deviation = (squares / n).sqrt();
                if deviation == 0.0 {
                    f64::from(u8::from(score > mean))
                } else {
                    libm::erf((score - mean) / (deviation * std::f64::consts::SQRT_2))
                }
            }
        };
        value.clamp(0.0, 1.0)
    }

    /// The conformal p-value (Vovk et al., 2005; Bates et al., 2023): `(1 + #{kept scores >= score}) / (n + 1)`. For a
    /// normal row that is exchangeable with those kept, it is at most `a` with a probability of at most `a`.
    pub fn p_value(&self, score: f64) -> f64 {
        let not_below = self.sorted.len() - self.sorted.partition_point(|s| *s < score);
        (1 + not_below) as f64 / (self.sorted.len() + 1) as f64
    }

    /// The scores that are kept, ascending.
    pub fn scores(&self) -> &[f64] {
        &self.sorted
    }

    /// Adds it to the arrays of a model.
    pub fn put(&self, arrays: &mut Arrays) {
        arrays.put("calibration.threshold", [1], vec![self.threshold]);
        arrays.put(
            "calibration.scores",
            [self.sorted.len()],
            self.sorted.clone(),
        );
    }

    /// Reads what [`put`](Self::put) wrote.
    ///
    /// # Errors
    /// Missing or wrong arrays.
    pub fn take(arrays: &mut Arrays) -> Result<Self> {
        let threshold = arrays.take_shaped::<f64, 1>("calibration.threshold", [1])?;
        let ([_], scores) = arrays.take::<f64, 1>("calibration.scores")?;
        Self::new(threshold[0], &scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: ThresholdMethod, scores: &[f64]) -> Result<f64> {
        let config = ThresholdConfig {
            method,
            ..ThresholdConfig::default()
        };
        config.find(scores, None)
    }

    #[test]
    fn quantiles_are_numpys() {
        let scores: Vec<f64> = (0..12).map(|i| f64::from(i * i)).collect();
        // np.percentile(np.arange(12.0) ** 2, 90)
        let found = find(ThresholdMethod::Contamination, &scores).unwrap();
        assert!((found - 98.1).abs() < 1e-12, "{found}");
        let found = find(ThresholdMethod::Mad, &[1.0, 2.0, 3.0, 4.0, 100.0]).unwrap();
        assert!((found - (3.0 + 3.5 * MAD_SCALE)).abs() < 1e-12, "{found}");
    }

    #[test]
    fn f1_by_hand() {
        let scores = [0.9, 0.8, 0.7, 0.2, 0.1];
        let labels = [true, false, true, false, false];
        let (threshold, f1) = best_f1(&scores, &labels).unwrap();
        assert!((threshold - 0.45).abs() < 1e-12 && (f1 - 0.8).abs() < 1e-12);
        // Equal scores stand or fall together.
        assert_eq!(best_f1(&[1.0, 1.0], &[true, false]).unwrap().1, 2.0 / 3.0);
        assert!(best_f1(&scores, &[false; 5]).is_none());
        assert!(find(ThresholdMethod::F1, &scores).is_err());
    }

    #[test]
    fn an_exponential_tail_is_found() {
        // Quantiles of the exponential distribution.
        let excesses: Vec<f64> = (0..500)
            .map(|i| -((f64::from(i) + 0.5) / 500.0).ln())
            .collect();
        let tail = Pareto::fit(&excesses);
        assert!(
            tail.shape.abs() < 0.02 && (tail.scale - 1.0).abs() < 0.02,
            "{tail:?}"
        );
        assert!(find(ThresholdMethod::Pot, &[1.0, 2.0, 3.0]).is_err());
        assert_eq!(Pareto::fit(&[]).scale, 0.0);
    }

    #[test]
    fn a_score_is_worth_what_the_others_say() {
        let calibration = Calibration::new(3.5, &[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert!(calibration.is_anomaly(4.0) && !calibration.is_anomaly(3.5));
        assert_eq!(calibration.p_value(3.0), 3.0 / 5.0);
        assert_eq!(calibration.p_value(9.0), 1.0 / 5.0);
        let linear = |score| calibration.probability(score, ProbabilityMethod::Linear);
        assert_eq!([linear(0.0), linear(2.5), linear(9.0)], [0.0, 0.5, 1.0]);
        let unify = |score| calibration.probability(score, ProbabilityMethod::Unify);
        assert_eq!([unify(0.0), unify(2.5)], [0.0, 0.0]);
        // One deviation, sqrt(1.25), above the mean: erf(1 / sqrt(2)).
        assert!((unify(2.5 + 1.25f64.sqrt()) - 0.682_689_492_137_086).abs() < 1e-12);
        let mut arrays = Arrays::default();
        calibration.put(&mut arrays);
        assert_eq!(Calibration::take(&mut arrays).unwrap(), calibration);
        assert!(Calibration::new(0.0, &[]).is_err());
    }
}
