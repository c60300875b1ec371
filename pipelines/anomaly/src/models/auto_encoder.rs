//! An autoencoder: what it cannot reconstruct is unlike what it was trained on (Hinton and Salakhutdinov, 2006).
//!
//! Reference: `pyod.models.auto_encoder.AutoEncoder` of PyOD 3.6.7: the same layers, start, loss and score, the Euclidean
//! distance of a row to its reconstruction. It is meant for standardised columns, as PyOD standardises them itself. PyOD
//! trains by Adam with the weight decay in the gradient, the loop here by AdamW. The key map is that of two hidden layers,
//! PyOD's default; of other depths the last layer keeps the name `output`.

use super::network::{LinearBlock, Network, blocks};
use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor},
};
use panoply_core::{
    fit::{StepOutput, Trainable},
    nn::{Activation, LinearInit, linear, ops},
    weights::KeyMap,
};
use serde::{Deserialize, Serialize};

/// Settings; the defaults are PyOD's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoEncoderConfig {
    /// Widths of the encoder's layers; the decoder's are the same backwards.
    pub hidden_neurons: Vec<usize>,
    /// Batch norm in the hidden layers.
    pub batch_norm: bool,
    /// Dropout in the hidden layers.
    pub dropout_rate: f64,
}

impl Default for AutoEncoderConfig {
    fn default() -> Self {
        Self {
            hidden_neurons: vec![64, 32],
            batch_norm: true,
            dropout_rate: 0.2,
        }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct AutoEncoder {
    /// To the narrowest layer.
    pub encoder: Vec<LinearBlock>,
    /// Back, up to the last layer.
    pub decoder: Vec<LinearBlock>,
    /// The last layer.
    pub output: Linear,
}

impl AutoEncoderConfig {
    /// A new network for rows of `num_features`.
    pub fn init(&self, num_features: usize, device: &Device) -> AutoEncoder {
        let (norm, dropout) = (self.batch_norm, self.dropout_rate);
        let mut widths = vec![num_features];
        widths.extend(&self.hidden_neurons);
        let back: Vec<usize> = widths[1..].iter().rev().copied().collect();
        let last = back.last().copied().unwrap_or(num_features);
        AutoEncoder {
            encoder: blocks(&widths, norm, dropout, device),
            decoder: blocks(&back, norm, dropout, device),
            output: linear([last, num_features], true, LinearInit::FanIn, device),
        }
    }
}

impl AutoEncoder {
    /// # Shapes
    /// - `x`, output: `[rows, features]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.walk(x, &mut |_, _| {})
    }

    fn walk(&self, x: Tensor<2>, see: &mut dyn FnMut(&str, &Tensor<2>)) -> Tensor<2> {
        let code = self.encoder.iter().fold(x, |x, block| block.forward(x));
        see("code", &code);
        let hidden = self.decoder.iter().fold(code, |x, block| block.forward(x));
        see("decoder", &hidden);
        let output = ops::linear_act(hidden, &self.output, Activation::Identity);
        see("reconstruction", &output);
        output
    }
}

impl Trainable for AutoEncoder {
    type Batch = Tensor<2>;

    fn loss(&self, batch: Tensor<2>) -> StepOutput {
        let num_samples = batch.dims()[0];
        let error = self.forward(batch.clone()) - batch;
        StepOutput {
            loss: error.powi_scalar(2).mean(),
            num_samples,
            metrics: Vec::new(),
        }
    }
}

impl Network for AutoEncoder {
    const LOSS: (&'static str, &'static str) = (
        "mean squared error",
        "mean over rows and numbers of (x - reconstruction)^2",
    );
    const KEY_MAP: KeyMap = KeyMap {
        renames: &[
            ("decoder.1.weight", "output.weight"),
            ("decoder.1.bias", "output.bias"),
        ],
        dropped: &["**.num_batches_tracked"],
        ..KeyMap::IDENTITY
    };
    const RECONSTRUCTS: bool = true;

    fn errors(&self, x: Tensor<2>, see: &mut dyn FnMut(&str, &Tensor<2>)) -> Tensor<2> {
        (self.walk(x.clone(), see) - x).powi_scalar(2)
    }
}
