//! The model that answers where none is given: EASE on the bundled generated interactions, solved when it is
//! opened (milliseconds), so that no weights lie beside the data.

use super::{
    ranker::{RankConfig, Ranker},
    train::card,
};
use crate::models::{
    ModelConfig, Recommender,
    ease::{Ease, EaseConfig},
};
use panoply_core::Result;
use panoply_datasets::{InteractionOptions, bundled};
use std::sync::Arc;

/// Name of the bundled model.
pub const BUNDLED: &str = "ease-generated";

/// The bundled model.
pub(super) fn open() -> Result<Ranker> {
    let data = bundled::generated_interactions()?;
    let config = EaseConfig { reg_weight: 50.0 };
    let model = Ease::fit(&config, &data.by_user(), data.num_items())?;
    let origin = "solved on the bundled generated interactions when it is opened";
    let card = card("ease", model.num_params(), "MIT OR Apache-2.0", origin);
    let config = RankConfig {
        model: ModelConfig::Ease(config),
        num_users: data.num_users(),
        num_items: data.num_items(),
        columns: InteractionOptions::default(),
    };
    let (ids, histories) = (Arc::clone(data.ids()), data.histories());
    Ok(Ranker::new(Box::new(model), config, ids, histories, card))
}
