//! The recipes of `vision classify`: typed configs, one function each.

use super::eval::METRICS;
use crate::{augment::AugmentConfig, preprocess::MAX_SIDE};
use panoply_core::{
    Error, RecipeInfo, Result,
    fit::{BestMetric, FitConfig, OptimizerConfig, OptimizerName, ScheduleConfig},
    recipe,
};
use serde::{Deserialize, Serialize};

/// Names and summaries, in the order of `info`; the first is the default.
pub const RECIPES: &[RecipeInfo] = &[
    RecipeInfo {
        name: "debug",
        about: "a tiny ResNet on the bundled slice of Fashion-MNIST (2,000 images), seconds: does everything work?",
    },
    RecipeInfo {
        name: "fashion-mnist",
        about: "a small ResNet from scratch on Fashion-MNIST; --data FOLDER with the four IDX files; about an hour on two cores; test accuracy .935",
    },
    RecipeInfo {
        name: "finetune",
        about: "the bundled EfficientNet-Lite0 (or --model) with a new head; --data any image folder",
    },
];

/// Everything that decides what a run computes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Data.
    pub data: DataConfig,
    /// Model.
    pub model: ModelConfig,
    /// Random changes of training images.
    pub augment: AugmentConfig,
    /// Label smoothing (Szegedy et al. 2016), 0 for none.
    pub label_smoothing: f64,
    /// The training loop.
    pub fit: FitConfig,
}

/// Which images, and how they are split.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Train on the bundled slice of Fashion-MNIST unless `--data` names a data set.
    pub bundled: bool,
    /// Fraction of the training images held out, class by class, where the set has no validation split.
    pub validation: f64,
}

/// Which network, and where its weights come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Architecture name; ignored where `pretrained` names a model.
    pub architecture: String,
    /// Input channels: 3, or 1 for grey images.
    pub in_channels: usize,
    /// Side of the square input in pixels; `null` for the architecture's or the pretrained model's own.
    pub image_size: Option<u32>,
    /// Model whose weights are the start (bundled name, folder, Hub name); its head is replaced.
    pub pretrained: Option<String>,
    /// Train the head only.
    pub freeze_backbone: bool,
}

