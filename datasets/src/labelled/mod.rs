//! Texts with labels out of a table: CSV, TSV, JSON lines, each also gzipped; Parquet with the feature
//! `tables`.
//!
//! Columns are found by name ([`Columns`]). A label is one class, or several (multi-label): a JSON
//! list, or a cell that is cut at [`Columns::separator`].

mod read;

use crate::{Error, Result, Split, Splits, files, hex, stratified_holdout};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// Extensions of tables, without `.gz`.
const EXTENSIONS: [&str; 5] = ["csv", "tsv", "jsonl", "ndjson", "parquet"];

/// Which columns of a table hold what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The text; `null` for the first usual name that there is.
    pub text: Option<String>,
    /// The label; likewise.
    pub label: Option<String>,
    /// Whether the first row of a CSV or TSV file names the columns. Without it they are called
    /// `0`, `1`, ...
    pub header: bool,
    /// What separates the classes of a cell that may hold several; `null` for one class a text.
    pub separator: Option<char>,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            text: None,
            label: None,
            header: true,
            separator: None,
        }
    }
}

/// Usual names, tried in this order.
const TEXT_NAMES: [&str; 6] = ["text", "sentence", "content", "review", "document", "0"];
const LABEL_NAMES: [&str; 7] = [
    "label",
    "labels",
    "class",
    "category",
    "target",
    "sentiment",
    "1",
];

impl Columns {
    /// Positions of text and label in a header.
    fn find(&self, header: &[String], location: &str) -> Result<[usize; 2]> {
        let one = |wanted: &Option<String>, usual: &[&str], what: &str| {
            let position = |name: &str| header.iter().position(|column| column == name);
            let found = match wanted {
                Some(name) => position(name),
                None => usual.iter().find_map(|name| position(name)),
            };
            found.ok_or_else(|| {
                let name = wanted.as_deref().unwrap_or(what);
                let columns = header.join(", ");
                let what = format!("no column '{name}' for the {what}; its columns are {columns}");
                Error::input(location, what, "the name of a column")
            })
        };
        Ok([
            one(&self.text, &TEXT_NAMES, "text")?,
            one(&self.label, &LABEL_NAMES, "label")?,
        ])
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// Number in its file, from 1, the header not counted.
    number: usize,
    text: String,
    /// Indices of its classes, ascending.
    labels: Vec<usize>,
}

/// Texts with their labels. Copies share the texts of a file only through [`Arc`]s of their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledTexts {
    location: String,
    rows: Vec<Row>,
    classes: Arc<Vec<String>>,
}

impl LabelledTexts {
    /// Reads a table.
    ///
    /// # Errors
    /// The file cannot be read, is no such table, lacks a column, or has no row.
    pub fn open(path: &Path, columns: &Columns) -> Result<Self> {
        let location = path.display().to_string();
        let cells = read::open(path, columns)?;
        Self::of(location, cells, columns)
    }

    /// Reads a CSV file from memory; `location` is for messages.
    pub fn from_csv(location: &str, bytes: &[u8], columns: &Columns) -> Result<Self> {
        let cells = read::separated(location, bytes, b',', columns)?;
        Self::of(location.into(), cells, columns)
    }

