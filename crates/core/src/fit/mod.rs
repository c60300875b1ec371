//! The one supervised training loop.
//!
//! [`fit`] trains any [`Trainable`] module: seeded and ordered loading ([`Loader`]), a gradient
//! audit before the first step, warm-up and decay of the learning rate ([`Schedule`]), decay groups,
//! accumulation, global-norm clipping, weight averaging, early stopping, and checkpoints from which
//! a run goes on bit for bit, also in the middle of an epoch.
//!
//! # Why it drives `ModuleOptimizer` itself
//!
//! burn's `SupervisedTraining` would be the natural home (a custom `SupervisedLearningStrategy` over
//! a `Learner`), but `Learner` keeps its optimiser private: its state can only leave through
//! `LearningCheckpointer`, which writes model, optimiser and scheduler as three independent files on
//! worker threads and panics where one is missing or corrupt. A checkpoint that is whole or absent,
//! holds the loop's own state (position, running sums, averages, early stopping) and answers `Err`
//! needs the optimiser's record. So the loop uses burn's modules, optimisers, records, freezing and
//! LoRA, and steps `ModuleOptimizer` directly.
//!
//! # Determinism
//!
//! Every random number is a pure function of the run's seed and of where it is drawn: the order of
//! an epoch (seed, epoch), a sample's augmentation (seed, epoch, index), a batch's mixing (seed,
//! epoch, batch), initial weights (seed), and the device's generator (dropout), which is reseeded
//! before every forward pass from (seed, step). Nothing depends on the number of threads, and there
//! is no generator state to save. The device's generator is one per process on the CPU: two runs
//! with dropout in one process at the same time disturb each other.

mod audit;
mod checkpoint;
mod config;
mod ema;
mod history;
mod loader;
mod loss;
mod optim;
mod resume;
mod schedule;
mod trainer;

pub use config::{
    BestMetric, EarlyStopping, FitConfig, Mode, OptimizerConfig, OptimizerName, ScheduleConfig,
    ScheduleName,
};
pub use history::{EpochRecord, History};
pub use loader::{Batches, Collate, Loader, Samples};
pub use loss::{
    IGNORE_INDEX, Targets, binary_cross_entropy, cross_entropy, cross_entropy_ignoring,
};
pub use optim::{OptimizerGroup, clip_grad_norm, grad_norm, optimizer, optimizer_groups};
pub use schedule::Schedule;
pub use trainer::fit;

use crate::{Error, Result};
use burn::{module::Module, tensor::Tensor};
use checkpoint::Checkpoints;
use serde_json::Value;
use std::path::PathBuf;

/// What one training step needs from a model.
pub trait Trainable: Module {
    /// What [`Collate`] makes.
    type Batch: Send;

    /// Forward pass and loss of one batch, on the device of the batch.
    fn loss(&self, batch: Self::Batch) -> StepOutput;
}

/// Named metrics of one validation, in the order in which they are shown.
pub type Metrics = Vec<(String, f64)>;

/// What [`Trainable::loss`] found on one batch.
#[derive(Debug)]
pub struct StepOutput {
    /// Mean loss over the samples, `[1]`.
    pub loss: Tensor<1>,
    /// Number of samples: the weight of this batch in accumulation and in epoch means.
    pub num_samples: usize,
    /// Sums over the samples of what is shown while training (`("accuracy", correct)`); divided by
    /// the number of samples for display and for the history. The same names in every batch.
    pub metrics: Vec<(&'static str, f64)>,
}

/// Where a run lives and whether it goes on.
#[derive(Clone, Debug)]
pub struct Run {
    /// Run folder; checkpoints are in its `checkpoint/last` and `checkpoint/best`.
    pub dir: PathBuf,
    /// Go on from `checkpoint/last`. Without it a folder that holds a checkpoint is refused.
    pub resume: bool,
    /// Everything beside [`FitConfig`] that must not change when a run goes on (the task's recipe:
    /// model, data, augmentation); an error names the first key that did.
    pub recipe: Value,
}

impl Run {
    /// A fresh run in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            resume: false,
            recipe: Value::Null,
        }
    }

    /// Refuses a folder that holds a run unless `resume`, and one that holds none if `resume`: for
    /// callers that write into the folder before [`fit`] looks at it.
    pub fn check(&self) -> Result<()> {
        let location = || self.dir.display().to_string();
        if self.dir.exists() && !self.dir.is_dir() {
            return Err(Error::input(
                location(),
                "a file",
                "a folder, or a new name for one",
            ));
        }
        let checkpoints = Checkpoints::new(&self.dir);
        if self.resume {
            checkpoints.open(Checkpoints::LAST).map(drop)
        } else if checkpoints.any() {
            let expected = "--resume to go on with it, or another --out";
            Err(Error::input(
                location(),
                "already holds a checkpoint",
                expected,
            ))
        } else {
            Ok(())
        }
    }
}

/// What [`fit`] left behind.
#[derive(Clone, Debug)]
pub struct Fitted<M> {
    /// The best weights by [`FitConfig::best_metric`], else the last ones; averaged weights where
    /// EMA is on. On the inference device, in evaluation mode.
    pub model: M,
    /// Curves.
    pub history: History,
    /// Epoch (from 1) and value of the best validation, if a metric was named.
    pub best: Option<(usize, f64)>,
    /// Whether early stopping ended the run.
    pub stopped_early: bool,
}

/// Streams of seeds, so that two uses of one position never share numbers.
mod stream {
    pub(super) const ORDER: u64 = 1;
    pub(super) const SAMPLE: u64 = 2;
    pub(super) const COLLATE: u64 = 3;
    pub(super) const STEP: u64 = 4;
    pub(super) const WEIGHTS: u64 = 5;
    pub(super) const AUDIT: u64 = 6;
}
