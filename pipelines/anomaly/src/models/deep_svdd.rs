//! Deep support vector data description: a network that maps normal rows near one point (Ruff et al., 2018).
//!
//! Reference: `pyod.models.deep_svdd.DeepSVDD` of PyOD 3.6.7 without its autoencoder: layers without biases, the centre that
//! the untrained network gives, the squared distance to it as loss and score. Differences: PyOD adds 1e-6 times the norms of
//! the weights to the loss, and trains by Adam with the weight decay in the gradient, the loop here by AdamW.

use super::network::Network;
use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig, Linear},
    tensor::{Device, Tensor, TensorData},
};
use panoply_core::{
    Error, Result,
    fit::{StepOutput, Trainable},
    host,
    nn::{Activation, LinearInit, linear, ops},
    weights::KeyMap,
};
use serde::{Deserialize, Serialize};

/// The centre keeps this distance from 0, where a network without biases could put everything.
const EPS: f32 = 0.1;

/// Settings; the defaults are PyOD's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepSvddConfig {
    /// Widths of the layers, two or more.
    pub hidden_neurons: Vec<usize>,
    /// Dropout between hidden layers.
    pub dropout_rate: f64,
    /// The centre; found by the training, empty before.
    pub center: Vec<f32>,
}

impl Default for DeepSvddConfig {
    fn default() -> Self {
        Self {
            hidden_neurons: vec![64, 32],
            dropout_rate: 0.2,
            center: Vec::new(),
        }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct DeepSvdd {
    /// Each followed by a ReLU, all but the first and the last by dropout.
    pub layers: Vec<Linear>,
    /// Acts in training only.
    pub dropout: Dropout,
    #[module(skip)]
    center: Vec<f32>,
}

impl DeepSvddConfig {
    /// A new network for rows of `num_features`.
    ///
    /// # Errors
    /// Fewer than two layers; a centre of another width than the last.
    pub fn init(&self, num_features: usize, device: &Device) -> Result<DeepSvdd> {
        let wrong = |name: &str, value: usize, expected: &str| {
            Error::input(format!("deep_svdd.{name}"), value.to_string(), expected)
        };
        let count = self.hidden_neurons.len();
        let last = self.hidden_neurons.last().copied().unwrap_or_default();
        if count < 2 {
            return Err(wrong("hidden_neurons", count, "two layers or more"));
        }
        if !self.center.is_empty() && self.center.len() != last {
            return Err(wrong(
                "center",
                self.center.len(),
                "as many numbers as the last layer is wide",
            ));
        }
        let mut widths = vec![num_features];
        widths.extend(&self.hidden_neurons);
        let layer = |pair: &[usize]| linear([pair[0], pair[1]], false, LinearInit::FanIn, device);
        Ok(DeepSvdd {
            layers: widths.windows(2).map(layer).collect(),
            dropout: DropoutConfig::new(self.dropout_rate).init(),
            center: self.center.clone(),
        })
    }
}

impl DeepSvdd {
    /// With the mean of what this network makes of `x` as its centre, entries near 0 pushed away from it.
    ///
    /// # Errors
    /// The device fails.
    pub fn centred(self, x: Tensor<2>) -> Result<Self> {
        let mean = host::to_vec(self.forward(x).mean_dim(0))?;
        let pushed = |&c: &f32| {
            if c == 0.0 {
                0.0
            } else {
                c.signum() * c.abs().max(EPS)
            }
        };
        Ok(Self {
            center: mean.iter().map(pushed).collect(),
            ..self
        })
    }

    /// The centre, to be kept with the model.
    pub fn center(&self) -> &[f32] {
        &self.center
    }

    /// # Shapes
    /// - `x`: `[rows, features]`
    /// - output: `[rows, hidden_neurons.last()]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len() - 1;
        let each = self.layers.iter().enumerate();
        each.fold(x, |x, (at, layer)| {
            let x = ops::linear_act(x, layer, Activation::Relu);
            if at == 0 || at == last {
                x
            } else {
                self.dropout.forward(x)
            }
        })
    }

    fn away(&self, x: Tensor<2>, see: &mut dyn FnMut(&str, &Tensor<2>)) -> Tensor<2> {
        let device = x.device();
        let output = self.forward(x);
        see("embedding", &output);
        let center = TensorData::new(self.center.clone(), [1, self.center.len()]);
        (output - Tensor::from_data(center, &device)).powi_scalar(2)
    }
}

impl Trainable for DeepSvdd {
    type Batch = Tensor<2>;

    fn loss(&self, batch: Tensor<2>) -> StepOutput {
        let num_samples = batch.dims()[0];
        StepOutput {
            loss: self.away(batch, &mut |_, _| {}).sum_dim(1).mean(),
            num_samples,
            metrics: Vec::new(),
        }
    }
}

impl Network for DeepSvdd {
    const LOSS: (&'static str, &'static str) = (
        "distance to the centre",
        "mean over rows of |network(x) - c|^2",
    );
    const KEY_MAP: KeyMap = KeyMap::IDENTITY;
    const RECONSTRUCTS: bool = false;

    fn errors(&self, x: Tensor<2>, see: &mut dyn FnMut(&str, &Tensor<2>)) -> Tensor<2> {
        self.away(x, see)
    }
}
