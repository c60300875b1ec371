//! The data gate of tagged words.

use super::{ClassCount, Finding, GateReport, Kind, Level, SplitSummary};
use crate::tagged::{TaggedSentence, TaggedText};
use std::collections::{BTreeMap, BTreeSet};

/// Sentences of fewer words recur by nature; longer ones in two splits are leakage.
const LEAKAGE_WORDS: usize = 5;

/// A type with fewer entities in the training text is hardly learnt.
const MIN_ENTITIES: usize = 5;

/// A sentence beyond this is more likely a whole document, in words.
const LONG_WORDS: usize = 500;

/// Looks for sentences that could not be read, words that are empty and tags that the training text lacks (errors:
/// these sentences are unusable), sentences of five words or more that are in two splits (an error), tags
/// that do not follow IOB2 (`I-` without a beginning, prefixes other than `B-` and `I-`), the same
/// sentence with other tags, repeated and very long sentences, and types with few entities. The balance is
/// that of the entities, or of the tags where none has a prefix.
pub fn inspect_tagged(train: &TaggedText, others: &[(&str, &TaggedText)]) -> GateReport {
    let mut splits = vec![("train", train)];
    splits.extend(others);
    let known: BTreeSet<String> = train.tags().into_iter().collect();
    let summary = |(name, text): &(&str, &TaggedText)| SplitSummary {
        name: (*name).into(),
        location: text.location().into(),
        samples: text.len(),
        unusable: rows(text, |s| has_empty_word(s) || has_unknown_tag(s, &known)),
    };
    let summaries = splits.iter().map(summary).collect();
    let mut report = GateReport::new(train.location(), summaries, balance(&splits));
    let each = |text: &TaggedText| [single(text, &known), repeated(text)].concat();
    report.compare(&splits, each, shared);
    for finding in types(&known, &report) {
        report.push(finding.in_split("train"));
    }
    report
}

fn rows(text: &TaggedText, wanted: impl Fn(&TaggedSentence) -> bool) -> Vec<usize> {
    let all = text.sentences().iter().enumerate();
    all.filter(|(_, s)| wanted(s)).map(|(row, _)| row).collect()
}

fn has_empty_word(sentence: &TaggedSentence) -> bool {
    sentence.words.iter().any(|word| word.trim().is_empty())
}

fn has_unknown_tag(sentence: &TaggedSentence, known: &BTreeSet<String>) -> bool {
    sentence.tags.iter().any(|tag| !known.contains(tag))
}

/// Prefix and type of a tag: `B-PER` is `("B", "PER")`; a tag without a prefix is its own type.
fn parts(tag: &str) -> (&str, &str) {
    tag.split_once('-').unwrap_or(("", tag))
}

/// Whether an `I-` follows neither a `B-` nor an `I-` of its type.
fn has_orphan(sentence: &TaggedSentence) -> bool {
    let mut before = ("", "O");
    sentence.tags.iter().any(|tag| {
        let here = parts(tag);
        let orphan = here.0 == "I" && (before.1 != here.1 || !matches!(before.0, "B" | "I"));
        before = here;
        orphan
    })
}

fn has_foreign_prefix(sentence: &TaggedSentence) -> bool {
    let prefixes = sentence.tags.iter().map(|tag| parts(tag).0);
    prefixes.into_iter().any(|p| !matches!(p, "" | "B" | "I"))
}

/// Entities of each type, told by where they begin.
fn balance(splits: &[(&str, &TaggedText)]) -> Vec<ClassCount> {
    let mut counts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, (_, text)) in splits.iter().enumerate() {
        for tag in text.sentences().iter().flat_map(|s| &s.tags) {
            let (prefix, kind) = parts(tag);
            if tag != "O" {
                let row = counts.entry(kind).or_insert_with(|| vec![0; splits.len()]);
                row[at] += usize::from(prefix != "I");
            }
        }
    }
    let class = |(class, counts): (&str, Vec<usize>)| ClassCount {
        class: class.into(),
        counts,
    };
    counts.into_iter().map(class).collect()
}

