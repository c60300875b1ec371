//! BLEU (Papineni et al. 2002), equal to sacrebleu (Post 2018). Scores run from 0 to 100.

use crate::sacrebleu::{check_order, matches, ngrams, num_ngrams, references, signature, yes_no};
use crate::text::is_space;
use crate::{BleuTokenizer, MetricError, Result};
use serde::Serialize;
use std::fmt;

/// What stands for the precision of an n-gram order without a match (Chen and Cherry 2014).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum BleuSmoothing {
    /// Nothing: the score is 0.
    None,
    /// This many matches; 0.1 is sacrebleu's default.
    Floor(f64),
    /// This much is added to matches and n-grams of all orders above 1; 1 is sacrebleu's default.
    AddK(f64),
    /// A half match for the first such order, a quarter for the next, and so on (mteval-v13a).
    #[default]
    Exp,
}

/// sacrebleu's settings of BLEU, by its names. The default is sacrebleu's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bleu {
    /// Lower-case both sides first.
    pub lowercase: bool,
    /// How lines are cut.
    pub tokenize: BleuTokenizer,
    /// What orders without a match count as.
    pub smooth_method: BleuSmoothing,
    /// The longest n-grams, from 1 to 1000.
    pub max_ngram_order: usize,
    /// Leave out orders for which the hypothesis is too short. For scores of single sentences this
    /// should be on, as in `sacrebleu.sentence_bleu`.
    pub effective_order: bool,
}

impl Default for Bleu {
    fn default() -> Self {
        Self {
            lowercase: false,
            tokenize: BleuTokenizer::default(),
            smooth_method: BleuSmoothing::default(),
            max_ngram_order: 4,
            effective_order: false,
        }
    }
}

/// A BLEU score and what it was made of. As text it is sacrebleu's line, with two decimals unless
/// the format says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BleuScore {
    /// BLEU, from 0 to 100.
    pub score: f64,
    /// Matched n-grams of each order, before smoothing (sacrebleu lists them after `add-k`).
    pub counts: Vec<u64>,
    /// The hypotheses' n-grams of each order.
    pub totals: Vec<u64>,
    /// Precision of each order in percent, smoothed.
    pub precisions: Vec<f64>,
    /// Brevity penalty, from 0 to 1.
    pub bp: f64,
    /// Words of the hypotheses.
    pub sys_len: u64,
    /// Words of the references, for each hypothesis of the one nearest in length.
    pub ref_len: u64,
    /// How it was computed, as sacrebleu prints it: `nrefs:1|case:mixed|eff:no|tok:13a|…`.
    pub signature: String,
}

impl Bleu {
    /// BLEU of a corpus: n-grams are counted over all sentences. Each hypothesis has its own list
    /// of references, at least one (sacrebleu takes one list for each reference translator).
    pub fn corpus_score<H: AsRef<str>, R: AsRef<[T]>, T: AsRef<str>>(
        &self,
        hypotheses: &[H],
        references_of: &[R],
    ) -> Result<BleuScore> {
        self.check()?;
        let references = references("BLEU", hypotheses.len(), references_of)?;
        let mut sum = Statistics::new(self.max_ngram_order);
        for (hypothesis, references) in hypotheses.iter().zip(&references) {
            self.count(&mut sum, hypothesis.as_ref(), references);
        }
        Ok(self.score(sum, self.signature(&references)))
    }

    /// BLEU of one sentence against its references, at least one.
    pub fn sentence_score<T: AsRef<str>>(
        &self,
        hypothesis: &str,
        references: &[T],
    ) -> Result<BleuScore> {
        self.corpus_score(&[hypothesis], &[references])
    }

    fn check(&self) -> Result<()> {
        check_order("max_ngram_order", self.max_ngram_order)?;
        match self.smooth_method {
            BleuSmoothing::Floor(value) | BleuSmoothing::AddK(value)
                if !(value >= 0.0 && value.is_finite()) =>
            {
                Err(MetricError::Argument {
                    name: "smooth_method",
                    value: format!("{:?}", self.smooth_method),
                    expected: "a finite value of at least 0",
                })
            }
            _ => Ok(()),
        }
    }

    fn signature(&self, references: &[Vec<&str>]) -> String {
        let smooth = match self.smooth_method {
            BleuSmoothing::None => "none".into(),
            BleuSmoothing::Floor(value) => format!("floor[{value:.2}]"),
            BleuSmoothing::AddK(value) => format!("add-k[{value:.2}]"),
            BleuSmoothing::Exp => "exp".to_string(),
        };
        let eff = yes_no(self.effective_order);
        let own = format!("eff:{eff}|tok:{}|smooth:{smooth}", self.tokenize.name());
        signature(references, self.lowercase, &own)
    }

    fn words(&self, line: &str) -> Vec<String> {
        let line = if self.lowercase {
            line.to_lowercase()
        } else {
            line.to_string()
        };
        self.tokenize.tokenize(line.trim_end_matches(is_space))
    }

    fn count(&self, sum: &mut Statistics, hypothesis: &str, references: &[&str]) {
        let hypothesis = self.words(hypothesis);
        let references: Vec<Vec<String>> = references.iter().map(|r| self.words(r)).collect();
        // The nearest length; of two that are equally near, the shorter.
        let distance = |len: &usize| (len.abs_diff(hypothesis.len()), *len);
        let nearest = references.iter().map(Vec::len).min_by_key(distance);
        sum.sys_len += hypothesis.len() as u64;
        sum.ref_len += nearest.unwrap_or(0) as u64;
        for n in 1..=self.max_ngram_order {
            let counts: Vec<_> = references.iter().map(|r| ngrams(r, n)).collect();
            sum.counts[n - 1] += matches(&hypothesis, &counts, n);
            sum.totals[n - 1] += num_ngrams(hypothesis.len(), n);
        }
    }

