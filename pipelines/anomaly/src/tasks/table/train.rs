//! Fitting by a recipe: data gate, encoder, detector, threshold, evaluation, model folder, report.

use super::{
    detectors::{DetectorConfig, DetectorName},
    eval::Judged,
    recipe::{FitOn, Recipe},
    scorer::{Background, Scorer, ScorerConfig, Settings, card},
};
use crate::{
    models::{
        Detector, NormalOnly,
        network::{self, Network, NetworkDetector, tensor},
    },
    threshold::Calibration,
};
use panoply_core::{
    Conclusion, DataCheck, Error, ModelCard, Result, RunContext, TrainOutcome, TrainRequest,
    fit::{Fitted, History, Run},
    recipe::apply_sets,
    report::{OBSERVED, Observed, Report, Solved, Trained},
    seed,
    train::measured_on,
};
use panoply_datasets::{
    Splits, bundled,
    frame::{Encoder, Frame, Matrix, open_frame_splits},
    gate::{self, GateReport},
};
use std::{path::Path, time::Instant};

/// The data of a recipe, without the column that the rows are in the order of.
fn splits(recipe: &Recipe, data: Option<&Path>) -> Result<Splits<Frame>> {
    let splits = ordered_splits(recipe, data)?;
    Ok(match &recipe.data.order {
        Some(column) => splits.map(|_, frame| frame.without(column)),
        None => splits,
    })
}

/// The bundled table, or what `--data` names.
fn ordered_splits(recipe: &Recipe, data: Option<&Path>) -> Result<Splits<Frame>> {
    let (config, seed) = (&recipe.data, recipe.fit.seed);
    let cut = |frame: Frame, fraction: f64, stream: u64| match &config.order {
        Some(column) => frame.holdout_latest(fraction, column),
        None => frame.holdout(fraction, seed::derive(&[seed, stream])),
    };
    let frame = match data {
        Some(folder) if folder.is_dir() => {
            let holdout = |train| cut(train, config.validation, 1);
            return open_frame_splits(folder, &config.table, holdout);
        }
        Some(file) => Frame::open(file, &config.table, None)?,
        None if config.bundled => bundled::breastw()?,
        None => {
            let what = "missing; this recipe has no data of its own";
            return Err(Error::input(
                "--data",
                what,
                "a table, or a folder with one for each split",
            ));
        }
    };
    let (rest, test) = if config.test > 0.0 {
        let (rest, test) = cut(frame, config.test, 2)?;
        (rest, Some(test))
    } else {
        (frame, None)
    };
    let (train, valid) = cut(rest, config.validation, 1)?;
    Ok(Splits {
        train,
        valid,
        is_held_out: true,
        test,
    })
}

fn inspect(splits: &Splits<Frame>, recipe: &Recipe) -> GateReport {
    gate::inspect_frames(&splits.train, &splits.others(), recipe.data.max_unparsed)
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    let recipe = Recipe::base();
    Ok(inspect(&splits(&recipe, Some(data))?, &recipe).to_check())
}

/// The rows that the detector may take for normal, by the recipe.
fn normal_rows(rows: &Matrix, frame: &Frame, recipe: &Recipe) -> Result<NormalOnly<Matrix>> {
    match (recipe.data.fit_on, frame.is_anomaly()) {
        (FitOn::All, _) => NormalOnly::unlabelled(rows.clone()),
        (FitOn::Normal, Some(labels)) => NormalOnly::of_labelled(rows, &labels),
        (FitOn::Normal, None) => {
            let expected =
                "data.table.label=COLUMN, or data.fit_on=all to take all rows for normal";
            Err(Error::input(frame.location(), "no labels", expected))
        }
    }
}

/// At most `data.max_rows` of them.
fn thinned(normal: NormalOnly<Matrix>, recipe: &Recipe) -> Result<NormalOnly<Matrix>> {
    const STREAM: u64 = 3;
    let rows = normal.get();
    let Some(max) = recipe.data.max_rows.filter(|&max| max < rows.len()) else {
        return Ok(normal);
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| seed::derive(&[recipe.fit.seed, STREAM, row as u64]));
    order.truncate(max);
    order.sort_unstable();
    NormalOnly::unlabelled(rows.select(&order))
}

/// Everything that fitting needs and makes before the detector.
struct Prepared<'a> {
    started: Instant,
    gate_secs: f64,
    recipe: Recipe,
    request: &'a TrainRequest,
    context: &'a RunContext,
    data: Splits<Frame>,
    found: GateReport,
    encoder: Encoder,
    normal: NormalOnly<Matrix>,
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    if request.model.is_some() {
        let expected = "none: a detector is fitted anew";
        return Err(Error::input("--model", "a model to start from", expected));
    }
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    recipe.validate()?;
    let data = splits(&recipe, request.data.as_deref())?;
    let run = request.begin(&recipe)?;
    let found = inspect(&data, &recipe);
    found.admit(request)?;
    let encoder = Encoder::fit(&data.train, &recipe.encode)?;
    let rows = encoder.encode(&data.train)?;
    let normal = thinned(normal_rows(&rows, &data.train, &recipe)?, &recipe)?;
    let prepared = Prepared {
        started,
        gate_secs: started.elapsed().as_secs_f64(),
        recipe,
        request,
        context,
        data,
        found,
        encoder,
        normal,
    };
    // The device's generator initialises the weights: the same seed, the same start.
    context
        .device
        .seed(seed::derive(&[prepared.recipe.fit.seed]));
    let (width, device) = (prepared.encoder.width(), &context.device);
    let detector = prepared.recipe.detector.clone();
    match detector.name {
        DetectorName::AutoEncoder => {
            let network = detector.auto_encoder.init(width, device);
            prepared.network(network, detector, &run)
        }
        DetectorName::Vae => {
            let network = detector.vae.init(width, device);
            prepared.network(network, detector, &run)
        }
        DetectorName::DeepSvdd => {
            let rows = prepared.normal.get();
            let network = detector.deep_svdd.init(width, device)?;
            let network = network.centred(tensor(rows.values(), width, device))?;
            let mut detector = detector;
            detector.deep_svdd.center = network.center().to_vec();
            prepared.network(network, detector, &run)
        }
        _ => prepared.solved(&detector),
    }
}

