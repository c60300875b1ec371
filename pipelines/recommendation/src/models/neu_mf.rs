//! Neural matrix factorisation (He, Liao, Zhang, Nie, Hu and Chua, "Neural Collaborative Filtering", 2017).
//!
//! Two models side by side, each with vectors of its own: generalised matrix factorisation multiplies a user's and an
//! item's vector number by number, a perceptron takes both vectors one behind the other. A linear layer makes one score
//! of what both give. The loss is binary cross entropy over observed pairs and as many drawn ones.
//!
//! Layout, initial values and loss are those of RecBole 1.2.1's `NeuMF` without pretraining; its tables of users and
//! items have a row 0 for padding more. The score here is the logit, of which RecBole reports the sigmoid: the order is
//! the same.
//!
//! A new user's vectors are found by some steps on the same loss, everything else fixed; RecBole has nothing for that.

use super::{Query, Recommender, bpr::rows, check_items, check_user, cosines};
use crate::preprocess::PairBatch;
use burn::{
    module::{Module, Param},
    nn::{Dropout, DropoutConfig, Embedding, Linear},
    optim::GradientsParams,
    tensor::{Device, Int, Tensor, TensorData, activation::log_sigmoid},
};
use panoply_core::{
    Error, Result,
    fit::{OptimizerConfig, StepOutput, Trainable, binary_cross_entropy, optimizer},
    host,
    nn::{Activation, LinearInit, embedding, linear, ops},
    weights::{self, KeyMap, SaveDtype},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Most layers of the perceptron: as many as [`KEY_MAP`] has names for.
const MAX_LAYERS: usize = 6;

/// RecBole numbers the parts of its perceptron: dropout, linear layer and activation, three to a layer.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("mlp_layers.mlp_layers.1.{}", "mlp_layers.0.{}"),
        ("mlp_layers.mlp_layers.4.{}", "mlp_layers.1.{}"),
        ("mlp_layers.mlp_layers.7.{}", "mlp_layers.2.{}"),
        ("mlp_layers.mlp_layers.10.{}", "mlp_layers.3.{}"),
        ("mlp_layers.mlp_layers.13.{}", "mlp_layers.4.{}"),
        ("mlp_layers.mlp_layers.16.{}", "mlp_layers.5.{}"),
    ],
    ..KeyMap::IDENTITY
};

/// Sizes of [`NeuMf`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NeuMfConfig {
    /// Numbers of a vector of the matrix factorisation. Default 64.
    pub mf_embedding_size: usize,
    /// Numbers of a vector of the perceptron. Default 64.
    pub mlp_embedding_size: usize,
    /// Features after each layer of the perceptron. Default 128 and 64.
    pub mlp_hidden_size: Vec<usize>,
    /// Dropout before each layer of the perceptron. Default 0.1.
    pub dropout_prob: f64,
}

impl Default for NeuMfConfig {
    fn default() -> Self {
        Self {
            mf_embedding_size: 64,
            mlp_embedding_size: 64,
            mlp_hidden_size: vec![128, 64],
            dropout_prob: 0.1,
        }
    }
}

impl NeuMfConfig {
    /// A fresh model of `num_users` users and `num_items` items.
    ///
    /// # Errors
    /// Sizes of 0, no layer or more than six, a dropout outside `[0, 1)`.
    pub fn init(&self, [num_users, num_items]: [usize; 2], device: &Device) -> Result<NeuMf> {
        self.validate()?;
        let (mf, mlp) = (self.mf_embedding_size, self.mlp_embedding_size);
        let table = |count, features| embedding(count, features, 0.01, device);
        let layer = |input, output| linear([input, output], true, LinearInit::FanIn, device);
        let inputs = std::iter::once(2 * mlp).chain(self.mlp_hidden_size.iter().copied());
        let sizes = inputs.zip(&self.mlp_hidden_size);
        let last = self.mlp_hidden_size.last().copied().unwrap_or(2 * mlp);
        Ok(NeuMf {
            user_mf_embedding: table(num_users, mf),
            item_mf_embedding: table(num_items, mf),
            user_mlp_embedding: table(num_users, mlp),
            item_mlp_embedding: table(num_items, mlp),
            mlp_layers: sizes.map(|(input, &output)| layer(input, output)).collect(),
            dropout: DropoutConfig::new(self.dropout_prob).init(),
            predict_layer: layer(mf + last, 1),
        })
    }

