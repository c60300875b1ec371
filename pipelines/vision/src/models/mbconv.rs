//! The inverted residual block that EfficientNet, its Lite variant and MobileNetV2 share
//! (Sandler et al., 2018), and the scaling rules of their stages.

use burn::{
    config::Config,
    module::Module,
    tensor::{Device, Tensor},
};
use panoply_core::nn::{
    Activation, ConvNorm, ConvNormConfig, DropPath, DropPathConfig, Padding, SqueezeExcite,
    SqueezeExciteConfig,
};

/// EfficientNet-B0, table 1 of the paper: expansion, kernel, stride, input, output, layers.
const EFFICIENTNET_STAGES: [[usize; 6]; 7] = [
    [1, 3, 1, 32, 16, 1],
    [6, 3, 2, 16, 24, 2],
    [6, 5, 2, 24, 40, 2],
    [6, 3, 2, 40, 80, 3],
    [6, 5, 1, 80, 112, 3],
    [6, 5, 2, 112, 192, 4],
    [6, 3, 1, 192, 320, 1],
];

/// Rounds to a multiple of 8, at least 8 and never more than 10 % down (`_make_divisible`).
pub(super) fn make_divisible(channels: f64) -> usize {
    let rounded = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * channels {
        rounded + 8
    } else {
        rounded
    }
}

/// A run of blocks of one resolution.
#[derive(Config, Debug, PartialEq)]
pub struct StageConfig {
    /// Channels inside a block over its input channels.
    pub expand_ratio: usize,
    /// Side of the depthwise kernel.
    pub kernel_size: usize,
    /// Stride of the first block.
    pub stride: usize,
    /// Input channels of the first block.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Number of blocks.
    pub num_layers: usize,
}

impl StageConfig {
    /// From a row `[expansion, kernel, stride, input, output, layers]`.
    pub(super) fn of([expand, kernel, stride, input, output, layers]: [usize; 6]) -> Self {
        Self::new(expand, kernel, stride, input, output, layers)
    }

    /// EfficientNet's stages, scaled in width and depth.
    pub(super) fn efficientnet(width: f64, depth: f64) -> Vec<Self> {
        let scale = |row| {
            let stage = Self::of(row);
            Self {
                in_channels: make_divisible(stage.in_channels as f64 * width),
                out_channels: make_divisible(stage.out_channels as f64 * width),
                num_layers: (stage.num_layers as f64 * depth).ceil() as usize,
                ..stage
            }
        };
        EFFICIENTNET_STAGES.into_iter().map(scale).collect()
    }
}

/// What all blocks of a network have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockStyle {
    pub(super) squeeze_excite: bool,
    pub(super) activation: Activation,
    pub(super) padding: Padding,
    pub(super) norm_eps: f64,
    pub(super) norm_momentum: f64,
}

impl BlockStyle {
    /// A convolution in this style.
    pub(super) fn conv(
        &self,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> ConvNormConfig {
        ConvNormConfig::new(channels, kernel)
            .with_stride(stride)
            .with_padding(self.padding)
            .with_norm_eps(self.norm_eps)
            .with_norm_momentum(self.norm_momentum)
            .with_activation(self.activation)
    }

    /// The blocks of each stage. The probability of dropping a block's branch grows linearly from 0
    /// with its position, towards `drop_path`.
    pub(super) fn stages(
        &self,
        stages: &[StageConfig],
        drop_path: f64,
        device: &Device,
    ) -> Vec<Vec<MbConv>> {
        let total: usize = stages.iter().map(|s| s.num_layers).sum();
        let mut position = 0;
        let mut block = |stage: &StageConfig, layer: usize| {
            let prob = drop_path * position as f64 / total as f64;
            position += 1;
            let (input, stride) = match layer {
                0 => (stage.in_channels, stage.stride),
                _ => (stage.out_channels, 1),
            };
            self.block(stage, [input, stage.out_channels], stride, prob, device)
        };
        let stage = |s: &StageConfig| (0..s.num_layers).map(|layer| block(s, layer)).collect();
        stages.iter().map(stage).collect()
    }

    fn block(
        &self,
        stage: &StageConfig,
        [input, output]: [usize; 2],
        stride: usize,
        drop_path: f64,
        device: &Device,
    ) -> MbConv {
        let inner = input * stage.expand_ratio;
        let squeeze = SqueezeExciteConfig::new(inner, (input / 4).max(1));
        MbConv {
            expand: (inner != input).then(|| self.conv([input, inner], 1, 1).init(device)),
            depthwise: self
                .conv([inner, inner], stage.kernel_size, stride)
                .with_groups(inner)
                .init(device),
            squeeze_excite: self
                .squeeze_excite
                .then(|| squeeze.with_activation(self.activation).init(device)),
            project: self
                .conv([inner, output], 1, 1)
                .with_activation(Activation::Identity)
                .init(device),
            drop_path: DropPathConfig::new(drop_path).init(),
            residual: stride == 1 && input == output,
        }
    }
}

/// Inverted residual block: 1x1 expansion, depthwise convolution, squeeze-excite, 1x1 projection.
#[derive(Module, Debug)]
pub struct MbConv {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    squeeze_excite: Option<SqueezeExcite>,
    project: ConvNorm,
    drop_path: DropPath,
    residual: bool,
}

impl MbConv {
    /// Applies the block.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height / stride, width / stride]`, rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = self.residual.then(|| x.clone());
        let x = match &self.expand {
            Some(expand) => expand.forward(x),
            None => x,
        };
        let x = self.depthwise.forward(x);
        let x = match &self.squeeze_excite {
            Some(squeeze_excite) => squeeze_excite.forward(x),
            None => x,
        };
        let x = self.project.forward(x);
        match shortcut {
            Some(shortcut) => self.drop_path.forward(x) + shortcut,
            None => x,
        }
    }

