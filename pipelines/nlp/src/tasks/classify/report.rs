//! The seven stages of a training run, as `report.json` and `report.html`.

use super::{recipe::Recipe, samples::Supervised, train::Start};
use crate::preprocess::{Encoded, encoder_input};
use panoply_core::{
    ModelCard, Result, RunContext, TrainRequest,
    fit::Fitted,
    report::{
        Curves, DataStage, LossStage, NetworkStage, Observed, OptimiserStage, Report, RunStage,
        SplitRow, Timing,
    },
};
use panoply_datasets::{LabelledTexts, Split, Splits, gate::GateReport};

/// Texts whose way through the network is shown.
const OBSERVED: usize = 8;

/// What was trained, on what, and how it went.
pub(super) struct Trained<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) request: &'a TrainRequest,
    pub(super) data: &'a Splits<LabelledTexts>,
    pub(super) found: &'a GateReport,
    pub(super) start: &'a Start,
    pub(super) fitted: &'a Fitted<Supervised>,
    pub(super) card: &'a ModelCard,
}

/// All stages; the caller adds the final metrics and the times that it alone knows.
pub(super) fn page(run: &Trained<'_>, context: &RunContext) -> Result<Report> {
    let training = Curves::from(&run.fitted.history);
    let (name, formula) = match (run.recipe.data.multi_label, run.recipe.label_smoothing) {
        (true, _) => (
            "binary cross-entropy",
            "-log sigmoid(logit) where the text has the class, -log(1 - sigmoid(logit)) elsewhere, mean over classes and batch".to_string(),
        ),
        (false, 0.0) => (
            "cross-entropy",
            "-log softmax(logits)[class], mean over the batch".to_string(),
        ),
        (false, e) => (
            "cross-entropy",
            format!("cross entropy against (1 - {e}) one-hot + {e} uniform, mean over the batch"),
        ),
    };
    let observed = observe(run, context)?;
    let fit = &run.recipe.fit;
    Ok(Report {
        run: RunStage::of(run.card, run.recipe, fit.seed, run.request, context),
        data: data_stage(run),
        network: NetworkStage::of(&run.card.arch, &run.fitted.model),
        forward: observed.shapes,
        activations: observed.rows,
        loss: LossStage::of(name, formula, &training),
        optimiser: OptimiserStage::of(fit, &run.fitted.model)?,
        timing: Timing::of(&run.fitted.history, run.data.train.len()),
        training,
        ..Report::default()
    })
}

fn data_stage(run: &Trained<'_>) -> DataStage {
    let row = |(split, part): (Split, &LabelledTexts)| {
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

/// Shapes and activation statistics of the first texts, stage by stage.
fn observe(run: &Trained<'_>, context: &RunContext) -> Result<Observed> {
    let texts = &run.data.train;
    let encode = |row| {
        let tokenizer = &run.start.tokenizer;
        tokenizer.encode_quietly(&texts.name(row), texts.text(row))
    };
    let encoded: Vec<Encoded> = (0..texts.len().min(OBSERVED))
        .map(encode)
        .collect::<Result<_>>()?;
    let encoded: Vec<&Encoded> = encoded.iter().collect();
    let input = encoder_input(&encoded, &run.start.config, &context.device);
    let network = &run.fitted.model.network;
    let mut seen = Vec::new();
    let hidden = network.bert.walk(&input, &mut |stage, x| {
        seen.push((stage.to_string(), x.clone()));
    });
    let mut observed = Observed::default();
    for (stage, x) in seen {
        observed.note(&stage, x)?;
    }
    observed.note("logits", network.head(hidden))?;
    Ok(observed)
}
