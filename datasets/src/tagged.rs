//! Tagged words: CoNLL files (one word a line with its tag, an empty line after each sentence) and JSON
//! lines of `tokens` and `tags`.
//!
//! Columns are separated by a tab where the line has one, else by white space. Lines that begin with
//! `-DOCSTART-` end a sentence and are no words. Sentences that cannot be read are remembered for the gate
//! ([`crate::gate::inspect_tagged`]) and are no samples.

use crate::{Error, Result, Splits, files, hex, stratified_holdout};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Extensions of tagged text, without `.gz`; the last two are JSON lines.
const EXTENSIONS: [&str; 9] = [
    "conll", "txt", "tsv", "bio", "iob", "iob2", "tags", "jsonl", "ndjson",
];

/// The mark of a new document in CoNLL's files.
const DOCUMENT: &str = "-DOCSTART-";

/// Names of the tags in JSON lines, tried in this order.
const TAG_NAMES: [&str; 4] = ["tags", "ner_tags", "labels", "pos_tags"];

/// Which columns of a CoNLL file hold what; JSON lines need none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TagColumns {
    /// The word, counted from 0.
    pub word: usize,
    /// The tag, counted from 0; `null` for the last column.
    pub tag: Option<usize>,
}

/// One sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedSentence {
    /// Line in its file where it begins, from 1.
    pub line: usize,
    /// Its words.
    pub words: Vec<String>,
    /// The tag of each word.
    pub tags: Vec<String>,
}

impl TaggedSentence {
    /// The words with a space between.
    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// Tagged sentences of one file, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedText {
    location: String,
    sentences: Vec<TaggedSentence>,
    invalid: Vec<String>,
}

impl TaggedText {
    /// Reads a file; one that begins as gzip does is unpacked. `.jsonl` and `.ndjson` are JSON lines,
    /// everything else is CoNLL.
    ///
    /// # Errors
    /// The file cannot be read or unpacked, or holds no sentence.
    pub fn open(path: &Path, columns: &TagColumns) -> Result<Self> {
        let location = path.display().to_string();
        let bytes = files::read(path)?;
        let name = location.strip_suffix(".gz").unwrap_or(&location);
        match Path::new(name).extension().and_then(|e| e.to_str()) {
            Some("jsonl" | "ndjson") => Self::from_json_lines(&location, &bytes),
            _ => Self::from_conll(&location, &bytes, columns),
        }
    }

    /// Reads CoNLL from memory, plain or gzipped; `location` is for messages.
    ///
    /// # Errors
    /// The bytes cannot be unpacked, or hold no sentence.
    pub fn from_conll(location: &str, bytes: &[u8], columns: &TagColumns) -> Result<Self> {
        let bytes = files::unpack(location, bytes)?;
        let mut text = Self::empty(location);
        let mut sentence = Conll::default();
        for (line, content) in (1..).zip(files::without_bom(&bytes).split(|&b| b == b'\n')) {
            match std::str::from_utf8(content) {
                Ok(content) if ends_sentence(content) => text.add(std::mem::take(&mut sentence)),
                Ok(content) => sentence.add(line, cells(content, columns)),
                Err(e) => {
                    let what = format!("byte {} is not UTF-8", e.valid_up_to() + 1);
                    sentence.add(line, Err(what));
                }
            }
        }
        text.add(sentence);
        text.checked("words with their tags, an empty line after each sentence")
    }

    /// Reads JSON lines from memory: `{"tokens": […], "tags": […]}`.
    ///
    /// # Errors
    /// As [`from_conll`](Self::from_conll).
    pub fn from_json_lines(location: &str, bytes: &[u8]) -> Result<Self> {
        let bytes = files::unpack(location, bytes)?;
        let mut text = Self::empty(location);
        for (line, content) in (1..).zip(files::without_bom(&bytes).split(|&b| b == b'\n')) {
            if content.trim_ascii().is_empty() {
                continue;
            }
            match json_sentence(line, content) {
                Ok(sentence) => text.sentences.push(sentence),
                Err(what) => text.invalid.push(format!("line {line}: {what}")),
            }
        }
        text.checked("JSON lines of tokens and tags")
    }

