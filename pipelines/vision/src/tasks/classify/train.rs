//! Training by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    Classifier,
    classifier::{card, published_preprocessing, write_folder},
    eval::{Pass, Scores},
    recipe::Recipe,
    samples::{ImageCollate, ImageSamples, Supervised},
};
use crate::{
    augment::Augment,
    models::{Backbone, BackboneConfig, ConvNet},
    preprocess::Preprocessing,
};
use burn::{
    module::{Module, ParamGroup},
    tensor::Device,
};
use panoply_core::{
    Conclusion, DataCheck, Error, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Run},
    recipe::apply_sets,
    report::{OBSERVED, Observed, Trained},
    seed,
    train::measured_on,
};
use panoply_datasets::{
    ImageSet, Split, Splits, bundled,
    gate::{self, GateReport},
    open_splits,
};
use std::{path::Path, time::Instant};

/// Path of the classifier layer in every backbone.
const HEAD: &str = "head.fc";

/// The data of a recipe: the bundled slice, or what `--data` names.
fn splits(recipe: &Recipe, data: Option<&Path>) -> Result<Splits<ImageSet>> {
    let (holdout, seed) = (recipe.data.validation, recipe.fit.seed);
    match data {
        Some(path) => open_splits(path, holdout, seed),
        None if recipe.data.bundled => {
            let (train, valid) =
                bundled::fashion_mnist_slice(Split::Train)?.holdout(holdout, seed)?;
            Ok(Splits {
                train,
                valid,
                is_held_out: true,
                test: Some(bundled::fashion_mnist_slice(Split::Test)?),
            })
        }
        None => Err(Error::input(
            "--data",
            "missing; this recipe has no data of its own",
            "a data set",
        )),
    }
}

fn inspect(splits: &Splits<ImageSet>) -> GateReport {
    gate::inspect(&splits.train, &splits.others())
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    Ok(inspect(&splits(&Recipe::finetune(), Some(data))?).to_check())
}

/// The network before training, with everything that goes with it.
struct Start {
    config: BackboneConfig,
    backbone: Backbone,
    preprocessing: Preprocessing,
    origin: String,
    licence: String,
}

impl Start {
    fn of(
        recipe: &Recipe,
        request: &TrainRequest,
        num_classes: usize,
        context: &RunContext,
    ) -> Result<Self> {
        let device = &context.device;
        // The device's generator initialises the weights: the same seed, the same start.
        device.seed(seed::derive(&[recipe.fit.seed]));
        match request.model.as_ref().or(recipe.model.pretrained.as_ref()) {
            Some(model) => Self::pretrained(model, recipe.model.image_size, num_classes, context),
            None => Self::scratch(recipe, num_classes, device),
        }
    }

    fn scratch(recipe: &Recipe, num_classes: usize, device: &Device) -> Result<Self> {
        let config = BackboneConfig::new(
            &recipe.model.architecture,
            num_classes,
            recipe.model.in_channels,
        );
        Ok(Self {
            backbone: config.init(device)?,
            preprocessing: match recipe.model.image_size {
                Some(size) => Preprocessing::square(size, config.in_channels),
                None => published_preprocessing(&config)?,
            },
            config,
            origin: "trained from scratch".into(),
            licence: "unknown".into(),
        })
    }

    /// The published weights under a new head.
    fn pretrained(
        model: &str,
        image_size: Option<u32>,
        num_classes: usize,
        context: &RunContext,
    ) -> Result<Self> {
        let base = Classifier::open_unfolded(model, context)?;
        Ok(Self {
            backbone: base.backbone.replace_head(num_classes, &context.device),
            preprocessing: match image_size {
                Some(size) => base.preprocessing.at_size(size),
                None => base.preprocessing,
            },
            config: BackboneConfig {
                num_classes,
                ..base.config
            },
            origin: format!("fine-tuned from {model} ({})", base.card.origin),
            licence: base.card.licence,
        })
    }
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    recipe.check()?;
    let data = splits(&recipe, request.data.as_deref())?;
    let run = request.begin(&recipe)?;
    let found = inspect(&data);
    found.admit(request)?;
    let data = data.map(|split, set| set.without(found.unusable(split.name())));
    let gate_secs = started.elapsed().as_secs_f64();

