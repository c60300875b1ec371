//! LightGCN (He, Deng, Wang, Li, Zhang and Wang, 2020): vectors spread along the graph of who has what.
//!
//! A layer replaces each vector by the weighted sum of its neighbours' vectors, 1 / √(degree of the one * degree of the
//! other) each; there is nothing else in it to learn. What scores are made of is the mean over the vectors themselves and
//! what each layer made of them. Layout, initial values and loss (BPR, and the norms of the batch's own vectors) are those
//! of RecBole 1.2.1's `LightGCN`, whose tables have a row 0 for padding more. RecBole adds 1e-7 to each degree.
//!
//! A new user is a node that the trained graph does not know: its vector is what the layers would bring to it from its
//! items, its own start being zero.

mod graph;

pub use graph::Graph;

use super::{
    Query, Recommender,
    bpr::{FOLD_IN, bpr_loss, rows, scalar_products},
    check_items, check_user,
    factors::Factors,
};
use crate::preprocess::PairBatch;
use burn::{
    module::{Module, Param},
    nn::{Embedding, EmbeddingConfig, Initializer},
    tensor::{Device, Int, Tensor, TensorData},
};
use panoply_core::{
    Error, Result,
    fit::{StepOutput, Trainable},
    host,
    weights::Arrays,
};
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};

/// Sizes of [`LightGcn`], and the weight of its penalty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LightGcnConfig {
    /// Numbers of a vector. Default 64.
    pub embedding_size: usize,
    /// Layers. Default 2.
    pub n_layers: usize,
    /// Weight of the penalty on the batch's vectors. Default 1e-5.
    pub reg_weight: f64,
    /// Whether the penalty is half the square of the norms, as in the paper, instead of the norms. Default false.
    pub require_pow: bool,
}

impl Default for LightGcnConfig {
    fn default() -> Self {
        Self {
            embedding_size: 64,
            n_layers: 2,
            reg_weight: 1e-5,
            require_pow: false,
        }
    }
}

impl LightGcnConfig {
    /// Fresh vectors for the nodes of `graph`.
    ///
    /// # Errors
    /// Vectors without numbers; a penalty that is no number from 0 on.
    pub fn init(&self, graph: Arc<Graph>, device: &Device) -> Result<LightGcn> {
        if self.embedding_size == 0 {
            return Err(Error::input("model.embedding_size", "0", "at least 1"));
        }
        if !self.reg_weight.is_finite() || self.reg_weight < 0.0 {
            let found = self.reg_weight.to_string();
            return Err(Error::input("model.reg_weight", found, "0 or more"));
        }
        let table = |count| xavier_uniform(count, self.embedding_size, device);
        Ok(LightGcn {
            user_embedding: table(graph.num_users()),
            item_embedding: table(graph.num_items()),
            graph,
            n_layers: self.n_layers,
            reg_weight: self.reg_weight,
            require_pow: self.require_pow,
        })
    }
}

/// A table whose values are uniform within √(6 / (rows + features)): `torch.nn.init.xavier_uniform_`.
fn xavier_uniform(rows: usize, features: usize, device: &Device) -> Embedding {
    let max = (6.0 / (rows + features) as f64).sqrt();
    EmbeddingConfig::new(rows, features)
        .with_initializer(Initializer::Uniform { min: -max, max })
        .init(device)
}

/// Vectors of users and items, and the graph between them.
#[derive(Module, Debug)]
pub struct LightGcn {
    /// `[users, embedding_size]`.
    pub user_embedding: Embedding,
    /// `[items, embedding_size]`.
    pub item_embedding: Embedding,
    #[module(skip)]
    graph: Arc<Graph>,
    n_layers: usize,
    reg_weight: f64,
    require_pow: bool,
}

impl LightGcn {
    /// The vectors of users and items, one below the other, after they were spread: `[users + items, embedding_size]`.
    pub fn forward(&self) -> Tensor<2> {
        let start = self.start();
        let device = start.device();
        let dims = start.dims();
        Tensor::from_data(TensorData::new(self.spread(values(start)), dims), &device)
    }

    /// The learned vectors, `[users + items, embedding_size]`.
    fn start(&self) -> Tensor<2> {
        let tables = [&self.user_embedding, &self.item_embedding];
        Tensor::cat(tables.map(|table| table.weight.val()).to_vec(), 0)
    }

