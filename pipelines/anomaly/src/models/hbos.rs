//! Histogram-based outlier score (Goldstein and Dengel, 2012).
//!
//! Reference: `pyod.models.hbos.HBOS` of PyOD 3.6.7 with a fixed number of bins, whose scores are
//! `-sum log2(density + alpha)`. Which bin a value on an edge counts in follows numpy's `histogram` (the right one) in
//! fitting and `digitize(right=True)` (the left one) in scoring, as there.

use super::detector::{Detector, Fit, NormalOnly, check_setting, sums_of_terms, terms};
use panoply_core::{Result, weights::Arrays};
use panoply_datasets::frame::Matrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Settings; the defaults are PyOD's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HbosConfig {
    /// Bins of each column.
    pub n_bins: usize,
    /// Added to each density, so that an empty bin has a logarithm.
    pub alpha: f64,
    /// How far beyond the outer bins a value still counts to them, in bin widths.
    pub tol: f64,
}

impl Default for HbosConfig {
    fn default() -> Self {
        Self {
            n_bins: 10,
            alpha: 0.1,
            tol: 0.5,
        }
    }
}

/// A histogram a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Hbos {
    tol: f64,
    /// `n_bins + 1` ascending edges a column.
    edges: Vec<Vec<f64>>,
    /// `-log2(density + alpha)` of each bin.
    surprise: Vec<Vec<f64>>,
}

impl Hbos {
    /// Counts the columns into bins.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn fit(rows: &NormalOnly<Matrix>, config: &HbosConfig) -> Result<Fit<Self>> {
        check_config(config)?;
        let rows = rows.get();
        let one = |column: usize| {
            let values: Vec<f64> = rows.column(column).collect();
            let edges = bin_edges(&values, config.n_bins);
            let surprise = density(&values, &edges);
            let surprise = surprise.into_iter().map(|d| -(d + config.alpha).log2());
            (edges, surprise.collect())
        };
        let (edges, surprise) = (0..rows.width()).into_par_iter().map(one).unzip();
        let detector = Self {
            tol: config.tol,
            edges,
            surprise,
        };
        let scores = detector.score(rows)?;
        Ok(Fit { detector, scores })
    }

    /// Reads what [`Detector::arrays`] wrote.
    ///
    /// # Errors
    /// Missing or wrong arrays.
    pub fn from_arrays(config: &HbosConfig, arrays: &mut Arrays) -> Result<Self> {
        check_config(config)?;
        let ([width, n_bins], surprise) = arrays.take::<f64, 2>("surprise")?;
        check_setting(n_bins > 1, "surprise", n_bins, "at least two bins")?;
        let edges = arrays.take_shaped::<f64, 2>("edges", [width, n_bins + 1])?;
        Ok(Self {
            tol: config.tol,
            edges: edges
                .chunks_exact(n_bins + 1)
                .map(<[f64]>::to_vec)
                .collect(),
            surprise: surprise.chunks_exact(n_bins).map(<[f64]>::to_vec).collect(),
        })
    }

    fn dimension(&self, column: usize, value: f64) -> f64 {
        let (edges, surprise) = (&self.edges[column], &self.surprise[column]);
        let last = surprise.len();
        let worst = || surprise.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // The number of edges below the value: 0 before the first, `last + 1` beyond the last.
        let below = edges.partition_point(|edge| *edge < value);
        if below == 0 {
            let within = edges[0] - value <= (edges[1] - edges[0]) * self.tol;
            return if within { surprise[0] } else { worst() };
        }
        if below == last + 1 {
            let within = value - edges[last] <= (edges[last] - edges[last - 1]) * self.tol;
            return if within { surprise[last - 1] } else { worst() };
        }
        surprise[below - 1]
    }
}

fn check_config(config: &HbosConfig) -> Result<()> {
    let HbosConfig { n_bins, alpha, tol } = *config;
    check_setting(
        (2..=1_000_000).contains(&n_bins),
        "n_bins",
        n_bins,
        "2 to 1,000,000",
    )?;
    check_setting(
        alpha > 0.0 && alpha < 1.0,
        "alpha",
        alpha,
        "between 0 and 1",
    )?;
    check_setting((0.0..=1.0).contains(&tol), "tol", tol, "from 0 to 1")
}

/// numpy's `histogram_bin_edges`: even bins between the least and the greatest value; of a constant column around it.
fn bin_edges(values: &[f64], n_bins: usize) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low == high {
        (low - 0.5, high + 0.5)
    } else {
        (low, high)
    };
    let step = (high - low) / n_bins as f64;
    let mut edges: Vec<f64> = (0..n_bins).map(|i| i as f64 * step + low).collect();
    edges.push(high);
    edges
}

/// numpy's `histogram(density=True)`: a value on an edge counts in the bin to its right, on the last edge in the last.
fn density(values: &[f64], edges: &[f64]) -> Vec<f64> {
    let n_bins = edges.len() - 1;
    let mut counts = vec![0usize; n_bins];
    for &value in values {
        let bin = edges
            .partition_point(|edge| *edge <= value)
            .clamp(1, n_bins)
            - 1;
        counts[bin] += 1;
    }
    let total = values.len() as f64;
    let each = counts.iter().zip(edges.windows(2));
    each.map(|(&count, edge)| count as f64 / (edge[1] - edge[0]) / total)
        .collect()
}

impl Detector for Hbos {
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
        self.edges.len()
    }

    fn arrays(&self) -> Arrays {
        let n_bins = self.surprise.first().map_or(0, Vec::len);
        let mut arrays = Arrays::default();
        arrays.put("surprise", [self.width(), n_bins], self.surprise.concat());
        arrays.put("edges", [self.width(), n_bins + 1], self.edges.concat());
        arrays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_by_hand() {
        let rows = Matrix::new(vec![0.0, 0.0, 0.0, 1.0], 1).unwrap();
        let normal = NormalOnly::unlabelled(rows).unwrap();
        let config = HbosConfig {
            n_bins: 2,
            ..HbosConfig::default()
        };
        let fit = Hbos::fit(&normal, &config).unwrap();
        // Densities 3/4 and 1/4 over bins of 0.5: 1.5 and 0.5.
        let (many, few) = (-(1.6f64).log2(), -(0.6f64).log2());
        assert_eq!(fit.scores, [many, many, many, few]);
        let score = |value: f64| {
            let rows = Matrix::new(vec![value], 1).unwrap();
            fit.detector.score(&rows).unwrap()[0]
        };
        assert_eq!([score(-0.25), score(-0.26), score(0.5)], [many, few, many]);
        let back = Hbos::from_arrays(&config, &mut fit.detector.arrays()).unwrap();
        assert_eq!(back, fit.detector);
    }

    #[test]
    fn a_constant_column_has_bins_too() {
        let rows = Matrix::new(vec![3.0; 5], 1).unwrap();
        let normal = NormalOnly::unlabelled(rows).unwrap();
        let fit = Hbos::fit(&normal, &HbosConfig::default()).unwrap();
        assert!(fit.scores.iter().all(|score| score.is_finite()));
    }
}
