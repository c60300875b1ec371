//! Training by a recipe: data gate, loop, evaluation, model folder, report.

use super::{
    Segmenter,
    characters::{TAGS, Vocabulary},
    eval::Scores,
    lexicon::{self, Lexicon},
    recipe::Recipe,
    samples::{Pad, Supervised, Windows, pieces},
    segmenter::{Parts, card},
};
use crate::models::tagger::{LexiconConfig, Tagger, TaggerConfig};
use panoply_core::{
    Conclusion, DataCheck, Error, Result, RunContext, TrainOutcome, TrainRequest, fit,
    fit::{Fitted, Run, Samples},
    recipe::apply_sets,
    report::{OBSERVED, Observed, Trained},
    seed,
    train::measured_on,
};
use panoply_datasets::{
    SegmentedText, Splits, bundled,
    gate::{self, GateReport},
    open_segmented_splits,
};
use std::{path::Path, time::Instant};

/// The data of a recipe: the bundled slice, or what `--data` names.
fn splits(recipe: &Recipe, data: Option<&Path>) -> Result<Splits<SegmentedText>> {
    let (holdout, seed) = (recipe.data.validation, recipe.fit.seed);
    match data {
        Some(path) => open_segmented_splits(path, holdout, seed),
        None if recipe.data.bundled => {
            let (train, test) = bundled::ud_chinese_slice()?;
            let (train, valid) = train.holdout(holdout, seed)?;
            Ok(Splits {
                train,
                valid,
                is_held_out: true,
                test: Some(test),
            })
        }
        None => Err(Error::input(
            "--data",
            "missing; this recipe has no data of its own",
            "a segmented text",
        )),
    }
}

fn inspect(splits: &Splits<SegmentedText>) -> GateReport {
    gate::inspect_segmented(&splits.train, &splits.others())
}

/// Runs the data gate on a data set as training would.
pub(super) fn check_data(data: &Path) -> Result<DataCheck> {
    Ok(inspect(&splits(&Recipe::base(), Some(data))?).to_check())
}

/// The network before training, with everything that goes with it.
struct Start {
    tagger: Tagger,
    config: TaggerConfig,
    recipe: Recipe,
    vocabulary: Vocabulary,
    origin: String,
    licence: String,
}

impl Start {
    fn of(
        recipe: Recipe,
        request: &TrainRequest,
        train: &SegmentedText,
        context: &RunContext,
    ) -> Result<Self> {
        // The device's generator initialises the weights: the same seed, the same start.
        context.device.seed(seed::derive(&[recipe.fit.seed]));
        match &request.model {
            Some(model) => Self::pretrained(recipe, model, context),
            None => Self::scratch(recipe, train, context),
        }
    }

    fn scratch(recipe: Recipe, train: &SegmentedText, context: &RunContext) -> Result<Self> {
        recipe.preprocessing.check("preprocessing")?;
        let model = &recipe.model;
        let pieces = pieces(train, &recipe.preprocessing);
        let texts = pieces.iter().map(|piece| piece.chars.as_slice());
        let vocabulary = Vocabulary::of(texts, model.min_char_count, model.min_bigram_count);
        let config = TaggerConfig {
            architecture: model.architecture.clone(),
            num_chars: vocabulary.num_chars(),
            num_bigrams: vocabulary.num_bigrams(),
            num_tags: TAGS.len(),
            char_dim: model.char_dim,
            bigram_dim: model.bigram_dim,
            lexicon: (model.lexicon_dim > 0).then_some(LexiconConfig {
                rows: lexicon::ROWS,
                dim: model.lexicon_dim,
                per_char: lexicon::FEATURES,
            }),
            hidden_size: model.hidden_size,
            num_layers: model.num_layers,
            dropout: model.dropout,
        };
        let words = train.vocabulary().into_iter();
        let lexicon = config
            .lexicon
            .map(|_| Lexicon::of(words, &recipe.preprocessing));
        Ok(Self {
            tagger: config.init(&context.device)?,
            config,
            vocabulary: vocabulary.with_lexicon(lexicon),
            origin: "trained from scratch".into(),
            licence: "unknown".into(),
            recipe,
        })
    }

    /// Another model's weights, vocabulary and preprocessing.
    fn pretrained(recipe: Recipe, model: &str, context: &RunContext) -> Result<Self> {
        let base = Segmenter::open(model, context)?;
        Ok(Self {
            tagger: base.tagger,
            config: base.config,
            vocabulary: base.vocabulary,
            origin: format!("fine-tuned from {model} ({})", base.card.origin),
            licence: base.card.licence,
            recipe: Recipe {
                preprocessing: base.preprocessing,
                ..recipe
            },
        })
    }

    /// A segmenter around a network of this run.
    fn segmenter(
        &self,
        tagger: Tagger,
        train: &SegmentedText,
        context: &RunContext,
    ) -> Result<Segmenter> {
        let parts = Parts {
            config: self.config.clone(),
            preprocessing: self.recipe.preprocessing.clone(),
            vocabulary: self.vocabulary.clone(),
            words: train.vocabulary().into_iter().map(String::from).collect(),
            card: card(&self.config, &self.licence, &self.origin),
        };
        Segmenter::new(parts, tagger, &context.device)
    }
}

pub(super) fn train(request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
    let started = Instant::now();
    let recipe = apply_sets(Recipe::named(&request.recipe)?, &request.sets)?;
    let data = splits(&recipe, request.data.as_deref())?;
    let run = request.begin(&recipe)?;
    let found = inspect(&data);
    found.admit(request)?;
    let gate_secs = started.elapsed().as_secs_f64();

    let start = Start::of(recipe, request, &data.train, context)?;
    let samples = Windows::new(
        &pieces(&data.train, &start.recipe.preprocessing),
        &start.vocabulary,
    );
    let fitted = run_fit(&start, &data, &samples, &run, context)?;
    let mut segmenter = start.segmenter(fitted.model.tagger.clone(), &data.train, context)?;

    let (split, scored) = data.scored();
    let scores = Scores::of(&segmenter, scored, context, None)?;
    let metrics = measured_on(split, scores.metrics()?);
    let picture = scores.picture()?;

    segmenter.card.metrics = metrics.iter().cloned().collect();
    segmenter.card.data_sha256 = Some(data.train.digest());
    let folder = segmenter.save(&request.out.join("model"), start.recipe.dtype)?;
    let formula = "ln Z - score(true tags), summed over the batch, divided by its characters";
    let trained = Trained {
        recipe: &start.recipe,
        fit: &start.recipe.fit,
        request,
        fitted: &fitted,
        card: &segmenter.card,
        data: found.stage(data.train.location(), &segmenter.card),
        loss: ("CRF negative log-likelihood", formula.into()),
        num_samples: samples.len(),
    };
    let shown = samples.first(OBSERVED, &context.device);
    let (observed, _) = Observed::watch(|visit| fitted.model.tagger.walk(&shown, visit))?;
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

fn run_fit(
    start: &Start,
    data: &Splits<SegmentedText>,
    samples: &Windows,
    run: &Run,
    context: &RunContext,
) -> Result<Fitted<Supervised>> {
    let mut validate = |model: &Supervised| {
        let segmenter = start.segmenter(model.tagger.clone(), &data.train, context)?;
        Scores::of(&segmenter, &data.valid, context, None)?.metrics()
    };
    let model = Supervised {
        tagger: start.tagger.clone(),
    };
    fit::fit(
        model,
        &start.recipe.fit,
        samples,
        &Pad,
        &mut validate,
        run,
        context,
    )
}
