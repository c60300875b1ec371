//! A table of image files: a column of paths, relative to the table, and a column of labels.

use super::{ImageFile, ImageSet, Layout, Store};
use crate::{Error, Result, Split};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Column names, in order of preference; compared in lower case.
const PATH_COLUMNS: [&str; 6] = [
    "path",
    "file",
    "file_name",
    "filename",
    "image",
    "image_path",
];
const LABEL_COLUMNS: [&str; 8] = [
    "label",
    "class",
    "class_name",
    "category",
    "target",
    "labels",
    "label_id",
    "class_id",
];
const SPLIT_COLUMNS: [&str; 2] = ["split", "subset"];
/// File names, without extension, of an index that covers a whole folder.
const NAMES: [&str; 3] = ["index", "labels", "metadata"];

/// One column of a table as text; `None` for an empty cell.
pub(super) type Column = Vec<Option<String>>;

/// All rows of all index files of a data set.
#[derive(Debug)]
pub(super) struct Index {
    classes: Vec<String>,
    pub(super) splits: BTreeMap<Split, Vec<Row>>,
}

#[derive(Debug)]
pub(super) struct Row {
    /// As the table has it.
    name: String,
    path: PathBuf,
    label: Option<String>,
    /// The table and the row in it: 1 is the first below the header.
    listed: (Arc<str>, usize),
}

/// Whether a file can be an index at all.
pub(super) fn is_table(file: &Path) -> bool {
    let extension = file
        .extension()
        .and_then(|e| e.to_str())
        .map(str::to_lowercase);
    matches!(extension.as_deref(), Some("csv" | "parquet"))
}

/// The index files among `files`: one for all (`labels.csv`) or one a split (`train.csv`, …).
pub(super) fn find(folder: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let stem = |file: &Path| {
        file.file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default()
            .to_lowercase()
    };
    let split = |file: &Path| stem(file).parse::<Split>().ok();
    let mut found: Vec<&PathBuf> = Vec::new();
    for file in files.iter().filter(|file| is_table(file)) {
        if split(file).is_none() && !NAMES.contains(&stem(file).as_str()) {
            continue;
        }
        // One for all and one a split exclude each other, and so do two of the same split.
        let clash = |other: &&&PathBuf| match (split(file), split(other)) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        if let Some(rival) = found.iter().find(clash) {
            let what = format!(
                "both {} and {} can be the index",
                rival.display(),
                file.display()
            );
            let expected = "one of them, or its path as the data set";
            return Err(Error::input(folder.display().to_string(), what, expected));
        }
        found.push(file);
    }
    Ok(found.into_iter().cloned().collect())
}

impl Index {
    /// Reads index files; one named after a split holds that split, another has a column for it or
    /// is the training set.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self> {
        let mut splits: BTreeMap<Split, Vec<Row>> = BTreeMap::new();
        for file in files {
            let stem = file
                .file_stem()
                .and_then(|s| s.to_str())
                .unwrap_or_default();
            for (split, row) in read_rows(file, stem.parse().ok())? {
                splits.entry(split).or_default().push(row);
            }
        }
        let labels: BTreeSet<&String> = splits
            .values()
            .flatten()
            .filter_map(|row| row.label.as_ref())
            .collect();
        let mut classes: Vec<String> = labels.into_iter().cloned().collect();
        // "10" comes after "9": a numeric label usually is the position already.
        let numbers: Option<Vec<i64>> = classes.iter().map(|class| class.parse().ok()).collect();
        if numbers.is_some() {
            classes.sort_by_key(|class| class.parse::<i64>().unwrap_or_default());
        }
        Ok(Self { classes, splits })
    }

    /// The images of `split`; whether they exist shows when they are read.
    pub(super) fn load(&self, root: &Path, split: Split) -> ImageSet {
        let positions: BTreeMap<&String, usize> = self.classes.iter().zip(0..).collect();
        let rows = &self.splits[&split];
        let labels: Vec<_> = rows
            .iter()
            .map(|row| {
                row.label
                    .as_ref()
                    .and_then(|label| positions.get(label).copied())
            })
            .collect();
        let file = |row: &Row| ImageFile {
            name: row.name.clone(),
            path: row.path.clone(),
            listed: Some(row.listed.clone()),
        };
        let store = Store::Files(rows.iter().map(file).collect());
        ImageSet::new(
            root.display().to_string(),
            Layout::Index,
            self.classes.clone(),
            store,
            labels,
        )
    }
}

