//! Isolation forest (Liu, Ting and Zhou, 2008).
//!
//! Reference: `sklearn.ensemble.IsolationForest` 1.9.1, which PyOD wraps: the same tree, feature and threshold drawing and
//! the same score, `2^(-E[h] / c(psi))` of the paper (scikit-learn's `-score_samples`; PyOD's is lower by 0.5
//! throughout). The random numbers differ, so scores agree within the spread of seeds. Values stay f64, where
//! scikit-learn rounds to f32.

use super::detector::{Detector, Fit, NormalOnly, check_setting, check_width};
use panoply_core::{Error, Result, seed, weights::Arrays};
use panoply_datasets::frame::Matrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Settings; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IForestConfig {
    /// Trees.
    pub num_trees: usize,
    /// Rows that a tree sees, drawn without replacement (psi).
    pub max_samples: usize,
}

impl Default for IForestConfig {
    fn default() -> Self {
        Self {
            num_trees: 100,
            max_samples: 256,
        }
    }
}

/// A node; a leaf has no children.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Node {
    /// Rows with `row[feature] <= threshold` go left.
    feature: usize,
    threshold: f64,
    /// Places of the children in the tree; 0, the root, for a leaf.
    left: usize,
    right: usize,
    /// A leaf's path length with what its rows would add: depth + c(rows).
    length: f64,
}

/// Trees that isolate what is unusual after few cuts.
#[derive(Clone, Debug, PartialEq)]
pub struct IForest {
    width: usize,
    max_samples: usize,
    trees: Vec<Vec<Node>>,
}

/// Average path length of an unsuccessful search in a binary tree of `n` rows (the paper's equation 1).
fn average_path_length(n: usize) -> f64 {
    /// Euler's constant.
    const GAMMA: f64 = 0.577_215_664_901_532_9;
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        n => {
            let n = n as f64;
            2.0 * ((n - 1.0).ln() + GAMMA) - 2.0 * (n - 1.0) / n
        }
    }
}

/// Random numbers as a function of seed and position.
struct Draws {
    seed: u64,
    count: u64,
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.count += 1;
        seed::derive(&[self.seed, self.count])
    }

    /// Uniform in `0..n`.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Uniform in `[0, 1)`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl IForest {
    /// Grows the trees, each from its own seed.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn fit(rows: &NormalOnly<Matrix>, config: &IForestConfig, seed: u64) -> Result<Fit<Self>> {
        let rows = rows.get();
        let counts = 1..=1_000_000;
        let what = "between 1 and 1,000,000";
        check_setting(
            counts.contains(&config.num_trees),
            "num_trees",
            config.num_trees,
            what,
        )?;
        check_setting(
            config.max_samples > 1,
            "max_samples",
            config.max_samples,
            "at least 2",
        )?;
        let max_samples = config.max_samples.min(rows.len());
        let tree = |number: usize| {
            let draws = Draws {
                seed: seed::derive(&[seed, number as u64]),
                count: 0,
            };
            grow(rows, max_samples, draws)
        };
        let detector = Self {
            width: rows.width(),
            max_samples,
            trees: (0..config.num_trees).into_par_iter().map(tree).collect(),
        };
        let scores = detector.score(rows)?;
        Ok(Fit { detector, scores })
    }

    /// Reads what [`Detector::arrays`] wrote.
    ///
    /// # Errors
    /// Missing or wrong arrays, children that lead nowhere.
    pub fn from_arrays(arrays: &mut Arrays) -> Result<Self> {
        let ([num_trees], sizes) = arrays.take::<i64, 1>("tree_sizes")?;
        let ([num_nodes], thresholds) = arrays.take::<f64, 1>("threshold")?;
        let features = arrays.take_shaped::<i64, 1>("feature", [num_nodes])?;
        let left = arrays.take_shaped::<i64, 1>("left", [num_nodes])?;
        let right = arrays.take_shaped::<i64, 1>("right", [num_nodes])?;
        let lengths = arrays.take_shaped::<f64, 1>("path_length", [num_nodes])?;
        let extents = arrays.take_shaped::<i64, 1>("extents", [2])?;
        let (width, max_samples) = (extents[0] as usize, extents[1] as usize);
        let wrong = |what: &str| Error::input("isolation forest", what, "whole trees");
        let mut trees = Vec::with_capacity(num_trees);
        let mut start = 0usize;
        for size in sizes {
            let end = start
                .checked_add(size as usize)
                .filter(|&end| size > 0 && end <= num_nodes);
            let end = end.ok_or_else(|| wrong("trees of more nodes than there are"))?;
            let mut tree = Vec::with_capacity(end - start);
            for at in start..end {
                let here = at - start;
                let node = Node {
                    feature: features[at] as usize,
                    threshold: thresholds[at],
                    left: left[at] as usize,
                    right: right[at] as usize,
                    length: lengths[at],
                };
                // Children come after their parent, so that every walk ends.
                let inner = node.left > here && node.right > here && node.feature < width;
                let within = node.left < end - start && node.right < end - start;
                if !((node.left == 0 && node.right == 0) || (inner && within)) {
                    return Err(wrong("a node that leads nowhere"));
                }
                tree.push(node);
            }
            trees.push(tree);
            start = end;
        }
        if start != num_nodes || trees.is_empty() || max_samples == 0 {
            return Err(wrong("nodes outside of trees"));
        }
        Ok(Self {
            width,
            max_samples,
            trees,
        })
    }

    fn path_length(tree: &[Node], row: &[f64]) -> f64 {
        let mut node = &tree[0];
        while node.left != 0 {
            let next = if row[node.feature] <= node.threshold {
                node.left
            } else {
                node.right
            };
            node = &tree[next];
        }
        node.length
    }
}

