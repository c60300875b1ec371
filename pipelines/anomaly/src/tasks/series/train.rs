//! Fitting by a recipe: data gate, scores of the training rows, threshold, evaluation, model folder, report.

use super::{
    detector::{Config, Forecasts, SeriesDetector, score, stream},
    draw,
    eval::{Source, Total},
    recipe::{DetectorConfig, Recipe},
};
use crate::{
    models::{
        Detector, NormalOnly,
        forecaster::{Forecaster, ForecasterConfig, Standard, training_windows},
        network::{self, Network, NetworkDetector, tensor},
    },
    threshold::Calibration,
};
use panoply_core::{
    Artefact, Conclusion, DataCheck, Error, ModelCard, Result, RunContext, TrainOutcome,
    TrainRequest,
    fit::{Fitted, History, Run},
    recipe::apply_sets,
    report::{DataStage, OBSERVED, Observed, Report, Solved, Trained},
    seed,
    train::measured_on,
    weights,
};
use panoply_datasets::{
    Splits, TimeSeries, bundled,
    frame::Matrix,
    gate::{self, GateReport},
    open_series_splits,
    series::NabFolder,
};
use std::{path::Path, time::Instant};

/// Share of the training rows, the latest, that validates a forecaster.
const VALIDATION: f64 = 0.2;
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
                let mut splits = open_series_splits(path, options, holdout)?;
                if recipe.data.after_training {
                    cut_seen(&mut splits)?;
                }
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

/// Leaves out of the test part the rows that are not later than the training part.
fn cut_seen(splits: &mut Splits<TimeSeries>) -> Result<()> {
    let seen = [&splits.train, &splits.valid].map(|part| part.stamps().last().copied());
    let last = seen.into_iter().flatten().max();
    if let (Some(test), Some(last)) = (splits.test.take(), last) {
        let first = test.stamps().partition_point(|&stamp| stamp <= last);
        if first == test.len() {
            let what = "no row later than the training part";
            return Err(Error::input(test.location(), what, "some to score"));
        }
        splits.test = Some(test.slice(first..test.len()));
    }
    Ok(())
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(path: &Path) -> Result<DataCheck> {
    Ok(Data::of(&Recipe::base(), Some(path))?.gate.to_check())
}

/// Fits the `debug` recipe: the model that is used when none is given.
pub(super) fn bundled() -> Result<SeriesDetector> {
    let recipe = Recipe::debug();
    let data = Data::of(&recipe, None)?;
    let config = config(&recipe, &data)?;
    fit(&recipe, &data, config, None)
}

/// What a detector is made of, before it is fitted.
fn config(recipe: &Recipe, data: &Data) -> Result<Config> {
    let first = data.train.first();
    let first = first.ok_or_else(|| Error::input(&data.location, "no series", "at least one"))?;
    Ok(Config {
        detector: recipe.detector.clone(),
        gap: recipe.gap,
        columns: first
            .columns()
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
        standard: None,
    })
}

/// Scores the training rows and places the threshold.
fn fit(
    recipe: &Recipe,
    data: &Data,
    config: Config,
    forecasts: Option<Forecasts>,
) -> Result<SeriesDetector> {
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for series in &data.train {
        let mut stream = stream(&config, forecasts.as_ref())?;
        for (at, found) in score(&mut stream, series)?.into_iter().enumerate() {
            if let Some(found) = found {
                scores.push(found.score);
                labels.push(series.labels().is_some_and(|labels| labels[at]));
            }
        }
    }
    // Only normal rows say what is normal.
    let rows = scores.iter().zip(&labels);
    let mut normal: Vec<f64> = rows
        .filter(|(_, label)| !**label)
        .map(|(&s, _)| s)
        .collect();
    if normal.is_empty() {
        let what = "no normal row without a missing value";
        return Err(Error::input(&data.location, what, "some to fit to"));
    }
    let threshold = recipe.threshold.find(&normal, Some((&scores, &labels)))?;
    normal.sort_by(f64::total_cmp); // So that what is kept is spread over all of them.
    let kept = normal.len().min(MAX_CALIBRATION);
    let spread = |i: usize| normal[(2 * i + 1) * normal.len() / (2 * kept)];
    let calibration = Calibration::new(threshold, &(0..kept).map(spread).collect::<Vec<_>>())?;
    let num_params = match &forecasts {
        Some(Forecasts { network, .. }) => weights::num_params(network),
        None => 1 + kept,
    };
    let kind = ["anomaly", super::NAME, config.detector.name()];
    let origin = format!("fitted to {}", data.location);
    Ok(SeriesDetector {
        config,
        options: recipe.data.options.clone(),
        calibration,
        card: ModelCard::new(kind, num_params, "unknown", &origin),
        forecasts,
    })
}

/// A trained forecaster, with what its report shows.
struct Training {
    fitted: Fitted<Forecaster>,
    windows: Matrix,
}

/// Trains a forecaster on all but the latest of the training rows, which validate it.
fn train_network(
    recipe: &Recipe,
    network: &ForecasterConfig,
    data: &Data,
    run: &Run,
    context: &RunContext,
) -> Result<(Forecasts, Training)> {
    let [series] = &data.train[..] else {
        let what = format!("{} series", data.train.len());
        return Err(Error::input(
            &data.location,
            what,
            "one, to learn to forecast",
        ));
    };
    let (first, latest) = series.holdout(VALIDATION)?;
    let standard = Standard::fit(&first)?;
    let windows = training_windows(&first, network.window, &standard)?;
    let valid = training_windows(&latest, network.window, &standard)?;
    // The device's generator initialises the weights: the same seed, the same start.
    context.device.seed(seed::derive(&[recipe.fit.seed]));
    let model = network.init(series.columns().len(), &context.device)?;
    let mut validate = |model: &Forecaster| {
        let errors = NetworkDetector::new(model.clone(), valid.width(), &context.device);
        let squares = errors.score(&valid)?.into_iter().map(|score| score * score);
        let count = (valid.len() * series.columns().len()) as f64;
        Ok(vec![("mse".to_string(), squares.sum::<f64>() / count)])
    };
    let normal = NormalOnly::unlabelled(windows.clone())?;
    let fitted = network::fit(model, &normal, &recipe.fit, &mut validate, run, context)?;
    let forecasts = Forecasts {
        network: fitted.model.clone(),
        standard,
        device: context.device.clone(),
    };
    Ok((forecasts, Training { fitted, windows }))
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    if request.model.is_some() {
        let expected = "none: a detector is fitted anew";
        return Err(Error::input("--model", "a model to start from", expected));
    }
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    let data = Data::of(&recipe, request.data.as_deref())?;
    let run = request.begin(&recipe)?;
    data.gate.admit(request)?;
    let gate_secs = started.elapsed().as_secs_f64();

    let mut config = config(&recipe, &data)?;
    let (forecasts, training) = match &recipe.detector {
        DetectorConfig::ForecastResidual(network) => {
            let (forecasts, training) = train_network(&recipe, network, &data, &run, context)?;
            config.standard = Some(forecasts.standard.clone());
            (Some(forecasts), Some(training))
        }
        _ => (None, None),
    };
    let mut detector = fit(&recipe, &data, config, forecasts)?;
    let metrics = measured_on(data.split, metrics(&detector, &data.scored, context)?);
    detector.card.metrics = metrics.iter().cloned().collect();
    detector.card.data_sha256 = data.train.first().map(TimeSeries::digest);
    let folder = detector.save(&request.out.join("model"))?;

    let stage = data.gate.stage(&data.location, &detector.card);
    let (page, history) = match training {
        None => (
            solved(&recipe, request, &detector, stage, context),
            History::default(),
        ),
        Some(training) => (
            trained(&recipe, request, &detector, &training, stage, context)?,
            training.fitted.history,
        ),
    };
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: picture(&detector, &data.scored)?.into_iter().collect(),
        model: folder.path(),
        history: &history,
    };
    end.write(page, &request.out)
}

