//! chrF and chrF++ (Popović 2015 and 2017), equal to sacrebleu. Scores run from 0 to 100.

use crate::Result;
use crate::sacrebleu::{check_order, matches, ngrams, num_ngrams, references, signature, yes_no};
use crate::text::{is_space, split};
use serde::Serialize;
use std::fmt;
use std::hash::Hash;

/// sacrebleu's settings of chrF, by its names. The default is chrF2; [`Chrf::plus_plus`] is
/// chrF2++.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chrf {
    /// The longest n-grams of characters; at least one n-gram order of characters or words, and no
    /// more than 1000 in all.
    pub char_order: usize,
    /// The longest n-grams of words; 0 counts no words.
    pub word_order: usize,
    /// How much more recall weighs than precision.
    pub beta: u32,
    /// Lower-case both sides first.
    pub lowercase: bool,
    /// Count whitespace among the characters.
    pub whitespace: bool,
    /// Average F-scores over all orders, tiny where an order has no n-gram, as chrF++.py, NLTK and
    /// Moses do; otherwise precision and recall are averaged over the orders that both sides have.
    pub eps_smoothing: bool,
}

impl Default for Chrf {
    fn default() -> Self {
        Self {
            char_order: 6,
            word_order: 0,
            beta: 2,
            lowercase: false,
            whitespace: false,
            eps_smoothing: false,
        }
    }
}

/// A chrF score. As text it is sacrebleu's line, with two decimals unless the format says
/// otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChrfScore {
    /// The variant: `chrF2`, `chrF2++`.
    pub name: String,
    /// From 0 to 100.
    pub score: f64,
    /// How it was computed, as sacrebleu prints it: `nrefs:1|case:mixed|eff:yes|nc:6|…`.
    pub signature: String,
}

/// N-grams of one order: the hypothesis', the reference's, and those in both.
#[derive(Clone, Copy, Default)]
struct Order {
    hypothesis: u64,
    reference: u64,
    matched: u64,
}

/// A line as characters and as words.
struct Line {
    chars: Vec<char>,
    words: Vec<String>,
}

impl Chrf {
    /// chrF2++: words and pairs of words count beside the characters.
    pub fn plus_plus() -> Self {
        Self {
            word_order: 2,
            ..Self::default()
        }
    }

    /// chrF of a corpus: n-grams are counted over all sentences, each against the one of its
    /// references that gives it the best score. Each hypothesis has its own list of references, at
    /// least one (sacrebleu takes one list for each reference translator).
    pub fn corpus_score<H: AsRef<str>, R: AsRef<[T]>, T: AsRef<str>>(
        &self,
        hypotheses: &[H],
        references_of: &[R],
    ) -> Result<ChrfScore> {
        check_order(
            "char_order + word_order",
            self.char_order.saturating_add(self.word_order),
        )?;
        let references = references("chrF", hypotheses.len(), references_of)?;
        let mut sum = vec![Order::default(); self.char_order + self.word_order];
        for (hypothesis, references) in hypotheses.iter().zip(&references) {
            let best = self.best(hypothesis.as_ref(), references);
            for (sum, order) in sum.iter_mut().zip(best) {
                sum.hypothesis += order.hypothesis;
                sum.reference += order.reference;
                sum.matched += order.matched;
            }
        }
        Ok(ChrfScore {
            name: format!("chrF{}{}", self.beta, "+".repeat(self.word_order)),
            score: self.f_score(&sum),
            signature: self.signature(&references),
        })
    }

    /// chrF of one sentence against its references, at least one.
    pub fn sentence_score<T: AsRef<str>>(
        &self,
        hypothesis: &str,
        references: &[T],
    ) -> Result<ChrfScore> {
        self.corpus_score(&[hypothesis], &[references])
    }

    fn signature(&self, references: &[Vec<&str>]) -> String {
        let own = format!(
            "eff:{}|nc:{}|nw:{}|space:{}",
            yes_no(!self.eps_smoothing),
            self.char_order,
            self.word_order,
            yes_no(self.whitespace),
        );
        signature(references, self.lowercase, &own)
    }

    /// The counts against the reference that scores best, the first of equals.
    fn best(&self, hypothesis: &str, references: &[&str]) -> Vec<Order> {
        let hypothesis = self.line(hypothesis);
        let (mut best, mut best_score) = (Vec::new(), -1.0);
        for reference in references {
            let orders = self.orders(&hypothesis, &self.line(reference));
            let score = self.f_score(&orders);
            if score > best_score {
                (best, best_score) = (orders, score);
            }
        }
        best
    }

