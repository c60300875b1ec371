//! A linear-chain conditional random field (Lafferty et al., 2001) over the tags of a sequence.
//!
//! The parameters are those of the package `pytorch-crf`. Scores and gradients are computed on the
//! host, in f64: a step of the recursions has `num_tags²` terms, too few to be worth a tensor
//! operation. The gradient of the loss is exact: tag and transition marginals less the counts of the
//! true path, which is what differentiating the forward recursion gives.

use burn::{
    config::Config,
    module::{Module, Param},
    nn::Initializer,
    tensor::{Device, Tensor, TensorData},
};
use rayon::prelude::*;

use crate::{Result, host};

/// Configuration of [`Crf`].
#[derive(Config, Debug)]
pub struct CrfConfig {
    /// Number of tags.
    pub num_tags: usize,
}

/// A linear-chain CRF.
///
/// A path `y` through emissions `e` of length `n` has the score `start[y_0] + Σ e[t, y_t] + Σ
/// transitions[y_{t-1}, y_t] + end[y_{n-1}]`, and the probability `exp(score) / Z`.
///
/// Should be created with [`CrfConfig`].
#[derive(Module, Debug)]
pub struct Crf {
    /// Score of each first tag, `[num_tags]`.
    pub start_transitions: Param<Tensor<1>>,
    /// Score of each last tag, `[num_tags]`.
    pub end_transitions: Param<Tensor<1>>,
    /// Score of each step, `[from, to]`.
    pub transitions: Param<Tensor<2>>,
}

impl CrfConfig {
    /// A new CRF, uniform within 0.1 as in `pytorch-crf`.
    pub fn init(&self, device: &Device) -> Crf {
        let tags = self.num_tags;
        let uniform = Initializer::Uniform {
            min: -0.1,
            max: 0.1,
        };
        Crf {
            start_transitions: uniform.init([tags], device),
            end_transitions: uniform.init([tags], device),
            transitions: uniform.init([tags, tags], device),
        }
    }
}

impl Crf {
    /// Negative log-likelihood of the true paths, summed over the batch, `[1]`.
    ///
    /// # Shapes
    /// - `emissions`: `[batch, seq, num_tags]`; what lies beyond a path's end is not read
    /// - `tags`: one path a sequence, of its length, each tag in `0..num_tags`
    ///
    /// # Errors
    /// The device fails to give its values.
    pub fn neg_log_likelihood(
        &self,
        emissions: Tensor<3>,
        tags: &[Vec<usize>],
    ) -> Result<Tensor<1>> {
        let [batch, seq, num_tags] = emissions.dims();
        assert_eq!(batch, tags.len(), "one path a sequence");
        let device = emissions.device();
        let scores = self.scores()?;
        let values = host::to_vec(emissions.clone().inner())?;
        let counted: Vec<Counts> = values
            .par_chunks(seq * num_tags)
            .zip(tags)
            .map(|(emissions, path)| scores.counts(&emissions[..path.len() * num_tags], path))
            .collect();
        let mut sum = Counts::new(0, num_tags);
        let mut of_emissions = vec![0.0; batch * seq * num_tags];
        for (counts, out) in counted.iter().zip(of_emissions.chunks_mut(seq * num_tags)) {
            out[..counts.emissions.len()].copy_from_slice(&counts.emissions);
            sum.add(counts);
        }
        let to = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let vector = |values: &[f64]| Tensor::<1>::from_data(to(values).as_slice(), &device);
        let shape = [num_tags, num_tags];
        let transitions = TensorData::new(to(&sum.transitions), shape);
        // Linear in the parameters, with the loss's gradient; then its value is put in.
        let linear = (emissions
            * Tensor::from_data(
                TensorData::new(of_emissions, [batch, seq, num_tags]),
                &device,
            ))
        .sum()
            + (self.start_transitions.val() * vector(&sum.start)).sum()
            + (self.end_transitions.val() * vector(&sum.end)).sum()
            + (self.transitions.val() * Tensor::from_data(transitions, &device)).sum();
        let value = vector(&[sum.loss]);
        Ok(value + (linear.clone() - linear.detach()))
    }

