//! Tables of numbers and names: CSV, TSV and JSON lines (also gzipped), Parquet, and NumPy archives of `X` and `y`
//! as ADBench has them.
//!
//! [`Frame::open`] reads a table by its column names and decides for each column whether it is numeric. Rows that do not
//! parse are counted, named and left out; [`inspect_frames`](crate::gate::inspect_frames) refuses more than a share of
//! them. [`Encoder`] turns rows into numbers: what it needs for that (medians, extents, categories) is fitted on the
//! training part alone and travels with the model.

mod encode;
mod matrix;
#[cfg(feature = "tables")]
mod npz;
mod read;
mod typed;

pub use encode::{CategoricalEncoding, EncodeConfig, Encoder, Scaling};
pub use matrix::Matrix;
pub(crate) use read::{Cells, open as open_cells};

use crate::{Error, Result, Splits, files, hex, stratified_holdout};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{cell::RefCell, path::Path};

/// Extensions of tables, without `.gz`.
const EXTENSIONS: [&str; 6] = ["csv", "tsv", "jsonl", "ndjson", "parquet", "npz"];

/// How a table is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableOptions {
    /// Whether the first row of a CSV or TSV file names the columns. Without it they are called `0`, `1`, ...
    pub header: bool,
    /// The column that says what is anomalous; `null` for `label` where there is such a column.
    pub label: Option<String>,
    /// Labels of normal rows; every other label is an anomaly.
    pub normal: Vec<String>,
    /// Columns that are left aside.
    pub drop: Vec<String>,
    /// Columns that hold names although they look like numbers.
    pub categorical: Vec<String>,
}

impl Default for TableOptions {
    fn default() -> Self {
        let normal = ["0", "0.0", "normal", "false"];
        Self {
            header: true,
            label: None,
            normal: normal.map(String::from).to_vec(),
            drop: Vec::new(),
            categorical: Vec::new(),
        }
    }
}

/// The name of the label column where none is given.
const LABEL: &str = "label";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// Numbers.
    Numeric,
    /// Names.
    Categorical,
}

/// One column; a missing value is NaN or `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers.
    Numeric(Vec<f64>),
    /// Places in `names`, which holds every name once.
    Categorical {
        /// One a row.
        codes: Vec<Option<u32>>,
        /// In the order of their first appearance.
        names: Vec<String>,
    },
}

impl Column {
    /// What it holds.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::Numeric(_) => ColumnKind::Numeric,
            Self::Categorical { .. } => ColumnKind::Categorical,
        }
    }

    /// Number of missing values.
    pub fn num_missing(&self) -> usize {
        match self {
            Self::Numeric(values) => values.iter().filter(|value| value.is_nan()).count(),
            Self::Categorical { codes, .. } => codes.iter().filter(|code| code.is_none()).count(),
        }
    }

    /// Whether all values that are there are the same.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::Numeric(values) => {
                let mut present = values.iter().filter(|value| !value.is_nan());
                let first = present.next();
                present.all(|value| Some(value) == first)
            }
            Self::Categorical { codes, .. } => {
                let mut present = codes.iter().flatten();
                let first = present.next();
                present.all(|code| Some(code) == first)
            }
        }
    }

    fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numeric(values) => Self::Numeric(rows.iter().map(|&r| values[r]).collect()),
            Self::Categorical { codes, names } => Self::Categorical {
                codes: rows.iter().map(|&r| codes[r]).collect(),
                names: names.clone(),
            },
        }
    }
}

/// A table whose cells are numbers and names.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    location: String,
    columns: Vec<(String, Column)>,
    /// The label as it is written, one a row.
    labels: Option<Vec<String>>,
    normal: Vec<String>,
    label_name: Option<String>,
    dropped: Vec<String>,
    /// The line of each row, from 1.
    lines: Vec<usize>,
    /// Where and why rows were left out.
    unparsed: Vec<String>,
}

