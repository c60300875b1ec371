//! Exact match and F1 of extracted answers, as the SQuAD evaluation scripts compute them (Rajpurkar
//! et al. 2016 and 2018): v1.1 as packaged in `torchmetrics.functional.text.squad`, v2.0 as in
//! `transformers.data.metrics.squad_metrics`. All scores are percentages, as there.
//!
//! Predictions and golds come as aligned slices, so that no question lacks a prediction. Where
//! prediction and gold both normalise to nothing F1 is 1, as in both packages; the script of 2016
//! gave 0 there. Letters and lower case are those of the Unicode version that Rust and `regex` carry; for
//! characters that are newer than a Python's own tables that Python may answer otherwise.

use crate::text::{single_spaced, split};
use crate::{MetricError, Result, Score, check};
use regex::Regex;
use serde::Serialize;
use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

/// Words as Python's `\b` bounds them. Rust's own `\b` counts combining marks as letters.
static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("the pattern is constant and valid"));

/// Exact match and F1 over some questions, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SquadScores {
    /// Share of questions whose answer equals a gold one after [`normalize_answer`].
    pub exact: f64,
    /// Mean over questions of the best F1 with a gold answer.
    pub f1: f64,
    /// Questions.
    pub total: u64,
}

/// What the SQuAD v2.0 script reports; questions may have no answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SquadV2Scores {
    /// Over all questions.
    #[serde(flatten)]
    pub all: SquadScores,
    /// Over questions that have an answer, if there are any (`HasAns_exact`, ...).
    pub has_ans: Option<SquadScores>,
    /// Over questions that have none, if there are any (`NoAns_exact`, ...).
    pub no_ans: Option<SquadScores>,
    /// The best exact match that some threshold on the no-answer probability gives.
    pub best_exact: f64,
    /// The lowest such threshold; 0 if answering nothing is best.
    pub best_exact_thresh: f64,
    /// The best F1 that some threshold gives.
    pub best_f1: f64,
    /// The lowest such threshold.
    pub best_f1_thresh: f64,
}

/// An answer as it is compared: lower case, without ASCII punctuation, without the articles a, an
/// and the, single-spaced.
pub fn normalize_answer(text: &str) -> String {
    let mut text = text.to_lowercase();
    text.retain(|c| !c.is_ascii_punctuation());
    let text = WORD.replace_all(&text, |word: &regex::Captures<'_>| match &word[0] {
        "a" | "an" | "the" => Cow::Borrowed(" "),
        other => Cow::Owned(other.to_string()),
    });
    single_spaced(&text)
}

/// Whether prediction and gold are equal after [`normalize_answer`].
pub fn squad_exact(prediction: &str, gold: &str) -> bool {
    normalize_answer(prediction) == normalize_answer(gold)
}

/// F1 of the bags of words of prediction and gold after [`normalize_answer`], between 0 and 1; if
/// one has no words, 1 where the other has none either and 0 otherwise.
pub fn squad_f1(prediction: &str, gold: &str) -> f64 {
    let (prediction, gold) = (normalize_answer(prediction), normalize_answer(gold));
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in split(&gold) {
        *left.entry(word).or_default() += 1;
    }
    let (num_predicted, num_gold) = (split(&prediction).count(), split(&gold).count());
    if num_predicted == 0 || num_gold == 0 {
        return f64::from(u8::from(num_predicted == num_gold));
    }
    let mut same = 0;
    for word in split(&prediction) {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            same += 1;
        }
    }
    2.0 * f64::from(same) / (num_predicted + num_gold) as f64
}

