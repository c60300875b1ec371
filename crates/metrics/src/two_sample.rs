//! Two-sample tests beside [`ks_2samp`](crate::ks_2samp): chi-squared for categories, and the maximum
//! mean discrepancy for several columns at once.

use crate::{MetricError, Result, Score, check};
use serde::Serialize;
use statrs::function::gamma::checked_gamma_ur;

/// What a chi-squared test of independence found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Chi2Test {
    /// Pearson's statistic.
    pub statistic: f64,
    /// Chance of one at least as large if rows and columns are independent.
    pub p_value: f64,
    /// Degrees of freedom.
    pub dof: usize,
}

/// Pearson's test that the rows of a table of counts `[rows, columns]` share one distribution:
/// `scipy.stats.chi2_contingency`, with its continuity correction at one degree of freedom.
///
/// Columns of zeros count nothing (SciPy refuses them): a category that neither sample has.
///
/// # Errors
/// A table that is not rectangular; undefined where a row is all zeros. One column (or one row)
/// gives statistic 0 and p-value 1.
pub fn chi2_contingency(counts: &[u64], num_rows: usize) -> Result<Chi2Test> {
    const METRIC: &str = "the chi-squared test";
    if num_rows == 0 || !counts.len().is_multiple_of(num_rows) {
        return Err(MetricError::Argument {
            name: "num_rows",
            value: num_rows.to_string(),
            expected: "a divisor of the number of counts",
        });
    }
    check::not_empty(METRIC, counts.len())?;
    let width = counts.len() / num_rows;
    let rows: Vec<f64> = counts
        .chunks(width)
        .map(|row| row.iter().sum::<u64>() as f64)
        .collect();
    if let Some(row) = rows.iter().position(|&total| total == 0.0) {
        return Err(MetricError::Undefined {
            metric: METRIC,
            why: format!("row {row} counts nothing"),
        });
    }
    let column = |c: usize| counts.iter().skip(c).step_by(width).sum::<u64>() as f64;
    let columns: Vec<f64> = (0..width).map(column).collect();
    let total: f64 = rows.iter().sum();
    let used = columns.iter().filter(|&&c| c > 0.0).count();
    let dof = (num_rows - 1) * used.saturating_sub(1);
    if dof == 0 {
        return Ok(Chi2Test {
            statistic: 0.0,
            p_value: 1.0,
            dof,
        });
    }
    let mut statistic = 0.0;
    for (row, cells) in rows.iter().zip(counts.chunks(width)) {
        for (&all, &found) in columns.iter().zip(cells).filter(|&(&all, _)| all > 0.0) {
            let expected = row * all / total;
            let gap = (found as f64 - expected).abs();
            let corrected = if dof == 1 { gap - gap.min(0.5) } else { gap };
            statistic += corrected * corrected / expected;
        }
    }
    let p_value = if statistic == 0.0 {
        1.0
    } else {
        checked_gamma_ur(dof as f64 / 2.0, statistic / 2.0).map_err(|e| MetricError::Undefined {
            metric: METRIC,
            why: e.to_string(),
        })?
    };
    Ok(Chi2Test {
        statistic,
        p_value,
        dof,
    })
}

/// The squared maximum mean discrepancy between two samples under a Gaussian kernel (Gretton et al.
/// 2012, "A Kernel Two-Sample Test").
///
/// The kernel is `exp(-|a - b|^2 / (2 bandwidth^2))`; the estimate is their unbiased one (equation 3),
/// which can fall below 0. It keeps the kernel matrix of the pooled rows, `(n + m)^2` numbers, so that
/// a permutation costs no kernel again.
#[derive(Clone, Debug)]
pub struct MmdTest {
    /// `[rows, rows]` of the pooled rows, with zeros on the diagonal.
    kernel: Vec<f64>,
    num_rows: usize,
    num_x: usize,
    bandwidth: f64,
}