    /// The parameters on the host, for decoding.
    ///
    /// # Errors
    /// The device fails to give its values.
    pub fn scores(&self) -> Result<CrfScores> {
        Ok(CrfScores {
            start: host::to_vec(self.start_transitions.val().inner())?,
            end: host::to_vec(self.end_transitions.val().inner())?,
            transitions: host::to_vec(self.transitions.val().inner())?,
        })
    }
}

/// Transition scores on the host. What is negative infinity never happens.
#[derive(Clone, Debug, PartialEq)]
pub struct CrfScores {
    /// Score of each first tag.
    pub start: Vec<f32>,
    /// Score of each last tag.
    pub end: Vec<f32>,
    /// Score of each step, `[from][to]`, row by row.
    pub transitions: Vec<f32>,
}

/// The loss of one path and its gradient: expected counts less the path's own.
struct Counts {
    loss: f64,
    emissions: Vec<f32>,
    start: Vec<f64>,
    end: Vec<f64>,
    transitions: Vec<f64>,
}

impl Counts {
    fn new(len: usize, num_tags: usize) -> Self {
        Self {
            loss: 0.0,
            emissions: vec![0.0; len * num_tags],
            start: vec![0.0; num_tags],
            end: vec![0.0; num_tags],
            transitions: vec![0.0; num_tags * num_tags],
        }
    }

    /// Adds all but what belongs to one sequence alone.
    fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        let pairs = [
            (&mut self.start, &other.start),
            (&mut self.end, &other.end),
            (&mut self.transitions, &other.transitions),
        ];
        for (to, from) in pairs {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}

/// `ln Σ exp`; negative infinity of nothing.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if max.is_finite() {
        max + values.map(|v| (v - max).exp()).sum::<f64>().ln()
    } else {
        max
    }
}

impl CrfScores {
    /// Number of tags.
    pub fn num_tags(&self) -> usize {
        self.start.len()
    }

    fn step(&self, from: usize, to: usize) -> f64 {
        f64::from(self.transitions[from * self.num_tags() + to])
    }

    /// Score of one path; zero of an empty one.
    ///
    /// # Shapes
    /// - `emissions`: `[seq, num_tags]`, row by row
    /// - `path`: `seq` tags
    pub fn score(&self, emissions: &[f32], path: &[usize]) -> f64 {
        let (Some(&first), Some(&last)) = (path.first(), path.last()) else {
            return 0.0;
        };
        let tags = self.num_tags();
        let emitted = path.iter().enumerate();
        let emitted = emitted.map(|(t, &tag)| f64::from(emissions[t * tags + tag]));
        let steps = path.windows(2).map(|pair| self.step(pair[0], pair[1]));
        f64::from(self.start[first])
            + f64::from(self.end[last])
            + emitted.sum::<f64>()
            + steps.sum::<f64>()
    }

    /// `ln Z`: the log of the sum of `exp(score)` over all paths.
    ///
    /// # Shapes
    /// - `emissions`: `[seq, num_tags]`, row by row
    pub fn log_partition(&self, emissions: &[f32]) -> f64 {
        let alpha = self.forward(emissions);
        self.total(&alpha)
    }

    /// Probability of each tag at each position.
    ///
    /// # Shapes
    /// - `emissions`: `[seq, num_tags]`, row by row
    /// - output: the same
    pub fn marginals(&self, emissions: &[f32]) -> Vec<f32> {
        let (alpha, beta) = (self.forward(emissions), self.backward(emissions));
        let total = self.total(&alpha);
        let each = alpha.iter().zip(&beta);
        each.map(|(a, b)| (a + b - total).exp() as f32).collect()
    }

