//! A table against a reference: a test a column, and one over all of them.
//!
//! | column | test |
//! |---|---|
//! | numeric | two-sample Kolmogorov-Smirnov over the values that are there |
//! | categorical | chi-squared over the counts, missing ones a category of their own |
//! | all together | maximum mean discrepancy of the encoded rows, p-value by permutation |
//!
//! A column drifts where its p-value is below `alpha` divided by the number of columns (Bonferroni), as in
//! alibi-detect's `TabularDrift`; the table where one does, or where the p-value over all is below `alpha`.

use panoply_core::{Error, Result, seed, weights::Arrays};
use panoply_datasets::frame::{
    CategoricalEncoding, Column, ColumnKind, EncodeConfig, Encoder, Frame, Matrix, Scaling,
    TableOptions,
};
use panoply_metrics::{MetricError, MmdTest, chi2_contingency, ks_2samp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Streams of random numbers.
const REFERENCE: u64 = 1;
const SAMPLE: u64 = 2;
const PERMUTATIONS: u64 = 3;

/// How tables are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftConfig {
    /// The chance of calling drift where there is none that is put up with.
    pub alpha: f64,
    /// Permutations behind the p-value over all columns.
    pub num_permutations: usize,
    /// Rows of each table, drawn at random, that the test over all columns looks at: its cost grows with their square.
    pub mmd_rows: usize,
    /// Values of a numeric column that the reference keeps.
    pub max_values: usize,
    /// Of everything that is drawn.
    pub seed: u64,
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            num_permutations: 199,
            mmd_rows: 500,
            max_values: 10_000,
            seed: 0,
        }
    }
}

impl DriftConfig {
    fn check(&self) -> Result<()> {
        let wrong =
            |name: &str, value: String, expected: &str| Err(Error::input(name, value, expected));
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return wrong("alpha", self.alpha.to_string(), "a chance between 0 and 1");
        }
        if self.num_permutations == 0 || self.num_permutations > 100_000 {
            return wrong(
                "num_permutations",
                self.num_permutations.to_string(),
                "1 to 100000",
            );
        }
        if !(2..=10_000).contains(&self.mmd_rows) {
            return wrong("mmd_rows", self.mmd_rows.to_string(), "2 to 10000");
        }
        if self.max_values < 2 {
            return wrong("max_values", self.max_values.to_string(), "2 or more");
        }
        Ok(())
    }
}

/// A column as the reference has it, but for the values of a numeric one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Rows without a value.
    pub num_missing: usize,
    /// Rows of each category; empty for a numeric column.
    pub counts: BTreeMap<String, u64>,
}

/// `config.json`: what the reference is, but for its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceConfig {
    /// How tables are compared.
    pub drift: DriftConfig,
    /// How they are read.
    pub options: TableOptions,
    /// Rows of the reference.
    pub num_rows: usize,
    /// The columns, in order.
    pub columns: Vec<ReferenceColumn>,
}

/// What a table is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// All but the numbers.
    pub config: ReferenceConfig,
    /// Rows to numbers, for the test over all columns.
    pub encoder: Encoder,
    /// Values of each numeric column that are there; empty for a categorical one.
    values: Vec<Vec<f64>>,
    /// Encoded rows.
    rows: Matrix,
}

/// What the test of a column found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDrift {
    /// The column.
    pub column: String,
    /// `ks` or `chi2`.
    pub test: &'static str,
    /// Of the test.
    pub statistic: f64,
    /// Chance of such a statistic without drift.
    pub p_value: f64,
    /// Whether that is too small, with all columns in mind.
    pub is_drift: bool,
    /// Share of missing values in the reference and in the table.
    pub missing: [f64; 2],
}

/// What the test over all columns found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MmdDrift {
    /// The unbiased estimate of MMD².
    pub statistic: f64,
    /// Share of permutations that reach it.
    pub p_value: f64,
    /// Of the Gaussian kernel, in deviations.
    pub bandwidth: f64,
    /// Rows of the reference and of the table.
    pub num_rows: [usize; 2],
    /// Permutations behind the p-value.
    pub num_permutations: usize,
    /// Whether it is too small.
    pub is_drift: bool,
}

