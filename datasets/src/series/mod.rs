//! Time series: columns of numbers with a time for each row, from CSV, TSV, JSON lines and Parquet.
//!
//! [`TimeSeries::open`] reads one file. Times ascend: a row out of order is an error that names its line, unless
//! [`SeriesOptions::sort`] asks for sorting; a time that repeats is an error too, unless
//! [`SeriesOptions::keep`] says which of its rows counts. A missing value is NaN. [`TimeSeries::stretches`] are the runs
//! of rows without a gap and without a missing value: what a model may look at together, and
//! [`TimeSeries::windows`] never leaves one. Splits are by time ([`TimeSeries::holdout`]).

mod nab;
mod stamp;

pub use nab::{NabFolder, NabSeries};
pub use stamp::{format_stamp, parse_stamp};

use crate::{
    Error, Result, Splits, files,
    frame::{Cells, TableOptions, open_cells},
    hex,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{ops::Range, path::Path};

/// Extensions of series, without `.gz`.
const EXTENSIONS: [&str; 5] = ["csv", "tsv", "jsonl", "ndjson", "parquet"];
/// What a column of times is called, in lower case.
const TIMES: [&str; 6] = ["timestamp", "time", "date", "datetime", "ds", "t"];
/// What a column of point labels is called, in lower case.
const LABELS: [&str; 4] = ["is_anomaly", "anomaly", "label", "is_outlier"];

/// Which row counts where a time repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The first of them in the file.
    First,
    /// The last.
    Last,
    /// All, in the file's order; a time that is not after the one before it counts as a millisecond later. For logs
    /// of a clock that was set back.
    All,
}

/// How a series is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeriesOptions {
    /// The column of times; `null` for the first that is called like one (`timestamp`, `date`, …).
    pub timestamp: Option<String>,
    /// The columns of values; empty for every other column.
    pub values: Vec<String>,
    /// The column of point labels, 0 or 1; `null` for the first that is called like one (`is_anomaly`, `label`, …).
    pub label: Option<String>,
    /// Sort rows by time instead of refusing those out of order.
    pub sort: bool,
    /// Which row counts where a time repeats; `null` refuses it.
    pub keep: Option<Keep>,
    /// A step longer than this many times the median step is a gap.
    pub gap: f64,
}

impl Default for SeriesOptions {
    fn default() -> Self {
        Self {
            timestamp: None,
            values: Vec::new(),
            label: None,
            sort: false,
            keep: None,
            gap: 1.5,
        }
    }
}

/// Columns of numbers over ascending times.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSeries {
    location: String,
    /// Milliseconds since 1970, strictly ascending.
    stamps: Vec<i64>,
    /// Name and values of each column; NaN where one is missing.
    columns: Vec<(String, Vec<f64>)>,
    labels: Option<Vec<bool>>,
    /// Steps beyond it are gaps, in milliseconds.
    max_step: i64,
}

impl TimeSeries {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, a column that is not there or no column of times or values, a cell that is no time,
    /// number or label (with its line), rows out of order or with equal times.
    pub fn open(path: &Path, options: &SeriesOptions) -> Result<Self> {
        Self::of_cells(open_cells(path, &TableOptions::default())?, options)
    }

