//! What the tasks over encoders share: opening and writing a model folder, and batches of similar length.

use crate::{
    models::bert::{BertConfig, NEW_HEAD, Variant},
    preprocess::TextTokenizer,
};
use burn::{module::Module, tensor::Device};
use panoply_core::{
    Error, Input, ModelCard, ModelFolder, Payload, Result, RunContext,
    hub::{self, Hub},
    weights::{self, LoadOptions},
};
use panoply_metrics::MetricError;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A model folder of the BERT family whose network has not been made yet.
pub(super) struct EncoderFolder {
    pub(super) folder: ModelFolder,
    /// Where the weights are, if the folder holds an adapter alone.
    base: Option<ModelFolder>,
    pub(super) config: BertConfig,
    pub(super) tokenizer: TextTokenizer,
    pub(super) device: Device,
}

impl EncoderFolder {
    /// Finds a model: a local folder, or one of the Hub.
    pub(super) fn find(model: &str, context: &RunContext) -> Result<Self> {
        let path = Hub::from_env(context.offline)?.resolve(model, hub::COMPANIONS)?;
        let folder = ModelFolder::open(&path)?;
        let config = BertConfig::from_hf(&folder.config()?)?;
        let tokenizer = TextTokenizer::open(&folder, &config)?;
        let base = match weights::adapter_base(&folder)? {
            None => None,
            Some(base) => {
                let path = Hub::from_env(context.offline)?.resolve(&base, hub::COMPANIONS)?;
                Some(ModelFolder::open(&path)?)
            }
        };
        Ok(Self {
            folder,
            base,
            config,
            tokenizer,
            device: context.device.clone(),
        })
    }

    /// Loads the folder's weights into `model`, or those of the base with the folder's adapter added.
    pub(super) fn load<M: Module>(&self, model: &mut M, options: LoadOptions<'_>) -> Result<()> {
        let map = self.config.key_map();
        if let Some(base) = &self.base {
            weights::load_with(model, &base.weights()?, map, NEW_HEAD)?;
            *model = weights::merge_adapter(model.clone(), &self.folder, map)?;
            return Ok(());
        }
        let path = self.folder.weights()?;
        weights::load_with(model, &path, map, options).map(drop)
    }

    /// The folder's card if `task` wrote it, else one that says what is known.
    pub(super) fn card<M: Module>(&self, task: &str, model: &M) -> Result<ModelCard> {
        let theirs = self.folder.card()?;
        if let Some(card) = theirs.as_ref().filter(|card| card.task == task) {
            return Ok(card.clone());
        }
        let arch = architecture(&self.config);
        let origin = self.folder.path().display().to_string();
        let licence = theirs.map_or_else(|| "unknown".into(), |card| card.licence);
        Ok(ModelCard::new(
            ["nlp", task, arch],
            weights::num_params(model),
            &licence,
            &origin,
        ))
    }
}

/// The name of the family, as `config.json` spells it.
pub(super) fn architecture(config: &BertConfig) -> &'static str {
    match config.variant {
        Variant::Bert => "bert",
        Variant::Roberta => "roberta",
        Variant::DistilBert => "distilbert",
    }
}

/// Class names out of `id2label` of a `config.json`.
pub(super) fn label_names(config: &Value, num_labels: usize) -> Vec<String> {
    let named = |i: usize| {
        let name = config["id2label"][i.to_string()].as_str();
        name.map_or_else(|| format!("LABEL_{i}"), String::from)
    };
    (0..num_labels).map(named).collect()
}

/// The network's `config.json` with the names of its classes.
pub(super) fn labelled_config(config: &BertConfig, names: &[String]) -> Result<Map<String, Value>> {
    let Value::Object(mut config) = config.to_hf() else {
        return Err(Error::Internal {
            context: "config.json".into(),
            message: "no object".into(),
        });
    };
    let numbered = names.iter().enumerate();
    let id2label: Map<String, Value> = numbered
        .clone()
        .map(|(i, name)| (i.to_string(), json!(name)))
        .collect();
    let label2id: Map<String, Value> = numbered.map(|(i, name)| (name.clone(), json!(i))).collect();
    config.insert("id2label".into(), json!(id2label));
    config.insert("label2id".into(), json!(label2id));
    // transformers counts the classes in id2label.
    config.shift_remove("num_labels");
    Ok(config)
}

/// What goes into a model folder beside the weights.
pub(super) struct Companions<'a, P> {
    /// Content of `config.json`.
    pub(super) config: Value,
    /// Content of `preprocessor_config.json`.
    pub(super) preprocessor: &'a P,
    pub(super) card: &'a ModelCard,
}

impl<P: Serialize> Companions<'_, P> {
    /// Written after the weights, the card last: a folder with a card is complete.
    pub(super) fn write(&self, folder: &ModelFolder, tokenizer: &TextTokenizer) -> Result<()> {
        tokenizer.save(folder)?;
        folder.write_json(ModelFolder::CONFIG, &self.config)?;
        folder.write_json(ModelFolder::PREPROCESSOR, self.preprocessor)?;
        folder.write_json(ModelFolder::CARD, self.card)
    }
}

/// Probabilities of logits.
pub(super) fn softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f64> = logits.iter().map(|&v| f64::from(v - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|v| v / sum).collect()
}

/// Index of the first largest value.
pub(super) fn first_largest<T: PartialOrd>(row: &[T]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// An error of a metric, which is ours: what is scored was checked before.
pub(super) fn metric_error(error: MetricError) -> Error {
    Error::Internal {
        context: "scoring".into(),
        message: error.to_string(),
    }
}

/// Runs `run` over batches of similar length, so that little of a batch is padding, and gives its
/// answers in the order of `items`.
pub(super) fn by_length<T, P>(
    items: &[T],
    batch: usize,
    length: impl Fn(&T) -> usize,
    mut run: impl FnMut(&[&T]) -> Result<Vec<P>>,
) -> Result<Vec<P>> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&i| length(&items[i]));
    let mut answers: Vec<Option<P>> = items.iter().map(|_| None).collect();
    for chunk in order.chunks(batch.max(1)) {
        let picked: Vec<&T> = chunk.iter().map(|&i| &items[i]).collect();
        let found = run(&picked)?;
        assert_eq!(found.len(), chunk.len(), "an answer an item");
        for (&i, answer) in chunk.iter().zip(found) {
            answers[i] = Some(answer);
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

/// Example inputs out of texts.
pub(super) fn examples(texts: &[&str]) -> Vec<Input> {
    let example = |(i, text): (usize, &&str)| Input {
        name: format!("example {}", i + 1),
        payload: Payload::Text((*text).into()),
    };
    texts.iter().enumerate().map(example).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_similar_length_keep_the_order() {
        let items = ["ccc", "a", "bb", "dddd", "e"];
        let mut seen = Vec::new();
        let answers = by_length(
            &items,
            2,
            |s| s.len(),
            |batch| {
                seen.push(batch.iter().map(|s| s.len()).collect::<Vec<_>>());
                Ok(batch.iter().map(|s| s.to_uppercase()).collect())
            },
        );
        assert_eq!(answers.unwrap(), ["CCC", "A", "BB", "DDDD", "E"]);
        assert_eq!(seen, [vec![1, 1], vec![2, 3], vec![4]]);
    }
}