    fn empty(location: &str) -> Self {
        Self {
            location: location.into(),
            sentences: Vec::new(),
            invalid: Vec::new(),
        }
    }

    fn checked(self, expected: &str) -> Result<Self> {
        if self.sentences.is_empty() {
            let first = self.invalid.first();
            let what = first.map_or("no sentence".into(), |e| format!("no sentence ({e})"));
            return Err(Error::input(self.location, what, expected));
        }
        Ok(self)
    }

    fn add(&mut self, read: Conll) {
        match (read.wrong, read.sentence) {
            (Some(wrong), _) => self.invalid.push(wrong),
            (None, Some(sentence)) => self.sentences.push(sentence),
            (None, None) => {}
        }
    }

    /// Where it was read from.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The sentences, in the order of the file.
    pub fn sentences(&self) -> &[TaggedSentence] {
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

    /// What to call a sentence in messages.
    pub fn name(&self, row: usize) -> String {
        format!("{}, line {}", self.location, self.sentences[row].line)
    }

    /// What is wrong with the sentences that could not be read: `line 3: one column`.
    pub fn invalid(&self) -> &[String] {
        &self.invalid
    }

    /// The different tags, in the order of their characters: as transformers' `run_ner` numbers them.
    pub fn tags(&self) -> Vec<String> {
        let tags: BTreeSet<&String> = self.sentences.iter().flat_map(|s| &s.tags).collect();
        tags.into_iter().cloned().collect()
    }

    /// SHA-256 over words and tags, in hexadecimal: which data a model has seen.
    pub fn digest(&self) -> String {
        let mut sum = Sha256::new();
        for sentence in &self.sentences {
            for (word, tag) in sentence.words.iter().zip(&sentence.tags) {
                sum.update(word);
                sum.update(b"\t");
                sum.update(tag);
                sum.update(b"\n");
            }
            sum.update(b"\n");
        }
        hex(&sum.finalize())
    }

    /// Without some sentences, and without what the gate has to say.
    #[must_use]
    pub fn without(&self, rows: &[usize]) -> Self {
        let dropped: BTreeSet<&usize> = rows.iter().collect();
        let kept: Vec<usize> = (0..self.len()).filter(|i| !dropped.contains(i)).collect();
        self.select(&kept)
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self {
            location: self.location.clone(),
            sentences: rows.iter().map(|&i| self.sentences[i].clone()).collect(),
            invalid: Vec::new(),
        }
    }

    /// Holds out `fraction` of the sentences, of those with an entity and of those without alike; equal
    /// sentences stay together. The same seed gives the same sentences.
    ///
    /// # Errors
    /// `fraction` outside (0, 1), or fewer than two different sentences.
    pub fn holdout(&self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        let mut first: BTreeMap<&[String], usize> = BTreeMap::new();
        let rows = self.sentences.iter().enumerate();
        let groups: Vec<usize> = rows
            .map(|(row, sentence)| *first.entry(&sentence.words).or_insert(row))
            .collect();
        let kind = |s: &TaggedSentence| Some(usize::from(s.tags.iter().any(|tag| tag != "O")));
        let kinds: Vec<Option<usize>> = self.sentences.iter().map(kind).collect();
        let (kept, held) = stratified_holdout(&kinds, Some(&groups), fraction, seed)?;
        let kept = Self {
            invalid: self.invalid.clone(),
            ..self.select(&kept)
        };
        Ok((kept, self.select(&held)))
    }
}

/// A sentence of a CoNLL file while it is read.
#[derive(Default)]
struct Conll {
    sentence: Option<TaggedSentence>,
    wrong: Option<String>,
}

impl Conll {
    fn add(&mut self, line: usize, read: Result<(String, String), String>) {
        match read {
            Err(what) if self.wrong.is_none() => self.wrong = Some(format!("line {line}: {what}")),
            Err(_) => {}
            Ok((word, tag)) => {
                let sentence = self.sentence.get_or_insert_with(|| TaggedSentence {
                    line,
                    words: Vec::new(),
                    tags: Vec::new(),
                });
                sentence.words.push(word);
                sentence.tags.push(tag);
            }
        }
    }
}

fn ends_sentence(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with(DOCUMENT)
}

/// Word and tag of a line, or what is wrong with it.
fn cells(line: &str, columns: &TagColumns) -> Result<(String, String), String> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let cells: Vec<&str> = if line.contains('\t') {
        line.split('\t').map(str::trim).collect()
    } else {
        line.split_whitespace().collect()
    };
    let tag = columns.tag.unwrap_or(cells.len().saturating_sub(1));
    match (cells.get(columns.word), cells.get(tag)) {
        (Some(_), Some(&"")) => Err("an empty tag".into()),
        (Some(word), Some(tag_cell)) if tag != columns.word => {
            Ok(((*word).into(), (*tag_cell).into()))
        }
        _ => Err(format!("{} column(s)", cells.len())),
    }
}

