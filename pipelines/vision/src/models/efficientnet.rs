//! EfficientNet-B0 to B7: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional
//! Neural Networks", 2019 (arXiv:1905.11946), in the layout and with the defaults of torchvision.

use super::{
    ConvNet,
    mbconv::{BlockStyle, Feature, StageConfig},
};
use burn::{
    config::Config,
    module::Module,
    tensor::{Device, Tensor},
};
use panoply_core::{
    nn::{Activation, LinearInit, Padding, PoolHead, PoolHeadConfig},
    weights::KeyMap,
};

/// torchvision's keys. The blocks of `features.1` have no expansion, so their parts are numbered
/// one lower.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("features.{}.0.weight", "features.{}.conv.weight"),
        ("features.{}.1.{}", "features.{}.norm.{}"),
        (
            "features.1.{}.block.0.0.{}",
            "features.1.{}.depthwise.conv.{}",
        ),
        (
            "features.1.{}.block.0.1.{}",
            "features.1.{}.depthwise.norm.{}",
        ),
        (
            "features.1.{}.block.1.**",
            "features.1.{}.squeeze_excite.**",
        ),
        (
            "features.1.{}.block.2.0.{}",
            "features.1.{}.project.conv.{}",
        ),
        (
            "features.1.{}.block.2.1.{}",
            "features.1.{}.project.norm.{}",
        ),
        (
            "features.{}.{}.block.0.0.{}",
            "features.{}.{}.expand.conv.{}",
        ),
        (
            "features.{}.{}.block.0.1.{}",
            "features.{}.{}.expand.norm.{}",
        ),
        (
            "features.{}.{}.block.1.0.{}",
            "features.{}.{}.depthwise.conv.{}",
        ),
        (
            "features.{}.{}.block.1.1.{}",
            "features.{}.{}.depthwise.norm.{}",
        ),
        (
            "features.{}.{}.block.2.**",
            "features.{}.{}.squeeze_excite.**",
        ),
        (
            "features.{}.{}.block.3.0.{}",
            "features.{}.{}.project.conv.{}",
        ),
        (
            "features.{}.{}.block.3.1.{}",
            "features.{}.{}.project.norm.{}",
        ),
        ("classifier.1.{}", "head.fc.{}"),
    ],
    dropped: &["**.num_batches_tracked"],
    ..KeyMap::IDENTITY
};

/// Configuration of [`EfficientNet`].
#[derive(Config, Debug)]
pub struct EfficientNetConfig {
    /// The stages; the blocks of the first have expansion 1, those of the others more.
    pub stages: Vec<StageConfig>,
    /// Dropout before the last layer.
    pub dropout: f64,
    /// Largest probability of dropping a block's branch.
    #[config(default = 0.2)]
    pub drop_path: f64,
    /// Channels of the image.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Number of logits.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// Added to the variance by the norms.
    #[config(default = 1e-5)]
    pub norm_eps: f64,
    /// Weight of the batch in the running statistics.
    #[config(default = 0.1)]
    pub norm_momentum: f64,
}

impl EfficientNetConfig {
    /// B0 scaled in width and depth.
    fn scaled(width: f64, depth: f64, dropout: f64) -> Self {
        Self::new(StageConfig::efficientnet(width, depth), dropout)
    }

    /// torchvision's settings of the three largest.
    fn large(width: f64, depth: f64, dropout: f64) -> Self {
        Self::scaled(width, depth, dropout)
            .with_norm_eps(1e-3)
            .with_norm_momentum(0.01)
    }

    /// B0, 5.3 M parameters.
    pub fn b0() -> Self {
        Self::scaled(1.0, 1.0, 0.2)
    }

    /// B1, 7.8 M parameters.
    pub fn b1() -> Self {
        Self::scaled(1.0, 1.1, 0.2)
    }

    /// B2, 9.1 M parameters.
    pub fn b2() -> Self {
        Self::scaled(1.1, 1.2, 0.3)
    }

    /// B3, 12.2 M parameters.
    pub fn b3() -> Self {
        Self::scaled(1.2, 1.4, 0.3)
    }

    /// B4, 19.3 M parameters.
    pub fn b4() -> Self {
        Self::scaled(1.4, 1.8, 0.4)
    }

    /// B5, 30.4 M parameters.
    pub fn b5() -> Self {
        Self::large(1.6, 2.2, 0.4)
    }

    /// B6, 43.0 M parameters.
    pub fn b6() -> Self {
        Self::large(1.8, 2.6, 0.5)
    }

    /// B7, 66.3 M parameters.
    pub fn b7() -> Self {
        Self::large(2.0, 3.1, 0.5)
    }

    /// Three stages of 8 to 24 channels.
    pub fn tiny() -> Self {
        let stages = [
            [1, 3, 1, 8, 8, 1],
            [4, 3, 2, 8, 16, 2],
            [4, 5, 2, 16, 24, 2],
        ];
        Self::new(stages.map(StageConfig::of).to_vec(), 0.1)
    }

    /// A model with He-normal convolutions.
    ///
    /// # Panics
    /// If there are no stages.
    pub fn init(&self, device: &Device) -> EfficientNet {
        let style = BlockStyle {
            squeeze_excite: true,
            activation: Activation::Silu,
            padding: Padding::Half,
            norm_eps: self.norm_eps,
            norm_momentum: self.norm_momentum,
        };
        let (Some(first), Some(last)) = (self.stages.first(), self.stages.last()) else {
            panic!("an EfficientNet needs stages");
        };
        let stem = style.conv([self.in_channels, first.in_channels], 3, 2);
        let width = 4 * last.out_channels;
        let top = style.conv([last.out_channels, width], 1, 1);
        let stages = style.stages(&self.stages, self.drop_path, device);
        let mut features = vec![Feature::Conv(stem.init(device))];
        features.extend(stages.into_iter().map(Feature::Stage));
        features.push(Feature::Conv(top.init(device)));
        EfficientNet {
            features,
            head: PoolHeadConfig::new(width, self.num_classes)
                .with_dropout(self.dropout)
                .with_init(LinearInit::FanOut)
                .init(device),
        }
    }
}

/// The network. Should be created with [`EfficientNetConfig`].
#[derive(Module, Debug)]
pub struct EfficientNet {
    features: Vec<Feature>,
    head: PoolHead,
}

impl ConvNet for EfficientNet {
    fn key_map(&self) -> &'static KeyMap {
        &KEY_MAP
    }

    fn pool_head(&self) -> &PoolHead {
        &self.head
    }

    fn pool_head_mut(&mut self) -> &mut PoolHead {
        &mut self.head
    }

    /// Stages: `features.0` (the stem) and each `features.N` after it.
    fn walk(&self, x: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4> {
        Feature::walk(&self.features, x, visit)
    }

    fn fold(self) -> Self {
        Self {
            features: self.features.into_iter().map(Feature::fold).collect(),
            head: self.head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b7_scales_as_in_the_reference() {
        let stages = EfficientNetConfig::b7().stages;
        let rows = stages
            .iter()
            .map(|s| [s.in_channels, s.out_channels, s.num_layers]);
        let expected = [
            [64, 32, 4],
            [32, 48, 7],
            [48, 80, 7],
            [80, 160, 10],
            [160, 224, 10],
            [224, 384, 13],
            [384, 640, 4],
        ];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
}
