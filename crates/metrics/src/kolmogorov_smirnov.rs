//! The two-sample Kolmogorov-Smirnov test, equal to `scipy.stats.ks_2samp` (two-sided).

use crate::{MetricError, Result, Score, check};
use serde::Serialize;

/// Sample size up to which the p-value is exact: where SciPy's `method="auto"` draws the line.
const MAX_EXACT: usize = 10_000;

/// How a p-value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KsMethod {
    /// By counting the ways to interleave the samples.
    Exact,
    /// By the distribution of the one-sample statistic at `n m / (n + m)` samples.
    Asymptotic,
}

/// What the test found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KsTest {
    /// The largest distance between the two empirical distribution functions.
    pub statistic: f64,
    /// Chance of a distance at least as large if both samples come from one distribution.
    pub p_value: f64,
    /// How that chance was computed.
    pub method: KsMethod,
}

/// The two-sided test of two samples; exact up to 10,000 values a sample, as SciPy's default.
///
/// # Errors
/// An empty sample, or a value that is not finite.
pub fn ks_2samp<S: Score>(x: &[S], y: &[S]) -> Result<KsTest> {
    for sample in [x, y] {
        check::not_empty("the Kolmogorov-Smirnov test", sample.len())?;
    }
    let sorted = |what, sample| -> Result<Vec<f64>> {
        let mut values = check::finite(what, sample)?;
        values.sort_by(f64::total_cmp);
        Ok(values)
    };
    let (x, y) = (sorted("x", x)?, sorted("y", y)?);
    let (m, n) = (x.len(), y.len());
    let statistic = distance(&x, &y);
    let (p_value, method) = if m.max(n) <= MAX_EXACT {
        (exact(m, n, statistic), KsMethod::Exact)
    } else {
        let samples = (m as f64 * n as f64 / (m + n) as f64).round_ties_even();
        (one_sample(samples, statistic), KsMethod::Asymptotic)
    };
    if p_value.is_nan() {
        return Err(MetricError::Undefined {
            metric: "the Kolmogorov-Smirnov p-value",
            why: format!("it has no value at a distance of {statistic}"),
        });
    }
    Ok(KsTest {
        statistic,
        p_value: p_value.clamp(0.0, 1.0),
        method,
    })
}

