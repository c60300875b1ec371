//! Rows of tables, as text and labels.

use super::Columns;
use crate::{Error, Result, files};
use serde_json::Value;
use std::path::Path;

/// One row.
pub(super) struct Cells {
    pub(super) text: String,
    /// One cell, or the items of a JSON list.
    pub(super) labels: Vec<String>,
}

/// Reads a table; what it is follows from its extension.
pub(super) fn open(path: &Path, columns: &Columns) -> Result<Vec<Cells>> {
    let location = path.display().to_string();
    let name = location.strip_suffix(".gz").unwrap_or(&location);
    let extension = Path::new(name).extension().unwrap_or_default();
    let extension = extension.to_string_lossy().to_lowercase();
    let separator = match extension.as_str() {
        "csv" => b',',
        "tsv" => b'\t',
        "jsonl" | "ndjson" => return json_lines(&location, &files::read(path)?, columns),
        #[cfg(feature = "tables")]
        "parquet" => return parquet(path, columns),
        _ => {
            let expected = if cfg!(feature = "tables") {
                ".csv, .tsv, .jsonl or .parquet"
            } else {
                ".csv, .tsv or .jsonl (.parquet with the feature `tables`)"
            };
            let what = format!("a file of the kind '.{extension}'");
            return Err(Error::input(location, what, expected));
        }
    };
    separated(&location, &files::read(path)?, separator, columns)
}

/// Reads comma-separated (RFC 4180) or tab-separated values. Tabs stand between plain values: quotes
/// mean nothing there.
pub(super) fn separated(
    location: &str,
    bytes: &[u8],
    separator: u8,
    columns: &Columns,
) -> Result<Vec<Cells>> {
    let wrong = |e: csv::Error| {
        let row = e.position().map(|at| format!(", line {}", at.line()));
        let location = format!("{location}{}", row.unwrap_or_default());
        Error::input(location, e.to_string(), "a table of UTF-8 text")
    };
    let bytes = files::without_bom(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .quoting(separator != b'\t')
        .has_headers(columns.header)
        .from_reader(bytes);
    let first = reader.headers().map_err(wrong)?.clone();
    let header: Vec<String> = if columns.header {
        first.iter().map(String::from).collect()
    } else {
        (0..first.len()).map(|i| i.to_string()).collect()
    };
    let [text, label] = columns.find(&header, location)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        rows.push(Cells {
            text: record[text].to_string(),
            labels: vec![record[label].to_string()],
        });
    }
    Ok(rows)
}

/// Reads one JSON object a line.
fn json_lines(location: &str, bytes: &[u8], columns: &Columns) -> Result<Vec<Cells>> {
    let mut rows = Vec::new();
    let mut found = None;
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let at = format!("{location}, line {}", number + 1);
        let wrong = |what: String| Error::input(&at, what, "a JSON object of texts and numbers");
        let row: Value = serde_json::from_slice(line).map_err(|e| wrong(e.to_string()))?;
        let Value::Object(row) = row else {
            return Err(wrong("no object".into()));
        };
        let (text, label) = if let Some(names) = &found {
            names
        } else {
            let header: Vec<String> = row.keys().cloned().collect();
            let [text, label] = columns.find(&header, location)?;
            found.insert((header[text].clone(), header[label].clone()))
        };
        let cell = |value: Option<&Value>| match value {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            Some(value) => Err(wrong(format!("the value {value}"))),
        };
        let labels = match row.get(label) {
            Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect(),
            value => cell(value).map(|label| vec![label]),
        };
        rows.push(Cells {
            text: cell(row.get(text))?,
            labels: labels?,
        });
    }
    Ok(rows)
}

#[cfg(feature = "tables")]
fn parquet(path: &Path, columns: &Columns) -> Result<Vec<Cells>> {
    let location = path.display().to_string();
    let choose = |header: &[String]| Ok(columns.find(header, &location)?.map(Some));
    let [texts, labels] = crate::tables::read_text::<2>(path, &choose)?;
    let rows = texts
        .unwrap_or_default()
        .into_iter()
        .zip(labels.unwrap_or_default());
    let cells = |(text, label): (Option<String>, Option<String>)| Cells {
        text: text.unwrap_or_default(),
        labels: vec![label.unwrap_or_default()],
    };
    Ok(rows.map(cells).collect())
}
