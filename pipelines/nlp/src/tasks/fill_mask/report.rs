//! The seven stages of a training run, as `report.json` and `report.html`.

use super::{
    recipe::Recipe,
    samples::{Batch, Masked, MaskedBlocks, Supervised},
};
use panoply_core::{
    ModelCard, Result, RunContext, TrainRequest,
    fit::{Fitted, Samples},
    report::{
        Curves, DataStage, LossStage, NetworkStage, Observed, OptimiserStage, Report, RunStage,
        SplitRow, Timing,
    },
};
use panoply_datasets::{Corpus, gate::GateReport};

/// Blocks whose way through the network is shown.
const OBSERVED: usize = 8;

/// What was trained, on what, and how it went.
pub(super) struct Trained<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) request: &'a TrainRequest,
    pub(super) corpora: &'a (Corpus, Corpus),
    pub(super) found: &'a GateReport,
    pub(super) samples: &'a MaskedBlocks<'a>,
    pub(super) held: &'a [Masked],
    pub(super) fitted: &'a Fitted<Supervised>,
    pub(super) card: &'a ModelCard,
}

/// All stages; the caller adds the final metrics and the times that it alone knows.
pub(super) fn page(run: &Trained<'_>, context: &RunContext) -> Result<Report> {
    let training = Curves::from(&run.fitted.history);
    let formula = "-ln p(hidden token), mean over the chosen tokens of the batch";
    let observed = observe(run, context)?;
    let fit = &run.recipe.fit;
    Ok(Report {
        run: RunStage::of(run.card, run.recipe, fit.seed, run.request, context),
        data: data_stage(run),
        network: NetworkStage::of(&run.card.arch, &run.fitted.model),
        forward: observed.shapes,
        activations: observed.rows,
        loss: LossStage::of("cross-entropy", formula, &training),
        optimiser: OptimiserStage::of(fit, &run.fitted.model)?,
        timing: Timing::of(&run.fitted.history, run.samples.len()),
        training,
        ..Report::default()
    })
}

/// A split's samples are its characters.
fn data_stage(run: &Trained<'_>) -> DataStage {
    let split = |name: &str, corpus: &Corpus| SplitRow {
        name: name.into(),
        num_samples: corpus.num_chars(),
        classes: Vec::new(),
    };
    let (train, valid) = run.corpora;
    DataStage {
        source: train.location().into(),
        sha256: run.card.data_sha256.clone().unwrap_or_default(),
        splits: vec![split("train", train), split("valid", valid)],
        gate: run.found.summary(),
    }
}

/// Shapes and activation statistics of the first blocks of the validation, stage by stage.
fn observe(run: &Trained<'_>, context: &RunContext) -> Result<Observed> {
    let batch = Batch::of(&run.held[..run.held.len().min(OBSERVED)], &context.device);
    let network = &run.fitted.model.network;
    let mut seen = Vec::new();
    let hidden = network.bert.walk(&batch.input, &mut |stage, x| {
        seen.push((stage.to_string(), x.clone()));
    });
    let mut observed = Observed::default();
    for (stage, x) in seen {
        observed.note(&stage, x)?;
    }
    observed.note("logits", network.head(hidden))?;
    Ok(observed)
}