    fn spread(&self, vectors: Vec<f32>) -> Vec<f32> {
        let [_, dim] = self.user_embedding.weight.dims();
        self.graph.propagate(&vectors, dim, self.n_layers)
    }

    /// BPR of the scores that the spread vectors `[users + items, dim]` give.
    fn ranking_loss(&self, vectors: &Tensor<2>, batch: &PairBatch) -> Tensor<1> {
        let first_item = self.graph.num_users() as i64;
        let users = vectors.clone().select(0, batch.users.clone());
        let items = |items: &Tensor<1, Int>| vectors.clone().select(0, items.clone() + first_item);
        bpr_loss(
            scalar_products(users.clone(), items(&batch.positives)),
            scalar_products(users, items(&batch.negatives)),
        )
    }

    /// RecBole's `EmbLoss` over the batch's own vectors.
    fn penalty(&self, batch: &PairBatch) -> Tensor<1> {
        let parts = [
            rows(&self.user_embedding, batch.users.clone()),
            rows(&self.item_embedding, batch.positives.clone()),
            rows(&self.item_embedding, batch.negatives.clone()),
        ];
        let size = batch.len() as f64;
        let [users, positives, negatives] = parts.map(|part| {
            let square = part.square().sum();
            if self.require_pow {
                square / 2.0
            } else {
                square.sqrt()
            }
        });
        (users + positives + negatives) / size
    }
}

/// The values of a tensor, whatever device it is on.
fn values(tensor: Tensor<2>) -> Vec<f32> {
    host::to_vec(tensor).expect("a device gives the values of a table that it holds")
}

/// `loss(map(x))` for a symmetric linear `map` over values on the host.
///
/// The gradient of the loss at `x` is `map` of its gradient at `map(x)`. So the loss is taken over a tensor that begins
/// there, its gradient is mapped, and the result leads it on to `x` as the gradient of a scalar product. No backend needs
/// an operation for it.
fn loss_after(
    x: Tensor<2>,
    map: impl Fn(Vec<f32>) -> Vec<f32>,
    loss: impl FnOnce(&Tensor<2>) -> Tensor<1>,
) -> Tensor<1> {
    let (device, dims) = (x.device(), x.dims());
    let mapped = |tensor: Tensor<2>| TensorData::new(map(values(tensor)), dims);
    if !device.is_autodiff() {
        return loss(&Tensor::from_data(mapped(x), &device));
    }
    let inner = x.clone().inner();
    let start = Tensor::<2>::from_data(mapped(inner), &device).require_grad();
    let value = loss(&start);
    let grads = value.backward();
    let Some(grad) = start.grad(&grads) else {
        return value.detach();
    };
    let pulled = Tensor::from_data(mapped(grad), &device);
    let lead = (x * pulled).sum();
    // The value of the loss, bit for bit, and the gradient of the scalar product.
    lead.clone() - lead.detach() + value.detach()
}

impl Trainable for LightGcn {
    type Batch = PairBatch;

    fn loss(&self, batch: PairBatch) -> StepOutput {
        let ranking = loss_after(
            self.start(),
            |vectors| self.spread(vectors),
            |spread| self.ranking_loss(spread, &batch),
        );
        StepOutput {
            loss: ranking + self.penalty(&batch).mul_scalar(self.reg_weight),
            num_samples: batch.len(),
            metrics: Vec::new(),
        }
    }
}

/// A trained [`LightGcn`] that scores all items.
pub struct LightGcnRecommender {
    model: LightGcn,
    /// The spread vectors.
    factors: Factors,
    /// What an item brings to a user that has it, before the user's norm: `[items, dim]`.
    brought: Vec<f32>,
    dim: usize,
}

impl LightGcnRecommender {
    const USERS: &'static str = "user_embedding.weight";
    const ITEMS: &'static str = "item_embedding.weight";
    const DEGREES: &'static str = "graph.degrees";
    const NEIGHBOURS: &'static str = "graph.items";

