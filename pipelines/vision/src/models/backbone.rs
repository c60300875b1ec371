//! Any of the networks, chosen by name at run time.

use super::{
    ConvNet,
    arch::{self, AnyConfig, Preprocessing, architectures},
    efficientnet::EfficientNet,
    efficientnet_lite::EfficientNetLite,
    mobilenet_v2::MobileNetV2,
    resnet::ResNet,
};
use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use panoply_core::{
    Error, Result,
    nn::PoolHead,
    weights::{self, KeyMap, LoadOptions, LoadReport, SaveDtype},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What `config.json` of a classifier holds; the first two keys are those of timm's model folders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackboneConfig {
    /// Name of the architecture, one of [`architectures`].
    pub architecture: String,
    /// Number of logits.
    #[serde(default = "imagenet_classes")]
    pub num_classes: usize,
    /// Channels of the image: 3 for RGB, 1 for grey.
    #[serde(default = "rgb")]
    pub in_channels: usize,
    /// Dropout before the last layer, where it differs from the architecture's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Largest probability of dropping a residual branch, where it differs from the architecture's
    /// own; only EfficientNets have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_path: Option<f64>,
}

fn imagenet_classes() -> usize {
    1000
}

fn rgb() -> usize {
    3
}

impl BackboneConfig {
    /// `architecture` with its own dropout.
    pub fn new(architecture: &str, num_classes: usize, in_channels: usize) -> Self {
        Self {
            architecture: architecture.into(),
            num_classes,
            in_channels,
            dropout: None,
            drop_path: None,
        }
    }

    /// What the published weights of this architecture expect of an image.
    pub fn default_preprocessing(&self) -> Result<Preprocessing> {
        arch::preprocessing(&self.architecture).ok_or_else(|| self.unknown())
    }

    /// The untrained network; weights are drawn on `device` when they are first used.
    pub fn init(&self, device: &Device) -> Result<Backbone> {
        let config = arch::config(&self.architecture).ok_or_else(|| self.unknown())?;
        self.check(&config)?;
        let (classes, channels) = (self.num_classes, self.in_channels);
        Ok(match config {
            AnyConfig::ResNet(c) => {
                let dropout = self.dropout.unwrap_or(c.dropout);
                let c = c.with_num_classes(classes).with_in_channels(channels);
                Backbone::ResNet(c.with_dropout(dropout).init(device))
            }
            AnyConfig::EfficientNet(mut c) => {
                c.dropout = self.dropout.unwrap_or(c.dropout);
                c.drop_path = self.drop_path.unwrap_or(c.drop_path);
                let c = c.with_num_classes(classes).with_in_channels(channels);
                Backbone::EfficientNet(c.init(device))
            }
            AnyConfig::EfficientNetLite(mut c) => {
                c.dropout = self.dropout.unwrap_or(c.dropout);
                c.drop_path = self.drop_path.unwrap_or(c.drop_path);
                let c = c.with_num_classes(classes).with_in_channels(channels);
                Backbone::EfficientNetLite(c.init(device))
            }
            AnyConfig::MobileNetV2(c) => {
                let dropout = self.dropout.unwrap_or(c.dropout);
                let c = c.with_num_classes(classes).with_in_channels(channels);
                Backbone::MobileNetV2(c.with_dropout(dropout).init(device))
            }
        })
    }

    fn unknown(&self) -> Error {
        Error::unknown(
            "architecture",
            &self.architecture,
            architectures().iter().copied(),
        )
    }

