//! Training by a recipe: data gate, model, evaluation, model folder, report.

use super::{rater::Rater, recipe::Recipe};
use crate::{
    models::biased_mf::{BiasedMf, RatingConfig},
    tasks::rank::{PARTS, inspect, splits},
};
use panoply_core::{
    Conclusion, DataCheck, Error, ModelCard, Result, RunContext, TrainOutcome, TrainRequest,
    fit::History, recipe::apply_sets, report::Solved, train::measured_on,
};
use panoply_datasets::interactions::write_splits;
use std::{path::Path, time::Instant};

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    Ok(inspect(&splits(&Recipe::base().data, Some(data))?).to_check())
}

/// The card of a model that this task made.
pub(super) fn card(recipe: &Recipe, model: &BiasedMf, licence: &str, origin: &str) -> ModelCard {
    let names = ["recommendation", "rate", recipe.model.architecture()];
    ModelCard::new(names, model.arrays().num_params(), licence, origin)
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    if let Some(model) = &request.model {
        let expected = "no model to start from: users and items have no names in common";
        return Err(Error::input("--model", model, expected));
    }
    let data = splits(&recipe.data, request.data.as_deref())?;
    request.begin(&recipe)?;
    let found = inspect(&data);
    found.admit(request)?;
    write_splits(&data, &request.out.join(PARTS))?;
    let gate_secs = started.elapsed().as_secs_f64();

    let model = BiasedMf::fit(&recipe.model, &data.train, &context.interrupt)?;
    let arrays = model.arrays();
    let mut card = card(&recipe, &model, "unknown", "trained from scratch");
    card.data_sha256 = Some(data.train.digest());
    let mut rater = Rater::new(model, &recipe, &data.train, card);
    let (split, scored) = data.scored();
    let metrics = measured_on(split, rater.metrics(scored)?);
    rater.card.metrics = metrics.iter().cloned().collect();
    let folder = rater.save(&request.out.join("model"))?;
    let (loss, solver, seed) = described(&recipe.model);
    let page = Solved {
        recipe: &recipe,
        seed,
        request,
        card: rater.card(),
        arrays: &arrays,
        data: found.stage(data.train.location(), rater.card()),
        loss,
        solver,
    };
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: Vec::new(),
        model: folder.path(),
        history: &History::default(),
    };
    end.write(page.page(context), &request.out)
}

/// What is minimised, how, and with which seed.
fn described(model: &RatingConfig) -> ((&'static str, String), &'static str, u64) {
    if let RatingConfig::BiasedMf(config) = model {
        let loss = "sum of (rating - mean - b_u - b_i - p_u.q_i)^2 + bias_regularization b^2 \
                    + regularization n ||p||^2, n ratings each";
        let solver = "alternating ridge regressions, exact by Cholesky factorisations";
        return (
            ("regularised squared error", loss.into()),
            solver,
            config.seed,
        );
    }
    let loss = "sum of (rating - prediction)^2, which a mean makes least";
    (("squared error", loss.into()), "means", 0)
}
