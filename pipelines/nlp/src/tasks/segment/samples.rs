//! Segmented sentences as training samples and batches; the same windows as prediction.

use super::{
    characters::{Encoded, Preprocessing, Vocabulary, batch, tag, tags_of},
    lexicon::training_rows,
};
use crate::models::tagger::{Tagger, TaggerInput};
use burn::{module::Module, tensor::Device};
use panoply_core::{
    Result,
    fit::{Collate, Samples, StepOutput, Trainable},
    seed,
};
use panoply_datasets::SegmentedText;
use std::collections::{BTreeMap, BTreeSet};

/// A normalised window with its tags.
pub(super) struct Piece {
    pub(super) chars: Vec<char>,
    pub(super) tags: Vec<usize>,
}

impl Piece {
    /// Its words.
    pub(super) fn words(&self) -> impl Iterator<Item = &[char]> {
        let ends = |&at: &usize| matches!(self.tags[at], tag::END | tag::SINGLE);
        let ends = (0..self.tags.len()).filter(ends).map(|at| at + 1);
        ends.scan(0, |start, end| {
            let word = &self.chars[*start..end];
            *start = end;
            Some(word)
        })
    }

    #[cfg(test)]
    pub(super) fn of_words(words: &[&str]) -> Self {
        Self {
            chars: words.iter().flat_map(|word| word.chars()).collect(),
            tags: tags_of(words.iter().map(|word| word.chars().count())),
        }
    }
}

/// All windows of a text; none is cut inside a word.
pub(super) fn pieces(text: &SegmentedText, preprocessing: &Preprocessing) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for sentence in text.sentences() {
        let chars: Vec<char> = sentence
            .words
            .iter()
            .flat_map(|word| word.chars())
            .collect();
        let lengths = sentence.words.iter().map(|word| word.chars().count());
        let bounds: BTreeSet<usize> = lengths
            .clone()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        let tags = tags_of(lengths);
        for window in preprocessing.windows(&chars, |at| bounds.contains(&at)) {
            let seen = &chars[window.keep.clone()];
            pieces.push(Piece {
                chars: seen.iter().map(|&c| preprocessing.normalize(c)).collect(),
                tags: tags[window.keep].to_vec(),
            });
        }
    }
    pieces
}

/// A window, encoded.
#[derive(Clone)]
pub(super) struct Sample {
    encoded: Encoded,
    tags: Vec<usize>,
    /// Characters that occur once in the training data.
    rare: Vec<usize>,
}

/// Encoded windows. In training half of the characters that occur only once are hidden, so that the
/// network learns what to make of one that it does not know.
pub(super) struct Windows(Vec<Sample>);

impl Windows {
    pub(super) fn new(pieces: &[Piece], vocabulary: &Vocabulary) -> Self {
        let mut counts: BTreeMap<char, usize> = BTreeMap::new();
        for &c in pieces.iter().flat_map(|piece| &piece.chars) {
            *counts.entry(c).or_default() += 1;
        }
        let lexicon = vocabulary.has_lexicon().then(|| training_rows(pieces));
        let encode = |(at, piece): (usize, &Piece)| {
            let encoded = vocabulary.encode(&piece.chars);
            match &lexicon {
                Some(rows) => Encoded {
                    lexicon: rows[at].clone(),
                    ..encoded
                },
                None => encoded,
            }
        };
        let sample = |(at, piece): (usize, &Piece)| Sample {
            encoded: encode((at, piece)),
            tags: piece.tags.clone(),
            rare: (0..piece.chars.len())
                .filter(|&at| counts[&piece.chars[at]] == 1)
                .collect(),
        };
        Self(pieces.iter().enumerate().map(sample).collect())
    }

    /// The first windows as a batch.
    pub(super) fn first(&self, count: usize, device: &Device) -> TaggerInput {
        let first: Vec<&Encoded> = self.0.iter().take(count).map(|s| &s.encoded).collect();
        batch(&first, device)
    }
}

impl Samples for Windows {
    type Sample = Sample;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn load(&self, index: usize, seed: u64) -> Result<Sample> {
        let mut sample = self.0[index].clone();
        for &at in &sample.rare {
            if seed::derive(&[seed, at as u64]) & 1 == 1 {
                sample.encoded.hide(at);
            }
        }
        Ok(sample)
    }
}

/// One batch.
pub(super) struct Batch {
    input: TaggerInput,
    tags: Vec<Vec<usize>>,
}

/// Pads windows, the longest first.
pub(super) struct Pad;

impl Collate<Sample> for Pad {
    type Batch = Batch;

    fn collate(&self, mut samples: Vec<Sample>, _seed: u64, device: &Device) -> Result<Batch> {
        samples.sort_by_key(|sample| std::cmp::Reverse(sample.tags.len()));
        let encoded: Vec<&Encoded> = samples.iter().map(|sample| &sample.encoded).collect();
        let input = batch(&encoded, device);
        Ok(Batch {
            input,
            tags: samples.into_iter().map(|sample| sample.tags).collect(),
        })
    }
}

/// A tagger with the loss of its CRF.
#[derive(Module, Debug)]
pub(super) struct Supervised {
    pub(super) tagger: Tagger,
}

impl Trainable for Supervised {
    type Batch = Batch;

    fn loss(&self, batch: Batch) -> StepOutput {
        let num_chars: usize = batch.tags.iter().map(Vec::len).sum();
        let emissions = self.tagger.emissions(&batch.input);
        let loss = self.tagger.crf.neg_log_likelihood(emissions, &batch.tags);
        // burn's own reads panic as well; `guard` above the loop makes either an error.
        let loss = loss.expect("the device gives its values");
        StepOutput {
            loss: loss.div_scalar(num_chars as f64),
            num_samples: num_chars,
            metrics: Vec::new(),
        }
    }
}
