//! Word segmentation as the SIGHAN bakeoffs score it (Sproat and Emerson 2003): precision, recall
//! and F1 of words, and recall apart for words inside and outside the training vocabulary.
//!
//! A word is right if both of its bounds are. The bakeoff's `score` script aligns the words of a
//! line with `diff` instead, which can also pair a repeated word with one of its other
//! occurrences; by position is how papers state the measure.

use crate::counts::Counts;
use crate::{MetricError, Result, check};
use serde::Serialize;
use std::collections::BTreeSet;

/// What the scorer reports; shares between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SegmentationScores {
    /// Of the predicted words, the share that is right.
    pub precision: f64,
    /// Of the true words, the share that was found.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// Of the true words, the share that the vocabulary lacks.
    pub oov_rate: f64,
    /// Of the true words that the vocabulary lacks, the share that was found; `None` if there is
    /// no such word (the script prints `--`).
    pub oov_recall: Option<f64>,
    /// Of the true words in the vocabulary, the share that was found; `None` if there is none.
    pub iv_recall: Option<f64>,
    /// True words.
    pub num_words: u64,
}

/// Counts words by whether they were found and whether the training data knew them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentationScorer {
    vocabulary: BTreeSet<String>,
    oov: Counts,
    iv: Counts,
    predicted: u64,
}

impl SegmentationScorer {
    /// No sentence yet; `vocabulary` holds the words of the training data. Without one (an empty
    /// iterator) every word counts as unknown.
    pub fn new<W: Into<String>>(vocabulary: impl IntoIterator<Item = W>) -> Self {
        Self {
            vocabulary: vocabulary.into_iter().map(Into::into).collect(),
            oov: Counts::default(),
            iv: Counts::default(),
            predicted: 0,
        }
    }

    /// Counts a batch of sentences, each a list of words. Nothing is counted if it is an error:
    /// the batches differ in length, a word is empty, or the words of a pair of sentences do not
    /// spell the same text.
    pub fn update<S, W, P, V>(&mut self, y_true: &[S], y_pred: &[P]) -> Result<()>
    where
        S: AsRef<[W]>,
        W: AsRef<str>,
        P: AsRef<[V]>,
        V: AsRef<str>,
    {
        check::same_length(("y_pred", y_pred.len()), ("y_true", y_true.len()))?;
        for (index, (truth, predicted)) in y_true.iter().zip(y_pred).enumerate() {
            let (truth, predicted) = (truth.as_ref(), predicted.as_ref());
            no_empty_word("a sentence of y_true", truth)?;
            no_empty_word("a sentence of y_pred", predicted)?;
            let spelt: String = predicted.iter().map(AsRef::as_ref).collect();
            if !truth
                .iter()
                .flat_map(|w| w.as_ref().bytes())
                .eq(spelt.bytes())
            {
                return Err(MetricError::Text {
                    what: "y_pred",
                    index,
                    found: spelt,
                    expected: "words that spell the text of y_true",
                });
            }
        }
        for (truth, predicted) in y_true.iter().zip(y_pred) {
            self.count(truth.as_ref(), predicted.as_ref());
        }
        Ok(())
    }

    /// The scores so far; an error if there is no word.
    pub fn scores(&self) -> Result<SegmentationScores> {
        let all = Counts {
            predicted: self.predicted,
            ..Counts::sum([self.oov, self.iv])
        };
        if all.support == 0 {
            return Err(MetricError::Empty {
                metric: "word segmentation",
            });
        }
        let found = |words: Counts| (words.support > 0).then(|| words.recall());
        Ok(SegmentationScores {
            precision: all.precision(),
            recall: all.recall(),
            f1: all.f_beta(1.0),
            oov_rate: self.oov.support as f64 / all.support as f64,
            oov_recall: found(self.oov),
            iv_recall: found(self.iv),
            num_words: all.support,
        })
    }

    fn count<W: AsRef<str>, V: AsRef<str>>(&mut self, truth: &[W], predicted: &[V]) {
        self.predicted += predicted.len() as u64;
        let mut candidates = bounds(predicted).peekable();
        for ((start, end), word) in bounds(truth).zip(truth) {
            while candidates.next_if(|&(s, _)| s < start).is_some() {}
            let hit = candidates.next_if_eq(&(start, end)).is_some();
            let known = self.vocabulary.contains(word.as_ref());
            let words = if known { &mut self.iv } else { &mut self.oov };
            words.support += 1;
            words.hits += u64::from(hit);
        }
    }
}

/// First byte and the one after the last of each word, in the text that the words spell.
fn bounds<W: AsRef<str>>(words: &[W]) -> impl Iterator<Item = (usize, usize)> {
    words.iter().scan(0, |end, word| {
        let start = *end;
        *end += word.as_ref().len();
        Some((start, *end))
    })
}

fn no_empty_word<W: AsRef<str>>(what: &'static str, words: &[W]) -> Result<()> {
    match words.iter().position(|word| word.as_ref().is_empty()) {
        None => Ok(()),
        Some(index) => Err(MetricError::Text {
            what,
            index,
            found: String::new(),
            expected: "a word of at least one character",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let mut scorer = SegmentationScorer::new(["我", "北京"]);
        let truth = [vec!["我", "爱", "北京", "天安门"]];
        let predicted = [vec!["我", "爱", "北京天", "安门"]];
        scorer.update(&truth, &predicted).unwrap();
        let scores = scorer.scores().unwrap();
        assert_eq!(
            (scores.precision, scores.recall, scores.f1),
            (0.5, 0.5, 0.5)
        );
        assert_eq!((scores.oov_rate, scores.num_words), (0.5, 4));
        assert_eq!(
            (scores.oov_recall, scores.iv_recall),
            (Some(0.5), Some(0.5))
        );
    }

    #[test]
    fn bad_sentences_are_named_and_not_counted() {
        let mut scorer = SegmentationScorer::new(["a"]);
        let text = |r: Result<()>| r.unwrap_err().to_string();
        assert_eq!(
            text(scorer.update(&[["a", "b"], ["a", "b"]], &[["a", "b"], ["a", "c"]])),
            r#"y_pred[1] is "ac"; expected words that spell the text of y_true"#
        );
        assert!(text(scorer.update(&[["a", ""]], &[["a", ""]])).contains("at least one character"));
        assert!(text(scorer.update(&[["a"]], &[["a"], ["a"]])).contains("expected 1"));
        assert!(scorer.scores().is_err());
        scorer.update(&[["a"]], &[["a"]]).unwrap();
        let scores = scorer.scores().unwrap();
        assert_eq!((scores.oov_recall, scores.iv_recall), (None, Some(1.0)));
    }
}
