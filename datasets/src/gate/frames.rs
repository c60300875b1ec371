//! The data gate of tables.

use super::{ClassCount, Finding, GateReport, Kind, Level, SplitSummary};
use crate::frame::{Column, Frame};
use std::collections::{BTreeMap, BTreeSet};

/// A column with more missing values says little.
const MAX_MISSING: f64 = 0.5;

/// Looks for rows that do not parse (an error if they are more than the share `max_unparsed`), columns that are constant,
/// empty or mostly missing, repeated rows, rows in two splits, and labels of one kind alone. The balance is that of the
/// labels as they are written.
pub fn inspect_frames(train: &Frame, others: &[(&str, &Frame)], max_unparsed: f64) -> GateReport {
    let mut splits = vec![("train", train)];
    splits.extend(others);
    let summary = |(name, frame): &(&str, &Frame)| SplitSummary {
        name: (*name).into(),
        location: frame.location().into(),
        samples: frame.len(),
        unusable: Vec::new(),
    };
    let summaries = splits.iter().map(summary).collect();
    let mut report = GateReport::new(train.location(), summaries, balance(&splits));
    let single = |frame: &Frame| [rows(frame, max_unparsed), columns(frame)].concat();
    report.compare(&splits, single, shared);
    report
}

fn balance(splits: &[(&str, &Frame)]) -> Vec<ClassCount> {
    let count = |frame: &Frame| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for label in frame.labels().unwrap_or_default() {
            *counts.entry(label.clone()).or_default() += 1;
        }
        counts
    };
    let counts: Vec<_> = splits.iter().map(|(_, frame)| count(frame)).collect();
    let classes: BTreeSet<&String> = counts.iter().flat_map(BTreeMap::keys).collect();
    let class = |class: &String| ClassCount {
        class: class.clone(),
        counts: counts
            .iter()
            .map(|c| c.get(class).copied().unwrap_or(0))
            .collect(),
    };
    classes.into_iter().map(class).collect()
}

/// The bits of a row: equal rows have equal ones.
fn key(frame: &Frame, row: usize) -> Vec<u8> {
    let mut key = Vec::new();
    for (_, column) in frame.columns() {
        match column {
            Column::Numeric(values) => key.extend(values[row].to_bits().to_le_bytes()),
            Column::Categorical { codes, names } => {
                key.extend(
                    codes[row]
                        .map_or("", |code| &names[code as usize])
                        .as_bytes(),
                );
                key.push(0);
            }
        }
    }
    key
}

fn rows(frame: &Frame, max_unparsed: f64) -> Vec<Finding> {
    let unparsed = frame.unparsed();
    let total = frame.len() + unparsed.len();
    let level = if unparsed.len() as f64 > max_unparsed * total as f64 {
        Level::Error
    } else {
        Level::Warning
    };
    let what = format!("of {total} rows do not parse and are left out");
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let (mut repeated, mut conflicts) = (Vec::new(), Vec::new());
    let labels = frame.labels();
    for row in 0..frame.len() {
        let first = *seen.entry(key(frame, row)).or_insert(row);
        if first == row {
            continue;
        }
        let same = labels.is_none_or(|labels| labels[first] == labels[row]);
        let found = if same { &mut repeated } else { &mut conflicts };
        found.push(frame.name(row));
    }
    let few = frame
        .is_anomaly()
        .filter(|a| !a.iter().any(|&anomaly| !anomaly));
    [
        Finding::about(level, Kind::Corrupt, &what, unparsed),
        few.map(|_| {
            let what = "normal rows";
            Finding::new(Level::Error, Kind::FewClasses, what, 0, [])
        }),
        Finding::about(
            Level::Warning,
            Kind::Conflict,
            "rows that occur with another label too",
            &conflicts,
        ),
        Finding::about(Level::Info, Kind::Duplicate, "repeated rows", &repeated),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn columns(frame: &Frame) -> Vec<Finding> {
    let named = |wanted: &dyn Fn(&Column) -> bool| {
        let columns = frame.columns().iter().filter(|(_, column)| wanted(column));
        columns.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let missing = |column: &Column| column.num_missing() as f64 > MAX_MISSING * frame.len() as f64;
    let constant = named(&|column| column.is_constant());
    let gaps = named(&missing);
    [
        Finding::about(Level::Info, Kind::Constant, "constant columns", &constant),
        Finding::about(
            Level::Warning,
            Kind::Missing,
            "columns with more than half of their values missing",
            &gaps,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Rows of both. Tables of few values repeat rows by nature, so this is no error.
fn shared(frame: &Frame, with: &Frame) -> Option<Finding> {
    let keys: BTreeSet<Vec<u8>> = (0..frame.len()).map(|row| key(frame, row)).collect();
    let both = (0..with.len()).filter(|&row| keys.contains(&key(with, row)));
    let both: Vec<String> = both
        .map(|row| format!("{} of the second", with.name(row)))
        .collect();
    Finding::about(Level::Warning, Kind::Leakage, "rows in both", &both)
}
