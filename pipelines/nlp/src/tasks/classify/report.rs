//! The seven stages of a training run, as `report.json` and `report.html`.

use super::{recipe::Recipe, samples::Supervised};
use crate::{
    models::bert::BertForSequenceClassification,
    tasks::{report::observe, starting_point::Start},
};
use panoply_core::{
    Result, RunContext,
    fit::Fitted,
    report::{OBSERVED, Observed},
};
use panoply_datasets::LabelledTexts;

/// Name and formula of what is minimised.
pub(super) fn loss(recipe: &Recipe) -> (&'static str, String) {
    match (recipe.data.multi_label, recipe.label_smoothing) {
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
    }
}

/// The way of the first training texts through the network.
pub(super) fn observed(
    train: &LabelledTexts,
    start: &Start<BertForSequenceClassification>,
    fitted: &Fitted<Supervised>,
    context: &RunContext,
) -> Result<Observed> {
    let encode = |row| {
        start
            .tokenizer
            .encode_quietly(&train.name(row), train.text(row))
    };
    let shown = (0..train.len().min(OBSERVED)).map(encode);
    let network = &fitted.model.network;
    observe(
        &shown.collect::<Result<Vec<_>>>()?,
        &start.config,
        &network.bert,
        |hidden| network.head(hidden),
        context,
    )
}