    /// Reads comma-separated values with a header out of memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_csv(location: &str, bytes: &[u8], options: &SeriesOptions) -> Result<Self> {
        let cells = Cells::from_csv(location, bytes)?;
        Self::of_cells(cells, options)
    }

    /// Made of times in milliseconds and columns of one value a time.
    ///
    /// # Errors
    /// Columns of another length, times that do not ascend, an infinite value.
    pub fn new(
        location: &str,
        stamps: Vec<i64>,
        columns: Vec<(String, Vec<f64>)>,
        labels: Option<Vec<bool>>,
        gap: f64,
    ) -> Result<Self> {
        let wrong = |what: String| {
            Error::input(
                location,
                what,
                "ascending times, and a value for each in every column",
            )
        };
        let len = stamps.len();
        if columns.is_empty() {
            return Err(wrong("no column of values".into()));
        }
        if let Some((name, values)) = columns.iter().find(|(_, values)| values.len() != len) {
            return Err(wrong(format!(
                "{} values of '{name}' for {len} times",
                values.len()
            )));
        }
        if labels.as_ref().is_some_and(|labels| labels.len() != len) {
            return Err(wrong(format!("another number of labels than {len}")));
        }
        if let Some(at) = stamps.windows(2).position(|pair| pair[1] <= pair[0]) {
            return Err(wrong(format!("time {} is not after time {at}", at + 1)));
        }
        if columns
            .iter()
            .any(|(_, values)| values.iter().any(|v| v.is_infinite()))
        {
            return Err(wrong("an infinite value".into()));
        }
        let max_step = max_step(&stamps, gap);
        Ok(Self {
            location: location.into(),
            stamps,
            columns,
            labels,
            max_step,
        })
    }

    fn of_cells(cells: Cells, options: &SeriesOptions) -> Result<Self> {
        let place = |line: usize| format!("{}:{line}", cells.location);
        if let Some(broken) = cells.broken.first() {
            return Err(Error::input(
                &cells.location,
                broken.clone(),
                "a row of the header's columns",
            ));
        }
        let roles = Roles::of(&cells, options)?;
        let mut rows = Vec::with_capacity(cells.rows.len());
        for (row, &line) in cells.rows.iter().zip(&cells.lines) {
            let cell = |at: usize| row.get(at).unwrap_or_default().trim();
            let stamp = parse_stamp(cell(roles.time)).ok_or_else(|| {
                let what = format!("'{}' in '{}'", cell(roles.time), cells.header[roles.time]);
                Error::input(
                    place(line),
                    what,
                    "a time (ISO 8601, or seconds since 1970)",
                )
            })?;
            let mut values = Vec::with_capacity(roles.values.len());
            for &at in &roles.values {
                let value = number(cell(at)).ok_or_else(|| {
                    let what = format!("'{}' in '{}'", cell(at), cells.header[at]);
                    Error::input(
                        place(line),
                        what,
                        "a finite number, or nothing where it is missing",
                    )
                })?;
                values.push(value);
            }
            let label = roles
                .label
                .map(|at| truth(cell(at)).ok_or(at))
                .transpose()
                .map_err(|at| {
                    let what = format!("'{}' in '{}'", cell(at), cells.header[at]);
                    Error::input(place(line), what, "a label: 0 or 1")
                })?;
            rows.push((stamp, line, values, label));
        }
        if options.sort {
            rows.sort_by_key(|row| row.0); // Stable: equal times stay in the file's order.
        }
        let rows = distinct(&cells.location, rows, options.keep)?;
        if rows.is_empty() {
            return Err(Error::input(
                &cells.location,
                "no rows",
                "a series of at least one row",
            ));
        }
        let column = |(at, &of): (usize, &usize)| {
            let values = rows.iter().map(|row| row.2[at]).collect();
            (cells.header[of].clone(), values)
        };
        let columns = roles.values.iter().enumerate().map(column).collect();
        let labels = roles
            .label
            .map(|_| rows.iter().map(|row| row.3 == Some(true)).collect());
        let stamps = rows.iter().map(|row| row.0).collect();
        Self::new(&cells.location, stamps, columns, labels, options.gap)
    }

    /// Where it came from.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Times in milliseconds since 1970, strictly ascending.
    pub fn stamps(&self) -> &[i64] {
        &self.stamps
    }

    /// Name and values of each column; NaN where a value is missing.
    pub fn columns(&self) -> &[(String, Vec<f64>)] {
        &self.columns
    }

    /// The values of every column at row `at`.
    pub fn row(&self, at: usize) -> Vec<f64> {
        self.columns.iter().map(|(_, values)| values[at]).collect()
    }

    /// Whether each row is labelled anomalous, if there are labels.
    pub fn labels(&self) -> Option<&[bool]> {
        self.labels.as_deref()
    }

    /// The same series with other labels.
    ///
    /// # Errors
    /// Another number of labels than rows.
    pub fn with_labels(self, labels: Vec<bool>) -> Result<Self> {
        if labels.len() != self.len() {
            let what = format!("{} labels for {} rows", labels.len(), self.len());
            return Err(Error::input(&self.location, what, "one label a row"));
        }
        Ok(Self {
            labels: Some(labels),
            ..self
        })
    }

    /// The median step between two times, in milliseconds; 0 for fewer than two rows.
    pub fn median_step(&self) -> i64 {
        median_step(&self.stamps)
    }

    /// The longest step that is no gap, in milliseconds.
    pub fn max_step(&self) -> i64 {
        self.max_step
    }

    /// Rows that come after a gap.
    pub fn gaps(&self) -> Vec<usize> {
        let steps = self.stamps.windows(2).enumerate();
        let gap = |(at, pair): (usize, &[i64])| {
            (pair[1].saturating_sub(pair[0]) > self.max_step).then_some(at + 1)
        };
        steps.filter_map(gap).collect()
    }

    /// Whether a value of row `at` is missing.
    pub fn is_missing(&self, at: usize) -> bool {
        self.columns.iter().any(|(_, values)| values[at].is_nan())
    }

    /// The runs of rows without a gap and without a missing value.
    pub fn stretches(&self) -> Vec<Range<usize>> {
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for at in 0..self.len() {
            if self.is_missing(at) {
                continue;
            }
            let goes_on =
                at > 0 && self.stamps[at].saturating_sub(self.stamps[at - 1]) <= self.max_step;
            match stretches.last_mut() {
                Some(last) if last.end == at && goes_on => last.end = at + 1,
                _ => stretches.push(at..at + 1),
            }
        }
        stretches
    }

    /// Windows of `length` rows, each `stride` after the last, none across a gap or over a missing value.
    ///
    /// # Panics
    /// If `length` or `stride` is 0.
    pub fn windows(&self, length: usize, stride: usize) -> Vec<Range<usize>> {
        assert!(
            length > 0 && stride > 0,
            "a window of {length} rows every {stride}"
        );
        let of_stretch = |stretch: Range<usize>| {
            let last = (stretch.end + 1).saturating_sub(length);
            (stretch.start..last)
                .step_by(stride)
                .map(move |at| at..at + length)
        };
        self.stretches().into_iter().flat_map(of_stretch).collect()
    }

    /// Rows `range`. What counts as a gap stays what it was.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let column =
            |(name, values): &(String, Vec<f64>)| (name.clone(), values[range.clone()].to_vec());
        Self {
            location: self.location.clone(),
            stamps: self.stamps[range.clone()].to_vec(),
            columns: self.columns.iter().map(column).collect(),
            labels: self
                .labels
                .as_ref()
                .map(|labels| labels[range.clone()].to_vec()),
            max_step: self.max_step,
        }
    }

    /// `(kept, held out)`: the last `fraction` of the rows is held out.
    ///
    /// # Errors
    /// `fraction` outside (0, 1); nothing left on a side.
    pub fn holdout(&self, fraction: f64) -> Result<(Self, Self)> {
        let cut = ((1.0 - fraction) * self.len() as f64).round() as usize;
        if !(fraction > 0.0 && fraction < 1.0) || cut == 0 || cut >= self.len() {
            let what = format!("{} rows, of which {fraction} is held out", self.len());
            let expected = "a fraction between 0 and 1 that leaves rows on both sides";
            return Err(Error::input(&self.location, what, expected));
        }
        Ok((self.slice(0..cut), self.slice(cut..self.len())))
    }

    /// SHA-256 over times, values and labels.
    pub fn digest(&self) -> String {
        let mut sum = Sha256::new();
        self.stamps
            .iter()
            .for_each(|stamp| sum.update(stamp.to_le_bytes()));
        for (name, values) in &self.columns {
            sum.update(name.as_bytes());
            for value in values {
                sum.update(value.to_le_bytes());
            }
        }
        for &label in self.labels.iter().flatten() {
            sum.update([u8::from(label)]);
        }
        hex(&sum.finalize())
    }
}

