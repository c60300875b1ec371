//! The seven stages of a training run, as `report.json` and `report.html`.

use super::{recipe::Recipe, samples::Supervised};
use crate::{models::ConvNet, preprocess::Preprocessing};
use panoply_core::{
    ModelCard, Result, RunContext, TrainRequest,
    fit::Fitted,
    report::{
        Curves, DataStage, LossStage, NetworkStage, Observed, OptimiserStage, Report, RunStage,
        SplitRow, Timing,
    },
};
use panoply_datasets::{ImageSet, Split, Splits, gate::GateReport};

/// Images whose way through the network is shown.
const OBSERVED: usize = 8;

/// What was trained, on what, and how it went.
pub(super) struct Trained<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) request: &'a TrainRequest,
    pub(super) data: &'a Splits<ImageSet>,
    pub(super) found: &'a GateReport,
    pub(super) preprocessing: &'a Preprocessing,
    pub(super) fitted: &'a Fitted<Supervised>,
    pub(super) card: &'a ModelCard,
}

/// All stages; the caller adds the final metrics and the times that it alone knows.
pub(super) fn page(run: &Trained<'_>, context: &RunContext) -> Result<Report> {
    let training = Curves::from(&run.fitted.history);
    let formula = match run.recipe.label_smoothing {
        0.0 => "-log softmax(logits)[class], mean over the batch".to_string(),
        e => format!("cross entropy against (1 - {e}) one-hot + {e} uniform, mean over the batch"),
    };
    let observed = observe(run, context)?;
    Ok(Report {
        run: RunStage::of(
            run.card,
            run.recipe,
            run.recipe.fit.seed,
            run.request,
            context,
        ),
        data: data_stage(run),
        network: NetworkStage::of(&run.card.arch, &run.fitted.model),
        forward: observed.shapes,
        activations: observed.rows,
        loss: LossStage::of("cross-entropy", formula, &training),
        optimiser: OptimiserStage::of(&run.recipe.fit, &run.fitted.model)?,
        timing: Timing::of(&run.fitted.history, run.data.train.len()),
        training,
        ..Report::default()
    })
}

fn data_stage(run: &Trained<'_>) -> DataStage {
    let row = |(split, part): (Split, &ImageSet)| {
        SplitRow::of(
            split.name(),
            part.len(),
            part.classes(),
            part.class_counts(),
        )
    };
    DataStage {
        source: run.data.train.location().into(),
        sha256: run.card.data_sha256.clone().unwrap_or_default(),
        splits: run.data.parts().map(row).collect(),
        gate: run.found.summary(),
    }
}

/// Shapes and activation statistics of the first images, stage by stage.
fn observe(run: &Trained<'_>, context: &RunContext) -> Result<Observed> {
    let set = &run.data.train;
    let images = (0..set.len().min(OBSERVED))
        .map(|i| set.image(i))
        .collect::<Result<Vec<_>>>()?;
    let input = run.preprocessing.batch(&images, &context.device)?;
    let mut observed = Observed::default();
    observed.note("input", input.clone())?;
    let backbone = &run.fitted.model.backbone;
    let mut seen = Vec::new();
    let features = backbone.walk(input, &mut |stage, x| {
        seen.push((stage.to_string(), x.clone()));
    });
    for (stage, x) in seen {
        observed.note(&stage, x)?;
    }
    observed.note("logits", backbone.head(features))?;
    Ok(observed)
}
