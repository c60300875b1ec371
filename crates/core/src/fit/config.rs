//! What a training run can be told.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// Configuration of [`fit`](super::fit). Unknown keys are refused when read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// Passes over the data. Default 10.
    pub epochs: usize,
    /// Samples of one forward pass. Default 32.
    pub batch_size: usize,
    /// Forward passes of one optimiser step; their gradients are averaged by sample, as if it were
    /// one batch of `batch_size * accumulation` (batch norm still sees `batch_size`). Default 1.
    pub accumulation: usize,
    /// Leave out an epoch's last batch if it is smaller than the others. Default false.
    pub drop_last: bool,
    /// The one seed of the run: weights, order, augmentation, dropout. Default 0.
    pub seed: u64,
    /// Optimiser.
    pub optimizer: OptimizerConfig,
    /// Learning rate over the steps.
    pub schedule: ScheduleConfig,
    /// Largest global norm of the gradients, as torch's `clip_grad_norm_`. Default off.
    pub clip_norm: Option<f64>,
    /// Decay of the exponential moving average of the weights and running statistics, without
    /// warm-up (timm's `ModelEmaV2`); validation and the result use the average. Default off.
    pub ema_decay: Option<f64>,
    /// Stop when a validation metric no longer improves. Default off.
    pub early_stopping: Option<EarlyStopping>,
    /// Validation metric that chooses `checkpoint/best` and the result. Default: the last weights.
    pub best_metric: Option<BestMetric>,
    /// Write `checkpoint/last` every so many optimiser steps too, not only after each epoch.
    /// Default off.
    pub checkpoint_every_steps: Option<usize>,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 32,
            accumulation: 1,
            drop_last: false,
            seed: 0,
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            clip_norm: None,
            ema_decay: None,
            early_stopping: None,
            best_metric: None,
            checkpoint_every_steps: None,
        }
    }
}

/// Optimisers of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW,
    /// Stochastic gradient descent with momentum; weight decay is added to the gradient.
    Sgd,
}

/// An optimiser with torch's meaning of each number. Biases and norm parameters (module paths that
/// end in `bias`, `gamma` or `beta`) are never decayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Which one. Default `adamw`.
    pub name: OptimizerName,
    /// Peak learning rate. Default 1e-3.
    pub lr: f64,
    /// Weight decay. Default 1e-2.
    pub weight_decay: f64,
    /// AdamW: decay of the first moment. Default 0.9.
    pub beta_1: f64,
    /// AdamW: decay of the second moment. Default 0.999.
    pub beta_2: f64,
    /// AdamW: added to the denominator. Default 1e-8.
    pub epsilon: f64,
    /// SGD: momentum, without dampening. Default 0.9.
    pub momentum: f64,
    /// SGD: Nesterov's momentum. Default false.
    pub nesterov: bool,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            name: OptimizerName::AdamW,
            lr: 1e-3,
            weight_decay: 1e-2,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            momentum: 0.9,
            nesterov: false,
        }
    }
}

/// Shapes of the learning rate after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleName {
    /// Stays at the peak.
    Constant,
    /// A straight line from the peak to the final rate.
    Linear,
    /// Half a cosine from the peak to the final rate (Loshchilov and Hutter, 2017).
    Cosine,
}

/// Learning rate over the steps; see [`Schedule`](super::Schedule) for the formula.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Shape after warm-up. Default `cosine`.
    pub name: ScheduleName,
    /// Steps of linear warm-up. Default 0. Not together with `warmup_epochs`.
    pub warmup_steps: usize,
    /// Epochs of linear warm-up, fractions allowed. Default 0.
    pub warmup_epochs: f64,
    /// Final learning rate as a fraction of the peak. Default 0.
    pub final_lr_ratio: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        let name = ScheduleName::Cosine;
        Self {
            name,
            warmup_steps: 0,
            warmup_epochs: 0.0,
            final_lr_ratio: 0.0,
        }
    }
}

/// Whether more or less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// More is better (accuracy).
    Max,
    /// Less is better (loss).
    Min,
}

impl Mode {
    /// Whether `value` beats `best`; NaN beats nothing.
    pub fn is_better(self, value: f64, best: Option<f64>) -> bool {
        match (self, best) {
            (_, None) => !value.is_nan(),
            (Self::Max, Some(best)) => value > best,
            (Self::Min, Some(best)) => value < best,
        }
    }
}

/// Ends a run when `metric` has not improved for `patience` validations in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Name of any validation metric.
    pub metric: String,
    /// Which way is better.
    pub mode: Mode,
    /// Validations without improvement that are tolerated.
    pub patience: usize,
}

/// The validation metric by which the best weights are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestMetric {
    /// Name of any validation metric.
    pub name: String,
    /// Which way is better.
    pub mode: Mode,
}

impl BestMetric {
    /// The largest value of `metric`.
    pub fn max(metric: impl Into<String>) -> Self {
        Self {
            name: metric.into(),
            mode: Mode::Max,
        }
    }
}