    /// The recommender of a trained model.
    ///
    /// # Errors
    /// What the device says when it is read.
    pub fn new(model: &LightGcn) -> Result<Self> {
        let model = model.valid();
        let (graph, n_layers) = (&model.graph, model.n_layers);
        let [_, dim] = model.user_embedding.weight.dims();
        let start = host::to_vec(model.start())?;
        let split = graph.num_users() * dim;
        let spread = graph.propagate(&start, dim, n_layers);
        let factors = Factors::new(
            dim,
            spread[..split].to_vec(),
            spread[split..].to_vec(),
            FOLD_IN,
        );
        let mut brought = vec![0.0; graph.num_items() * dim];
        if n_layers > 0 {
            // The mean over the layers before the last is n / (n + 1) of what reaches a user in the mean.
            let before = graph.propagate(&start, dim, n_layers - 1);
            let share = n_layers as f32 / (n_layers + 1) as f32;
            let vectors = before[split..].chunks(dim).zip(graph.item_norms());
            for (out, (vector, norm)) in brought.chunks_mut(dim).zip(vectors) {
                out.iter_mut()
                    .zip(vector)
                    .for_each(|(out, value)| *out = share * norm * value);
            }
        }
        Ok(Self {
            model,
            factors,
            brought,
            dim,
        })
    }

    /// The recommender out of the file that [`save`](Recommender::save) wrote.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn load(
        config: &LightGcnConfig,
        [num_users, num_items]: [usize; 2],
        path: &Path,
        device: &Device,
    ) -> Result<Self> {
        let mut arrays = Arrays::load(path)?;
        let dim = config.embedding_size;
        let users: Vec<f32> = arrays.take_shaped(Self::USERS, [num_users, dim])?;
        let items: Vec<f32> = arrays.take_shaped(Self::ITEMS, [num_items, dim])?;
        let degrees: Vec<i64> = arrays.take_shaped(Self::DEGREES, [num_users])?;
        let (_, neighbours) = arrays.take::<i64, 1>(Self::NEIGHBOURS)?;
        arrays.finish()?;
        let graph = Graph::from_lists(&degrees, &neighbours, num_items).ok_or_else(|| {
            let expected = format!("as many items as the degrees say, each below {num_items}");
            let location = path.display().to_string();
            Error::input(location, "a graph that does not fit", expected)
        })?;
        let mut model = config.init(Arc::new(graph), device)?;
        let table = |values, rows| Tensor::from_data(TensorData::new(values, [rows, dim]), device);
        model.user_embedding.weight = Param::from_tensor(table(users, num_users));
        model.item_embedding.weight = Param::from_tensor(table(items, num_items));
        Self::new(&model)
    }

    /// The vector that the items of a new user bring to it.
    fn fold_in(&self, history: &[u32]) -> Result<Vec<f32>> {
        check_items(history, self.num_items())?;
        let norm = 1.0 / (history.len().max(1) as f32).sqrt();
        let mut vector = vec![0.0; self.dim];
        for &item in history {
            let start = item as usize * self.dim;
            let brought = &self.brought[start..start + self.dim];
            vector
                .iter_mut()
                .zip(brought)
                .for_each(|(sum, value)| *sum += norm * value);
        }
        Ok(vector)
    }
}

impl Recommender for LightGcnRecommender {
    fn num_items(&self) -> usize {
        self.model.graph.num_items()
    }

