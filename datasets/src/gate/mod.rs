//! The data gate: what is wrong with a data set, before a model is trained on it.
//!
//! The report knows nothing of images: [`Finding`]s of a [`Kind`] and a [`Level`], with a count and
//! example names, serve text and tables as well. [`inspect`] fills one for image sets, [`inspect_labelled`] for labelled
//! texts, [`inspect_segmented`] for segmented ones, [`inspect_corpus`] for running text,
//! [`inspect_tagged`] for tagged words, [`inspect_questions`] for questions, [`inspect_interactions`] for
//! interactions of users with items, [`inspect_frames`] for tables, [`inspect_series`] for time series.

mod corpus;
mod frames;
mod images;
mod interactions;
mod labelled;
mod questions;
mod segmented;
mod series;
mod tagged;

pub use corpus::inspect_corpus;
pub use frames::inspect_frames;
pub use images::{Checks, inspect, inspect_with};
pub use interactions::inspect_interactions;
pub use labelled::inspect_labelled;
pub use questions::inspect_questions;
pub use segmented::inspect_segmented;
pub use series::{inspect_series, inspect_series_set};
pub use tagged::inspect_tagged;

use crate::{Error, Result};
use panoply_core::{
    DataCheck, ModelCard, Output, TrainRequest,
    model_folder::write_json,
    report::{DataStage, GateSummary, SplitRow},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// How much a finding matters; the greatest is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Results may suffer.
    Warning,
    /// Results would be wrong, or training would fail: it does not start.
    Error,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// A sample's file does not exist.
    Missing,
    /// A sample cannot be read.
    Corrupt,
    /// A sample has no label.
    Unlabelled,
    /// A label breaks the rules of its scheme.
    Malformed,
    /// The same content with different labels.
    Conflict,
    /// The same content in two splits.
    Leakage,
    /// The same content more than once in a split.
    Duplicate,
    /// The splits do not have the same classes.
    ClassList,
    /// Fewer classes than there must be.
    FewClasses,
    /// A class without a sample.
    EmptyClass,
    /// A class with few samples.
    FewSamples,
    /// Some classes are much larger than others.
    Imbalance,
    /// A sample is much larger, smaller or longer than the others.
    SizeOutlier,
    /// A file that belongs to no sample.
    UnknownFile,
    /// Somebody or something that the training part knows nothing of.
    ColdStart,
    /// Samples are not in the order of their times.
    Unordered,
    /// A column with one value.
    Constant,
    /// A stretch of time without rows.
    Gap,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Kind {
    /// The same word as in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
            Self::Unlabelled => "unlabelled",
            Self::Malformed => "malformed",
            Self::Conflict => "conflict",
            Self::Leakage => "leakage",
            Self::Duplicate => "duplicate",
            Self::ClassList => "class-list",
            Self::FewClasses => "few-classes",
            Self::EmptyClass => "empty-class",
            Self::FewSamples => "few-samples",
            Self::Imbalance => "imbalance",
            Self::SizeOutlier => "size-outlier",
            Self::UnknownFile => "unknown-file",
            Self::ColdStart => "cold-start",
            Self::Unordered => "unordered",
            Self::Constant => "constant",
            Self::Gap => "gap",
        })
    }
}

/// One thing that was found, however often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What it is about.
    pub kind: Kind,
    /// The split, or the two splits ("train, test").
    pub split: String,
    /// How many samples, files or classes.
    pub count: usize,
    /// One line for a person.
    pub what: String,
    /// The first few names.
    pub examples: Vec<String>,
}

impl Finding {
    /// Names that a finding keeps.
    pub const MAX_EXAMPLES: usize = 5;

    /// A finding about `count` things, of which the first of `examples` are kept.
    pub fn new(
        level: Level,
        kind: Kind,
        what: impl Into<String>,
        count: usize,
        examples: impl IntoIterator<Item = String>,
    ) -> Self {
        let examples = examples.into_iter().take(Self::MAX_EXAMPLES).collect();
        Self {
            level,
            kind,
            split: String::new(),
            count,
            what: what.into(),
            examples,
        }
    }

