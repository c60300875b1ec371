//! The two-layer perceptron of transformer blocks.

use super::{Activation, LinearInit, init, ops};
use burn::{
    config::Config,
    module::Module,
    nn::{Dropout, DropoutConfig, Linear},
    tensor::{Device, Tensor},
};

/// Configuration of [`Mlp`].
#[derive(Config, Debug)]
pub struct MlpConfig {
    /// Features in and out.
    pub hidden_size: usize,
    /// Features between the two layers.
    pub intermediate_size: usize,
    /// Between the two layers.
    #[config(default = "Activation::Gelu")]
    pub activation: Activation,
    /// Whether both layers have a bias.
    #[config(default = true)]
    pub bias: bool,
    /// Dropout after the second layer, in `[0, 1)`.
    #[config(default = 0.0)]
    pub dropout: f64,
    /// How both layers start.
    #[config(default = "LinearInit::FanIn")]
    pub init: LinearInit,
}

/// `dropout(fc2(activation(fc1(x))))`.
///
/// Should be created with [`MlpConfig`].
#[derive(Module, Debug)]
pub struct Mlp {
    /// From `hidden_size` to `intermediate_size`.
    pub fc1: Linear,
    /// Back to `hidden_size`.
    pub fc2: Linear,
    /// Acts in training only.
    pub dropout: Dropout,
    #[module(skip)]
    activation: Activation,
}

impl MlpConfig {
    /// A new block.
    pub fn init(&self, device: &Device) -> Mlp {
        let (hidden, middle) = (self.hidden_size, self.intermediate_size);
        Mlp {
            fc1: init::linear([hidden, middle], self.bias, self.init, device),
            fc2: init::linear([middle, hidden], self.bias, self.init, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            activation: self.activation,
        }
    }
}

impl Mlp {
    /// Applies the block to the last axis.
    ///
    /// # Shapes
    /// - input, output: `[.., hidden_size]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let x = ops::linear_act(x, &self.fc1, self.activation);
        self.dropout
            .forward(ops::linear_act(x, &self.fc2, Activation::Identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;

    #[test]
    fn two_layers_by_hand() {
        let device = Device::flex();
        let mut mlp = MlpConfig::new(2, 1)
            .with_activation(Activation::Relu)
            .with_bias(false)
            .init(&device);
        mlp.fc1.weight = Param::from_tensor(Tensor::from_floats([[2.0], [-1.0]], &device));
        mlp.fc2.weight = Param::from_tensor(Tensor::from_floats([[1.0, -3.0]], &device));
        let x = Tensor::<3>::from_floats([[[1.0, 1.0], [0.0, 5.0]]], &device);
        let out: Vec<f32> = mlp.forward(x).into_data().try_into_vec_as().unwrap();
        assert_eq!(out, [1.0, -3.0, 0.0, 0.0]);
    }
}
