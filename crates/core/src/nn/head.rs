//! The classification head of convolutional networks.

use super::{Activation, LinearInit, init, ops};
use burn::{
    config::Config,
    module::Module,
    nn::{Dropout, DropoutConfig, Linear},
    tensor::{Device, Tensor},
};

/// Configuration of [`PoolHead`].
#[derive(Config, Debug)]
pub struct PoolHeadConfig {
    /// Channels of the feature map.
    pub in_features: usize,
    /// Number of logits.
    pub num_classes: usize,
    /// Dropout before the linear layer, in `[0, 1)`.
    #[config(default = 0.0)]
    pub dropout: f64,
    /// How the linear layer starts.
    #[config(default = "LinearInit::FanIn")]
    pub init: LinearInit,
}

/// Global average pooling, flattening, dropout and a linear layer.
///
/// Should be created with [`PoolHeadConfig`].
#[derive(Module, Debug)]
pub struct PoolHead {
    /// Acts in training only.
    pub dropout: Dropout,
    /// From features to logits.
    pub fc: Linear,
    #[module(skip)]
    init: LinearInit,
}

impl PoolHeadConfig {
    /// A new head.
    pub fn init(&self, device: &Device) -> PoolHead {
        PoolHead {
            dropout: DropoutConfig::new(self.dropout).init(),
            fc: init::linear(
                [self.in_features, self.num_classes],
                true,
                self.init,
                device,
            ),
            init: self.init,
        }
    }
}

impl PoolHead {
    /// Logits of a feature map.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_features, height, width]`
    /// - output: `[batch, num_classes]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.dropout.forward(ops::global_avg_pool(x));
        ops::linear_act(x, &self.fc, Activation::Identity)
    }

    /// A new, untrained head for `num_classes`, with the dropout and initialiser of this one.
    #[must_use]
    pub fn replace(&self, num_classes: usize, device: &Device) -> Self {
        let [in_features, _] = self.fc.weight.lazy_shape().dims();
        PoolHeadConfig::new(in_features, num_classes)
            .with_dropout(self.dropout.prob)
            .with_init(self.init)
            .init(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;

    #[test]
    fn averages_then_maps() {
        let device = Device::flex();
        let mut head = PoolHeadConfig::new(2, 3)
            .with_init(LinearInit::FanOut)
            .init(&device);
        head.fc.weight = Param::from_tensor(Tensor::from_floats(
            [[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]],
            &device,
        ));
        let x = Tensor::<4>::from_floats(
            [[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 4.0]]]],
            &device,
        );
        let out: Vec<f32> = head.forward(x).into_data().try_into_vec_as().unwrap();
        assert_eq!(out, [3.0, 1.0, 5.0]);
        let new = head.replace(5, &device);
        assert_eq!(new.fc.weight.dims(), [2, 5]);
    }
}
