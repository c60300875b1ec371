//! Keeping a reference: data gate, comparison with what is held out, model folder, report.

use super::{
    answer,
    compare::{Drift, Reference, ReferenceConfig},
    recipe::Recipe,
};
use panoply_core::{
    Conclusion, DataCheck, Error, ModelCard, ModelFolder, Result, RunContext, TrainOutcome,
    TrainRequest, fit::History, recipe::apply_sets, report::Solved, train::measured_on,
    weights::Arrays,
};
use panoply_datasets::{
    bundled,
    frame::{Encoder, Frame},
    gate::{self, GateReport},
};
use std::{path::Path, time::Instant};

/// A reference with its card.
pub(super) struct Opened {
    pub(super) reference: Reference,
    pub(super) card: ModelCard,
}

impl Opened {
    /// Loads a model folder, or keeps the [bundled](super::BUNDLED) reference.
    pub(super) fn open(model: &str) -> Result<Self> {
        if model == super::BUNDLED {
            let recipe = Recipe::debug();
            let (kept, _) = parts(&recipe, None)?;
            return Self::fit(&recipe, &kept);
        }
        let folder = ModelFolder::open(Path::new(model))?;
        let missing = |name: &str| {
            Error::input(
                model,
                format!("no {name}"),
                "a model folder of `anomaly drift`",
            )
        };
        let card: ModelCard = folder.card()?.ok_or_else(|| missing(ModelFolder::CARD))?;
        if card.task != super::NAME {
            return Err(missing("reference of drift"));
        }
        let config: ReferenceConfig = folder
            .read_json(ModelFolder::CONFIG)?
            .ok_or_else(|| missing(ModelFolder::CONFIG))?;
        let encoder: Encoder = folder
            .read_json(ModelFolder::PREPROCESSOR)?
            .ok_or_else(|| missing(ModelFolder::PREPROCESSOR))?;
        let arrays = Arrays::load(&folder.file(ModelFolder::WEIGHTS))?;
        let reference = Reference::from_parts(config, encoder, arrays)?;
        Ok(Self { reference, card })
    }

    fn fit(recipe: &Recipe, frame: &Frame) -> Result<Self> {
        let reference = Reference::fit(frame, &recipe.data.table, &recipe.drift)?;
        let kind = ["anomaly", super::NAME, super::ARCH];
        let origin = format!("kept from {}", frame.location());
        let card = ModelCard::new(kind, reference.arrays().num_params(), "unknown", &origin);
        Ok(Self { reference, card })
    }

    fn write(&self, path: &Path) -> Result<ModelFolder> {
        let folder = ModelFolder::create(path)?;
        folder.write_json(ModelFolder::CONFIG, &self.reference.config)?;
        folder.write_json(ModelFolder::PREPROCESSOR, &self.reference.encoder)?;
        self.reference
            .arrays()
            .save(&folder.file(ModelFolder::WEIGHTS))?;
        folder.write_json(ModelFolder::CARD, &self.card)?;
        Ok(folder)
    }
}

/// The reference, and what is held out of it.
fn parts(recipe: &Recipe, data: Option<&Path>) -> Result<(Frame, Frame)> {
    let frame = match data {
        Some(path) => Frame::open(path, &recipe.data.table, None)?,
        None if recipe.data.bundled => bundled::breastw()?,
        None => {
            let what = "missing; this recipe has no data of its own";
            return Err(Error::input(
                "--data",
                what,
                "the reference table (.csv, .tsv, .jsonl, .parquet)",
            ));
        }
    };
    frame.holdout(recipe.data.holdout, recipe.drift.seed)
}

fn inspect(kept: &Frame, held: &Frame, recipe: &Recipe) -> GateReport {
    gate::inspect_frames(kept, &[("valid", held)], recipe.data.max_unparsed)
}

/// Runs the data gate on a table as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    let recipe = Recipe::base();
    let (kept, held) = parts(&recipe, Some(data))?;
    Ok(inspect(&kept, &held, &recipe).to_check())
}

/// Headline numbers of a comparison.
pub(super) fn metrics(drift: &Drift) -> Vec<(String, f64)> {
    let smallest = drift
        .columns
        .iter()
        .map(|column| column.p_value)
        .fold(1.0, f64::min);
    let drifted = drift
        .columns
        .iter()
        .filter(|column| column.is_drift)
        .count();
    let metrics = [
        ("mmd", drift.mmd.statistic),
        ("mmd_p_value", drift.mmd.p_value),
        ("smallest_p_value", smallest),
        ("drifted_columns", drifted as f64),
    ];
    metrics
        .map(|(name, value)| (name.to_string(), value))
        .into()
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    if request.model.is_some() {
        let expected = "none: a reference is kept anew";
        return Err(Error::input("--model", "a model to start from", expected));
    }
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    let (kept, held) = parts(&recipe, request.data.as_deref())?;
    request.begin(&recipe)?;
    let found = inspect(&kept, &held, &recipe);
    found.admit(request)?;
    let gate_secs = started.elapsed().as_secs_f64();

    let mut opened = Opened::fit(&recipe, &kept)?;
    let drift = opened.reference.compare(&held)?;
    let metrics = measured_on("valid", metrics(&drift));
    opened.card.metrics = metrics.iter().cloned().collect();
    opened.card.data_sha256 = Some(kept.digest());
    let folder = opened.write(&request.out.join("model"))?;
    let page = Solved {
        recipe: &recipe,
        seed: recipe.drift.seed,
        request,
        card: &opened.card,
        arrays: &opened.reference.arrays(),
        data: found.stage(kept.location(), &opened.card),
        loss: (
            "p-values",
            "Kolmogorov-Smirnov, chi-squared, MMD by permutation".into(),
        ),
        solver: "nothing is fitted: the rows are kept",
    }
    .page(context);
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: vec![answer::picture(&drift)?],
        model: folder.path(),
        history: &History::default(),
    };
    end.write(page, &request.out)
}