impl MmdTest {
    /// Takes `x` and `y` as row-major tables of `num_columns`; the bandwidth is
    /// [`median_bandwidth`] of both where it is `None`.
    ///
    /// # Errors
    /// Fewer than two rows on a side, tables that do not divide into rows, values that are not finite,
    /// a bandwidth that is not positive.
    pub fn new<S: Score>(
        x: &[S],
        y: &[S],
        num_columns: usize,
        bandwidth: Option<f64>,
    ) -> Result<Self> {
        let rows = |what, table: &[S]| {
            let values = check::finite(what, table)?;
            if num_columns == 0 || !values.len().is_multiple_of(num_columns) {
                return Err(MetricError::Argument {
                    name: "num_columns",
                    value: num_columns.to_string(),
                    expected: "a divisor of the length of both tables",
                });
            }
            if values.len() < 2 * num_columns {
                return Err(MetricError::Undefined {
                    metric: "the maximum mean discrepancy",
                    why: format!("{what} has fewer than two rows"),
                });
            }
            Ok(values)
        };
        let (mut pooled, y) = (rows("x", x)?, rows("y", y)?);
        let num_x = pooled.len() / num_columns;
        pooled.extend(y);
        let num_rows = pooled.len() / num_columns;
        let mut kernel = squared_distances(&pooled, num_columns);
        let bandwidth = bandwidth.unwrap_or_else(|| median_of_upper(&kernel, num_rows));
        if !(bandwidth > 0.0 && bandwidth.is_finite()) {
            return Err(MetricError::Argument {
                name: "bandwidth",
                value: bandwidth.to_string(),
                expected: "a positive number",
            });
        }
        let scale = -1.0 / (2.0 * bandwidth * bandwidth);
        for (at, cell) in kernel.iter_mut().enumerate() {
            let on_diagonal = at / num_rows == at % num_rows;
            *cell = if on_diagonal {
                0.0
            } else {
                (*cell * scale).exp()
            };
        }
        Ok(Self {
            kernel,
            num_rows,
            num_x,
            bandwidth,
        })
    }

    /// The kernel's bandwidth, in the unit of the columns.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// Number of rows of both tables together: what a permutation permutes.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// The unbiased estimate of MMD².
    pub fn statistic(&self) -> f64 {
        let rows: Vec<usize> = (0..self.num_rows).collect();
        self.permuted(&rows)
    }

    /// The estimate when the first rows of `order` stand for `x` and the others for `y`.
    fn permuted(&self, order: &[usize]) -> f64 {
        let mut is_x = vec![false; self.num_rows];
        order[..self.num_x].iter().for_each(|&row| is_x[row] = true);
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for (row, cells) in self.kernel.chunks(self.num_rows).enumerate() {
            let (mut to_x, mut to_y) = (0.0, 0.0);
            for (cell, &other) in cells.iter().zip(&is_x) {
                if other {
                    to_x += cell;
                } else {
                    to_y += cell;
                }
            }
            if is_x[row] {
                xx += to_x;
                xy += to_y;
            } else {
                yy += to_y;
            }
        }
        let (n, m) = (self.num_x as f64, (self.num_rows - self.num_x) as f64);
        xx / (n * (n - 1.0)) + yy / (m * (m - 1.0)) - 2.0 * xy / (n * m)
    }

    /// The share of `permutations` of the pooled rows whose estimate is at least the observed one, the
    /// observed one among them, as `scipy.stats.permutation_test` counts.
    ///
    /// # Errors
    /// An order that does not hold every row once.
    pub fn p_value(&self, permutations: impl IntoIterator<Item = Vec<usize>>) -> Result<f64> {
        let observed = self.statistic();
        // Sums in another order differ in the last digits; SciPy allows the same.
        let slack = observed.abs() * 1e-14_f64.max(100.0 * f64::EPSILON);
        let (mut drawn, mut reached) = (0u64, 0u64);
        for order in permutations {
            let mut seen = vec![false; self.num_rows];
            for &row in &order {
                if row >= self.num_rows || std::mem::replace(&mut seen[row], true) {
                    return Err(MetricError::LabelOutOfRange {
                        what: "a permutation",
                        index: drawn as usize,
                        label: row,
                        num_classes: self.num_rows,
                    });
                }
            }
            check::same_length(("a permutation", order.len()), ("rows", self.num_rows))?;
            drawn += 1;
            reached += u64::from(self.permuted(&order) >= observed - slack);
        }
        Ok((reached + 1) as f64 / (drawn + 1) as f64)
    }
}

