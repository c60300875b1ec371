//! The data gate for image sets.

use super::{ClassCount, Finding, GateReport, Kind, Level, SplitSummary};
use crate::{Error, ImageSet, Result};
use panoply_core::progress::{Interrupt, Progress};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// What the gate asks of an image set.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Classes with samples that the training set must have; fewer are an error.
    pub min_classes: usize,
    /// A class of the training set with fewer samples is a warning.
    pub min_samples: usize,
    /// A larger ratio of the largest to the smallest class is a warning.
    pub max_imbalance: f64,
    /// An image whose number of pixels differs from the median by more than this factor is a warning.
    pub max_area_ratio: f64,
    /// The same for long side / short side.
    pub max_aspect_ratio: f64,
}

impl Default for Checks {
    /// Two classes, ten samples a class, 10:1; 16 times the median area, 4 times its aspect ratio.
    fn default() -> Self {
        Self {
            min_classes: 2,
            min_samples: 10,
            max_imbalance: 10.0,
            max_area_ratio: 16.0,
            max_aspect_ratio: 4.0,
        }
    }
}

/// What came of decoding one sample.
enum Probe {
    Decoded {
        pixels: [u8; 32],
        width: u32,
        height: u32,
    },
    Missing,
    Corrupt(String),
}

/// One inspected split.
struct Part<'a> {
    name: &'a str,
    set: &'a ImageSet,
    probes: Vec<Probe>,
}

/// Samples decoded between two looks at the interrupt flag.
const CHUNK: usize = 512;

/// Decodes every sample of `train` and of `others`, in parallel, and reports what is wrong; the
/// report does not depend on the number of threads.
///
/// Samples are the same if all decoded pixels are. Errors: missing, corrupt and unlabelled samples,
/// the same pixels with different labels or in training and another split, class lists that differ,
/// an empty class of the training set, a single class. Warnings: duplicates, small classes, class
/// balance, sizes, the same pixels in two splits of which none is the training set.
pub fn inspect(train: &ImageSet, others: &[(&str, &ImageSet)]) -> GateReport {
    report(
        &Checks::default(),
        &probe(
            train,
            others,
            &Interrupt::default(),
            &mut Progress::hidden(),
        ),
    )
}

/// [`inspect`] with other `checks`, a progress display, and an end on Ctrl-C.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn inspect_with(
    train: &ImageSet,
    others: &[(&str, &ImageSet)],
    checks: &Checks,
    interrupt: &Interrupt,
) -> Result<GateReport> {
    let total = train.len() + others.iter().map(|(_, set)| set.len()).sum::<usize>();
    let mut progress = Progress::new("checking data", total as u64);
    let parts = probe(train, others, interrupt, &mut progress);
    progress.finish();
    if interrupt.is_raised() {
        return Err(Error::Interrupted {
            resume: "the data check has to start again".into(),
        });
    }
    Ok(report(checks, &parts))
}

/// Decodes everything; ends early once `interrupt` is raised.
fn probe<'a>(
    train: &'a ImageSet,
    others: &[(&'a str, &'a ImageSet)],
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    for (name, set) in std::iter::once(("train", train)).chain(others.iter().copied()) {
        let mut probes = Vec::with_capacity(set.len());
        while probes.len() < set.len() && !interrupt.is_raised() {
            let chunk = probes.len()..(probes.len() + CHUNK).min(set.len());
            progress.advance(chunk.len() as u64, name);
            probes.par_extend(chunk.into_par_iter().map(|i| probe_one(set, i)));
        }
        parts.push(Part { name, set, probes });
    }
    parts
}

fn probe_one(set: &ImageSet, i: usize) -> Probe {
    match set.image(i) {
        Ok(image) => {
            let (width, height) = image.dimensions();
            let mut sum = Sha256::new();
            sum.update(width.to_le_bytes());
            sum.update(height.to_le_bytes());
            sum.update(image.as_raw());
            Probe::Decoded {
                pixels: sum.finalize().into(),
                width,
                height,
            }
        }
        Err(_) if set.path(i).is_some_and(|path| !path.exists()) => Probe::Missing,
        Err(e) => Probe::Corrupt(e.to_string()),
    }
}

