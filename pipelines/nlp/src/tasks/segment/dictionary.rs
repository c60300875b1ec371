//! The user's own words: `user_dict.txt` of the model folder, or `--set user_dict=FILE`.
//!
//! One word a line, then optionally a weight. A word without a weight is **forced**: where it occurs
//! (the leftmost, of those the longest, none over another) it is a word, whatever the model says. A
//! weight is a **bias** in units of the model's scores (natural log-odds), spread over the word's
//! characters: 5 usually suffices to get a word that the model would split, a negative weight makes
//! it rarer. Forced words go before biased ones.

use super::characters::{TAGS, tags_of};
use panoply_core::{Error, Result};
use std::{collections::BTreeMap, path::Path};

/// What is no longer a word, in characters.
const MAX_CHARS: usize = 64;

/// Takes a tag out of the choice.
const NEVER: f32 = -1e5;

/// Words with their weights; `None` forces.
#[derive(Clone, Debug, Default)]
pub(super) struct Dictionary {
    words: BTreeMap<String, Option<f32>>,
    longest: usize,
}

impl Dictionary {
    pub(super) const FILE: &'static str = "user_dict.txt";

    /// Adds the words of a file; those that are there already get the new weight.
    pub(super) fn read(&mut self, path: &Path) -> Result<()> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        let location = path.display().to_string();
        let text = String::from_utf8(bytes).map_err(|e| {
            let what = format!("byte {} is not UTF-8", e.utf8_error().valid_up_to());
            Error::input(&location, what, "UTF-8 text")
        })?;
        self.add(&location, &text)
    }

    fn add(&mut self, location: &str, text: &str) -> Result<()> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in (1..).zip(text.lines()) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (word, weight) = match fields[..] {
                [] => continue,
                [word] => (word, None),
                [word, weight] => (word, weight.parse::<f32>().ok().filter(|w| w.is_finite())),
                _ => ("", None),
            };
            let length = word.chars().count();
            let bad_weight = fields.len() == 2 && weight.is_none();
            if bad_weight || length == 0 || length > MAX_CHARS {
                let expected =
                    format!("a word of up to {MAX_CHARS} characters, then maybe a weight");
                let location = format!("{location}:{number}");
                return Err(Error::input(location, format!("'{line}'"), expected));
            }
            self.words.insert(word.into(), weight);
            self.longest = self.longest.max(length);
        }
        Ok(())
    }

    /// Changes the scores of the tags so that the decoder keeps to the dictionary.
    ///
    /// # Shapes
    /// - `emissions`: `[chars, tags]`, row by row
    pub(super) fn apply(&self, chars: &[char], emissions: &mut [f32]) {
        if self.words.is_empty() {
            return;
        }
        let mut forced_until = 0;
        let mut forced = Vec::new();
        for start in 0..chars.len() {
            for length in (1..=self.longest.min(chars.len() - start)).rev() {
                let word: String = chars[start..start + length].iter().collect();
                match self.words.get(&word) {
                    Some(Some(weight)) => bias(start, length, *weight, emissions),
                    Some(None) if start >= forced_until => {
                        forced.push((start, length));
                        forced_until = start + length;
                    }
                    _ => {}
                }
            }
        }
        for (start, length) in forced {
            for (at, only) in (start..).zip(tags_of([length].into_iter())) {
                for (tag, score) in row(emissions, at).iter_mut().enumerate() {
                    *score = if tag == only { 0.0 } else { NEVER };
                }
            }
        }
    }
}

fn row(emissions: &mut [f32], at: usize) -> &mut [f32] {
    &mut emissions[at * TAGS.len()..][..TAGS.len()]
}

fn bias(start: usize, length: usize, weight: f32, emissions: &mut [f32]) {
    for (at, tag) in (start..).zip(tags_of([length].into_iter())) {
        row(emissions, at)[tag] += weight / length as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(words: &str, text: &str) -> Vec<f32> {
        let mut dictionary = Dictionary::default();
        dictionary.add("here", words).unwrap();
        let chars: Vec<char> = text.chars().collect();
        let mut emissions = vec![0.0; 4 * chars.len()];
        dictionary.apply(&chars, &mut emissions);
        emissions
    }

    #[test]
    fn the_longest_forced_word_wins_and_none_overlap() {
        let scores = applied("甲乙\n甲乙丙\n丙丁\n", "甲乙丙丁");
        let best = |at: usize| {
            (0..4)
                .filter(|tag| scores[4 * at + tag] == 0.0)
                .collect::<Vec<_>>()
        };
        assert_eq!([best(0), best(1), best(2)], [[0], [1], [2]]);
        assert_eq!(best(3), [0, 1, 2, 3], "丙丁 begins inside 甲乙丙");
    }

    #[test]
    fn a_weight_is_spread_over_the_word() {
        let scores = applied("乙丙 3\n丁 -2", "甲乙丙丁");
        let expected = [
            0., 0., 0., 0., 1.5, 0., 0., 0., 0., 0., 1.5, 0., 0., 0., 0., -2.,
        ];
        assert_eq!(scores, expected);
    }

    #[test]
    fn bad_lines_are_named() {
        let error = |text: &str| {
            Dictionary::default()
                .add("d", text)
                .unwrap_err()
                .to_string()
        };
        for (text, place) in [("甲\n乙 x", "d:2"), ("甲 1 n", "d:1"), ("甲 nan", "d:1")] {
            assert!(error(text).contains(place), "{}", error(text));
        }
        assert!(error(&"长".repeat(65)).contains("64 characters"));
    }
}
