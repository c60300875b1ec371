//! ResNet: He et al., "Deep Residual Learning for Image Recognition", 2015 (arXiv:1512.03385).
//!
//! Layout and defaults are torchvision's `ResNet`: version 1.5, which puts a bottleneck's stride
//! into its 3x3 convolution. Options give the paper's version 1 as Keras has it (stride in the
//! first 1x1, convolutions with bias) and a stem for images of 28 or 32 pixels.

use super::ConvNet;
use burn::{
    config::Config,
    module::Module,
    nn::{
        PaddingConfig2d,
        pool::{MaxPool2d, MaxPool2dConfig},
    },
    tensor::{Device, Tensor},
};
use panoply_core::{
    nn::{Activation, ConvNorm, ConvNormConfig, PoolHead, PoolHeadConfig},
    weights::KeyMap,
};

/// torchvision's keys; timm's ResNets have the same.
pub const KEY_MAP: KeyMap = KeyMap {
    renames: &[
        ("conv1.{}", "conv1.conv.{}"),
        ("bn1.{}", "conv1.norm.{}"),
        ("layer{}.{}.conv{}.{}", "layer{}.{}.conv{}.conv.{}"),
        ("layer{}.{}.bn{}.{}", "layer{}.{}.conv{}.norm.{}"),
        (
            "layer{}.{}.downsample.0.{}",
            "layer{}.{}.downsample.conv.{}",
        ),
        (
            "layer{}.{}.downsample.1.{}",
            "layer{}.{}.downsample.norm.{}",
        ),
        ("fc.{}", "head.fc.{}"),
    ],
    dropped: &["**.num_batches_tracked"],
    ..KeyMap::IDENTITY
};

/// Configuration of [`ResNet`].
#[derive(Config, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one published variant"
)]
pub struct ResNetConfig {
    /// Blocks in each of the four layers.
    pub layers: [usize; 4],
    /// Bottleneck blocks (1x1, 3x3, 1x1) instead of basic ones (3x3, 3x3).
    pub bottleneck: bool,
    /// Channels of the stem and the first layer; each further layer doubles them.
    #[config(default = 64)]
    pub width: usize,
    /// Channels of the image.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Number of logits.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// A 3x3 stem of stride 1 without pooling, for images of 28 or 32 pixels.
    #[config(default = false)]
    pub small_stem: bool,
    /// Version 1: a bottleneck's stride in its first 1x1 convolution.
    #[config(default = false)]
    pub stride_in_1x1: bool,
    /// Whether convolutions have a bias before the norm.
    #[config(default = false)]
    pub conv_bias: bool,
    /// Added to the variance by the norms.
    #[config(default = 1e-5)]
    pub norm_eps: f64,
    /// Weight of the batch in the running statistics.
    #[config(default = 0.1)]
    pub norm_momentum: f64,
    /// Dropout before the last layer.
    #[config(default = 0.0)]
    pub dropout: f64,
}

impl ResNetConfig {
    /// ResNet-18, 11.7 M parameters.
    pub fn resnet18() -> Self {
        Self::new([2, 2, 2, 2], false)
    }

    /// ResNet-34, 21.8 M parameters.
    pub fn resnet34() -> Self {
        Self::new([3, 4, 6, 3], false)
    }

    /// ResNet-50, 25.6 M parameters.
    pub fn resnet50() -> Self {
        Self::new([3, 4, 6, 3], true)
    }

    /// ResNet-101, 44.5 M parameters.
    pub fn resnet101() -> Self {
        Self::new([3, 4, 23, 3], true)
    }

    /// ResNet-152, 60.2 M parameters.
    pub fn resnet152() -> Self {
        Self::new([3, 8, 36, 3], true)
    }

    /// ResNet-50 as Keras 2.2 has it: version 1, convolutions with bias, epsilon 1e-3.
    pub fn resnet50_v1() -> Self {
        Self::resnet50()
            .with_stride_in_1x1(true)
            .with_conv_bias(true)
            .with_norm_eps(1e-3)
            .with_norm_momentum(0.01)
    }

    /// One basic block a layer, 32 to 256 channels, for images of 28 or 32 pixels; 1.2 M
    /// parameters.
    pub fn small() -> Self {
        Self::new([1; 4], false)
            .with_width(32)
            .with_small_stem(true)
    }

    /// One basic block a layer, 8 to 64 channels, for images of 28 or 32 pixels.
    pub fn tiny() -> Self {
        Self::small().with_width(8)
    }

