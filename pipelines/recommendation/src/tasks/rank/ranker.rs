//! A recommender with everything that goes with it: ids, histories, the columns of its data.

use super::{
    bundled,
    protocol::{mask, metric_error},
};
use crate::{
    models::{ModelConfig, Query, Recommender},
    tasks::{ids, rows::Id},
};
use burn::tensor::Device;
use panoply_core::{
    Error, ModelCard, ModelFolder, Predictor, Result, RunContext, guard, weights::Arrays,
};
use panoply_datasets::{
    InteractionOptions,
    interactions::{Csr, Ids},
};
use panoply_metrics::top_k_items;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// File of the model folder beside the usual ones.
const HISTORIES: &str = "histories.safetensors";
/// Longest list that can be asked for.
const MAX_K: usize = 10_000;

/// `config.json` of the model folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankConfig {
    /// Architecture and sizes.
    pub model: ModelConfig,
    /// Number of users.
    pub num_users: usize,
    /// Number of items.
    pub num_items: usize,
    /// Columns of the data that it was trained on, by which other data is read.
    pub columns: InteractionOptions,
}

/// What `--set` of `run`, `eval` and `explain` can change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Length of a list. Default 10.
    pub k: usize,
    /// Leave out what the user has. Default true.
    pub mask_seen: bool,
    /// How `eval` scores.
    pub ks: Vec<usize>,
    /// As [`Protocol::sampled_negatives`](super::Protocol::sampled_negatives).
    pub sampled_negatives: Option<usize>,
    /// Seed of the sampled negatives.
    pub seed: u64,
    /// As [`Protocol::auc`](super::Protocol::auc).
    pub auc: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            k: 10,
            mask_seen: true,
            ks: vec![10],
            sampled_negatives: None,
            seed: 0,
            auc: false,
        }
    }
}

/// One line of input: for whom, and of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankRequest {
    /// A user of the training data.
    pub user: Option<Id>,
    /// The items of somebody else, the oldest first.
    pub history: Option<Vec<Id>>,
    /// Length of the list; that of the settings if none is given.
    pub k: Option<usize>,
    /// Items that must not be in the list.
    pub exclude: Vec<Id>,
    /// Items that alone may be in the list.
    pub only: Option<Vec<Id>>,
}

/// A request in indices.
#[derive(Clone, Debug)]
pub struct Prepared {
    user: Option<u32>,
    name: Option<String>,
    history: Vec<u32>,
    k: usize,
    exclude: Vec<u32>,
    only: Option<Vec<u32>>,
    unknown: Vec<String>,
}

/// A list of items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranking {
    /// The user that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The best first; of equal scores the item that came first in the training data.
    pub items: Vec<ScoredItem>,
    /// Items of the request that the model does not know; they were left aside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// An item with its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoredItem {
    /// Its id.
    pub item: String,
    /// The higher the better; scales differ between architectures.
    pub score: f32,
}

/// A trained recommender that answers requests.
pub struct Ranker {
    pub(crate) model: Box<dyn Recommender>,
    pub(crate) config: RankConfig,
    pub(crate) ids: Arc<Ids>,
    /// The items of each user in training, the oldest first.
    pub(crate) histories: Csr,
    pub(crate) card: ModelCard,
    settings: Settings,
}

