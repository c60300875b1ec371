//! The model that answers where none is given: fitted to the bundled generated ratings when it is opened
//! (milliseconds), so that no weights lie beside the data.

use super::{rater::Rater, recipe::Recipe, train::card};
use crate::models::biased_mf::BiasedMf;
use panoply_core::{Result, RunContext};
use panoply_datasets::bundled;

/// Name of the bundled model.
pub const BUNDLED: &str = "biased-mf-generated";

/// The bundled model.
pub(super) fn open(context: &RunContext) -> Result<Rater> {
    let recipe = Recipe::debug();
    let data = bundled::generated_interactions()?;
    let model = BiasedMf::fit(&recipe.model, &data, &context.interrupt)?;
    let origin = "fitted to the bundled generated ratings when it is opened";
    let card = card(&recipe, &model, "MIT OR Apache-2.0", origin);
    Ok(Rater::new(model, &recipe, &data, card))
}
