//! Convolution, batch norm, activation.

use super::{Activation, Padding, init, ops};
use burn::{
    config::Config,
    module::{Module, Param},
    nn::{
        BatchNorm, BatchNormConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor},
};

/// Configuration of [`ConvNorm`].
#[derive(Config, Debug)]
pub struct ConvNormConfig {
    /// Input and output channels.
    pub channels: [usize; 2],
    /// Side of the square kernel.
    pub kernel_size: usize,
    /// Step in both directions.
    #[config(default = 1)]
    pub stride: usize,
    /// Spacing of the kernel's elements.
    #[config(default = 1)]
    pub dilation: usize,
    /// Groups; as many as channels for a depthwise convolution.
    #[config(default = 1)]
    pub groups: usize,
    /// How the input is padded.
    #[config(default = "Padding::Half")]
    pub padding: Padding,
    /// Whether the convolution has a bias of its own.
    #[config(default = false)]
    pub bias: bool,
    /// Added to the variance.
    #[config(default = 1e-5)]
    pub norm_eps: f64,
    /// Weight of the batch in the running statistics (PyTorch's convention).
    #[config(default = 0.1)]
    pub norm_momentum: f64,
    /// What follows the norm.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
}

/// Convolution, batch norm and activation: `activation(norm(conv(x)))`.
///
/// Should be created with [`ConvNormConfig`].
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution.
    pub conv: Conv2d,
    /// The norm; none after [`fold`](Self::fold).
    pub norm: Option<BatchNorm>,
    #[module(skip)]
    padding: Padding,
    #[module(skip)]
    activation: Activation,
}

impl ConvNormConfig {
    /// A block with He-normal weights (fan-out) and a norm that starts as the identity.
    pub fn init(&self, device: &Device) -> ConvNorm {
        let conv = Conv2dConfig::new(self.channels, [self.kernel_size; 2])
            .with_stride([self.stride; 2])
            .with_dilation([self.dilation; 2])
            .with_groups(self.groups)
            .with_bias(self.bias);
        let norm = BatchNormConfig::new(self.channels[1])
            .with_epsilon(self.norm_eps)
            .with_momentum(self.norm_momentum);
        ConvNorm {
            conv: init::conv2d(&conv, device),
            norm: Some(norm.init(device)),
            padding: self.padding,
            activation: self.activation,
        }
    }
}

