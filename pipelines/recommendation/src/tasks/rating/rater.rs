//! A model of ratings with everything that goes with it, and its scores.

use super::{bundled, recipe::Recipe};
use crate::{
    models::biased_mf::{BiasedMf, RatingConfig},
    tasks::{ids, rows::Id},
};
use panoply_core::{
    Error, Evaluation, ModelCard, ModelFolder, Predictor, Result, RunContext, fit::Metrics,
    predictions::read_predictions, weights::Arrays,
};
use panoply_datasets::{
    InteractionOptions, Interactions, interactions::Ids, open_interactions_for_eval,
};
use panoply_metrics::{MetricError, mean_absolute_error, root_mean_squared_error};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{path::Path, sync::Arc};

/// `config.json` of the model folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateConfig {
    /// Architecture and sizes.
    pub model: RatingConfig,
    /// Number of users.
    pub num_users: usize,
    /// Number of items.
    pub num_items: usize,
    /// Columns of the data that it was trained on, by which other data is read.
    pub columns: InteractionOptions,
}

/// One line of input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateRequest {
    /// Who rates.
    pub user: Id,
    /// What is rated.
    pub item: Id,
}

/// A predicted rating.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rating {
    /// Who rates.
    pub user: String,
    /// What is rated.
    pub item: String,
    /// Within the ratings of the training data.
    pub rating: f32,
    /// Whether the user was in the training data; if not, the rating is what is known without.
    pub known_user: bool,
    /// Whether the item was in the training data; if not, the rating is what is known without.
    pub known_item: bool,
}

/// A trained model of ratings that answers requests.
pub struct Rater {
    model: BiasedMf,
    config: RateConfig,
    ids: Arc<Ids>,
    pub(super) card: ModelCard,
}

impl Rater {
    /// Opens a model folder, or the bundled model by its name.
    ///
    /// # Errors
    /// A folder that is none, or whose files do not fit together.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        if model == bundled::BUNDLED {
            return bundled::open(context);
        }
        let folder = ModelFolder::open(Path::new(model))?;
        let config: RateConfig = ids::need(&folder, ModelFolder::CONFIG)?;
        let shape = [config.num_users, config.num_items];
        let arrays = Arrays::load(&folder.weights()?)?;
        Ok(Self {
            model: BiasedMf::from_arrays(&config.model, arrays, shape)?,
            ids: Arc::new(ids::read(&folder, shape)?),
            card: ids::need(&folder, ModelFolder::CARD)?,
            config,
        })
    }

    /// A rater around a trained model.
    pub(super) fn new(
        model: BiasedMf,
        recipe: &Recipe,
        train: &Interactions,
        card: ModelCard,
    ) -> Self {
        Self {
            model,
            config: RateConfig {
                model: recipe.model.clone(),
                num_users: train.num_users(),
                num_items: train.num_items(),
                columns: recipe.data.columns.clone(),
            },
            ids: Arc::clone(train.ids()),
            card,
        }
    }

    /// Writes the model folder.
    pub(super) fn save(&self, path: &Path) -> Result<ModelFolder> {
        let folder = ModelFolder::create(path)?;
        self.model
            .arrays()
            .save(&folder.file(ModelFolder::WEIGHTS))?;
        ids::write(&folder, &self.ids)?;
        folder.write_json(ModelFolder::CONFIG, &self.config)?;
        folder.write_json(ModelFolder::CARD, &self.card)?;
        Ok(folder)
    }

    /// What the model says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    fn rate(&self, request: &RateRequest) -> Rating {
        let user = self.ids.users.get(&request.user.0);
        let item = self.ids.items.get(&request.item.0);
        Rating {
            user: request.user.0.clone(),
            item: request.item.0.clone(),
            rating: self.model.predict(user, item),
            known_user: user.is_some(),
            known_item: item.is_some(),
        }
    }

    /// RMSE and MAE on `data`, which has the ids of the model or more after them.
    pub(super) fn metrics(&self, data: &Interactions) -> Result<Metrics> {
        let pairs = data.users().iter().zip(data.items());
        let known = |index: u32, count: usize| ((index as usize) < count).then_some(index);
        let found: Vec<f32> = pairs
            .map(|(&user, &item)| {
                let user = known(user, self.config.num_users);
                self.model.predict(user, known(item, self.config.num_items))
            })
            .collect();
        metrics(ratings(data)?, &found)
    }
}

