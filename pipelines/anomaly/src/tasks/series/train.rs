//! Fitting by a recipe: data gate, scores of the training rows, threshold, evaluation, model folder, report.

use super::{
    detector::{Config, SeriesDetector, score},
    draw,
    eval::{Source, Total},
    recipe::Recipe,
};
use crate::threshold::Calibration;
use panoply_core::{
    Artefact, Conclusion, DataCheck, Error, ModelCard, ModelFolder, Result, RunContext,
    TrainOutcome, TrainRequest, fit::History, recipe::apply_sets, report::Solved,
    train::measured_on,
};
use panoply_datasets::{
    TimeSeries, bundled,
    gate::{self, GateReport},
    open_series_splits,
    series::NabFolder,
};
use std::{path::Path, time::Instant};

/// Calibration scores that a model keeps.
const MAX_CALIBRATION: usize = 1000;
/// What the Numenta benchmark lets a detector see before it counts: the share of each series, and the rows at most.
const PROBATION: (f64, usize) = (0.15, 750);

/// The data of a recipe: what to fit to, and what to score.
pub(super) struct Data {
    location: String,
    train: Vec<TimeSeries>,
    pub(super) scored: Source,
    split: &'static str,
    gate: GateReport,
}

impl Data {
    fn of(recipe: &Recipe, path: Option<&Path>) -> Result<Self> {
        let (options, holdout) = (&recipe.data.options, recipe.data.holdout);
        match path {
            Some(path) if NabFolder::is_at(path) => Self::of_nab(path),
            Some(path) => {
                let splits = open_series_splits(path, options, holdout)?;
                let gate = gate::inspect_series(&splits.train, &splits.others());
                let (split, scored) = splits.scored();
                Ok(Self {
                    location: splits.train.location().into(),
                    scored: Source::One(scored.clone()),
                    split: split.name(),
                    train: vec![splits.train],
                    gate,
                })
            }
            None if recipe.data.bundled => {
                let (train, valid) = bundled::nab_slice()?.holdout(holdout)?;
                Ok(Self {
                    location: train.location().into(),
                    gate: gate::inspect_series(&train, &[("valid", &valid)]),
                    train: vec![train],
                    scored: Source::One(valid),
                    split: "valid",
                })
            }
            None => Err(Error::input(
                "--data",
                "missing; this recipe has no data of its own",
                "a series (.csv, .jsonl, .parquet), a folder of train and test, or the Numenta benchmark's folder",
            )),
        }
    }

    /// Fitted to the probation of every series, scored on all of them.
    fn of_nab(path: &Path) -> Result<Self> {
        let folder = NabFolder::open(path)?;
        let probation = |series: &TimeSeries| {
            let rows = ((PROBATION.0 * series.len() as f64) as usize).min(PROBATION.1);
            series.slice(0..rows)
        };
        let named: Vec<_> = folder
            .series
            .iter()
            .map(|one| (one.name.as_str(), &one.series))
            .collect();
        let location = path.display().to_string();
        Ok(Self {
            gate: gate::inspect_series_set(&location, &named),
            train: folder
                .series
                .iter()
                .map(|one| probation(&one.series))
                .collect(),
            location,
            scored: Source::Nab(folder),
            split: "test",
        })
    }
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(path: &Path) -> Result<DataCheck> {
    Ok(Data::of(&Recipe::base(), Some(path))?.gate.to_check())
}

/// Fits the `debug` recipe: the model that is used when none is given.
pub(super) fn bundled() -> Result<SeriesDetector> {
    let recipe = Recipe::debug();
    fit(&recipe, &Data::of(&recipe, None)?)
}

/// Scores the training rows and places the threshold.
fn fit(recipe: &Recipe, data: &Data) -> Result<SeriesDetector> {
    let first = data
        .train
        .first()
        .ok_or_else(|| Error::input(&data.location, "no series", "at least one"))?;
    let columns: Vec<String> = first
        .columns()
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for series in &data.train {
        let mut stream = recipe.detector.stream(columns.len(), recipe.gap)?;
        for (at, found) in score(&mut stream, series)?.into_iter().enumerate() {
            if let Some(found) = found {
                scores.push(found.score);
                labels.push(series.labels().is_some_and(|labels| labels[at]));
            }
        }
    }
    // Only normal rows say what is normal.
    let mut normal: Vec<f64> = scores
        .iter()
        .zip(&labels)
        .filter(|(_, label)| !**label)
        .map(|(&s, _)| s)
        .collect();
    normal.sort_by(f64::total_cmp); // So that what is kept is spread over all of them.
    if normal.is_empty() {
        return Err(Error::input(
            &data.location,
            "no normal row without a missing value",
            "some to fit to",
        ));
    }
    let threshold = recipe.threshold.find(&normal, Some((&scores, &labels)))?;
    let config = Config {
        detector: recipe.detector.clone(),
        gap: recipe.gap,
        columns,
    };
    let kept = normal.len().min(MAX_CALIBRATION);
    let spread = |i: usize| normal[(2 * i + 1) * normal.len() / (2 * kept)];
    let calibration = Calibration::new(threshold, &(0..kept).map(spread).collect::<Vec<_>>())?;
    let kind = ["anomaly", super::NAME, config.detector.name()];
    let card = ModelCard::new(
        kind,
        1 + kept,
        "unknown",
        &format!("fitted to {}", data.location),
    );
    Ok(SeriesDetector {
        config,
        options: recipe.data.options.clone(),
        calibration,
        card,
    })
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    if request.model.is_some() {
        let expected = "none: a detector is fitted anew";
        return Err(Error::input("--model", "a model to start from", expected));
    }
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    let data = Data::of(&recipe, request.data.as_deref())?;
    request.begin(&recipe)?;
    data.gate.admit(request)?;
    let gate_secs = started.elapsed().as_secs_f64();

    let mut detector = fit(&recipe, &data)?;
    let total = Total::of(&detector, &data.scored, context)?;
    let metrics = measured_on(data.split, total.metrics()?);
    detector.card.metrics = metrics.iter().cloned().collect();
    detector.card.data_sha256 = data.train.first().map(TimeSeries::digest);

    let folder = ModelFolder::create(&request.out.join("model"))?;
    let arrays = detector.arrays();
    folder.write_json(ModelFolder::CONFIG, &detector.config)?;
    folder.write_json(ModelFolder::PREPROCESSOR, &detector.options)?;
    arrays.save(&folder.file(ModelFolder::WEIGHTS))?;
    folder.write_json(ModelFolder::CARD, &detector.card)?;

    let page = Solved {
        recipe: &recipe,
        seed: recipe.seed,
        request,
        card: &detector.card,
        arrays: &arrays,
        data: data.gate.stage(&data.location, &detector.card),
        loss: ("score of a row", detector.config.detector.formula().into()),
        solver: "threshold from the scores of the training rows",
    }
    .page(context);
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: picture(&detector, &data.scored)?.into_iter().collect(),
        model: folder.path(),
        history: &History::default(),
    };
    end.write(page, &request.out)
}

/// The scored series with what is flagged; none for a set of many.
fn picture(detector: &SeriesDetector, scored: &Source) -> Result<Option<Artefact>> {
    let Source::One(series) = scored else {
        return Ok(None);
    };
    let found = detector.score(series)?;
    let flagged = found.iter().map(|f| {
        f.as_ref()
            .is_some_and(|f| detector.calibration.is_anomaly(f.score))
    });
    draw::series(series, &flagged.collect::<Vec<_>>()).map(Some)
}
