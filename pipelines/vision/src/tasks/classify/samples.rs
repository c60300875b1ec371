//! Labelled images as training samples and batches; the same preprocessing as prediction.

use crate::{
    augment::{Augment, AugmentConfig, mix},
    models::{Backbone, ConvNet},
    preprocess::Preprocessing,
};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};
use panoply_core::{
    Error, Result,
    fit::{Collate, Samples, StepOutput, Targets, Trainable, cross_entropy},
};
use panoply_datasets::ImageSet;

/// A decoded, augmented, normalised image with its class.
pub(super) struct Sample {
    /// `[channels, height, width]`, row by row.
    pixels: Vec<f32>,
    class: usize,
}

/// An [`ImageSet`] seen through preprocessing, and through augmentation while training.
pub(super) struct ImageSamples<'a> {
    pub(super) set: &'a ImageSet,
    pub(super) preprocessing: &'a Preprocessing,
    pub(super) augment: Option<&'a Augment>,
}

impl Samples for ImageSamples<'_> {
    type Sample = Sample;

    fn len(&self) -> usize {
        self.set.len()
    }

    fn load(&self, index: usize, seed: u64) -> Result<Sample> {
        let image = self.set.image(index)?;
        let pixels = match self.augment {
            Some(augment) => augment.pixels(&image, self.preprocessing, seed),
            None => self.preprocessing.pixels(&image),
        };
        let class = self
            .set
            .label(index)
            .ok_or_else(|| Error::input(self.set.name(index), "no label", "a class"))?;
        Ok(Sample { pixels, class })
    }
}

/// One batch.
pub(super) struct Batch {
    /// `[batch, channels, height, width]`.
    pub(super) images: Tensor<4>,
    pub(super) targets: Targets,
    /// Unmixed classes.
    pub(super) classes: Vec<usize>,
}

/// Stacks samples; mixes them where MixUp or CutMix is on.
pub(super) struct ImageCollate {
    /// `[channels, height, width]`.
    pub(super) shape: [usize; 3],
    pub(super) num_classes: usize,
    /// `None` for validation.
    pub(super) mix: Option<AugmentConfig>,
}

impl Collate<Sample> for ImageCollate {
    type Batch = Batch;

    fn collate(&self, samples: Vec<Sample>, seed: u64, device: &Device) -> Result<Batch> {
        let batch = samples.len();
        let [channels, height, width] = self.shape;
        let classes: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
        let mut pixels = Vec::with_capacity(batch * channels * height * width);
        for sample in samples {
            pixels.extend(sample.pixels);
        }
        let mixed = self.mix.as_ref().and_then(|config| {
            mix(
                config,
                &mut pixels,
                self.shape,
                &classes,
                self.num_classes,
                seed,
            )
        });
        let targets = if let Some(soft) = mixed {
            Targets::Soft(Tensor::from_data(
                TensorData::new(soft, [batch, self.num_classes]),
                device,
            ))
        } else {
            let indices: Vec<i64> = classes.iter().map(|&class| class as i64).collect();
            let indices = TensorData::new(indices, [batch]);
            Targets::Classes(Tensor::<1, Int>::from_data(indices, device))
        };
        let images = Tensor::from_data(
            TensorData::new(pixels, [batch, channels, height, width]),
            device,
        );
        Ok(Batch {
            images,
            targets,
            classes,
        })
    }
}

/// A backbone with its loss.
#[derive(Module, Debug)]
pub(super) struct Supervised {
    pub(super) backbone: Backbone,
    #[module(skip)]
    pub(super) label_smoothing: f64,
}

impl Trainable for Supervised {
    type Batch = Batch;

    fn loss(&self, batch: Batch) -> StepOutput {
        let logits = self.backbone.forward(batch.images);
        let correct = num_correct(&logits, &batch.classes);
        let loss = cross_entropy(logits, batch.targets, self.label_smoothing);
        StepOutput {
            loss,
            num_samples: batch.classes.len(),
            metrics: vec![("accuracy", correct)],
        }
    }
}

/// How many rows of `[batch, classes]` have their largest logit at the row's class.
fn num_correct(logits: &Tensor<2>, classes: &[usize]) -> f64 {
    let best = logits.clone().inner().argmax(1).into_data();
    let best = best.iter::<i64>();
    best.zip(classes)
        .filter(|(found, class)| usize::try_from(*found) == Ok(**class))
        .count() as f64
}
