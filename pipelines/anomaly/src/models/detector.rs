//! What all detectors share.

use panoply_core::{Error, Result, weights::Arrays};
use panoply_datasets::frame::Matrix;
use rayon::prelude::*;
use std::path::Path;

/// Rows that a detector may take for normal: the only thing that a detector is fitted to.
///
/// There are two ways to make one, and both say what they assume: labelled anomalies are dropped, or there are no
/// labels and whoever calls says that the rows are mostly normal.
#[derive(Clone, Debug, PartialEq)]
pub struct NormalOnly<T>(T);

impl NormalOnly<Matrix> {
    /// The rows that are not labelled anomalous.
    ///
    /// # Errors
    /// As many labels as rows are needed, and a normal row.
    pub fn of_labelled(rows: &Matrix, is_anomaly: &[bool]) -> Result<Self> {
        let wrong = |what: String| Error::input("labels", what, "one a row, some of them normal");
        if is_anomaly.len() != rows.len() {
            return Err(wrong(format!(
                "{} labels for {} rows",
                is_anomaly.len(),
                rows.len()
            )));
        }
        let normal: Vec<usize> = (0..rows.len()).filter(|&row| !is_anomaly[row]).collect();
        if normal.is_empty() {
            return Err(wrong("every row is an anomaly".into()));
        }
        Ok(Self(rows.select(&normal)))
    }

    /// All rows, unlabelled: a few anomalies among them are what unsupervised detection is for.
    ///
    /// # Errors
    /// No rows.
    pub fn unlabelled(rows: Matrix) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::input("rows", "none", "rows to fit to"));
        }
        Ok(Self(rows))
    }
}

impl<T> NormalOnly<T> {
    /// The rows.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// A fitted detector. Its constructor is `fit`, which takes [`NormalOnly`] rows; there is none that is not fitted.
pub trait Detector: Send {
    /// One score a row, higher for what is more abnormal. Rows do not influence each other.
    ///
    /// # Errors
    /// Rows of another width than those it was fitted to.
    fn score(&self, rows: &Matrix) -> Result<Vec<f64>>;

    /// What each number of a row adds to its score, where the score is such a sum; `None` where it is not.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    fn contributions(&self, row: &[f64]) -> Result<Option<Vec<f64>>>;

    /// Width of the rows that it takes.
    fn width(&self) -> usize;

    /// What it has learned; none for a network, whose parameters [`save`](Self::save) writes.
    fn arrays(&self) -> Arrays;

    /// Number of floating-point values that it has learned.
    fn num_params(&self) -> usize {
        self.arrays().num_params()
    }

    /// Writes what it has learned as safetensors.
    ///
    /// # Errors
    /// What the file system says.
    fn save(&self, path: &Path) -> Result<()> {
        self.arrays().save(path)
    }
}

/// A detector with the scores of the rows that it was fitted to. Neighbour methods do not count a row among its own
/// neighbours there, so these may differ from [`Detector::score`] of the same rows, as in PyOD (`decision_scores_`).
#[derive(Clone, Debug)]
pub struct Fit<D> {
    /// The detector.
    pub detector: D,
    /// One score a row, in order.
    pub scores: Vec<f64>,
}

/// Scores that are sums of a `term` over the columns, one a row.
///
/// # Errors
/// Rows of another width.
pub(crate) fn sums_of_terms(
    rows: &Matrix,
    width: usize,
    term: impl Fn(usize, f64) -> f64 + Sync,
) -> Result<Vec<f64>> {
    check_width(rows, width)?;
    let score = |row: &[f64]| terms(row, &term).sum();
    let rows = rows.values().par_chunks_exact(width);
    Ok(rows.map(score).collect())
}

/// The `term` of each column of a row.
pub(crate) fn terms(row: &[f64], term: impl Fn(usize, f64) -> f64) -> impl Iterator<Item = f64> {
    let each = row.iter().enumerate();
    each.map(move |(column, &value)| term(column, value))
}

/// Refuses rows of another width.
pub(crate) fn check_width(rows: &Matrix, width: usize) -> Result<()> {
    if rows.is_empty() || rows.width() == width {
        return Ok(());
    }
    let what = format!("{} numbers a row", rows.width());
    Err(Error::input(
        "rows",
        what,
        format!("{width}, as the detector was fitted to"),
    ))
}

/// Refuses a setting that is out of range.
pub(crate) fn check_setting(
    ok: bool,
    name: &str,
    value: impl ToString,
    expected: &str,
) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::input(name, value.to_string(), expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labelled_anomalies_are_never_fitted_to() {
        let rows = Matrix::new(vec![1.0, 2.0, 3.0], 1).unwrap();
        let normal = NormalOnly::of_labelled(&rows, &[false, true, false]).unwrap();
        assert_eq!(normal.get().values(), [1.0, 3.0]);
        assert!(NormalOnly::of_labelled(&rows, &[true; 3]).is_err());
        assert!(NormalOnly::of_labelled(&rows, &[false]).is_err());
        assert!(NormalOnly::unlabelled(Matrix::default()).is_err());
    }
}
