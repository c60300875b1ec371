//! EfficientNet-Lite0 to Lite4: EfficientNet (arXiv:1905.11946) without squeeze-excite, with
//! ReLU6, and with a stem, a head and first and last stages that are not scaled.
//!
//! Layout of the PyTorch port `efficientnet_lite_pytorch` 0.1.0 of TensorFlow's
//! `efficientnet/lite`. Convolutions pad as TensorFlow's SAME for the size of the input at hand;
//! the port does so for the nominal input size, which is the same at that size.

use super::{
    ConvNet,
    mbconv::{BlockStyle, MbConv, StageConfig},
};
use burn::{
    config::Config,
    module::Module,
    tensor::{Device, Tensor},
};
use panoply_core::{
    nn::{Activation, ConvNorm, LinearInit, Padding, PoolHead, PoolHeadConfig},
    weights::KeyMap,
};

/// The port's keys.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("_conv_stem.weight", "stem.conv.weight"),
        ("_bn0.{}", "stem.norm.{}"),
        ("_blocks.{}._expand_conv.{}", "blocks.{}.expand.conv.{}"),
        ("_blocks.{}._bn0.{}", "blocks.{}.expand.norm.{}"),
        (
            "_blocks.{}._depthwise_conv.{}",
            "blocks.{}.depthwise.conv.{}",
        ),
        ("_blocks.{}._bn1.{}", "blocks.{}.depthwise.norm.{}"),
        ("_blocks.{}._project_conv.{}", "blocks.{}.project.conv.{}"),
        ("_blocks.{}._bn2.{}", "blocks.{}.project.norm.{}"),
        ("_conv_head.weight", "top.conv.weight"),
        ("_bn1.{}", "top.norm.{}"),
        ("_fc.{}", "head.fc.{}"),
    ],
    dropped: &["**.num_batches_tracked"],
    ..KeyMap::IDENTITY
};

/// Channels of the last convolution.
const TOP_CHANNELS: usize = 1280;

/// Configuration of [`EfficientNetLite`].
#[derive(Config, Debug)]
pub struct EfficientNetLiteConfig {
    /// The stages.
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
}

impl EfficientNetLiteConfig {
    fn scaled(width: f64, depth: f64, dropout: f64) -> Self {
        let mut stages = StageConfig::efficientnet(width, depth);
        if let [first, .., last] = stages.as_mut_slice() {
            (first.in_channels, first.num_layers, last.num_layers) = (32, 1, 1);
        }
        Self::new(stages, dropout)
    }

    /// Lite0, 4.7 M parameters.
    pub fn lite0() -> Self {
        Self::scaled(1.0, 1.0, 0.2)
    }

    /// Lite1, 5.4 M parameters.
    pub fn lite1() -> Self {
        Self::scaled(1.0, 1.1, 0.2)
    }

    /// Lite2, 6.1 M parameters.
    pub fn lite2() -> Self {
        Self::scaled(1.1, 1.2, 0.3)
    }

    /// Lite3, 8.2 M parameters.
    pub fn lite3() -> Self {
        Self::scaled(1.2, 1.4, 0.3)
    }

    /// Lite4, 13.0 M parameters.
    pub fn lite4() -> Self {
        Self::scaled(1.4, 1.8, 0.3)
    }

    /// Three stages of 8 to 24 channels.
    pub fn tiny() -> Self {
        let stages = [
            [1, 3, 1, 32, 8, 1],
            [4, 3, 2, 8, 16, 2],
            [4, 5, 2, 16, 24, 2],
        ];
        Self::new(stages.map(StageConfig::of).to_vec(), 0.1)
    }

    /// A model with He-normal convolutions.
    ///
    /// # Panics
    /// If there are no stages.
    pub fn init(&self, device: &Device) -> EfficientNetLite {
        let style = BlockStyle {
            squeeze_excite: false,
            activation: Activation::Relu6,
            padding: Padding::Same,
            norm_eps: 1e-3,
            norm_momentum: 0.01,
        };
        let (Some(first), Some(last)) = (self.stages.first(), self.stages.last()) else {
            panic!("an EfficientNet-Lite needs stages");
        };
        let stages = style.stages(&self.stages, self.drop_path, device);
        EfficientNetLite {
            stem: style
                .conv([self.in_channels, first.in_channels], 3, 2)
                .init(device),
            blocks: stages.into_iter().flatten().collect(),
            top: style
                .conv([last.out_channels, TOP_CHANNELS], 1, 1)
                .init(device),
            head: PoolHeadConfig::new(TOP_CHANNELS, self.num_classes)
                .with_dropout(self.dropout)
                .with_init(LinearInit::FanOut)
                .init(device),
        }
    }
}

/// The network. Should be created with [`EfficientNetLiteConfig`].
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    stem: ConvNorm,
    blocks: Vec<MbConv>,
    top: ConvNorm,
    head: PoolHead,
}

impl ConvNet for EfficientNetLite {
    fn key_map(&self) -> &'static KeyMap {
        &KEY_MAP
    }

    fn pool_head(&self) -> &PoolHead {
        &self.head
    }

    fn pool_head_mut(&mut self) -> &mut PoolHead {
        &mut self.head
    }

    /// Stages: `stem`, each block `blocks.N`, and the last convolution, `top`.
    fn walk(&self, x: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4> {
        let mut x = self.stem.forward(x);
        visit("stem", &x);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            visit(&format!("blocks.{i}"), &x);
        }
        let x = self.top.forward(x);
        visit("top", &x);
        x
    }

    fn fold(self) -> Self {
        Self {
            stem: self.stem.fold(),
            blocks: self.blocks.into_iter().map(MbConv::fold).collect(),
            top: self.top.fold(),
            head: self.head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_not_scaled() {
        let stages = EfficientNetLiteConfig::lite4().stages;
        let rows = stages
            .iter()
            .map(|s| [s.in_channels, s.out_channels, s.num_layers]);
        let expected = [
            [32, 24, 1],
            [24, 32, 4],
            [32, 56, 4],
            [56, 112, 6],
            [112, 160, 6],
            [160, 272, 8],
            [272, 448, 1],
        ];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
}