    fn validate(&self) -> Result<()> {
        let wrong = |name: &str, what: String, expected: &str| {
            Err(Error::input(format!("model.{name}"), what, expected))
        };
        for (name, size) in [
            ("mf_embedding_size", self.mf_embedding_size),
            ("mlp_embedding_size", self.mlp_embedding_size),
        ] {
            if size == 0 {
                return wrong(name, "0".into(), "at least 1");
            }
        }
        let layers = &self.mlp_hidden_size;
        if layers.is_empty() || layers.len() > MAX_LAYERS || layers.contains(&0) {
            let expected = "one to six sizes of at least 1";
            return wrong("mlp_hidden_size", format!("{layers:?}"), expected);
        }
        if !(0.0..1.0).contains(&self.dropout_prob) {
            return wrong("dropout_prob", self.dropout_prob.to_string(), "in [0, 1)");
        }
        Ok(())
    }
}

/// Matrix factorisation and perceptron.
#[derive(Module, Debug)]
pub struct NeuMf {
    /// `[users, mf_embedding_size]`.
    pub user_mf_embedding: Embedding,
    /// `[items, mf_embedding_size]`.
    pub item_mf_embedding: Embedding,
    /// `[users, mlp_embedding_size]`.
    pub user_mlp_embedding: Embedding,
    /// `[items, mlp_embedding_size]`.
    pub item_mlp_embedding: Embedding,
    /// Each with ReLU after it.
    pub mlp_layers: Vec<Linear>,
    /// Before each of them; acts in training only.
    pub dropout: Dropout,
    /// From both models' features to the score.
    pub predict_layer: Linear,
}

impl NeuMf {
    /// The score of each user's item: the logit of their interacting.
    ///
    /// # Shapes
    /// `users`, `items`: `[batch]`; the result: `[batch]`.
    pub fn forward(&self, users: Tensor<1, Int>, items: Tensor<1, Int>) -> Tensor<1> {
        let mf = rows(&self.user_mf_embedding, users.clone())
            * rows(&self.item_mf_embedding, items.clone());
        let user = rows(&self.user_mlp_embedding, users);
        let item = rows(&self.item_mlp_embedding, items);
        let mut mlp = Tensor::cat(vec![user, item], 1); // [B, 2 * mlp_embedding_size]
        for layer in &self.mlp_layers {
            mlp = ops::linear_act(self.dropout.forward(mlp), layer, Activation::Relu);
        }
        let both = Tensor::cat(vec![mf, mlp], 1);
        ops::linear_act(both, &self.predict_layer, Activation::Identity).squeeze_dim(1)
    }

    fn num_users(&self) -> usize {
        self.user_mf_embedding.weight.dims()[0]
    }
}

impl Trainable for NeuMf {
    type Batch = PairBatch;

    fn loss(&self, batch: PairBatch) -> StepOutput {
        let num_samples = batch.len();
        let device = batch.users.device();
        let users = Tensor::cat(vec![batch.users.clone(), batch.users], 0);
        let items = Tensor::cat(vec![batch.positives, batch.negatives], 0);
        let logits = self.forward(users, items).unsqueeze_dim(1);
        let ones = Tensor::ones([num_samples, 1], &device);
        let targets = Tensor::cat(vec![ones.clone(), ones.zeros_like()], 0);
        StepOutput {
            loss: binary_cross_entropy(logits, targets),
            num_samples,
            metrics: Vec::new(),
        }
    }
}

/// The vectors of one user.
#[derive(Module, Debug)]
struct UserVectors {
    /// `[1, mf_embedding_size]`.
    mf: Param<Tensor<2>>,
    /// `[1, mlp_embedding_size]`.
    mlp: Param<Tensor<2>>,
}

/// A trained [`NeuMf`] that scores all items.
pub struct NeuMfRecommender {
    model: NeuMf,
    /// What the first layer makes of each item, `[items, mlp_hidden_size[0]]`: the same for all users.
    of_items: Tensor<2>,
}

impl NeuMfRecommender {
    /// Steps, and the rate of each, by which the vectors of a new user are found.
    const FOLD_IN: (usize, f64) = (50, 0.02);

    /// The recommender of a trained model.
    pub fn new(model: &NeuMf) -> Self {
        let model = model.valid();
        let of_items = of_items(&model);
        Self { model, of_items }
    }