    /// A finding about all of `examples`; `None` if there is none.
    pub fn about(level: Level, kind: Kind, what: &str, examples: &[String]) -> Option<Self> {
        let names = examples.iter().cloned();
        (!examples.is_empty()).then(|| Self::new(level, kind, what, examples.len(), names))
    }

    /// The same finding, in `split`.
    #[must_use]
    pub fn in_split(self, split: impl Into<String>) -> Self {
        Self {
            split: split.into(),
            ..self
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} in {}: {} {}",
            self.level, self.kind, self.split, self.count, self.what
        )?;
        match &self.examples[..] {
            [] => Ok(()),
            names if names.len() == Self::MAX_EXAMPLES && names.len() < self.count => {
                write!(f, " ({}, …)", names.join("; "))
            }
            names => write!(f, " ({})", names.join("; ")),
        }
    }
}

/// A part of the data set, as it was inspected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// `train`, `valid`, …
    pub name: String,
    /// Where it came from.
    pub location: String,
    /// Number of samples.
    pub samples: usize,
    /// Samples that cannot be trained on: missing, corrupt or without a label.
    pub unusable: Vec<usize>,
}

/// Samples of a class in each split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// In the order of [`GateReport::splits`].
    pub counts: Vec<usize>,
}

/// What the gate found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// Where the training set came from.
    pub location: String,
    /// The splits; the training set is the first.
    pub splits: Vec<SplitSummary>,
    /// Class balance, in class order.
    pub balance: Vec<ClassCount>,
    /// Samples of the largest class of the training set for one of the smallest that is not empty.
    pub imbalance: Option<f64>,
    /// The worst first; then by kind, then by split.
    pub findings: Vec<Finding>,
}

impl GateReport {
    /// Rows of the balance table that [`table`](Self::table) and `Display` show.
    const MAX_CLASSES: usize = 10;

    /// A report without findings. `classes` are names with their counts in each of `splits`.
    pub fn new(
        location: impl Into<String>,
        splits: Vec<SplitSummary>,
        balance: Vec<ClassCount>,
    ) -> Self {
        let train = balance
            .iter()
            .filter_map(|class| class.counts.first().copied())
            .filter(|&count| count > 0);
        let (smallest, largest) = (train.clone().min(), train.max());
        let imbalance = smallest
            .zip(largest)
            .map(|(smallest, largest)| largest as f64 / smallest as f64);
        Self {
            location: location.into(),
            splits,
            balance,
            imbalance,
            findings: Vec::new(),
        }
    }

    /// Adds what `single` finds in each split and what `shared` finds in each two of them.
    pub(crate) fn compare<T, S: IntoIterator<Item = Finding>>(
        &mut self,
        splits: &[(&str, &T)],
        single: impl Fn(&T) -> Vec<Finding>,
        shared: impl Fn(&T, &T) -> S,
    ) {
        for (at, (name, part)) in splits.iter().enumerate() {
            for finding in single(part) {
                self.push(finding.in_split(*name));
            }
            for (other, with) in &splits[at + 1..] {
                for finding in shared(part, with) {
                    self.push(finding.in_split(format!("{name}, {other}")));
                }
            }
        }
    }

    /// Adds a finding in its place.
    pub fn push(&mut self, finding: Finding) {
        let order = |f: &Finding| {
            let split = self.splits.iter().position(|split| split.name == f.split);
            (
                std::cmp::Reverse(f.level),
                f.kind,
                split.unwrap_or(usize::MAX),
            )
        };
        let at = self
            .findings
            .partition_point(|other| order(other) <= order(&finding));
        self.findings.insert(at, finding);
    }