    fn of(location: String, cells: Vec<read::Cells>, columns: &Columns) -> Result<Self> {
        if cells.is_empty() {
            return Err(Error::input(location, "no rows", "a table of texts"));
        }
        let split = |cells: &read::Cells| -> Vec<String> {
            let parts: Vec<&str> = match columns.separator {
                Some(separator) => cells
                    .labels
                    .iter()
                    .flat_map(|l| l.split(separator))
                    .collect(),
                None => cells.labels.iter().map(String::as_str).collect(),
            };
            let parts = parts.into_iter().map(str::trim);
            parts.filter(|l| !l.is_empty()).map(String::from).collect()
        };
        let labels: Vec<Vec<String>> = cells.iter().map(split).collect();
        let distinct: BTreeSet<&String> = labels.iter().flatten().collect();
        let mut classes: Vec<String> = distinct.into_iter().cloned().collect();
        // Numbers in the order of numbers: 2 before 10.
        if classes.iter().all(|class| class.parse::<u64>().is_ok()) {
            classes.sort_by_key(|class| class.parse::<u64>().unwrap_or_default());
        }
        let index = index_of(&classes);
        let row = |(i, (cells, labels)): (usize, (read::Cells, Vec<String>))| {
            let distinct: BTreeSet<usize> = labels.iter().map(|l| index[l.as_str()]).collect();
            Row {
                number: i + 1,
                text: cells.text,
                labels: distinct.into_iter().collect(),
            }
        };
        let rows = cells.into_iter().zip(labels).enumerate().map(row).collect();
        Ok(Self {
            location,
            rows,
            classes: Arc::new(classes),
        })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where the texts come from.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The text of a row.
    pub fn text(&self, row: usize) -> &str {
        &self.rows[row].text
    }

    /// The classes of a row, ascending; empty where it has none.
    pub fn labels(&self, row: usize) -> &[usize] {
        &self.rows[row].labels
    }

    /// What to call a row in messages.
    pub fn name(&self, row: usize) -> String {
        format!("{}, row {}", self.location, self.rows[row].number)
    }

    /// Class names, in label order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of texts of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for label in self.rows.iter().flat_map(|row| &row.labels) {
            counts[*label] += 1;
        }
        counts
    }

    /// Without some rows.
    #[must_use]
    pub fn without(&self, rows: &[usize]) -> Self {
        let dropped: BTreeSet<&usize> = rows.iter().collect();
        let kept: Vec<usize> = (0..self.len()).filter(|i| !dropped.contains(i)).collect();
        self.select(&kept)
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self {
            rows: rows.iter().map(|&i| self.rows[i].clone()).collect(),
            ..self.clone()
        }
    }

    /// The same texts with their classes numbered as in `classes`, found by name, or by number where
    /// every class of the table is the number of one.
    ///
    /// # Errors
    /// A class that is not among them.
    pub fn relabelled(&self, classes: &[String]) -> Result<Self> {
        let index = index_of(classes);
        let by_name = self.classes.iter().any(|c| index.contains_key(c.as_str()));
        let place = |class: &String| {
            let number = || class.parse::<usize>().ok().filter(|&n| n < classes.len());
            let found = index.get(class.as_str()).copied();
            let found = if by_name { found } else { number() };
            found.ok_or_else(|| Error::unknown("class", class, classes))
        };
        let new: Vec<usize> = self.classes.iter().map(place).collect::<Result<_>>()?;
        let row = |row: &Row| {
            let labels: BTreeSet<usize> = row.labels.iter().map(|&l| new[l]).collect();
            Row {
                labels: labels.into_iter().collect(),
                ..row.clone()
            }
        };
        Ok(Self {
            location: self.location.clone(),
            rows: self.rows.iter().map(row).collect(),
            classes: Arc::new(classes.to_vec()),
        })
    }

    /// Holds out a part of each class (of a row's first one); equal texts stay together.
    pub fn holdout(&self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        let labels: Vec<Option<usize>> = self
            .rows
            .iter()
            .map(|row| row.labels.first().copied())
            .collect();
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        let rows = self.rows.iter().enumerate();
        let groups: Vec<usize> = rows
            .map(|(i, row)| *first.entry(&row.text).or_insert(i))
            .collect();
        let (kept, held) = stratified_holdout(&labels, Some(&groups), fraction, seed)?;
        Ok((self.select(&kept), self.select(&held)))
    }

    /// SHA-256 over classes, texts and labels, in hexadecimal: which data a model has seen.
    pub fn digest(&self) -> String {
        let mut sum = Sha256::new();
        // Each text with its length before it: no two tables give the same stream.
        let mut add = |text: &str| {
            sum.update((text.len() as u64).to_le_bytes());
            sum.update(text);
        };
        self.classes.iter().for_each(|class| add(class));
        for row in &self.rows {
            add(&row.text);
            add(&format!("{:?}", row.labels));
        }
        hex(&sum.finalize())
    }
}

fn index_of(classes: &[String]) -> BTreeMap<&str, usize> {
    let numbered = classes.iter().enumerate();
    numbered.map(|(i, class)| (class.as_str(), i)).collect()
}

/// Reads one table, or a folder of tables called after their splits (`train.csv`, `dev.csv.gz`,
/// `test.jsonl`, …: one of the parts of its name is a name of a split), with the classes of the
/// training part. Without a validation split, `holdout` of the training texts become one.
///
/// # Errors
/// No training table, two tables of one split, a table that cannot be read, or a class that the
/// training part lacks.
pub fn open_text_splits(
    path: &Path,
    columns: &Columns,
    holdout: f64,
    seed: u64,
) -> Result<Splits<LabelledTexts>> {
    let open = |file: &Path| LabelledTexts::open(file, columns);
    let splits = files::open_splits(
        path,
        &EXTENSIONS,
        |_| false,
        open,
        |train| train.holdout(holdout, seed),
    )?;
    let classes = splits.train.classes().to_vec();
    splits.try_map(|split, texts| match split {
        Split::Train => Ok(texts),
        Split::Valid | Split::Test => texts.relabelled(&classes),
    })
}

/// Reads the texts of a data set that a model is scored on: the table, or of a folder the test split,
/// else the validation split, else the training split.
///
/// # Errors
/// As [`open_text_splits`].
pub fn open_texts_for_eval(path: &Path, columns: &Columns) -> Result<LabelledTexts> {
    LabelledTexts::open(&files::for_eval(path, &EXTENSIONS, |_| false)?, columns)
}

#[cfg(test)]
mod tests;
