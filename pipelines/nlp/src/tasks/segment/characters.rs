//! From raw text to rows of embeddings: normalisation, vocabulary, windows. Training and prediction
//! share it.

use burn::tensor::{Device, Int, Tensor, TensorData};
use panoply_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use super::lexicon::{self, Lexicon};
use crate::models::tagger::TaggerInput;

/// The tags: a word's first, inner and last character, and a word of one character.
pub const TAGS: [&str; 4] = ["B", "I", "E", "S"];

/// Indices into [`TAGS`].
pub(super) mod tag {
    pub(crate) const BEGIN: usize = 0;
    pub(crate) const INSIDE: usize = 1;
    pub(crate) const END: usize = 2;
    pub(crate) const SINGLE: usize = 3;
}

/// Ends a sentence: windows end after it.
const SENTENCE_ENDS: &str = "。！？；!?;…";
/// Where a sentence that is too long is cut.
const CLAUSE_ENDS: &str = "，、：,:";
/// Belongs to the sentence before it.
const CLOSING: &str = "”’」』）》〉】)]\"'";

/// How text becomes characters; `preprocessor_config.json` of the model folder.
///
/// Each normalisation maps one character to one and is seen by the network alone: words come back
/// as they were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preprocessing {
    /// Full-width forms of ASCII (U+FF01 to U+FF5E) become ASCII. Default true.
    pub normalize_width: bool,
    /// Every digit becomes `0`. Default true.
    pub normalize_digits: bool,
    /// Every Latin letter of ASCII becomes `a`. Default true.
    pub normalize_latin: bool,
    /// Longest window that the network reads, in characters. Default 128.
    pub max_length: usize,
    /// Characters that a window reads beyond what it answers for, where a sentence had to be cut in
    /// its middle. Default 16.
    pub margin: usize,
}

impl Default for Preprocessing {
    fn default() -> Self {
        Self {
            normalize_width: true,
            normalize_digits: true,
            normalize_latin: true,
            max_length: 128,
            margin: 16,
        }
    }
}

/// What the network reads at once, and which characters of it it answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) read: Range<usize>,
    pub(super) keep: Range<usize>,
}

impl Preprocessing {
    /// Refuses lengths that make no windows; `location` is the file they stand in.
    pub(super) fn check(&self, location: &str) -> Result<()> {
        if self.max_length >= 8 && self.margin <= self.max_length {
            return Ok(());
        }
        let what = format!("max_length {}, margin {}", self.max_length, self.margin);
        let expected = "a length of at least 8 and a margin not above it";
        Err(Error::input(location, what, expected))
    }

    /// The character as the network sees it.
    pub fn normalize(&self, c: char) -> char {
        let narrow = match c {
            '\u{FF01}'..='\u{FF5E}' if self.normalize_width => {
                char::from_u32(c as u32 - 0xFEE0).unwrap_or(c)
            }
            _ => c,
        };
        match narrow {
            '0'..='9' if self.normalize_digits => '0',
            'a'..='z' | 'A'..='Z' if self.normalize_latin => 'a',
            _ => narrow,
        }
    }

    /// Windows over all of `chars`: they end with a sentence, else with a clause, else anywhere.
    /// `can_cut` says whether there may be an end before a character.
    pub(super) fn windows(&self, chars: &[char], can_cut: impl Fn(usize) -> bool) -> Vec<Window> {
        let mut windows: Vec<Window> = Vec::new();
        let (mut start, mut clause) = (0, None);
        // Whether the window before was cut in the middle of a clause.
        let mut torn = false;
        for end in 1..=chars.len() {
            let last = chars[end - 1];
            let next = chars.get(end).copied();
            let goes_on = next.is_some_and(|c| CLOSING.contains(c) || SENTENCE_ENDS.contains(c));
            let ends = SENTENCE_ENDS.contains(last)
                || (CLOSING.contains(last) && end >= 2 && SENTENCE_ENDS.contains(chars[end - 2]));
            if CLAUSE_ENDS.contains(last) && can_cut(end) {
                clause = Some(end);
            }
            let whole = next.is_none() || (ends && !goes_on && can_cut(end));
            let full = end - start >= self.max_length;
            if !whole && !full {
                continue;
            }
            let anywhere = || {
                (start + 1..=end)
                    .rev()
                    .find(|&at| can_cut(at))
                    .unwrap_or(end)
            };
            let at = if whole {
                end
            } else {
                clause.filter(|&at| at > start).unwrap_or_else(anywhere)
            };
            let tears = !whole && clause != Some(at);
            let before = if torn { self.margin.min(start) } else { 0 };
            let after = if tears {
                self.margin.min(chars.len() - at)
            } else {
                0
            };
            windows.push(Window {
                read: start - before..at + after,
                keep: start..at,
            });
            (start, clause, torn) = (at, None, tears);
        }
        windows
    }
}

