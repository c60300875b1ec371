//! The seven stages of a training run, as `report.json` and `report.html`.

use super::{recipe::Recipe, samples::Supervised};
use crate::{
    models::bert::BertForSequenceClassification,
    tasks::{
        report::{OBSERVED, Trained as Common, observe},
        starting_point::Start,
    },
};
use panoply_core::{
    ModelCard, Result, RunContext, TrainRequest,
    fit::Fitted,
    report::{DataStage, Report, SplitRow},
};
use panoply_datasets::{LabelledTexts, Split, Splits, gate::GateReport};

/// What was trained, on what, and how it went.
pub(super) struct Trained<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) request: &'a TrainRequest,
    pub(super) data: &'a Splits<LabelledTexts>,
    pub(super) found: &'a GateReport,
    pub(super) start: &'a Start<BertForSequenceClassification>,
    pub(super) fitted: &'a Fitted<Supervised>,
    pub(super) card: &'a ModelCard,
}

/// All stages; the caller adds the final metrics and the times that it alone knows.
pub(super) fn page(run: &Trained<'_>, context: &RunContext) -> Result<Report> {
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
    let encode = |row| {
        let tokenizer = &run.start.tokenizer;
        tokenizer.encode_quietly(&run.data.train.name(row), run.data.train.text(row))
    };
    let shown = (0..run.data.train.len().min(OBSERVED)).map(encode);
    let network = &run.fitted.model.network;
    let observed = observe(
        &shown.collect::<Result<Vec<_>>>()?,
        &run.start.config,
        &network.bert,
        |hidden| network.head(hidden),
        context,
    )?;
    Common {
        recipe: run.recipe,
        fit: &run.recipe.fit,
        request: run.request,
        fitted: run.fitted,
        card: run.card,
        data: data_stage(run),
        loss: (name, formula),
        num_samples: run.data.train.len(),
    }
    .page(observed, context)
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