    /// Findings at `level`.
    pub fn at(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.level == level)
    }

    /// Findings of `kind`.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.kind == kind)
    }

    /// Whether there is neither an error nor a warning.
    pub fn is_clean(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.level == Level::Info)
    }

    /// Samples of a split that cannot be trained on (missing, corrupt, without a label), ascending.
    pub fn unusable(&self, split: &str) -> &[usize] {
        let found = self.splits.iter().find(|summary| summary.name == split);
        found.map_or(&[], |summary| &summary.unusable)
    }

    /// The first stage of a training report: the data without what the gate found unusable.
    /// `source` is where it comes from, `card` that of the trained model.
    pub fn stage(&self, source: &str, card: &ModelCard) -> DataStage {
        let row = |(at, split): (usize, &SplitSummary)| SplitRow {
            name: split.name.clone(),
            num_samples: split.samples - split.unusable.len(),
            classes: self
                .balance
                .iter()
                .map(|class| (class.class.clone(), class.counts[at] as u64))
                .collect(),
        };
        DataStage {
            source: source.into(),
            sha256: card.data_sha256.clone().unwrap_or_default(),
            splits: self.splits.iter().enumerate().map(row).collect(),
            gate: self.summary(),
        }
    }

    /// Leaves the report in the run folder as `data-gate.json`, and refuses to train on errors
    /// unless the request accepts them.
    pub fn admit(&self, request: &TrainRequest) -> Result<()> {
        write_json(&request.out.join("data-gate.json"), self)?;
        self.refuse_unless(request.accept_data_issues)
    }

    /// [`Error::Data`] if there are errors, unless the user accepts them.
    pub fn refuse_unless(&self, accept: bool) -> Result<()> {
        /// More would hide the first.
        const SHOWN: usize = 3;
        let errors: Vec<String> = self.at(Level::Error).map(ToString::to_string).collect();
        if accept || errors.is_empty() {
            return Ok(());
        }
        let mut report = errors[..errors.len().min(SHOWN)].join(" | ");
        if errors.len() > SHOWN {
            report += " | …";
        }
        Err(Error::Data {
            location: self.location.clone(),
            count: errors.len(),
            report,
        })
    }

    /// The findings as a run's report shows them.
    pub fn summary(&self) -> GateSummary {
        GateSummary {
            num_errors: self.at(Level::Error).count(),
            num_warnings: self.at(Level::Warning).count(),
            findings: self.findings.iter().map(ToString::to_string).collect(),
        }
    }

    /// The report as the answer of `data check`.
    pub fn to_check(&self) -> DataCheck {
        DataCheck {
            output: Output {
                json: serde_json::json!(self),
                table: self.table(),
                ..Output::default()
            },
            refusal: self.refuse_unless(false).err(),
        }
    }

    /// The findings as rows for a person, header first.
    pub fn table(&self) -> Vec<Vec<String>> {
        let mut rows = vec![
            ["level", "kind", "split", "count", "what", "examples"]
                .map(String::from)
                .to_vec(),
        ];
        if self.findings.is_empty() {
            rows.push(
                ["ok", "", "", "", "nothing found", ""]
                    .map(String::from)
                    .to_vec(),
            );
        }
        for f in &self.findings {
            let (level, kind) = (f.level.to_string(), f.kind.to_string());
            let examples = f.examples.join("; ");
            rows.push(vec![
                level,
                kind,
                f.split.clone(),
                f.count.to_string(),
                f.what.clone(),
                examples,
            ]);
        }
        rows
    }

    /// Samples of each class in each split as rows for a person, header first; of many classes the
    /// largest and the smallest of the training set.
    pub fn balance_table(&self) -> Vec<Vec<String>> {
        let names = self.splits.iter().map(|split| split.name.clone());
        let mut rows: Vec<Vec<String>> =
            vec![std::iter::once("class".into()).chain(names).collect()];
        let row = |class: &ClassCount| {
            let counts = class.counts.iter().map(ToString::to_string);
            std::iter::once(class.class.clone())
                .chain(counts)
                .collect::<Vec<_>>()
        };
        if self.balance.len() <= Self::MAX_CLASSES {
            rows.extend(self.balance.iter().map(row));
        } else {
            let mut by_size: Vec<&ClassCount> = self.balance.iter().collect();
            by_size.sort_by_key(|class| std::cmp::Reverse(class.counts.first().copied()));
            let half = Self::MAX_CLASSES / 2;
            rows.extend(by_size[..half].iter().copied().map(row));
            let hidden = format!("({} more)", by_size.len() - 2 * half);
            rows.push(
                std::iter::once(hidden)
                    .chain(self.splits.iter().map(|_| "…".into()))
                    .collect(),
            );
            rows.extend(by_size[by_size.len() - half..].iter().copied().map(row));
        }
        let totals = self.splits.iter().map(|split| split.samples.to_string());
        rows.push(std::iter::once("all".into()).chain(totals).collect());
        rows
    }
}