/// What comparing a table with the reference found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// Whether a column drifts, or all together do.
    pub is_drift: bool,
    /// The chance of calling drift where there is none that is put up with.
    pub alpha: f64,
    /// Rows of the table.
    pub num_rows: usize,
    /// Each column.
    pub columns: Vec<ColumnDrift>,
    /// All of them.
    pub mmd: MmdDrift,
}

impl Reference {
    /// Keeps what comparisons need of a table.
    ///
    /// # Errors
    /// Settings out of range; fewer than two rows; no column, or one without any value.
    pub fn fit(frame: &Frame, options: &TableOptions, drift: &DriftConfig) -> Result<Self> {
        drift.check()?;
        enough(frame)?;
        let encode = EncodeConfig {
            scaling: Scaling::Standard,
            categorical: CategoricalEncoding::OneHot,
            ..EncodeConfig::default()
        };
        let encoder = Encoder::fit(frame, &encode)?;
        let kept = drawn(frame.len(), drift.mmd_rows, &[drift.seed, REFERENCE]);
        let rows = encoder.encode(&frame.select(&kept))?;
        let kept = drawn(frame.len(), drift.max_values, &[drift.seed, REFERENCE, 1]);
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for (name, column) in frame.columns() {
            if column.num_missing() == frame.len() {
                let what = format!("column '{name}' has no value");
                return Err(Error::input(
                    frame.location(),
                    what,
                    "a value at least (or leave it out: `drop`)",
                ));
            }
            values.push(match column {
                Column::Numeric(values) => kept
                    .iter()
                    .map(|&row| values[row])
                    .filter(|v| !v.is_nan())
                    .collect(),
                Column::Categorical { .. } => Vec::new(),
            });
            columns.push(ReferenceColumn {
                name: name.clone(),
                kind: column.kind(),
                num_missing: column.num_missing(),
                counts: counts(column),
            });
        }
        let num_rows = frame.len();
        let config = ReferenceConfig {
            drift: drift.clone(),
            options: options.clone(),
            num_rows,
            columns,
        };
        Ok(Self {
            config,
            encoder,
            values,
            rows,
        })
    }

    /// The columns that a table must have.
    pub fn kinds(&self) -> Vec<(String, ColumnKind)> {
        let columns = self.config.columns.iter();
        columns
            .map(|column| (column.name.clone(), column.kind))
            .collect()
    }

    /// Compares a table that was read with [`kinds`](Self::kinds).
    ///
    /// # Errors
    /// Fewer than two rows; a column that is not there or has no value.
    pub fn compare(&self, frame: &Frame) -> Result<Drift> {
        enough(frame)?;
        let drift = &self.config.drift;
        let mut columns = Vec::with_capacity(self.config.columns.len());
        for (reference, values) in self.config.columns.iter().zip(&self.values) {
            columns.push(self.compare_column(reference, values, frame)?);
        }
        let mmd = self.compare_rows(frame)?;
        Ok(Drift {
            is_drift: mmd.is_drift || columns.iter().any(|column| column.is_drift),
            alpha: drift.alpha,
            num_rows: frame.len(),
            columns,
            mmd,
        })
    }

    fn compare_column(
        &self,
        reference: &ReferenceColumn,
        kept: &[f64],
        frame: &Frame,
    ) -> Result<ColumnDrift> {
        let wrong = |what: String| {
            Error::input(
                frame.location(),
                what,
                "the columns of the reference, with values",
            )
        };
        let found = frame
            .columns()
            .iter()
            .find(|(name, _)| *name == reference.name);
        let (_, column) = found.ok_or_else(|| wrong(format!("no column '{}'", reference.name)))?;
        let undefined = |e: MetricError| wrong(format!("column '{}': {e}", reference.name));
        let (test, statistic, p_value) = match (reference.kind, column) {
            (ColumnKind::Numeric, Column::Numeric(values)) => {
                let present: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
                let test = ks_2samp(kept, &present).map_err(undefined)?;
                ("ks", test.statistic, test.p_value)
            }
            (ColumnKind::Categorical, column) => {
                let table = contingency(reference, &counts(column), column.num_missing());
                let test = chi2_contingency(&table, 2).map_err(undefined)?;
                ("chi2", test.statistic, test.p_value)
            }
            (ColumnKind::Numeric, Column::Categorical { .. }) => {
                return Err(wrong(format!("column '{}' holds names", reference.name)));
            }
        };
        let share = |missing: usize, rows: usize| missing as f64 / rows as f64;
        Ok(ColumnDrift {
            column: reference.name.clone(),
            test,
            statistic,
            p_value,
            is_drift: p_value < self.config.drift.alpha / self.config.columns.len() as f64,
            missing: [
                share(reference.num_missing, self.config.num_rows),
                share(column.num_missing(), frame.len()),
            ],
        })
    }

