//! Vision workloads: preprocessing, forward, end to end, training step.

use crate::Workload;
use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLearningRate,
    nn::loss::CrossEntropyLossConfig,
    optim::{AdamWConfig, GradientsParams},
    tensor::{Device, Distribution, Int, Tensor},
};
use panoply_datasets::{bundled, image::decode};
use panoply_vision::{
    models::{Backbone, BackboneConfig, ConvNet},
    preprocess::Preprocessing,
    tasks::classify::published_preprocessing,
};

/// Every workload, in the order of measurement. The suffix is the batch size.
pub const NAMES: &[&str] = &[
    "preprocess_b8",
    "forward_resnet50_b1",
    "forward_resnet50_b8",
    "forward_efficientnet_b0_b1",
    "forward_efficientnet_b0_b8",
    "end_to_end_efficientnet_b0_b1",
    "end_to_end_efficientnet_b0_b8",
    "train_step_resnet18_b32",
];

/// The workload called `name`; `None` if there is none.
pub fn workload(name: &str) -> Option<Workload> {
    let name = *NAMES.iter().find(|known| **known == name)?;
    let (what, batch) = name.rsplit_once("_b")?;
    let batch: usize = batch.parse().ok()?;
    let run = match what.split_once("preprocess") {
        Some(_) => preprocess(batch),
        None if what.starts_with("forward_") => forward(what.strip_prefix("forward_")?, batch),
        None if what.starts_with("end_to_end_") => {
            end_to_end(what.strip_prefix("end_to_end_")?, batch)
        }
        None => train_step(what.strip_prefix("train_step_")?, batch),
    };
    Some(Workload { name, batch, run })
}

fn photo() -> &'static [u8] {
    let found = bundled::photos()
        .iter()
        .find(|(name, _)| *name == "rocket.jpg");
    found.expect("rocket.jpg is bundled").1
}

fn tensor(preprocessing: &Preprocessing, batch: usize, device: &Device) -> Tensor<4> {
    let photos: Vec<_> = (0..batch)
        .map(|_| decode(photo(), "rocket.jpg").expect("a bundled photo decodes"))
        .collect();
    preprocessing
        .batch(&photos, device)
        .expect("a bundled photo is preprocessed")
}

fn preprocess(batch: usize) -> Box<dyn FnMut()> {
    let preprocessing = published("resnet50");
    Box::new(move || {
        tensor(&preprocessing, batch, &Device::flex());
    })
}

fn known(architecture: &str, num_classes: usize) -> BackboneConfig {
    BackboneConfig::new(architecture, num_classes, 3)
}

fn published(architecture: &str) -> Preprocessing {
    published_preprocessing(&known(architecture, 1000))
        .expect("the benches name known architectures")
}

/// A network with random weights, folded as for inference.
fn network(architecture: &str) -> Backbone {
    let device = Device::flex();
    device.seed(0);
    known(architecture, 1000)
        .init(&device)
        .expect("a known architecture")
        .fold()
}

fn forward(name: &str, batch: usize) -> Box<dyn FnMut()> {
    let network = network(name);
    let input = Tensor::<4>::random([batch, 3, 224, 224], Distribution::Default, &Device::flex());
    Box::new(move || {
        network.forward(input.clone()).sum().into_scalar::<f32>();
    })
}

fn end_to_end(name: &str, batch: usize) -> Box<dyn FnMut()> {
    let (network, preprocessing) = (network(name), published(name));
    Box::new(move || {
        network
            .forward(tensor(&preprocessing, batch, &Device::flex()))
            .sum()
            .into_scalar::<f32>();
    })
}

/// Forward, backward and AdamW on 32x32 images and ten classes.
fn train_step(name: &str, batch: usize) -> Box<dyn FnMut()> {
    let device = Device::flex().autodiff();
    device.seed(0);
    let mut network = Some(known(name, 10).init(&device).expect("a known architecture"));
    let mut optimizer = AdamWConfig::new().init();
    let input = Tensor::<4>::random([batch, 3, 32, 32], Distribution::Default, &device);
    let classes = Tensor::<1, Int>::arange(0..batch as i64, &device).remainder_scalar(10);
    let loss = CrossEntropyLossConfig::new().init(&device);
    Box::new(move || {
        let now = network.take().expect("put back after each step");
        let value = loss.forward(now.forward(input.clone()), classes.clone());
        let gradients = GradientsParams::from_grads(value.backward(), &now);
        let now = optimizer.step(ModuleLearningRate::from(1e-3), now, gradients);
        value.into_scalar::<f32>();
        network = Some(now);
    })
}