/// Which of `names` is that of the times: the one that `options` name, else the first that is called like one.
pub fn time_column<'n>(
    mut names: impl Iterator<Item = &'n str>,
    options: &SeriesOptions,
) -> Option<&'n str> {
    names.find(|name| match &options.timestamp {
        Some(wanted) => name == wanted,
        None => TIMES.contains(&name.to_lowercase().as_str()),
    })
}

/// Positions of the columns in a header.
struct Roles {
    time: usize,
    values: Vec<usize>,
    label: Option<usize>,
}

impl Roles {
    fn of(cells: &Cells, options: &SeriesOptions) -> Result<Self> {
        let header = &cells.header;
        let named = |name: &String| {
            let found = header.iter().position(|column| column == name);
            found.ok_or_else(|| {
                let known = header.join(", ");
                Error::input(
                    &cells.location,
                    format!("no column '{name}'"),
                    format!("one of {known}"),
                )
            })
        };
        let usual = |names: &[&str]| {
            header
                .iter()
                .position(|column| names.contains(&column.to_lowercase().as_str()))
        };
        if let Some(name) = &options.timestamp {
            named(name)?;
        }
        let found = time_column(header.iter().map(String::as_str), options);
        let time = header
            .iter()
            .position(|name| Some(name.as_str()) == found)
            .ok_or_else(|| {
                let what = format!("no column of times among {}", header.join(", "));
                let expected = format!(
                    "one called {}, or its name as `timestamp`",
                    TIMES.join(", ")
                );
                Error::input(&cells.location, what, expected)
            })?;
        let label = options.label.as_ref().map(named).transpose()?;
        let label =
            label.or_else(|| usual(&LABELS).filter(|&at| !options.values.contains(&header[at])));
        let values = if options.values.is_empty() {
            (0..header.len())
                .filter(|&at| at != time && Some(at) != label)
                .collect()
        } else {
            options
                .values
                .iter()
                .map(named)
                .collect::<Result<Vec<_>>>()?
        };
        if values.is_empty() {
            return Err(Error::input(
                &cells.location,
                "no column of values",
                "at least one beside the times",
            ));
        }
        Ok(Self {
            time,
            values,
            label,
        })
    }
}

