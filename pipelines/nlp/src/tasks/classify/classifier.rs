//! A loaded classifier: encoder with head, tokenizer, labels.

use super::super::encoder::{EncoderFolder, label_names, softmax};
use crate::{
    models::bert::{BertConfig, BertForSequenceClassification},
    preprocess::{Encoded, TextTokenizer, encoder_input},
};
use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use panoply_core::{
    ModelCard, ModelFolder, Predictor, Result, RunContext, guard, host, weights::LoadOptions,
};
use panoply_datasets::Columns;
use serde::Serialize;
use serde_json::Value;

/// Labels of an answer.
const TOP: usize = 5;

/// One label with its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// Index of the class in the logits.
    pub index: usize,
    /// Class name.
    pub label: String,
    /// Softmax probability; of a model with several classes a text, or with one logit, the sigmoid.
    pub score: f64,
}

/// The answer to one text.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The best five labels (fewer if there are fewer classes), best first.
    pub labels: Vec<Label>,
    /// Logits of all classes.
    pub logits: Vec<f32>,
}

/// What a classifier's classes are called, and whether a text may have several.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    pub(super) names: Vec<String>,
    pub(super) multi_label: bool,
}

impl Classes {
    /// Of `id2label` and `problem_type` in a `config.json`.
    fn read(config: &Value, num_labels: usize) -> Self {
        Self {
            names: label_names(config, num_labels),
            multi_label: config["problem_type"] == "multi_label_classification",
        }
    }

    /// Scores of logits, as transformers' pipeline: softmax, or the sigmoid of each.
    fn scores(&self, logits: &[f32]) -> Vec<f64> {
        if self.multi_label || logits.len() == 1 {
            let sigmoid = |&v: &f32| 1.0 / (1.0 + (-f64::from(v)).exp());
            return logits.iter().map(sigmoid).collect();
        }
        softmax(logits)
    }

    /// What transformers calls the kind of classifier.
    pub(super) fn problem_type(&self) -> &'static str {
        if self.multi_label {
            "multi_label_classification"
        } else {
            "single_label_classification"
        }
    }
}

/// A text classifier ready to predict.
#[derive(Debug)]
pub struct TextClassifier {
    pub(super) config: BertConfig,
    pub(super) model: BertForSequenceClassification,
    pub(super) tokenizer: TextTokenizer,
    pub(super) classes: Classes,
    pub(super) columns: Columns,
    card: ModelCard,
    device: Device,
}

impl TextClassifier {
    /// Opens a model: a folder, or a Hub name (`owner/name[@revision]`).
    ///
    /// # Errors
    /// A folder without a classifier.
    pub fn open(model: &str, context: &RunContext) -> Result<Self> {
        let found = EncoderFolder::find(model, context)?;
        let classes = Classes::read(&found.folder.config()?, found.config.num_labels);
        let mut network = found.config.init_sequence_classification(&found.device);
        // RoBERTa's files may hold a pooler that its classifier does not use.
        let unused = LoadOptions {
            allow_missing: &[],
            allow_unexpected: &["roberta.pooler.**"],
        };
        found.load(&mut network, unused)?;
        let mut card = found.card("classify", &network)?;
        card.labels.clone_from(&classes.names);
        let columns = found.folder.read_json(ModelFolder::PREPROCESSOR)?;
        Ok(Self {
            // Without dropout, also where an explanation lifts its input onto the training device.
            model: network.valid(),
            config: found.config,
            tokenizer: found.tokenizer,
            device: found.device,
            columns: columns.unwrap_or_default(),
            classes,
            card,
        })
    }

    /// What the model folder says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Class names, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.classes.names
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Tokens of a text; `name` stands for it in messages.
    pub(super) fn encode(&self, name: &str, text: &str) -> Result<Encoded> {
        self.tokenizer.encode(name, text)
    }

    /// Answers to a batch.
    pub(super) fn answer(&self, batch: &[&Encoded]) -> Result<Vec<Prediction>> {
        let input = encoder_input(batch, &self.config, &self.device);
        self.postprocess(self.model.forward(&input))
    }

    /// The best labels of one text's logits; ties in the order of the classes.
    fn top(&self, logits: &[f32]) -> Vec<Label> {
        let scores = self.classes.scores(logits);
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let label = |index: usize| Label {
            index,
            label: self.classes.names[index].clone(),
            score: scores[index],
        };
        order.into_iter().take(TOP).map(label).collect()
    }
}

impl Predictor for TextClassifier {
    type Input = String;
    type Batch = Vec<Encoded>;
    type Raw = Tensor<2>;
    type Output = Prediction;

    fn preprocess(&self, inputs: &[String]) -> Result<Vec<Encoded>> {
        let encode = |(i, text): (usize, &String)| self.encode(&format!("text {}", i + 1), text);
        inputs.iter().enumerate().map(encode).collect()
    }

    fn forward(&self, batch: Vec<Encoded>) -> Result<Tensor<2>> {
        let batch: Vec<&Encoded> = batch.iter().collect();
        let input = encoder_input(&batch, &self.config, &self.device);
        guard("the forward pass", || Ok(self.model.forward(&input)))
    }

    fn postprocess(&self, raw: Tensor<2>) -> Result<Vec<Prediction>> {
        let [_, classes] = raw.dims();
        let logits = host::to_vec(raw)?;
        let prediction = |row: &[f32]| Prediction {
            labels: self.top(row),
            logits: row.to_vec(),
        };
        Ok(logits.chunks(classes).map(prediction).collect())
    }
}