    fn line(&self, text: &str) -> Line {
        let text = if self.lowercase {
            text.to_lowercase()
        } else {
            text.to_string()
        };
        let kept = text.chars().filter(|&c| self.whitespace || !is_space(c));
        Line {
            chars: kept.collect(),
            words: split(&text).flat_map(punctuation_apart).collect(),
        }
    }

    fn orders(&self, hypothesis: &Line, reference: &Line) -> Vec<Order> {
        let chars = (1..=self.char_order).map(|n| order(&hypothesis.chars, &reference.chars, n));
        let words = (1..=self.word_order).map(|n| order(&hypothesis.words, &reference.words, n));
        chars.chain(words).collect()
    }

    fn f_score(&self, orders: &[Order]) -> f64 {
        /// Precision or recall of an order without n-grams.
        const EPS: f64 = 1e-16;
        let factor = f64::from(self.beta).powi(2);
        let f_beta = |precision: f64, recall: f64| {
            let denominator = factor * precision + recall;
            (denominator > 0.0).then(|| (1.0 + factor) * precision * recall / denominator)
        };
        let share = |part: u64, all: u64| {
            if all > 0 {
                part as f64 / all as f64
            } else {
                EPS
            }
        };
        let rates = orders.iter().map(|order| {
            (
                share(order.matched, order.hypothesis),
                share(order.matched, order.reference),
            )
        });
        if self.eps_smoothing {
            let scores = rates.map(|(precision, recall)| f_beta(precision, recall).unwrap_or(EPS));
            return 100.0 * scores.sum::<f64>() / orders.len() as f64;
        }
        let (mut precision, mut recall, mut effective) = (0.0, 0.0, 0.0);
        for (order, rate) in orders.iter().zip(rates) {
            if order.hypothesis > 0 && order.reference > 0 {
                precision += rate.0;
                recall += rate.1;
                effective += 1.0;
            }
        }
        if effective == 0.0 {
            return 0.0;
        }
        100.0 * f_beta(precision / effective, recall / effective).unwrap_or(0.0)
    }
}

/// Where the reference has no n-gram of an order, the hypothesis' are not counted either.
fn order<T: Eq + Hash>(hypothesis: &[T], reference: &[T], n: usize) -> Order {
    let num_reference = num_ngrams(reference.len(), n);
    let counted = num_reference > 0;
    Order {
        hypothesis: if counted {
            num_ngrams(hypothesis.len(), n)
        } else {
            0
        },
        reference: num_reference,
        matched: matches(hypothesis, &[ngrams(reference, n)], n),
    }
}

/// One punctuation mark set apart, at the end of the word or else at its start (of `(hi)` only the
/// end, as in the reference).
fn punctuation_apart(word: &str) -> Vec<String> {
    let mark = |c: &char| c.is_ascii_punctuation();
    let (first, last) = (word.chars().next(), word.chars().next_back());
    let cut = match (first.filter(mark), last.filter(mark)) {
        (_, Some(last)) => word.len() - last.len_utf8(),
        (Some(first), None) => first.len_utf8(),
        (None, None) => 0,
    };
    let (left, right) = word.split_at(cut);
    let parts = [left, right].into_iter().filter(|part| !part.is_empty());
    parts.map(String::from).collect()
}

impl fmt::Display for ChrfScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(2);
        write!(f, "{} = {:.decimals$}", self.name, self.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_is_set_apart() {
        let apart = |word| punctuation_apart(word).join(" ");
        assert_eq!(
            ["(hi)", "(hi", "hi", "!", "!!", "é."].map(apart),
            ["(hi )", "( hi", "hi", "!", "! !", "é ."]
        );
    }

    #[test]
    fn one_letter_of_two_by_hand() {
        let chrf = Chrf {
            char_order: 1,
            beta: 1,
            ..Chrf::default()
        };
        let score = chrf.sentence_score("a b", &["ac"]).unwrap();
        assert_eq!(score.to_string(), "chrF1 = 50.00");
        assert_eq!(format!("{score:.1}"), "chrF1 = 50.0");
    }

    #[test]
    fn bad_input_is_named() {
        for char_order in [0, usize::MAX] {
            let chrf = Chrf {
                char_order,
                ..Chrf::default()
            };
            let text = chrf.sentence_score("a", &["a"]).unwrap_err().to_string();
            assert!(text.starts_with("char_order + word_order is"), "{text}");
        }
        let chrf = Chrf::plus_plus();
        assert!(chrf.sentence_score::<&str>("a", &[]).is_err());
        assert!(chrf.corpus_score(&["a"], &[["a"], ["b"]]).is_err());
    }
}
