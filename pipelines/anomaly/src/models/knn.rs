//! The distance to the k-th nearest neighbour (Ramaswamy, Rastogi and Shim, 2000), the mean of the distances to k
//! neighbours (Angiulli and Pizzuti, 2002) or their median.
//!
//! Reference: `pyod.models.knn.KNN` of PyOD 3.6.7, with its names of the methods.

use super::{
    detector::{Detector, Fit, NormalOnly, check_setting, check_width},
    neighbours::{Neighbour, nearest},
};
use panoply_core::{Result, weights::Arrays};
use panoply_datasets::frame::Matrix;
use serde::{Deserialize, Serialize};

/// What of the k distances is the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnnMethod {
    /// That to the k-th neighbour.
    Largest,
    /// Their mean.
    Mean,
    /// Their median.
    Median,
}

/// Settings; the defaults are PyOD's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnnConfig {
    /// Neighbours (k).
    pub n_neighbors: usize,
    /// What of their distances is the score.
    pub method: KnnMethod,
}

impl Default for KnnConfig {
    fn default() -> Self {
        Self {
            n_neighbors: 5,
            method: KnnMethod::Largest,
        }
    }
}

/// The training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    config: KnnConfig,
    train: Matrix,
}

impl Knn {
    /// Keeps the rows and scores each by its neighbours among the others.
    ///
    /// # Errors
    /// No more rows than neighbours.
    pub fn fit(rows: &NormalOnly<Matrix>, config: &KnnConfig) -> Result<Fit<Self>> {
        let train = rows.get().clone();
        let detector = Self::new(config, train)?;
        let found = nearest(&detector.train, &detector.train, config.n_neighbors, true);
        let scores = found.iter().map(|found| detector.of(found)).collect();
        Ok(Fit { detector, scores })
    }

    fn new(config: &KnnConfig, train: Matrix) -> Result<Self> {
        let k = config.n_neighbors;
        let expected = format!(
            "between 1 and {}, for {} rows",
            train.len().max(1) - 1,
            train.len()
        );
        check_setting(k > 0 && k < train.len(), "n_neighbors", k, &expected)?;
        Ok(Self {
            config: config.clone(),
            train,
        })
    }

    /// Reads what [`Detector::arrays`] wrote.
    ///
    /// # Errors
    /// Missing or wrong arrays.
    pub fn from_arrays(config: &KnnConfig, arrays: &mut Arrays) -> Result<Self> {
        let ([_, width], values) = arrays.take::<f64, 2>("train")?;
        Self::new(config, Matrix::new(values, width)?)
    }

    fn of(&self, found: &[Neighbour]) -> f64 {
        let k = found.len();
        match self.config.method {
            KnnMethod::Largest => found[k - 1].0,
            KnnMethod::Mean => found.iter().map(|(distance, _)| distance).sum::<f64>() / k as f64,
            KnnMethod::Median => f64::midpoint(found[(k - 1) / 2].0, found[k / 2].0),
        }
    }
}

impl Detector for Knn {
    fn score(&self, rows: &Matrix) -> Result<Vec<f64>> {
        check_width(rows, self.width())?;
        let found = nearest(&self.train, rows, self.config.n_neighbors, false);
        Ok(found.iter().map(|found| self.of(found)).collect())
    }

    fn contributions(&self, _row: &[f64]) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }

    fn width(&self) -> usize {
        self.train.width()
    }

    fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        let shape = [self.train.len(), self.train.width()];
        arrays.put("train", shape, self.train.values().to_vec());
        arrays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_by_hand() {
        let rows = Matrix::new(vec![0.0, 1.0, 3.0, 7.0], 1).unwrap();
        let normal = NormalOnly::unlabelled(rows).unwrap();
        let fit = |method| {
            let config = KnnConfig {
                n_neighbors: 2,
                method,
            };
            Knn::fit(&normal, &config).unwrap()
        };
        assert_eq!(fit(KnnMethod::Largest).scores, [3.0, 2.0, 3.0, 6.0]);
        assert_eq!(fit(KnnMethod::Mean).scores, [2.0, 1.5, 2.5, 5.0]);
        assert_eq!(fit(KnnMethod::Median).scores, [2.0, 1.5, 2.5, 5.0]);
        let detector = fit(KnnMethod::Largest).detector;
        let new = Matrix::new(vec![1.0], 1).unwrap();
        // Asked about anew, a training row is its own neighbour.
        assert_eq!(detector.score(&new).unwrap(), [1.0]);
        let back = Knn::from_arrays(&detector.config, &mut detector.arrays()).unwrap();
        assert_eq!(back, detector);
    }

    #[test]
    fn as_many_neighbours_as_rows_are_refused() {
        let rows = Matrix::new(vec![0.0; 5], 1).unwrap();
        let normal = NormalOnly::unlabelled(rows).unwrap();
        let e = Knn::fit(&normal, &KnnConfig::default()).unwrap_err();
        assert!(e.to_string().contains("n_neighbors"), "{e}");
    }
}