/// One tree over `max_samples` rows without replacement, of depth `ceil(log2(max_samples))` at most.
fn grow(rows: &Matrix, max_samples: usize, mut draws: Draws) -> Vec<Node> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    for i in 0..max_samples {
        let j = i + draws.below(order.len() - i);
        order.swap(i, j);
    }
    order.truncate(max_samples);
    let max_depth = (max_samples.max(2) as f64).log2().ceil() as usize;
    let mut tree = Vec::new();
    // Where a node hangs: its parent, and whether it is the left child.
    let mut open = vec![(order, 0usize, None::<(usize, bool)>)];
    while let Some((members, depth, parent)) = open.pop() {
        let here = tree.len();
        if let Some((parent, is_left)) = parent {
            let parent: &mut Node = &mut tree[parent];
            *(if is_left {
                &mut parent.left
            } else {
                &mut parent.right
            }) = here;
        }
        let cut = if depth >= max_depth || members.len() < 2 {
            None
        } else {
            draw_cut(rows, &members, &mut draws)
        };
        let length = depth as f64 + average_path_length(members.len());
        let (feature, threshold) = cut.unwrap_or_default();
        tree.push(Node {
            feature,
            threshold,
            left: 0,
            right: 0,
            length,
        });
        if cut.is_some() {
            let goes_left = |&&row: &&usize| rows.row(row)[feature] <= threshold;
            let (left, right): (Vec<usize>, Vec<usize>) =
                members.iter().partition(|row| goes_left(row));
            open.push((right, depth + 1, Some((here, false))));
            open.push((left, depth + 1, Some((here, true))));
        }
    }
    tree
}

/// A feature, drawn among those that are not constant here, and a threshold between its least and greatest value.
fn draw_cut(rows: &Matrix, members: &[usize], draws: &mut Draws) -> Option<(usize, f64)> {
    let mut features: Vec<usize> = (0..rows.width()).collect();
    while !features.is_empty() {
        let feature = features.swap_remove(draws.below(features.len()));
        let values = || members.iter().map(|&row| rows.row(row)[feature]);
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        if low < high {
            let threshold = low + (high - low) * draws.unit();
            // Rounding must leave a row on each side.
            return Some((feature, if threshold < high { threshold } else { low }));
        }
    }
    None
}

