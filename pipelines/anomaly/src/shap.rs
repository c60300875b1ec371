//! Shapley values: what each player adds to a game, over all orders in which they could come.
//!
//! Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions" (2017). A game is given by the worth of a set
//! of players; here a player is a column of a table, and the worth of a set the mean score of rows that have these
//! columns from the row to be explained and the others from known rows.

use faer::{Mat, linalg::solvers::Solve};
use panoply_core::{Error, Result, seed};

/// Players up to which every set is looked at.
pub const MAX_EXACT: usize = 10;

/// Players that [`exact`] can be asked for: a million sets.
const MAX_PLAYERS: usize = 20;

/// A set of players.
pub type Coalition = Vec<bool>;

/// Exact values, by the worth of all `2^n` sets. They add up to the worth of all minus that of none.
///
/// # Errors
/// More than 20 players, and what `worth` says.
pub fn exact(
    num_players: usize,
    worth: impl Fn(&[Coalition]) -> Result<Vec<f64>>,
) -> Result<Vec<f64>> {
    if num_players > MAX_PLAYERS {
        let expected = format!("at most {MAX_PLAYERS}, or kernel SHAP");
        return Err(Error::input("players", num_players.to_string(), expected));
    }
    let sets: Vec<Coalition> = (0..1usize << num_players)
        .map(|s| members(s, num_players))
        .collect();
    let worths = checked(worth(&sets)?, sets.len());
    // |S|! (n - |S| - 1)! / n!, as 1 / (n * binomial(n - 1, |S|)).
    let weight = |size: usize| 1.0 / (num_players as f64 * binomial(num_players - 1, size));
    let value = |player: usize| {
        let without = (0..sets.len()).filter(|s| s >> player & 1 == 0);
        let gain = |s: usize| {
            let size = s.count_ones() as usize;
            weight(size) * (worths[s | 1 << player] - worths[s])
        };
        without.map(gain).sum()
    };
    Ok((0..num_players).map(value).collect())
}

/// Kernel SHAP: the weighted regression whose solution the Shapley values are, on `num_sets` sampled sets and their
/// complements; on all sets where there are no more than that, which gives the exact values.
///
/// # Errors
/// Fewer than two players, too few sets to solve for the values, and what `worth` says.
pub fn kernel(
    num_players: usize,
    num_sets: usize,
    seed: u64,
    worth: impl Fn(&[Coalition]) -> Result<Vec<f64>>,
) -> Result<Vec<f64>> {
    if num_players < 2 {
        return exact(num_players, worth);
    }
    let (inner, weights) = sampled(num_players, num_sets, seed);
    let mut sets = vec![vec![false; num_players], vec![true; num_players]];
    sets.extend(inner);
    let worths = checked(worth(&sets)?, sets.len());
    let (none, all) = (worths[0], worths[1]);
    // The values add up to `all - none`: the last is what the others leave over.
    let free = num_players - 1;
    let mut normal = Mat::<f64>::zeros(free, free);
    let mut right = Mat::<f64>::zeros(free, 1);
    for ((set, &worth), &weight) in sets[2..].iter().zip(&worths[2..]).zip(&weights) {
        let last = f64::from(u8::from(set[free]));
        let x: Vec<f64> = set[..free]
            .iter()
            .map(|&m| f64::from(u8::from(m)) - last)
            .collect();
        let y = worth - none - last * (all - none);
        for i in 0..free {
            right[(i, 0)] += weight * x[i] * y;
            for j in 0..free {
                normal[(i, j)] += weight * x[i] * x[j];
            }
        }
    }
    let solution = normal.full_piv_lu().solve(&right);
    let mut values: Vec<f64> = (0..free).map(|i| solution[(i, 0)]).collect();
    values.push(all - none - values.iter().sum::<f64>());
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    let what = format!("{num_sets} sets of {num_players} players");
    Err(Error::input(
        "kernel SHAP",
        what,
        "more sets: they do not determine the values",
    ))
}

