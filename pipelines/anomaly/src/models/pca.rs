//! Principal components: how far a row lies from what varies (Shyu, Chen, Sarinnapakorn and Chang, 2003).
//!
//! Two scores. `mahalanobis` is the squared Mahalanobis distance over all components with variance
//! (`sklearn.covariance.EmpiricalCovariance().mahalanobis` 1.9.1); it is the sum of what the columns contribute. `weighted`
//! is that of `pyod.models.pca.PCA` of PyOD 3.6.7: the distances of the standardised row to the unit vectors of the
//! components, each over its component's share of the variance. A component without variance (a constant or repeated
//! column) divides by nearly nothing there, and the score is decided by rounding; here such components are left out.

use super::detector::{Detector, Fit, NormalOnly, check_setting, check_width};
use faer::{Mat, Side};
use panoply_core::{Error, Result, weights::Arrays};
use panoply_datasets::frame::Matrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What the score is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PcaScore {
    /// Squared Mahalanobis distance.
    Mahalanobis,
    /// PyOD's weighted distances.
    Weighted,
}

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PcaConfig {
    /// What the score is.
    pub score: PcaScore,
    /// Components with less than this share of the greatest variance are left out.
    pub min_variance: f64,
}

impl Default for PcaConfig {
    fn default() -> Self {
        Self {
            score: PcaScore::Mahalanobis,
            min_variance: 1e-12,
        }
    }
}

/// Principal axes of the training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    score: PcaScore,
    mean: Vec<f64>,
    /// Deviation of each column, by which `weighted` divides; 1 for `mahalanobis`.
    scale: Vec<f64>,
    /// Unit vectors, one a component, of the greatest variance first; the entry largest in magnitude is positive.
    components: Vec<Vec<f64>>,
    /// Variances along them, divided by n.
    variance: Vec<f64>,
}

impl Pca {
    /// Finds the axes of the covariance by faer's symmetric eigendecomposition.
    ///
    /// # Errors
    /// No column varies; the decomposition does not converge.
    pub fn fit(rows: &NormalOnly<Matrix>, config: &PcaConfig) -> Result<Fit<Self>> {
        let rows = rows.get();
        let range = (0.0..1.0).contains(&config.min_variance);
        check_setting(
            range,
            "min_variance",
            config.min_variance,
            "from 0 to below 1",
        )?;
        let (n, width) = (rows.len() as f64, rows.width());
        let mean: Vec<f64> = (0..width)
            .map(|c| rows.column(c).sum::<f64>() / n)
            .collect();
        let deviation = |column: usize| {
            let squares = rows.column(column).map(|v| (v - mean[column]).powi(2));
            let deviation = (squares.sum::<f64>() / n).sqrt();
            if deviation <= 10.0 * f64::EPSILON * mean[column].abs() {
                1.0
            } else {
                deviation
            }
        };
        let scale = match config.score {
            PcaScore::Weighted => (0..width).map(deviation).collect(),
            PcaScore::Mahalanobis => vec![1.0; width],
        };
        let centred = Mat::from_fn(rows.len(), width, |r, c| {
            (rows.row(r)[c] - mean[c]) / scale[c]
        });
        let covariance = centred.transpose() * &centred;
        let found = covariance
            .self_adjoint_eigen(Side::Lower)
            .map_err(|e| Error::Internal {
                context: "principal components".into(),
                message: format!("{e:?}"),
            })?;
        // faer's are ascending.
        let variances = found.S().column_vector();
        let greatest = variances[width - 1] / n;
        if greatest <= 0.0 || !greatest.is_finite() {
            let expected = "rows that are not all the same";
            return Err(Error::input("rows", "no column varies", expected));
        }
        let kept = |&c: &usize| variances[c] / n > config.min_variance * greatest;
        let kept: Vec<usize> = (0..width).rev().filter(kept).collect();
        let axis = |&c: &usize| {
            let axis: Vec<f64> = (0..width).map(|r| found.U()[(r, c)]).collect();
            oriented(axis)
        };
        let detector = Self {
            score: config.score,
            components: kept.iter().map(axis).collect(),
            variance: kept.iter().map(|&c| variances[c] / n).collect(),
            mean,
            scale,
        };
        let scores = detector.score(rows)?;
        Ok(Fit { detector, scores })
    }

    /// Reads what [`Detector::arrays`] wrote.
    ///
    /// # Errors
    /// Missing or wrong arrays.
    pub fn from_arrays(config: &PcaConfig, arrays: &mut Arrays) -> Result<Self> {
        let ([count, width], components) = arrays.take::<f64, 2>("components")?;
        let variance = arrays.take_shaped::<f64, 1>("variance", [count])?;
        let positive = count > 0 && width > 0 && variance.iter().all(|&v| v > 0.0);
        check_setting(positive, "variance", count, "components with variance")?;
        Ok(Self {
            score: config.score,
            mean: arrays.take_shaped("mean", [width])?,
            scale: arrays.take_shaped("scale", [width])?,
            components: components
                .chunks_exact(width)
                .map(<[f64]>::to_vec)
                .collect(),
            variance,
        })
    }