    fn compare_rows(&self, frame: &Frame) -> Result<MmdDrift> {
        let drift = &self.config.drift;
        let kept = drawn(frame.len(), drift.mmd_rows, &[drift.seed, SAMPLE]);
        let rows = self.encoder.encode(&frame.select(&kept))?;
        let wrong = |e: MetricError| {
            Error::input(frame.location(), e.to_string(), "rows that can be compared")
        };
        let test =
            MmdTest::new(self.rows.values(), rows.values(), rows.width(), None).map_err(wrong)?;
        let permutation =
            |number: usize| shuffled(test.num_rows(), &[drift.seed, PERMUTATIONS, number as u64]);
        let p_value = test
            .p_value((0..drift.num_permutations).map(permutation))
            .map_err(wrong)?;
        Ok(MmdDrift {
            statistic: test.statistic(),
            p_value,
            bandwidth: test.bandwidth(),
            num_rows: [self.rows.len(), rows.len()],
            num_permutations: drift.num_permutations,
            is_drift: p_value < drift.alpha,
        })
    }

    /// The numbers that comparisons need.
    pub fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        for (at, values) in self.values.iter().enumerate() {
            if self.config.columns[at].kind == ColumnKind::Numeric {
                arrays.put(&format!("column.{at}"), [values.len()], values.clone());
            }
        }
        arrays.put(
            "rows",
            [self.rows.len(), self.rows.width()],
            self.rows.values().to_vec(),
        );
        arrays
    }

    /// Puts together what [`arrays`](Self::arrays) and the files beside it hold.
    ///
    /// # Errors
    /// Settings out of range, arrays that are missing or do not fit.
    pub fn from_parts(
        config: ReferenceConfig,
        encoder: Encoder,
        mut arrays: Arrays,
    ) -> Result<Self> {
        config.drift.check()?;
        let mut values = Vec::with_capacity(config.columns.len());
        for (at, column) in config.columns.iter().enumerate() {
            values.push(match column.kind {
                ColumnKind::Numeric => arrays.take::<f64, 1>(&format!("column.{at}"))?.1,
                ColumnKind::Categorical => Vec::new(),
            });
        }
        let ([_, width], rows) = arrays.take::<f64, 2>("rows")?;
        arrays.finish()?;
        if width != encoder.width() || config.num_rows == 0 {
            let what = format!("rows of {width} numbers");
            return Err(Error::input(
                "reference",
                what,
                format!("{}, as its encoder makes", encoder.width()),
            ));
        }
        let rows = Matrix::new(rows, width)?;
        Ok(Self {
            config,
            encoder,
            values,
            rows,
        })
    }
}

fn enough(frame: &Frame) -> Result<()> {
    if frame.len() < 2 || frame.columns().is_empty() {
        let what = format!("{} rows of {} columns", frame.len(), frame.columns().len());
        return Err(Error::input(
            frame.location(),
            what,
            "two rows or more, and a column",
        ));
    }
    Ok(())
}

/// Rows of each category.
fn counts(column: &Column) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    match column {
        Column::Numeric(_) => {}
        Column::Categorical { codes, names } => {
            for &code in codes.iter().flatten() {
                *counts.entry(names[code as usize].clone()).or_default() += 1;
            }
        }
    }
    counts
}

