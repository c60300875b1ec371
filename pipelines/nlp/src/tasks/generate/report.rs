//! The seven stages of a training run, as `report.json` and `report.html`.

use super::{recipe::Recipe, samples::Supervised};
use crate::{models::Decoder, preprocess::causal_input, tasks::blocks::Blocks};
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
    pub(super) blocks: &'a Blocks<'a>,
    pub(super) fitted: &'a Fitted<Supervised>,
    pub(super) card: &'a ModelCard,
}

/// All stages; the caller adds the final metrics and the times that it alone knows.
pub(super) fn page(run: &Trained<'_>, context: &RunContext) -> Result<Report> {
    let training = Curves::from(&run.fitted.history);
    let formula = "-ln p(next token), mean over the tokens of the batch";
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
        timing: Timing::of(&run.fitted.history, run.blocks.len()),
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

/// Shapes and activation statistics of the first blocks, stage by stage.
fn observe(run: &Trained<'_>, context: &RunContext) -> Result<Observed> {
    // Without the token that only the targets have.
    let blocks = run.blocks.first(OBSERVED).into_iter();
    let blocks: Vec<&[u32]> = blocks.map(|block| &block[..block.len() - 1]).collect();
    let input = causal_input(&blocks, &context.device);
    let model = &run.fitted.model.model;
    let mut seen = Vec::new();
    let hidden = model.walk(&input, None, &mut |stage, x| {
        seen.push((stage.to_string(), x.clone()));
    });
    let mut observed = Observed::default();
    for (stage, x) in seen {
        observed.note(&stage, x)?;
    }
    observed.note("logits", model.head(hidden.flatten(0, 1)))?;
    Ok(observed)
}
