//! What happens to the scores of the next token before one is chosen: transformers' `LogitsProcessor`s, in
//! their order.
//!
//! Scores are those of one sequence, one for each token of the vocabulary; what must not come gets
//! negative infinity.

use super::settings::Decoding;
use panoply_core::seed::derive;

/// Logarithm of the softmax.
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&v| f64::from(v - max).exp()).sum();
    let log = sum.ln();
    logits
        .iter()
        .map(|&v| (f64::from(v - max) - log) as f32)
        .collect()
}

/// `RepetitionPenaltyLogitsProcessor`: the score of each token in `tokens` is divided by `penalty`, or
/// multiplied with it where it is negative.
pub fn repetition_penalty(scores: &mut [f32], tokens: &[u32], penalty: f32) {
    let mut seen = tokens.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = if *score < 0.0 {
                *score * penalty
            } else {
                *score / penalty
            };
        }
    }
}

/// `NoRepeatNGramLogitsProcessor`: no token that would complete a run of `size` tokens that already
/// stands in `tokens`.
pub fn no_repeat_ngram(scores: &mut [f32], tokens: &[u32], size: usize) {
    if size == 0 || tokens.len() < size {
        return;
    }
    let prefix = &tokens[tokens.len() + 1 - size..];
    for run in tokens.windows(size) {
        if let Some(score) = run
            .strip_prefix(prefix)
            .and_then(|rest| scores.get_mut(*rest.first()? as usize))
        {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// `TopKLogitsWarper`: only the `k` largest scores, and those equal to the smallest of them.
pub fn top_k(scores: &mut [f32], k: usize) {
    if k == 0 || k >= scores.len() {
        return;
    }
    let mut sorted = scores.to_vec();
    let (_, least, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    let least = *least;
    for score in scores.iter_mut().filter(|score| **score < least) {
        *score = f32::NEG_INFINITY;
    }
}

/// `TopPLogitsWarper` (Holtzman et al., 2020): only the largest scores whose probabilities together reach
/// `p`; at least one.
pub fn top_p(scores: &mut [f32], p: f64) {
    if p >= 1.0 {
        return;
    }
    let log_probs = log_softmax(scores);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut sum = 0.0;
    order.pop();
    for index in order {
        sum += f64::from(log_probs[index]).exp();
        if sum > 1.0 - p {
            break;
        }
        scores[index] = f32::NEG_INFINITY;
    }
}

/// The processors that also greedy decoding and beam search have.
pub(super) fn process(scores: &mut [f32], tokens: &[u32], decoding: &Decoding) {
    if decoding.repetition_penalty != 1.0 {
        repetition_penalty(scores, tokens, decoding.repetition_penalty);
    }
    no_repeat_ngram(scores, tokens, decoding.no_repeat_ngram_size);
}

/// What drawing adds: temperature, then `top_k`, then `top_p`.
pub(super) fn warp(scores: &mut [f32], decoding: &Decoding) {
    if decoding.temperature != 1.0 {
        for score in scores.iter_mut() {
            *score /= decoding.temperature;
        }
    }
    top_k(scores, decoding.top_k);
    top_p(scores, decoding.top_p);
}

/// The index of the largest score, the first of equal ones.
pub(super) fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}

/// A token drawn with the probabilities that the scores have, by a number that is a function of
/// `seed` and `position`.
pub(super) fn draw(scores: &[f32], seed: u64, position: usize) -> usize {
    let log_probs = log_softmax(scores);
    // 53 bits: a number in [0, 1).
    let number = (derive(&[seed, position as u64]) >> 11) as f64 / (1u64 << 53) as f64;
    let mut sum = 0.0;
    let mut last = 0;
    for (index, log_prob) in log_probs.iter().enumerate() {
        let probability = f64::from(*log_prob).exp();
        if probability > 0.0 {
            sum += probability;
            last = index;
            if number < sum {
                return index;
            }
        }
    }
    // Rounding may leave the sum a little below 1.
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: f32 = f32::NEG_INFINITY;

    #[test]
    fn penalties_and_filters_by_hand() {
        let mut scores = [2.0, -1.0, 0.5];
        repetition_penalty(&mut scores, &[0, 1, 0], 2.0);
        assert_eq!(scores, [1.0, -2.0, 0.5]);
        let mut scores = [0.0; 4];
        no_repeat_ngram(&mut scores, &[1, 2, 3, 1, 2], 3);
        assert_eq!(scores, [0.0, 0.0, 0.0, NO]);
        no_repeat_ngram(&mut scores, &[1], 1);
        assert_eq!(scores, [0.0, NO, 0.0, NO]);
        let mut scores = [1.0, 3.0, 2.0, 2.0];
        top_k(&mut scores, 2);
        assert_eq!(scores, [NO, 3.0, 2.0, 2.0]);
        // Probabilities .1, .2, .3, .4: the last two reach .7, .65 needs both too.
        let mut scores = [0.1f32, 0.2, 0.3, 0.4].map(f32::ln);
        top_p(&mut scores, 0.65);
        assert!(scores[..2] == [NO, NO] && scores[2].is_finite());
        top_p(&mut scores, 1e-9);
        assert!(scores[2] == NO && scores[3].is_finite());
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let scores = [0.1f32, NO.exp(), 0.2, 0.7].map(f32::ln);
        let mut counts = [0usize; 4];
        let draws = 20_000;
        for position in 0..draws {
            counts[draw(&scores, 5, position)] += 1;
        }
        assert_eq!(counts[1], 0);
        // Four standard deviations.
        for (count, p) in counts.iter().zip([0.1, 0.0, 0.2, 0.7f64]) {
            let expected = p * draws as f64;
            let bound = 4.0 * (expected * (1.0 - p)).sqrt();
            assert!((*count as f64 - expected).abs() <= bound, "{counts:?}");
        }
        assert_eq!(draw(&scores, 5, 17), draw(&scores, 5, 17));
        let differs = (0..50).any(|i| draw(&scores, 5, i) != draw(&scores, 6, i));
        assert!(differs);
    }
}
