//! The perceptrons of transformer blocks.

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
    /// How the layers start.
    #[config(default = "LinearInit::FanIn")]
    pub init: LinearInit,
    /// How the second layer starts; as `init` unless given.
    pub out_init: Option<LinearInit>,
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
            fc2: init::linear(
                [middle, hidden],
                self.bias,
                self.out_init.unwrap_or(self.init),
                device,
            ),
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

/// Configuration of [`GatedMlp`].
#[derive(Config, Debug)]
pub struct GatedMlpConfig {
    /// Features in and out.
    pub hidden_size: usize,
    /// Features between the layers.
    pub intermediate_size: usize,
    /// Of the gate.
    #[config(default = "Activation::Silu")]
    pub activation: Activation,
    /// Whether the layers have a bias.
    #[config(default = false)]
    pub bias: bool,
    /// How the layers start.
    #[config(default = "LinearInit::FanIn")]
    pub init: LinearInit,
}

/// `down(activation(gate(x)) * up(x))` (Shazeer, "GLU Variants Improve Transformer", 2020).
///
/// Should be created with [`GatedMlpConfig`].
#[derive(Module, Debug)]
pub struct GatedMlp {
    /// From `hidden_size` to `intermediate_size`, before the activation.
    pub gate: Linear,
    /// From `hidden_size` to `intermediate_size`.
    pub up: Linear,
    /// Back to `hidden_size`.
    pub down: Linear,
    #[module(skip)]
    activation: Activation,
}

impl GatedMlpConfig {
    /// A new block.
    pub fn init(&self, device: &Device) -> GatedMlp {
        let linear = |input, output| init::linear([input, output], self.bias, self.init, device);
        GatedMlp {
            gate: linear(self.hidden_size, self.intermediate_size),
            up: linear(self.hidden_size, self.intermediate_size),
            down: linear(self.intermediate_size, self.hidden_size),
            activation: self.activation,
        }
    }
}

impl GatedMlp {
    /// Applies the block to the last axis.
    ///
    /// # Shapes
    /// - input, output: `[.., hidden_size]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let gate = ops::linear_act(x.clone(), &self.gate, self.activation);
        let up = ops::linear_act(x, &self.up, Activation::Identity);
        ops::linear_act(gate * up, &self.down, Activation::Identity)
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

    #[test]
    fn a_gate_by_hand() {
        let device = Device::flex();
        let mut mlp = GatedMlpConfig::new(2, 1)
            .with_activation(Activation::Relu)
            .init(&device);
        let weight = |values| Param::from_tensor(Tensor::<2>::from_floats(values, &device));
        mlp.gate.weight = weight([[2.0], [-1.0]]);
        mlp.up.weight = weight([[1.0], [3.0]]);
        mlp.down.weight = Param::from_tensor(Tensor::from_floats([[1.0, -2.0]], &device));
        let x = Tensor::<2>::from_floats([[1.0, 1.0], [0.0, 5.0]], &device);
        let out: Vec<f32> = mlp.forward(x).into_data().try_into_vec_as().unwrap();
        assert_eq!(out, [4.0, -8.0, 0.0, 0.0]);
    }
}