/// One JSON line, or what is wrong with it.
fn json_sentence(line: usize, content: &[u8]) -> Result<TaggedSentence, String> {
    let row: Value = serde_json::from_slice(content).map_err(|e| e.to_string())?;
    let list = |names: &[&str]| -> Result<Vec<String>, String> {
        let found = names.iter().find_map(|name| row[*name].as_array());
        let items = found.ok_or_else(|| format!("no list '{}'", names[0]))?;
        let cell = |item: &Value| match item {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(format!("the value {other} in '{}'", names[0])),
        };
        items.iter().map(cell).collect()
    };
    let (words, tags) = (list(&["tokens", "words"])?, list(&TAG_NAMES)?);
    if words.len() != tags.len() || words.is_empty() {
        return Err(format!("{} tokens, {} tags", words.len(), tags.len()));
    }
    if tags.iter().any(String::is_empty) {
        return Err("an empty tag".into());
    }
    Ok(TaggedSentence { line, words, tags })
}

/// Opens a training file, or a folder with a file for each split (`train.conll`, `dev.conll.gz`,
/// `test.jsonl`, …: one of the parts of its name is a name of a split). Without a validation file
/// `holdout` of the training sentences are held out by `seed`.
///
/// # Errors
/// No training file, two files of one split, or a file that cannot be read.
pub fn open_tagged_splits(
    path: &Path,
    columns: &TagColumns,
    holdout: f64,
    seed: u64,
) -> Result<Splits<TaggedText>> {
    let open = |file: &Path| TaggedText::open(file, columns);
    files::open_splits(
        path,
        &EXTENSIONS,
        |_| false,
        open,
        |train| train.holdout(holdout, seed),
    )
}

