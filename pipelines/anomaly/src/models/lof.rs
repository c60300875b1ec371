//! Local outlier factor (Breunig, Kriegel, Ng and Sander, 2000).
//!
//! Reference: `sklearn.neighbors.LocalOutlierFactor` 1.9.1, which PyOD wraps: the scores of the training rows are
//! `-negative_outlier_factor_`, those of other rows `-score_samples` of its `novelty=True`. Where several rows are
//! equally near as the k-th neighbour, the first of them counts; scikit-learn takes whichever its tree finds.

use super::{
    detector::{Detector, Fit, NormalOnly, check_setting, check_width},
    neighbours::{Neighbour, nearest},
};
use panoply_core::{Result, weights::Arrays};
use panoply_datasets::frame::Matrix;
use serde::{Deserialize, Serialize};

/// Added to mean reachability, as in scikit-learn: a row with k doubles has no distance at all.
const TINY: f64 = 1e-10;

/// Settings; the defaults are scikit-learn's and PyOD's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LofConfig {
    /// Neighbours (k); at most one less than there are rows.
    pub n_neighbors: usize,
}

impl Default for LofConfig {
    fn default() -> Self {
        Self { n_neighbors: 20 }
    }
}

/// The training rows with their densities.
#[derive(Clone, Debug, PartialEq)]
pub struct Lof {
    n_neighbors: usize,
    train: Matrix,
    /// Distance of each training row to its k-th neighbour.
    k_distance: Vec<f64>,
    /// Local reachability density of each training row.
    density: Vec<f64>,
}

impl Lof {
    /// Finds the neighbours of each row among the others and its density.
    ///
    /// # Errors
    /// Fewer than two rows; no neighbours asked for.
    pub fn fit(rows: &NormalOnly<Matrix>, config: &LofConfig) -> Result<Fit<Self>> {
        let train = rows.get().clone();
        let k = config.n_neighbors;
        check_setting(k > 0, "n_neighbors", k, "at least 1")?;
        check_setting(
            train.len() > 1,
            "rows",
            train.len(),
            "at least two to be neighbours",
        )?;
        let k = k.min(train.len() - 1);
        let found = nearest(&train, &train, k, true);
        let mut detector = Self {
            n_neighbors: k,
            k_distance: found.iter().map(|found| found[k - 1].0).collect(),
            density: Vec::new(),
            train,
        };
        let densities = found.iter().map(|found| detector.density_of(found));
        detector.density = densities.collect();
        let factor = |(found, &density): (&Vec<Neighbour>, &f64)| detector.factor(found, density);
        let scores = found.iter().zip(&detector.density).map(factor).collect();
        Ok(Fit { detector, scores })
    }

    /// Reads what [`Detector::arrays`] wrote.
    ///
    /// # Errors
    /// Missing or wrong arrays.
    pub fn from_arrays(config: &LofConfig, arrays: &mut Arrays) -> Result<Self> {
        let ([num_rows, width], values) = arrays.take::<f64, 2>("train")?;
        check_setting(num_rows > 1, "train", num_rows, "at least two rows")?;
        Ok(Self {
            n_neighbors: config.n_neighbors.clamp(1, num_rows - 1),
            train: Matrix::new(values, width)?,
            k_distance: arrays.take_shaped("k_distance", [num_rows])?,
            density: arrays.take_shaped("density", [num_rows])?,
        })
    }

    /// One over the mean reachability distance to the neighbours.
    fn density_of(&self, found: &[Neighbour]) -> f64 {
        let reach = |&(distance, row): &Neighbour| distance.max(self.k_distance[row]);
        let mean = found.iter().map(reach).sum::<f64>() / found.len() as f64;
        1.0 / (mean + TINY)
    }

    /// The neighbours' mean density over one's own.
    fn factor(&self, found: &[Neighbour], density: f64) -> f64 {
        let ratios = found.iter().map(|&(_, row)| self.density[row] / density);
        ratios.sum::<f64>() / found.len() as f64
    }
}

impl Detector for Lof {
    fn score(&self, rows: &Matrix) -> Result<Vec<f64>> {
        check_width(rows, self.width())?;
        let found = nearest(&self.train, rows, self.n_neighbors, false);
        let factor = |found: &Vec<Neighbour>| self.factor(found, self.density_of(found));
        Ok(found.iter().map(factor).collect())
    }

    fn contributions(&self, _row: &[f64]) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }

    fn width(&self) -> usize {
        self.train.width()
    }

    fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::default();
        let num_rows = self.train.len();
        arrays.put(
            "train",
            [num_rows, self.width()],
            self.train.values().to_vec(),
        );
        arrays.put("k_distance", [num_rows], self.k_distance.clone());
        arrays.put("density", [num_rows], self.density.clone());
        arrays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_line_is_even_and_doubles_do_not_divide_by_zero() {
        let line: Vec<f64> = (0..30).map(f64::from).collect();
        let normal = NormalOnly::unlabelled(Matrix::new(line, 1).unwrap()).unwrap();
        let config = LofConfig { n_neighbors: 2 };
        let fit = Lof::fit(&normal, &config).unwrap();
        assert!((fit.scores[15] - 1.0).abs() < 1e-9);
        let back = Lof::from_arrays(&config, &mut fit.detector.arrays()).unwrap();
        assert_eq!(back, fit.detector);
        let far = Matrix::new(vec![100.0], 1).unwrap();
        assert!(back.score(&far).unwrap()[0] > 10.0);

        let doubles = NormalOnly::unlabelled(Matrix::new(vec![1.0; 9], 1).unwrap()).unwrap();
        let fit = Lof::fit(&doubles, &LofConfig::default()).unwrap();
        assert!(fit.scores.iter().all(|score| (score - 1.0).abs() < 1e-9));
    }
}