    fn standardised(&self, row: &[f64]) -> Vec<f64> {
        let each = row.iter().zip(&self.mean).zip(&self.scale);
        each.map(|((value, mean), scale)| (value - mean) / scale)
            .collect()
    }

    /// `sum (z . v)^2 / variance`.
    fn mahalanobis(&self, z: &[f64]) -> f64 {
        let along = self.components.iter().zip(&self.variance);
        along
            .map(|(axis, variance)| dot(axis, z).powi(2) / variance)
            .sum()
    }

    /// `sum |z - v| / share of variance`.
    fn weighted(&self, z: &[f64]) -> f64 {
        let total: f64 = self.variance.iter().sum();
        let distance = |axis: &[f64]| {
            let squares = z.iter().zip(axis).map(|(z, v)| (z - v).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let along = self.components.iter().zip(&self.variance);
        along
            .map(|(axis, variance)| distance(axis) / (variance / total))
            .sum()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// scikit-learn's sign of a component: its entry of the largest magnitude, the first of several, is positive.
fn oriented(axis: Vec<f64>) -> Vec<f64> {
    let mut largest = 0.0f64;
    for &entry in &axis {
        if entry.abs() > largest.abs() {
            largest = entry;
        }
    }
    if largest < 0.0 {
        axis.into_iter().map(|entry| -entry).collect()
    } else {
        axis
    }
}

impl Detector for Pca {
    fn score(&self, rows: &Matrix) -> Result<Vec<f64>> {
        check_width(rows, self.width())?;
        let score = |row: &[f64]| {
            let z = self.standardised(row);
            match self.score {
                PcaScore::Mahalanobis => self.mahalanobis(&z),
                PcaScore::Weighted => self.weighted(&z),
            }
        };
        Ok(rows
            .values()
            .par_chunks_exact(self.width())
            .map(score)
            .collect())
    }

    /// Of the Mahalanobis distance `z' P z`, with the inverse covariance P: `z_j (P z)_j`. They may be negative.
    fn contributions(&self, row: &[f64]) -> Result<Option<Vec<f64>>> {
        if self.score == PcaScore::Weighted {
            return Ok(None);
        }
        let z = self.standardised(row);
        let mut pulled = vec![0.0; z.len()];
        for (axis, variance) in self.components.iter().zip(&self.variance) {
            let along = dot(axis, &z) / variance;
            for (pulled, v) in pulled.iter_mut().zip(axis) {
                *pulled += along * v;
            }
        }
        Ok(Some(z.iter().zip(&pulled).map(|(z, p)| z * p).collect()))
    }

    fn width(&self) -> usize {
        self.mean.len()
    }

    fn arrays(&self) -> Arrays {
        let (count, width) = (self.components.len(), self.width());
        let mut arrays = Arrays::default();
        arrays.put("components", [count, width], self.components.concat());
        arrays.put("variance", [count], self.variance.clone());
        arrays.put("mean", [width], self.mean.clone());
        arrays.put("scale", [width], self.scale.clone());
        arrays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Matrix {
        let values = vec![2.0, 0.0, -2.0, 0.0, 0.0, 1.0, 0.0, -1.0];
        Matrix::new(values, 2).unwrap()
    }

    #[test]
    fn mahalanobis_by_hand_and_shared_out() {
        let normal = NormalOnly::unlabelled(rows()).unwrap();
        let fit = Pca::fit(&normal, &PcaConfig::default()).unwrap();
        // Variances 2 and 1/2.
        for score in &fit.scores {
            assert!((score - 2.0).abs() < 1e-12, "{score}");
        }
        let row = [1.0, 1.0];
        let parts = fit.detector.contributions(&row).unwrap().unwrap();
        assert!(
            (parts[0] - 0.5).abs() < 1e-12 && (parts[1] - 2.0).abs() < 1e-12,
            "{parts:?}"
        );
        let back = Pca::from_arrays(&PcaConfig::default(), &mut fit.detector.arrays()).unwrap();
        assert_eq!(back, fit.detector);
    }

    #[test]
    fn what_never_varies_is_left_out() {
        let values = vec![1.0, 7.0, 2.0, 7.0, 4.0, 7.0];
        let normal = NormalOnly::unlabelled(Matrix::new(values, 2).unwrap()).unwrap();
        let fit = Pca::fit(&normal, &PcaConfig::default()).unwrap();
        assert_eq!(fit.detector.variance.len(), 1);
        let flat = NormalOnly::unlabelled(Matrix::new(vec![7.0; 6], 2).unwrap()).unwrap();
        assert!(Pca::fit(&flat, &PcaConfig::default()).is_err());
    }
}