    /// The path of the highest score (Viterbi, 1967); of equals the one whose last difference is
    /// the smaller tag.
    ///
    /// # Shapes
    /// - `emissions`: `[seq, num_tags]`, row by row
    /// - output: `seq` tags
    pub fn viterbi(&self, emissions: &[f32]) -> Vec<usize> {
        let tags = self.num_tags();
        let mut best: Vec<f64> = self.start.iter().map(|&v| f64::from(v)).collect();
        let mut back: Vec<usize> = Vec::with_capacity(emissions.len());
        for (t, emitted) in emissions.chunks_exact(tags).enumerate() {
            if t > 0 {
                let arrive = |to: usize| {
                    let score = |from: usize| best[from] + self.step(from, to);
                    (1..tags).fold((0, score(0)), |found, from| {
                        let score = score(from);
                        if score > found.1 {
                            (from, score)
                        } else {
                            found
                        }
                    })
                };
                let arrived: Vec<(usize, f64)> = (0..tags).map(arrive).collect();
                back.extend(arrived.iter().map(|a| a.0));
                best = arrived.iter().map(|a| a.1).collect();
            }
            for (best, &e) in best.iter_mut().zip(emitted) {
                *best += f64::from(e);
            }
        }
        if emissions.is_empty() {
            return Vec::new();
        }
        for (best, &end) in best.iter_mut().zip(&self.end) {
            *best += f64::from(end);
        }
        let mut tag = (1..tags).fold(0, |a, b| if best[b] > best[a] { b } else { a });
        let mut path = vec![tag];
        for from in back.chunks_exact(tags).rev() {
            tag = from[tag];
            path.push(tag);
        }
        path.reverse();
        path
    }

    /// Log of the sum over all paths that end in each tag at each position.
    fn forward(&self, emissions: &[f32]) -> Vec<f64> {
        let tags = self.num_tags();
        let mut alpha: Vec<f64> = Vec::with_capacity(emissions.len());
        for (t, emitted) in emissions.chunks_exact(tags).enumerate() {
            for (to, &e) in emitted.iter().enumerate() {
                let before = if t == 0 {
                    f64::from(self.start[to])
                } else {
                    let row = &alpha[(t - 1) * tags..t * tags];
                    log_sum_exp((0..tags).map(|from| row[from] + self.step(from, to)))
                };
                alpha.push(before + f64::from(e));
            }
        }
        alpha
    }

    /// Log of the sum over all ways on from each tag at each position.
    fn backward(&self, emissions: &[f32]) -> Vec<f64> {
        let tags = self.num_tags();
        let seq = emissions.len() / tags;
        let mut beta = vec![0.0; seq * tags];
        for t in (0..seq).rev() {
            for from in 0..tags {
                beta[t * tags + from] = if t + 1 == seq {
                    f64::from(self.end[from])
                } else {
                    let next = (t + 1) * tags;
                    let on = |to| self.step(from, to) + f64::from(emissions[next + to]);
                    log_sum_exp((0..tags).map(|to| on(to) + beta[next + to]))
                };
            }
        }
        beta
    }

    fn total(&self, alpha: &[f64]) -> f64 {
        let tags = self.num_tags();
        let Some(last) = alpha.len().checked_sub(tags) else {
            return 0.0;
        };
        let ends = alpha[last..].iter().zip(&self.end);
        log_sum_exp(ends.map(|(a, &end)| a + f64::from(end)))
    }

    fn counts(&self, emissions: &[f32], path: &[usize]) -> Counts {
        let (tags, seq) = (self.num_tags(), path.len());
        let mut counts = Counts::new(seq, tags);
        let (Some(&first), Some(&last)) = (path.first(), path.last()) else {
            return counts;
        };
        let (alpha, beta) = (self.forward(emissions), self.backward(emissions));
        let total = self.total(&alpha);
        counts.loss = total - self.score(emissions, path);
        for (out, (a, b)) in counts.emissions.iter_mut().zip(alpha.iter().zip(&beta)) {
            *out = (a + b - total).exp() as f32;
        }
        for tag in 0..tags {
            let end = (seq - 1) * tags + tag;
            counts.start[tag] = (alpha[tag] + beta[tag] - total).exp();
            counts.end[tag] = (alpha[end] + beta[end] - total).exp();
        }
        for t in 1..seq {
            for from in 0..tags {
                let before = alpha[(t - 1) * tags + from] - total;
                for to in 0..tags {
                    let at = t * tags + to;
                    let after = f64::from(emissions[at]) + beta[at];
                    counts.transitions[from * tags + to] +=
                        (before + self.step(from, to) + after).exp();
                }
            }
        }
        for (t, &tag) in path.iter().enumerate() {
            counts.emissions[t * tags + tag] -= 1.0;
        }
        counts.start[first] -= 1.0;
        counts.end[last] -= 1.0;
        for pair in path.windows(2) {
            counts.transitions[pair[0] * tags + pair[1]] -= 1.0;
        }
        counts
    }
}

#[cfg(test)]
#[path = "crf_tests.rs"]
mod tests;