/// What is wrong with single sentences.
fn single(text: &TaggedText, known: &BTreeSet<String>) -> Vec<Finding> {
    let names = |wanted: &dyn Fn(&TaggedSentence) -> bool| -> Vec<String> {
        rows(text, wanted)
            .iter()
            .map(|&row| text.name(row))
            .collect()
    };
    let tags: BTreeSet<String> = text.tags().into_iter().collect();
    let unknown: Vec<String> = tags.difference(known).cloned().collect();
    let long = format!("sentences of more than {LONG_WORDS} words");
    let orphans = "sentences with an I- that nothing began (counted as a beginning; is this IOB1?)";
    [
        Finding::about(
            Level::Error,
            Kind::Corrupt,
            "sentences cannot be read",
            text.invalid(),
        ),
        Finding::about(
            Level::Error,
            Kind::Corrupt,
            "sentences with empty words",
            &names(&has_empty_word),
        ),
        Finding::about(
            Level::Error,
            Kind::ClassList,
            "tags that the training text lacks",
            &unknown,
        ),
        Finding::about(
            Level::Warning,
            Kind::Malformed,
            orphans,
            &names(&has_orphan),
        ),
        Finding::about(
            Level::Warning,
            Kind::Malformed,
            "sentences with prefixes other than B- and I-",
            &names(&has_foreign_prefix),
        ),
        Finding::about(
            Level::Info,
            Kind::SizeOutlier,
            &long,
            &names(&|s| s.words.len() > LONG_WORDS),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Sentences that recur in a split, with the same tags or with others.
fn repeated(text: &TaggedText) -> Vec<Finding> {
    let mut seen: BTreeMap<&[String], &TaggedSentence> = BTreeMap::new();
    let (mut repeated, mut conflicts) = (Vec::new(), Vec::new());
    for sentence in text.sentences() {
        let first = *seen.entry(&sentence.words).or_insert(sentence);
        let lines = format!("lines {} and {}", first.line, sentence.line);
        if first.line == sentence.line {
            continue;
        }
        if first.tags == sentence.tags {
            repeated.push(lines);
        } else {
            conflicts.push(lines);
        }
    }
    let other = "sentences that occur with other tags too";
    let found = [
        Finding::about(Level::Warning, Kind::Conflict, other, &conflicts),
        Finding::about(
            Level::Info,
            Kind::Duplicate,
            "repeated sentences",
            &repeated,
        ),
    ];
    found.into_iter().flatten().collect()
}

/// What is wrong with the types of the training text.
fn types(known: &BTreeSet<String>, report: &GateReport) -> Vec<Finding> {
    let few: Vec<String> = known.iter().cloned().collect();
    let few = if known.len() < 2 { few } else { Vec::new() };
    let count = |class: &ClassCount| class.counts.first().copied().unwrap_or(0);
    let small = report
        .balance
        .iter()
        .filter(|c| (1..MIN_ENTITIES).contains(&count(c)));
    let small: Vec<String> = small.map(|c| c.class.clone()).collect();
    let what = format!("types with fewer than {MIN_ENTITIES} entities");
    let found = [
        Finding::about(
            Level::Error,
            Kind::FewClasses,
            "tags; there must be two",
            &few,
        ),
        Finding::about(Level::Warning, Kind::FewSamples, &what, &small),
    ];
    found.into_iter().flatten().collect()
}

/// Sentences of both.
fn shared(text: &TaggedText, with: &TaggedText) -> Option<Finding> {
    let known: BTreeSet<&[String]> = text.sentences().iter().map(|s| &s.words[..]).collect();
    let leaks = rows(with, |s| {
        s.words.len() >= LEAKAGE_WORDS && known.contains(&s.words[..])
    });
    let names: Vec<String> = leaks.iter().map(|&row| with.name(row)).collect();
    let what = format!("sentences of {LEAKAGE_WORDS} words or more in both");
    Finding::about(Level::Error, Kind::Leakage, &what, &names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagged::TagColumns;

    fn text(content: &str) -> TaggedText {
        TaggedText::from_conll("here", content.as_bytes(), &TagColumns::default()).unwrap()
    }

    #[test]
    fn every_defect_is_found_once() {
        let train = text(
            "a O\nb B-X\nc I-X\nd O\ne O\n\na O\nb I-X\n\n\tO\n\nword\n\nf S-Y\n\nf B-Y\n\nf S-Y\n",
        );
        let test = text("a O\nb B-X\nc I-X\nd O\ne O\n\nz B-Z\n");
        let report = inspect_tagged(&train, &[("test", &test)]);
        let found: Vec<(Kind, &str, usize)> = report
            .findings
            .iter()
            .map(|f| (f.kind, f.split.as_str(), f.count))
            .collect();
        let expected = [
            (Kind::Corrupt, "train", 1),
            (Kind::Corrupt, "train", 1),
            (Kind::Leakage, "train, test", 1),
            (Kind::ClassList, "test", 1),
            (Kind::Malformed, "train", 1),
            (Kind::Malformed, "train", 2),
            (Kind::Conflict, "train", 1),
            (Kind::FewSamples, "train", 2),
            (Kind::Duplicate, "train", 1),
        ];
        for one in expected {
            assert!(found.contains(&one), "{one:?} in {found:?}");
        }
        assert_eq!(found.len(), expected.len(), "{report}");
        assert_eq!(
            (report.unusable("train"), report.unusable("test")),
            (&[2][..], &[1][..])
        );
        assert!(report.refuse_unless(false).is_err());
        let counts: Vec<_> = report
            .balance
            .iter()
            .map(|c| (c.class.as_str(), &c.counts[..]))
            .collect();
        assert_eq!(counts, [("X", &[1, 1][..]), ("Y", &[3, 0]), ("Z", &[0, 1])]);
    }

    #[test]
    fn clean_text_has_no_findings_and_one_tag_is_too_few() {
        let row = |i: usize| format!("w{i} B-X\nv O\n\n");
        let report = inspect_tagged(&text(&(0..6).map(row).collect::<String>()), &[]);
        assert!(report.findings.is_empty(), "{report}");
        let report = inspect_tagged(&text("a O\n"), &[]);
        assert!(report.of(Kind::FewClasses).next().is_some());
    }
}