impl ConvNorm {
    /// Applies the block.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ops::conv_norm_act(
            x,
            &self.conv,
            self.padding,
            self.norm.as_ref(),
            self.activation,
        )
    }

    /// Folds the norm's running statistics into the convolution's weight and bias.
    ///
    /// For inference only: the folded block neither trains as before nor has the published keys.
    #[must_use]
    pub fn fold(mut self) -> Self {
        let Some(norm) = self.norm.take() else {
            return self;
        };
        let (scale, shift) = ops::scale_shift(&norm);
        let [out_channels, ..] = self.conv.weight.dims();
        let bias = match self.conv.bias.take() {
            Some(bias) => bias.val() * scale.clone() + shift,
            None => shift,
        };
        let weight = self.conv.weight.val() * scale.reshape([out_channels, 1, 1, 1]);
        self.conv.weight = Param::from_tensor(weight);
        self.conv.bias = Some(Param::from_tensor(bias));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, TensorData};

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_into_vec_as().unwrap()
    }

    /// A block with statistics of its own, so that the norm is not the identity.
    fn block(config: ConvNormConfig, device: &Device) -> ConvNorm {
        let [_, out] = config.channels;
        let mut block = config.init(device);
        let draw = |low, high| Tensor::random([out], Distribution::Uniform(low, high), device);
        if let Some(norm) = block.norm.as_mut() {
            norm.gamma = Param::from_tensor(draw(0.5, 1.5));
            norm.beta = Param::from_tensor(draw(-0.5, 0.5));
            norm.running_mean.update(draw(-0.5, 0.5));
            norm.running_var.update(draw(0.5, 2.0));
            let _settled = (
                norm.running_mean.value_sync(),
                norm.running_var.value_sync(),
            );
        }
        block
    }

    #[test]
    fn folding_changes_nothing() {
        let device = Device::flex();
        device.seed(3);
        let plain = ConvNormConfig::new([4, 6], 3);
        let depthwise = ConvNormConfig::new([6, 6], 5)
            .with_groups(6)
            .with_stride(2)
            .with_padding(Padding::Same)
            .with_activation(Activation::Silu);
        let biased = ConvNormConfig::new([4, 8], 1)
            .with_bias(true)
            .with_norm_eps(1e-3);
        for config in [plain, depthwise, biased] {
            let mut block = block(config, &device);
            if let Some(bias) = block.conv.bias.as_mut() {
                *bias = Param::from_tensor(Tensor::random([8], Distribution::Default, &device));
            }
            let [_, inputs, ..] = block.conv.weight.dims();
            let shape = [2, inputs * block.conv.groups, 9, 8];
            let x = Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device);
            let unfolded = block.forward(x.clone());
            let folded = block.fold();
            assert!(folded.norm.is_none() && folded.conv.bias.is_some());
            let difference = (folded.forward(x) - unfolded.clone())
                .abs()
                .max()
                .into_scalar::<f32>();
            assert!(difference < 1e-5, "{difference}");
            assert!(unfolded.abs().max().into_scalar::<f32>() > 0.5);
        }
    }

    #[test]
    fn inference_uses_running_statistics_and_training_those_of_the_batch() {
        let device = Device::flex().autodiff();
        let config = ConvNormConfig::new([1, 1], 1).with_activation(Activation::Identity);
        let mut block = config.init(&device);
        block.conv.weight = Param::from_data(TensorData::from([[[[1.0_f32]]]]), &device);
        let input =
            |device: &Device| Tensor::<4>::from_floats([[[[1.0, 3.0], [5.0, 7.0]]]], device);
        // Batch mean 4, biased variance 5.
        let trained = values(block.forward(input(&device)));
        let expected = [-3.0, -1.0, 1.0, 3.0].map(|v: f32| v / (5.0_f32 + 1e-5).sqrt());
        for (a, b) in trained.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{trained:?}");
        }
        // Running mean 0.4; running variance 0.9 + 0.1 * 20 / 3, the unbiased one, as in PyTorch.
        let block = block.valid();
        let (mean, var) = (0.4_f32, 0.9_f32 + 2.0 / 3.0);
        for device in [Device::flex(), Device::flex().autodiff()] {
            let out = values(block.forward(input(&device)));
            for (a, x) in out.iter().zip([1.0, 3.0, 5.0, 7.0_f32]) {
                let b = (x - mean) / (var + 1e-5).sqrt();
                assert!((a - b).abs() < 1e-5, "{a} is not {b} on {device:?}");
            }
        }
    }

    #[test]
    fn same_padding_looks_at_the_bottom_right() {
        let device = Device::flex();
        let config = ConvNormConfig::new([1, 1], 3)
            .with_stride(2)
            .with_padding(Padding::Same);
        let mut block = config.with_activation(Activation::Identity).init(&device);
        block.conv.weight = Param::from_tensor(Tensor::ones([1, 1, 3, 3], &device));
        let x = Tensor::<4>::from_floats(
            [[[
                [1.0, 2.0, 3.0, 4.0],
                [5.0, 6.0, 7.0, 8.0],
                [9.0, 10.0, 11.0, 12.0],
                [13.0, 14.0, 15.0, 16.0],
            ]]],
            &device,
        );
        let out = values(block.fold().forward(x));
        // tf.nn.conv2d(.., strides=2, padding="SAME") with a kernel of ones.
        for (a, b) in out.iter().zip([54.0_f32, 45.0, 72.0, 54.0]) {
            assert!((a - b / (1.0_f32 + 1e-5).sqrt()).abs() < 1e-4, "{out:?}");
        }
    }
}
