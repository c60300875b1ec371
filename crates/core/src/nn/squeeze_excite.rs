//! Squeeze-and-excitation.

use super::{Activation, Padding, init, ops};
use burn::{
    config::Config,
    module::Module,
    nn::conv::{Conv2d, Conv2dConfig},
    tensor::{Device, Tensor},
};

/// Configuration of [`SqueezeExcite`].
#[derive(Config, Debug)]
pub struct SqueezeExciteConfig {
    /// Channels in and out.
    pub channels: usize,
    /// Channels between the two layers.
    pub squeeze_channels: usize,
    /// Between the two layers.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
    /// After the second layer.
    #[config(default = "Activation::Sigmoid")]
    pub gate: Activation,
}

/// Channel attention (Hu et al., "Squeeze-and-Excitation Networks", 2018), laid out as
/// torchvision's `SqueezeExcitation`: `x * gate(fc2(activation(fc1(mean(x)))))`, both layers 1x1
/// convolutions.
///
/// Should be created with [`SqueezeExciteConfig`].
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    /// From `channels` to `squeeze_channels`.
    pub fc1: Conv2d,
    /// Back to `channels`.
    pub fc2: Conv2d,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    gate: Activation,
}

impl SqueezeExciteConfig {
    /// A block with He-normal weights and zero biases.
    pub fn init(&self, device: &Device) -> SqueezeExcite {
        let conv = |channels| init::conv2d(&Conv2dConfig::new(channels, [1, 1]), device);
        SqueezeExcite {
            fc1: conv([self.channels, self.squeeze_channels]),
            fc2: conv([self.squeeze_channels, self.channels]),
            activation: self.activation,
            gate: self.gate,
        }
    }
}

impl SqueezeExcite {
    /// Scales each channel.
    ///
    /// # Shapes
    /// - input, output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, ..] = x.dims();
        let scale = ops::global_avg_pool(x.clone()).reshape([batch, channels, 1, 1]);
        let scale = ops::conv_norm_act(scale, &self.fc1, Padding::Half, None, self.activation);
        let scale = ops::conv_norm_act(scale, &self.fc2, Padding::Half, None, self.gate);
        x * scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;

    #[test]
    fn scales_by_the_gate_of_the_channel_means() {
        let device = Device::flex();
        let mut block = SqueezeExciteConfig::new(2, 1).init(&device);
        block.fc1.weight = Param::from_tensor(Tensor::from_floats([[[[1.0]], [[0.5]]]], &device));
        block.fc2.weight =
            Param::from_tensor(Tensor::from_floats([[[[1.0]]], [[[-1.0]]]], &device));
        let x = Tensor::<4>::from_floats([[[[1.0, 3.0]], [[4.0, 0.0]]]], &device);
        let out: Vec<f32> = block.forward(x).into_data().try_into_vec_as().unwrap();
        // Means 2 and 2; squeezed 2 + 1 = 3; gates sigmoid(3) and sigmoid(-3).
        let gate = 1.0 / (1.0 + (-3.0_f32).exp());
        let expected = [gate, 3.0 * gate, 4.0 * (1.0 - gate), 0.0];
        assert!(
            out.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{out:?}"
        );
    }
}
