//! MobileNetV2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018
//! (arXiv:1801.04381), in the layout and with the defaults of torchvision.

use super::{
    ConvNet,
    mbconv::{BlockStyle, Feature, StageConfig, make_divisible},
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

/// torchvision's keys. `features.1` has no expansion, so its parts are numbered one lower.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("features.{}.0.weight", "features.{}.conv.weight"),
        ("features.{}.1.{}", "features.{}.norm.{}"),
        ("features.1.conv.0.0.{}", "features.1.depthwise.conv.{}"),
        ("features.1.conv.0.1.{}", "features.1.depthwise.norm.{}"),
        ("features.1.conv.1.{}", "features.1.project.conv.{}"),
        ("features.1.conv.2.{}", "features.1.project.norm.{}"),
        ("features.{}.conv.0.0.{}", "features.{}.expand.conv.{}"),
        ("features.{}.conv.0.1.{}", "features.{}.expand.norm.{}"),
        ("features.{}.conv.1.0.{}", "features.{}.depthwise.conv.{}"),
        ("features.{}.conv.1.1.{}", "features.{}.depthwise.norm.{}"),
        ("features.{}.conv.2.{}", "features.{}.project.conv.{}"),
        ("features.{}.conv.3.{}", "features.{}.project.norm.{}"),
        ("classifier.1.{}", "head.fc.{}"),
    ],
    dropped: &["**.num_batches_tracked"],
    ..KeyMap::IDENTITY
};

/// Table 2 of the paper: expansion, output, layers, stride.
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

/// Configuration of [`MobileNetV2`].
#[derive(Config, Debug)]
pub struct MobileNetV2Config {
    /// The stages as `[expansion, output channels, layers, stride]`; only the first has expansion
    /// 1, and it has one layer.
    pub stages: Vec<[usize; 4]>,
    /// Factor on all channels; the last convolution only grows with it.
    #[config(default = 1.0)]
    pub width: f64,
    /// Dropout before the last layer.
    #[config(default = 0.2)]
    pub dropout: f64,
    /// Channels of the image.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Number of logits.
    #[config(default = 1000)]
    pub num_classes: usize,
}

impl MobileNetV2Config {
    /// Width 1.0, 3.5 M parameters.
    pub fn mobilenet_v2() -> Self {
        Self::new(STAGES.to_vec())
    }

    /// Three stages of 8 to 16 channels.
    pub fn tiny() -> Self {
        Self::new(vec![[1, 16, 1, 1], [4, 24, 2, 2], [4, 40, 2, 2]]).with_width(0.4)
    }

    /// A model with He-normal convolutions.
    pub fn init(&self, device: &Device) -> MobileNetV2 {
        let style = BlockStyle {
            squeeze_excite: false,
            activation: Activation::Relu6,
            padding: Padding::Half,
            norm_eps: 1e-5,
            norm_momentum: 0.1,
        };
        let stem_channels = make_divisible(32.0 * self.width);
        let mut channels = stem_channels;
        let stage = |&[expand, output, layers, stride]: &[usize; 4]| {
            let output = make_divisible(output as f64 * self.width);
            let input = std::mem::replace(&mut channels, output);
            StageConfig::of([expand, 3, stride, input, output, layers])
        };
        let stages: Vec<_> = self.stages.iter().map(stage).collect();
        let width = make_divisible(1280.0 * self.width.max(1.0));
        let stem = style.conv([self.in_channels, stem_channels], 3, 2);
        let top = style.conv([channels, width], 1, 1);
        let blocks = style.stages(&stages, 0.0, device);
        let mut features = vec![Feature::Conv(stem.init(device))];
        features.extend(blocks.into_iter().flatten().map(Feature::Block));
        features.push(Feature::Conv(top.init(device)));
        MobileNetV2 {
            features,
            head: PoolHeadConfig::new(width, self.num_classes)
                .with_dropout(self.dropout)
                .with_init(LinearInit::Normal(0.01))
                .init(device),
        }
    }
}

/// The network. Should be created with [`MobileNetV2Config`].
#[derive(Module, Debug)]
pub struct MobileNetV2 {
    features: Vec<Feature>,
    head: PoolHead,
}

impl ConvNet for MobileNetV2 {
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
    fn seventeen_blocks_and_a_stride_of_32() {
        let device = Device::flex();
        let model = MobileNetV2Config::mobilenet_v2()
            .with_num_classes(2)
            .init(&device);
        let mut names = Vec::new();
        let out = model.walk(Tensor::zeros([1, 3, 65, 64], &device), &mut |name, _| {
            names.push(name.to_string());
        });
        assert_eq!(names.len(), 19);
        assert_eq!(out.dims(), [1, 1280, 3, 2]);
    }
}