fn report(checks: &Checks, parts: &[Part<'_>]) -> GateReport {
    let train = parts[0].set;
    let splits = parts.iter().map(summary).collect();
    let mut report = GateReport::new(train.location(), splits, balance(parts));
    for part in parts {
        let found = [
            bad_samples(part),
            sizes(part, checks).into_iter().collect(),
            part.set.findings().to_vec(),
        ];
        for finding in found.into_iter().flatten() {
            report.push(finding.in_split(part.name));
        }
    }
    for finding in classes(parts, checks, report.imbalance)
        .into_iter()
        .chain(repeats(parts))
    {
        report.push(finding);
    }
    report
}

fn summary(part: &Part<'_>) -> SplitSummary {
    let bad = |i: &usize| {
        part.set.label(*i).is_none() || !matches!(part.probes.get(*i), Some(Probe::Decoded { .. }))
    };
    SplitSummary {
        name: part.name.into(),
        location: part.set.location().into(),
        samples: part.set.len(),
        unusable: (0..part.set.len()).filter(bad).collect(),
    }
}

/// Samples of each class of any split, the training set's classes first.
fn balance(parts: &[Part<'_>]) -> Vec<ClassCount> {
    let mut names: Vec<&String> = Vec::new();
    let mut seen = BTreeSet::new();
    for name in parts.iter().flat_map(|part| part.set.classes()) {
        if seen.insert(name) {
            names.push(name);
        }
    }
    let counts: Vec<Vec<usize>> = parts.iter().map(|part| part.set.class_counts()).collect();
    let count = |name: &String, (part, counts): (&Part<'_>, &Vec<usize>)| {
        part.set
            .classes()
            .iter()
            .position(|class| class == name)
            .map_or(0, |at| counts[at])
    };
    let row = |name: &String| ClassCount {
        class: name.clone(),
        counts: parts
            .iter()
            .zip(&counts)
            .map(|pair| count(name, pair))
            .collect(),
    };
    names.into_iter().map(row).collect()
}

/// Missing, corrupt and unlabelled samples.
fn bad_samples(part: &Part<'_>) -> Vec<Finding> {
    let (mut missing, mut corrupt) = (Vec::new(), Vec::new());
    for (i, probe) in part.probes.iter().enumerate() {
        match probe {
            Probe::Missing => missing.push(part.set.name(i)),
            Probe::Corrupt(why) => corrupt.push(why.clone()),
            Probe::Decoded { .. } => {}
        }
    }
    let without_label = (0..part.set.len()).filter(|&i| part.set.label(i).is_none());
    let unlabelled: Vec<String> = without_label.map(|i| part.set.name(i)).collect();
    let kinds = [
        (Kind::Missing, "samples whose file does not exist", missing),
        (Kind::Corrupt, "samples that cannot be decoded", corrupt),
        (Kind::Unlabelled, "samples without a label", unlabelled),
    ];
    let found = kinds.into_iter().filter(|(_, _, names)| !names.is_empty());
    found
        .map(|(kind, what, names)| Finding::new(Level::Error, kind, what, names.len(), names))
        .collect()
}

/// Images far from the median of their split.
fn sizes(part: &Part<'_>, checks: &Checks) -> Option<Finding> {
    let size = |(i, probe): (usize, &Probe)| match probe {
        Probe::Decoded { width, height, .. } => Some((i, *width, *height)),
        _ => None,
    };
    let sizes: Vec<(usize, u32, u32)> = part.probes.iter().enumerate().filter_map(size).collect();
    let area = |w: u32, h: u32| f64::from(w) * f64::from(h);
    let aspect = |w: u32, h: u32| f64::from(w.max(h)) / f64::from(w.min(h).max(1));
    let median_area = median(sizes.iter().map(|&(_, w, h)| area(w, h)))?;
    let median_aspect = median(sizes.iter().map(|&(_, w, h)| aspect(w, h)))?;
    let ratio = |value: f64, median: f64| (value / median).max(median / value);
    let outliers = sizes.iter().filter(|&&(_, w, h)| {
        ratio(area(w, h), median_area) > checks.max_area_ratio
            || ratio(aspect(w, h), median_aspect) > checks.max_aspect_ratio
    });
    let names: Vec<String> = outliers
        .map(|&(i, w, h)| format!("{} ({w}x{h})", part.set.name(i)))
        .collect();
    let what = format!(
        "images of unusual size (median: {median_area} pixels, sides {median_aspect:.2}:1)"
    );
    (!names.is_empty())
        .then(|| Finding::new(Level::Warning, Kind::SizeOutlier, what, names.len(), names))
}

/// The lower median; `None` of nothing.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// Class lists, empty and small classes, imbalance.
fn classes(parts: &[Part<'_>], checks: &Checks, imbalance: Option<f64>) -> Vec<Finding> {
    let train = &parts[0];
    let mut found = enough_of_each_class(train, checks, imbalance);
    // What train lacks altogether is said once, there.
    let lacking = classes_with(train, &|count| count == 0);
    for (at, part) in parts.iter().enumerate() {
        found.extend(class_list(part.set, train.set).map(|f| f.in_split(part.name)));
        let mut empty = classes_with(part, &|count| count == 0);
        empty.retain(|class| at == 0 || !lacking.contains(class));
        let level = if at == 0 {
            Level::Error
        } else {
            Level::Warning
        };
        found.extend(about(
            level,
            Kind::EmptyClass,
            "classes without a sample",
            part,
            empty,
        ));
    }
    found
}

/// `cat: 3` for each class whose number of samples is `wanted`.
fn classes_with(part: &Part<'_>, wanted: &dyn Fn(usize) -> bool) -> Vec<String> {
    let counts = part.set.class_counts();
    let all = part.set.classes().iter().zip(counts);
    all.filter(|(_, count)| wanted(*count))
        .map(|(class, count)| format!("{class}: {count}"))
        .collect()
}

/// A finding about each of `names`; none without names.
fn about(
    level: Level,
    kind: Kind,
    what: impl Into<String>,
    part: &Part<'_>,
    names: Vec<String>,
) -> Option<Finding> {
    let finding = || Finding::new(level, kind, what, names.len(), names.clone());
    (!names.is_empty()).then(|| finding().in_split(part.name))
}

/// Labels are positions: in another class list they mean other classes.
fn class_list(own: &ImageSet, train: &ImageSet) -> Option<Finding> {
    let (own, train) = (own.classes(), train.classes());
    if own == train {
        return None;
    }
    let only_in = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter()
            .filter(|class| !b.contains(class))
            .cloned()
            .collect()
    };
    let mut names = [only_in(own, train), only_in(train, own)].concat();
    if names.is_empty() {
        let moved = own.iter().zip(train).filter(|(a, b)| a != b);
        names = moved.map(|(class, _)| class.clone()).collect();
    }
    let what = "classes that are not those of train, in its order";
    Some(Finding::new(
        Level::Error,
        Kind::ClassList,
        what,
        names.len(),
        names,
    ))
}

/// What training needs of the class sizes.
fn enough_of_each_class(train: &Part<'_>, checks: &Checks, imbalance: Option<f64>) -> Vec<Finding> {
    let mut found = Vec::new();
    let filled = classes_with(train, &|count| count > 0);
    if filled.len() < checks.min_classes {
        let what = format!(
            "classes with samples, where there must be {}",
            checks.min_classes
        );
        let finding = Finding::new(Level::Error, Kind::FewClasses, what, filled.len(), filled);
        found.push(finding.in_split(train.name));
    }
    let small = classes_with(train, &|count| count > 0 && count < checks.min_samples);
    let what = format!("classes with fewer than {} samples", checks.min_samples);
    found.extend(about(Level::Warning, Kind::FewSamples, what, train, small));
    if let Some(ratio) = imbalance.filter(|&ratio| ratio > checks.max_imbalance) {
        let largest = train.set.class_counts().into_iter().max().unwrap_or(0);
        let limit = largest as f64 / checks.max_imbalance;
        let small = classes_with(train, &|count| count > 0 && (count as f64) < limit);
        let limit = checks.max_imbalance;
        let what = format!("classes below 1/{limit} of the largest (it is {ratio:.1}:1)");
        found.extend(about(Level::Warning, Kind::Imbalance, what, train, small));
    }
    found
}

/// Where a content occurs: split and sample.
type Place = (usize, usize);

/// Conflicting labels, leakage and duplicates.
fn repeats(parts: &[Part<'_>]) -> Vec<Finding> {
    let groups = same_pixels(parts);
    let mut found = Vec::new();
    for first in 0..parts.len() {
        found.extend(repeats_within(parts, &groups, first));
        for second in first + 1..parts.len() {
            found.extend(leakage(parts, &groups, first, second));
        }
    }
    found
}

/// The places of each content that occurs more than once, in the order of the data.
fn same_pixels(parts: &[Part<'_>]) -> Vec<Vec<Place>> {
    let mut all: Vec<(&[u8; 32], Place)> = Vec::new();
    for (split, part) in parts.iter().enumerate() {
        for (i, probe) in part.probes.iter().enumerate() {
            if let Probe::Decoded { pixels, .. } = probe {
                all.push((pixels, (split, i)));
            }
        }
    }
    all.sort_unstable();
    let repeated = all
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|group| group.len() > 1);
    let mut groups: Vec<Vec<Place>> = repeated
        .map(|group| group.iter().map(|(_, place)| *place).collect())
        .collect();
    groups.sort_unstable();
    groups
}

/// `train/cat/1.png (cat)`.
fn show(parts: &[Part<'_>], (split, i): Place) -> String {
    let set = parts[split].set;
    format!(
        "{} ({})",
        set.name(i),
        set.class_of(i).unwrap_or("no label")
    )
}

/// Conflicts and duplicates of one split.
fn repeats_within(parts: &[Part<'_>], groups: &[Vec<Place>], split: usize) -> Vec<Finding> {
    let (mut conflicts, mut copies) = (Tally::default(), Tally::default());
    for group in groups {
        let inside: Vec<Place> = group
            .iter()
            .filter(|place| place.0 == split)
            .copied()
            .collect();
        if inside.len() < 2 {
            continue;
        }
        let labels: BTreeSet<usize> = inside
            .iter()
            .filter_map(|&(_, i)| parts[split].set.label(i))
            .collect();
        let shown = || {
            let names: Vec<String> = inside.iter().take(3).map(|&at| show(parts, at)).collect();
            names.join(" = ")
        };
        if labels.len() > 1 {
            conflicts.add(inside.len(), shown);
        } else {
            copies.add(inside.len() - 1, shown);
        }
    }
    let name = parts[split].name;
    let what = "samples with the same pixels as another of a different class";
    let conflicts = conflicts.finding(Level::Error, Kind::Conflict, what, name);
    let copies = copies.finding(
        Level::Warning,
        Kind::Duplicate,
        "copies of other samples",
        name,
    );
    conflicts.into_iter().chain(copies).collect()
}

/// Samples of split `second` that split `first` has, too.
fn leakage(
    parts: &[Part<'_>],
    groups: &[Vec<Place>],
    first: usize,
    second: usize,
) -> Option<Finding> {
    let mut leaks = Tally::default();
    for group in groups {
        let of = |split| group.iter().filter(move |place| place.0 == split).copied();
        if let (Some(here), Some(there)) = (of(first).next(), of(second).next()) {
            let shown = || format!("{} = {}", show(parts, here), show(parts, there));
            leaks.add(of(second).count(), shown);
        }
    }
    let level = if first == 0 {
        Level::Error
    } else {
        Level::Warning
    };
    let (first, second) = (parts[first].name, parts[second].name);
    let what = format!("samples of {second} with the same pixels as one of {first}");
    leaks.finding(level, Kind::Leakage, &what, &format!("{first}, {second}"))
}

/// A count with its first examples.
#[derive(Default)]
struct Tally {
    count: usize,
    examples: Vec<String>,
}

impl Tally {
    fn add(&mut self, count: usize, example: impl FnOnce() -> String) {
        self.count += count;
        if self.examples.len() < Finding::MAX_EXAMPLES {
            self.examples.push(example());
        }
    }

    fn finding(self, level: Level, kind: Kind, what: &str, split: &str) -> Option<Finding> {
        let found = self.count > 0;
        found.then(|| Finding::new(level, kind, what, self.count, self.examples).in_split(split))
    }
}
