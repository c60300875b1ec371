//! Tagged sentences as training samples and batches.
//!
//! The words with a space between are the text that the tokenizer reads, as in prediction; what the tokenizer
//! takes for a word belongs to the one that holds its last character. The first token of a word learns the word's tag,
//! the others are ignored: as transformers' `run_ner`, which gives the tokenizer the words one by one.

use crate::{
    models::bert::{BertConfig, BertForTokenClassification, EncoderInput},
    preprocess::{Encoded, TextTokenizer, encoder_input},
};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};
use panoply_core::{
    Result,
    fit::{Collate, IGNORE_INDEX, Samples, StepOutput, Trainable, cross_entropy_ignoring},
};
use panoply_datasets::TaggedText;
use std::collections::BTreeMap;

/// The places of the first token of each word, `(word, place)`, for `places` of tokens in order, whose
/// word ends at `last_char`; a word without a token has none. `words` are those of the text that was encoded.
pub(super) fn first_tokens(
    words: &[String],
    places: impl Iterator<Item = (usize, usize)>,
    last_char: impl Fn((usize, usize)) -> Option<usize>,
) -> Vec<(usize, (usize, usize))> {
    // One past the last character of each word, a space after each.
    let mut ends = Vec::with_capacity(words.len());
    let mut at = 0;
    for word in words {
        let length = word.chars().count();
        ends.push((at, at + length));
        at += length + 1;
    }
    let (mut found, mut word) = (Vec::new(), 0);
    let mut before = None;
    for place in places {
        let Some(last) = last_char(place) else {
            continue;
        };
        while word < ends.len() && last >= ends[word].1 {
            word += 1;
        }
        let inside = ends.get(word).is_some_and(|&(start, _)| last >= start);
        if inside && before != Some(word) {
            found.push((word, place));
            before = Some(word);
        }
    }
    found
}

/// For each token the last character of what the tokenizer takes for its word, if there is any: a token that is only
/// the space before a word (`Ġ`) belongs to that word.
pub(super) fn last_chars(encoded: &Encoded) -> Vec<Option<usize>> {
    let all: Vec<usize> = (0..encoded.len()).collect();
    let same = |&a: &usize, &b: &usize| {
        let (words, texts) = (&encoded.words, &encoded.texts);
        words[a].is_some() && words[a] == words[b] && texts[a] == texts[b]
    };
    let mut last = Vec::with_capacity(encoded.len());
    for word in all.chunk_by(same) {
        let of_text = word.iter().filter(|&&at| encoded.texts[at].is_some());
        let ends = of_text.filter_map(|&at| {
            let (start, end) = encoded.offsets[at];
            (end > start).then(|| end - 1)
        });
        let end = ends.max();
        last.resize(last.len() + word.len(), end);
    }
    last
}

/// The class that each token learns; [`IGNORE_INDEX`] for none.
pub(super) fn targets(words: &[String], classes: &[i64], encoded: &Encoded) -> Vec<i64> {
    let mut targets = vec![IGNORE_INDEX; encoded.len()];
    let places = (0..encoded.len()).map(|at| (0, at));
    let last = last_chars(encoded);
    for (word, (_, at)) in first_tokens(words, places, |(_, at)| last[at]) {
        targets[at] = classes[word];
    }
    targets
}

/// A sentence as tokens with their classes.
pub(super) struct Sample {
    encoded: Encoded,
    targets: Vec<i64>,
}

/// Tagged sentences seen through a tokenizer; long ones are cut.
pub(super) struct TaggedSamples<'a> {
    pub(super) text: &'a TaggedText,
    pub(super) tokenizer: &'a TextTokenizer,
    /// The class of each tag.
    pub(super) classes: &'a BTreeMap<&'a str, i64>,
}

impl Samples for TaggedSamples<'_> {
    type Sample = Sample;

    fn len(&self) -> usize {
        self.text.len()
    }

    fn load(&self, index: usize, _seed: u64) -> Result<Sample> {
        let sentence = &self.text.sentences()[index];
        let name = self.text.name(index);
        let encoded = self.tokenizer.encode_quietly(&name, &sentence.text())?;
        let class = |tag: &String| self.classes.get(tag.as_str()).copied();
        let classes: Vec<i64> = sentence
            .tags
            .iter()
            .map(|tag| class(tag).unwrap_or(IGNORE_INDEX))
            .collect();
        Ok(Sample {
            targets: targets(&sentence.words, &classes, &encoded),
            encoded,
        })
    }
}

