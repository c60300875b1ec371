//! What training on running text shares: where the text comes from, and blocks of its tokens.

use crate::preprocess::TextTokenizer;
use panoply_core::{Error, Result, fit::Samples, seed::derive};
use panoply_datasets::{Corpus, bundled};
use std::path::Path;

/// Training and validation text: of `data`, else, where a recipe has it, the bundled slice of
/// Shakespeare. `validation` is the fraction at the end that is for validation.
pub(super) fn corpora(
    data: Option<&Path>,
    bundled: bool,
    validation: f64,
) -> Result<(Corpus, Corpus)> {
    let corpus = match data {
        Some(path) => Corpus::open(path)?,
        None if bundled => bundled::tiny_shakespeare_slice()?,
        None => {
            let what = "missing; this recipe has no data of its own";
            return Err(Error::input("--data", what, "a text, or a folder of texts"));
        }
    };
    corpus.split(validation)
}

/// The tokens of a text without special ones, with `separator` after each document.
pub(super) fn tokens(
    tokenizer: &TextTokenizer,
    corpus: &Corpus,
    separator: Option<u32>,
) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for (number, text) in (1..).zip(corpus.documents()) {
        let name = format!("{} (document {number})", corpus.location());
        all.extend(tokenizer.encode_document(&name, text)?);
        all.extend(separator);
    }
    Ok(all)
}

/// Refuses a text that is shorter than `length` tokens.
pub(super) fn check_length(what: &str, tokens: &[u32], length: usize) -> Result<()> {
    if tokens.len() >= length {
        return Ok(());
    }
    let found = format!("{what} has {} tokens", tokens.len());
    let expected = format!("the {length} that a block needs, or a smaller model.block_size");
    Err(Error::input("training data", found, expected))
}

/// Blocks of `length` tokens at random places of a text: a sample is drawn with replacement, anew in
/// each epoch.
pub(super) struct Blocks<'a> {
    tokens: &'a [u32],
    length: usize,
    per_epoch: usize,
}

impl<'a> Blocks<'a> {
    /// `per_epoch` blocks an epoch.
    ///
    /// # Errors
    /// The text is shorter than a block.
    pub(super) fn new(tokens: &'a [u32], length: usize, per_epoch: usize) -> Result<Self> {
        check_length("the training text", tokens, length)?;
        Ok(Self {
            tokens,
            length,
            per_epoch,
        })
    }

    /// The first blocks of the text, one after the other.
    pub(super) fn first(&self, count: usize) -> Vec<&'a [u32]> {
        self.tokens.chunks_exact(self.length).take(count).collect()
    }
}

impl Samples for Blocks<'_> {
    type Sample = Vec<u32>;

    fn len(&self) -> usize {
        self.per_epoch
    }

    fn load(&self, _index: usize, seed: u64) -> Result<Vec<u32>> {
        let places = self.tokens.len() - self.length + 1;
        // The high half of the product is uniform below `places`.
        let start = (u128::from(derive(&[seed])) * places as u128) >> 64;
        let start = start as usize;
        Ok(self.tokens[start..start + self.length].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_anywhere_and_the_same_seed_gives_the_same() {
        let tokens: Vec<u32> = (0..20).collect();
        let blocks = Blocks::new(&tokens, 5, 7).unwrap();
        assert_eq!(blocks.len(), 7);
        let mut starts = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let block = blocks.load(0, seed).unwrap();
            assert!(block.len() == 5 && block.windows(2).all(|w| w[1] == w[0] + 1));
            assert_eq!(block, blocks.load(3, seed).unwrap());
            starts.insert(block[0]);
        }
        assert_eq!(
            starts.into_iter().collect::<Vec<_>>(),
            (0..16).collect::<Vec<_>>()
        );
        assert!(Blocks::new(&tokens[..4], 5, 7).is_err());
    }
}
