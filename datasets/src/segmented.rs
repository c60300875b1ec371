//! Segmented text: one sentence a line, its words separated by white space.
//!
//! The format of the SIGHAN bakeoffs, plain or gzipped. A file is read whole; lines that are not
//! UTF-8 and empty lines are remembered for the gate ([`crate::gate::inspect_segmented`]) and are no
//! samples.

use crate::{Error, Result, Splits, files, hex, stratified_holdout};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Extensions of segmented text, without `.gz`.
const EXTENSIONS: [&str; 3] = ["txt", "utf8", "seg"];

/// One sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// Line in its file, from 1.
    pub line: usize,
    /// Its words, none of them empty or with white space in it.
    pub words: Vec<String>,
}

impl Sentence {
    /// The words one after the other.
    pub fn text(&self) -> String {
        self.words.concat()
    }
}

/// Sentences of one file, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentedText {
    location: String,
    sentences: Vec<Sentence>,
    invalid: Vec<(usize, String)>,
    empty: Vec<usize>,
}

impl SegmentedText {
    /// Reads a file; one that begins as gzip does is unpacked.
    ///
    /// # Errors
    /// The file cannot be read or unpacked, or holds no word.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        Self::from_bytes(&path.display().to_string(), &bytes)
    }

    /// The same from memory; `location` is for messages.
    ///
    /// # Errors
    /// The bytes cannot be unpacked, or hold no word.
    pub fn from_bytes(location: &str, bytes: &[u8]) -> Result<Self> {
        let unpacked = files::unpack(location, bytes)?;
        let bytes = files::without_bom(&unpacked);
        let mut text = Self {
            location: location.into(),
            sentences: Vec::new(),
            invalid: Vec::new(),
            empty: Vec::new(),
        };
        let mut lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
        // What follows the last line feed is no line if nothing does.
        lines.pop_if(|last| last.is_empty());
        for (line, content) in (1..).zip(lines) {
            text.add(line, content);
        }
        if text.sentences.is_empty() {
            let expected = "sentences, one a line, words separated by white space";
            return Err(Error::input(location, "no word", expected));
        }
        Ok(text)
    }

    fn add(&mut self, line: usize, content: &[u8]) {
        match std::str::from_utf8(content) {
            Err(e) => {
                let what = format!("line {line}, byte {}", e.valid_up_to() + 1);
                self.invalid.push((line, what));
            }
            Ok(content) => {
                let words: Vec<String> = content.split_whitespace().map(String::from).collect();
                if words.is_empty() {
                    self.empty.push(line);
                } else {
                    self.sentences.push(Sentence { line, words });
                }
            }
        }
    }

    /// Where it was read from.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The sentences, in the order of the file.
    pub fn sentences(&self) -> &[Sentence] {
        &self.sentences
    }

    /// Number of sentences.
    pub fn len(&self) -> usize {
        self.sentences.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    /// Number of words.
    pub fn num_words(&self) -> usize {
        self.sentences.iter().map(|s| s.words.len()).sum()
    }

    /// The different words.
    pub fn vocabulary(&self) -> BTreeSet<&str> {
        let words = self.sentences.iter().flat_map(|s| &s.words);
        words.map(String::as_str).collect()
    }

    /// Where lines are not UTF-8: `line 3, byte 7`.
    pub fn invalid_lines(&self) -> impl Iterator<Item = &str> {
        self.invalid.iter().map(|(_, what)| what.as_str())
    }

    /// Numbers of lines without a word, from 1.
    pub fn empty_lines(&self) -> &[usize] {
        &self.empty
    }

    /// SHA-256 over the words, independent of packing and of the white space between them.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for sentence in &self.sentences {
            hash.update(sentence.words.join(" "));
            hash.update(b"\n");
        }
        hex(&hash.finalize())
    }

    /// Holds out `fraction` of the sentences: the same for the same seed; equal sentences stay
    /// together. What the gate has to say about lines stays with the first part.
    ///
    /// # Errors
    /// `fraction` outside (0, 1), or fewer than two different sentences.
    pub fn holdout(self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        let texts = self.sentences.iter().enumerate();
        let groups: Vec<usize> = texts
            .map(|(row, sentence)| *first.entry(sentence.text()).or_insert(row))
            .collect();
        let labels = vec![Some(0); self.len()];
        let (kept, held) = stratified_holdout(&labels, Some(&groups), fraction, seed)?;
        let part = |rows: Vec<usize>| rows.iter().map(|&r| self.sentences[r].clone()).collect();
        let held = Self {
            location: self.location.clone(),
            sentences: part(held),
            invalid: Vec::new(),
            empty: Vec::new(),
        };
        let kept = part(kept);
        let kept = Self {
            sentences: kept,
            ..self
        };
        Ok((kept, held))
    }
}

