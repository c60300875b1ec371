//! Training by a recipe: data gate, model, evaluation, model folder, report.

use super::{
    learn::Job,
    protocol::Field,
    ranker::{RankConfig, Ranker},
    recipe::{DataConfig, Recipe},
};
use panoply_core::{
    Conclusion, DataCheck, Error, ModelCard, Result, RunContext, TrainOutcome, TrainRequest,
    recipe::apply_sets, train::measured_on,
};
use panoply_datasets::{
    Interactions, Splits, bundled,
    gate::{self, GateReport},
    interactions::write_splits,
    open_interaction_splits,
};
use std::{path::Path, sync::Arc, time::Instant};

/// Folder of the run with the parts of the data, for other programs.
pub(crate) const PARTS: &str = "split";

/// The parts of a recipe's data: of the bundled interactions, or of what `--data` names.
pub(crate) fn splits(config: &DataConfig, data: Option<&Path>) -> Result<Splits<Interactions>> {
    match data {
        Some(path) => open_interaction_splits(path, &config.columns, &config.split),
        None if config.bundled => config.split.split(&bundled::generated_interactions()?),
        None => Err(Error::input(
            "--data",
            "missing; this recipe has no data of its own",
            "a table of interactions, or a folder with one for each part",
        )),
    }
}

pub(crate) fn inspect(splits: &Splits<Interactions>) -> GateReport {
    gate::inspect_interactions(&splits.train, &splits.others())
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    Ok(inspect(&splits(&Recipe::pop().data, Some(data))?).to_check())
}

/// The card of a model that this task made.
pub(super) fn card(
    architecture: &str,
    num_params: usize,
    licence: &str,
    origin: &str,
) -> ModelCard {
    ModelCard::new(
        ["recommendation", "rank", architecture],
        num_params,
        licence,
        origin,
    )
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    if let Some(model) = &request.model {
        let expected = "no model to start from: users and items have no names in common";
        return Err(Error::input("--model", model, expected));
    }
    let data = splits(&recipe.data, request.data.as_deref())?;
    let run = request.begin(&recipe)?;
    let found = inspect(&data);
    found.admit(request)?;
    write_splits(&data, &request.out.join(PARTS))?;
    let gate_secs = started.elapsed().as_secs_f64();

    let digest = data.train.digest();
    let mut shown = card(recipe.model.architecture(), 0, "unknown", "");
    shown.data_sha256 = Some(digest.clone());
    let job = Job {
        recipe: &recipe,
        request,
        context,
        run: &run,
        data: &data,
        train: data.train.by_user(),
        histories: data.train.histories(),
        stage: found.stage(data.train.location(), &shown),
    };
    let made = job.make()?;

    let (split, scored) = data.scored();
    let before: Vec<&Interactions> = data.test.iter().map(|_| &data.valid).collect();
    let field = Field::new(&job.histories, &before, scored);
    let num_users = data.train.num_users();
    let scores = field.score(
        made.model.as_ref(),
        num_users,
        &recipe.protocol,
        context,
        None,
    )?;
    let metrics = measured_on(split, scores.metrics()?);

    let config = RankConfig {
        model: recipe.model.clone(),
        num_users,
        num_items: data.train.num_items(),
        columns: recipe.data.columns.clone(),
    };
    let mut card = card(
        recipe.model.architecture(),
        made.model.num_params(),
        "unknown",
        "trained from scratch",
    );
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(digest);
    let ids = Arc::clone(data.train.ids());
    let ranker = Ranker::new(made.model, config, ids, job.histories, card);
    let folder = ranker.save(&request.out.join("model"))?;
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: Vec::new(),
        model: folder.path(),
        history: &made.history,
    };
    end.write(made.page, &request.out)
}
