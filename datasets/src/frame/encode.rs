//! Rows of a table to numbers: fill, scale, encode.

use super::{
    Column, ColumnKind, Frame, Matrix,
    read::json_cell,
    typed::{is_missing, number},
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How numeric columns are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// As they are.
    None,
    /// To 0 and 1 at the training part's least and greatest value (scikit-learn's `MinMaxScaler`).
    MinMax,
    /// To mean 0 and deviation 1, divided by n (scikit-learn's `StandardScaler`).
    Standard,
}

/// How categorical columns become numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CategoricalEncoding {
    /// A column of 0 and 1 for each category; all 0 for one that the training part has not. Columns of more than
    /// [`EncodeConfig::max_categories`] categories are encoded by frequency.
    OneHot,
    /// The share of the training rows that have the category; 0 for one that the training part has not.
    Frequency,
}

/// What [`Encoder::fit`] is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncodeConfig {
    /// Numeric columns.
    pub scaling: Scaling,
    /// Categorical columns.
    pub categorical: CategoricalEncoding,
    /// Categories up to which a column is encoded one-hot.
    pub max_categories: usize,
    /// Add a column of 0 and 1 for each column with missing values in the training part.
    pub missing_mask: bool,
}

impl Default for EncodeConfig {
    fn default() -> Self {
        Self {
            scaling: Scaling::MinMax,
            categorical: CategoricalEncoding::OneHot,
            max_categories: 64,
            missing_mask: true,
        }
    }
}

/// Rows to numbers, as the training part says. It is plain data and travels with the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoder {
    columns: Vec<Fitted>,
    /// Columns that a row may have and that say nothing: the label, and those left aside.
    ignored: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    name: String,
    /// Whether a further number says that the value is missing.
    mask: bool,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Kind {
    /// The median fills gaps.
    Numeric { fill: f64, scale: Scale },
    /// The most frequent category fills gaps.
    OneHot {
        fill: String,
        categories: Vec<String>,
    },
    /// The same.
    Frequency {
        fill: String,
        shares: BTreeMap<String, f64>,
    },
}

/// The arithmetic is scikit-learn's, operation for operation: histograms depend on the last bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Scale {
    None,
    /// `x * scale + min`.
    MinMax {
        scale: f64,
        min: f64,
    },
    /// `(x - mean) / scale`.
    Standard {
        mean: f64,
        scale: f64,
    },
}

impl Scale {
    fn fit(values: &[f64], scaling: Scaling) -> Self {
        let mean = || values.iter().sum::<f64>() / values.len() as f64;
        match scaling {
            _ if values.is_empty() => Self::None,
            Scaling::None => Self::None,
            Scaling::MinMax => {
                let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let scale = 1.0 / nonzero(high - low);
                let min = 0.0 - low * scale;
                Self::MinMax { scale, min }
            }
            Scaling::Standard => {
                let mean = mean();
                let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
                let deviation = (squares / values.len() as f64).sqrt();
                // What a constant column has by rounding alone is no deviation.
                let noise = 10.0 * f64::EPSILON * mean.abs();
                let scale = if deviation <= noise { 1.0 } else { deviation };
                Self::Standard { mean, scale }
            }
        }
    }

    fn apply(&self, value: f64) -> f64 {
        match self {
            Self::None => value,
            Self::MinMax { scale, min } => value * scale + min,
            Self::Standard { mean, scale } => (value - mean) / scale,
        }
    }
}