/// Opens a training file, or a folder with a file for each split (`train.txt`, `dev.txt.gz`,
/// `pku_test_gold.utf8`, …: one of the parts of its name is a name of a split; files with `words` in
/// their name are word lists). Without a validation file `holdout` of the training sentences are
/// held out by `seed`.
///
/// # Errors
/// No training file, two files of one split, or a file that cannot be read.
pub fn open_segmented_splits(
    path: &Path,
    holdout: f64,
    seed: u64,
) -> Result<Splits<SegmentedText>> {
    files::open_splits(
        path,
        &EXTENSIONS,
        is_word_list,
        SegmentedText::open,
        |train| train.holdout(holdout, seed),
    )
}

/// Opens a file, or of a folder the test file, else the validation file, else the training file.
///
/// # Errors
/// As [`open_segmented_splits`].
pub fn open_segmented_for_eval(path: &Path) -> Result<SegmentedText> {
    let file = files::for_eval(path, &EXTENSIONS, is_word_list)?;
    SegmentedText::open(&file)
}

/// Word lists lie beside the text and are none.
fn is_word_list(part: &str) -> bool {
    part == "words"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    const TEXT: &str = "\u{feff}我  爱 北京\r\n\n今天\t天气　好\n";

    #[test]
    fn words_stand_between_white_space() {
        for bytes in [TEXT.as_bytes().to_vec(), gz(TEXT.as_bytes())] {
            let text = SegmentedText::from_bytes("x", &bytes).unwrap();
            let words: Vec<&[String]> = text.sentences().iter().map(|s| &s.words[..]).collect();
            assert_eq!(words, [["我", "爱", "北京"], ["今天", "天气", "好"]]);
            assert_eq!((text.empty_lines(), text.num_words()), (&[2][..], 6));
            assert_eq!(text.sentences()[1].line, 3);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = SegmentedText::from_bytes("x", b"a b\nc\xFFd\n").unwrap();
        assert_eq!(text.invalid_lines().collect::<Vec<_>>(), ["line 2, byte 2"]);
        let error = |bytes: &[u8]| {
            SegmentedText::from_bytes("x", bytes)
                .unwrap_err()
                .to_string()
        };
        assert!(error(b" \n").contains("no word"));
        let packed = gz(TEXT.as_bytes());
        assert!(error(&packed[..packed.len() - 9]).contains("gzip"));
        let missing = open_segmented_for_eval(Path::new("/nowhere")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere"));
    }

    #[test]
    fn a_holdout_is_seeded_and_keeps_equal_sentences_together() {
        let lines: Vec<String> = (0..50).map(|i| format!("字 {}\n", i % 25)).collect();
        let lines = lines.concat();
        let text = SegmentedText::from_bytes("x", lines.as_bytes()).unwrap();
        let (kept, held) = text.clone().holdout(0.2, 1).unwrap();
        assert_eq!((kept.len(), held.len()), (40, 10));
        let texts = |part: &SegmentedText| -> BTreeSet<String> {
            part.sentences().iter().map(Sentence::text).collect()
        };
        assert!(texts(&kept).is_disjoint(&texts(&held)));
        assert_eq!(text.clone().holdout(0.2, 1).unwrap().1, held);
        assert_ne!(text.holdout(0.2, 2).unwrap().1, held);
    }

    #[test]
    fn a_folder_has_a_file_for_each_split() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| std::fs::write(dir.path().join(name), text).unwrap();
        write("pku_training.utf8", b"a b\nb c\nc d\n");
        write("pku_test_gold.utf8.gz", &gz(b"d e\n"));
        write("pku_training_words.utf8", b"a\n");
        write("README.md", b"training");
        let splits = open_segmented_splits(dir.path(), 0.4, 0).unwrap();
        let sizes = (splits.train.len(), splits.valid.len());
        assert_eq!((sizes, splits.test.unwrap().len()), ((2, 1), 1));
        assert_eq!(open_segmented_for_eval(dir.path()).unwrap().num_words(), 2);
        write("dev.txt", b"x y\n");
        let splits = open_segmented_splits(dir.path(), 0.4, 0).unwrap();
        assert_eq!((splits.train.len(), splits.valid.len()), (3, 1));
        write("valid.txt", b"x y\n");
        let error = open_segmented_splits(dir.path(), 0.4, 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("dev.txt is a valid file as well"), "{error}");
    }
}