/// Opens a file, or of a folder the test file, else the validation file, else the training file.
///
/// # Errors
/// As [`open_tagged_splits`].
pub fn open_tagged_for_eval(path: &Path, columns: &TagColumns) -> Result<TaggedText> {
    TaggedText::open(&files::for_eval(path, &EXTENSIONS, |_| false)?, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conll(text: &str) -> Result<TaggedText> {
        TaggedText::from_conll("here", text.as_bytes(), &TagColumns::default())
    }

    fn words(text: &TaggedText) -> Vec<String> {
        text.sentences().iter().map(TaggedSentence::text).collect()
    }

    #[test]
    fn conll_ends_sentences_at_empty_lines_and_documents() {
        let text =
            "\u{feff}-DOCSTART- -X- O O\n\nEU NNP B-ORG\nrejects VBZ O\n\t\nNew York\tx\tB-LOC\r\n";
        let text = conll(text).unwrap();
        assert_eq!(words(&text), ["EU rejects", "New York"]);
        assert_eq!(text.sentences()[1].tags, ["B-LOC"]);
        assert_eq!(
            (text.sentences()[0].line, text.name(1)),
            (3, "here, line 6".into())
        );
        assert_eq!(text.tags(), ["B-LOC", "B-ORG", "O"]);
        let columns = TagColumns {
            word: 1,
            tag: Some(0),
        };
        let turned = TaggedText::from_conll("here", b"O a\nB-X b\n", &columns).unwrap();
        assert_eq!(
            (words(&turned), turned.tags()),
            (vec!["a b".into()], vec!["B-X".into(), "O".into()])
        );
    }

    #[test]
    fn broken_sentences_are_remembered_with_their_line() {
        let text = TaggedText::from_conll(
            "here",
            b"a O\n\nb\nc O\n\nd O\n\xFF O\n\ne\t\n",
            &TagColumns::default(),
        );
        let text = text.unwrap();
        assert_eq!(words(&text), ["a"]);
        let expected = [
            "line 3: 1 column(s)",
            "line 7: byte 1 is not UTF-8",
            "line 9: an empty tag",
        ];
        assert_eq!(text.invalid(), expected);
        let error = conll("one\n").unwrap_err().to_string();
        assert!(
            error.contains("no sentence (line 1: 1 column(s))"),
            "{error}"
        );
        assert!(conll("\n\n").is_err());
        let broken = TaggedText::from_conll("here", b"\x1F\x8B\x08garbage", &TagColumns::default());
        assert!(broken.unwrap_err().to_string().contains("gzip"));
    }

    #[test]
    fn json_lines_give_the_same() {
        let lines = "{\"tokens\": [\"EU\", \"rejects\"], \"ner_tags\": [\"B-ORG\", \"O\"]}\n\n{\"tokens\": [\"a\"]}\n[]\n{\"tokens\": [\"a\"], \"tags\": []}\n{\"tokens\": [null], \"tags\": [1]}\n{\"tokens\": [\"\\ud800\"], \"tags\": [\"O\"]}\n";
        let text = TaggedText::from_json_lines("here", lines.as_bytes()).unwrap();
        assert_eq!(words(&text), ["EU rejects"]);
        let starts: Vec<&str> = text.invalid().iter().map(|e| &e[..7]).collect();
        assert_eq!(
            starts,
            ["line 3:", "line 4:", "line 5:", "line 6:", "line 7:"]
        );
        let same = conll("EU B-ORG\nrejects O\n").unwrap();
        assert_eq!(text.digest(), same.digest());
    }

    #[test]
    fn a_folder_holds_splits_and_a_file_is_split() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let line = |i| format!("w{} {}\n\n", i / 2, if i < 10 { "O" } else { "B-X" });
        let many: String = (0..20).map(line).collect();
        write("wnut17-train.conll", &many);
        let columns = TagColumns::default();
        let splits = open_tagged_splits(dir.path(), &columns, 0.2, 1).unwrap();
        assert_eq!((splits.train.len(), splits.valid.len()), (16, 4));
        let (train, valid): (BTreeSet<_>, BTreeSet<_>) = (
            words(&splits.train).into_iter().collect(),
            words(&splits.valid).into_iter().collect(),
        );
        assert!(train.is_disjoint(&valid) && splits.valid.tags() == ["B-X", "O"]);
        write("dev.txt", "a O\n");
        write("test.jsonl", "{\"tokens\": [\"t\"], \"tags\": [\"O\"]}");
        let splits = open_tagged_splits(dir.path(), &columns, 0.2, 1).unwrap();
        assert_eq!(
            (
                splits.train.len(),
                splits.valid.len(),
                splits.test.unwrap().len()
            ),
            (20, 1, 1)
        );
        assert_eq!(
            words(&open_tagged_for_eval(dir.path(), &columns).unwrap()),
            ["t"]
        );
        let file = dir.path().join("wnut17-train.conll");
        assert_eq!(
            open_tagged_splits(&file, &columns, 0.2, 1)
                .unwrap()
                .train
                .len(),
            16
        );
        assert!(open_tagged_splits(&dir.path().join("none"), &columns, 0.5, 1).is_err());
    }
}