    fn scores(&self, queries: &[Query<'_>]) -> Result<Vec<f32>> {
        let vectors: Result<Vec<Vec<f32>>> = queries
            .iter()
            .map(|query| match query.user {
                Some(user) => {
                    check_user(user, self.model.graph.num_users())?;
                    let start = user as usize * self.dim;
                    Ok(self.factors.users()[start..start + self.dim].to_vec())
                }
                None => self.fold_in(query.history),
            })
            .collect();
        Ok(self.factors.products(&vectors?.concat()))
    }

    fn similarities(&self, item: u32) -> Result<Vec<f32>> {
        self.factors.similarities(item)
    }

    fn is_history_based(&self) -> bool {
        false
    }

    fn num_params(&self) -> usize {
        self.factors.num_params()
    }

    /// The learned vectors under RecBole's names, and the graph, which RecBole makes anew of its data.
    fn save(&self, path: &Path) -> Result<()> {
        let (model, graph) = (&self.model, &self.model.graph);
        let mut arrays = Arrays::default();
        for (name, table) in [
            (Self::USERS, &model.user_embedding),
            (Self::ITEMS, &model.item_embedding),
        ] {
            arrays.put(name, table.weight.dims(), host::to_vec(table.weight.val())?);
        }
        let [degrees, items] = graph.lists();
        arrays.put(Self::DEGREES, [degrees.len()], degrees);
        arrays.put(Self::NEIGHBOURS, [items.len()], items);
        arrays.save(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Pair;
    use panoply_datasets::interactions::Csr;

    fn graph() -> Arc<Graph> {
        Arc::new(Graph::new(
            &Csr::from_rows([vec![0, 1], vec![1], vec![1, 2]]),
            4,
        ))
    }

    /// The gradient that is led on by hand equals differences of the loss.
    #[test]
    fn the_gradient_reaches_the_vectors_through_the_graph() {
        let device = Device::flex();
        device.seed(2);
        let config = LightGcnConfig {
            embedding_size: 3,
            reg_weight: 0.1,
            ..LightGcnConfig::default()
        };
        let model = config.init(graph(), &device).unwrap();
        let pairs = [
            Pair {
                user: 0,
                positive: 1,
                negative: 2,
            },
            Pair {
                user: 2,
                positive: 2,
                negative: 0,
            },
        ];
        let trained = model.clone().fork(&device.clone().autodiff()).train();
        let step = trained.loss(PairBatch::new(&pairs, &device.clone().autodiff()));
        let plain = model.loss(PairBatch::new(&pairs, &device));
        let loss = |model: &LightGcn| {
            f64::from(values_of(model.loss(PairBatch::new(&pairs, &device)).loss))
        };
        assert_eq!(values_of(step.loss.clone().inner()), values_of(plain.loss));
        let grads = step.loss.backward();
        let grad = trained.item_embedding.weight.val().grad(&grads).unwrap();
        let grad = host::to_vec(grad).unwrap();
        let start = host::to_vec(model.item_embedding.weight.val()).unwrap();
        for at in 0..start.len() {
            let moved = |by: f32| {
                let mut values = start.clone();
                values[at] += by;
                let mut model = model.clone();
                let table = Tensor::from_data(TensorData::new(values, [4, 3]), &device);
                model.item_embedding.weight = Param::from_tensor(table);
                loss(&model)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!(
                (slope - f64::from(grad[at])).abs() < 1e-4,
                "{at}: {slope} {}",
                grad[at]
            );
        }
        // Item 3 has no user and is in no pair: nothing reaches it. Item 0 is a neighbour of what is.
        assert!(grad[9..].iter().all(|&g| g == 0.0) && grad[0] != 0.0);
    }

    fn values_of(loss: Tensor<1>) -> f32 {
        host::to_vec(loss).unwrap()[0]
    }

    #[test]
    fn a_folder_gives_the_same_scores_and_new_users_theirs() {
        let device = Device::flex();
        device.seed(3);
        let config = LightGcnConfig {
            embedding_size: 4,
            ..LightGcnConfig::default()
        };
        let model = config.init(graph(), &device).unwrap();
        let recommender = LightGcnRecommender::new(&model).unwrap();
        let queries = [
            Query {
                user: Some(2),
                history: &[],
            },
            Query::cold(&[1, 2]),
        ];
        let scores = recommender.scores(&queries).unwrap();
        let spread = host::to_vec(model.forward()).unwrap();
        let product = |a: usize, b: usize| {
            (0..4)
                .map(|i| spread[a * 4 + i] * spread[b * 4 + i])
                .sum::<f32>()
        };
        for (item, score) in scores.iter().take(4).enumerate() {
            assert!((score - product(2, 3 + item)).abs() < 1e-6);
        }
        // Where user 2 starts from zero, it is what a new user with the same items is.
        let mut zeroed = model.clone();
        let mut users = host::to_vec(model.user_embedding.weight.val()).unwrap();
        users[8..].fill(0.0);
        let table = Tensor::from_data(TensorData::new(users, [3, 4]), &device);
        zeroed.user_embedding.weight = Param::from_tensor(table);
        let folded = LightGcnRecommender::new(&zeroed)
            .unwrap()
            .fold_in(&[1, 2])
            .unwrap();
        let spread = host::to_vec(zeroed.forward()).unwrap();
        assert!(
            folded
                .iter()
                .zip(&spread[8..12])
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        recommender.save(&path).unwrap();
        let again = LightGcnRecommender::load(&config, [3, 4], &path, &device).unwrap();
        assert_eq!(again.scores(&queries).unwrap(), scores);
        assert!(LightGcnRecommender::load(&config, [2, 4], &path, &device).is_err());
        assert!(
            recommender
                .scores(&[Query {
                    user: Some(3),
                    history: &[]
                }])
                .is_err()
        );
        assert!(recommender.scores(&[Query::cold(&[4])]).is_err());
    }
}