/// Sets that are neither empty nor all, with their weights in the regression.
fn sampled(num_players: usize, num_sets: usize, seed: u64) -> (Vec<Coalition>, Vec<f64>) {
    let kernel = |size: usize| {
        let others = num_players - size;
        (num_players - 1) as f64 / (binomial(num_players, size) * (size * others) as f64)
    };
    if num_players < usize::BITS as usize - 1 && (1usize << num_players) - 2 <= num_sets {
        let all = 1..(1usize << num_players) - 1;
        let weights = all
            .clone()
            .map(|s| kernel(s.count_ones() as usize))
            .collect();
        return (all.map(|s| members(s, num_players)).collect(), weights);
    }
    // A size is drawn by the weight that all sets of it have together; the members are then equally likely, so that
    // every draw counts the same.
    let shares: Vec<f64> = (1..num_players)
        .map(|size| 1.0 / (size * (num_players - size)) as f64)
        .collect();
    let total: f64 = shares.iter().sum();
    let mut sets = Vec::with_capacity(num_sets);
    for pair in 0..num_sets.div_ceil(2) as u64 {
        let unit = |at: u64| (seed::derive(&[seed, pair, at]) >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = unit(0) * total;
        let size = shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        let size = size.map_or(num_players - 1, |at| at + 1);
        let mut order: Vec<usize> = (0..num_players).collect();
        let mut set = vec![false; num_players];
        for i in 0..size {
            let j = i + (unit(1 + i as u64) * (num_players - i) as f64) as usize;
            order.swap(i, j.min(num_players - 1));
            set[order[i]] = true;
        }
        sets.push(set.iter().map(|member| !member).collect());
        sets.push(set);
    }
    let weights = vec![1.0; sets.len()];
    (sets, weights)
}

fn members(set: usize, num_players: usize) -> Coalition {
    (0..num_players)
        .map(|player| set >> player & 1 == 1)
        .collect()
}

fn binomial(n: usize, k: usize) -> f64 {
    (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product()
}

fn checked(worths: Vec<f64>, expected: usize) -> Vec<f64> {
    assert_eq!(worths.len(), expected, "one worth a set");
    worths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A game in which players help and hinder each other.
    fn worth(set: &[bool]) -> f64 {
        let x: Vec<f64> = set.iter().map(|&m| f64::from(u8::from(m))).collect();
        let pairs: f64 = x
            .windows(2)
            .zip(1..)
            .map(|(w, i)| f64::from(i) * w[0] * w[1])
            .sum();
        let sum: f64 = x.iter().sum();
        pairs + (sum * 0.7).sin() - 0.3 * x[0] * sum
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "what `exact` and `kernel` take may fail"
    )]
    fn worths(sets: &[Coalition]) -> Result<Vec<f64>> {
        Ok(sets.iter().map(|set| worth(set)).collect())
    }

    /// The mean gain over all orders, one by one.
    fn brute_force(n: usize) -> Vec<f64> {
        fn orders(rest: &[usize]) -> Vec<Vec<usize>> {
            if rest.is_empty() {
                return vec![Vec::new()];
            }
            let mut all = Vec::new();
            for (at, &first) in rest.iter().enumerate() {
                let others = [&rest[..at], &rest[at + 1..]].concat();
                let longer = |mut tail: Vec<usize>| {
                    tail.insert(0, first);
                    tail
                };
                all.extend(orders(&others).into_iter().map(longer));
            }
            all
        }
        let orders = orders(&(0..n).collect::<Vec<_>>());
        let mut values = vec![0.0; n];
        for order in &orders {
            let mut set = vec![false; n];
            for &player in order {
                let before = worth(&set);
                set[player] = true;
                values[player] += worth(&set) - before;
            }
        }
        values
            .iter()
            .map(|value| value / orders.len() as f64)
            .collect()
    }

    #[test]
    fn exact_and_kernel_equal_brute_force() {
        for n in [1, 2, 5, 7] {
            let expected = brute_force(n);
            let found = exact(n, worths).unwrap();
            let regressed = kernel(n, 1 << n, 0, worths).unwrap();
            for (player, expected) in expected.iter().enumerate() {
                assert!((found[player] - expected).abs() < 1e-12, "{n} {player}");
                assert!((regressed[player] - expected).abs() < 1e-9, "{n} {player}");
            }
        }
    }

    #[test]
    fn kernel_equals_exact_at_ten_players_and_comes_near_by_sampling() {
        let expected = exact(10, worths).unwrap();
        let all = kernel(10, 1 << 10, 0, worths).unwrap();
        let some = kernel(10, 600, 7, worths).unwrap();
        let total = worth(&[true; 10]) - worth(&[false; 10]);
        assert!((some.iter().sum::<f64>() - total).abs() < 1e-9);
        for player in 0..10 {
            assert!((all[player] - expected[player]).abs() < 1e-9);
            assert!(
                (some[player] - expected[player]).abs() < 0.5,
                "{some:?} {expected:?}"
            );
        }
        assert_eq!(some, kernel(10, 600, 7, worths).unwrap());
        assert!(exact(21, worths).is_err());
    }
}