    /// Folds the norms into the convolutions.
    pub(super) fn fold(self) -> Self {
        Self {
            expand: self.expand.map(ConvNorm::fold),
            depthwise: self.depthwise.fold(),
            project: self.project.fold(),
            ..self
        }
    }
}

/// An entry of torchvision's `features`, of which its `EfficientNet` and `MobileNetV2` consist.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a model holds a few dozen")]
pub(super) enum Feature {
    /// The first and the last.
    Conv(ConvNorm),
    /// One block: `MobileNetV2`'s entries between.
    Block(MbConv),
    /// The blocks of one stage: `EfficientNet`'s entries between.
    Stage(Vec<MbConv>),
}

impl Feature {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Block(block) => block.forward(x),
            Self::Stage(blocks) => blocks.iter().fold(x, |x, block| block.forward(x)),
        }
    }

    /// One entry after the other; shows `visit` each output as `features.N`.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_channels, height, width]`
    /// - output: `[batch, channels, height', width']`
    pub(super) fn walk(
        features: &[Self],
        x: Tensor<4>,
        visit: &mut dyn FnMut(&str, &Tensor<4>),
    ) -> Tensor<4> {
        features.iter().enumerate().fold(x, |x, (i, feature)| {
            let x = feature.forward(x);
            visit(&format!("features.{i}"), &x);
            x
        })
    }

    /// The same entry with its norms folded into the convolutions.
    pub(super) fn fold(self) -> Self {
        match self {
            Self::Conv(conv) => Self::Conv(conv.fold()),
            Self::Block(block) => Self::Block(block.fold()),
            Self::Stage(blocks) => Self::Stage(blocks.into_iter().map(MbConv::fold).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_round_as_in_the_reference() {
        // torchvision.models._utils._make_divisible(v, 8)
        let cases = [
            (1.0, 8),
            (12.0, 16),
            (11.9, 16),
            (17.6, 16),
            (35.2, 32),
            (19.2, 24),
            (88.0, 88),
            (4.0, 8),
        ];
        for (channels, expected) in cases {
            assert_eq!(make_divisible(channels), expected, "{channels}");
        }
    }

    #[test]
    fn drop_path_grows_with_the_position() {
        let style = BlockStyle {
            squeeze_excite: false,
            activation: Activation::Relu,
            padding: Padding::Half,
            norm_eps: 1e-5,
            norm_momentum: 0.1,
        };
        let stages = [[1, 3, 1, 8, 8, 1], [2, 3, 2, 8, 8, 3]].map(StageConfig::of);
        let blocks = style.stages(&stages, 0.2, &Device::flex());
        let probs: Vec<f64> = blocks.iter().flatten().map(|b| b.drop_path.prob).collect();
        assert!(
            probs
                .iter()
                .zip([0.0, 0.05, 0.1, 0.15])
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
        let residual: Vec<bool> = blocks.iter().flatten().map(|b| b.residual).collect();
        assert_eq!(residual, [true, false, true, true]);
    }
}