impl fmt::Display for GateReport {
    /// The balance table and one line a finding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.location)?;
        let rows = self.balance_table();
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..=self.splits.len()).map(width).collect();
        for row in &rows {
            write!(f, "  {:<w$}", row[0], w = widths[0])?;
            for (cell, w) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>w$}")?;
            }
            writeln!(f)?;
        }
        let mut levels: BTreeMap<Level, usize> = BTreeMap::new();
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
            *levels.entry(finding.level).or_default() += 1;
        }
        let number = |level| levels.get(&level).copied().unwrap_or(0);
        write!(
            f,
            "{} error(s), {} warning(s)",
            number(Level::Error),
            number(Level::Warning)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counts: &[[usize; 2]]) -> GateReport {
        let split = |name: &str, at: usize| SplitSummary {
            name: name.into(),
            location: "here".into(),
            samples: counts.iter().map(|c| c[at]).sum(),
            unusable: Vec::new(),
        };
        let class = |(i, c): (usize, &[usize; 2])| ClassCount {
            class: format!("c{i}"),
            counts: c.to_vec(),
        };
        let balance = counts.iter().enumerate().map(class).collect();
        GateReport::new("here", vec![split("train", 0), split("test", 1)], balance)
    }

    fn finding(level: Level, kind: Kind, split: &str) -> Finding {
        let names = ["a", "b"].map(String::from);
        Finding::new(level, kind, "things", 3, names).in_split(split)
    }

    #[test]
    fn the_worst_comes_first_and_errors_refuse() {
        let mut report = report(&[[30, 2], [3, 1]]);
        assert_eq!(report.imbalance, Some(10.0));
        report.push(finding(Level::Info, Kind::UnknownFile, "train"));
        report.push(finding(Level::Warning, Kind::Duplicate, "test"));
        report.refuse_unless(false).unwrap();
        report.push(finding(Level::Error, Kind::Leakage, "train, test"));
        report.push(finding(Level::Error, Kind::Corrupt, "test"));
        report.push(finding(Level::Error, Kind::Corrupt, "train"));
        let order: Vec<String> = report
            .findings
            .iter()
            .map(|f| format!("{} {}", f.kind, f.split))
            .collect();
        let expected = [
            "corrupt train",
            "corrupt test",
            "leakage train, test",
            "duplicate test",
            "unknown-file train",
        ];
        assert_eq!(order, expected);
        report.refuse_unless(true).unwrap();
        let error = report.refuse_unless(false).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("3 error(s)") && text.contains("--accept-data-issues"),
            "{text}"
        );
        assert!(
            text.contains("error corrupt in train: 3 things (a; b)"),
            "{text}"
        );
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn tables_stay_short_and_json_round_trips() {
        let counts: Vec<[usize; 2]> = (0..100).map(|i| [i + 1, 1]).collect();
        let mut report = report(&counts);
        report.push(finding(Level::Warning, Kind::Imbalance, "train"));
        let rows = report.balance_table();
        assert_eq!(rows.len(), 1 + 5 + 1 + 5 + 1);
        assert_eq!((rows[1][0].as_str(), rows[11][0].as_str()), ("c99", "c0"));
        assert_eq!(
            (rows[6][0].as_str(), rows[12][1].as_str()),
            ("(90 more)", "5050")
        );
        assert!(rows.iter().all(|row| row.len() == 3));
        assert_eq!(
            report.table()[1][..3],
            ["warning", "imbalance", "train"].map(String::from)
        );
        let json = serde_json::to_string(&report).unwrap();
        assert!(
            json.contains(r#""level":"warning","kind":"imbalance""#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<GateReport>(&json).unwrap(), report);
    }
}
