//! Parity of the networks with torchvision and with `efficientnet_lite_pytorch`.
//!
//! The reference outputs were made by `fixtures/reference.py`, whose header pins the versions. Tiny
//! models load committed random weights from files that PyTorch wrote. Full-size ones take theirs
//! from a formula that both sides evaluate, so that only outputs are committed.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Distribution, Gradients, Tensor, TensorData},
};
use panoply_core::{Result, weights};
use panoply_testkit::Golden;
use panoply_vision::models::{
    Backbone, BackboneConfig, ConvNet, StageConfig, architectures,
    efficientnet::EfficientNetConfig, efficientnet_lite::EfficientNetLiteConfig,
    mobilenet_v2::MobileNetV2Config, resnet::ResNetConfig,
};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use std::path::{Path, PathBuf};

const TOLERANCE: f64 = 1e-4;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Compares stem, stages and logits of a tiny model, unfolded and folded.
fn check_tiny(name: &str, mut model: Backbone) -> Result<()> {
    let device = Device::flex();
    model.load(&fixture(&format!("{name}.weights.safetensors")))?;
    let mut golden = Golden::open(&fixture(&format!("{name}.outputs.safetensors")))?;
    let x = golden.tensor::<4>("input", &device)?;
    let mut last = None;
    for (stage, y) in model.stages(x.clone()) {
        golden.check(&stage, &y, TOLERANCE);
        last = Some(y);
    }
    golden.check(
        "logits",
        &model.head(last.expect("a network has stages")),
        TOLERANCE,
    );
    golden.check("logits", &model.forward(x.clone()), TOLERANCE);
    golden.check("logits", &model.fold().forward(x), TOLERANCE);
    // The input is not an output; all else was compared, the logits three times.
    assert_eq!(
        golden.names().count() - 1 + 2,
        golden.passed().len() + golden.mismatches().len()
    );
    golden.finish();
    Ok(())
}

fn tiny_resnet(config: ResNetConfig) -> Backbone {
    Backbone::ResNet(config.with_num_classes(10).init(&Device::flex()))
}

#[test]
fn resnet_with_basic_blocks() -> Result<()> {
    check_tiny(
        "resnet_basic",
        tiny_resnet(ResNetConfig::new([1; 4], false).with_width(6)),
    )
}

#[test]
fn resnet_with_bottlenecks() -> Result<()> {
    check_tiny(
        "resnet_bottleneck",
        tiny_resnet(ResNetConfig::new([1, 2, 1, 1], true).with_width(4)),
    )
}

#[test]
fn resnet_version_1() -> Result<()> {
    let config = ResNetConfig {
        layers: [1, 2, 1, 1],
        ..ResNetConfig::resnet50_v1()
    };
    check_tiny("resnet_v1", tiny_resnet(config.with_width(4)))
}

#[test]
fn resnet_with_a_small_stem_on_grey_images() -> Result<()> {
    let config = ResNetConfig::tiny().with_width(4).with_in_channels(1);
    check_tiny("resnet_small_stem", tiny_resnet(config))
}

#[test]
fn efficientnet() -> Result<()> {
    let config = EfficientNetConfig::tiny()
        .with_norm_eps(1e-3)
        .with_num_classes(10);
    check_tiny(
        "efficientnet",
        Backbone::EfficientNet(config.init(&Device::flex())),
    )
}

#[test]
fn efficientnet_lite_on_an_odd_size() -> Result<()> {
    let config = EfficientNetLiteConfig::tiny().with_num_classes(10);
    check_tiny(
        "efficientnet_lite",
        Backbone::EfficientNetLite(config.init(&Device::flex())),
    )
}

#[test]
fn mobilenet_v2() -> Result<()> {
    let config = MobileNetV2Config::tiny().with_num_classes(10);
    check_tiny(
        "mobilenet_v2",
        Backbone::MobileNetV2(config.init(&Device::flex())),
    )
}

/// Numbers in [-1, 1): `uniform` of reference.py.
fn uniform(key: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = key.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (1..=count as u64).map(move |i| {
        let z = i.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(seed);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 * 2.0_f32.powi(-23) - 1.0
    })
}

