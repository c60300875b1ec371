//! The data gate of labelled texts.

use super::{ClassCount, Finding, GateReport, Kind, Level, SplitSummary};
use crate::labelled::LabelledTexts;
use std::collections::BTreeMap;

/// A class of fewer training texts is hardly learnt.
const MIN_SAMPLES: usize = 5;

/// The largest class may have so many times the texts of the smallest.
const MAX_IMBALANCE: f64 = 20.0;

/// Looks for empty texts and texts without a label (errors, unless `multi_label`), texts that are in two
/// splits or have two labels, repeated texts, and the balance of the classes.
pub fn inspect_labelled(
    train: &LabelledTexts,
    others: &[(&str, &LabelledTexts)],
    multi_label: bool,
) -> GateReport {
    let mut splits = vec![("train", train)];
    splits.extend(others);
    let summary = |(name, texts): &(&str, &LabelledTexts)| SplitSummary {
        name: (*name).into(),
        location: texts.location().into(),
        samples: texts.len(),
        unusable: (0..texts.len())
            .filter(|&row| is_empty(texts, row) || (!multi_label && is_unlabelled(texts, row)))
            .collect(),
    };
    let counts: Vec<Vec<usize>> = splits.iter().map(|(_, t)| t.class_counts()).collect();
    let class = |(i, class): (usize, &String)| ClassCount {
        class: class.clone(),
        counts: counts
            .iter()
            .map(|c| c.get(i).copied().unwrap_or(0))
            .collect(),
    };
    let balance = train.classes().iter().enumerate().map(class).collect();
    let summaries = splits.iter().map(summary).collect();
    let mut report = GateReport::new(train.location(), summaries, balance);
    report.compare(&splits, |texts| rows(texts, multi_label), shared);
    for finding in classes(train, &report) {
        report.push(finding.in_split("train"));
    }
    report
}

fn is_empty(texts: &LabelledTexts, row: usize) -> bool {
    texts.text(row).trim().is_empty()
}

fn is_unlabelled(texts: &LabelledTexts, row: usize) -> bool {
    texts.labels(row).is_empty()
}

/// A finding about rows, if there are any.
fn about(
    level: Level,
    kind: Kind,
    what: &str,
    texts: &LabelledTexts,
    rows: &[usize],
) -> Option<Finding> {
    let names: Vec<String> = rows
        .iter()
        .take(Finding::MAX_EXAMPLES)
        .map(|&row| texts.name(row))
        .collect();
    (!rows.is_empty()).then(|| Finding::new(level, kind, what, rows.len(), names))
}

/// What is wrong with single rows of a split.
fn rows(texts: &LabelledTexts, multi_label: bool) -> Vec<Finding> {
    let all = 0..texts.len();
    let empty: Vec<usize> = all.clone().filter(|&row| is_empty(texts, row)).collect();
    let unlabelled: Vec<usize> = all
        .clone()
        .filter(|&row| !multi_label && is_unlabelled(texts, row))
        .collect();
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut repeated, mut conflicting) = (Vec::new(), Vec::new());
    for row in all {
        let earlier = *first.entry(texts.text(row)).or_insert(row);
        if earlier != row && texts.labels(earlier) == texts.labels(row) {
            repeated.push(row);
        } else if earlier != row {
            conflicting.push(row);
        }
    }
    let found = [
        about(Level::Error, Kind::Corrupt, "empty texts", texts, &empty),
        about(
            Level::Error,
            Kind::Unlabelled,
            "texts without a label",
            texts,
            &unlabelled,
        ),
        about(
            Level::Warning,
            Kind::Conflict,
            "texts that occur with another label too",
            texts,
            &conflicting,
        ),
        about(
            Level::Warning,
            Kind::Duplicate,
            "repeated texts",
            texts,
            &repeated,
        ),
    ];
    found.into_iter().flatten().collect()
}

/// What is wrong with the classes of the training texts.
fn classes(train: &LabelledTexts, report: &GateReport) -> Vec<Finding> {
    let mut found = Vec::new();
    let names = train.classes().iter().zip(train.class_counts());
    let with = |wanted: &dyn Fn(usize) -> bool| -> Vec<String> {
        let chosen = names.clone().filter(|(_, count)| wanted(*count));
        chosen.map(|(name, _)| name.clone()).collect()
    };
    let mut push = |level, kind, what: &str, names: Vec<String>| {
        if !names.is_empty() {
            found.push(Finding::new(level, kind, what, names.len(), names));
        }
    };
    let filled = with(&|count| count > 0);
    if filled.len() < 2 {
        let what = "classes with texts; there must be two";
        push(Level::Error, Kind::FewClasses, what, filled);
    }
    let what = format!("classes with fewer than {MIN_SAMPLES} texts");
    let small = with(&|count| count > 0 && count < MIN_SAMPLES);
    push(Level::Warning, Kind::FewSamples, &what, small);
    if let Some(ratio) = report.imbalance.filter(|&ratio| ratio > MAX_IMBALANCE) {
        let largest = train.class_counts().into_iter().max().unwrap_or(0);
        let limit = largest as f64 / MAX_IMBALANCE;
        let what = format!(
            "classes are more than {MAX_IMBALANCE} times smaller than the largest (up to {ratio:.0})"
        );
        let rare = with(&|count| count > 0 && (count as f64) < limit);
        push(Level::Warning, Kind::Imbalance, &what, rare);
    }
    found
}

/// Texts that are in two splits.
fn shared(texts: &LabelledTexts, with: &LabelledTexts) -> Option<Finding> {
    let first: BTreeMap<&str, usize> = (0..texts.len()).map(|row| (texts.text(row), row)).collect();
    let both: Vec<usize> = (0..with.len())
        .filter(|&row| first.contains_key(with.text(row)))
        .collect();
    let what = "texts that are in both";
    about(Level::Warning, Kind::Leakage, what, with, &both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labelled::Columns;

    fn texts(rows: &str) -> LabelledTexts {
        let csv = format!("text,label\n{rows}");
        LabelledTexts::from_csv("t.csv", csv.as_bytes(), &Columns::default()).unwrap()
    }

    #[test]
    fn each_defect_is_found() {
        let train = texts("a,x\na,x\nb,x\nb,y\n ,y\nc,\n");
        let valid = texts("b,x\nd,y\n").relabelled(train.classes()).unwrap();
        let report = inspect_labelled(&train, &[("valid", &valid)], false);
        let kinds: Vec<(Kind, usize)> = report.findings.iter().map(|f| (f.kind, f.count)).collect();
        for expected in [
            (Kind::Corrupt, 1),
            (Kind::Unlabelled, 1),
            (Kind::Conflict, 1),
            (Kind::Duplicate, 1),
            (Kind::Leakage, 1),
            (Kind::FewSamples, 2),
        ] {
            assert!(kinds.contains(&expected), "{expected:?} in {kinds:?}");
        }
        assert_eq!(report.unusable("train"), [4, 5]);
        assert!(report.refuse_unless(false).is_err());
        let multi = inspect_labelled(&texts("a,x\nb,y\nc,\n"), &[], true);
        assert!(multi.refuse_unless(false).is_ok(), "{multi}");
        let one = inspect_labelled(&texts("a,x\nb,x\n"), &[], false);
        assert!(one.of(Kind::FewClasses).next().is_some());
    }
}