impl Frame {
    /// Reads a table. `kinds`, if given, are the columns that it must have (see [`kinds`](Self::kinds)), others are not read.
    ///
    /// # Errors
    /// A file that cannot be read or holds no table, a column that is asked for and not there. Single rows that do
    /// not parse are left out: see [`unparsed`](Self::unparsed).
    pub fn open(
        path: &Path,
        options: &TableOptions,
        kinds: Option<&[(String, ColumnKind)]>,
    ) -> Result<Self> {
        typed::frame(read::open(path, options)?, options, kinds)
    }

    /// Reads a table with a header out of memory, as [`open`](Self::open) reads a CSV file.
    ///
    /// # Errors
    /// As there.
    pub fn from_csv(location: &str, bytes: &[u8], options: &TableOptions) -> Result<Self> {
        typed::frame(
            read::separated(location, bytes, b',', options)?,
            options,
            None,
        )
    }

    /// Reads a table out of memory: JSON lines where it begins with a brace, else tab-separated where its header holds a
    /// tab, else comma-separated. `kinds` as for [`open`](Self::open).
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(
        location: &str,
        bytes: &[u8],
        options: &TableOptions,
        kinds: Option<&[(String, ColumnKind)]>,
    ) -> Result<Self> {
        let bytes = files::unpack(location, bytes)?;
        typed::frame(read::sniffed(location, &bytes, options)?, options, kinds)
    }

    /// Where it came from.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Number of rows that parse.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The columns with their names, without the label.
    pub fn columns(&self) -> &[(String, Column)] {
        &self.columns
    }

    /// Rows that do not parse: the place and what is wrong there.
    pub fn unparsed(&self) -> &[String] {
        &self.unparsed
    }

    /// The name of the label column, if there is one.
    pub fn label_name(&self) -> Option<&str> {
        self.label_name.as_deref()
    }

    /// The columns that were left aside.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// The labels as they are written, if there are any.
    pub fn labels(&self) -> Option<&[String]> {
        self.labels.as_deref()
    }

    /// Whether each row is an anomaly by its label; `None` without labels.
    pub fn is_anomaly(&self) -> Option<Vec<bool>> {
        let labels = self.labels.as_ref()?;
        let anomaly = |label: &String| !self.normal.contains(label);
        Some(labels.iter().map(anomaly).collect())
    }

    /// A name for row `row` in messages.
    pub fn name(&self, row: usize) -> String {
        format!("line {}", self.lines[row])
    }

    /// The columns by name, with what they hold.
    pub fn kinds(&self) -> Vec<(String, ColumnKind)> {
        let kind = |(name, column): &(String, Column)| (name.clone(), column.kind());
        self.columns.iter().map(kind).collect()
    }

