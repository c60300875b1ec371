//! The score of the Numenta Anomaly Benchmark (Lavin and Ahmad 2015, "Evaluating Real-time Anomaly
//! Detection Algorithms"): what an alarm is worth depends on where in a labelled window it comes.
//!
//! A detector gives each time step a score; one threshold for the whole corpus turns scores into
//! alarms. In a window the first alarm counts, by a sigmoid that falls from 1 at the window's left edge
//! to 0 past its right one; a window without an alarm costs `fn_weight`; an alarm outside costs up to
//! `fp_weight`, less just behind a window. The first 15 % of a series (at most 750 steps) are a
//! probation in which alarms count nothing. The sum is normalised so that no alarm at all is 0 and a
//! perfect detector 100.
//!
//! NAB climbs a hill to find the threshold; [`NabCorpus::optimum`] looks at every one, so that its
//! score is the published one or higher; [`NabCorpus::at`] gives the score for a threshold.

use crate::{MetricError, Result, Score, check};
use serde::Serialize;

/// Share of a series that is probation.
const PROBATION: f64 = 0.15;
/// Length of a series from which on the probation grows no further.
const PROBATION_LENGTH: f64 = 5000.0;
/// Distance behind a window, in window lengths, from which on an alarm costs the whole weight.
const FAR: f64 = 3.0;

/// What hits, false alarms and misses weigh.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NabProfile {
    /// Its name in NAB's `profiles.json`.
    pub name: &'static str,
    /// Of a window found at its left edge.
    pub tp_weight: f64,
    /// Of an alarm far from every window.
    pub fp_weight: f64,
    /// Of a window that was missed.
    pub fn_weight: f64,
}

impl NabProfile {
    /// The standard profile.
    pub const STANDARD: Self = Self::new("standard", 0.11, 1.0);
    /// False alarms cost double.
    pub const REWARD_LOW_FP_RATE: Self = Self::new("reward_low_FP_rate", 0.22, 1.0);
    /// Misses cost double.
    pub const REWARD_LOW_FN_RATE: Self = Self::new("reward_low_FN_rate", 0.11, 2.0);
    /// All three, in NAB's order.
    pub const ALL: [Self; 3] = [
        Self::STANDARD,
        Self::REWARD_LOW_FP_RATE,
        Self::REWARD_LOW_FN_RATE,
    ];

    const fn new(name: &'static str, fp_weight: f64, fn_weight: f64) -> Self {
        Self {
            name,
            tp_weight: 1.0,
            fp_weight,
            fn_weight,
        }
    }
}

/// A corpus's score under one profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NabScore {
    /// Time steps with a score at or above it are alarms.
    pub threshold: f64,
    /// The weighted sum.
    pub raw: f64,
    /// 0 for no alarm at all, 100 for every window found at its left edge and no false alarm.
    pub normalized: f64,
}

/// Where a time step lies.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the window of this number, and what a first alarm here is worth, up to 1.
    Window(usize, f64),
    /// Outside, and what an alarm here is worth, down to -1.
    Outside(f64),
}

/// Scores and windows of many series, scored together.
#[derive(Clone, Debug, Default)]
pub struct NabCorpus {
    /// Every step past probation.
    steps: Vec<(f64, Place)>,
    /// Number of windows, also of those that end within the probation.
    num_windows: usize,
    /// For each window, whether it reaches past the probation.
    counted: Vec<bool>,
}

impl NabCorpus {
    /// An empty corpus.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a series: a score a time step (higher is more anomalous) and the labelled windows as
    /// first and last step, both within, ascending and apart.
    ///
    /// # Errors
    /// No step, a score that is not finite, a window that is out of order or out of range.
    pub fn add<S: Score>(&mut self, y_score: &[S], windows: &[(usize, usize)]) -> Result<()> {
        check::not_empty("the NAB score", y_score.len())?;
        let scores = check::finite("y_score", y_score)?;
        let mut free = 0;
        for &(first, last) in windows {
            if first < free || last < first || last >= scores.len() {
                return Err(MetricError::Argument {
                    name: "windows",
                    value: format!("{first}..={last} of {} steps", scores.len()),
                    expected: "ascending windows that lie within the series and do not overlap",
                });
            }
            free = last + 1;
        }
        let probation = probation(scores.len());
        let places = places(scores.len(), windows, self.num_windows);
        self.num_windows += windows.len();
        self.counted
            .extend(windows.iter().map(|&(_, last)| last >= probation));
        let steps = scores.into_iter().zip(places).skip(probation);
        self.steps.extend(steps);
        Ok(())
    }