impl Detector for IForest {
    fn score(&self, rows: &Matrix) -> Result<Vec<f64>> {
        check_width(rows, self.width)?;
        let usual = average_path_length(self.max_samples);
        let score = |row: &[f64]| {
            let lengths = self.trees.iter().map(|tree| Self::path_length(tree, row));
            let mean = lengths.sum::<f64>() / self.trees.len() as f64;
            // One row alone has no path: it is as usual as any.
            if usual == 0.0 {
                0.5
            } else {
                (-mean / usual).exp2()
            }
        };
        Ok(rows
            .values()
            .par_chunks_exact(self.width)
            .map(score)
            .collect())
    }

    fn contributions(&self, _row: &[f64]) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }

    fn width(&self) -> usize {
        self.width
    }

    fn arrays(&self) -> Arrays {
        let nodes: Vec<&Node> = self.trees.iter().flatten().collect();
        let ints = |value: fn(&Node) -> usize| nodes.iter().map(|n| value(n) as i64).collect();
        let floats = |value: fn(&Node) -> f64| nodes.iter().map(|n| value(n)).collect();
        let sizes = self.trees.iter().map(|tree| tree.len() as i64).collect();
        let mut arrays = Arrays::default();
        arrays.put::<i64, 1>("tree_sizes", [self.trees.len()], sizes);
        arrays.put::<i64, 1>("feature", [nodes.len()], ints(|n| n.feature));
        arrays.put::<f64, 1>("threshold", [nodes.len()], floats(|n| n.threshold));
        arrays.put::<i64, 1>("left", [nodes.len()], ints(|n| n.left));
        arrays.put::<i64, 1>("right", [nodes.len()], ints(|n| n.right));
        arrays.put::<f64, 1>("path_length", [nodes.len()], floats(|n| n.length));
        let extents = [self.width, self.max_samples].map(|extent| extent as i64);
        arrays.put::<i64, 1>("extents", [2], extents.to_vec());
        arrays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Matrix {
        // A line of forty points and one far away.
        let values = (0..40)
            .flat_map(|i| [f64::from(i) * 0.01, 1.0])
            .chain([5.0, 1.0]);
        Matrix::new(values.collect(), 2).unwrap()
    }

    #[test]
    fn path_lengths_are_the_papers() {
        assert_eq!(average_path_length(1), 0.0);
        assert_eq!(average_path_length(2), 1.0);
        // sklearn.ensemble._iforest._average_path_length([5, 999])
        assert!((average_path_length(5) - 2.327_020_052_042_847).abs() < 1e-12);
        assert!((average_path_length(999) - 12.967_939_884_427_995).abs() < 1e-12);
    }

    #[test]
    fn what_is_far_away_is_isolated_soon() {
        let normal = NormalOnly::unlabelled(rows()).unwrap();
        let fit = IForest::fit(&normal, &IForestConfig::default(), 3).unwrap();
        let best = (0..41).max_by(|&a, &b| fit.scores[a].total_cmp(&fit.scores[b]));
        assert_eq!(best, Some(40));
        let again = IForest::fit(&normal, &IForestConfig::default(), 3).unwrap();
        assert_eq!(again.scores, fit.scores);
        let other = IForest::fit(&normal, &IForestConfig::default(), 4).unwrap();
        assert_ne!(other.scores, fit.scores);
    }

    #[test]
    fn survives_its_arrays_and_refuses_broken_ones() {
        let normal = NormalOnly::unlabelled(rows()).unwrap();
        let config = IForestConfig {
            num_trees: 3,
            max_samples: 16,
        };
        let forest = IForest::fit(&normal, &config, 0).unwrap().detector;
        assert_eq!(IForest::from_arrays(&mut forest.arrays()).unwrap(), forest);
        let mut broken = forest.arrays();
        let ([n], mut left) = broken.take::<i64, 1>("left").unwrap();
        left[0] = n as i64 + 5;
        broken.put::<i64, 1>("left", [n], left);
        assert!(IForest::from_arrays(&mut broken).is_err());
    }
}