    fn check(&self, config: &AnyConfig) -> Result<()> {
        let wrong = |field: &str, value: String, expected: &str| {
            Err(Error::input(
                format!("config of {}", self.architecture),
                format!("{field} {value}"),
                expected,
            ))
        };
        for (field, value) in [
            ("num_classes", self.num_classes),
            ("in_channels", self.in_channels),
        ] {
            if value == 0 {
                return wrong(field, value.to_string(), "at least 1");
            }
        }
        for (field, value) in [("dropout", self.dropout), ("drop_path", self.drop_path)] {
            match value {
                Some(p) if !(0.0..1.0).contains(&p) => {
                    return wrong(field, p.to_string(), "a probability in [0, 1)");
                }
                _ => {}
            }
        }
        let has_drop_path = matches!(
            config,
            AnyConfig::EfficientNet(_) | AnyConfig::EfficientNetLite(_)
        );
        match self.drop_path {
            Some(p) if !has_drop_path => wrong(
                "drop_path",
                p.to_string(),
                "none: this architecture has no stochastic depth",
            ),
            _ => Ok(()),
        }
    }
}

/// Any of the networks. Should be created with [`BackboneConfig`].
///
/// Keys in weight files are those of the network itself; the variant's name is not part of them.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a process holds one or two")]
pub enum Backbone {
    /// [`resnet`](super::resnet)
    ResNet(ResNet),
    /// [`efficientnet`](super::efficientnet)
    EfficientNet(EfficientNet),
    /// [`efficientnet_lite`](super::efficientnet_lite)
    EfficientNetLite(EfficientNetLite),
    /// [`mobilenet_v2`](super::mobilenet_v2)
    MobileNetV2(MobileNetV2),
}

impl Backbone {
    fn net(&self) -> &dyn ConvNet {
        match self {
            Self::ResNet(m) => m,
            Self::EfficientNet(m) => m,
            Self::EfficientNetLite(m) => m,
            Self::MobileNetV2(m) => m,
        }
    }

    /// Loads a checkpoint of any format in the published layout, strictly.
    pub fn load(&mut self, path: &Path) -> Result<LoadReport> {
        self.load_with(path, LoadOptions::default())
    }

    /// Loads a checkpoint, tolerating what `options` says; see [`head_keys`](ConvNet::head_keys).
    pub fn load_with(&mut self, path: &Path, options: LoadOptions<'_>) -> Result<LoadReport> {
        let map = self.key_map();
        weights::load_with(self, path, map, options)
    }

    /// Loads safetensors from memory, strictly; `name` stands for the file in messages.
    pub fn load_bytes(&mut self, bytes: &[u8], name: &str) -> Result<LoadReport> {
        let map = self.key_map();
        weights::load_bytes(self, bytes, name, map)
    }

    /// Saves the weights as safetensors in the published layout.
    pub fn save(&self, path: &Path, dtype: SaveDtype) -> Result<()> {
        weights::save(self, path, self.key_map(), dtype)
    }

    /// The published keys and shapes, sorted.
    pub fn published_keys(&self) -> Vec<(String, Vec<usize>)> {
        weights::published_keys(self, self.key_map())
    }
}