    /// A model with He-normal convolutions.
    pub fn init(&self, device: &Device) -> ResNet {
        let mut channels = self.width;
        let mut layers = (0..4).map(|i| {
            let planes = self.width << i;
            let stride = if i == 0 { 1 } else { 2 };
            let blocks = (0..self.layers[i]).map(|b| {
                let stride = if b == 0 { stride } else { 1 };
                let block = self.block(channels, planes, stride, device);
                channels = planes * self.expansion();
                block
            });
            blocks.collect::<Vec<_>>()
        });
        let mut layer = || layers.next().unwrap_or_default();
        let [layer1, layer2, layer3, layer4] = [layer(), layer(), layer(), layer()];
        ResNet {
            conv1: self.stem(device),
            maxpool: (!self.small_stem).then(|| {
                MaxPool2dConfig::new([3, 3])
                    .with_strides([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init()
            }),
            layer1,
            layer2,
            layer3,
            layer4,
            head: PoolHeadConfig::new((self.width << 3) * self.expansion(), self.num_classes)
                .with_dropout(self.dropout)
                .init(device),
        }
    }

    fn expansion(&self) -> usize {
        if self.bottleneck { 4 } else { 1 }
    }

    fn conv(&self, channels: [usize; 2], kernel: usize, stride: usize) -> ConvNormConfig {
        ConvNormConfig::new(channels, kernel)
            .with_stride(stride)
            .with_bias(self.conv_bias)
            .with_norm_eps(self.norm_eps)
            .with_norm_momentum(self.norm_momentum)
    }

    fn stem(&self, device: &Device) -> ConvNorm {
        let (kernel, stride) = if self.small_stem { (3, 1) } else { (7, 2) };
        self.conv([self.in_channels, self.width], kernel, stride)
            .init(device)
    }

    fn block(&self, channels: usize, planes: usize, stride: usize, device: &Device) -> Block {
        let out = planes * self.expansion();
        let linear = |c: ConvNormConfig| c.with_activation(Activation::Identity).init(device);
        let (conv1, conv2, conv3) = if self.bottleneck {
            let (first, second) = if self.stride_in_1x1 {
                (stride, 1)
            } else {
                (1, stride)
            };
            (
                self.conv([channels, planes], 1, first).init(device),
                self.conv([planes, planes], 3, second).init(device),
                Some(linear(self.conv([planes, out], 1, 1))),
            )
        } else {
            (
                self.conv([channels, planes], 3, stride).init(device),
                linear(self.conv([planes, planes], 3, 1)),
                None,
            )
        };
        let downsample = stride != 1 || channels != out;
        Block {
            conv1,
            conv2,
            conv3,
            downsample: downsample.then(|| linear(self.conv([channels, out], 1, stride))),
        }
    }
}

/// A residual block, basic or bottleneck (the one with a `conv3`).
#[derive(Module, Debug)]
pub struct Block {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: Option<ConvNorm>,
    downsample: Option<ConvNorm>,
}

impl Block {
    /// `relu(branch(x) + shortcut(x))`.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_channels, height, width]`
    /// - output: `[batch, out_channels, height / stride, width / stride]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branch = self.conv2.forward(self.conv1.forward(x.clone()));
        let branch = match &self.conv3 {
            Some(conv3) => conv3.forward(branch),
            None => branch,
        };
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(x),
            None => x,
        };
        Activation::Relu.forward(branch + shortcut)
    }

    fn fold(self) -> Self {
        Self {
            conv1: self.conv1.fold(),
            conv2: self.conv2.fold(),
            conv3: self.conv3.map(ConvNorm::fold),
            downsample: self.downsample.map(ConvNorm::fold),
        }
    }
}

/// The network. Should be created with [`ResNetConfig`].
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: ConvNorm,
    maxpool: Option<MaxPool2d>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    head: PoolHead,
}

impl ConvNet for ResNet {
    fn key_map(&self) -> &'static KeyMap {
        &KEY_MAP
    }

    fn pool_head(&self) -> &PoolHead {
        &self.head
    }

    fn pool_head_mut(&mut self) -> &mut PoolHead {
        &mut self.head
    }

    /// Stages: `conv1` (the stem, before the pooling), `layer1` to `layer4`.
    fn walk(&self, x: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4> {
        let mut x = self.conv1.forward(x);
        visit("conv1", &x);
        if let Some(maxpool) = &self.maxpool {
            x = maxpool.forward(x);
        }
        let layers = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        for (name, layer) in ["layer1", "layer2", "layer3", "layer4"]
            .into_iter()
            .zip(layers)
        {
            x = layer.iter().fold(x, |x, block| block.forward(x));
            visit(name, &x);
        }
        x
    }

    fn fold(self) -> Self {
        let layer = |blocks: Vec<Block>| blocks.into_iter().map(Block::fold).collect();
        Self {
            conv1: self.conv1.fold(),
            maxpool: self.maxpool,
            layer1: layer(self.layer1),
            layer2: layer(self.layer2),
            layer3: layer(self.layer3),
            layer4: layer(self.layer4),
            head: self.head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(config: &ResNetConfig, size: usize) -> Vec<[usize; 4]> {
        let device = Device::flex();
        let mut shapes = Vec::new();
        let x = Tensor::zeros([1, config.in_channels, size, size], &device);
        config
            .init(&device)
            .walk(x, &mut |_, x| shapes.push(x.dims()));
        shapes
    }

    #[test]
    fn a_small_stem_keeps_the_resolution() {
        let config = ResNetConfig::tiny().with_in_channels(1);
        let expected = [
            [1, 8, 28, 28],
            [1, 8, 28, 28],
            [1, 16, 14, 14],
            [1, 32, 7, 7],
            [1, 64, 4, 4],
        ];
        assert_eq!(shapes(&config, 28), expected);
    }

    #[test]
    fn version_1_strides_in_the_first_convolution() {
        let device = Device::flex();
        let strides = |config: ResNetConfig| {
            let block = &config.with_width(4).init(&device).layer2[0];
            (block.conv1.conv.stride[0], block.conv2.conv.stride[0])
        };
        assert_eq!(strides(ResNetConfig::resnet50()), (1, 2));
        assert_eq!(strides(ResNetConfig::resnet50_v1()), (2, 1));
    }
}
