//! A variational autoencoder (Kingma and Welling, 2014; beta and capacity of Burgess et al., 2018).
//!
//! Reference: `pyod.models.vae.VAE` of PyOD 3.6.7: the same layers, start and loss. As there, the Kullback-Leibler term is
//! clamped to `capacity`, whose default of 0 leaves the reconstruction error alone. PyOD draws the latent code in scoring
//! too, so that its scores change from call to call; here a row is scored by the mean of its code.

use super::network::{LinearBlock, Network, blocks};
use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Distribution, Tensor},
};
use panoply_core::{
    fit::{StepOutput, Trainable},
    nn::{Activation, LinearInit, linear, ops},
    weights::KeyMap,
};
use serde::{Deserialize, Serialize};

/// Bounds of the latent log-variance, as in PyOD.
const LOGVAR_CLIP: (f64, f64) = (-30.0, 20.0);

/// Settings; the defaults are PyOD's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaeConfig {
    /// Widths of the encoder's layers.
    pub encoder_neurons: Vec<usize>,
    /// Widths of the decoder's layers.
    pub decoder_neurons: Vec<usize>,
    /// Width of the latent code.
    pub latent_dim: usize,
    /// Weight of the Kullback-Leibler term.
    pub beta: f64,
    /// Upper bound of the Kullback-Leibler term.
    pub capacity: f64,
    /// Dropout in the hidden layers.
    pub dropout_rate: f64,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            encoder_neurons: vec![128, 64, 32],
            decoder_neurons: vec![32, 64, 128],
            latent_dim: 2,
            beta: 1.0,
            capacity: 0.0,
            dropout_rate: 0.2,
        }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Vae {
    /// To the layer before the code.
    pub encoder: Vec<LinearBlock>,
    /// Means of the code.
    pub encoder_mu: Linear,
    /// Logarithms of its variances.
    pub encoder_logvar: Linear,
    /// From the code; the last block has no activation.
    pub decoder: Vec<LinearBlock>,
    #[module(skip)]
    beta: f64,
    #[module(skip)]
    capacity: f64,
}

impl VaeConfig {
    /// A new network for rows of `num_features`.
    pub fn init(&self, num_features: usize, device: &Device) -> Vae {
        let mut down = vec![num_features];
        down.extend(&self.encoder_neurons);
        let mut up = vec![self.latent_dim];
        up.extend(&self.decoder_neurons);
        let (narrow, wide) = (down[down.len() - 1], up[up.len() - 1]);
        let code = || linear([narrow, self.latent_dim], true, LinearInit::FanIn, device);
        let mut decoder = blocks(&up, false, self.dropout_rate, device);
        let last = [wide, num_features];
        decoder.push(LinearBlock::new(
            last,
            Activation::Identity,
            false,
            0.0,
            device,
        ));
        Vae {
            encoder: blocks(&down, false, self.dropout_rate, device),
            encoder_mu: code(),
            encoder_logvar: code(),
            decoder,
            beta: self.beta,
            capacity: self.capacity,
        }
    }
}

impl Vae {
    /// Mean and log-variance of the code.
    ///
    /// # Shapes
    /// - `x`: `[rows, features]`
    /// - output: `[rows, latent_dim]`, twice
    pub fn encode(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let hidden = self.encoder.iter().fold(x, |x, block| block.forward(x));
        let mean = ops::linear_act(hidden.clone(), &self.encoder_mu, Activation::Identity);
        let log_variance = ops::linear_act(hidden, &self.encoder_logvar, Activation::Identity);
        (mean, log_variance.clamp(LOGVAR_CLIP.0, LOGVAR_CLIP.1))
    }

    /// # Shapes
    /// - `code`: `[rows, latent_dim]`
    /// - output: `[rows, features]`
    pub fn decode(&self, code: Tensor<2>) -> Tensor<2> {
        self.decoder.iter().fold(code, |x, block| block.forward(x))
    }
}

impl Trainable for Vae {
    type Batch = Tensor<2>;

    fn loss(&self, batch: Tensor<2>) -> StepOutput {
        let num_samples = batch.dims()[0];
        let (mean, log_variance) = self.encode(batch.clone());
        // The device's generator, which the loop seeds anew before every step.
        let noise = Tensor::random(mean.dims(), Distribution::Normal(0.0, 1.0), &batch.device());
        let code = mean.clone() + noise * log_variance.clone().mul_scalar(0.5).exp();
        let error = (self.decode(code) - batch).powi_scalar(2).mean();
        let divergence = log_variance.clone() + 1.0 - mean.powi_scalar(2) - log_variance.exp();
        let divergence = divergence.sum_dim(1).mean().mul_scalar(-0.5);
        let divergence = divergence.clamp(0.0, self.capacity);
        StepOutput {
            loss: error + divergence.mul_scalar(self.beta),
            num_samples,
            metrics: Vec::new(),
        }
    }
}

impl Network for Vae {
    const LOSS: (&'static str, &'static str) = (
        "negative evidence lower bound",
        "mean (x - reconstruction)^2 + beta * min(KL(code | N(0, 1)), capacity)",
    );
    const KEY_MAP: KeyMap = KeyMap::IDENTITY;
    const RECONSTRUCTS: bool = true;

    fn errors(&self, x: Tensor<2>, see: &mut dyn FnMut(&str, &Tensor<2>)) -> Tensor<2> {
        let (mean, log_variance) = self.encode(x.clone());
        see("code", &mean);
        see("log-variance", &log_variance);
        let output = self.decode(mean);
        see("reconstruction", &output);
        (output - x).powi_scalar(2)
    }
}