impl Ranker {
    /// Opens a model folder, or the bundled model by its name.
    ///
    /// # Errors
    /// A folder that is none, or whose files do not fit together; settings that are not allowed.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        let settings: Settings = context.settings()?;
        if settings.k == 0 || settings.k > MAX_K {
            let expected = format!("1 to {MAX_K}");
            return Err(Error::input("--set k", settings.k.to_string(), expected));
        }
        let opened = if model == bundled::BUNDLED {
            bundled::open()?
        } else {
            Self::from_folder(&ModelFolder::open(Path::new(model))?, &context.device)?
        };
        Ok(Self { settings, ..opened })
    }

    /// A ranker around a trained model.
    pub(crate) fn new(
        model: Box<dyn Recommender>,
        config: RankConfig,
        ids: Arc<Ids>,
        histories: Csr,
        card: ModelCard,
    ) -> Self {
        Self {
            model,
            config,
            ids,
            histories,
            card,
            settings: Settings::default(),
        }
    }

    fn from_folder(folder: &ModelFolder, device: &Device) -> Result<Self> {
        let config: RankConfig = ids::need(folder, ModelFolder::CONFIG)?;
        let card = ids::need(folder, ModelFolder::CARD)?;
        let shape = [config.num_users, config.num_items];
        let ids = ids::read(folder, shape)?;
        let histories = read_histories(&folder.file(HISTORIES), &config)?;
        let weights = folder.weights()?;
        let model = guard("loading a recommender", || {
            config.model.load(shape, &weights, device)
        })?;
        Ok(Self::new(model, config, Arc::new(ids), histories, card))
    }

    /// Writes the model folder.
    pub(crate) fn save(&self, path: &Path) -> Result<ModelFolder> {
        let folder = ModelFolder::create(path)?;
        self.model.save(&folder.file(ModelFolder::WEIGHTS))?;
        let mut arrays = Arrays::default();
        let counts: Vec<i64> = self.histories.rows().map(|row| row.len() as i64).collect();
        let items: Vec<i64> = self
            .histories
            .indices()
            .iter()
            .map(|&i| i64::from(i))
            .collect();
        arrays.put("counts", [counts.len()], counts);
        arrays.put("items", [items.len()], items);
        arrays.save(&folder.file(HISTORIES))?;
        ids::write(&folder, &self.ids)?;
        folder.write_json(ModelFolder::CONFIG, &self.config)?;
        folder.write_json(ModelFolder::CARD, &self.card)?;
        Ok(folder)
    }

    /// What the model says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The ids of users and items.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// How near each item is to `item`, as the model has it: `[items]`.
    ///
    /// # Errors
    /// An index that the model does not have.
    pub fn similarities(&self, item: u32) -> Result<Vec<f32>> {
        self.model.similarities(item)
    }

    /// The settings that it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A request in indices; `name` is for messages.
    ///
    /// # Errors
    /// Neither a user nor a history, or both; a user that training did not see; a history or an `only` without
    /// an item that the model knows; a length of 0 or beyond 10,000.
    pub fn prepare(&self, request: &RankRequest, name: &str) -> Result<Prepared> {
        let wrong = |what: String, expected: &str| Err(Error::input(name, what, expected));
        let mut unknown = Vec::new();
        let mut known = |ids: &[Id]| -> Vec<u32> {
            let find = |id: &Id| {
                let found = self.ids.items.get(&id.0);
                if found.is_none() {
                    unknown.push(id.0.clone());
                }
                found
            };
            ids.iter().filter_map(find).collect()
        };
        let (user, history) = match (&request.user, &request.history) {
            (Some(Id(id)), None) => {
                let Some(user) = self.ids.users.get(id) else {
                    let expected = "a user of the training data, or a history";
                    return wrong(format!("unknown user '{id}'"), expected);
                };
                (Some(user), self.histories.row(user as usize).to_vec())
            }
            (None, Some(items)) => (None, distinct(known(items))),
            (None, None) => return wrong("no user and no history".into(), "one of both"),
            (Some(_), Some(_)) => return wrong("a user and a history".into(), "one of both"),
        };
        let exclude = known(&request.exclude);
        let only = request.only.as_deref().map(&mut known);
        let k = request.k.unwrap_or(self.settings.k);
        if k == 0 || k > MAX_K {
            return wrong(format!("k {k}"), "a length from 1 to 10,000");
        }
        if user.is_none() && history.is_empty() {
            return wrong(
                "a history without a known item".into(),
                "at least one known item",
            );
        }
        if only.as_ref().is_some_and(Vec::is_empty) {
            return wrong(
                "an `only` without a known item".into(),
                "at least one known item",
            );
        }
        Ok(Prepared {
            user,
            name: request.user.clone().map(|id| id.0),
            history,
            k,
            exclude,
            only,
            unknown,
        })
    }

    /// The items that may be recommended keep their scores, the others get minus infinity.
    pub(crate) fn filter(&self, request: &Prepared, scores: &mut [f32]) {
        if self.settings.mask_seen {
            mask(scores, &request.history);
        }
        mask(scores, &request.exclude);
        if let Some(only) = &request.only {
            let only: BTreeSet<u32> = only.iter().copied().collect();
            for (item, score) in scores.iter_mut().enumerate() {
                if !only.contains(&(item as u32)) {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }
}

impl Prepared {
    pub(crate) fn query(&self) -> Query<'_> {
        Query {
            user: self.user,
            history: &self.history,
        }
    }

    pub(crate) fn history(&self) -> &[u32] {
        &self.history
    }
}

impl Predictor for Ranker {
    type Input = RankRequest;
    type Batch = Vec<Prepared>;
    type Raw = (Vec<Prepared>, Vec<f32>);
    type Output = Ranking;

    fn preprocess(&self, inputs: &[RankRequest]) -> Result<Vec<Prepared>> {
        inputs
            .iter()
            .map(|input| self.prepare(input, "request"))
            .collect()
    }

    fn forward(&self, batch: Vec<Prepared>) -> Result<(Vec<Prepared>, Vec<f32>)> {
        let queries: Vec<Query<'_>> = batch.iter().map(Prepared::query).collect();
        let scores = self.model.scores(&queries)?;
        Ok((batch, scores))
    }

    fn postprocess(&self, (batch, mut scores): Self::Raw) -> Result<Vec<Ranking>> {
        let rows = scores.chunks_mut(self.config.num_items.max(1));
        let rank = |(request, row): (&Prepared, &mut [f32])| {
            self.filter(request, row);
            let list = top_k_items(row, request.k).map_err(metric_error)?;
            let item = |&item: &usize| ScoredItem {
                item: self.ids.items.name(item as u32).into(),
                score: row[item],
            };
            Ok(Ranking {
                user: request.name.clone(),
                items: list.iter().map(item).collect(),
                unknown: request.unknown.clone(),
            })
        };
        batch.iter().zip(rows).map(rank).collect()
    }

    fn batch_size(&self) -> usize {
        64
    }
}

/// Each item once, at its first place.
fn distinct(items: Vec<u32>) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    items
        .into_iter()
        .filter(|item| seen.insert(*item))
        .collect()
}

fn read_histories(path: &Path, config: &RankConfig) -> Result<Csr> {
    let mut arrays = Arrays::load(path)?;
    let counts: Vec<i64> = arrays.take_shaped("counts", [config.num_users])?;
    let ([total], items) = arrays.take::<i64, 1>("items")?;
    arrays.finish()?;
    let fits = |item: &i64| usize::try_from(*item).is_ok_and(|item| item < config.num_items);
    let sum: Option<usize> = counts.iter().try_fold(0_usize, |sum, &count| {
        sum.checked_add(usize::try_from(count).ok()?)
    });
    if sum != Some(total) || !items.iter().all(fits) {
        let expected = format!(
            "the items of {} users, out of {}",
            config.num_users, config.num_items
        );
        return Err(Error::input(
            path.display().to_string(),
            "histories that do not fit",
            expected,
        ));
    }
    let mut rest = items.as_slice();
    let rows = counts.iter().map(|&count| {
        let (row, others) = rest.split_at(count as usize);
        rest = others;
        row.iter().map(|&item| item as u32).collect::<Vec<_>>()
    });
    Ok(Csr::from_rows(rows))
}