    let classes = data.train.classes().to_vec();
    let start = Start::of(&recipe, request, classes.len(), context)?;
    let fitted = run_fit(&recipe, &data, &start, &run, context)?;
    let backbone = fitted.model.backbone.clone();

    let pass = Pass {
        batch: recipe.fit.batch_size,
        device: &context.device,
        context,
        label: None,
    };
    let (split, scored) = data.scored();
    let scores = Scores::of(
        &backbone,
        &start.preprocessing,
        scored,
        classes.len(),
        &pass,
    )?;
    let metrics = measured_on(split, scores.metrics()?);
    let picture = scores.picture(&classes)?;

    let mut card = card(
        &start.config,
        &backbone,
        classes,
        &start.licence,
        &start.origin,
    );
    card.metrics = metrics.iter().cloned().collect();
    card.data_sha256 = Some(data.train.digest()?);
    let folder = write_folder(
        &request.out.join("model"),
        &start.config,
        &backbone,
        &start.preprocessing,
        &card,
    )?;
    let formula = match recipe.label_smoothing {
        0.0 => "-log softmax(logits)[class], mean over the batch".to_string(),
        e => format!("cross entropy against (1 - {e}) one-hot + {e} uniform, mean over the batch"),
    };
    let trained = Trained {
        recipe: &recipe,
        fit: &recipe.fit,
        request,
        fitted: &fitted,
        card: &card,
        data: found.stage(data.train.location(), &card),
        loss: ("cross-entropy", formula),
        num_samples: data.train.len(),
    };
    let observed = observe(&data.train, &start.preprocessing, &backbone, context)?;
    let page = trained.page(observed, context)?;
    let end = Conclusion {
        started,
        gate_secs,
        metrics,
        pictures: vec![picture],
        model: folder.path(),
        history: &fitted.history,
    };
    end.write(page, &request.out)
}

/// The way of the first training images through the network.
fn observe(
    train: &ImageSet,
    preprocessing: &Preprocessing,
    backbone: &Backbone,
    context: &RunContext,
) -> Result<Observed> {
    let images = (0..train.len().min(OBSERVED)).map(|i| train.image(i));
    let images = images.collect::<Result<Vec<_>>>()?;
    let input = preprocessing.batch(&images, &context.device)?;
    let mut observed = Observed::default();
    observed.note("input", input.clone())?;
    let (rest, features) = Observed::watch(|visit| backbone.walk(input, visit))?;
    observed.shapes.extend(rest.shapes);
    observed.rows.extend(rest.rows);
    observed.note("logits", backbone.head(features))?;
    Ok(observed)
}

fn run_fit(
    recipe: &Recipe,
    data: &Splits<ImageSet>,
    start: &Start,
    run: &Run,
    context: &RunContext,
) -> Result<Fitted<Supervised>> {
    let augment = Augment::new(&recipe.augment)?;
    let samples = ImageSamples {
        set: &data.train,
        preprocessing: &start.preprocessing,
        augment: Some(&augment),
    };
    let num_classes = start.config.num_classes;
    let shape = start.preprocessing.shape();
    let collate = ImageCollate {
        shape,
        num_classes,
        mix: Some(recipe.augment.clone()),
    };
    let mut backbone = start.backbone.clone();
    if recipe.model.freeze_backbone {
        backbone =
            backbone.freeze_group(ParamGroup::all().exclude(ParamGroup::from_predicate(HEAD)));
    }
    let model = Supervised {
        backbone,
        label_smoothing: recipe.label_smoothing,
    };
    let pass = Pass {
        batch: recipe.fit.batch_size,
        device: &context.device,
        context,
        label: None,
    };
    let mut validate = |model: &Supervised| {
        Scores::of(
            &model.backbone,
            &start.preprocessing,
            &data.valid,
            num_classes,
            &pass,
        )?
        .metrics()
    };
    fit::fit(
        model,
        &recipe.fit,
        &samples,
        &collate,
        &mut validate,
        run,
        context,
    )
}
