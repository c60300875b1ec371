//! The seven stages of a training run over an encoder, as `report.json` and `report.html`.

use crate::{
    models::bert::{Bert, BertConfig},
    preprocess::{Encoded, encoder_input},
};
use burn::{module::Module, tensor::Tensor};
use panoply_core::{
    ModelCard, Result, RunContext, TrainRequest,
    fit::{FitConfig, Fitted},
    report::{
        Curves, DataStage, LossStage, NetworkStage, Observed, OptimiserStage, Report, RunStage,
        SplitRow, Timing,
    },
};
use panoply_datasets::gate::{GateReport, SplitSummary};
use serde::Serialize;

/// Samples whose way through the network is shown.
pub(super) const OBSERVED: usize = 8;

/// What was trained, on what, and how it went.
pub(super) struct Trained<'a, R, S> {
    pub(super) recipe: &'a R,
    pub(super) fit: &'a FitConfig,
    pub(super) request: &'a TrainRequest,
    pub(super) fitted: &'a Fitted<S>,
    pub(super) card: &'a ModelCard,
    pub(super) data: DataStage,
    /// Name and formula.
    pub(super) loss: (&'static str, String),
    pub(super) num_samples: usize,
}

impl<R: Serialize, S: Module> Trained<'_, R, S> {
    /// All stages; the caller adds the final metrics and the times that it alone knows.
    pub(super) fn page(self, observed: Observed, context: &RunContext) -> Result<Report> {
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

/// Shapes and activation statistics of some samples, stage by stage, down to the logits.
pub(super) fn observe<const D: usize>(
    samples: &[Encoded],
    config: &BertConfig,
    bert: &Bert,
    head: impl Fn(Tensor<3>) -> Tensor<D>,
    context: &RunContext,
) -> Result<Observed> {
    let samples: Vec<&Encoded> = samples.iter().collect();
    let input = encoder_input(&samples, config, &context.device);
    let mut seen = Vec::new();
    let hidden = bert.walk(&input, &mut |stage, x| {
        seen.push((stage.to_string(), x.clone()));
    });
    let mut observed = Observed::default();
    for (stage, x) in seen {
        observed.note(&stage, x)?;
    }
    observed.note("logits", head(hidden))?;
    Ok(observed)
}

/// The data of a run as its gate saw it, without what the gate found unusable.
pub(super) fn data_stage(source: &str, found: &GateReport, card: &ModelCard) -> DataStage {
    let row = |(at, split): (usize, &SplitSummary)| SplitRow {
        name: split.name.clone(),
        num_samples: split.samples - split.unusable.len(),
        classes: found
            .balance
            .iter()
            .map(|class| (class.class.clone(), class.counts[at] as u64))
            .collect(),
    };
    DataStage {
        source: source.into(),
        sha256: card.data_sha256.clone().unwrap_or_default(),
        splits: found.splits.iter().enumerate().map(row).collect(),
        gate: found.summary(),
    }
}