impl Recipe {
    /// Refuses what could only fail later, by name: before data is read and anything is written.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |field: &str, value: String, expected: &str| Err(Error::input(field, value, expected));
        let ModelConfig {
            in_channels,
            image_size,
            ..
        } = self.model;
        if !matches!(in_channels, 1 | 3) {
            let expected = "3 (RGB) or 1 (grey)";
            return wrong("model.in_channels", in_channels.to_string(), expected);
        }
        if let Some(size) = image_size
            && !(1..=MAX_SIDE).contains(&size)
        {
            let expected = format!("null, or 1 to {MAX_SIDE} pixels");
            return wrong("model.image_size", size.to_string(), &expected);
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let value = self.label_smoothing.to_string();
            return wrong("label_smoothing", value, "in [0, 1)");
        }
        self.augment.check()?;
        self.fit.validate()?;
        let best = self.fit.best_metric.as_ref().map(|best| &best.name);
        let early = self.fit.early_stopping.as_ref().map(|early| &early.metric);
        match [best, early]
            .into_iter()
            .flatten()
            .find(|name| !METRICS.contains(&name.as_str()))
        {
            Some(name) => Err(Error::unknown("validation metric", name, METRICS)),
            None => Ok(()),
        }
    }

    /// The recipe called `name`.
    pub fn named(name: &str) -> Result<Self> {
        recipe::named(
            name,
            RECIPES,
            &[Self::debug, Self::fashion_mnist, Self::finetune],
        )
    }

    /// `cargo xtask train vision classify --recipe debug`: seconds on two cores.
    pub fn debug() -> Self {
        Self {
            data: DataConfig {
                bundled: true,
                validation: 0.1,
            },
            model: ModelConfig {
                architecture: "resnet_tiny".into(),
                in_channels: 1,
                image_size: Some(28),
                pretrained: None,
                freeze_backbone: false,
            },
            augment: AugmentConfig::default(),
            label_smoothing: 0.0,
            fit: FitConfig {
                epochs: 3,
                batch_size: 50,
                optimizer: OptimizerConfig {
                    lr: 3e-3,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    warmup_epochs: 0.3,
                    ..ScheduleConfig::default()
                },
                best_metric: Some(BestMetric::max("accuracy")),
                ..FitConfig::default()
            },
        }
    }

    /// `cargo xtask train vision classify --recipe fashion-mnist --data FOLDER`: the published 60,000
    /// training images, a tenth of them held out; validation accuracy .9402, accuracy on the 10,000
    /// test images .9349 (one run, seed 0).
    pub fn fashion_mnist() -> Self {
        let small = Self::debug();
        Self {
            model: ModelConfig {
                architecture: "resnet_small".into(),
                ..small.model
            },
            augment: AugmentConfig {
                horizontal_flip: 0.5,
                random_crop_padding: 2,
                ..AugmentConfig::default()
            },
            label_smoothing: 0.1,
            fit: FitConfig {
                epochs: 8,
                batch_size: 128,
                optimizer: OptimizerConfig {
                    lr: 4e-3,
                    weight_decay: 0.02,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    warmup_epochs: 1.0,
                    ..ScheduleConfig::default()
                },
                checkpoint_every_steps: Some(200),
                ..small.fit
            },
            ..small
        }
    }

    /// `cargo xtask train vision classify --recipe finetune --data FOLDER [--model MODEL]`.
    pub fn finetune() -> Self {
        Self {
            data: DataConfig {
                bundled: false,
                validation: 0.2,
            },
            model: ModelConfig {
                architecture: "efficientnet_lite0".into(),
                in_channels: 3,
                image_size: None,
                pretrained: Some(super::BUNDLED.into()),
                freeze_backbone: false,
            },
            augment: AugmentConfig {
                horizontal_flip: 0.5,
                random_resized_crop: true,
                ..AugmentConfig::default()
            },
            label_smoothing: 0.1,
            fit: FitConfig {
                epochs: 5,
                batch_size: 16,
                optimizer: OptimizerConfig {
                    name: OptimizerName::AdamW,
                    lr: 3e-4,
                    weight_decay: 0.05,
                    ..OptimizerConfig::default()
                },
                schedule: ScheduleConfig {
                    warmup_epochs: 0.5,
                    ..ScheduleConfig::default()
                },
                clip_norm: Some(1.0),
                best_metric: Some(BestMetric::max("accuracy")),
                ..FitConfig::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panoply_core::recipe::apply_sets;

    #[test]
    fn every_recipe_is_valid_and_a_slip_is_named() {
        for recipe in RECIPES {
            Recipe::named(recipe.name).unwrap().check().unwrap();
        }
        for (set, expected) in [
            ("model.in_channels=5", "model.in_channels: 5; expected 3"),
            (
                "model.image_size=0",
                "model.image_size: 0; expected null, or 1",
            ),
            ("model.image_size=5000", "1 to 4096"),
            (
                "label_smoothing=-1",
                "label_smoothing: -1; expected in [0, 1)",
            ),
            ("label_smoothing=1", "label_smoothing: 1;"),
            ("augment.hue=3", "augment.hue: 3"),
            ("fit.epochs=0", "epochs: 0"),
            ("fit.best_metric.name=acuracy", "did you mean 'accuracy'"),
            (
                r#"fit.early_stopping={"metric":"auc","mode":"max","patience":1}"#,
                "unknown validation metric 'auc'",
            ),
        ] {
            let recipe = apply_sets(Recipe::debug(), &[set.to_string()]).unwrap();
            let error = recipe.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{set}: {error}");
        }
    }
}
