//! Stages that every task fills in the same way.

use super::{
    ActivationRow, Curves, DataStage, GroupRow, LayerRow, LossStage, NetworkStage, OptimiserStage,
    Report, RunStage, StageShape, Timing, peak_memory_bytes, versions,
};
use crate::{
    ModelCard, Result, RunContext, TrainRequest,
    fit::{FitConfig, Fitted, History, optimizer_groups},
    host,
    weights::Arrays,
};
use burn::{module::Module, tensor::Tensor};
use serde::Serialize;
use serde_json::json;

/// Samples whose way through the network a report shows.
pub const OBSERVED: usize = 8;

/// What was trained, on what, and how it went: all that a report is made of beside the observed batch.
#[derive(Debug)]
pub struct Trained<'a, R, M> {
    /// The whole config after `--set`.
    pub recipe: &'a R,
    /// Its training loop.
    pub fit: &'a FitConfig,
    /// What was asked for.
    pub request: &'a TrainRequest,
    /// What the loop left.
    pub fitted: &'a Fitted<M>,
    /// The card of the model.
    pub card: &'a ModelCard,
    /// Stage 1, as the data gate saw it.
    pub data: DataStage,
    /// Name and formula of the loss.
    pub loss: (&'static str, String),
    /// Samples of an epoch.
    pub num_samples: usize,
}

impl<R: Serialize, M: Module> Trained<'_, R, M> {
    /// The report, all stages; [`Conclusion`](crate::Conclusion) adds final metrics, pictures and times.
    pub fn page(self, observed: Observed, context: &RunContext) -> Result<Report> {
        let training = Curves::from(&self.fitted.history);
        let (name, formula) = self.loss;
        Ok(Report {
            run: RunStage::of(self.card, self.recipe, self.fit.seed, self.request, context),
            data: self.data,
            network: NetworkStage::of(&self.card.arch, &self.fitted.model),
            forward: observed.shapes,
            activations: observed.rows,
            loss: LossStage::of(name, formula, &training),
            optimiser: OptimiserStage::of(self.fit, &self.fitted.model)?,
            timing: Timing::of(&self.fitted.history, self.num_samples),
            training,
            ..Report::default()
        })
    }
}

/// What was found without steps of an optimiser: by a closed form, by alternating solutions, by growing trees,
/// by keeping the data.
#[derive(Debug)]
pub struct Solved<'a, R> {
    /// The whole config after `--set`.
    pub recipe: &'a R,
    /// The one seed of the run.
    pub seed: u64,
    /// What was asked for.
    pub request: &'a TrainRequest,
    /// The card of the model.
    pub card: &'a ModelCard,
    /// What was learned, under the names of the model's file.
    pub arrays: &'a Arrays,
    /// Stage 1, as the data gate saw it.
    pub data: DataStage,
    /// Name and formula of what is minimised, or how an answer comes about where nothing is.
    pub loss: (&'static str, String),
    /// How the solution is found (`Cholesky factorisation`), in place of an optimiser.
    pub solver: &'static str,
}

impl<R: Serialize> Solved<'_, R> {
    /// The report; the stages that only a network has stay empty.
    /// [`Conclusion`](crate::Conclusion) adds final metrics, pictures and times.
    pub fn page(self, context: &RunContext) -> Report {
        let (name, formula) = self.loss;
        let layer = |(path, shape, kind): (String, Vec<usize>, &str)| {
            let num_params = shape.iter().product::<usize>() * usize::from(kind != "i64");
            LayerRow {
                path,
                kind: kind.into(),
                shapes: vec![format!("{shape:?}")],
                num_params,
                num_trainable: num_params,
            }
        };
        let network = NetworkStage {
            arch: self.card.arch.clone(),
            num_params: self.card.num_params,
            num_trainable: self.card.num_params,
            size_class: Some(self.card.size_class),
            layers: self.arrays.layout().into_iter().map(layer).collect(),
        };
        let training = Curves::default();
        Report {
            run: RunStage::of(self.card, self.recipe, self.seed, self.request, context),
            data: self.data,
            network,
            loss: LossStage::of(name, formula, &training),
            optimiser: OptimiserStage {
                name: self.solver.into(),
                ..OptimiserStage::default()
            },
            timing: Timing {
                peak_memory_bytes: peak_memory_bytes(),
                ..Timing::default()
            },
            training,
            ..Report::default()
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
    /// What `walk` shows of a network on the way through it, and where it arrives.
    pub fn watch<const D: usize, T>(
        walk: impl FnOnce(&mut dyn FnMut(&str, &Tensor<D>)) -> T,
    ) -> Result<(Self, T)> {
        let mut seen = Vec::new();
        let end = walk(&mut |stage, x| seen.push((stage.to_string(), x.clone())));
        let mut observed = Self::default();
        for (stage, x) in seen {
            observed.note(&stage, x)?;
        }
        Ok((observed, end))
    }

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
