//! The data gate of questions.

use super::{ClassCount, Finding, GateReport, Kind, Level, SplitSummary};
use crate::questions::{Question, QuestionSet};
use std::collections::{BTreeMap, BTreeSet};

/// Looks for answers that do not stand where they say, empty questions and paragraphs, questions without an
/// answer that are not said to have none (errors: these questions are unusable), questions that have
/// answers and are said to have none, ids and questions that recur, and articles or paragraphs that are
/// in two splits (an error). The balance is that of answered and unanswerable questions.
pub fn inspect_questions(train: &QuestionSet, others: &[(&str, &QuestionSet)]) -> GateReport {
    let mut splits = vec![("train", train)];
    splits.extend(others);
    let summary = |(name, set): &(&str, &QuestionSet)| SplitSummary {
        name: (*name).into(),
        location: set.location().into(),
        samples: set.len(),
        unusable: rows(set, |q| is_empty(q) || is_misplaced(q) || is_unanswered(q)),
    };
    let count = |impossible: bool| {
        let wanted = |q: &Question| q.is_impossible == impossible;
        splits
            .iter()
            .map(|(_, set)| rows(set, wanted).len())
            .collect()
    };
    let class = |class: &str, counts| ClassCount {
        class: class.into(),
        counts,
    };
    let balance = vec![
        class("with an answer", count(false)),
        class("without", count(true)),
    ];
    let summaries = splits.iter().map(summary).collect();
    let mut report = GateReport::new(train.location(), summaries, balance);
    let each = |set: &QuestionSet| [single(set), repeated(set)].concat();
    report.compare(&splits, each, shared);
    report
}

fn rows(set: &QuestionSet, wanted: impl Fn(&Question) -> bool) -> Vec<usize> {
    let all = set.questions().iter().enumerate();
    all.filter(|(_, q)| wanted(q)).map(|(row, _)| row).collect()
}

fn is_empty(q: &Question) -> bool {
    q.question.trim().is_empty() || q.context.trim().is_empty()
}

fn is_misplaced(q: &Question) -> bool {
    q.answers.iter().any(|answer| q.place(answer).is_none())
}

fn is_unanswered(q: &Question) -> bool {
    q.answers.is_empty() && !q.is_impossible
}

/// What is wrong with single questions.
fn single(set: &QuestionSet) -> Vec<Finding> {
    let about = |level, kind, what: &str, wanted: &dyn Fn(&Question) -> bool| {
        let ids: Vec<String> = rows(set, wanted)
            .iter()
            .map(|&row| set.questions()[row].id.clone())
            .collect();
        Finding::about(level, kind, what, &ids)
    };
    let misplaced = "questions with an answer that does not stand where answer_start says";
    let both = "questions that have an answer and are said to have none (taken to have one)";
    [
        about(
            Level::Error,
            Kind::Corrupt,
            "questions that are empty, or whose paragraph is",
            &is_empty,
        ),
        about(Level::Error, Kind::Corrupt, misplaced, &is_misplaced),
        about(
            Level::Error,
            Kind::Unlabelled,
            "questions without an answer",
            &is_unanswered,
        ),
        about(Level::Warning, Kind::Conflict, both, &|q| {
            q.is_impossible && !q.answers.is_empty()
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Questions and ids that recur in a split.
fn repeated(set: &QuestionSet) -> Vec<Finding> {
    let (mut ids, mut texts) = (BTreeSet::new(), BTreeMap::new());
    let (mut same_id, mut same_text) = (Vec::new(), Vec::new());
    for q in set.questions() {
        if !ids.insert(&q.id) {
            same_id.push(q.id.clone());
        }
        let first: &String = texts
            .entry((&q.context, q.question.trim()))
            .or_insert(&q.id);
        if *first != q.id {
            same_text.push(format!("{first} and {}", q.id));
        }
    }
    let what = "questions asked more than once about a paragraph";
    let found = [
        Finding::about(
            Level::Warning,
            Kind::Duplicate,
            "ids that occur more than once",
            &same_id,
        ),
        Finding::about(Level::Info, Kind::Duplicate, what, &same_text),
    ];
    found.into_iter().flatten().collect()
}

/// Articles and paragraphs of both.
fn shared(set: &QuestionSet, with: &QuestionSet) -> Vec<Finding> {
    let titles = set.titles();
    let of_both = with
        .titles()
        .into_iter()
        .filter(|t| !t.is_empty() && titles.contains(t));
    let of_both: Vec<String> = of_both.map(String::from).collect();
    let known: BTreeSet<&str> = set.questions().iter().map(|q| &*q.context).collect();
    let other: BTreeSet<&str> = with.questions().iter().map(|q| &*q.context).collect();
    let start = |context: &&str| format!("{}…", context.chars().take(40).collect::<String>());
    let contexts: Vec<String> = other.intersection(&known).map(start).collect();
    let found = [
        Finding::about(
            Level::Error,
            Kind::Leakage,
            "articles that are in both",
            &of_both,
        ),
        Finding::about(
            Level::Error,
            Kind::Leakage,
            "paragraphs that are in both",
            &contexts,
        ),
    ];
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(title: &str, context: &str, qas: &[Value]) -> QuestionSet {
        let paragraphs = json!([{"context": context, "qas": qas}]);
        let file = json!({"data": [{"title": title, "paragraphs": paragraphs}]}).to_string();
        QuestionSet::from_json("here", file.as_bytes()).unwrap()
    }

    fn asked(id: &str, question: &str, answer: Option<(&str, usize)>, impossible: bool) -> Value {
        let answers: Vec<Value> = answer
            .iter()
            .map(|(text, at)| json!({"text": text, "answer_start": at}))
            .collect();
        json!({"id": id, "question": question, "answers": answers, "is_impossible": impossible})
    }

    #[test]
    fn every_defect_is_found_once() {
        let good = Some(("fox", 2));
        let qas = [
            asked("1", "Who?", good, false),
            asked("2", " ", good, false),
            asked("3", "Where?", Some(("fox", 3)), false),
            asked("4", "Why?", None, false),
            asked("5", "When?", good, true),
            asked("5", "How?", None, true),
            asked("6", "Who?", good, false),
        ];
        let train = set("T", "a fox", &qas);
        let valid = set("T", "a fox", &[asked("9", "Who?", good, false)]);
        let report = inspect_questions(&train, &[("valid", &valid)]);
        let found: Vec<(Kind, &str, usize)> = report
            .findings
            .iter()
            .map(|f| (f.kind, f.split.as_str(), f.count))
            .collect();
        let expected = [
            (Kind::Corrupt, "train", 1),
            (Kind::Corrupt, "train", 1),
            (Kind::Unlabelled, "train", 1),
            (Kind::Leakage, "train, valid", 1),
            (Kind::Leakage, "train, valid", 1),
            (Kind::Conflict, "train", 1),
            (Kind::Duplicate, "train", 1),
            (Kind::Duplicate, "train", 1),
        ];
        for one in expected {
            assert!(found.contains(&one), "{one:?} in {found:?}");
        }
        assert_eq!(found.len(), expected.len(), "{report}");
        assert_eq!(report.unusable("train"), [1, 2, 3]);
        assert_eq!(report.balance[1].counts, [2, 0]);
        assert!(report.refuse_unless(false).is_err());
    }

    #[test]
    fn clean_questions_have_no_findings() {
        let one = set("T", "a fox", &[asked("1", "Who?", Some(("fox", 2)), false)]);
        let other = set("U", "a dog", &[asked("2", "Who?", None, true)]);
        assert!(
            inspect_questions(&one, &[("valid", &other)])
                .findings
                .is_empty()
        );
    }
}