/// SQuAD v1.1: one prediction a question against its gold answers, at least one.
pub fn squad_v1<P: AsRef<str>, A: AsRef<[G]>, G: AsRef<str>>(
    predictions: &[P],
    answers: &[A],
) -> Result<SquadScores> {
    checked_lengths(predictions.len(), answers.len())?;
    let questions = predictions.iter().zip(answers).enumerate();
    let scored: Vec<Question> = questions
        .map(|(index, (prediction, golds))| {
            if golds.as_ref().is_empty() {
                return Err(MetricError::Argument {
                    name: "answers",
                    value: format!("empty for question {index}"),
                    expected: "at least one; questions without answer are SQuAD v2.0's",
                });
            }
            let golds = golds.as_ref().iter().map(AsRef::as_ref);
            Ok(Question::new(prediction.as_ref(), golds, 0.0))
        })
        .collect::<Result<_>>()?;
    Ok(totals(
        &scored.iter().map(|q| (q.exact, q.f1)).collect::<Vec<_>>(),
    ))
}

/// SQuAD v2.0: one prediction a question, empty for "no answer", against its gold answers, none
/// where there is no answer.
///
/// Where `no_answer_probs` are given (without, they are 0), a question whose probability is above
/// `threshold` counts as left unanswered; the script's default is 1. The `best_` scores
/// do not depend on `threshold`. Golds that normalise to nothing are left out, as in the script.
pub fn squad_v2<P: AsRef<str>, A: AsRef<[G]>, G: AsRef<str>, S: Score>(
    predictions: &[P],
    answers: &[A],
    no_answer_probs: Option<&[S]>,
    threshold: f64,
) -> Result<SquadV2Scores> {
    checked_lengths(predictions.len(), answers.len())?;
    if threshold.is_nan() {
        return Err(MetricError::Argument {
            name: "threshold",
            value: threshold.to_string(),
            expected: "a number to compare no-answer probabilities with",
        });
    }
    let probs = match no_answer_probs {
        None => vec![0.0; predictions.len()],
        Some(probs) => {
            check::same_length(
                ("no_answer_probs", probs.len()),
                ("predictions", predictions.len()),
            )?;
            check::probabilities("no_answer_probs", probs)?
        }
    };
    let questions = predictions.iter().zip(answers).zip(probs);
    let questions: Vec<Question> = questions
        .map(|((prediction, golds), prob)| {
            let golds = golds.as_ref().iter().map(AsRef::as_ref);
            Question::new_v2(prediction.as_ref(), golds, prob)
        })
        .collect();
    Ok(v2_scores(&questions, threshold))
}

/// One question, judged.
struct Question {
    exact: f64,
    f1: f64,
    has_answer: bool,
    /// Whether the prediction, as given, is a text.
    answered: bool,
    no_answer_prob: f64,
}

impl Question {
    fn new<'a>(
        prediction: &str,
        golds: impl Iterator<Item = &'a str>,
        no_answer_prob: f64,
    ) -> Self {
        let (mut exact, mut f1) = (0.0f64, 0.0f64);
        for gold in golds {
            exact = exact.max(f64::from(u8::from(squad_exact(prediction, gold))));
            f1 = f1.max(squad_f1(prediction, gold));
        }
        Self {
            exact,
            f1,
            has_answer: true,
            answered: !prediction.is_empty(),
            no_answer_prob,
        }
    }

    fn new_v2<'a>(
        prediction: &str,
        golds: impl Iterator<Item = &'a str>,
        no_answer_prob: f64,
    ) -> Self {
        let golds: Vec<&str> = golds.collect();
        let mut texts = golds.clone();
        texts.retain(|gold| !normalize_answer(gold).is_empty());
        if texts.is_empty() {
            texts.push("");
        }
        Self {
            has_answer: !golds.is_empty(),
            ..Self::new(prediction, texts.into_iter(), no_answer_prob)
        }
    }

    /// Exact match and F1 with the answer withheld above the threshold.
    fn at(&self, threshold: f64) -> (f64, f64) {
        if self.no_answer_prob > threshold {
            let right = f64::from(u8::from(!self.has_answer));
            (right, right)
        } else {
            (self.exact, self.f1)
        }
    }
}