impl Predictor for Rater {
    type Input = RateRequest;
    type Batch = Vec<RateRequest>;
    type Raw = Vec<Rating>;
    type Output = Rating;

    fn preprocess(&self, inputs: &[RateRequest]) -> Result<Vec<RateRequest>> {
        Ok(inputs.to_vec())
    }

    fn forward(&self, batch: Vec<RateRequest>) -> Result<Vec<Rating>> {
        Ok(batch.iter().map(|request| self.rate(request)).collect())
    }

    fn postprocess(&self, raw: Vec<Rating>) -> Result<Vec<Rating>> {
        Ok(raw)
    }
}

fn ratings(data: &Interactions) -> Result<&[f32]> {
    data.ratings()
        .ok_or_else(|| Error::input(data.location(), "no ratings", "a column of ratings"))
}

fn metrics(truth: &[f32], found: &[f32]) -> Result<Metrics> {
    let wrong = |e: MetricError| Error::Internal {
        context: "scoring".into(),
        message: e.to_string(),
    };
    Ok(vec![
        (
            "rmse".into(),
            root_mean_squared_error(truth, found).map_err(wrong)?,
        ),
        (
            "mae".into(),
            mean_absolute_error(truth, found).map_err(wrong)?,
        ),
    ])
}

fn evaluation(metrics: Metrics, num_samples: usize) -> Evaluation {
    let headline: Map<String, Value> = metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    Evaluation {
        num_samples,
        json: json!({ "num_samples": num_samples, "metrics": headline }),
        metrics,
        ..Evaluation::default()
    }
}

/// RMSE and MAE on the test file of `data`, or on the file itself.
pub(super) fn eval(rater: &Rater, data: &Path) -> Result<Evaluation> {
    let columns = InteractionOptions {
        min_user_interactions: 0,
        min_item_interactions: 0,
        ..rater.config.columns.clone()
    };
    let (scored, _) = open_interactions_for_eval(data, &columns, &rater.ids)?;
    Ok(evaluation(rater.metrics(&scored)?, scored.len()))
}

/// The same of a file with `{"user": …, "item": …, "rating": …}`, a line for each rating of `data`, in any order.
pub(super) fn score_predictions(predictions: &Path, data: &Path) -> Result<Evaluation> {
    #[derive(Deserialize)]
    struct Line {
        user: Id,
        item: Id,
        rating: f32,
    }
    let options = InteractionOptions::default();
    let (scored, _) = open_interactions_for_eval(data, &options, &Ids::default())?;
    let truth = ratings(&scored)?;
    let pairs = scored.users().iter().zip(scored.items());
    let place: std::collections::HashMap<(u32, u32), usize> = pairs
        .enumerate()
        .map(|(at, (&user, &item))| ((user, item), at))
        .collect();
    let mut found: Vec<Option<f32>> = vec![None; truth.len()];
    for line in read_predictions(predictions)? {
        let line = line?;
        let parsed: Line = line.parse("{\"user\": id, \"item\": id, \"rating\": number}")?;
        let ids = scored.ids();
        let pair = ids
            .users
            .get(&parsed.user.0)
            .zip(ids.items.get(&parsed.item.0));
        let Some(&at) = pair.and_then(|pair| place.get(&pair)) else {
            let what = format!("user '{}' and item '{}'", parsed.user.0, parsed.item.0);
            return Err(Error::input(line.location, what, "a pair of the data"));
        };
        if found[at].replace(parsed.rating).is_some() {
            let expected = "each pair once";
            return Err(Error::input(
                line.location,
                "a pair a second time",
                expected,
            ));
        }
    }
    let all: Option<Vec<f32>> = found.iter().copied().collect();
    let Some(all) = all else {
        let missing = found.iter().filter(|rating| rating.is_none()).count();
        let what = format!("no rating for {missing} of {} pairs", truth.len());
        let expected = "one for each pair of the data";
        return Err(Error::input(
            predictions.display().to_string(),
            what,
            expected,
        ));
    };
    Ok(evaluation(metrics(truth, &all)?, truth.len()))
}