/// The largest gap between the empirical distribution functions of two ascending samples.
fn distance(x: &[f64], y: &[f64]) -> f64 {
    let (mut i, mut j, mut largest) = (0, 0, 0.0f64);
    while i < x.len() && j < y.len() {
        let at = x[i].min(y[j]);
        while i < x.len() && x[i] <= at {
            i += 1;
        }
        while j < y.len() && y[j] <= at {
            j += 1;
        }
        let gap = i as f64 / x.len() as f64 - j as f64 / y.len() as f64;
        largest = largest.max(gap.abs());
    }
    largest
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The share of all orders of `m` and `n` values that reach a distance of `d` (Hodges 1957): a walk
/// over the grid of counts in which a cell keeps the share of paths to it that touched the boundary.
/// Only shares are added, so that small ones keep their digits.
fn exact(m: usize, n: usize, d: f64) -> f64 {
    let lcm = m / gcd(m, n) * n;
    // Distances are multiples of 1 / lcm; compared as integers, as SciPy does.
    let boundary = (d * lcm as f64).round_ties_even() as i64;
    if boundary == 0 {
        return 1.0;
    }
    let (step_x, step_y) = ((lcm / m) as i64, (lcm / n) as i64);
    let outside = |i: usize, j: usize| (i as i64 * step_x - j as i64 * step_y).abs() >= boundary;
    let mut touched = vec![0.0f64; n + 1];
    for i in 0..=m {
        for j in 0..=n {
            touched[j] = if outside(i, j) {
                1.0
            } else if i == 0 {
                if j == 0 { 0.0 } else { touched[j - 1] }
            } else if j == 0 {
                touched[0]
            } else {
                let share = i as f64 / (i + j) as f64;
                touched[j] * share + touched[j - 1] * (1.0 - share)
            };
        }
    }
    touched[n]
}

/// Chance that the one-sample statistic of `n` values is at least `d`: twice the one-sided chance
/// where that is exact to all digits, else Pelz and Good's series (Simard and L'Ecuyer 2011).
fn one_sample(n: f64, d: f64) -> f64 {
    if d >= 1.0 {
        return 0.0;
    }
    if d <= 0.0 {
        return 1.0;
    }
    let squared = n * d * d;
    if d >= 0.5 || squared >= 2.2 {
        if squared >= 370.0 {
            return 0.0;
        }
        return 2.0 * one_sided(n, d);
    }
    1.0 - pelz_good(n, d)
}

/// Smirnov's exact chance that the one-sided statistic of `n` values is at least `d`.
fn one_sided(n: f64, d: f64) -> f64 {
    let last = (n * (1.0 - d)).floor() as usize;
    let mut log_choose = 0.0;
    let mut sum = 0.0;
    for v in 0..=last {
        let k = v as f64;
        if v > 0 {
            log_choose += ((n - k + 1.0) / k).ln();
        }
        let (low, high) = (d + k / n, 1.0 - d - k / n);
        if high <= 0.0 {
            // Only the last term, whose power is 0 unless its exponent is.
            if k < n {
                continue;
            }
            sum += (log_choose + (k - 1.0) * low.ln()).exp();
            continue;
        }
        sum += (log_choose + (k - 1.0) * low.ln() + (n - k) * high.ln()).exp();
    }
    d * sum
}

/// Pelz and Good's (1976) series for the distribution function, to the order of `n^(-3/2)`.
fn pelz_good(n: f64, d: f64) -> f64 {
    const PI: f64 = std::f64::consts::PI;
    let (pi2, pi4, pi6) = (PI.powi(2), PI.powi(4), PI.powi(6));
    let root = n.sqrt();
    let z = root * d;
    let (z2, z3, z4, z6) = (z * z, z.powi(3), z.powi(4), z.powi(6));
    let decay = |k: f64| (-k * k * pi2 / (2.0 * z2)).exp();
    let mut odd = [0.0; 4];
    for k in 0..40 {
        // Half-integers k + 1/2.
        let h = f64::from(k) + 0.5;
        let (h2, h4, h6) = (h * h, h.powi(4), h.powi(6));
        let e = decay(h);
        odd[0] += e;
        odd[1] += (pi2 * h2 - z2) * e;
        odd[2] +=
            (6.0 * z6 + 2.0 * z4 + pi2 * (2.0 * z4 - 5.0 * z2) * h2 + pi4 * (1.0 - 2.0 * z2) * h4)
                * e;
        odd[3] += (-30.0 * z6 - 90.0 * z2.powi(4)
            + pi2 * (135.0 * z4 - 96.0 * z6) * h2
            + pi4 * (212.0 * z4 - 60.0 * z2) * h4
            + pi6 * h6 * (5.0 - 30.0 * z2))
            * e;
    }
    let (mut even2, mut even3) = (0.0, 0.0);
    for k in 1..40 {
        let k = f64::from(k);
        let (k2, k4) = (k * k, k.powi(4));
        let e = decay(k);
        even2 += pi2 * k2 * e;
        even3 += (3.0 * pi2 * k2 * z2 - pi4 * k4) * e;
    }
    let half = (PI / 2.0).sqrt();
    let order0 = 2.0 * half / z * odd[0];
    // The half-integer sums run over both signs.
    let order1 = half / (3.0 * z4) * odd[1];
    let order2 = half / (36.0 * z.powi(7)) * odd[2] - half / (18.0 * z3) * even2;
    let order3 = half / (3240.0 * z.powi(10)) * odd[3] + half / (108.0 * z6) * even3;
    (order0 + order1 / root + order2 / n + order3 / (n * root)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_gap_of_small_samples() {
        let test = ks_2samp(&[1.0, 2.0], &[3.0, 4.0]).unwrap();
        // Two of the six orders are this extreme.
        assert_eq!((test.statistic, test.method), (1.0, KsMethod::Exact));
        assert!((test.p_value - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn equal_samples_do_not_differ() {
        let test = ks_2samp(&[1.0, 1.0, 2.0], &[1.0, 1.0, 2.0]).unwrap();
        assert_eq!((test.statistic, test.p_value), (0.0, 1.0));
    }

    #[test]
    fn bad_samples_are_named() {
        assert!(ks_2samp::<f64>(&[], &[1.0]).is_err());
        let text = ks_2samp(&[1.0, f64::NAN], &[1.0]).unwrap_err().to_string();
        assert!(text.contains("x[1] is NaN"), "{text}");
    }
}
