//! What the tasks over encoders share: opening a model folder, and batches of similar length.

use crate::{
    models::bert::{BertConfig, NEW_HEAD, Variant},
    preprocess::TextTokenizer,
};
use burn::{module::Module, tensor::Device};
use panoply_core::{
    Input, ModelCard, ModelFolder, Payload, Result, RunContext,
    hub::{self, Hub},
    weights::{self, LoadOptions},
};

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
