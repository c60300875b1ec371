//! Where known words could stand: features of each character beside its embedding.
//!
//! Lexicon features as in Zhao, Huang and Li, "An improved Chinese word segmentation system with conditional
//! random field" (SIGHAN 2006), and Zhang et al., "Neural networks incorporating dictionaries for Chinese
//! word segmentation" (AAAI 2018): the longest known word that begins at a character, that ends there, and
//! that goes on over it.

use super::{characters::Preprocessing, samples::Piece};
use std::collections::{BTreeMap, HashSet};

/// Longest word that is looked up, in characters.
const MAX_WORD: usize = 6;
/// Values of one feature: no word, or one of 2 to [`MAX_WORD`] characters.
const VALUES: usize = MAX_WORD;
/// Features of a character.
pub(super) const FEATURES: usize = 3;
/// Rows of the embedding of all features.
pub(super) const ROWS: usize = FEATURES * VALUES;

/// Words of two characters and more, as the network sees their characters.
#[derive(Clone, Debug, Default)]
pub(super) struct Lexicon(HashSet<Box<[char]>>);

impl Lexicon {
    /// The words of a list.
    pub(super) fn of<'w>(
        words: impl Iterator<Item = &'w str>,
        preprocessing: &Preprocessing,
    ) -> Self {
        let seen = |word: &str| -> Box<[char]> {
            word.chars().map(|c| preprocessing.normalize(c)).collect()
        };
        Self(words.map(seen).filter(|word| is_looked_up(word)).collect())
    }

    /// Rows of the features' embedding for each character.
    pub(super) fn rows(&self, chars: &[char]) -> Vec<[u32; FEATURES]> {
        rows(chars, |word| self.0.contains(word))
    }
}

/// Windows that are taken for one text. A corpus says nothing of where its articles end; a word of an article
/// comes again in it, and an article of a newspaper has about so many sentences.
const TEXT: usize = 50;

/// The rows of training windows: a window's words are known as far as another text has them, as the words of
/// a new text will be. Otherwise every word would be known, and the network would trust the lexicon blindly.
pub(super) fn training_rows(pieces: &[Piece]) -> Vec<Vec<[u32; FEATURES]>> {
    let texts = || pieces.chunks(TEXT);
    let words = |text: &'_ [Piece]| -> HashSet<Box<[char]>> {
        let words = text.iter().flat_map(Piece::words);
        words
            .filter(|word| is_looked_up(word))
            .map(Box::from)
            .collect()
    };
    let own: Vec<HashSet<Box<[char]>>> = texts().map(words).collect();
    let mut texts_with: BTreeMap<&[char], usize> = BTreeMap::new();
    for word in own.iter().flatten() {
        *texts_with.entry(word).or_default() += 1;
    }
    let of_text = |(text, own): (&[Piece], &HashSet<Box<[char]>>)| -> Vec<_> {
        let is_known = |word: &[char]| {
            let texts = texts_with.get(word).copied().unwrap_or(0);
            texts > usize::from(own.contains(word))
        };
        text.iter()
            .map(|piece| rows(&piece.chars, is_known))
            .collect()
    };
    texts().zip(&own).flat_map(of_text).collect()
}

fn is_looked_up(word: &[char]) -> bool {
    (2..=MAX_WORD).contains(&word.len())
}

fn rows(chars: &[char], is_known: impl Fn(&[char]) -> bool) -> Vec<[u32; FEATURES]> {
    // The longest word by its length less one: 0 for none.
    let mut longest = vec![[0_usize; FEATURES]; chars.len()];
    for start in 0..chars.len() {
        for len in 2..=MAX_WORD.min(chars.len() - start) {
            if !is_known(&chars[start..start + len]) {
                continue;
            }
            let last = start + len - 1;
            for (at, features) in longest.iter_mut().enumerate().take(last + 1).skip(start) {
                let feature = match at {
                    at if at == start => 0,
                    at if at == last => 1,
                    _ => 2,
                };
                features[feature] = features[feature].max(len - 1);
            }
        }
    }
    let row = |features: [usize; FEATURES]| {
        let mut rows = [0; FEATURES];
        for (feature, value) in features.into_iter().enumerate() {
            rows[feature] = (feature * VALUES + value) as u32;
        }
        rows
    };
    longest.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rows: &[[u32; FEATURES]]) -> Vec<[u32; FEATURES]> {
        let own = |row: &[u32; FEATURES]| {
            let mut values = *row;
            for (feature, value) in values.iter_mut().enumerate() {
                *value -= (feature * VALUES) as u32;
            }
            values
        };
        rows.iter().map(own).collect()
    }

    #[test]
    fn the_longest_known_word_counts() {
        let words = ["北京", "北京大学", "大学", "学", "1999年"];
        let lexicon = Lexicon::of(words.into_iter(), &Preprocessing::default());
        let chars: Vec<char> = "在北京大学".chars().collect();
        let expected = [[0, 0, 0], [3, 0, 0], [0, 1, 3], [1, 0, 3], [0, 3, 0]];
        assert_eq!(values(&lexicon.rows(&chars)), expected);
        // Digits are one to the network, and so to the lexicon.
        let year: Vec<char> = "0000年".chars().collect();
        assert_eq!(values(&lexicon.rows(&year))[0], [4, 0, 0]);
        assert!(lexicon.rows(&[]).is_empty());
    }

    #[test]
    fn a_text_does_not_know_the_words_that_it_alone_has() {
        let mut pieces: Vec<Piece> = (0..TEXT)
            .map(|_| Piece::of_words(&["北京", "很", "大"]))
            .collect();
        pieces.push(Piece::of_words(&["北京", "大学"]));
        let rows = training_rows(&pieces);
        assert_eq!(rows.len(), TEXT + 1);
        assert_eq!(values(&rows[0])[0], [1, 0, 0]);
        assert_eq!(values(&rows[TEXT])[0], [1, 0, 0]);
        // Of the second text alone.
        assert_eq!(values(&rows[TEXT])[2], [0, 0, 0]);
        // However often the first says it.
        let one_text = training_rows(&pieces[..TEXT]);
        assert_eq!(values(&one_text[0])[0], [0, 0, 0]);
    }
}
