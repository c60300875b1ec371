//! `vision classify`: what is in this picture?
//!
//! | command | what it does |
//! |---|---|
//! | `cargo xtask run vision classify a.jpg` | five best ImageNet labels from the bundled EfficientNet-Lite0 |
//! | `cargo xtask train vision classify --recipe debug` | trains on the bundled slice of Fashion-MNIST |
//! | `cargo xtask eval vision classify --model DIR --data DIR` | top-1, top-5, per-class table, confusion matrix |
//! | `cargo xtask explain vision classify a.jpg --method grad-cam` | a heat map over the photo |

mod classifier;
mod draw;
mod eval;
mod explain;
mod keras;
mod recipe;
mod samples;
mod train;

pub use classifier::{BUNDLED, Classifier, Label, Prediction, published_preprocessing};
pub use recipe::{RECIPES, Recipe};

use crate::models::{BackboneConfig, ConvNet, architectures};
use burn::tensor::Device;
use panoply_core::{
    DataCheck, Error, Evaluation, ExplainRequest, Input, InputKind, ModelCard, ModelFolder, Output,
    PredictOptions, Predictor, RecipeInfo, Result, RunContext, Session, Task, TrainOutcome,
    TrainRequest, answer_batch, weights,
};
use panoply_datasets::{bundled, image::decode};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The task.
pub struct Classify;

impl Task for Classify {
    fn name(&self) -> &'static str {
        "classify"
    }

    fn about(&self) -> &'static str {
        "name what is in a picture (ImageNet labels, or your own after training)"
    }

    fn input_kind(&self) -> InputKind {
        InputKind::Image
    }

    fn recipes(&self) -> &'static [RecipeInfo] {
        RECIPES
    }

    fn examples(&self) -> Vec<Input> {
        bundled::photos()
            .iter()
            .map(|(name, bytes)| Input::bytes(*name, *bytes))
            .collect()
    }

    fn architectures(&self) -> Vec<(String, usize)> {
        let count = |name: &&str| {
            // Weights are drawn when first used: counting them costs nothing.
            let network = BackboneConfig::new(name, 1000, 3)
                .init(&Device::flex())
                .ok()?;
            Some((name.to_string(), weights::num_params(&network)))
        };
        architectures().iter().filter_map(count).collect()
    }

    fn explain_methods(&self) -> &'static [&'static str] {
        explain::METHODS
    }

    fn default_model(&self) -> &'static str {
        BUNDLED
    }

    fn open(&self, model: &str, context: &RunContext) -> Result<Box<dyn Session>> {
        Ok(Box::new(ClassifySession(Classifier::open(model, context)?)))
    }

    fn train(&self, request: &TrainRequest, context: &RunContext) -> Result<TrainOutcome> {
        train::train(request, context)
    }

    fn eval(
        &self,
        model: &str,
        data: &Path,
        batch: usize,
        context: &RunContext,
    ) -> Result<Evaluation> {
        eval::eval(&Classifier::open(model, context)?, data, batch, context)
    }

    fn check_data(&self, data: &Path, _context: &RunContext) -> Result<DataCheck> {
        train::check_data(data)
    }

    fn explain(&self, request: &ExplainRequest, context: &RunContext) -> Result<Output> {
        explain::explain(request, context)
    }

    fn import(&self, file: &Path, arch: &str, out: &Path) -> Result<ModelCard> {
        import(file, arch, out)
    }

    fn export(&self, model: &Path, format: &str, out: &Path) -> Result<PathBuf> {
        let classifier = Classifier::from_folder(&ModelFolder::open(model)?, &Device::flex())?;
        let published = layout(&classifier.config.architecture);
        if format != published {
            return Err(Error::unknown(
                "layout for this architecture",
                format,
                [published],
            ));
        }
        classifier.backbone.save(out, weights::SaveDtype::F32)?;
        Ok(out.into())
    }
}

/// The name of the layout that an architecture's weights are published in.
fn layout(architecture: &str) -> &'static str {
    if architecture.starts_with("efficientnet_lite") {
        "efficientnet-lite-pytorch"
    } else {
        "torchvision"
    }
}

/// Makes a model folder out of a checkpoint file.
fn import(file: &Path, architecture: &str, out: &Path) -> Result<ModelCard> {
    if keras::is_layers_model(file) {
        let tensors = keras::read(file)?;
        let folder =
            tempfile::tempdir().map_err(|e| Error::io("create", std::env::temp_dir(), e))?;
        let converted = folder.path().join(ModelFolder::WEIGHTS);
        weights::write_tensors(&converted, &tensors, weights::SaveDtype::F32)?;
        return import_published(&converted, file, architecture, out);
    }
    import_published(file, file, architecture, out)
}