fn v2_scores(questions: &[Question], threshold: f64) -> SquadV2Scores {
    let of = |which: fn(&Question) -> bool| -> Vec<(f64, f64)> {
        let kept = questions.iter().filter(|q| which(q));
        kept.map(|q| q.at(threshold)).collect()
    };
    let some = |scores: Vec<(f64, f64)>| (!scores.is_empty()).then(|| totals(&scores));
    let (best_exact, best_exact_thresh) = best_threshold(questions, |q| q.exact);
    let (best_f1, best_f1_thresh) = best_threshold(questions, |q| q.f1);
    SquadV2Scores {
        all: totals(&of(|_| true)),
        has_ans: some(of(|q| q.has_answer)),
        no_ans: some(of(|q| !q.has_answer)),
        best_exact,
        best_exact_thresh,
        best_f1,
        best_f1_thresh,
    }
}

/// The best percentage over thresholds, and the first probability at which it is reached: starting
/// from nothing answered, answers are let through by rising no-answer probability, one at a time
/// (also among equal ones, in the order given, as the script does).
fn best_threshold(questions: &[Question], score: impl Fn(&Question) -> f64) -> (f64, f64) {
    let mut order: Vec<&Question> = questions.iter().collect();
    order.sort_by(|a, b| a.no_answer_prob.total_cmp(&b.no_answer_prob));
    let mut current = questions.iter().filter(|q| !q.has_answer).count() as f64;
    let (mut best, mut threshold) = (current, 0.0);
    for question in order {
        current += match (question.has_answer, question.answered) {
            (true, _) => score(question),
            (false, true) => -1.0,
            (false, false) => 0.0,
        };
        if current > best {
            (best, threshold) = (current, question.no_answer_prob);
        }
    }
    (100.0 * best / questions.len() as f64, threshold)
}

fn totals(scores: &[(f64, f64)]) -> SquadScores {
    let percent = |sum: f64| 100.0 * sum / scores.len() as f64;
    SquadScores {
        exact: percent(scores.iter().map(|(exact, _)| exact).sum()),
        f1: percent(scores.iter().map(|(_, f1)| f1).sum()),
        total: scores.len() as u64,
    }
}

fn checked_lengths(predictions: usize, answers: usize) -> Result<()> {
    check::same_length(("answers", answers), ("predictions", predictions))?;
    check::not_empty("SQuAD scores", predictions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_go_only_as_whole_words() {
        assert_eq!(
            normalize_answer(" The  cat, an A-team;\tthe\u{a0}other "),
            "cat ateam other"
        );
        assert_eq!(
            normalize_answer("theatre ana éa a\u{301}"),
            "theatre ana éa \u{301}"
        );
        // The punctuation of other scripts stays.
        assert_eq!(normalize_answer("「A」 猫。"), "「 」 猫。");
        assert_eq!(normalize_answer("the"), "");
    }

    #[test]
    fn f1_by_hand() {
        assert_eq!(squad_f1("the big big dog", "big dog dog"), 2.0 * 2.0 / 6.0);
        assert_eq!((squad_f1("", "a"), squad_f1("", "b")), (1.0, 0.0));
    }

    #[test]
    fn bad_input_is_named() {
        let none: [&[&str]; 1] = [&[]];
        let text = squad_v1(&["a"], &none).unwrap_err().to_string();
        assert!(
            text.starts_with("answers is empty for question 0"),
            "{text}"
        );
        assert!(squad_v1(&["a", "b"], &[["a"]]).is_err());
        assert!(squad_v1::<&str, [&str; 1], _>(&[], &[]).is_err());
        let probs = |p: f64| squad_v2(&["a"], &[["a"]], Some(&[p]), 1.0);
        assert!(
            probs(1.5)
                .unwrap_err()
                .to_string()
                .contains("no_answer_probs[0]")
        );
        assert!(probs(f64::NAN).is_err());
        assert!(squad_v2::<_, _, _, f64>(&["a"], &[["a"]], None, f64::NAN).is_err());
        assert!(squad_v2(&["a"], &[["a"]], Some(&[0.0, 1.0]), 1.0).is_err());
    }
}
