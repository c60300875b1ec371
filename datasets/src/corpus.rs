//! Running text for language models: files read whole, one document after the other.
//!
//! A corpus is a `.txt` file, plain or gzipped, or a folder with such files (also in folders below
//! it), in the order of their paths. It is split by position, as the published character and word
//! corpora are: the last part is for validation.

use crate::{
    Error, Result,
    files::{self, MAX_BYTES},
    gate,
    gate::GateReport,
    hex,
};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Documents in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    location: String,
    documents: Vec<String>,
}

impl Corpus {
    /// Reads a file, or all `.txt` and `.txt.gz` files of a folder.
    ///
    /// # Errors
    /// A file cannot be read or unpacked, is not UTF-8 or above 4 GB; there is no text at all.
    pub fn open(path: &Path) -> Result<Self> {
        let location = path.display().to_string();
        let files = if path.is_dir() {
            let mut found = Vec::new();
            walk(path, &mut found)?;
            found.sort();
            found
        } else {
            vec![path.to_path_buf()]
        };
        let read = |file: &PathBuf| {
            let size = fs::metadata(file).map_err(|e| Error::io("read", file, e))?;
            if size.len() > MAX_BYTES {
                let what = format!("{} bytes", size.len());
                let expected = "files of at most 4 GB";
                return Err(Error::input(file.display().to_string(), what, expected));
            }
            let bytes = fs::read(file).map_err(|e| Error::io("read", file, e))?;
            text(&file.display().to_string(), &bytes)
        };
        let documents = files.iter().map(read).collect::<Result<_>>()?;
        Self::new(location, documents)
    }

    /// One document from memory, plain or gzipped; `location` is for messages.
    ///
    /// # Errors
    /// The bytes cannot be unpacked, are not UTF-8, or hold nothing.
    pub fn from_bytes(location: &str, bytes: &[u8]) -> Result<Self> {
        Self::new(location.into(), vec![text(location, bytes)?])
    }

    fn new(location: String, mut documents: Vec<String>) -> Result<Self> {
        documents.retain(|document| !document.is_empty());
        if documents.is_empty() {
            let expected = "a .txt file with text in it, or a folder with some (.txt, .txt.gz)";
            return Err(Error::input(location, "no text", expected));
        }
        Ok(Self {
            location,
            documents,
        })
    }

    /// Where it was read from.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The documents, in order; none is empty.
    pub fn documents(&self) -> &[String] {
        &self.documents
    }

    /// Number of characters (Unicode scalar values).
    pub fn num_chars(&self) -> usize {
        self.documents.iter().map(|d| d.chars().count()).sum()
    }

    /// The first and the last part: `valid` of the characters, rounded to nearest, are in the last.
    ///
    /// # Errors
    /// A fraction that leaves one of them empty.
    pub fn split(&self, valid: f64) -> Result<(Self, Self)> {
        let total = self.num_chars();
        let kept = total - (total as f64 * valid).round() as usize;
        if !(0.0..1.0).contains(&valid) || kept == 0 || kept == total {
            let what = format!("{valid} of {total} characters for validation");
            let expected = "a fraction between 0 and 1 that leaves text on both sides";
            return Err(Error::input(&self.location, what, expected));
        }
        let (mut first, mut last, mut left) = (Vec::new(), Vec::new(), kept);
        for document in &self.documents {
            let end = document.char_indices().nth(left).map(|(at, _)| at);
            let (head, tail) = document.split_at(end.unwrap_or(document.len()));
            left -= head.chars().count();
            first.extend((!head.is_empty()).then(|| head.to_string()));
            last.extend((!tail.is_empty()).then(|| tail.to_string()));
        }
        let part = |documents, name: &str| Self {
            location: format!("{} ({name})", self.location),
            documents,
        };
        Ok((part(first, "train"), part(last, "valid")))
    }

    /// SHA-256 over the documents, each with a zero byte after it, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for document in &self.documents {
            hash.update(document.as_bytes());
            hash.update([0]);
        }
        hex(&hash.finalize())
    }

    /// Looks for characters that stand for damage and for long lines that both parts hold.
    pub fn inspect(train: &Self, valid: &Self) -> GateReport {
        gate::inspect_corpus(train, valid)
    }
}

fn text(location: &str, bytes: &[u8]) -> Result<String> {
    let bytes = files::unpack(location, bytes)?;
    let bytes = files::without_bom(&bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let what = format!("byte {} is not UTF-8", e.valid_up_to());
        Error::input(location, what, "UTF-8 text")
    })?;
    Ok(text.to_string())
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let io = |e| Error::io("read", folder, e);
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(io)?);
        if kind.is_dir() {
            walk(&path, found)?;
        } else if is_text(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether a name ends as `.txt` or `.txt.gz`, in either case.
fn is_text(path: &Path) -> bool {
    let ends = |path: &Path, end: &str| {
        path.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case(end))
    };
    let packed = ends(path, "gz")
        && path
            .file_stem()
            .is_some_and(|stem| ends(stem.as_ref(), "txt"));
    packed || ends(path, "txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_and_split_by_position() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("b/x.txt"), "\u{feff}défg").unwrap();
        fs::write(dir.path().join("a.txt"), "abc").unwrap();
        fs::write(dir.path().join("empty.txt"), "").unwrap();
        fs::write(dir.path().join("notes.md"), "no").unwrap();
        let corpus = Corpus::open(dir.path()).unwrap();
        assert_eq!(corpus.documents(), ["abc", "défg"]);
        let (train, valid) = corpus.split(0.3).unwrap();
        assert_eq!(train.documents(), ["abc", "dé"]);
        assert_eq!(valid.documents(), ["fg"]);
        let (train, valid) = corpus.split(0.7).unwrap();
        assert_eq!(
            (train.num_chars(), valid.documents()),
            (2, &["c".to_string(), "défg".into()][..])
        );
        assert_ne!(train.digest(), valid.digest());
        for fraction in [0.0, 1.0, f64::NAN, -1.0] {
            assert!(corpus.split(fraction).is_err());
        }
    }

    #[test]
    fn what_is_no_text_is_refused_by_name() {
        let refused = |bytes: &[u8]| Corpus::from_bytes("here", bytes).unwrap_err().to_string();
        assert!(refused(b"ab\xFF").contains("byte 2 is not UTF-8"));
        assert!(refused(b"").contains("no text"));
        assert!(refused(&[0x1F, 0x8B, 1]).contains("here"));
        let dir = tempfile::tempdir().unwrap();
        assert!(Corpus::open(dir.path()).is_err());
        assert!(Corpus::open(&dir.path().join("nowhere")).is_err());
    }
}