impl ConvNet for Backbone {
    fn key_map(&self) -> &'static KeyMap {
        self.net().key_map()
    }

    fn pool_head(&self) -> &PoolHead {
        self.net().pool_head()
    }

    fn pool_head_mut(&mut self) -> &mut PoolHead {
        match self {
            Self::ResNet(m) => m.pool_head_mut(),
            Self::EfficientNet(m) => m.pool_head_mut(),
            Self::EfficientNetLite(m) => m.pool_head_mut(),
            Self::MobileNetV2(m) => m.pool_head_mut(),
        }
    }

    fn walk(&self, x: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4> {
        self.net().walk(x, visit)
    }

    fn fold(self) -> Self {
        match self {
            Self::ResNet(m) => Self::ResNet(m.fold()),
            Self::EfficientNet(m) => Self::EfficientNet(m.fold()),
            Self::EfficientNetLite(m) => Self::EfficientNetLite(m.fold()),
            Self::MobileNetV2(m) => Self::MobileNetV2(m.fold()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn tiny(name: &str) -> BackboneConfig {
        BackboneConfig::new(name, 5, 3)
    }

    #[test]
    fn config_reads_a_timm_folder_and_refuses_nonsense() {
        let text = r#"{"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {}}"#;
        let config: BackboneConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config, BackboneConfig::new("resnet18", 1000, 3));
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(
            written,
            r#"{"architecture":"resnet18","num_classes":1000,"in_channels":3}"#
        );

        let device = Device::flex();
        let message = |config: BackboneConfig| config.init(&device).unwrap_err().to_string();
        assert!(message(tiny("resnet_tinny")).contains("did you mean 'resnet_tiny'"));
        assert!(message(BackboneConfig::new("resnet_tiny", 0, 3)).contains("num_classes 0"));
        let config = BackboneConfig {
            dropout: Some(1.0),
            ..tiny("resnet_tiny")
        };
        assert!(message(config).contains("dropout 1"));
        let config = BackboneConfig {
            drop_path: Some(0.1),
            ..tiny("resnet_tiny")
        };
        assert!(message(config).contains("no stochastic depth"));
    }

    #[test]
    fn a_saved_network_answers_the_same_after_loading_and_folding() {
        let device = Device::flex();
        device.seed(4);
        let dir = tempfile::tempdir().unwrap();
        for name in ["resnet_tiny", "efficientnet_tiny"] {
            let model = tiny(name).init(&device).unwrap();
            let x = Tensor::random([2, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
            let expected = model.forward(x.clone());
            let path = dir.path().join(name);
            model.save(&path, SaveDtype::F32).unwrap();
            let mut loaded = tiny(name).init(&device).unwrap();
            let report = loaded.load(&path).unwrap();
            assert!(report.loaded > 20 && report.missing.is_empty());
            let values = |x: Tensor<2>| x.into_data().try_into_vec_as::<f32>().unwrap();
            assert_eq!(values(loaded.forward(x.clone())), values(expected.clone()));
            let folded = values(loaded.fold().forward(x));
            let largest = folded
                .iter()
                .zip(values(expected))
                .map(|(a, b)| (a - b).abs());
            assert!(largest.fold(0.0, f32::max) < 1e-5);
        }
    }

    #[test]
    fn a_valid_network_is_differentiable_in_its_input_and_keeps_its_statistics() {
        let device = Device::flex();
        let model = tiny("efficientnet_tiny").init(&device).unwrap().valid();
        let lifted = device.clone().autodiff();
        let x = Tensor::<4>::random([1, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
        let plain = model.forward(x.clone());
        let x = Tensor::from_data(x.into_data(), &lifted).require_grad();
        let logits = model.forward(x.clone());
        let grads = logits.clone().sum().backward();
        let largest = x.grad(&grads).unwrap().abs().max().into_scalar::<f32>();
        assert!(largest.is_finite() && largest > 0.0, "{largest}");
        assert!((logits.inner() - plain).abs().max().into_scalar::<f32>() < 1e-6);
    }

    #[test]
    fn a_new_head_keeps_the_features() {
        let device = Device::flex();
        let model = tiny("efficientnet_tiny").init(&device).unwrap();
        let x = Tensor::ones([1, 3, 32, 32], &device);
        let before = model.features(x.clone());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        model.save(&path, SaveDtype::F32).unwrap();
        let model = model.replace_head(7, &device);
        assert_eq!(model.forward(x.clone()).dims(), [1, 7]);
        assert!(
            (model.features(x.clone()) - before.clone())
                .abs()
                .max()
                .into_scalar::<f32>()
                == 0.0
        );

        let mut other = BackboneConfig::new("efficientnet_tiny", 9, 3)
            .init(&device)
            .unwrap();
        assert!(
            other
                .load(&path)
                .unwrap_err()
                .to_string()
                .contains("classifier.1.weight")
        );
        let head = other.head_keys();
        assert_eq!(head, "classifier.1.{}");
        let options = LoadOptions {
            allow_missing: &[&head],
            ..Default::default()
        };
        assert_eq!(other.load_with(&path, options).unwrap().misshaped.len(), 2);
        assert!(
            (other.features(x) - before)
                .abs()
                .max()
                .into_scalar::<f32>()
                == 0.0
        );
    }
}
