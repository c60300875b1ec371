//! Cells of text to numbers and names.

use super::{Column, ColumnKind, Frame, LABEL, TableOptions, read::Cells};
use crate::{Error, Result};
use std::collections::HashMap;

/// Spellings of a missing value, in lower case.
const MISSING: [&str; 7] = ["", "na", "n/a", "nan", "null", "none", "?"];

/// A column is numeric if at least this share of its values are numbers.
const NUMERIC_SHARE: f64 = 0.95;

/// What is wrong with a cell.
#[derive(Clone, Copy)]
enum Cell {
    Number(f64),
    Missing,
    Infinite,
    Text,
}

/// Reads a number: missing values are NaN; `None` for what is none, an infinite one included.
pub(super) fn number(text: &str) -> Option<f64> {
    match cell(text) {
        Cell::Number(value) => Some(value),
        Cell::Missing => Some(f64::NAN),
        Cell::Infinite | Cell::Text => None,
    }
}

/// Whether a cell says that there is no value.
pub(super) fn is_missing(text: &str) -> bool {
    let text = text.trim();
    text.len() <= 4 && MISSING.contains(&text.to_lowercase().as_str())
}

fn cell(text: &str) -> Cell {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_nan() => Cell::Missing,
        Ok(value) if value.is_infinite() => Cell::Infinite,
        Ok(value) => Cell::Number(value),
        Err(_) if is_missing(text) => Cell::Missing,
        Err(_) => Cell::Text,
    }
}

/// The place of the column `name`.
fn position(cells: &Cells, name: &str) -> Result<usize> {
    let found = cells.header.iter().position(|column| column == name);
    found.ok_or_else(|| {
        let known = cells.header.join(", ");
        let what = format!("no column '{name}'; its columns are {known}");
        Error::input(&cells.location, what, "the name of a column")
    })
}

/// Decides what the columns are, or takes them to be `kinds`; rows with other cells are left out.
pub(super) fn frame(
    cells: Cells,
    options: &TableOptions,
    kinds: Option<&[(String, ColumnKind)]>,
) -> Result<Frame> {
    let mut names = cells.header.clone();
    names.sort_unstable();
    if let Some([name, _]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let what = format!("two columns '{name}'");
        return Err(Error::input(
            &cells.location,
            what,
            "a name for each column",
        ));
    }
    let label = match &options.label {
        // What is scored later may have no labels.
        Some(name) if kinds.is_some() => cells.header.iter().position(|column| column == name),
        Some(name) => Some(position(&cells, name)?),
        None => cells.header.iter().position(|column| column == LABEL),
    };
    let asked_for = options.drop.iter().chain(&options.categorical);
    for name in asked_for.filter(|_| kinds.is_none()) {
        position(&cells, name)?;
    }
    let columns = match kinds {
        Some(kinds) => kinds
            .iter()
            .map(|(name, kind)| Ok((position(&cells, name)?, *kind)))
            .collect::<Result<Vec<_>>>()?,
        None => inferred(&cells, options, label),
    };
    if columns.is_empty() {
        let expected = "a column beside the label";
        return Err(Error::input(&cells.location, "no columns", expected));
    }
    if cells.rows.is_empty() && cells.broken.is_empty() {
        let expected = "rows below the header";
        return Err(Error::input(&cells.location, "no rows", expected));
    }
    Ok(build(cells, options, &columns, label))
}

fn inferred(
    cells: &Cells,
    options: &TableOptions,
    label: Option<usize>,
) -> Vec<(usize, ColumnKind)> {
    let is_feature = |&at: &usize| Some(at) != label && !options.drop.contains(&cells.header[at]);
    let kind = |at: usize| {
        if options.categorical.contains(&cells.header[at]) {
            return ColumnKind::Categorical;
        }
        let (mut numbers, mut others) = (0usize, 0usize);
        for row in &cells.rows {
            match cell(&row[at]) {
                Cell::Number(_) | Cell::Infinite => numbers += 1,
                Cell::Text => others += 1,
                Cell::Missing => {}
            }
        }
        if numbers as f64 >= NUMERIC_SHARE * (numbers + others) as f64 {
            ColumnKind::Numeric
        } else {
            ColumnKind::Categorical
        }
    };
    let features = (0..cells.header.len()).filter(is_feature);
    features.map(|at| (at, kind(at))).collect()
}

fn build(
    cells: Cells,
    options: &TableOptions,
    columns: &[(usize, ColumnKind)],
    label: Option<usize>,
) -> Frame {
    let mut unparsed = cells.broken;
    let mut kept = Vec::with_capacity(cells.rows.len());
    for (row, record) in cells.rows.iter().enumerate() {
        let bad = columns
            .iter()
            .find(|&&(at, kind)| kind == ColumnKind::Numeric && number(&record[at]).is_none());
        let unlabelled = label.is_some_and(|at| is_missing(&record[at]));
        let line = cells.lines[row];
        if let Some(&(at, _)) = bad {
            let shown: String = record[at].chars().take(40).collect();
            let name = &cells.header[at];
            unparsed.push(format!(
                "line {line}: '{shown}' in {name} is no finite number"
            ));
        } else if unlabelled {
            unparsed.push(format!("line {line}: no label"));
        } else {
            kept.push(row);
        }
    }
    let column = |&(at, kind): &(usize, ColumnKind)| {
        let texts = kept.iter().map(|&row| &cells.rows[row][at]);
        let column = match kind {
            ColumnKind::Numeric => {
                Column::Numeric(texts.map(|t| number(t).unwrap_or(f64::NAN)).collect())
            }
            ColumnKind::Categorical => interned(texts),
        };
        (cells.header[at].clone(), column)
    };
    let labels = label.map(|at| {
        let texts = kept
            .iter()
            .map(|&row| cells.rows[row][at].trim().to_string());
        texts.collect()
    });
    Frame {
        columns: columns.iter().map(column).collect(),
        labels,
        normal: options.normal.clone(),
        label_name: label.map(|at| cells.header[at].clone()),
        dropped: options.drop.clone(),
        lines: kept.iter().map(|&row| cells.lines[row]).collect(),
        location: cells.location,
        unparsed,
    }
}

fn interned<'t>(texts: impl Iterator<Item = &'t str>) -> Column {
    let mut places: HashMap<&str, u32> = HashMap::new();
    let mut names = Vec::new();
    let code = |text: &'t str| {
        let text = text.trim();
        (!is_missing(text)).then(|| {
            *places.entry(text).or_insert_with(|| {
                names.push(text.to_string());
                names.len() as u32 - 1
            })
        })
    };
    let codes = texts.map(code).collect();
    Column::Categorical { codes, names }
}