/// A constant column is divided by 1.
fn nonzero(extent: f64) -> f64 {
    if extent < 10.0 * f64::EPSILON {
        1.0
    } else {
        extent
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

impl Encoder {
    /// Learns from the rows of `train` alone.
    ///
    /// # Errors
    /// A frame without rows.
    pub fn fit(train: &Frame, config: &EncodeConfig) -> Result<Self> {
        if train.is_empty() {
            let expected = "rows to learn from";
            return Err(Error::input(
                train.location(),
                "no rows that parse",
                expected,
            ));
        }
        let fitted = |(name, column): &(String, Column)| Fitted {
            name: name.clone(),
            mask: config.missing_mask && column.num_missing() > 0,
            kind: match column {
                Column::Numeric(values) => {
                    let present = values.iter().copied().filter(|v| !v.is_nan());
                    let present: Vec<f64> = present.collect();
                    let scale = Scale::fit(&present, config.scaling);
                    let fill = median(present);
                    Kind::Numeric { fill, scale }
                }
                Column::Categorical { codes, names } => categories(codes, names, config),
            },
        };
        let label = train.label_name().map(String::from);
        Ok(Self {
            columns: train.columns().iter().map(fitted).collect(),
            ignored: label
                .into_iter()
                .chain(train.dropped().iter().cloned())
                .collect(),
        })
    }

    /// Numbers in an encoded row.
    pub fn width(&self) -> usize {
        self.columns.iter().map(Fitted::width).sum()
    }

    /// Names of the columns of the table, in order.
    pub fn columns(&self) -> Vec<String> {
        self.columns
            .iter()
            .map(|column| column.name.clone())
            .collect()
    }

    /// The columns by name, with what they held in training.
    pub fn kinds(&self) -> Vec<(String, ColumnKind)> {
        let kind = |column: &Fitted| match column.kind {
            Kind::Numeric { .. } => (column.name.clone(), ColumnKind::Numeric),
            _ => (column.name.clone(), ColumnKind::Categorical),
        };
        self.columns.iter().map(kind).collect()
    }

    /// The column of the table that each number of an encoded row comes from.
    pub fn owners(&self) -> Vec<usize> {
        let widths = self.columns.iter().map(Fitted::width).enumerate();
        widths.flat_map(|(at, width)| vec![at; width]).collect()
    }

    /// Encodes every row.
    ///
    /// # Errors
    /// A frame with other columns than the training part.
    pub fn encode(&self, frame: &Frame) -> Result<Matrix> {
        let mut sources = Vec::with_capacity(self.columns.len());
        for fitted in &self.columns {
            let found = frame
                .columns()
                .iter()
                .find(|(name, _)| *name == fitted.name);
            let (_, column) = found.ok_or_else(|| {
                let what = format!("no column '{}'", fitted.name);
                Error::input(
                    frame.location(),
                    what,
                    "the columns that the model was fitted to",
                )
            })?;
            sources.push((fitted, column));
        }
        let mut values = Vec::with_capacity(frame.len() * self.width());
        for row in 0..frame.len() {
            for (fitted, column) in &sources {
                match column {
                    Column::Numeric(numbers) => {
                        // A column of numbers may have been one of names in training ("007").
                        let text = || numbers[row].to_string();
                        fitted.push_number(numbers[row], text, &mut values);
                    }
                    Column::Categorical { codes, names } => {
                        let name = codes[row].map(|code| names[code as usize].as_str());
                        let place = || format!("{}, {}", frame.location(), frame.name(row));
                        fitted.push_text(name.unwrap_or(""), place, &mut values)?;
                    }
                }
            }
        }
        Matrix::new(values, self.width().max(1))
    }

    /// Encodes one row by the names of its columns; `location` is for messages. `null` is a missing value.
    ///
    /// # Errors
    /// A column that is not there or not known, a value that is no finite number in a numeric column, a list or an
    /// object as a value.
    pub fn encode_row(&self, row: &Map<String, Value>, location: &str) -> Result<Vec<f64>> {
        let wrong =
            |what: String| Error::input(location, what, "the columns that the model was fitted to");
        let known = |key: &String| {
            self.ignored.contains(key) || self.columns.iter().any(|c| c.name == *key)
        };
        if let Some(key) = row.keys().find(|key| !known(key)) {
            let shown: String = key.chars().take(80).collect();
            return Err(wrong(format!("a column '{shown}'")));
        }
        let mut values = Vec::with_capacity(self.width());
        for fitted in &self.columns {
            let cell = row.get(&fitted.name);
            let cell = cell.ok_or_else(|| wrong(format!("no column '{}'", fitted.name)))?;
            let text = json_cell(Some(cell)).map_err(|what| {
                let what = format!("{what} in column '{}'", fitted.name);
                Error::input(location, what, "a number, a text or null")
            })?;
            fitted.push_text(&text, || location.to_string(), &mut values)?;
        }
        Ok(values)
    }
}

fn categories(codes: &[Option<u32>], names: &[String], config: &EncodeConfig) -> Kind {
    let mut counts = vec![0usize; names.len()];
    for code in codes.iter().flatten() {
        counts[*code as usize] += 1;
    }
    let total = counts.iter().sum::<usize>().max(1);
    let mut seen: Vec<(&String, usize)> = names.iter().zip(counts).filter(|s| s.1 > 0).collect();
    seen.sort();
    // Of equally frequent ones the first by name.
    let fill = seen.iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
    let fill = fill.map_or_else(String::new, |(name, _)| (*name).clone());
    let one_hot = config.categorical == CategoricalEncoding::OneHot;
    if one_hot && seen.len() <= config.max_categories {
        let categories = seen.into_iter().map(|(name, _)| name.clone()).collect();
        return Kind::OneHot { fill, categories };
    }
    let share = |(name, count): (&String, usize)| (name.clone(), count as f64 / total as f64);
    let shares = seen.into_iter().map(share).collect();
    Kind::Frequency { fill, shares }
}

impl Fitted {
    fn width(&self) -> usize {
        let width = match &self.kind {
            Kind::Numeric { .. } | Kind::Frequency { .. } => 1,
            Kind::OneHot { categories, .. } => categories.len(),
        };
        width + usize::from(self.mask)
    }

    fn push_number(&self, value: f64, text: impl Fn() -> String, values: &mut Vec<f64>) {
        let missing = value.is_nan();
        match &self.kind {
            Kind::Numeric { fill, scale } => {
                values.push(scale.apply(if missing { *fill } else { value }));
                self.push_mask(missing, values);
            }
            _ if missing => self.push_name("", values),
            _ => self.push_name(&text(), values),
        }
    }

    fn push_text(
        &self,
        text: &str,
        location: impl Fn() -> String,
        values: &mut Vec<f64>,
    ) -> Result<()> {
        if let Kind::Numeric { .. } = &self.kind {
            let value = number(text).ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                let what = format!("'{shown}' in column '{}'", self.name);
                Error::input(
                    location(),
                    what,
                    "a finite number, or nothing where it is missing",
                )
            })?;
            self.push_number(value, String::new, values);
        } else {
            self.push_name(text.trim(), values);
        }
        Ok(())
    }

    /// The numbers of a category; a missing one is spelt as such.
    fn push_name(&self, text: &str, values: &mut Vec<f64>) {
        let missing = is_missing(text);
        match &self.kind {
            Kind::Numeric { .. } => {}
            Kind::OneHot { fill, categories } => {
                let name = if missing { fill } else { text };
                values.extend(categories.iter().map(|c| f64::from(u8::from(c == name))));
            }
            Kind::Frequency { fill, shares } => {
                let name = if missing { fill } else { text };
                values.push(shares.get(name).copied().unwrap_or(0.0));
            }
        }
        self.push_mask(missing, values);
    }

    fn push_mask(&self, missing: bool, values: &mut Vec<f64>) {
        if self.mask {
            values.push(f64::from(u8::from(missing)));
        }
    }
}
