//! What a run learns, and how it is saved and brought back.

use super::{
    FitConfig, Run, Trainable,
    checkpoint::{Checkpoints, Exact, FORMAT, State, Sums, Watch, first_difference, read_state},
    ema::Ema,
    history::History,
};
use crate::{Error, Result, guard};
use burn::{
    module::Module,
    optim::ModuleOptimizer,
    store::{ModuleRecord, RecordError},
    tensor::Bytes,
};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

const MODEL: &str = "model.bpk";
const EMA: &str = "ema.bpk";
const OPTIMIZER: &str = "optimizer.bpk";

/// Everything that changes while a run runs.
pub(super) struct Learned<M> {
    /// On the training device.
    pub(super) model: M,
    pub(super) optimizer: ModuleOptimizer,
    pub(super) ema: Option<Ema<M>>,
    pub(super) state: State,
}

impl<M: Module> Learned<M> {
    /// What validation sees: averaged weights where there are any, without autodiff.
    pub(super) fn eval_model(&self) -> M {
        match &self.ema {
            Some(ema) => ema.model(),
            None => self.model.valid(),
        }
    }
}

/// Writes `checkpoint/last`: weights, averages, optimiser and state.
pub(super) fn save_last<M: Trainable>(at: &Checkpoints, learned: &Learned<M>) -> Result<()> {
    at.write(Checkpoints::LAST, &learned.state, |dir| {
        // Through `valid`, which folds the pending batch-norm update in: a record would miss it.
        save(&dir.join(MODEL), |path| {
            learned.model.valid().into_record().save(path)
        })?;
        if let Some(ema) = &learned.ema {
            save(&dir.join(EMA), |path| ema.model().into_record().save(path))?;
        }
        save(&dir.join(OPTIMIZER), |path| learned.optimizer.save(path))
    })?;
    Ok(())
}

/// Writes `checkpoint/best`: the validated weights alone, and the state they were found in.
pub(super) fn save_best<M: Trainable>(at: &Checkpoints, model: M, state: &State) -> Result<()> {
    at.write(Checkpoints::BEST, state, |dir| {
        save(&dir.join(MODEL), |path| model.into_record().save(path))
    })?;
    Ok(())
}

/// The weights of `checkpoint/best`; `model` gives the structure.
pub(super) fn load_best<M: Trainable>(at: &Checkpoints, model: M) -> Result<M> {
    load_module(model, &at.open(Checkpoints::BEST)?.join(MODEL))
}

/// Brings `checkpoint/last` back. `plain` is the model without autodiff, `fresh` the state that a
/// new run with this configuration would start from.
pub(super) fn load_last<M: Trainable>(
    at: &Checkpoints,
    plain: M,
    optimizer: ModuleOptimizer,
    ema_decay: Option<f64>,
    fresh: &State,
) -> Result<Learned<M>> {
    let dir = at.open(Checkpoints::LAST)?;
    let state = read_state(&dir)?;
    state.check_same_run(fresh, &dir)?;
    let plain = load_module(plain, &dir.join(MODEL))?;
    let ema = match ema_decay {
        None => None,
        // A second copy of the structure: clones would share running statistics.
        Some(decay) => Some(Ema::new(
            &load_module(plain.valid(), &dir.join(EMA))?,
            decay,
        )),
    };
    let path = dir.join(OPTIMIZER);
    let bytes = read(&path)?;
    // burn panics on a foreign optimiser record. The sums have been checked; stay safe all the same.
    let optimizer = guard("loading the optimiser's state", || {
        optimizer.from_bytes(bytes).map_err(|e| damaged(&path, &e))
    })?;
    Ok(Learned {
        model: plain.train(),
        optimizer,
        ema,
        state,
    })
}

fn save(path: &Path, write: impl FnOnce(&Path) -> Result<(), RecordError>) -> Result<()> {
    write(path).map_err(|e| Error::io("write", path, std::io::Error::other(e)))
}

fn load_module<M: Module>(model: M, path: &Path) -> Result<M> {
    let record = ModuleRecord::from_bytes(read(path)?).map_err(|e| damaged(path, &e))?;
    model.try_load_record(record).map_err(|e| damaged(path, &e))
}

/// The whole file. burn's own `load` reads tensors when they are first used, and panics if the
/// folder was replaced by then, as the next checkpoint does.
fn read(path: &Path) -> Result<Bytes> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    Ok(Bytes::from_bytes_vec(bytes))
}

fn damaged(path: &Path, error: &RecordError) -> Error {
    Error::Weights {
        path: path.into(),
        report: error.to_string(),
    }
}

impl State {
    /// The state before the first step.
    pub(super) fn fresh(config: &FitConfig, run: &Run, num_samples: usize) -> Result<Self> {
        Ok(Self {
            format: FORMAT,
            config: through_json(config)?,
            recipe: through_json(&run.recipe)?,
            num_samples,
            step: 0,
            epoch: 0,
            batch: 0,
            sums: Sums::default(),
            best: Watch::default(),
            early: Watch::default(),
            stopped_early: false,
            history: History::default(),
        })
    }

    /// An error that names the first setting in which `fresh` differs.
    fn check_same_run(&self, fresh: &Self, dir: &Path) -> Result<()> {
        let pairs = [
            ("training setting", &self.config, &fresh.config),
            ("recipe key", &self.recipe, &fresh.recipe),
            (
                "number of training samples",
                &self.num_samples.into(),
                &fresh.num_samples.into(),
            ),
        ];
        for (kind, then, now) in pairs {
            if let Some((key, then, now)) = first_difference(then, now) {
                let key = if key.is_empty() {
                    kind.to_string()
                } else {
                    format!("{kind} '{key}'")
                };
                let what = format!("{key} is now {now}");
                let expected = format!("{then}, as the checkpoint was made with, or a new --out");
                return Err(Error::input(dir.display().to_string(), what, expected));
            }
        }
        Ok(())
    }
}

impl Sums {
    /// Adds one batch; `loss` is its mean.
    pub(super) fn add(&mut self, loss: f64, num_samples: usize, metrics: &[(&'static str, f64)]) {
        self.samples += num_samples;
        self.loss.0 += loss * num_samples as f64;
        for (name, sum) in metrics {
            match self.metrics.iter_mut().find(|(known, _)| known == name) {
                Some((_, total)) => total.0 += sum,
                None => self.metrics.push(((*name).to_string(), Exact(*sum))),
            }
        }
    }

    /// Means over the samples: the loss, then the model's own metrics.
    pub(super) fn means(&self) -> Vec<(String, f64)> {
        let count = self.samples.max(1) as f64;
        let own = self
            .metrics
            .iter()
            .map(|(name, sum)| (name.clone(), sum.0 / count));
        std::iter::once(("loss".to_string(), self.loss.0 / count))
            .chain(own)
            .collect()
    }
}

/// As the checkpoint will give it back: numbers written and read once.
fn through_json(value: &impl Serialize) -> Result<Value> {
    let text = serde_json::to_string(value);
    text.and_then(|text| serde_json::from_str(&text))
        .map_err(|e| Error::Internal {
            context: "training configuration".into(),
            message: e.to_string(),
        })
}
