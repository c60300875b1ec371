//! ECOD: unsupervised outlier detection using empirical cumulative distribution functions (Li et al., 2022).
//!
//! Reference: `pyod.models.ecod.ECOD` of PyOD 3.6.7; the scores of the rows that it was fitted to are equal. Two
//! differences. PyOD appends the rows that it scores later to the training rows, so that its answers depend on what is
//! asked together; here a row is held against the training rows alone, and one beyond all of them has the tail
//! probability 1/(n+1). And a constant column, for which PyOD answers NaN, adds nothing as long as a row has its value.

use super::detector::{Detector, Fit, NormalOnly, sums_of_terms, terms};
use panoply_core::{Error, Result, weights::Arrays};
use panoply_datasets::frame::Matrix;
use rayon::prelude::*;

/// Tail probabilities by column.
#[derive(Clone, Debug, PartialEq)]
pub struct Ecod {
    num_rows: usize,
    /// The training values of each column, ascending.
    columns: Vec<Vec<f64>>,
    /// The sign of each column's skewness: -1, 0 or 1.
    skewness: Vec<f64>,
}

impl Ecod {
    /// Sorts the columns.
    ///
    /// # Errors
    /// None of its own.
    pub fn fit(rows: &NormalOnly<Matrix>) -> Result<Fit<Self>> {
        let rows = rows.get();
        let sorted = |column: usize| {
            let mut values: Vec<f64> = rows.column(column).collect();
            let skewness = skewness_sign(&values);
            values.par_sort_by(f64::total_cmp);
            (values, skewness)
        };
        let (columns, skewness) = (0..rows.width()).into_par_iter().map(sorted).unzip();
        let detector = Self {
            num_rows: rows.len(),
            columns,
            skewness,
        };
        let scores = detector.score(rows)?;
        Ok(Fit { detector, scores })
    }

    /// Reads what [`Detector::arrays`] wrote.
    ///
    /// # Errors
    /// Missing or wrong arrays.
    pub fn from_arrays(arrays: &mut Arrays) -> Result<Self> {
        let ([width, num_rows], values) = arrays.take::<f64, 2>("sorted")?;
        let skewness = arrays.take_shaped("skewness", [width])?;
        if num_rows == 0 || width == 0 {
            return Err(Error::input(
                "sorted",
                "no values",
                "columns of training values",
            ));
        }
        let columns: Vec<Vec<f64>> = values.chunks_exact(num_rows).map(<[f64]>::to_vec).collect();
        if !columns.iter().all(|column| column.is_sorted()) {
            return Err(Error::input(
                "sorted",
                "a column that is not",
                "ascending values",
            ));
        }
        Ok(Self {
            num_rows,
            columns,
            skewness,
        })
    }

    /// `max(-ln left tail, -ln right tail, -ln of the tail on the side of the skew)`; both tails without a skew.
    fn dimension(&self, column: usize, value: f64) -> f64 {
        let values = &self.columns[column];
        let not_above = values.partition_point(|v| *v <= value);
        let not_below = values.len() - values.partition_point(|v| *v < value);
        let surprise = |count: usize| {
            let n = self.num_rows as f64;
            let share = if count == 0 {
                1.0 / (n + 1.0)
            } else {
                count as f64 / n
            };
            -share.ln()
        };
        let (left, right) = (surprise(not_above), surprise(not_below));
        let skewness = self.skewness[column];
        let skewed = -left * sign(skewness - 1.0) + right * sign(skewness + 1.0);
        left.max(right).max(skewed)
    }
}

impl Detector for Ecod {
    fn score(&self, rows: &Matrix) -> Result<Vec<f64>> {
        sums_of_terms(rows, self.width(), |column, value| {
            self.dimension(column, value)
        })
    }

    fn contributions(&self, row: &[f64]) -> Result<Option<Vec<f64>>> {
        let each = terms(row, |column, value| self.dimension(column, value));
        Ok(Some(each.collect()))
    }

    fn width(&self) -> usize {
        self.columns.len()
    }

    fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        arrays.put(
            "sorted",
            [self.width(), self.num_rows],
            self.columns.concat(),
        );
        arrays.put("skewness", [self.width()], self.skewness.clone());
        arrays
    }
}

/// -1, 0 or 1; `f64::signum` knows no 0.
fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// The sign of the third central moment; 0 for a constant column, whose moments are nothing but rounding.
fn skewness_sign(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let moment = |power| values.iter().map(|v| (v - mean).powi(power)).sum::<f64>() / n;
    let (second, third) = (moment(2), moment(3));
    if second <= (f64::EPSILON * mean).powi(2) {
        return 0.0;
    }
    sign(third)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_by_hand() {
        // Skewed to the right: the right tail counts, or the larger of both.
        let rows = Matrix::new(vec![1.0, 1.0, 2.0, 9.0], 1).unwrap();
        let fit = Ecod::fit(&NormalOnly::unlabelled(rows).unwrap()).unwrap();
        let expected = [
            (4.0f64 / 2.0).ln(),
            (2.0f64).ln(),
            (2.0f64).ln(),
            (4.0f64).ln(),
        ];
        for (score, expected) in fit.scores.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
        let beyond = Matrix::new(vec![100.0], 1).unwrap();
        assert!((fit.detector.score(&beyond).unwrap()[0] - 5.0f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_constant_column_adds_nothing() {
        let rows = Matrix::new(vec![0.1; 7], 1).unwrap();
        let fit = Ecod::fit(&NormalOnly::unlabelled(rows).unwrap()).unwrap();
        assert_eq!(fit.scores, [0.0; 7]);
        let mut arrays = fit.detector.arrays();
        assert_eq!(Ecod::from_arrays(&mut arrays).unwrap(), fit.detector);
        arrays.finish().unwrap();
        let wide = Matrix::new(vec![0.0, 1.0], 2).unwrap();
        assert!(fit.detector.score(&wide).is_err());
    }
}