/// Rows of the embeddings by character and bigram: `vocab.txt` and `bigrams.txt` of the model folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Vocabulary {
    chars: Vec<char>,
    bigrams: Vec<[char; 2]>,
    char_rows: HashMap<char, u32>,
    bigram_rows: HashMap<[char; 2], u32>,
    lexicon: Option<Lexicon>,
}

/// Row of what the vocabulary lacks.
const UNKNOWN: u32 = 0;
/// Row of the bigrams at a window's bounds.
const BOUNDARY: u32 = 1;
const UNKNOWN_NAME: &str = "[UNK]";
const BOUNDARY_NAME: &str = "[BOUNDARY]";

impl Vocabulary {
    pub(super) const CHARS: &'static str = "vocab.txt";
    pub(super) const BIGRAMS: &'static str = "bigrams.txt";

    fn new(chars: Vec<char>, bigrams: Vec<[char; 2]>) -> Self {
        let char_rows = chars.iter().zip(UNKNOWN + 1..);
        let bigram_rows = bigrams.iter().zip(BOUNDARY + 1..);
        Self {
            char_rows: char_rows.map(|(&c, row)| (c, row)).collect(),
            bigram_rows: bigram_rows.map(|(&b, row)| (b, row)).collect(),
            chars,
            bigrams,
            lexicon: None,
        }
    }

    /// With the words that the network shall be told of.
    pub(super) fn with_lexicon(self, lexicon: Option<Lexicon>) -> Self {
        Self { lexicon, ..self }
    }

    /// Characters and bigrams of normalised texts that occur at least so often, the most frequent
    /// first; no bigrams where `min_bigram_count` is 0.
    pub(super) fn of<'t>(
        texts: impl Iterator<Item = &'t [char]>,
        min_char_count: usize,
        min_bigram_count: usize,
    ) -> Self {
        let mut chars: BTreeMap<char, usize> = BTreeMap::new();
        let mut bigrams: BTreeMap<[char; 2], usize> = BTreeMap::new();
        for text in texts {
            for &c in text {
                *chars.entry(c).or_default() += 1;
            }
            if min_bigram_count > 0 {
                for pair in text.windows(2) {
                    *bigrams.entry([pair[0], pair[1]]).or_default() += 1;
                }
            }
        }
        Self::new(
            frequent(chars, min_char_count),
            frequent(bigrams, min_bigram_count),
        )
    }

    /// Reads both files; `bigrams` is `None` for a tagger without.
    pub(super) fn parse(location: &str, chars: &str, bigrams: Option<&str>) -> Result<Self> {
        let chars = entries(
            &format!("{location}/{}", Self::CHARS),
            chars,
            &[UNKNOWN_NAME],
        )?;
        let special = [UNKNOWN_NAME, BOUNDARY_NAME];
        let bigrams = match bigrams {
            Some(text) => entries(&format!("{location}/{}", Self::BIGRAMS), text, &special)?,
            None => Vec::new(),
        };
        Ok(Self::new(
            chars.into_iter().map(|[c]: [char; 1]| c).collect(),
            bigrams,
        ))
    }

    pub(super) fn chars_file(&self) -> String {
        let lines = self.chars.iter().map(char::to_string);
        file(&[UNKNOWN_NAME], lines)
    }

    pub(super) fn bigrams_file(&self) -> Option<String> {
        let lines = self.bigrams.iter().map(|pair| pair.iter().collect());
        self.has_bigrams()
            .then(|| file(&[UNKNOWN_NAME, BOUNDARY_NAME], lines))
    }

    pub(super) fn has_bigrams(&self) -> bool {
        !self.bigrams.is_empty()
    }

    pub(super) fn has_lexicon(&self) -> bool {
        self.lexicon.is_some()
    }

    /// Rows of the character embedding.
    pub(super) fn num_chars(&self) -> usize {
        self.chars.len() + 1
    }

    /// Rows of the bigram embedding; 0 without bigrams.
    pub(super) fn num_bigrams(&self) -> usize {
        if self.has_bigrams() {
            self.bigrams.len() + 2
        } else {
            0
        }
    }

    /// The rows of one window's normalised characters.
    pub(super) fn encode(&self, chars: &[char]) -> Encoded {
        let row = |c: &char| self.char_rows.get(c).copied().unwrap_or(UNKNOWN);
        let pair = |at: usize| match (at.checked_sub(1).map(|a| chars[a]), chars.get(at)) {
            (Some(a), Some(&b)) => self.bigram_rows.get(&[a, b]).copied().unwrap_or(UNKNOWN),
            _ => BOUNDARY,
        };
        Encoded {
            chars: chars.iter().map(row).collect(),
            bigrams: if self.has_bigrams() {
                (0..chars.len())
                    .map(|at| [pair(at), pair(at + 1)])
                    .collect()
            } else {
                Vec::new()
            },
            lexicon: self
                .lexicon
                .as_ref()
                .map_or_else(Vec::new, |lexicon| lexicon.rows(chars)),
        }
    }
}

