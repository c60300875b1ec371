//! Scores a classifier on labelled images.

use super::{
    Classifier,
    samples::{Batch, ImageCollate, ImageSamples},
};
use crate::{
    models::{Backbone, ConvNet},
    preprocess::Preprocessing,
};
use burn::tensor::{Device, activation::softmax};
use panoply_core::{
    Artefact, Error, Evaluation, Result, RunContext, fit::Loader, host::to_vec, plot,
    progress::Progress,
};
use panoply_datasets::{ImageSet, open_for_eval};
use panoply_metrics::{CalibrationBins, ConfusionMatrix, DEFAULT_BINS, LogLoss, MetricError, TopK};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Names of the headline metrics, in the order in which [`Scores::metrics`] gives them.
pub(super) const METRICS: [&str; 4] = ["accuracy", "top_5_accuracy", "log_loss", "ece"];

/// What is expected of a model that answers with NaN: a negative running variance makes it do so,
/// though every weight is finite.
pub(super) const FINITE: &str = "a model whose weights and running statistics give finite logits";

/// The metrics of one pass, as sums and counts.
pub(super) struct Scores {
    matrix: ConfusionMatrix,
    top_5: TopK,
    loss: LogLoss,
    calibration: CalibrationBins,
    seen: usize,
}

/// Where a pass runs, and under which name its progress shows.
pub(super) struct Pass<'a> {
    pub(super) batch: usize,
    pub(super) device: &'a Device,
    pub(super) context: &'a RunContext,
    pub(super) label: Option<&'a str>,
}

impl Scores {
    fn new(num_classes: usize) -> Result<Self, MetricError> {
        Ok(Self {
            matrix: ConfusionMatrix::new(num_classes)?,
            top_5: TopK::new(5.min(num_classes))?,
            loss: LogLoss::default(),
            calibration: CalibrationBins::new(DEFAULT_BINS)?,
            seen: 0,
        })
    }

    /// Runs `backbone` (on an inference device) over the set, in order.
    pub(super) fn of(
        backbone: &Backbone,
        preprocessing: &Preprocessing,
        set: &ImageSet,
        num_classes: usize,
        pass: &Pass<'_>,
    ) -> Result<Self> {
        let samples = ImageSamples {
            set,
            preprocessing,
            augment: None,
        };
        let collate = ImageCollate {
            shape: preprocessing.shape(),
            num_classes,
            mix: None,
        };
        let loader = Loader::ordered(&samples, &collate, pass.batch);
        let mut progress = pass.label.map_or_else(Progress::hidden, |label| {
            Progress::new(label, set.len() as u64)
        });
        let mut scores = Self::new(num_classes).map_err(metric_error)?;
        loader.pass(0, 0, pass.device, |batches| {
            for batch in batches {
                if pass.context.interrupt.is_raised() {
                    return Err(Error::Interrupted {
                        resume: "an evaluation keeps no state: run it again".into(),
                    });
                }
                let seen = scores.add(backbone, batch?, num_classes)?;
                progress.advance(seen as u64, &format!("accuracy {:.4}", scores.accuracy()));
            }
            Ok(())
        })?;
        progress.finish();
        Ok(scores)
    }

    fn add(&mut self, backbone: &Backbone, batch: Batch, num_classes: usize) -> Result<usize> {
        let truth = &batch.classes;
        let probabilities = to_vec(softmax(backbone.forward(batch.images), 1))?;
        if let Some(bad) = probabilities.iter().find(|p| !p.is_finite()) {
            return Err(Error::input(
                "the model",
                format!("answers with a probability of {bad}"),
                FINITE,
            ));
        }
        let rows: Vec<&[f32]> = probabilities.chunks(num_classes).collect();
        let predicted: Vec<usize> = rows.iter().map(|row| first_largest(row)).collect();
        let confidence: Vec<f32> = rows
            .iter()
            .zip(&predicted)
            .map(|(row, &best)| row[best])
            .collect();
        let correct: Vec<bool> = predicted
            .iter()
            .zip(truth)
            .map(|(found, class)| found == class)
            .collect();
        self.matrix
            .update(truth, &predicted)
            .map_err(metric_error)?;
        self.top_5
            .update(truth, &probabilities, num_classes)
            .map_err(metric_error)?;
        self.loss
            .update(truth, &probabilities, num_classes)
            .map_err(metric_error)?;
        self.calibration
            .update(&confidence, &correct)
            .map_err(metric_error)?;
        self.seen += truth.len();
        Ok(truth.len())
    }

    fn accuracy(&self) -> f64 {
        self.matrix.accuracy().unwrap_or(0.0)
    }