/// The rows of one file with the split of each; `named` is the split that the file is named after.
fn read_rows(file: &Path, named: Option<Split>) -> Result<Vec<(Split, Row)>> {
    let shown: Arc<str> = file.display().to_string().into();
    // Published test sets often keep their labels back.
    let needs_labels = named != Some(Split::Test);
    let [paths, labels, splits] = read_table(file, &|header| choose(&shown, header, needs_labels))?;
    let base = file.parent().unwrap_or(Path::new(""));
    let paths = paths.unwrap_or_default();
    if paths.is_empty() {
        return Err(Error::input(&*shown, "no row", "at least one image"));
    }
    let cell = |column: &Option<Column>, row: usize| {
        let text = column
            .as_ref()
            .and_then(|c| c[row].as_deref())
            .map(str::trim);
        text.filter(|text| !text.is_empty()).map(String::from)
    };
    let mut rows = Vec::with_capacity(paths.len());
    for (row, path) in paths.into_iter().enumerate() {
        let at = || format!("{shown}, row {}", row + 1);
        let name = path.filter(|path| !path.trim().is_empty());
        let name = name.ok_or_else(|| Error::input(at(), "no path", "the path of an image"))?;
        let split = match (named, &splits) {
            (Some(split), _) => split,
            (None, None) => Split::Train,
            (None, Some(_)) => {
                let text = cell(&splits, row).unwrap_or_default();
                let split = text
                    .parse()
                    .map_err(|e: Error| Error::input(at(), e.to_string(), "a split"));
                split?
            }
        };
        let listed = (shown.clone(), row + 1);
        rows.push((
            split,
            Row {
                path: base.join(&name),
                name,
                label: cell(&labels, row),
                listed,
            },
        ));
    }
    Ok(rows)
}

/// Positions of the columns of paths, labels and splits in `header`.
fn choose(file: &str, header: &[String], needs_labels: bool) -> Result<[Option<usize>; 3]> {
    let find = |wanted: &[&str]| {
        let at = |name: &&str| {
            header
                .iter()
                .position(|column| column.trim().to_lowercase() == **name)
        };
        wanted.iter().find_map(at)
    };
    let missing = |what: &str, wanted: &[&str]| {
        let columns = format!("no column of {what} among: {}", header.join(", "));
        Error::input(file, columns, format!("one of: {}", wanted.join(", ")))
    };
    let path = find(&PATH_COLUMNS).ok_or_else(|| missing("paths", &PATH_COLUMNS))?;
    let label = find(&LABEL_COLUMNS);
    if label.is_none() && needs_labels {
        return Err(missing("labels", &LABEL_COLUMNS));
    }
    Ok([Some(path), label, find(&SPLIT_COLUMNS)])
}

/// Chooses columns by their names.
type Choose<'a> = &'a dyn Fn(&[String]) -> Result<[Option<usize>; 3]>;

#[cfg(feature = "tables")]
fn read_table(file: &Path, choose: Choose<'_>) -> Result<[Option<Column>; 3]> {
    crate::tables::read_text(file, choose)
}

#[cfg(not(feature = "tables"))]
fn read_table(file: &Path, _choose: Choose<'_>) -> Result<[Option<Column>; 3]> {
    let what = "a table, but this build cannot read tables";
    Err(Error::input(
        file.display().to_string(),
        what,
        "a build with the feature `tables`, or class folders",
    ))
}