/// `formula` of reference.py.
fn formula(key: &str, shape: &[usize]) -> Vec<f32> {
    let fan_in: usize = shape[1..].iter().product();
    let (scale, offset) = match shape.len() {
        _ if key == "input" => (1.7, 0.0),
        4 => ((6.0 / fan_in as f64).sqrt(), 0.0),
        2 => ((3.0 / fan_in as f64).sqrt(), 0.0),
        _ if key.ends_with("running_var") => (0.5, 1.0),
        _ if key.ends_with(".weight") => (0.25, 1.0),
        _ => (0.1, 0.0),
    };
    let (scale, offset) = (scale as f32, offset as f32);
    uniform(key, shape.iter().product())
        .map(|u| u * scale + offset)
        .collect()
}

fn formula_input(size: usize, device: &Device) -> Tensor<4> {
    let shape = [1, 3, size, size];
    Tensor::from_data(TensorData::new(formula("input", &shape), shape), device)
}

/// A safetensors file of formula weights for all keys of `model`.
fn formula_weights(model: &Backbone) -> Vec<u8> {
    let keys = model.published_keys();
    let tensors: Vec<_> = keys
        .into_iter()
        .filter(|(key, _)| !key.ends_with("num_batches_tracked"))
        .map(|(key, shape)| {
            let bytes: Vec<u8> = formula(&key, &shape)
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect();
            (key, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(key, shape, bytes)| {
        (
            key,
            TensorView::new(Dtype::F32, shape.clone(), bytes).expect("4 bytes an element"),
        )
    });
    safetensors::serialize(views, None).expect("views are valid")
}

/// Compares 64 samples and the statistics of each stage, and all logits, relative to the largest
/// magnitude of each.
fn check_large(golden: &mut Golden, prefix: &str, model: &Backbone, x: Tensor<4>) {
    let mut last = None;
    for (stage, y) in model.stages(x) {
        let values: Vec<f64> = y.try_to_vec_as().expect("the CPU can be read");
        let n = values.len();
        let samples: Vec<f64> = (0..64).map(|i| values[i * n / 64]).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let rms = (values.iter().map(|v| v * v).sum::<f64>() / n as f64).sqrt();
        let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let tolerance = TOLERANCE * largest;
        golden.check_values(
            &format!("{prefix}{stage}/samples"),
            &[64],
            &samples,
            tolerance,
        );
        let summary = [mean, rms, largest];
        golden.check_values(
            &format!("{prefix}{stage}/summary"),
            &[3],
            &summary,
            tolerance,
        );
        last = Some(y);
    }
    let logits = model.head(last.expect("a network has stages"));
    let largest = f64::from(logits.clone().abs().max().into_scalar::<f32>());
    golden.check(&format!("{prefix}logits"), &logits, TOLERANCE * largest);
}

fn check_full_size(name: &str) -> Result<()> {
    let device = Device::flex();
    let mut golden = Golden::open(&fixture("full_size.safetensors"))?;
    let mut model = BackboneConfig::new(name, 1000, 3).init(&device)?;
    let weights = formula_weights(&model);
    model.load_bytes(&weights, name)?;
    check_large(
        &mut golden,
        &format!("{name}/"),
        &model,
        formula_input(64, &device),
    );
    let expected = golden
        .names()
        .filter(|n| n.starts_with(&format!("{name}/")))
        .count();
    assert_eq!(golden.passed().len() + golden.mismatches().len(), expected);
    golden.finish();
    Ok(())
}

#[test]
fn full_size_resnet18() -> Result<()> {
    check_full_size("resnet18")
}

#[test]
fn full_size_resnet50() -> Result<()> {
    check_full_size("resnet50")
}

#[test]
fn full_size_efficientnet_b0() -> Result<()> {
    check_full_size("efficientnet_b0")
}

#[test]
fn full_size_efficientnet_lite0() -> Result<()> {
    check_full_size("efficientnet_lite0")
}

#[test]
fn full_size_mobilenet_v2() -> Result<()> {
    check_full_size("mobilenet_v2")
}

#[test]
fn the_bundled_efficientnet_lite0_on_its_real_weights() {
    let device = Device::flex();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/efficientnet-lite0");
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config: BackboneConfig = serde_json::from_str(&text).unwrap();
    let mut model = config.init(&device).unwrap();
    assert_eq!(
        model
            .load(&folder.join("model.safetensors"))
            .unwrap()
            .loaded,
        247
    );
    let mut golden = Golden::open(&fixture("bundled.safetensors")).unwrap();
    check_large(&mut golden, "", &model, formula_input(224, &device));
    let largest = golden
        .passed()
        .iter()
        .find(|(name, _)| name == "logits")
        .unwrap()
        .1;
    assert!(largest < 1e-3, "{largest}");
    golden.finish();
}

#[test]
fn parameter_counts_and_keys_are_the_published_ones() {
    // torchvision's `meta["num_params"]`; timm's `tf_efficientnet_lite*`.
    let published = [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("efficientnet_b0", 5_288_548),
        ("efficientnet_b1", 7_794_184),
        ("efficientnet_b2", 9_109_994),
        ("efficientnet_b3", 12_233_232),
        ("efficientnet_b4", 19_341_616),
        ("efficientnet_b5", 30_389_784),
        ("efficientnet_b6", 43_040_704),
        ("efficientnet_b7", 66_347_960),
        ("mobilenet_v2", 3_504_872),
        ("efficientnet_lite0", 4_652_008),
        ("efficientnet_lite1", 5_416_680),
        ("efficientnet_lite2", 6_092_072),
        ("efficientnet_lite3", 8_197_096),
        ("efficientnet_lite4", 13_006_568),
    ];
    let text = std::fs::read_to_string(fixture("layouts.json")).unwrap();
    let layouts: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(layouts.as_object().unwrap().len(), published.len());
    for (name, count) in published {
        let model = BackboneConfig::new(name, 1000, 3)
            .init(&Device::flex())
            .unwrap();
        assert_eq!(weights::num_params(&model), count, "{name}");
        assert_eq!(layouts[name]["num_params"], count, "{name}");
        let digest = weights::digest(&model.published_keys());
        assert_eq!(layouts[name]["digest"], digest, "{name}");
    }
}

/// Names of parameters whose gradient is absent, not finite or all zero.
struct Audit<'g> {
    path: Vec<String>,
    grads: &'g Gradients,
    seen: usize,
    bad: Vec<String>,
}

impl ModuleVisitor for Audit<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self
            .path
            .last()
            .is_some_and(|name| name.starts_with("running_"))
        {
            return;
        }
        self.seen += 1;
        let largest = param
            .val()
            .grad(self.grads)
            .map_or(f32::NAN, |g| g.abs().max().into_scalar());
        if !(largest.is_finite() && largest > 0.0) {
            self.bad.push(format!("{}: {largest}", self.path.join(".")));
        }
    }
}