    /// Headline metrics, in order.
    pub(super) fn metrics(&self) -> Result<Vec<(String, f64)>> {
        let values = || -> Result<[f64; 4], MetricError> {
            Ok([
                self.matrix.accuracy()?,
                self.top_5.value()?,
                self.loss.value()?,
                self.calibration.error()?,
            ])
        };
        let values = values().map_err(metric_error)?;
        Ok(METRICS.map(String::from).into_iter().zip(values).collect())
    }

    /// Counts `[truth][predicted]`.
    fn counts(&self) -> Vec<Vec<u64>> {
        self.matrix.rows().map(<[u64]>::to_vec).collect()
    }

    /// The confusion matrix as a picture.
    pub(super) fn picture(&self, labels: &[String]) -> Result<Artefact> {
        let svg = plot::confusion_matrix(&self.counts(), labels)?;
        Ok(Artefact {
            file_name: "confusion-matrix.svg".into(),
            bytes: svg.into_bytes(),
        })
    }
}

/// Index of the first largest value.
fn first_largest(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

fn metric_error(error: MetricError) -> Error {
    Error::Internal {
        context: "scoring".into(),
        message: error.to_string(),
    }
}

/// Top-1, top-5, log loss, calibration error, per-class table and confusion matrix on the test
/// split of `data`, else its validation split, else everything. Its classes are found among the
/// model's labels by name or by index.
pub(super) fn eval(
    classifier: &Classifier,
    data: &Path,
    batch: usize,
    context: &RunContext,
) -> Result<Evaluation> {
    let num_classes = classifier.config.num_classes;
    let labels: Vec<String> = (0..num_classes)
        .map(|class| classifier.label(class))
        .collect();
    let set = open_for_eval(data)?.relabelled(&labels)?;
    let unlabelled: Vec<usize> = (0..set.len()).filter(|&i| set.label(i).is_none()).collect();
    let set = set.without(&unlabelled);
    if set.is_empty() {
        return Err(Error::input(
            data.display().to_string(),
            "no labelled image",
            "images with a class each",
        ));
    }
    let pass = Pass {
        batch,
        device: classifier.device(),
        context,
        label: Some("eval"),
    };
    let scores = Scores::of(
        &classifier.backbone,
        &classifier.preprocessing,
        &set,
        num_classes,
        &pass,
    )?;
    let metrics = scores.metrics()?;
    let report = scores.matrix.report(&labels).map_err(metric_error)?;
    let headline: Map<String, Value> = metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let picture = present(&scores, &labels)?;
    Ok(Evaluation {
        num_samples: scores.seen,
        json: json!({ "num_samples": scores.seen, "metrics": headline, "report": report }),
        metrics,
        table: report.table(),
        artefacts: vec![picture],
    })
}

/// The confusion matrix over the classes that occur: a thousand rows cannot be read.
fn present(scores: &Scores, labels: &[String]) -> Result<Artefact> {
    let counts = scores.counts();
    let shown: Vec<usize> = (0..labels.len())
        .filter(|&class| scores.matrix.is_present(class))
        .collect();
    if shown.len() == labels.len() || shown.is_empty() {
        return scores.picture(labels);
    }
    let counts: Vec<Vec<u64>> = shown
        .iter()
        .map(|&t| shown.iter().map(|&p| counts[t][p]).collect())
        .collect();
    let labels: Vec<String> = shown.iter().map(|&class| labels[class].clone()).collect();
    let svg = plot::confusion_matrix(&counts, &labels)?;
    Ok(Artefact {
        file_name: "confusion-matrix.svg".into(),
        bytes: svg.into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::BackboneConfig;
    use burn::{
        module::Param,
        tensor::{Int, Tensor},
    };
    use panoply_core::fit::Targets;

    #[test]
    fn a_model_that_answers_nan_is_wrong_input() {
        let device = Device::flex();
        let mut backbone = BackboneConfig::new("resnet_tiny", 2, 1)
            .init(&device)
            .unwrap();
        let bias = Tensor::from_floats([f32::NAN, 0.0], &device);
        backbone.pool_head_mut().fc.bias = Some(Param::from_tensor(bias));
        let batch = Batch {
            images: Tensor::ones([1, 1, 8, 8], &device),
            targets: Targets::Classes(Tensor::<1, Int>::from_ints([0], &device)),
            classes: vec![0],
        };
        let error = Scores::new(2)
            .unwrap()
            .add(&backbone, batch, 2)
            .unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("a probability of NaN"),
            "{error}"
        );
    }
}