/// `weights` holds the published layout; `origin` is what the user named.
fn import_published(
    file: &Path,
    origin: &Path,
    architecture: &str,
    out: &Path,
) -> Result<ModelCard> {
    let device = Device::flex();
    let head = BackboneConfig::new(architecture, 1, 3)
        .init(&device)?
        .head_keys()
        .replace("{}", "weight");
    let tensors = weights::read_tensors(file)?;
    let num_classes = tensors
        .iter()
        .find(|(key, _)| **key == head || key.ends_with(&format!(".{head}")));
    let num_classes = num_classes
        .and_then(|(_, tensor)| tensor.shape.first().copied())
        .ok_or_else(|| {
            Error::input(
                origin.display().to_string(),
                format!("no '{head}' in it"),
                format!("a checkpoint of {architecture}"),
            )
        })?;
    let config = BackboneConfig::new(architecture, num_classes, 3);
    let mut backbone = config.init(&device)?;
    backbone.load(file)?;
    let labels = if num_classes == 1000 {
        classifier::imagenet_labels()
    } else {
        Vec::new()
    };
    let card = classifier::card(
        &config,
        &backbone,
        labels,
        "unknown",
        &origin.display().to_string(),
    );
    let preprocessing = classifier::published_preprocessing(&config)?;
    classifier::write_folder(out, &config, &backbone, &preprocessing, &card)?;
    Ok(card)
}

/// A loaded classifier behind the task's edge.
struct ClassifySession(Classifier);

impl Session for ClassifySession {
    fn card(&self) -> &ModelCard {
        self.0.card()
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        let mut answers = Vec::with_capacity(inputs.len());
        for chunk in inputs.chunks(options.batch.max(1)) {
            answers.extend(self.predict_chunk(chunk, options));
        }
        answers
    }
}

impl ClassifySession {
    fn predict_chunk(&self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        answer_batch(
            "classifying",
            inputs,
            |input| decode(input.as_bytes()?, &input.name),
            |photos| {
                self.0
                    .postprocess(self.0.forward(self.0.preprocess(photos)?)?)
            },
            |input, photo, prediction| Self::output(input, photo, prediction, options),
        )
    }

    fn output(
        input: &Input,
        photo: &image::RgbImage,
        prediction: &Prediction,
        options: &PredictOptions,
    ) -> Result<Output> {
        if let Some(bad) = prediction.logits.iter().find(|logit| !logit.is_finite()) {
            return Err(Error::input(
                &input.name,
                format!("the model answers with a logit of {bad}"),
                eval::FINITE,
            ));
        }
        let mut table = vec![["", "label", "score"].map(String::from).to_vec()];
        for label in &prediction.labels {
            table.push(vec![
                String::new(),
                label.label.clone(),
                format!("{:.4}", label.score),
            ]);
        }
        let artefacts = if options.artefacts {
            let labels: Vec<(String, f64)> = prediction
                .labels
                .iter()
                .map(|l| (l.label.clone(), l.score))
                .collect();
            vec![draw::annotated(photo, &labels, &stem(&input.name))?]
        } else {
            Vec::new()
        };
        Ok(Output {
            json: json!({ "labels": prediction.labels }),
            raw: options.raw.then(|| json!({ "logits": prediction.logits })),
            table,
            artefacts,
            ..Output::default()
        })
    }
}

/// `a/b.jpg` → `b`; standard input → `stdin`.
fn stem(name: &str) -> String {
    if name == "-" {
        return "stdin".into();
    }
    Path::new(name).file_stem().map_or_else(
        || "picture".into(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A negative running variance does this to a whole model, though every weight is finite.
    #[test]
    fn a_logit_that_is_no_number_is_no_answer() {
        let input = Input::bytes("a.jpg", Vec::new());
        let photo = image::RgbImage::new(1, 1);
        let prediction = Prediction {
            labels: Vec::new(),
            logits: vec![0.5, f32::NAN],
        };
        let answer =
            ClassifySession::output(&input, &photo, &prediction, &PredictOptions::default());
        let message = answer.err().unwrap().to_string();
        assert!(
            message.starts_with("a.jpg: the model answers with a logit of NaN"),
            "{message}"
        );
    }
}