/// Those that occur at least `min` times, by falling count, then in order.
fn frequent<K: Ord + Copy>(counts: BTreeMap<K, usize>, min: usize) -> Vec<K> {
    let mut kept: Vec<(K, usize)> = counts.into_iter().filter(|(_, n)| *n >= min).collect();
    kept.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
    kept.into_iter().map(|(key, _)| key).collect()
}

fn file(special: &[&str], lines: impl Iterator<Item = String>) -> String {
    let special = special.iter().map(ToString::to_string);
    special.chain(lines).map(|line| line + "\n").collect()
}

/// The lines after the special ones, each of `N` characters.
fn entries<const N: usize>(location: &str, text: &str, special: &[&str]) -> Result<Vec<[char; N]>> {
    let wrong = |line: usize, found: &str| {
        let expected = format!("{} and then {N} characters a line", special.join(", "));
        Error::input(format!("{location}:{line}"), format!("'{found}'"), expected)
    };
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(name) = special.get(index) {
            if line != *name {
                return Err(wrong(index + 1, line));
            }
            continue;
        }
        let chars: Vec<char> = line.chars().collect();
        found.push(
            chars
                .try_into()
                .map_err(|_wrong_count| wrong(index + 1, line))?,
        );
    }
    Ok(found)
}

/// A window as rows of the embeddings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) chars: Vec<u32>,
    /// Of the bigram that ends at each character, and of the one that begins there.
    pub(super) bigrams: Vec<[u32; 2]>,
    /// Of the lexicon's features; empty without a lexicon.
    pub(super) lexicon: Vec<[u32; lexicon::FEATURES]>,
}

impl Encoded {
    /// Rows whose character the network shall not know, as it will not know those of other texts.
    pub(super) fn hide(&mut self, at: usize) {
        self.chars[at] = UNKNOWN;
    }
}

/// Pads windows to the longest.
pub(super) fn batch(windows: &[&Encoded], device: &Device) -> TaggerInput {
    let lengths: Vec<usize> = windows.iter().map(|w| w.chars.len()).collect();
    let (rows, seq) = (windows.len(), lengths.iter().max().copied().unwrap_or(0));
    let mut chars = vec![0_i64; rows * seq];
    for (row, window) in windows.iter().enumerate() {
        for (at, &c) in window.chars.iter().enumerate() {
            chars[row * seq + at] = i64::from(c);
        }
    }
    TaggerInput {
        chars: Tensor::from_data(TensorData::new(chars, [rows, seq]), device),
        bigrams: padded(windows, seq, |w| &w.bigrams, device),
        lexicon: padded(windows, seq, |w| &w.lexicon, device),
        lengths,
    }
}

