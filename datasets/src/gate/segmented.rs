//! The data gate of segmented text.

use super::{ClassCount, Finding, GateReport, Kind, Level, SplitSummary};
use crate::segmented::{SegmentedText, Sentence};
use std::collections::{BTreeMap, BTreeSet};

/// Sentences of fewer characters recur by nature (headings, "完"); longer ones in two splits are
/// leakage.
const LEAKAGE_CHARS: usize = 10;

/// A line beyond this is more likely a whole document, in characters.
const LONG_CHARS: usize = 2_000;

/// Words are counted by length: the last class is "this many characters or more".
const LONGEST_WORD: usize = 5;

/// Looks for lines that are not UTF-8 (an error that names the line), sentences of ten characters or
/// more that are in two splits (an error), the same text segmented in two ways, repeated sentences,
/// empty and very long lines. The balance is that of word lengths.
pub fn inspect_segmented(train: &SegmentedText, others: &[(&str, &SegmentedText)]) -> GateReport {
    let mut splits = vec![("train", train)];
    splits.extend(others);
    let summary = |(name, text): &(&str, &SegmentedText)| SplitSummary {
        name: (*name).into(),
        location: text.location().into(),
        samples: text.len(),
        unusable: Vec::new(),
    };
    let summaries = splits.iter().map(summary).collect();
    let mut report = GateReport::new(train.location(), summaries, balance(&splits));
    let each = |text: &SegmentedText| [lines(text), sentences(text)].concat();
    report.compare(&splits, each, shared);
    report
}

fn balance(splits: &[(&str, &SegmentedText)]) -> Vec<ClassCount> {
    let count = |text: &SegmentedText, length: usize| {
        let words = text.sentences().iter().flat_map(|s| &s.words);
        words
            .filter(|word| word.chars().count().min(LONGEST_WORD) == length)
            .count()
    };
    let class = |length: usize| ClassCount {
        class: match length {
            1 => "1 character".into(),
            LONGEST_WORD => format!("{length} characters or more"),
            _ => format!("{length} characters"),
        },
        counts: splits.iter().map(|(_, text)| count(text, length)).collect(),
    };
    (1..=LONGEST_WORD).map(class).collect()
}

fn lines(text: &SegmentedText) -> Vec<Finding> {
    let invalid: Vec<String> = text.invalid_lines().map(String::from).collect();
    let line = |number: &usize| format!("line {number}");
    let empty: Vec<String> = text.empty_lines().iter().map(line).collect();
    let long =
        |s: &&Sentence| s.words.iter().map(|w| w.chars().count()).sum::<usize>() > LONG_CHARS;
    let long = text.sentences().iter().filter(long);
    let long: Vec<String> = long.map(|s| line(&s.line)).collect();
    let long_what = format!("lines of more than {LONG_CHARS} characters");
    [
        Finding::about(Level::Error, Kind::Corrupt, "lines are not UTF-8", &invalid),
        Finding::about(Level::Info, Kind::Missing, "empty lines", &empty),
        Finding::about(Level::Info, Kind::SizeOutlier, &long_what, &long),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn sentences(text: &SegmentedText) -> Vec<Finding> {
    let mut seen: BTreeMap<String, &Sentence> = BTreeMap::new();
    let (mut repeated, mut conflicts) = (Vec::new(), Vec::new());
    for sentence in text.sentences() {
        let Some(first) = seen.get(&sentence.text()).copied() else {
            seen.insert(sentence.text(), sentence);
            continue;
        };
        let lines = format!("lines {} and {}", first.line, sentence.line);
        if first.words == sentence.words {
            repeated.push(lines);
        } else {
            conflicts.push(lines);
        }
    }
    let same_text = "sentences segmented in two ways";
    [
        Finding::about(Level::Warning, Kind::Conflict, same_text, &conflicts),
        Finding::about(
            Level::Info,
            Kind::Duplicate,
            "repeated sentences",
            &repeated,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Sentences of both.
fn shared(text: &SegmentedText, with: &SegmentedText) -> Option<Finding> {
    let texts: BTreeSet<String> = text.sentences().iter().map(Sentence::text).collect();
    let long = with.sentences().iter().filter_map(|sentence| {
        let text = sentence.text();
        let leaks = text.chars().count() >= LEAKAGE_CHARS && texts.contains(&text);
        leaks.then(|| format!("line {} of the second", sentence.line))
    });
    let long: Vec<String> = long.collect();
    let what = format!("sentences of {LEAKAGE_CHARS} characters or more in both");
    Finding::about(Level::Error, Kind::Leakage, &what, &long)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> SegmentedText {
        SegmentedText::from_bytes("here", bytes).unwrap()
    }

    fn kinds(report: &GateReport) -> Vec<(Kind, String, usize)> {
        let findings = report.findings.iter();
        findings
            .map(|f| (f.kind, f.split.clone(), f.count))
            .collect()
    }

    #[test]
    fn every_defect_is_found_once() {
        let train = "甲 乙\n甲 乙\n甲乙\n\n一 二 三 四 五 六 七 八 九 十\n".as_bytes();
        let train = text(&[train, b"\xFF\n"].concat());
        let test = text("丙\n一二三四五 六七八九十\n甲 乙\n".as_bytes());
        let report = inspect_segmented(&train, &[("test", &test)]);
        let expected = [
            (Kind::Corrupt, "train", 1),
            (Kind::Leakage, "train, test", 1),
            (Kind::Conflict, "train", 1),
            (Kind::Missing, "train", 1),
            (Kind::Duplicate, "train", 1),
        ];
        assert_eq!(kinds(&report), expected.map(|(k, s, n)| (k, s.into(), n)));
        assert_eq!(report.findings[0].examples, ["line 6, byte 1"]);
        assert_eq!(report.balance[0].counts, [14, 3]);
        assert!(report.refuse_unless(false).is_err());
    }

    #[test]
    fn a_clean_text_has_no_findings() {
        let report = inspect_segmented(&text("甲 乙\n".as_bytes()), &[]);
        assert!(report.is_clean() && report.findings.is_empty());
    }

    #[test]
    fn a_document_in_a_line_is_noted() {
        let long = text("字 ".repeat(LONG_CHARS + 1).as_bytes());
        let report = inspect_segmented(&long, &[]);
        assert_eq!(kinds(&report), [(Kind::SizeOutlier, "train".into(), 1)]);
    }
}