    /// The recommender out of the file that [`save`](Recommender::save) wrote, or RecBole without its padding.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn load(
        config: &NeuMfConfig,
        shape: [usize; 2],
        path: &Path,
        device: &Device,
    ) -> Result<Self> {
        let mut model = config.init(shape, device)?;
        weights::load(&mut model, path, &KEY_MAP)?;
        Ok(Self::new(&model))
    }

    /// The vectors of a user of the training data.
    fn known(&self, user: u32) -> UserVectors {
        let of =
            |table: &Embedding| Param::from_tensor(table.weight.val().narrow(0, user as usize, 1));
        UserVectors {
            mf: of(&self.model.user_mf_embedding),
            mlp: of(&self.model.user_mlp_embedding),
        }
    }

    /// Vectors for somebody who has `history`: from the mean of all users', some steps of Adam on what training minimises,
    /// with everything else fixed. Items that are not in the history count as training draws them in the mean: together
    /// as much as the history.
    fn fold_in(&self, history: &[u32]) -> Result<UserVectors> {
        let num_items = self.num_items();
        check_items(history, num_items)?;
        let mut owned = vec![false; num_items];
        for &item in history {
            owned[item as usize] = true;
        }
        let count = owned.iter().filter(|&&owned| owned).count();
        let share = |is: bool, count: usize| if is { 0.5 / count as f32 } else { 0.0 };
        let weights = |kind: bool, count: usize| -> Vec<f32> {
            owned.iter().map(|&own| share(own == kind, count)).collect()
        };
        let device = self.of_items.device().autodiff();
        let tensor = |values: Vec<f32>| Tensor::<1>::from_data(values.as_slice(), &device);
        let (with, without) = (
            tensor(weights(true, count)),
            tensor(weights(false, num_items - count)),
        );

        let mean = |table: &Embedding| {
            let mean = table.weight.val().mean_dim(0); // [1, D]
            let data = TensorData::new(host::to_vec(mean.clone())?, mean.dims());
            Ok::<_, Error>(Param::from_tensor(Tensor::from_data(data, &device)))
        };
        let mut vectors = UserVectors {
            mf: mean(&self.model.user_mf_embedding)?,
            mlp: mean(&self.model.user_mlp_embedding)?,
        };
        let (steps, lr) = Self::FOLD_IN;
        let mut adam = optimizer(&OptimizerConfig {
            weight_decay: 0.0,
            ..OptimizerConfig::default()
        })?;
        for _ in 0..steps {
            let logits = all_items(&self.model, self.of_items.clone(), &vectors);
            let right = log_sigmoid(logits.clone()) * with.clone();
            let wrong = log_sigmoid(logits.neg()) * without.clone();
            let grads = (right + wrong).sum().neg().backward();
            let grads = GradientsParams::from_grads(grads, &vectors);
            vectors = adam.step(lr, vectors, grads);
        }
        Ok(vectors.valid())
    }
}

/// [`NeuMf::forward`] of one user with every item, `[items]`. The first layer is linear in both vectors, so that the
/// items' part of it, `of_items`, is not computed anew for each user.
fn all_items(model: &NeuMf, of_items: Tensor<2>, user: &UserVectors) -> Tensor<1> {
    let [_, weight] = first_layer(model);
    let mut of_user = user.mlp.val().matmul(weight);
    if let Some(bias) = &model.mlp_layers[0].bias {
        of_user = of_user + bias.val().unsqueeze();
    }
    let mut mlp = Activation::Relu.forward(of_user + of_items);
    for layer in model.mlp_layers.iter().skip(1) {
        mlp = ops::linear_act(mlp, layer, Activation::Relu);
    }
    let mf = user.mf.val() * model.item_mf_embedding.weight.val();
    let both = Tensor::cat(vec![mf, mlp], 1);
    ops::linear_act(both, &model.predict_layer, Activation::Identity).squeeze_dim(1)
}

/// What the first layer makes of each item, `[items, mlp_hidden_size[0]]`.
fn of_items(model: &NeuMf) -> Tensor<2> {
    let [weight, _] = first_layer(model);
    model.item_mlp_embedding.weight.val().matmul(weight)
}

/// The first layer's weight for items and for users, `[mlp_embedding_size, mlp_hidden_size[0]]` each.
fn first_layer(model: &NeuMf) -> [Tensor<2>; 2] {
    let weight = model.mlp_layers[0].weight.val();
    let half = weight.dims()[0] / 2;
    [
        weight.clone().narrow(0, half, half),
        weight.narrow(0, 0, half),
    ]
}

impl Recommender for NeuMfRecommender {
    fn num_items(&self) -> usize {
        self.of_items.dims()[0]
    }