    /// Number of labelled windows.
    pub fn num_windows(&self) -> usize {
        self.num_windows
    }

    /// The weighted sum for alarms at `threshold` and above.
    pub fn raw(&self, profile: NabProfile, threshold: f64) -> f64 {
        let mut sum = Sum::new(self, profile);
        for &(score, place) in &self.steps {
            if score >= threshold {
                sum.alarm(place);
            }
        }
        sum.total()
    }

    /// The score for alarms at `threshold` and above.
    ///
    /// # Errors
    /// Undefined without a labelled window.
    pub fn at(&self, profile: NabProfile, threshold: f64) -> Result<NabScore> {
        self.normalize(profile, threshold, self.raw(profile, threshold))
    }

    /// The score at the best threshold; the highest one among equals. No alarm at all has the
    /// threshold infinity.
    ///
    /// # Errors
    /// Undefined without a labelled window.
    pub fn optimum(&self, profile: NabProfile) -> Result<NabScore> {
        let (mut threshold, mut raw) = (f64::INFINITY, Sum::new(self, profile).total());
        for (at, total) in self.sweep(profile) {
            if total > raw {
                (threshold, raw) = (at, total);
            }
        }
        self.normalize(profile, threshold, raw)
    }

    /// The weighted sum at each distinct score, from the highest threshold to the lowest.
    pub fn sweep(&self, profile: NabProfile) -> Vec<(f64, f64)> {
        let mut steps: Vec<&(f64, Place)> = self.steps.iter().collect();
        steps.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut sum = Sum::new(self, profile);
        let mut totals: Vec<(f64, f64)> = Vec::new();
        for group in steps.chunk_by(|a, b| a.0 == b.0) {
            for step in group {
                sum.alarm(step.1);
            }
            totals.push((group[0].0, sum.total()));
        }
        totals
    }

    fn normalize(&self, profile: NabProfile, threshold: f64, raw: f64) -> Result<NabScore> {
        if self.num_windows == 0 {
            return Err(MetricError::Undefined {
                metric: "the NAB score",
                why: "no window is labelled".into(),
            });
        }
        let perfect = self.num_windows as f64 * profile.tp_weight;
        let null = Sum::new(self, profile).total();
        Ok(NabScore {
            threshold,
            raw,
            normalized: 100.0 * (raw - null) / (perfect - null),
        })
    }
}

/// Alarms so far. Sums by part, so that the order of alarms matters little.
struct Sum {
    profile: NabProfile,
    /// What each window's earliest alarm is worth.
    windows: Vec<Option<f64>>,
    hits: f64,
    misses: f64,
    false_alarms: f64,
}

impl Sum {
    fn new(corpus: &NabCorpus, profile: NabProfile) -> Self {
        let misses = corpus.counted.iter().filter(|&&counted| counted).count() as f64;
        Self {
            profile,
            windows: vec![None; corpus.num_windows],
            hits: 0.0,
            misses,
            false_alarms: 0.0,
        }
    }

    fn alarm(&mut self, place: Place) {
        match place {
            Place::Outside(worth) => self.false_alarms += worth,
            Place::Window(window, worth) => match &mut self.windows[window] {
                Some(best) if *best >= worth => {}
                Some(best) => {
                    self.hits += worth - *best;
                    *best = worth;
                }
                first => {
                    *first = Some(worth);
                    self.hits += worth;
                    self.misses -= 1.0;
                }
            },
        }
    }

    fn total(&self) -> f64 {
        self.profile.tp_weight * self.hits + self.profile.fp_weight * self.false_alarms
            - self.profile.fn_weight * self.misses
    }
}

/// Number of first steps in which alarms count nothing.
fn probation(num_steps: usize) -> usize {
    (PROBATION * num_steps as f64)
        .floor()
        .min(PROBATION * PROBATION_LENGTH) as usize
}