    /// Only `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let column = |(name, column): &(String, Column)| (name.clone(), column.select(rows));
        let labels = self.labels.as_ref();
        Self {
            location: self.location.clone(),
            columns: self.columns.iter().map(column).collect(),
            labels: labels.map(|labels| rows.iter().map(|&r| labels[r].clone()).collect()),
            normal: self.normal.clone(),
            label_name: self.label_name.clone(),
            dropped: self.dropped.clone(),
            lines: rows.iter().map(|&r| self.lines[r]).collect(),
            unparsed: Vec::new(),
        }
    }

    /// Without the column `name`, which rows may have nevertheless, as those that were left aside in reading.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        let before = self.columns.len();
        self.columns.retain(|(column, _)| column != name);
        if self.columns.len() < before {
            self.dropped.push(name.into());
        }
        self
    }

    /// `(kept, held out)`: a random `fraction`, of normal rows and anomalies alike; [`stratified_holdout`] draws it.
    /// The rows that do not parse stay with the first.
    ///
    /// # Errors
    /// As there.
    pub fn holdout(self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        let classes = match self.is_anomaly() {
            Some(anomalies) => anomalies.iter().map(|&a| Some(usize::from(a))).collect(),
            None => vec![Some(0); self.len()],
        };
        let (kept, held) = stratified_holdout(&classes, None, fraction, seed)?;
        Ok(self.divided(&kept, &held))
    }

    /// `(kept, held out)`: the last `fraction` of the rows in the order of the numeric column `column`; rows of
    /// one value of it stay together, on the earlier side.
    ///
    /// # Errors
    /// No such column, one with missing values, a fraction outside (0, 1), nothing left on a side.
    pub fn holdout_latest(self, fraction: f64, column: &str) -> Result<(Self, Self)> {
        let wrong = |what: String| {
            let expected =
                "a numeric column without gaps to order by, and a fraction between 0 and 1";
            Error::input(&self.location, what, expected)
        };
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(wrong(format!("a fraction of {fraction}")));
        }
        let found = self.columns.iter().find(|(name, _)| name == column);
        let times = match found {
            None => return Err(wrong(format!("no column '{column}'"))),
            Some((_, Column::Numeric(times))) if times.iter().all(|t| t.is_finite()) => times,
            Some(_) => {
                return Err(wrong(format!(
                    "column '{column}' is not numeric throughout"
                )));
            }
        };
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|&a, &b| times[a].total_cmp(&times[b]).then(a.cmp(&b)));
        let mut cut = ((1.0 - fraction) * order.len() as f64).round() as usize;
        while cut > 0 && cut < order.len() && times[order[cut]] == times[order[cut - 1]] {
            cut += 1;
        }
        if cut == 0 || cut >= order.len() {
            return Err(wrong(format!("{} rows cannot be divided so", order.len())));
        }
        let (kept, held) = order.split_at(cut);
        let (kept, held) = (kept.to_vec(), held.to_vec());
        Ok(self.divided(&kept, &held))
    }

    fn divided(self, kept: &[usize], held: &[usize]) -> (Self, Self) {
        let (first, second) = (self.select(kept), self.select(held));
        let first = Self {
            unparsed: self.unparsed,
            ..first
        };
        (first, second)
    }

    /// SHA-256 over names, cells and labels.
    pub fn digest(&self) -> String {
        let mut sum = Sha256::new();
        for (name, column) in &self.columns {
            sum.update(name.as_bytes());
            sum.update([0]);
            match column {
                Column::Numeric(values) => values.iter().for_each(|v| sum.update(v.to_le_bytes())),
                Column::Categorical { codes, names } => {
                    for code in codes {
                        let name = code.map_or("", |code| names[code as usize].as_str());
                        sum.update(name.as_bytes());
                        sum.update([0]);
                    }
                }
            }
        }
        for label in self.labels.iter().flatten() {
            sum.update(label.as_bytes());
            sum.update([0]);
        }
        hex(&sum.finalize())
    }
}

/// The parts of a data set: a folder with a file for each split, or one file, of which `holdout` divides the training
/// part. Every part has the columns of the training part.
///
/// # Errors
/// As [`Frame::open`]; no training file in a folder.
pub fn open_frame_splits(
    path: &Path,
    options: &TableOptions,
    holdout: impl FnOnce(Frame) -> Result<(Frame, Frame)>,
) -> Result<Splits<Frame>> {
    // The training part comes first and says what the columns of the others are.
    let kinds: RefCell<Option<Vec<(String, ColumnKind)>>> = RefCell::new(None);
    let open = |file: &Path| {
        let frame = Frame::open(file, options, kinds.borrow().as_deref())?;
        kinds.borrow_mut().get_or_insert_with(|| frame.kinds());
        Ok(frame)
    };
    files::open_splits(path, &EXTENSIONS, |_| false, open, holdout)
}

/// The file of `path` that an evaluation reads: of a folder the test file, else the validation file, else the training file.
///
/// # Errors
/// A folder without any.
pub fn frame_file_for_eval(path: &Path) -> Result<std::path::PathBuf> {
    files::for_eval(path, &EXTENSIONS, |_| false)
}

#[cfg(test)]
mod tests;