/// Counts of both tables, category by category; missing values are the last.
fn contingency(
    reference: &ReferenceColumn,
    counts: &BTreeMap<String, u64>,
    num_missing: usize,
) -> Vec<u64> {
    let new = counts
        .keys()
        .filter(|name| !reference.counts.contains_key(*name));
    let names: Vec<&String> = reference.counts.keys().chain(new).collect();
    let row = |counts: &BTreeMap<String, u64>, num_missing: usize| {
        let known = names
            .iter()
            .map(|name| counts.get(*name).copied().unwrap_or(0));
        known.chain([num_missing as u64]).collect::<Vec<_>>()
    };
    [
        row(&reference.counts, reference.num_missing),
        row(counts, num_missing),
    ]
    .concat()
}

/// The numbers below `len` in an order that follows from `seeds`.
fn shuffled(len: usize, seeds: &[u64]) -> Vec<usize> {
    let base = seed::derive(seeds);
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by_cached_key(|&row| (seed::derive(&[base, row as u64]), row));
    order
}

/// At most `max` of the numbers below `len`, ascending.
fn drawn(len: usize, max: usize, seeds: &[u64]) -> Vec<usize> {
    let mut order = if len <= max {
        (0..len).collect()
    } else {
        shuffled(len, seeds)
    };
    order.truncate(max);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn table(rows: usize, shift: f64, rare: usize) -> Frame {
        let mut text = String::from("x,y,kind\n");
        for row in 0..rows {
            let noise = |stream: u64| {
                (seed::derive(&[stream, row as u64]) >> 11) as f64 / (1u64 << 53) as f64
            };
            let kind = if row % rare == 0 { "b" } else { "a" };
            writeln!(text, "{},{},{kind}", noise(7) + shift, noise(8)).unwrap();
        }
        Frame::from_csv("t.csv", text.as_bytes(), &TableOptions::default()).unwrap()
    }

    fn reference() -> Reference {
        Reference::fit(
            &table(300, 0.0, 5),
            &TableOptions::default(),
            &DriftConfig::default(),
        )
        .unwrap()
    }

    #[test]
    fn a_shifted_column_and_a_rarer_category_are_found_by_name() {
        let reference = reference();
        let found = reference.compare(&table(250, 0.3, 50)).unwrap();
        let drifts: Vec<bool> = found.columns.iter().map(|column| column.is_drift).collect();
        assert_eq!(drifts, [true, false, true], "{found:?}");
        assert!(found.is_drift && found.mmd.is_drift && found.mmd.p_value == 1.0 / 200.0);
        let tests: Vec<_> = found.columns.iter().map(|column| column.test).collect();
        assert_eq!(tests, ["ks", "ks", "chi2"]);
    }

    #[test]
    fn the_same_rows_do_not_drift() {
        let found = reference().compare(&table(300, 0.0, 5)).unwrap();
        assert!(!found.is_drift, "{found:?}");
        assert!(found.columns.iter().all(|column| column.p_value == 1.0));
    }

    #[test]
    fn a_reference_survives_its_files() {
        let reference = reference();
        let again = Reference::from_parts(
            reference.config.clone(),
            reference.encoder.clone(),
            reference.arrays(),
        );
        assert_eq!(again.unwrap(), reference);
        let hollow = Reference::from_parts(
            reference.config.clone(),
            reference.encoder,
            Arrays::default(),
        );
        assert!(hollow.is_err());
    }

    #[test]
    fn tables_that_cannot_be_compared_are_refused() {
        let reference = reference();
        assert!(reference.compare(&table(1, 0.0, 5)).is_err());
        let other = Frame::from_csv("t.csv", b"x\n1\n2\n", &TableOptions::default()).unwrap();
        let error = reference.compare(&other).unwrap_err().to_string();
        assert!(error.contains("no column 'y'"), "{error}");
        let fit = |config: DriftConfig| {
            Reference::fit(&table(30, 0.0, 5), &TableOptions::default(), &config)
        };
        assert!(
            fit(DriftConfig {
                alpha: 0.0,
                ..DriftConfig::default()
            })
            .is_err()
        );
        assert!(
            fit(DriftConfig {
                mmd_rows: 1,
                ..DriftConfig::default()
            })
            .is_err()
        );
        assert!(
            fit(DriftConfig {
                num_permutations: 0,
                ..DriftConfig::default()
            })
            .is_err()
        );
    }
}