impl Prepared<'_> {
    /// A detector that is no network.
    fn solved(self, config: &DetectorConfig) -> Result<TrainOutcome> {
        let seed = self.recipe.fit.seed;
        let fit = config.fit(&self.normal, seed)?;
        let (scorer, judged) = self.scorer(fit.detector, config.clone())?;
        let (name, formula, solver) = config.name.formula();
        let arrays = scorer.detector.arrays();
        let page = Solved {
            recipe: &self.recipe,
            seed,
            request: self.request,
            card: &scorer.card,
            arrays: &arrays,
            data: self.found.stage(self.data.train.location(), &scorer.card),
            loss: (name, formula.into()),
            solver,
        }
        .page(self.context);
        self.conclude(&scorer, &judged, page, &History::default())
    }

    /// A network, trained by the loop.
    fn network<M: Network + Send + 'static>(
        self,
        network: M,
        config: DetectorConfig,
        run: &Run,
    ) -> Result<TrainOutcome> {
        let (width, device) = (self.encoder.width(), &self.context.device);
        let fitted: Fitted<M> = {
            let valid = self.encoder.encode(&self.data.valid)?;
            let mut validate = |model: &M| {
                let detector = NetworkDetector::new(model.clone(), width, device);
                let scores = detector.score(&valid)?;
                let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
                let labels = self.data.valid.is_anomaly();
                let judged = Judged::new(scores, labels, f64::INFINITY);
                let mut metrics = judged.metrics()?;
                metrics.retain(|(name, _)| ["auroc", "average_precision"].contains(&name.as_str()));
                metrics.push(("mean_score".into(), mean));
                Ok(metrics)
            };
            let fit = &self.recipe.fit;
            network::fit(network, &self.normal, fit, &mut validate, run, self.context)?
        };
        let detector = NetworkDetector::new(fitted.model.clone(), width, device);
        let (scorer, judged) = self.scorer(Box::new(detector), config)?;
        let rows = self.normal.get();
        let shown = rows.len().min(OBSERVED) * width;
        let x = tensor(&rows.values()[..shown], width, device);
        let (mut observed, errors) = Observed::watch(|see| fitted.model.errors(x, see))?;
        observed.note("squared errors", errors)?;
        let (name, formula) = M::LOSS;
        let page = Trained {
            recipe: &self.recipe,
            fit: &self.recipe.fit,
            request: self.request,
            fitted: &fitted,
            card: &scorer.card,
            data: self.found.stage(self.data.train.location(), &scorer.card),
            loss: (name, formula.into()),
            num_samples: rows.len(),
        }
        .page(observed, self.context)?;
        self.conclude(&scorer, &judged, page, &fitted.history)
    }

    /// The detector with threshold and calibration from held-out rows, and how it does on what it is scored on.
    fn scorer(
        &self,
        detector: Box<dyn Detector>,
        config: DetectorConfig,
    ) -> Result<(Scorer, Judged)> {
        let recipe = &self.recipe;
        let valid = self.encoder.encode(&self.data.valid)?;
        let scores = detector.score(&valid)?;
        let labels = self.data.valid.is_anomaly();
        let normal: Vec<f64> = match (&labels, recipe.data.fit_on) {
            (Some(labels), FitOn::Normal) => {
                let rows = scores.iter().zip(labels).filter(|(_, label)| !**label);
                rows.map(|(score, _)| *score).collect()
            }
            _ => scores.clone(),
        };
        let labelled = labels.as_deref().map(|labels| (&scores[..], labels));
        let threshold = recipe.threshold.find(&normal, labelled)?;
        let origin = format!("fitted to {}", self.data.train.location());
        let card = card(&config, detector.num_params(), &origin);
        let mut scorer = Scorer {
            background: Background::of(&self.normal, recipe.fit.seed),
            config: ScorerConfig {
                architecture: config.name,
                detector: config,
                probability: recipe.probability,
                table: recipe.data.table.clone(),
            },
            encoder: self.encoder.clone(),
            detector,
            calibration: Calibration::new(threshold, &normal)?,
            card: ModelCard {
                data_sha256: Some(self.data.train.digest()),
                ..card
            },
            settings: Settings::default(),
        };
        let (split, scored) = self.data.scored();
        let judged = Judged::of(&scorer, scored)?;
        let metrics = measured_on(split, judged.metrics()?);
        scorer.card.metrics = metrics.into_iter().collect();
        Ok((scorer, judged))
    }

    fn conclude(
        self,
        scorer: &Scorer,
        judged: &Judged,
        page: Report,
        history: &History,
    ) -> Result<TrainOutcome> {
        let folder = scorer.save(&self.request.out.join("model"))?;
        let end = Conclusion {
            started: self.started,
            gate_secs: self.gate_secs,
            metrics: measured_on(self.data.scored().0, judged.metrics()?),
            pictures: judged.pictures()?,
            model: folder.path(),
            history,
        };
        end.write(page, &self.request.out)
    }
}
