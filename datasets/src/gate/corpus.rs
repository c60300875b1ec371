//! The data gate of running text.

use super::{Finding, GateReport, Kind, Level, SplitSummary};
use crate::corpus::Corpus;
use std::collections::BTreeSet;

/// Lines of fewer characters recur by nature (names, headings); longer ones in both parts are leakage.
const LEAKAGE_CHARS: usize = 80;

/// Looks for characters that stand for damage (U+FFFD, NUL) and for lines of 80 characters or more
/// that are in both parts; both are warnings. A part's samples are its characters.
pub fn inspect_corpus(train: &Corpus, valid: &Corpus) -> GateReport {
    let summary = |name: &str, corpus: &Corpus| SplitSummary {
        name: name.into(),
        location: corpus.location().into(),
        samples: corpus.num_chars(),
        unusable: Vec::new(),
    };
    let splits = vec![summary("train", train), summary("valid", valid)];
    let mut report = GateReport::new(train.location(), splits, Vec::new());
    for (name, corpus) in [("train", train), ("valid", valid)] {
        let chars = corpus.documents().iter().flat_map(|d| d.chars());
        let damaged = chars.filter(|c| matches!(c, '\u{FFFD}' | '\0')).count();
        if damaged > 0 {
            let what = "characters that stand for damage (U+FFFD or NUL)";
            let finding = Finding::new(Level::Warning, Kind::Corrupt, what, damaged, []);
            report.push(finding.in_split(name));
        }
    }
    let seen: BTreeSet<&str> = long_lines(train).collect();
    let shared: BTreeSet<&str> = long_lines(valid)
        .filter(|line| seen.contains(line))
        .collect();
    if !shared.is_empty() {
        let what = "long lines of the validation text are in the training text";
        let examples = shared.iter().map(|line| line.chars().take(40).collect());
        let (level, kind) = (Level::Warning, Kind::Leakage);
        let finding = Finding::new(level, kind, what, shared.len(), examples);
        report.push(finding.in_split("train, valid"));
    }
    report
}

fn long_lines(corpus: &Corpus) -> impl Iterator<Item = &str> {
    let lines = corpus.documents().iter().flat_map(|d| d.lines());
    lines
        .map(str::trim)
        .filter(|line| line.chars().nth(LEAKAGE_CHARS - 1).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_and_leakage_are_found() {
        let long = "all work and no play ".repeat(5);
        let corpus = |text: String| Corpus::from_bytes("here", text.as_bytes()).unwrap();
        let train = corpus(format!("{long}\nshort\n"));
        let valid = corpus(format!("short\n{long}\nbad \u{FFFD}\0\n"));
        let report = inspect_corpus(&train, &valid);
        let found: Vec<_> = report.findings.iter().map(|f| (f.kind, f.count)).collect();
        assert_eq!(found.len(), 2);
        assert!(found.contains(&(Kind::Corrupt, 2)) && found.contains(&(Kind::Leakage, 1)));
        assert!(inspect_corpus(&train, &corpus("short".into())).is_clean());
    }
}