    fn score(&self, sum: Statistics, signature: String) -> BleuScore {
        let (sys_len, ref_len) = (sum.sys_len as f64, sum.ref_len as f64);
        let bp = match sum.sys_len {
            len if len >= sum.ref_len => 1.0,
            0 => 0.0,
            _ => (1.0 - ref_len / sys_len).exp(),
        };
        let (precisions, order) = self.precisions(&sum);
        let logs = precisions[..order].iter().map(|p| p.ln()).sum::<f64>();
        // An order of precision 0 has the logarithm -inf and makes the score 0.
        let score = bp * (logs / order as f64).exp();
        BleuScore {
            score,
            counts: sum.counts,
            totals: sum.totals,
            precisions,
            bp,
            sys_len: sum.sys_len,
            ref_len: sum.ref_len,
            signature,
        }
    }

    /// The smoothed precision of each order in percent, and how many orders count. Without any
    /// match, all are 0.
    fn precisions(&self, sum: &Statistics) -> (Vec<f64>, usize) {
        let mut precisions = vec![0.0; self.max_ngram_order];
        let mut order = self.max_ngram_order;
        if sum.counts.iter().all(|&count| count == 0) {
            return (precisions, order);
        }
        let mut halved = 1.0;
        for (n, precision) in (1..).zip(&mut precisions) {
            let (mut count, mut total) = (sum.counts[n - 1] as f64, sum.totals[n - 1] as f64);
            if let (BleuSmoothing::AddK(k), true) = (self.smooth_method, n > 1) {
                (count, total) = (count + k, total + k);
            }
            if total == 0.0 {
                break;
            }
            if self.effective_order {
                order = n;
            }
            if count == 0.0 {
                count = match self.smooth_method {
                    BleuSmoothing::Exp => {
                        halved /= 2.0;
                        halved
                    }
                    BleuSmoothing::Floor(value) => value,
                    BleuSmoothing::None | BleuSmoothing::AddK(_) => 0.0,
                };
            }
            *precision = 100.0 * count / total;
        }
        (precisions, order)
    }
}

/// Sums over sentences that BLEU is computed from.
struct Statistics {
    counts: Vec<u64>,
    totals: Vec<u64>,
    sys_len: u64,
    ref_len: u64,
}

impl Statistics {
    fn new(max_ngram_order: usize) -> Self {
        Self {
            counts: vec![0; max_ngram_order],
            totals: vec![0; max_ngram_order],
            sys_len: 0,
            ref_len: 0,
        }
    }
}

impl fmt::Display for BleuScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(2);
        let precisions: Vec<String> = self.precisions.iter().map(|p| format!("{p:.1}")).collect();
        let ratio = match self.ref_len {
            0 => 0.0,
            len => self.sys_len as f64 / len as f64,
        };
        write!(
            f,
            "BLEU = {:.decimals$} {} (BP = {:.3} ratio = {ratio:.3} hyp_len = {} ref_len = {})",
            self.score,
            precisions.join("/"),
            self.bp,
            self.sys_len,
            self.ref_len,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_hypothesis_pays() {
        let bleu = Bleu {
            max_ngram_order: 1,
            ..Bleu::default()
        };
        let score = bleu.sentence_score("a b", &["a b c d"]).unwrap();
        assert_eq!((score.bp, score.precisions[0]), ((-1.0f64).exp(), 100.0));
        assert!((score.score - 36.787_944_117_144).abs() < 1e-9);
        // Of the lengths 1 and 3 the shorter is taken as nearest to 2.
        let score = bleu.sentence_score("a b", &["a b c", "a"]).unwrap();
        assert_eq!(
            (score.ref_len, score.bp, score.precisions),
            (1, 1.0, vec![100.0])
        );
    }

    #[test]
    fn bad_input_is_named() {
        let text = |r: Result<BleuScore>| r.unwrap_err().to_string();
        let bleu = Bleu::default();
        let none: [&[&str]; 2] = [&["a"], &[]];
        assert_eq!(
            text(bleu.corpus_score(&["a", "b"], &none)),
            "references is empty for hypothesis 1; expected at least one reference for each hypothesis"
        );
        assert!(text(bleu.corpus_score(&["a"], &none)).contains("expected 1 to match hypotheses"));
        assert!(text(bleu.corpus_score::<&str, [&str; 1], _>(&[], &[])).contains("no samples"));
        for smooth_method in [
            BleuSmoothing::Floor(f64::NAN),
            BleuSmoothing::AddK(-1.0),
            BleuSmoothing::AddK(f64::INFINITY),
        ] {
            let bleu = Bleu {
                smooth_method,
                ..bleu
            };
            assert!(text(bleu.sentence_score("a", &["a"])).contains("at least 0"));
        }
        for max_ngram_order in [0, usize::MAX] {
            let bleu = Bleu {
                max_ngram_order,
                ..bleu
            };
            assert!(text(bleu.sentence_score("a", &["a"])).contains("max_ngram_order is"));
        }
    }
}
