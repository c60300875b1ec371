//! Models that score items for users, one file each.
//!
//! Every one is a [`Recommender`] in the end. Popularity, neighbours and closed forms learn without steps of an
//! optimiser and are plain arrays; the others are networks whose trained weights a recommender holds.

pub mod als;
pub mod biased_mf;
pub mod bpr;
pub mod ease;
pub mod factors;
pub mod item_knn;
pub mod light_gcn;
pub mod neu_mf;
pub mod pop;
pub mod sas_rec;

use burn::tensor::{Device, Tensor};
use panoply_core::{Error, Result, host, weights::Arrays};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Whom items are scored for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'h> {
    /// The user's index, where the model has seen this user in training.
    pub user: Option<u32>,
    /// The items of the user, the oldest first: those of training for a known user, those given for a new
    /// one.
    pub history: &'h [u32],
}

impl<'h> Query<'h> {
    /// Somebody of whom nothing but items is known.
    pub fn cold(history: &'h [u32]) -> Self {
        Self {
            user: None,
            history,
        }
    }
}

/// A trained model that scores all items.
pub trait Recommender: Send + Sync {
    /// Number of items.
    fn num_items(&self) -> usize;

    /// A score for each item, the higher the better: `[queries, items]`, row-major. A query without a
    /// user is folded in from its history.
    ///
    /// # Errors
    /// Indices that the model does not have; a history that it cannot fold in.
    fn scores(&self, queries: &[Query<'_>]) -> Result<Vec<f32>>;

    /// How near each item is to `item`, the higher the nearer: `[items]`. That of the item to itself means
    /// nothing.
    ///
    /// # Errors
    /// An index that the model does not have.
    fn similarities(&self, item: u32) -> Result<Vec<f32>>;

    /// Whether scores depend on the history alone, so that those of a shorter history are what the model
    /// would answer without the items that were taken out.
    fn is_history_based(&self) -> bool;

    /// Whether a history is a sequence to go on with, to which what was held out for validation belongs when the test part
    /// is scored, as in the literature.
    fn is_sequential(&self) -> bool {
        false
    }

    /// Number of learned values.
    fn num_params(&self) -> usize;

    /// Writes the weights, whole or not at all.
    ///
    /// # Errors
    /// A value that is not finite, and what the file system says.
    fn save(&self, path: &Path) -> Result<()>;
}

/// Architecture and its sizes; the `model` of a recipe and of `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// [`pop`].
    Pop,
    /// [`item_knn`].
    ItemKnn(item_knn::ItemKnnConfig),
    /// [`ease`].
    Ease(ease::EaseConfig),
    /// [`als`].
    Als(als::AlsConfig),
    /// [`bpr`].
    Bpr(bpr::BprConfig),
    /// [`neu_mf`].
    NeuMf(neu_mf::NeuMfConfig),
    /// [`light_gcn`].
    LightGcn(light_gcn::LightGcnConfig),
    /// [`sas_rec`].
    SasRec(sas_rec::SasRecConfig),
}

impl ModelConfig {
    /// Names of all architectures, as `architecture` spells them.
    pub const ARCHITECTURES: [&str; 8] = [
        "pop",
        "item-knn",
        "ease",
        "als",
        "bpr",
        "neu-mf",
        "light-gcn",
        "sas-rec",
    ];

    /// The name of this one.
    pub fn architecture(&self) -> &'static str {
        match self {
            Self::Pop => Self::ARCHITECTURES[0],
            Self::ItemKnn(_) => Self::ARCHITECTURES[1],
            Self::Ease(_) => Self::ARCHITECTURES[2],
            Self::Als(_) => Self::ARCHITECTURES[3],
            Self::Bpr(_) => Self::ARCHITECTURES[4],
            Self::NeuMf(_) => Self::ARCHITECTURES[5],
            Self::LightGcn(_) => Self::ARCHITECTURES[6],
            Self::SasRec(_) => Self::ARCHITECTURES[7],
        }
    }

    /// Whether it learns step by step, and so needs a training loop.
    pub fn is_learned(&self) -> bool {
        match self {
            Self::Pop | Self::ItemKnn(_) | Self::Ease(_) | Self::Als(_) => false,
            Self::Bpr(_) | Self::NeuMf(_) | Self::LightGcn(_) | Self::SasRec(_) => true,
        }
    }

    /// A trained model of this architecture over `num_users` users and `num_items` items, out of the file
    /// that [`Recommender::save`] wrote; networks on `device`.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn load(
        &self,
        [num_users, num_items]: [usize; 2],
        weights: &Path,
        device: &Device,
    ) -> Result<Box<dyn Recommender>> {
        let shape = [num_users, num_items];
        let arrays = || Arrays::load(weights);
        Ok(match self {
            Self::Pop => Box::new(pop::Pop::from_arrays(arrays()?, num_items)?),
            Self::ItemKnn(_) => Box::new(item_knn::ItemKnn::from_arrays(arrays()?, num_items)?),
            Self::Ease(_) => Box::new(ease::Ease::from_arrays(arrays()?, num_items)?),
            Self::Als(config) => {
                let fold = config.fold_in();
                let shape = [num_users, num_items, config.factors];
                Box::new(factors::Factors::from_arrays(arrays()?, shape, fold)?)
            }
            Self::Bpr(config) => {
                let shape = [num_users, num_items, config.embedding_size];
                Box::new(factors::Factors::from_arrays(
                    arrays()?,
                    shape,
                    bpr::FOLD_IN,
                )?)
            }
            Self::NeuMf(config) => Box::new(neu_mf::NeuMfRecommender::load(
                config, shape, weights, device,
            )?),
            Self::LightGcn(config) => Box::new(light_gcn::LightGcnRecommender::load(
                config, shape, weights, device,
            )?),
            Self::SasRec(config) => Box::new(sas_rec::SasRecRecommender::load(
                config, num_items, weights, device,
            )?),
        })
    }
}

/// The cosine of each row of `vectors` (`[items, features]`) with that of `item`; 0 where one has no length.
fn cosines(vectors: Tensor<2>, item: u32) -> Result<Vec<f32>> {
    let norms = vectors.clone().square().sum_dim(1).sqrt(); // [I, 1]
    let none = norms.clone().equal_elem(0.0);
    let vectors = vectors / norms.mask_fill(none, 1.0);
    let own = vectors.clone().narrow(0, item as usize, 1);
    host::to_vec((vectors * own).sum_dim(1))
}

/// Refuses an index beyond the users of a model.
fn check_user(user: u32, num_users: usize) -> Result<()> {
    if (user as usize) < num_users {
        return Ok(());
    }
    let expected = format!("an index below {num_users}");
    Err(Error::input("user", user.to_string(), expected))
}

/// Refuses an index beyond the items of a model.
pub(crate) fn check_items(items: &[u32], num_items: usize) -> Result<()> {
    match items.iter().find(|&&item| item as usize >= num_items) {
        None => Ok(()),
        Some(item) => {
            let expected = format!("an index below {num_items}");
            Err(Error::input("item", item.to_string(), expected))
        }
    }
}