/// The report of a detector that is no network.
fn solved(
    recipe: &Recipe,
    request: &TrainRequest,
    detector: &SeriesDetector,
    data: DataStage,
    context: &RunContext,
) -> Report {
    let solved = Solved {
        recipe,
        seed: recipe.fit.seed,
        request,
        card: &detector.card,
        arrays: &detector.arrays(),
        data,
        loss: ("score of a row", detector.config.detector.formula().into()),
        solver: "threshold from the scores of the training rows",
    };
    solved.page(context)
}

/// The report of a forecaster.
fn trained(
    recipe: &Recipe,
    request: &TrainRequest,
    detector: &SeriesDetector,
    training: &Training,
    data: DataStage,
    context: &RunContext,
) -> Result<Report> {
    let Training { fitted, windows } = training;
    let shown = windows.len().min(OBSERVED) * windows.width();
    let x = tensor(&windows.values()[..shown], windows.width(), &context.device);
    let (mut observed, errors) = Observed::watch(|see| fitted.model.errors(x, see))?;
    observed.note("squared errors", errors)?;
    let (name, formula) = Forecaster::LOSS;
    let trained = Trained {
        recipe,
        fit: &recipe.fit,
        request,
        fitted,
        card: &detector.card,
        data,
        loss: (name, formula.into()),
        num_samples: windows.len(),
    };
    trained.page(observed, context)
}

/// Headline metrics; of a part without labels of both kinds, the share of its rows that is flagged.
fn metrics(
    detector: &SeriesDetector,
    scored: &Source,
    context: &RunContext,
) -> Result<Vec<(String, f64)>> {
    let labelled = match scored {
        Source::Nab(_) => true,
        Source::One(series) => series
            .labels()
            .is_some_and(|labels| labels.contains(&true) && labels.contains(&false)),
    };
    match scored {
        Source::One(series) if !labelled => {
            let found = detector.score(series)?;
            let flagged = found.iter().flatten();
            let flagged = flagged
                .filter(|f| detector.calibration.is_anomaly(f.score))
                .count();
            let share = flagged as f64 / series.len() as f64;
            Ok(vec![("flagged_share".into(), share)])
        }
        _ => Total::of(detector, scored, context)?.metrics(),
    }
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
