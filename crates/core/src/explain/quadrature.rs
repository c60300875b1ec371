//! Points and weights on \[0, 1\] for the path integral of integrated gradients, as captum has
//! them (`captum.attr._utils.approximation_methods`).

use super::check::at_least;
use crate::Result;
use std::f64::consts::PI;

/// How the integral is approximated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quadrature {
    /// Gauss-Legendre: exact for polynomials up to degree `2 * steps - 1`; captum's default.
    #[default]
    GaussLegendre,
    /// Left ends of equal intervals.
    RiemannLeft,
    /// Right ends.
    RiemannRight,
    /// Midpoints.
    RiemannMiddle,
    /// `steps` points from 0 to 1, each weighing `1 / steps` and the two ends half of it: captum's
    /// rule, whose weights sum to `1 - 1 / steps`.
    RiemannTrapezoid,
}

impl Quadrature {
    /// Pairs of (position, weight), by position; a Riemann rule needs two steps or more.
    pub(super) fn points(self, steps: usize) -> Result<Vec<(f64, f64)>> {
        let n = steps as f64;
        let spaced = |from: f64, to: f64| move |i: usize| from + (to - from) * i as f64 / (n - 1.0);
        let equal = |position: &dyn Fn(usize) -> f64| {
            at_least("steps", steps, 2)?;
            Ok((0..steps)
                .map(|i| (position(i), 1.0 / n))
                .collect::<Vec<_>>())
        };
        match self {
            Self::GaussLegendre => {
                at_least("steps", steps, 1)?;
                Ok((0..steps).map(|i| gauss_legendre(steps, i)).collect())
            }
            Self::RiemannLeft => equal(&spaced(0.0, 1.0 - 1.0 / n)),
            Self::RiemannRight => equal(&spaced(1.0 / n, 1.0)),
            Self::RiemannMiddle => equal(&spaced(0.5 / n, 1.0 - 0.5 / n)),
            Self::RiemannTrapezoid => {
                let mut points = equal(&spaced(0.0, 1.0))?;
                points[0].1 /= 2.0;
                points[steps - 1].1 /= 2.0;
                Ok(points)
            }
        }
    }
}

/// Node `i` of `n`, from the left, with its weight: a root of the Legendre polynomial, by Newton's
/// method from the classic cosine estimate (Press et al., Numerical Recipes, 4.6).
fn gauss_legendre(n: usize, i: usize) -> (f64, f64) {
    let mut x = -(PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
    // Quadratic convergence: the estimate is good to 1e-2 or better, so six rounds reach f64.
    for _ in 0..6 {
        let (value, slope) = legendre(n, x);
        x -= value / slope;
    }
    let (_, slope) = legendre(n, x);
    (0.5 * (1.0 + x), 1.0 / ((1.0 - x * x) * slope * slope))
}

/// The Legendre polynomial of degree `n` at `x`, and its derivative.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for k in 2..=n {
        let k = k as f64;
        (before, value) = (
            value,
            ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k,
        );
    }
    (value, n as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauss_legendre_by_hand() {
        let points = Quadrature::GaussLegendre.points(2).unwrap();
        let node = 0.5 / 3.0f64.sqrt();
        assert!(
            (points[0].0 - (0.5 - node)).abs() < 1e-15
                && (points[1].0 - (0.5 + node)).abs() < 1e-15
        );
        assert!((points[0].1 - 0.5).abs() < 1e-15);
        assert_eq!(Quadrature::GaussLegendre.points(1).unwrap(), [(0.5, 1.0)]);
    }

    #[test]
    fn gauss_legendre_is_exact_for_polynomials() {
        for steps in [1, 3, 10, 50, 200] {
            let points = Quadrature::GaussLegendre.points(steps).unwrap();
            assert!(points.is_sorted_by(|a, b| a.0 < b.0));
            for degree in 0..2 * steps as i32 {
                let sum: f64 = points.iter().map(|(x, w)| w * x.powi(degree)).sum();
                let exact = 1.0 / f64::from(degree + 1);
                assert!(
                    (sum - exact).abs() < 1e-13,
                    "{steps} steps, degree {degree}: {sum}"
                );
            }
        }
    }

    #[test]
    fn riemann_by_hand() {
        let positions = |rule: Quadrature| -> Vec<f64> {
            rule.points(4)
                .unwrap()
                .into_iter()
                .map(|(x, _)| x)
                .collect()
        };
        assert_eq!(positions(Quadrature::RiemannLeft), [0.0, 0.25, 0.5, 0.75]);
        assert_eq!(positions(Quadrature::RiemannRight), [0.25, 0.5, 0.75, 1.0]);
        assert_eq!(
            positions(Quadrature::RiemannMiddle),
            [0.125, 0.375, 0.625, 0.875]
        );
        let ends = Quadrature::RiemannTrapezoid.points(2).unwrap();
        assert_eq!(ends, [(0.0, 0.25), (1.0, 0.25)]);
    }

    #[test]
    fn too_few_steps_are_refused() {
        assert!(Quadrature::GaussLegendre.points(0).is_err());
        let text = Quadrature::RiemannLeft.points(1).unwrap_err().to_string();
        assert!(text.contains("at least 2"), "{text}");
    }
}
