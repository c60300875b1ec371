//! The architectures by name, and the preprocessing that their published weights were made with.

use super::{
    efficientnet::EfficientNetConfig, efficientnet_lite::EfficientNetLiteConfig,
    mobilenet_v2::MobileNetV2Config, resnet::ResNetConfig,
};
use serde::Serialize;

/// Configuration of any of the networks.
#[derive(Clone, Debug)]
pub(super) enum AnyConfig {
    ResNet(ResNetConfig),
    EfficientNet(EfficientNetConfig),
    EfficientNetLite(EfficientNetLiteConfig),
    MobileNetV2(MobileNetV2Config),
}

/// Every architecture name.
const NAMES: [&str; 24] = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet50_v1",
    "resnet18_small",
    "resnet_small",
    "resnet_tiny",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_tiny",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
    "mobilenet_v2",
];

/// Every architecture by name.
///
/// `resnet50_v1` is Keras' variant; `resnet18_small`, `resnet_small` and `resnet_tiny` have a stem
/// for images of 28 or 32 pixels.
pub fn architectures() -> &'static [&'static str] {
    &NAMES
}

/// The architecture called `name`, with its own defaults.
pub(super) fn config(name: &str) -> Option<AnyConfig> {
    use AnyConfig::{EfficientNet, EfficientNetLite, MobileNetV2, ResNet};
    Some(match name {
        "resnet18" => ResNet(ResNetConfig::resnet18()),
        "resnet34" => ResNet(ResNetConfig::resnet34()),
        "resnet50" => ResNet(ResNetConfig::resnet50()),
        "resnet101" => ResNet(ResNetConfig::resnet101()),
        "resnet152" => ResNet(ResNetConfig::resnet152()),
        "resnet50_v1" => ResNet(ResNetConfig::resnet50_v1()),
        "resnet18_small" => ResNet(ResNetConfig::resnet18().with_small_stem(true)),
        "resnet_small" => ResNet(ResNetConfig::small()),
        "resnet_tiny" => ResNet(ResNetConfig::tiny()),
        "efficientnet_b0" => EfficientNet(EfficientNetConfig::b0()),
        "efficientnet_b1" => EfficientNet(EfficientNetConfig::b1()),
        "efficientnet_b2" => EfficientNet(EfficientNetConfig::b2()),
        "efficientnet_b3" => EfficientNet(EfficientNetConfig::b3()),
        "efficientnet_b4" => EfficientNet(EfficientNetConfig::b4()),
        "efficientnet_b5" => EfficientNet(EfficientNetConfig::b5()),
        "efficientnet_b6" => EfficientNet(EfficientNetConfig::b6()),
        "efficientnet_b7" => EfficientNet(EfficientNetConfig::b7()),
        "efficientnet_tiny" => EfficientNet(EfficientNetConfig::tiny()),
        "efficientnet_lite0" => EfficientNetLite(EfficientNetLiteConfig::lite0()),
        "efficientnet_lite1" => EfficientNetLite(EfficientNetLiteConfig::lite1()),
        "efficientnet_lite2" => EfficientNetLite(EfficientNetLiteConfig::lite2()),
        "efficientnet_lite3" => EfficientNetLite(EfficientNetLiteConfig::lite3()),
        "efficientnet_lite4" => EfficientNetLite(EfficientNetLiteConfig::lite4()),
        "mobilenet_v2" => MobileNetV2(MobileNetV2Config::mobilenet_v2()),
        _ => return None,
    })
}

/// How an image becomes the input of a network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Preprocessing {
    /// The shorter side after resizing, in pixels.
    pub resize_size: usize,
    /// Side of the square cut out of the middle, in pixels.
    pub input_size: usize,
    /// `bilinear` or `bicubic`, antialiased as Pillow does it.
    pub interpolation: &'static str,
    /// Subtracted from the channels of an RGB image in `[0, 1]`.
    pub mean: [f64; 3],
    /// What they are divided by afterwards.
    pub std: [f64; 3],
}

impl Preprocessing {
    /// The part of the resized image's shorter side that the network sees.
    pub fn crop_pct(&self) -> f64 {
        self.input_size as f64 / self.resize_size as f64
    }
}

const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

const fn imagenet(
    resize_size: usize,
    input_size: usize,
    interpolation: &'static str,
) -> Preprocessing {
    Preprocessing {
        resize_size,
        input_size,
        interpolation,
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
    }
}

/// TensorFlow's evaluation crop leaves 16 pixels on each side; pixels become `(x - 127) / 128`.
const fn lite(input_size: usize, interpolation: &'static str) -> Preprocessing {
    Preprocessing {
        resize_size: input_size + 32,
        input_size,
        interpolation,
        mean: [127.0 / 255.0; 3],
        std: [128.0 / 255.0; 3],
    }
}

/// What the published weights of the architecture called `name` expect: torchvision's
/// `IMAGENET1K_V1` transforms, the package's constants for EfficientNet-Lite, and Keras' means on
/// 0..255 (in RGB) for `resnet50_v1`. Networks for small images take 32 pixels.
pub(super) fn preprocessing(name: &str) -> Option<Preprocessing> {
    config(name)?;
    Some(match name {
        "resnet50_v1" => Preprocessing {
            mean: [123.68 / 255.0, 116.779 / 255.0, 103.939 / 255.0],
            std: [1.0 / 255.0; 3],
            ..imagenet(256, 224, "bilinear")
        },
        "resnet18_small" | "resnet_small" | "resnet_tiny" | "efficientnet_tiny" => {
            imagenet(32, 32, "bilinear")
        }
        "efficientnet_b0" => imagenet(256, 224, "bicubic"),
        "efficientnet_b1" => imagenet(256, 240, "bicubic"),
        "efficientnet_b2" => imagenet(288, 288, "bicubic"),
        "efficientnet_b3" => imagenet(320, 300, "bicubic"),
        "efficientnet_b4" => imagenet(384, 380, "bicubic"),
        "efficientnet_b5" => imagenet(456, 456, "bicubic"),
        "efficientnet_b6" => imagenet(528, 528, "bicubic"),
        "efficientnet_b7" => imagenet(600, 600, "bicubic"),
        "efficientnet_lite0" => lite(224, "bicubic"),
        "efficientnet_lite1" => lite(240, "bicubic"),
        "efficientnet_lite2" => lite(260, "bicubic"),
        "efficientnet_lite3" => lite(280, "bilinear"),
        "efficientnet_lite4" => lite(300, "bilinear"),
        _ => imagenet(256, 224, "bilinear"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_network_and_a_preprocessing() {
        for name in architectures() {
            assert!(config(name).is_some(), "{name}");
            let p = preprocessing(name).unwrap();
            assert!(
                p.input_size <= p.resize_size && p.crop_pct() > 0.8,
                "{name}"
            );
        }
        assert!(config("resnet51").is_none() && preprocessing("resnet51").is_none());
    }

    #[test]
    fn lite_normalises_as_its_package() {
        let p = preprocessing("efficientnet_lite0").unwrap();
        let normal = |x: f64| (x / 255.0 - p.mean[0]) / p.std[0];
        assert!((normal(127.0)).abs() < 1e-12 && (normal(255.0) - 1.0).abs() < 1e-12);
        assert_eq!(
            (p.resize_size, p.input_size, p.crop_pct()),
            (256, 224, 0.875)
        );
    }
}
