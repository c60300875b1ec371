//! Stages that every task fills in the same way.

use super::{
    ActivationRow, GroupRow, OptimiserStage, RunStage, SplitRow, StageShape, Timing,
    peak_memory_bytes, versions,
};
use crate::{
    ModelCard, Result, RunContext, TrainRequest,
    fit::{FitConfig, History, optimizer_groups},
    host,
};
use burn::{module::Module, tensor::Tensor};
use serde::Serialize;
use serde_json::json;

impl SplitRow {
    /// A split of `num_samples` samples, with how many each class has.
    pub fn of(name: &str, num_samples: usize, classes: &[String], counts: Vec<usize>) -> Self {
        let counts = counts.into_iter().map(|n| n as u64);
        Self {
            name: name.into(),
            num_samples,
            classes: classes.iter().cloned().zip(counts).collect(),
        }
    }
}

impl RunStage {
    /// The run that made the model of `card` by `recipe`, the whole config after `--set`.
    pub fn of(
        card: &ModelCard,
        recipe: &impl Serialize,
        seed: u64,
        request: &TrainRequest,
        context: &RunContext,
    ) -> Self {
        Self {
            pipeline: card.pipeline.clone(),
            task: card.task.clone(),
            recipe: request.recipe.clone(),
            config: json!(recipe),
            seed,
            command: std::env::args().collect(),
            device: format!("{:?}", context.device),
            versions: versions(),
        }
    }
}

impl OptimiserStage {
    /// The optimiser that [`fit`](crate::fit::fit) builds for `model`, and its parameter groups.
    pub fn of<M: Module>(fit: &FitConfig, model: &M) -> Result<Self> {
        let config = json!(fit.optimizer);
        let groups = optimizer_groups(&fit.optimizer, model)?;
        Ok(Self {
            name: config["name"].as_str().unwrap_or_default().into(),
            schedule: json!(fit.schedule),
            groups: groups.into_iter().map(GroupRow::from).collect(),
            config,
        })
    }
}

impl Timing {
    /// Epochs, throughput and memory of a run over `num_samples` training samples an epoch.
    pub fn of(history: &History, num_samples: usize) -> Self {
        let seconds: Vec<f64> = history.epochs.iter().map(|epoch| epoch.seconds).collect();
        let total: f64 = seconds.iter().sum();
        Self {
            samples_per_sec: (total > 0.0).then(|| (num_samples * seconds.len()) as f64 / total),
            epoch_secs: seconds,
            peak_memory_bytes: peak_memory_bytes(),
            ..Self::default()
        }
    }
}

/// Shapes and values of a batch on its way through a network: stages 3 and 4.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Stage 3.
    pub shapes: Vec<StageShape>,
    /// Stage 4.
    pub rows: Vec<ActivationRow>,
}

impl Observed {
    /// Adds the output of one stage of the network.
    pub fn note<const D: usize>(&mut self, stage: &str, output: Tensor<D>) -> Result<()> {
        self.shapes.push(StageShape {
            stage: stage.into(),
            shape: output.dims().to_vec(),
        });
        let values = host::to_vec(output)?;
        self.rows.push(ActivationRow::of(stage, &values));
        Ok(())
    }
}