    fn scores(&self, queries: &[Query<'_>]) -> Result<Vec<f32>> {
        let mut scores = Vec::with_capacity(queries.len() * self.num_items());
        for query in queries {
            let vectors = match query.user {
                Some(user) => {
                    check_user(user, self.model.num_users())?;
                    self.known(user)
                }
                None => self.fold_in(query.history)?,
            };
            let row = all_items(&self.model, self.of_items.clone(), &vectors);
            scores.extend(host::to_vec(row)?);
        }
        Ok(scores)
    }

    /// Cosines of the items' vectors, those of both models one behind the other.
    fn similarities(&self, item: u32) -> Result<Vec<f32>> {
        check_items(&[item], self.num_items())?;
        let tables = [
            &self.model.item_mf_embedding,
            &self.model.item_mlp_embedding,
        ];
        let vectors = Tensor::cat(tables.map(|table| table.weight.val()).to_vec(), 1);
        cosines(vectors, item)
    }

    fn is_history_based(&self) -> bool {
        false
    }

    fn num_params(&self) -> usize {
        weights::num_params(&self.model)
    }

    fn save(&self, path: &Path) -> Result<()> {
        weights::save(&self.model, path, &KEY_MAP, SaveDtype::F32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> (NeuMfConfig, NeuMf) {
        let config = NeuMfConfig {
            mf_embedding_size: 3,
            mlp_embedding_size: 4,
            mlp_hidden_size: vec![6, 5],
            ..NeuMfConfig::default()
        };
        let device = Device::flex();
        device.seed(5);
        let model = config.init([3, 4], &device).unwrap();
        (config, model)
    }

    #[test]
    fn all_items_at_once_are_the_forward_pass() {
        let (config, model) = tiny();
        let device = Device::flex();
        let recommender = NeuMfRecommender::new(&model);
        let query = |user| Query {
            user: Some(user),
            history: &[],
        };
        let scores = recommender.scores(&[query(2), query(0)]).unwrap();
        let users = Tensor::<1, Int>::from_data([2, 2, 2, 2, 0, 0, 0, 0], &device);
        let items = Tensor::<1, Int>::from_data([0, 1, 2, 3, 0, 1, 2, 3], &device);
        let forward = host::to_vec(model.forward(users, items)).unwrap();
        assert!(
            scores
                .iter()
                .zip(&forward)
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        recommender.save(&path).unwrap();
        let again = NeuMfRecommender::load(&config, [3, 4], &path, &device).unwrap();
        assert_eq!(again.scores(&[query(2), query(0)]).unwrap(), scores);
        assert_eq!(
            again.num_params(),
            (3 + 4) * 7 + 8 * 6 + 6 + 6 * 5 + 5 + 8 + 1
        );
        assert!(NeuMfRecommender::load(&config, [3, 5], &path, &device).is_err());
    }

    #[test]
    fn a_new_user_gets_what_goes_with_the_history() {
        let device = Device::flex();
        device.seed(7);
        let config = NeuMfConfig {
            mlp_hidden_size: vec![8],
            ..tiny().0
        };
        let mut model = config.init([3, 6], &device).unwrap();
        // Items 0 to 2 have one direction, 3 to 5 the other; the factorisation alone decides.
        let table: Vec<f32> = (0..6)
            .flat_map(|item| [if item < 3 { 1.0 } else { -1.0 }; 3])
            .collect();
        let tensor = |values: Vec<f32>, shape: [usize; 2]| {
            Param::from_tensor(Tensor::<2>::from_data(
                TensorData::new(values, shape),
                &device,
            ))
        };
        model.item_mf_embedding.weight = tensor(table, [6, 3]);
        model.predict_layer.weight = tensor([vec![1.0; 3], vec![0.0; 8]].concat(), [11, 1]);
        let recommender = NeuMfRecommender::new(&model);
        let scores = recommender
            .scores(&[Query::cold(&[0, 1]), Query::cold(&[5])])
            .unwrap();
        assert!(
            scores[2] > scores[3] + 0.5 && scores[6] < scores[10] - 0.5,
            "{scores:?}"
        );
        assert_eq!(
            recommender.scores(&[Query::cold(&[0, 1])]).unwrap(),
            scores[..6]
        );
        assert!(
            recommender
                .scores(&[Query::cold(&[0, 1, 2, 3, 4, 5])])
                .unwrap()
                .iter()
                .all(|s| s.is_finite())
        );
        assert!(
            recommender
                .scores(&[Query::cold(&[])])
                .unwrap()
                .iter()
                .all(|s| s.is_finite())
        );
    }

    #[test]
    fn strangers_and_bad_sizes_are_named() {
        let (config, model) = tiny();
        let recommender = NeuMfRecommender::new(&model);
        let error = |query| recommender.scores(&[query]).unwrap_err().to_string();
        assert!(error(Query::cold(&[4])).contains("below 4"));
        assert!(
            error(Query {
                user: Some(3),
                history: &[]
            })
            .contains("below 3")
        );
        assert!(recommender.similarities(4).is_err());
        assert_eq!(recommender.similarities(0).unwrap().len(), 4);
        for config in [
            NeuMfConfig {
                mf_embedding_size: 0,
                ..config.clone()
            },
            NeuMfConfig {
                mlp_hidden_size: vec![],
                ..config.clone()
            },
            NeuMfConfig {
                mlp_hidden_size: vec![4; 7],
                ..config.clone()
            },
            NeuMfConfig {
                dropout_prob: 1.0,
                ..config
            },
        ] {
            assert!(config.init([3, 4], &Device::flex()).is_err());
        }
    }
}
