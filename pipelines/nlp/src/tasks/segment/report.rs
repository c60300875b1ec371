//! The seven stages of a training run, as `report.json` and `report.html`.

use super::{
    recipe::Recipe,
    samples::{Supervised, Windows},
};
use panoply_core::{
    ModelCard, Result, RunContext, TrainRequest,
    fit::{Fitted, Samples},
    report::{
        Curves, DataStage, LossStage, NetworkStage, Observed, OptimiserStage, Report, RunStage,
        SplitRow, Timing,
    },
};
use panoply_datasets::{SegmentedText, Split, Splits, gate::GateReport};

/// Windows whose way through the network is shown.
const OBSERVED: usize = 8;

/// What was trained, on what, and how it went.
pub(super) struct Trained<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) request: &'a TrainRequest,
    pub(super) data: &'a Splits<SegmentedText>,
    pub(super) found: &'a GateReport,
    pub(super) samples: &'a Windows,
    pub(super) fitted: &'a Fitted<Supervised>,
    pub(super) card: &'a ModelCard,
}

/// All stages; the caller adds the final metrics and the times that it alone knows.
pub(super) fn page(run: &Trained<'_>, context: &RunContext) -> Result<Report> {
    let training = Curves::from(&run.fitted.history);
    let formula = "ln Z - score(true tags), summed over the batch, divided by its characters";
    let observed = observe(run, context)?;
    let (config, seed) = (run.recipe, run.recipe.fit.seed);
    Ok(Report {
        run: RunStage::of(run.card, config, seed, run.request, context),
        data: data_stage(run),
        network: NetworkStage::of(&run.card.arch, &run.fitted.model),
        forward: observed.shapes,
        activations: observed.rows,
        loss: LossStage::of("CRF negative log-likelihood", formula, &training),
        optimiser: OptimiserStage::of(&run.recipe.fit, &run.fitted.model)?,
        timing: Timing::of(&run.fitted.history, run.samples.len()),
        training,
        ..Report::default()
    })
}

fn data_stage(run: &Trained<'_>) -> DataStage {
    let words = |index: usize| {
        let classes = run.found.balance.iter();
        let counts = classes.map(|c| (c.class.clone(), c.counts[index] as u64));
        counts.collect()
    };
    let split = |(index, (split, text)): (usize, (Split, &SegmentedText))| SplitRow {
        name: split.name().into(),
        num_samples: text.len(),
        classes: words(index),
    };
    DataStage {
        source: run.data.train.location().into(),
        sha256: run.card.data_sha256.clone().unwrap_or_default(),
        splits: run.data.parts().enumerate().map(split).collect(),
        gate: run.found.summary(),
    }
}

/// Shapes and activation statistics of the first windows, stage by stage.
fn observe(run: &Trained<'_>, context: &RunContext) -> Result<Observed> {
    let input = run.samples.first(OBSERVED, &context.device);
    let mut seen = Vec::new();
    let tagger = &run.fitted.model.tagger;
    tagger.walk(&input, &mut |stage, x| seen.push((stage, x.clone())));
    let mut observed = Observed::default();
    for (stage, x) in seen {
        observed.note(stage, x)?;
    }
    Ok(observed)
}
