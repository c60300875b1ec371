//! From logits of first and last tokens to answers: the post-processing of transformers' `run_qa`
//! example.
//!
//! Two differences. Where no stretch of the text is possible (every candidate is too long or lies outside the
//! text) the reference invents the answer "empty"; here there is none, or the empty one where
//! questions may be unanswerable. A stretch found in two windows is listed once, with its larger score.

use super::Settings;
use crate::preprocess::Encoded;
use serde::Serialize;
use std::cmp::Reverse;

/// A stretch of the text that answers a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The characters; empty for "no answer".
    pub text: String,
    /// Probability among the best candidates.
    pub score: f64,
    /// First character in the text.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
}

/// A window with the logits of its tokens.
pub(super) struct Scored<'a> {
    pub(super) encoded: &'a Encoded,
    /// To be the first token of the answer.
    pub(super) start: &'a [f32],
    /// To be the last one.
    pub(super) end: &'a [f32],
}

#[derive(Clone, Copy)]
struct Candidate {
    span: (usize, usize),
    start_logit: f32,
    end_logit: f32,
}

impl Candidate {
    fn score(&self) -> f32 {
        self.start_logit + self.end_logit
    }

    fn is_null(&self) -> bool {
        self.span.0 == self.span.1
    }
}

/// The answers to a question out of all windows of its text, the chosen one first, the others by score;
/// their texts are filled in by the caller.
pub(super) fn decode(windows: &[Scored<'_>], settings: &Settings, impossible: bool) -> Vec<Answer> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut null: Option<Candidate> = None;
    for window in windows {
        let (Some(&start_logit), Some(&end_logit)) = (window.start.first(), window.end.first())
        else {
            continue;
        };
        let here = Candidate {
            span: (0, 0),
            start_logit,
            end_logit,
        };
        // Only where every window says so is there no answer.
        if null.is_none_or(|known| known.score() > here.score()) {
            null = Some(here);
        }
        candidates.extend(spans(window, settings));
    }
    let null = null.filter(|_| impossible);
    candidates.extend(null);
    candidates.sort_by(|a, b| b.score().total_cmp(&a.score()));
    candidates.truncate(settings.n_best);
    if let Some(null) = null.filter(|_| !candidates.iter().any(|c| c.span == (0, 0))) {
        candidates.push(null);
    }
    let chosen = chosen(&candidates, null, settings.null_score_diff_threshold);
    ranked(&candidates, chosen)
}

/// Stretches between the most likely first and last tokens of a window.
fn spans(window: &Scored<'_>, settings: &Settings) -> Vec<Candidate> {
    let encoded = window.encoded;
    let in_text = |at: usize| encoded.texts[at] == Some(1);
    let ends = largest(window.end, settings.n_best);
    let mut found = Vec::new();
    for start in largest(window.start, settings.n_best) {
        for &end in &ends {
            let fits = end >= start && end - start < settings.max_answer_len;
            if fits && in_text(start) && in_text(end) {
                found.push(Candidate {
                    span: (encoded.offsets[start].0, encoded.offsets[end].1),
                    start_logit: window.start[start],
                    end_logit: window.end[end],
                });
            }
        }
    }
    found
}

/// Indices of the largest values, the largest first; of equal ones the last, as a reversed stable sort
/// gives them.
fn largest(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(b.cmp(&a)));
    order.truncate(count);
    order
}

/// The candidate that is the answer: the best one, or the empty one where it beats all others by more
/// than the threshold.
fn chosen(candidates: &[Candidate], null: Option<Candidate>, threshold: f64) -> usize {
    let (Some(null), Some(best)) = (null, candidates.iter().position(|c| !c.is_null())) else {
        return 0;
    };
    let difference = null.score() - candidates[best].start_logit - candidates[best].end_logit;
    if f64::from(difference) > threshold {
        let empty = candidates.iter().position(Candidate::is_null);
        empty.unwrap_or(best)
    } else {
        best
    }
}

/// Each stretch once with its probability, the chosen one first.
fn ranked(candidates: &[Candidate], chosen: usize) -> Vec<Answer> {
    let logits: Vec<f32> = candidates.iter().map(Candidate::score).collect();
    let scores = crate::tasks::encoder::softmax(&logits);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&at| (Reverse(at == chosen), at));
    let mut answers: Vec<Answer> = Vec::new();
    for at in order {
        let (start, end) = candidates[at].span;
        if !answers.iter().any(|a| (a.start, a.end) == (start, end)) {
            answers.push(Answer {
                text: String::new(),
                score: scores[at],
                start,
                end,
            });
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[CLS] q [SEP] w0 w1 w2 [SEP]`, words of two characters with a space between.
    fn window() -> Encoded {
        let texts = [None, Some(0), None, Some(1), Some(1), Some(1), None];
        let offsets = [(0, 0), (0, 1), (0, 0), (0, 2), (3, 5), (6, 8), (0, 0)];
        Encoded {
            ids: vec![9; 7],
            types: vec![0; 7],
            offsets: offsets.to_vec(),
            words: vec![None; 7],
            texts: texts.to_vec(),
            truncated: false,
            skipped: 0,
        }
    }

    fn answers(
        start: [f32; 7],
        end: [f32; 7],
        settings: &Settings,
        impossible: bool,
    ) -> Vec<(usize, usize)> {
        let encoded = window();
        let scored = Scored {
            encoded: &encoded,
            start: &start,
            end: &end,
        };
        let found = decode(&[scored], settings, impossible);
        found.iter().map(|a| (a.start, a.end)).collect()
    }

    const START: [f32; 7] = [3.0, 9.0, 0.0, 1.0, 2.0, 0.0, 0.0];
    const END: [f32; 7] = [3.0, 9.0, 0.0, 0.0, 1.0, 2.0, 0.0];

    #[test]
    fn answers_lie_in_the_text_in_order_and_are_short() {
        let settings = Settings::default();
        let all = answers(START, END, &settings, false);
        assert_eq!(all[0], (3, 8), "the question's own tokens are no answer");
        assert_eq!(all.len(), 6);
        let short = Settings {
            max_answer_len: 1,
            ..settings.clone()
        };
        assert_eq!(answers(START, END, &short, false)[0], (3, 5));
        let few = Settings {
            n_best: 1,
            ..settings
        };
        assert!(
            answers(START, END, &few, false).is_empty(),
            "the best tokens are the question's"
        );
        assert_eq!(answers(START, END, &few, true), [(0, 0)]);
    }

    #[test]
    fn no_answer_wins_by_the_threshold() {
        let with = |threshold| Settings {
            null_score_diff_threshold: threshold,
            ..Settings::default()
        };
        // The empty answer has 6, the best other one 4.
        assert_eq!(answers(START, END, &with(1.9), true)[0], (0, 0));
        assert_eq!(answers(START, END, &with(2.0), true)[..2], [(3, 8), (0, 0)]);
        assert!(!answers(START, END, &with(0.0), false).contains(&(0, 0)));
    }

    #[test]
    fn a_stretch_of_two_windows_is_listed_once() {
        let encoded = window();
        let scored = || Scored {
            encoded: &encoded,
            start: &START,
            end: &END,
        };
        let twice = decode(&[scored(), scored()], &Settings::default(), false);
        let mut spans: Vec<_> = twice.iter().map(|a| (a.start, a.end)).collect();
        spans.sort_unstable();
        spans.dedup();
        assert_eq!(spans.len(), twice.len());
    }
}
