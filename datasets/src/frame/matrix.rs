//! Rows of numbers.

use crate::{Error, Result};

/// Numbers in rows of one width, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    values: Vec<f64>,
    width: usize,
}

impl Matrix {
    /// `values` in rows of `width`.
    ///
    /// # Errors
    /// A width of 0, values that do not fill the last row, a value that is not finite.
    pub fn new(values: Vec<f64>, width: usize) -> Result<Self> {
        let wrong = |what: String| Error::input("matrix", what, "whole rows of finite numbers");
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(wrong(format!("{} values in rows of {width}", values.len())));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (row, column) = (at / width, at % width);
            return Err(wrong(format!(
                "{} in row {row}, column {column}",
                values[at]
            )));
        }
        Ok(Self { values, width })
    }

    /// Rows as they are given.
    ///
    /// # Errors
    /// As [`new`](Self::new); rows of different widths.
    pub fn from_rows(rows: &[Vec<f64>]) -> Result<Self> {
        let width = rows.first().map_or(1, Vec::len);
        if let Some(at) = rows.iter().position(|row| row.len() != width) {
            let what = format!("{} numbers in row {at}", rows[at].len());
            return Err(Error::input(
                "matrix",
                what,
                format!("{width} numbers a row"),
            ));
        }
        Self::new(rows.concat(), width)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All numbers, row after row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// All rows, in order.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// One column.
    pub fn column(&self, column: usize) -> impl Iterator<Item = f64> + '_ {
        self.values
            .iter()
            .skip(column)
            .step_by(self.width.max(1))
            .copied()
    }

    /// Only `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            values: rows
                .iter()
                .flat_map(|&row| self.row(row))
                .copied()
                .collect(),
            width: self.width,
        }
    }
}
