//! Files to cells of text.

use super::TableOptions;
use crate::{Error, Result, files};
use csv::{ByteRecord, StringRecord};
use serde_json::Value;
use std::path::Path;

/// A table as it is written. A missing cell is empty.
pub(crate) struct Cells {
    pub(crate) location: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<StringRecord>,
    /// The line of each row.
    pub(crate) lines: Vec<usize>,
    /// Rows that are no rows of this table: where, and why.
    pub(crate) broken: Vec<String>,
}

impl Cells {
    pub(super) fn new(location: &str, header: Vec<String>) -> Self {
        Self {
            location: location.into(),
            header,
            rows: Vec::new(),
            lines: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// Comma-separated values with a header, out of memory.
    pub(crate) fn from_csv(location: &str, bytes: &[u8]) -> Result<Self> {
        separated(location, bytes, b',', &TableOptions::default())
    }

    pub(super) fn push(&mut self, line: usize, row: Result<StringRecord, String>) {
        match row {
            Ok(row) => {
                self.rows.push(row);
                self.lines.push(line);
            }
            Err(what) => self.broken.push(format!("line {line}: {what}")),
        }
    }
}

/// Reads a table; what it is follows from its extension.
pub(crate) fn open(path: &Path, options: &TableOptions) -> Result<Cells> {
    let location = path.display().to_string();
    let name = location.strip_suffix(".gz").unwrap_or(&location);
    let extension = Path::new(name).extension().unwrap_or_default();
    let extension = extension.to_string_lossy().to_lowercase();
    let size = std::fs::metadata(path)
        .map_err(|e| Error::io("read", path, e))?
        .len();
    if size > files::MAX_BYTES {
        let what = format!("{:.1} GB", size as f64 / 1e9);
        let expected = "at most 4 GB: a detector learns as much from a part of the rows";
        return Err(Error::input(location, what, expected));
    }
    match extension.as_str() {
        "csv" => separated(&location, &files::read(path)?, b',', options),
        "tsv" => separated(&location, &files::read(path)?, b'\t', options),
        "jsonl" | "ndjson" => json_lines(&location, &files::read(path)?),
        #[cfg(feature = "tables")]
        "parquet" => parquet(path, &location),
        #[cfg(feature = "tables")]
        "npz" => super::npz::read(path),
        _ => {
            let expected = if cfg!(feature = "tables") {
                ".csv, .tsv, .jsonl, .parquet or .npz"
            } else {
                ".csv, .tsv or .jsonl (.parquet and .npz with the feature `tables`)"
            };
            let what = format!("a file of the kind '.{extension}'");
            Err(Error::input(location, what, expected))
        }
    }
}

/// Reads a table whose form its first line tells.
pub(super) fn sniffed(location: &str, bytes: &[u8], options: &TableOptions) -> Result<Cells> {
    let bytes = files::without_bom(bytes);
    if bytes.trim_ascii_start().starts_with(b"{") {
        return json_lines(location, bytes);
    }
    let header = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let separator = if header.contains(&b'\t') { b'\t' } else { b',' };
    separated(location, bytes, separator, options)
}

/// Reads comma-separated (RFC 4180) or tab-separated values. Tabs stand between plain values: quotes mean nothing there.
pub(super) fn separated(
    location: &str,
    bytes: &[u8],
    separator: u8,
    options: &TableOptions,
) -> Result<Cells> {
    let wrong = |what: String| Error::input(location, what, "a table of UTF-8 text");
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .quoting(separator != b'\t')
        .has_headers(options.header)
        .flexible(true)
        .from_reader(files::without_bom(bytes));
    let first = reader.headers().map_err(|e| wrong(e.to_string()))?;
    let header: Vec<String> = if options.header {
        first.iter().map(|name| name.trim().to_string()).collect()
    } else {
        (0..first.len()).map(|i| i.to_string()).collect()
    };
    if header.is_empty() {
        return Err(wrong("an empty file".into()));
    }
    let mut cells = Cells::new(location, header);
    let mut record = ByteRecord::new();
    while reader
        .read_byte_record(&mut record)
        .map_err(|e| wrong(e.to_string()))?
    {
        let line = record.position().map_or(0, |at| at.line() as usize);
        let row = if record.len() == cells.header.len() {
            StringRecord::from_byte_record(record.clone()).map_err(|_| "not UTF-8".to_string())
        } else {
            Err(format!(
                "{} cells, not {}",
                record.len(),
                cells.header.len()
            ))
        };
        cells.push(line, row);
    }
    Ok(cells)
}

/// Reads one JSON object a line; the keys of the first are the columns, and a key that a later one lacks is a missing value.
fn json_lines(location: &str, bytes: &[u8]) -> Result<Cells> {
    let mut cells = Cells::new(location, Vec::new());
    for (line, content) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        if content.trim_ascii().is_empty() {
            continue;
        }
        let object = match serde_json::from_slice(content) {
            Ok(Value::Object(object)) => object,
            Ok(_) => {
                cells.push(line, Err("no JSON object".into()));
                continue;
            }
            Err(e) => {
                cells.push(line, Err(e.to_string()));
                continue;
            }
        };
        if cells.header.is_empty() {
            cells.header = object.keys().cloned().collect();
        }
        let unknown = object.keys().find(|key| !cells.header.contains(key));
        let row = match unknown {
            Some(key) => Err(format!("a key '{key}' that the first row has not")),
            None => cells
                .header
                .iter()
                .map(|key| json_cell(object.get(key)))
                .collect(),
        };
        cells.push(line, row);
    }
    if cells.header.is_empty() {
        let what = "no JSON object in it".to_string();
        return Err(Error::input(location, what, "one JSON object a line"));
    }
    Ok(cells)
}

/// A value as a cell of a table has it.
pub(super) fn json_cell(value: Option<&Value>) -> Result<String, String> {
    match value {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(Value::Array(_)) => Err("a list".into()),
        Some(Value::Object(_)) => Err("an object".into()),
    }
}

#[cfg(feature = "tables")]
fn parquet(path: &Path, location: &str) -> Result<Cells> {
    let (header, columns) = crate::tables::read_all_text(path)?;
    let rows = columns.first().map_or(0, Vec::len);
    let mut cells = Cells::new(location, header);
    for row in 0..rows {
        let row_cells = columns
            .iter()
            .map(|column| column[row].as_deref().unwrap_or(""));
        cells.push(row + 1, Ok(row_cells.collect()));
    }
    Ok(cells)
}