impl FitConfig {
    /// Checks every range; the error names the field.
    pub fn validate(&self) -> Result<()> {
        at_least_one("epochs", self.epochs)?;
        at_least_one("batch_size", self.batch_size)?;
        at_least_one("accumulation", self.accumulation)?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        if let Some(norm) = self.clip_norm {
            let ok = norm.is_finite() && norm > 0.0;
            check(ok, "clip_norm", norm, "a positive number, or null")?;
        }
        if let Some(decay) = self.ema_decay {
            check(
                decay > 0.0 && decay < 1.0,
                "ema_decay",
                decay,
                "between 0 and 1, or null",
            )?;
        }
        if let Some(early) = &self.early_stopping {
            at_least_one("early_stopping.patience", early.patience)?;
        }
        if let Some(steps) = self.checkpoint_every_steps {
            at_least_one("checkpoint_every_steps", steps)?;
        }
        Ok(())
    }
}

impl OptimizerConfig {
    fn validate(&self) -> Result<()> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        check(
            positive(self.lr),
            "optimizer.lr",
            self.lr,
            "a positive number",
        )?;
        let decay = self.weight_decay;
        check(
            decay.is_finite() && decay >= 0.0,
            "optimizer.weight_decay",
            decay,
            "0 or more",
        )?;
        check(
            fraction(self.beta_1),
            "optimizer.beta_1",
            self.beta_1,
            "in [0, 1)",
        )?;
        check(
            fraction(self.beta_2),
            "optimizer.beta_2",
            self.beta_2,
            "in [0, 1)",
        )?;
        check(
            positive(self.epsilon),
            "optimizer.epsilon",
            self.epsilon,
            "a positive number",
        )?;
        check(
            fraction(self.momentum),
            "optimizer.momentum",
            self.momentum,
            "in [0, 1)",
        )?;
        let ok = !self.nesterov || self.momentum > 0.0;
        check(
            ok,
            "optimizer.nesterov",
            self.nesterov,
            "false where momentum is 0",
        )
    }
}

impl ScheduleConfig {
    fn validate(&self) -> Result<()> {
        let epochs = self.warmup_epochs;
        check(
            epochs.is_finite() && epochs >= 0.0,
            "schedule.warmup_epochs",
            epochs,
            "0 or more",
        )?;
        let both = self.warmup_steps > 0 && epochs > 0.0;
        check(
            !both,
            "schedule.warmup_epochs",
            epochs,
            "0 where warmup_steps is set",
        )?;
        let ratio = self.final_lr_ratio;
        check(
            (0.0..=1.0).contains(&ratio),
            "schedule.final_lr_ratio",
            ratio,
            "in [0, 1]",
        )
    }
}

fn at_least_one(field: &str, value: usize) -> Result<()> {
    check(value >= 1, field, value, "at least 1")
}

/// An input error about `field` unless `ok`.
pub(super) fn check(ok: bool, field: &str, value: impl Display, expected: &str) -> Result<()> {
    if ok {
        Ok(())
    } else {
        Err(Error::input(field, value.to_string(), expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::apply_sets;

    fn error(edit: &str) -> String {
        let config = apply_sets(FitConfig::default(), &[edit.to_string()]);
        config.and_then(|c| c.validate()).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_valid_and_survive_json() {
        let config = FitConfig::default();
        config.validate().unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<FitConfig>(&text).unwrap(), config);
        assert_eq!(serde_json::from_str::<FitConfig>("{}").unwrap(), config);
        assert!(serde_json::from_str::<FitConfig>("{\"epoch\":1}").is_err());
    }

    #[test]
    fn a_value_out_of_range_names_its_field() {
        for (edit, field) in [
            ("epochs=0", "epochs"),
            ("batch_size=0", "batch_size"),
            ("accumulation=0", "accumulation"),
            ("optimizer.lr=0", "optimizer.lr"),
            ("optimizer.lr=-1", "optimizer.lr"),
            ("optimizer.weight_decay=-0.1", "optimizer.weight_decay"),
            ("optimizer.beta_1=1", "optimizer.beta_1"),
            ("optimizer.beta_2=-0.5", "optimizer.beta_2"),
            ("optimizer.epsilon=0", "optimizer.epsilon"),
            ("optimizer.momentum=1", "optimizer.momentum"),
            ("schedule.final_lr_ratio=1.5", "schedule.final_lr_ratio"),
            ("schedule.warmup_epochs=-1", "schedule.warmup_epochs"),
            ("clip_norm=0", "clip_norm"),
            ("ema_decay=1", "ema_decay"),
            ("checkpoint_every_steps=0", "checkpoint_every_steps"),
            (
                "early_stopping={\"metric\":\"loss\",\"mode\":\"min\",\"patience\":0}",
                "early_stopping.patience",
            ),
        ] {
            let text = error(edit);
            assert!(text.starts_with(&format!("{field}: ")), "{edit}: {text}");
        }
        assert!(error("optimizer.name=adam").contains("adamw"));
        assert!(error("schedule.name=step").contains("cosine"));
    }

    #[test]
    fn contradictions_are_refused() {
        let mut config = FitConfig::default();
        config.optimizer.momentum = 0.0;
        config.optimizer.nesterov = true;
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("optimizer.nesterov")
        );
        let mut config = FitConfig::default();
        config.schedule.warmup_steps = 5;
        config.schedule.warmup_epochs = 1.0;
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("warmup_epochs")
        );
    }

    #[test]
    fn nan_beats_nothing() {
        assert!(!Mode::Max.is_better(f64::NAN, None) && !Mode::Min.is_better(f64::NAN, Some(1.0)));
        assert!(Mode::Max.is_better(0.5, None) && !Mode::Max.is_better(0.5, Some(0.5)));
        assert!(Mode::Min.is_better(0.4, Some(0.5)));
    }
}
