//! Correlation of two series: Pearson's and Spearman's (`scipy.stats.pearsonr`, `spearmanr`).
//! Matthews' coefficient is [`ConfusionMatrix::matthews_corrcoef`](crate::ConfusionMatrix).

use crate::{MetricError, Result, Score, check};

/// Pearson's correlation coefficient of `x` and `y`, between -1 and 1.
///
/// Undefined for fewer than two samples and where either series is constant (SciPy refuses the
/// former and answers NaN for the latter).
pub fn pearsonr<S: Score, T: Score>(x: &[S], y: &[T]) -> Result<f64> {
    let (x, y) = series("Pearson's correlation", x, y)?;
    correlation("Pearson's correlation", &x, &y)
}

/// Spearman's rank correlation of `x` and `y`, between -1 and 1: Pearson's of the ranks, equal
/// values sharing the mean of theirs.
///
/// Undefined for fewer than two samples and where either series is constant (SciPy answers NaN).
pub fn spearmanr<S: Score, T: Score>(x: &[S], y: &[T]) -> Result<f64> {
    let (x, y) = series("Spearman's correlation", x, y)?;
    correlation("Spearman's correlation", &ranks(&x), &ranks(&y))
}

fn series<S: Score, T: Score>(
    metric: &'static str,
    x: &[S],
    y: &[T],
) -> Result<(Vec<f64>, Vec<f64>)> {
    check::same_length(("y", y.len()), ("x", x.len()))?;
    check::not_empty(metric, x.len())?;
    Ok((check::finite("x", x)?, check::finite("y", y)?))
}

fn correlation(metric: &'static str, x: &[f64], y: &[f64]) -> Result<f64> {
    let undefined = |why: String| Err(MetricError::Undefined { metric, why });
    if x.len() < 2 {
        return undefined("there is one sample; it needs two".into());
    }
    for (name, values) in [("x", x), ("y", y)] {
        // Compared before the mean is taken off: rounding leaves a constant series not quite 0.
        if values.iter().all(|value| *value == values[0]) {
            return undefined(format!("{name} is {} throughout", values[0]));
        }
    }
    if let ([x0, x1], [y0, y1]) = (x, y) {
        return Ok((x1 - x0).signum() * (y1 - y0).signum());
    }
    let (Some(x), Some(y)) = (unit(x), unit(y)) else {
        return undefined("a series varies by less than f64 resolves".into());
    };
    let product: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
    Ok(product.clamp(-1.0, 1.0))
}

/// The series less its mean, scaled to length one; `None` if nothing is left of it. Divided by its
/// largest element before and after, so that no sum or square overflows or vanishes.
fn unit(values: &[f64]) -> Option<Vec<f64>> {
    let scaled = divided(values, largest(values))?;
    let mean = scaled.iter().sum::<f64>() / scaled.len() as f64;
    let centred: Vec<f64> = scaled.iter().map(|value| value - mean).collect();
    let scaled = divided(&centred, largest(&centred))?;
    let norm = scaled.iter().map(|value| value * value).sum::<f64>().sqrt();
    divided(&scaled, norm)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, value| max.max(value.abs()))
}

fn divided(values: &[f64], by: f64) -> Option<Vec<f64>> {
    (by > 0.0).then(|| values.iter().map(|value| value / by).collect())
}

/// Ranks from 1, equal values sharing the mean of theirs (`scipy.stats.rankdata`).
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    // `==` and not the sort's order: 0.0 and -0.0 are one value.
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &index in group {
            ranks[index] = below as f64 + (group.len() + 1) as f64 / 2.0;
        }
        below += group.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_the_mean_rank() {
        assert_eq!(
            ranks(&[3.0, -0.0, 7.0, 0.0, 3.0, 3.0]),
            [4.0, 1.5, 6.0, 1.5, 4.0, 4.0]
        );
    }

    #[test]
    fn a_line_correlates_wholly_at_any_scale() {
        let x = [-1e308, 0.0, 1e308];
        assert!((pearsonr(&x, &[1.0f32, 2.0, 3.0]).unwrap() - 1.0).abs() < 1e-12);
        assert!((pearsonr(&x, &[2e-300, 1e-300, 0.0]).unwrap() + 1.0).abs() < 1e-12);
        assert!((pearsonr(&x, &[5e-324, 1e-323, 1.5e-323]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(pearsonr(&[1.0, 2.0], &[5.0, 4.0]).unwrap(), -1.0);
    }

    #[test]
    fn bad_series_are_named() {
        let text = |r: Result<f64>| r.unwrap_err().to_string();
        assert_eq!(
            text(pearsonr(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0])),
            "Pearson's correlation is undefined: x is 0.1 throughout"
        );
        assert!(text(spearmanr(&[1.0], &[2.0])).contains("one sample"));
        assert!(text(pearsonr::<f64, f64>(&[], &[])).contains("no samples"));
        assert!(text(pearsonr(&[1.0, 2.0], &[1.0])).contains("y has 1 elements; expected 2"));
        assert!(text(spearmanr(&[1.0, 2.0], &[f32::NAN, 1.0])).contains("y[0] is NaN"));
    }
}
