//! Labelled texts as training samples and batches; the same preprocessing as prediction.

use crate::{
    models::bert::{BertConfig, BertForSequenceClassification, EncoderInput},
    preprocess::{Encoded, TextTokenizer, encoder_input},
};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};
use panoply_core::{
    Result,
    fit::{Collate, Samples, StepOutput, Targets, Trainable, binary_cross_entropy, cross_entropy},
};
use panoply_datasets::LabelledTexts;

/// A text as tokens with its classes.
pub(super) struct Sample {
    encoded: Encoded,
    labels: Vec<usize>,
}

/// Labelled texts seen through a tokenizer.
pub(super) struct TextSamples<'a> {
    pub(super) texts: &'a LabelledTexts,
    pub(super) tokenizer: &'a TextTokenizer,
}

impl Samples for TextSamples<'_> {
    type Sample = Sample;

    fn len(&self) -> usize {
        self.texts.len()
    }

    fn load(&self, index: usize, _seed: u64) -> Result<Sample> {
        let name = self.texts.name(index);
        let text = self.texts.text(index);
        Ok(Sample {
            encoded: self.tokenizer.encode_quietly(&name, text)?,
            labels: self.texts.labels(index).to_vec(),
        })
    }
}

/// One batch.
pub(super) struct Batch {
    pub(super) input: EncoderInput,
    /// The classes of each text.
    pub(super) labels: Vec<Vec<usize>>,
    targets: BatchTargets,
}

/// What the loss compares with.
enum BatchTargets {
    /// One class a text, `[batch]`.
    Single(Tensor<1, Int>),
    /// 1 for each class of a text, `[batch, classes]`.
    Multi(Tensor<2>),
}

/// Pads and stacks samples.
pub(super) struct TextCollate<'a> {
    pub(super) config: &'a BertConfig,
    pub(super) multi_label: bool,
}

impl Collate<Sample> for TextCollate<'_> {
    type Batch = Batch;

    fn collate(&self, samples: Vec<Sample>, _seed: u64, device: &Device) -> Result<Batch> {
        let encoded: Vec<&Encoded> = samples.iter().map(|sample| &sample.encoded).collect();
        let input = encoder_input(&encoded, self.config, device);
        let labels: Vec<Vec<usize>> = samples.iter().map(|s| s.labels.clone()).collect();
        let rows = labels.len();
        let targets = if self.multi_label {
            let table = one_hot(&labels, self.config.num_labels);
            let table: Vec<f32> = table.into_iter().map(f32::from).collect();
            let shape = [rows, self.config.num_labels];
            BatchTargets::Multi(Tensor::from_data(TensorData::new(table, shape), device))
        } else {
            // The gate has dropped texts without a label.
            let first = |l: &Vec<usize>| l.first().map_or(0, |&class| class as i64);
            let classes: Vec<i64> = labels.iter().map(first).collect();
            BatchTargets::Single(Tensor::from_data(TensorData::new(classes, [rows]), device))
        };
        Ok(Batch {
            input,
            labels,
            targets,
        })
    }
}

/// Whether each text has each class, row by row.
pub(super) fn one_hot(labels: &[Vec<usize>], num_classes: usize) -> Vec<bool> {
    let row = |labels: &Vec<usize>| (0..num_classes).map(|c| labels.contains(&c)).collect();
    labels
        .iter()
        .flat_map(|l| -> Vec<bool> { row(l) })
        .collect()
}

/// A classifier with its loss.
#[derive(Module, Debug)]
pub(super) struct Supervised {
    pub(super) network: BertForSequenceClassification,
    #[module(skip)]
    pub(super) label_smoothing: f64,
}

impl Trainable for Supervised {
    type Batch = Batch;

    fn loss(&self, batch: Batch) -> StepOutput {
        let logits = self.network.forward(&batch.input);
        let correct = num_correct(&logits, &batch);
        let loss = match batch.targets {
            BatchTargets::Single(classes) => {
                cross_entropy(logits, Targets::Classes(classes), self.label_smoothing)
            }
            BatchTargets::Multi(table) => binary_cross_entropy(logits, table),
        };
        StepOutput {
            loss,
            num_samples: batch.labels.len(),
            metrics: vec![("accuracy", correct)],
        }
    }
}

/// How many texts get exactly their classes.
fn num_correct(logits: &Tensor<2>, batch: &Batch) -> f64 {
    let logits = logits.clone().inner();
    match batch.targets {
        BatchTargets::Single(_) => {
            let best = logits.argmax(1).into_data();
            let found = best.iter::<i64>().zip(&batch.labels);
            let right =
                |(class, labels): &(i64, &Vec<usize>)| labels.iter().any(|&l| l as i64 == *class);
            found.filter(right).count() as f64
        }
        BatchTargets::Multi(_) => {
            let [_, classes] = logits.dims();
            let on: Vec<bool> = logits.greater_elem(0).into_data().iter::<bool>().collect();
            let truth = one_hot(&batch.labels, classes);
            let rows = on.chunks(classes).zip(truth.chunks(classes));
            rows.filter(|(a, b)| a == b).count() as f64
        }
    }
}