/// The sigmoid through 0 at `position` 0 that runs from 1 to -1.
fn scaled_sigmoid(position: f64) -> f64 {
    if position > FAR {
        -1.0
    } else {
        2.0 / (1.0 + (5.0 * position).exp()) - 1.0
    }
}

/// The place of each of `num_steps` steps; windows are numbered from `offset` on.
fn places(num_steps: usize, windows: &[(usize, usize)], offset: usize) -> Vec<Place> {
    let best = scaled_sigmoid(-1.0);
    let mut next = 0;
    (0..num_steps)
        .map(|i| {
            while next < windows.len() && windows[next].1 < i {
                next += 1;
            }
            if let Some(&(first, last)) = windows.get(next).filter(|w| w.0 <= i) {
                let position = -((last - i + 1) as f64) / (last - first + 1) as f64;
                return Place::Window(offset + next, scaled_sigmoid(position) / best);
            }
            let Some(&(first, last)) = next.checked_sub(1).and_then(|at| windows.get(at)) else {
                return Place::Outside(-1.0);
            };
            // A window of one step has no length to measure by: the division is infinite, far.
            Place::Outside(scaled_sigmoid((i - last) as f64 / (last - first) as f64))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 steps, probation 3, one window 10..=13.
    fn corpus(alarms: &[usize]) -> NabCorpus {
        let mut scores = [0.0; 20];
        for &at in alarms {
            scores[at] = 1.0;
        }
        let mut corpus = NabCorpus::new();
        corpus.add(&scores, &[(10, 13)]).unwrap();
        corpus
    }

    fn normalized(alarms: &[usize]) -> f64 {
        corpus(alarms)
            .at(NabProfile::STANDARD, 0.5)
            .unwrap()
            .normalized
    }

    #[test]
    fn the_ends_of_the_scale() {
        assert_eq!(normalized(&[]), 0.0);
        assert_eq!(normalized(&[10]), 100.0);
        // Later alarms in a found window change nothing; nor do those of the probation.
        assert_eq!(normalized(&[0, 2, 10, 12]), 100.0);
        // Later is less, and a false alarm costs its weight.
        assert!(normalized(&[12]) < normalized(&[11]));
        assert!((normalized(&[4, 10]) - 100.0 * (1.0 - 0.11 + 1.0) / 2.0).abs() < 1e-9);
        // Just behind the window costs less.
        assert!(normalized(&[10, 14]) > normalized(&[10, 19]));
    }

    #[test]
    fn the_best_threshold_is_found() {
        let mut corpus = NabCorpus::new();
        let mut scores = vec![0.1; 40];
        (scores[7], scores[20], scores[21]) = (0.5, 0.4, 0.9);
        corpus.add(&scores, &[(20, 29)]).unwrap();
        let best = corpus.optimum(NabProfile::STANDARD).unwrap();
        // 0.9 finds the window one step late; going down to 0.4 adds the false alarm at 7.
        assert_eq!(best.threshold, 0.9);
        assert_eq!(best.raw, corpus.raw(NabProfile::STANDARD, 0.9));
        assert!(corpus.sweep(NabProfile::STANDARD).len() == 4);
    }

    #[test]
    fn no_alarm_may_be_the_best() {
        let mut corpus = NabCorpus::new();
        corpus.add(&[1.0; 400], &[(399, 399)]).unwrap();
        let best = corpus.optimum(NabProfile::STANDARD).unwrap();
        assert_eq!((best.threshold, best.normalized), (f64::INFINITY, 0.0));
    }

    #[test]
    fn wrong_windows_and_no_window_say_so() {
        let mut corpus = NabCorpus::new();
        for windows in [&[(5, 2)][..], &[(0, 9)], &[(0, 3), (3, 4)]] {
            let text = corpus.add(&[0.0; 9], windows).unwrap_err().to_string();
            assert!(text.contains("of 9 steps"), "{text}");
        }
        assert!(corpus.add(&[f64::NAN], &[]).is_err());
        assert!(corpus.add::<f64>(&[], &[]).is_err());
        corpus.add(&[0.5; 9], &[]).unwrap();
        let text = corpus.optimum(NabProfile::STANDARD).unwrap_err();
        assert!(text.to_string().contains("no window"), "{text}");
    }
}