/// The median Euclidean distance between two different rows of a table, Gretton's choice of a bandwidth;
/// the mean of the middle two for an even number of pairs. 1 where that is 0 (most rows are equal).
///
/// # Errors
/// Fewer than two rows, or values that are not finite.
pub fn median_bandwidth<S: Score>(table: &[S], num_columns: usize) -> Result<f64> {
    let values = check::finite("table", table)?;
    if num_columns == 0 || values.len() < 2 * num_columns {
        return Err(MetricError::Undefined {
            metric: "the median distance",
            why: "there are fewer than two rows".into(),
        });
    }
    let distances = squared_distances(&values, num_columns);
    Ok(median_of_upper(&distances, values.len() / num_columns))
}

/// `[rows, rows]` of squared Euclidean distances.
fn squared_distances(table: &[f64], num_columns: usize) -> Vec<f64> {
    let rows: Vec<&[f64]> = table.chunks_exact(num_columns).collect();
    let mut distances = vec![0.0; rows.len() * rows.len()];
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate().skip(i + 1) {
            let sum: f64 = a.iter().zip(*b).map(|(a, b)| (a - b) * (a - b)).sum();
            distances[i * rows.len() + j] = sum;
            distances[j * rows.len() + i] = sum;
        }
    }
    distances
}

fn median_of_upper(squared: &[f64], num_rows: usize) -> f64 {
    let upper = (0..num_rows).flat_map(|i| &squared[i * num_rows + i + 1..(i + 1) * num_rows]);
    let mut distances: Vec<f64> = upper.map(|d| d.sqrt()).collect();
    distances.sort_by(f64::total_cmp);
    let half = distances.len() / 2;
    let median = if distances.len() % 2 == 1 {
        distances[half]
    } else {
        f64::midpoint(distances[half - 1], distances[half])
    };
    if median == 0.0 { 1.0 } else { median }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_do_not_differ() {
        let test = chi2_contingency(&[10, 20, 30, 20, 40, 60], 2).unwrap();
        assert_eq!(test.dof, 2);
        assert!(test.statistic.abs() < 1e-12 && test.p_value > 1.0 - 1e-12);
        // One category in all: nothing to compare.
        let one = chi2_contingency(&[10, 0, 20, 0], 2).unwrap();
        assert_eq!((one.dof, one.p_value), (0, 1.0));
    }

    #[test]
    fn tables_that_say_nothing_are_refused() {
        assert!(chi2_contingency(&[1, 2, 3], 2).is_err());
        assert!(chi2_contingency(&[], 2).is_err());
        let text = chi2_contingency(&[1, 2, 0, 0], 2).unwrap_err().to_string();
        assert!(text.contains("row 1 counts nothing"), "{text}");
    }

    #[test]
    fn far_samples_are_far_and_permutations_tell() {
        let (x, y) = ([0.0, 0.1, 0.2, 0.3], [9.0, 9.1, 9.2, 9.3]);
        let test = MmdTest::new(&x, &y, 1, Some(1.0)).unwrap();
        assert!(test.statistic() > 1.9, "{}", test.statistic());
        let same: Vec<usize> = (0..8).collect();
        let mixed = vec![0, 4, 1, 5, 2, 6, 3, 7];
        // The observed order and its copy reach it; the mixed one does not.
        let p = test.p_value([same, mixed]).unwrap();
        assert_eq!(p, 2.0 / 3.0);
        assert!(test.p_value([vec![0; 8]]).is_err());
        assert!(test.p_value([vec![0, 1]]).is_err());
    }

    #[test]
    fn bandwidth_by_hand() {
        // Distances 1, 2, 3.
        assert_eq!(median_bandwidth(&[0.0, 1.0, 3.0], 1).unwrap(), 2.0);
        assert_eq!(median_bandwidth(&[5.0, 5.0], 1).unwrap(), 1.0);
        assert!(median_bandwidth(&[1.0], 1).is_err());
        assert!(MmdTest::new(&[1.0, 2.0], &[1.0], 1, None).is_err());
        assert!(MmdTest::new(&[1.0, 2.0], &[1.0, 2.0], 1, Some(0.0)).is_err());
    }
}