/// `[windows, seq, N]`; `None` if no window has any.
fn padded<const N: usize>(
    windows: &[&Encoded],
    seq: usize,
    rows_of: impl Fn(&Encoded) -> &[[u32; N]],
    device: &Device,
) -> Option<Tensor<3, Int>> {
    if windows.iter().all(|window| rows_of(window).is_empty()) {
        return None;
    }
    let mut flat = vec![0_i64; windows.len() * seq * N];
    for (row, window) in windows.iter().enumerate() {
        for (at, rows) in rows_of(window).iter().enumerate() {
            flat[(row * seq + at) * N..][..N].copy_from_slice(&rows.map(i64::from));
        }
    }
    let data = TensorData::new(flat, [windows.len(), seq, N]);
    Some(Tensor::from_data(data, device))
}

/// The tags of words of these lengths, in characters.
pub(super) fn tags_of(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let word = |length: usize| {
        (0..length).map(move |at| match (at, length - at) {
            (0, 1) => tag::SINGLE,
            (0, _) => tag::BEGIN,
            (_, 1) => tag::END,
            _ => tag::INSIDE,
        })
    };
    lengths.flat_map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &str, max_length: usize) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        let config = Preprocessing {
            max_length,
            margin: 2,
            ..Preprocessing::default()
        };
        let windows = config.windows(&chars, |_| true);
        let kept: Vec<usize> = windows.iter().flat_map(|w| w.keep.clone()).collect();
        assert_eq!(
            kept,
            (0..chars.len()).collect::<Vec<_>>(),
            "nothing is lost"
        );
        let show = |w: &Window| {
            let part = |r: Range<usize>| chars[r].iter().collect::<String>();
            let (before, after) = (w.read.start..w.keep.start, w.keep.end..w.read.end);
            format!("{}[{}]{}", part(before), part(w.keep.clone()), part(after))
        };
        windows.iter().map(show).collect()
    }

    #[test]
    fn windows_end_with_sentences_then_clauses_then_anywhere() {
        assert_eq!(
            windows("他说：“好！”走了。", 20),
            ["[他说：“好！”]", "[走了。]"]
        );
        assert_eq!(
            windows("一二三，四五六七八九", 8),
            ["[一二三，]", "[四五六七八九]"]
        );
        assert_eq!(
            windows("一二三四五六七八九十甲乙丙丁", 8),
            ["[一二三四五六七八]九十", "七八[九十甲乙丙丁]"]
        );
        assert_eq!(windows("真的？！！", 20), ["[真的？！！]"]);
        assert!(windows("", 8).is_empty());
    }

    #[test]
    fn a_word_is_not_cut_in_training() {
        let chars: Vec<char> = "一二三四五六七八九十".chars().collect();
        let config = Preprocessing {
            max_length: 8,
            ..Preprocessing::default()
        };
        let kept = config.windows(&chars, |at| at % 3 == 0);
        let kept: Vec<Range<usize>> = kept.into_iter().map(|w| w.keep).collect();
        assert_eq!(kept, [0..6, 6..10]);
    }

    #[test]
    fn normalisation_is_one_to_one() {
        let config = Preprocessing::default();
        let seen: String = "Ｐｃ１９9％，。中"
            .chars()
            .map(|c| config.normalize(c))
            .collect();
        assert_eq!(seen, "aa000%,。中");
    }

    #[test]
    fn a_vocabulary_survives_its_files() {
        let texts: Vec<Vec<char>> = ["天天向上", "天上"].map(|t| t.chars().collect()).into();
        let vocabulary = Vocabulary::of(texts.iter().map(Vec::as_slice), 1, 1);
        assert_eq!((vocabulary.num_chars(), vocabulary.num_bigrams()), (4, 6));
        let (chars, bigrams) = (vocabulary.chars_file(), vocabulary.bigrams_file().unwrap());
        let read = Vocabulary::parse("here", &chars, Some(&bigrams)).unwrap();
        let text: Vec<char> = "天上人".chars().collect();
        let encoded = read.encode(&text);
        assert_eq!(encoded, vocabulary.encode(&text));
        assert_eq!(encoded.chars, [1, 2, 0]);
        assert_eq!(encoded.bigrams.len(), 3);
        assert_eq!((encoded.bigrams[0][0], encoded.bigrams[2]), (1, [0, 1]));
        let error = Vocabulary::parse("here", "[UNK]\nab\n", None).unwrap_err();
        assert!(error.to_string().contains("here/vocab.txt:2"), "{error}");
    }

    #[test]
    fn tags_say_where_a_word_ends() {
        assert_eq!(tags_of([1, 2, 4].into_iter()), [3, 0, 2, 0, 1, 1, 2]);
    }
}