#[test]
fn every_parameter_gets_a_gradient() {
    let device = Device::flex().autodiff();
    device.seed(7);
    let stages = EfficientNetLiteConfig::tiny().stages;
    assert!(stages.contains(&StageConfig::new(4, 5, 2, 16, 24, 2)));
    let models = [
        Backbone::ResNet(ResNetConfig::tiny().init(&device)),
        Backbone::ResNet(
            ResNetConfig::new([1, 2, 1, 1], true)
                .with_width(4)
                .init(&device),
        ),
        Backbone::EfficientNet(EfficientNetConfig::tiny().with_drop_path(0.0).init(&device)),
        Backbone::EfficientNetLite(
            EfficientNetLiteConfig::tiny()
                .with_drop_path(0.0)
                .init(&device),
        ),
        Backbone::MobileNetV2(MobileNetV2Config::tiny().init(&device)),
    ];
    for model in models {
        let x = Tensor::random([8, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
        let logits = model.forward(x);
        let grads = (logits.clone() * logits).mean().backward();
        let mut audit = Audit {
            path: Vec::new(),
            grads: &grads,
            seen: 0,
            bad: Vec::new(),
        };
        model.visit(&mut audit);
        assert!(
            audit.seen > 20 && audit.bad.is_empty(),
            "{} of {}",
            audit.bad.join(", "),
            audit.seen
        );
    }
}

#[test]
fn every_architecture_takes_grey_images_and_other_classes() {
    let device = Device::flex();
    for name in architectures()
        .iter()
        .filter(|n| n.contains("tiny") || n.contains("lite0"))
    {
        let model = BackboneConfig::new(name, 7, 1).init(&device).unwrap();
        let x = Tensor::ones([2, 1, 33, 40], &device);
        assert_eq!(model.forward(x).dims(), [2, 7], "{name}");
    }
}
