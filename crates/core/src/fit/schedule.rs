//! The learning rate as a pure function of the optimiser step.

use super::config::{FitConfig, ScheduleName, check};
use crate::Result;
use std::f64::consts::PI;

/// Learning rate of each optimiser step.
///
/// With peak `lr`, `w` warm-up steps, `n` steps in all and final rate `f = lr * final_lr_ratio`,
/// step `t` (from 0) has
/// - `lr * (t + 1) / (w + 1)` for `t < w`: the peak is reached at `t = w`, and no step has rate 0;
/// - after it, with `p = (t - w) / (n - w)`: `lr` (constant), `lr + (f - lr) * p` (linear), or
///   `f + (lr - f) * (1 + cos(pi * p)) / 2` (cosine; torch's `CosineAnnealingLR`).
///
/// `p` stays below 1: the final rate would be that of step `n`, as in torch.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    name: ScheduleName,
    peak: f64,
    last: f64,
    warmup: usize,
    total: usize,
}

impl Schedule {
    /// The schedule of a run of `config.epochs` epochs with `steps_per_epoch` optimiser steps each.
    pub fn new(config: &FitConfig, steps_per_epoch: usize) -> Result<Self> {
        let total = config.epochs * steps_per_epoch;
        let by_epochs = (config.schedule.warmup_epochs * steps_per_epoch as f64).round() as usize;
        let warmup = config.schedule.warmup_steps + by_epochs;
        let field = if by_epochs > 0 {
            "schedule.warmup_epochs"
        } else {
            "schedule.warmup_steps"
        };
        let what = format!("{warmup} steps of warm-up");
        check(
            warmup < total,
            field,
            what,
            &format!("fewer than the run's {total} steps"),
        )?;
        let peak = config.optimizer.lr;
        let last = peak * config.schedule.final_lr_ratio;
        Ok(Self {
            name: config.schedule.name,
            peak,
            last,
            warmup,
            total,
        })
    }

    /// Optimiser steps of the whole run.
    pub fn num_steps(&self) -> usize {
        self.total
    }

    /// Learning rate of optimiser step `step`, from 0.
    pub fn lr(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        let progress = (step - self.warmup) as f64 / (self.total - self.warmup) as f64;
        match self.name {
            ScheduleName::Constant => self.peak,
            ScheduleName::Linear => self.peak + (self.last - self.peak) * progress,
            ScheduleName::Cosine => {
                self.last + (self.peak - self.last) * 0.5 * (1.0 + (PI * progress).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(name: ScheduleName, warmup: usize, ratio: f64, steps: usize) -> Vec<f64> {
        let mut config = FitConfig {
            epochs: 1,
            ..FitConfig::default()
        };
        config.optimizer.lr = 0.1;
        config.schedule.name = name;
        config.schedule.warmup_steps = warmup;
        config.schedule.final_lr_ratio = ratio;
        let schedule = Schedule::new(&config, steps).unwrap();
        (0..steps).map(|t| schedule.lr(t)).collect()
    }

    fn assert_near(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (a, b) in got.iter().zip(expected) {
            assert!((a - b).abs() < 1e-12, "{got:?} != {expected:?}");
        }
    }

    /// torch 2.15: `CosineAnnealingLR(SGD(lr=0.1), T_max=8, eta_min=0.01)`.
    #[test]
    fn cosine_equals_torch() {
        let torch = [
            0.1,
            0.0965745789630079,
            0.08681980515339463,
            0.07222075445642905,
            0.055,
            0.03777924554357096,
            0.023180194846605363,
            0.013425421036992097,
        ];
        assert_near(&rates(ScheduleName::Cosine, 0, 0.1, 8), &torch);
    }

    /// torch 2.15: `LinearLR(SGD(lr=0.1), 1.0, 0.1, total_iters=8)`.
    #[test]
    fn linear_equals_torch() {
        let torch = [
            0.1, 0.08875, 0.0775, 0.06625, 0.055, 0.04375, 0.0325, 0.02125,
        ];
        assert_near(&rates(ScheduleName::Linear, 0, 0.1, 8), &torch);
    }

    #[test]
    fn warmup_rises_to_the_peak() {
        let expected = [0.025, 0.05, 0.075, 0.1, 0.1];
        assert_near(&rates(ScheduleName::Constant, 3, 0.0, 5), &expected);
        let expected = [0.05, 0.1, 0.075, 0.05, 0.025];
        assert_near(&rates(ScheduleName::Linear, 1, 0.0, 5), &expected);
    }

    #[test]
    fn warmup_by_epochs_counts_steps_and_must_fit() {
        let mut config = FitConfig {
            epochs: 4,
            ..FitConfig::default()
        };
        config.schedule.warmup_epochs = 0.5;
        let schedule = Schedule::new(&config, 10).unwrap();
        assert_eq!((schedule.warmup, schedule.num_steps()), (5, 40));
        config.schedule.warmup_epochs = 4.0;
        assert!(
            Schedule::new(&config, 10)
                .unwrap_err()
                .to_string()
                .contains("warmup_epochs")
        );
    }
}
