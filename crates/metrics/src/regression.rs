//! How far predicted numbers are from true ones (`sklearn.metrics`).

use crate::{Result, Score, check};

/// The mean of the squared differences: `sklearn.metrics.mean_squared_error`.
pub fn mean_squared_error<S: Score, T: Score>(y_true: &[S], y_pred: &[T]) -> Result<f64> {
    mean("mean squared error", y_true, y_pred, |difference| {
        difference * difference
    })
}

/// The root of [`mean_squared_error`], RMSE: `sklearn.metrics.root_mean_squared_error`.
pub fn root_mean_squared_error<S: Score, T: Score>(y_true: &[S], y_pred: &[T]) -> Result<f64> {
    Ok(mean_squared_error(y_true, y_pred)?.sqrt())
}

/// The mean of the absolute differences, MAE: `sklearn.metrics.mean_absolute_error`.
pub fn mean_absolute_error<S: Score, T: Score>(y_true: &[S], y_pred: &[T]) -> Result<f64> {
    mean("mean absolute error", y_true, y_pred, f64::abs)
}

fn mean<S: Score, T: Score>(
    metric: &'static str,
    y_true: &[S],
    y_pred: &[T],
    of: impl Fn(f64) -> f64,
) -> Result<f64> {
    check::same_length(("y_pred", y_pred.len()), ("y_true", y_true.len()))?;
    check::not_empty(metric, y_true.len())?;
    let (y_true, y_pred) = (
        check::finite("y_true", y_true)?,
        check::finite("y_pred", y_pred)?,
    );
    let sum: f64 = y_true.iter().zip(&y_pred).map(|(t, p)| of(t - p)).sum();
    Ok(sum / y_true.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_scikit_learn() {
        // From the docstrings of sklearn.metrics 1.9.1.
        let (truth, found) = ([3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]);
        assert_eq!(mean_squared_error(&truth, &found).unwrap(), 0.375);
        assert_eq!(mean_absolute_error(&truth, &found).unwrap(), 0.5);
        assert!((root_mean_squared_error(&truth, &found).unwrap() - 0.612_372_435_7).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let none: [f64; 0] = [];
        assert!(mean_squared_error(&none, &none).is_err());
        assert!(mean_absolute_error(&[1.0], &[1.0, 2.0]).is_err());
        assert!(root_mean_squared_error(&[1.0], &[f64::NAN]).is_err());
    }
}