/// A row before it has a place: time, line, values, label.
type Row = (i64, usize, Vec<f64>, Option<bool>);

/// Rows of strictly ascending times.
fn distinct(location: &str, rows: Vec<Row>, keep: Option<Keep>) -> Result<Vec<Row>> {
    let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(last) = kept.last_mut().filter(|last| row.0 <= last.0) else {
            kept.push(row);
            continue;
        };
        let place = format!("{location}:{}", row.1);
        if keep == Some(Keep::All) {
            let later = (last.0 + 1, row.1, row.2, row.3);
            kept.push(later);
            continue;
        }
        if row.0 < last.0 {
            let what = format!(
                "{} after {} of line {}",
                format_stamp(row.0),
                format_stamp(last.0),
                last.1
            );
            return Err(Error::input(place, what, "ascending times (or `sort`)"));
        }
        match keep {
            Some(Keep::First) => {}
            Some(Keep::Last) => *last = row,
            Some(Keep::All) | None => {
                let what = format!("{} again, as in line {}", format_stamp(row.0), last.1);
                return Err(Error::input(
                    place,
                    what,
                    "every time once (or `keep`: first or last)",
                ));
            }
        }
    }
    Ok(kept)
}

/// A finite number; NaN for a missing one; `None` for anything else.
fn number(cell: &str) -> Option<f64> {
    if cell.is_empty() || cell.eq_ignore_ascii_case("nan") || cell.eq_ignore_ascii_case("null") {
        return Some(f64::NAN);
    }
    cell.parse().ok().filter(|value: &f64| value.is_finite())
}

fn truth(cell: &str) -> Option<bool> {
    match cell {
        "1" | "1.0" | "true" | "True" => Some(true),
        "0" | "0.0" | "false" | "False" | "" => Some(false),
        _ => None,
    }
}

fn median_step(stamps: &[i64]) -> i64 {
    let mut steps: Vec<i64> = stamps
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(0)
}

fn max_step(stamps: &[i64], gap: f64) -> i64 {
    (median_step(stamps) as f64 * gap.max(1.0)).floor() as i64
}

/// The parts of a data set: a folder with a file for each split, or one file whose last `fraction` is the validation
/// part.
///
/// # Errors
/// As [`TimeSeries::open`]; no training file in a folder; parts with other columns.
pub fn open_series_splits(
    path: &Path,
    options: &SeriesOptions,
    fraction: f64,
) -> Result<Splits<TimeSeries>> {
    let open = |file: &Path| TimeSeries::open(file, options);
    let splits = files::open_splits(
        path,
        &EXTENSIONS,
        |_| false,
        open,
        |all| all.holdout(fraction),
    )?;
    let names = |series: &TimeSeries| {
        series
            .columns
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    let expected = names(&splits.train);
    for (_, part) in splits.parts() {
        if names(part) != expected {
            let what = format!("the columns {}", names(part).join(", "));
            return Err(Error::input(&part.location, what, expected.join(", ")));
        }
    }
    Ok(splits)
}

/// Reads the series that an evaluation scores: of a folder the test file, else the validation file, else the training
/// file.
///
/// # Errors
/// As [`TimeSeries::open`]; a folder without any.
pub fn open_series_for_eval(path: &Path, options: &SeriesOptions) -> Result<TimeSeries> {
    TimeSeries::open(&files::for_eval(path, &EXTENSIONS, |_| false)?, options)
}

#[cfg(test)]
mod tests;