/// One batch.
pub(super) struct Batch {
    input: EncoderInput,
    /// The class of each token, padding and ignored ones [`IGNORE_INDEX`], sentence by sentence.
    targets: Vec<i64>,
    num_sentences: usize,
}

/// Pads and stacks samples.
pub(super) struct TaggedCollate<'a> {
    pub(super) config: &'a BertConfig,
}

impl Collate<Sample> for TaggedCollate<'_> {
    type Batch = Batch;

    fn collate(&self, samples: Vec<Sample>, _seed: u64, device: &Device) -> Result<Batch> {
        let encoded: Vec<&Encoded> = samples.iter().map(|sample| &sample.encoded).collect();
        let longest = encoded.iter().map(|e| e.len()).max().unwrap_or(0);
        let mut targets = Vec::with_capacity(samples.len() * longest);
        for sample in &samples {
            targets.extend(&sample.targets);
            targets.resize(targets.len() + longest - sample.targets.len(), IGNORE_INDEX);
        }
        Ok(Batch {
            input: encoder_input(&encoded, self.config, device),
            targets,
            num_sentences: samples.len(),
        })
    }
}

/// A classifier of tokens with its loss.
#[derive(Module, Debug)]
pub(super) struct Supervised {
    pub(super) network: BertForTokenClassification,
}

impl Trainable for Supervised {
    type Batch = Batch;

    fn loss(&self, batch: Batch) -> StepOutput {
        let logits = self.network.forward(&batch.input);
        let [rows, seq, classes] = logits.dims();
        let logits = logits.reshape([rows * seq, classes]);
        let accuracy = share_right(&logits, &batch) * batch.num_sentences as f64;
        let targets = TensorData::new(batch.targets, [rows * seq]);
        let targets = Tensor::<1, Int>::from_data(targets, &logits.device());
        StepOutput {
            loss: cross_entropy_ignoring(logits, targets),
            num_samples: batch.num_sentences,
            metrics: vec![("accuracy", accuracy)],
        }
    }
}

/// Share of the words of a batch whose tag is found.
fn share_right(logits: &Tensor<2>, batch: &Batch) -> f64 {
    let best = logits.clone().inner().argmax(1).into_data();
    let pairs = best.iter::<i64>().zip(&batch.targets);
    let (mut right, mut words) = (0.0, 0.0);
    for (found, &class) in pairs.filter(|(_, class)| **class != IGNORE_INDEX) {
        words += 1.0;
        right += f64::from(u8::from(found == class));
    }
    if words == 0.0 { 0.0 } else { right / words }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// transformers 5.23: words given one by one, labels by `word_ids` as in `run_ner`.
    #[test]
    fn targets_equal_run_ner() {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        let read = |file: &str| std::fs::read_to_string(format!("{fixtures}/{file}")).unwrap();
        let expected: Value = serde_json::from_str(&read("spans/alignment.json")).unwrap();
        for name in ["bert", "roberta"] {
            let mut json: Value =
                serde_json::from_str(&read(&format!("text/{name}/tokenizer.json"))).unwrap();
            if name == "roberta" {
                json["pre_tokenizer"]["add_prefix_space"] = true.into();
            }
            let tokenizer = TextTokenizer::from_json(json.to_string().as_bytes(), 1000, 64);
            let tokenizer = tokenizer.unwrap();
            let rows = expected[name].as_array().unwrap();
            assert_eq!(rows.len(), 3);
            for row in rows {
                let words: Vec<String> = serde_json::from_value(row["words"].clone()).unwrap();
                let encoded = tokenizer.encode_quietly("row", &words.join(" ")).unwrap();
                assert_eq!(Value::from(encoded.ids.clone()), row["ids"], "{name}");
                let classes: Vec<i64> = (0..words.len() as i64).collect();
                let found = targets(&words, &classes, &encoded);
                assert_eq!(Value::from(found), row["targets"], "{name}: {words:?}");
            }
        }
    }
}
