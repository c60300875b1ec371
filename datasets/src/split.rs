//! Splits by name, and holding out a part of a training set.

use crate::{Error, Result};
use panoply_core::seed;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What the weights are fitted to.
    Train,
    /// What chooses among checkpoints and settings.
    Valid,
    /// What is looked at once.
    Test,
}

impl Split {
    /// Every name that folders, files and index columns use for a split.
    const NAMES: [(&str, Self); 10] = [
        ("train", Self::Train),
        ("training", Self::Train),
        ("val", Self::Valid),
        ("valid", Self::Valid),
        ("validation", Self::Valid),
        ("dev", Self::Valid),
        ("test", Self::Test),
        ("testing", Self::Test),
        ("eval", Self::Test),
        // What MNIST and its relatives call their test set.
        ("t10k", Self::Test),
    ];

    /// The short name: `train`, `valid` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = Error;

    /// Reads any usual name, in any case.
    fn from_str(name: &str) -> Result<Self> {
        let lower = name.trim().to_lowercase();
        let found = Self::NAMES.iter().find(|(known, _)| *known == lower);
        found
            .map(|(_, split)| *split)
            .ok_or_else(|| Error::unknown("split", name, Self::NAMES.map(|n| n.0)))
    }
}

/// The parts of a data set that a training needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits<T> {
    /// What the weights are fitted to.
    pub train: T,
    /// What chooses among checkpoints and settings.
    pub valid: T,
    /// Whether `valid` was held out of the training part, for want of its own.
    pub is_held_out: bool,
    /// What is looked at once, if there is such a part.
    pub test: Option<T>,
}

impl<T> Splits<T> {
    /// Every part under its name, in the order train, valid, test.
    pub fn parts(&self) -> impl Iterator<Item = (Split, &T)> {
        let fixed = [(Split::Train, &self.train), (Split::Valid, &self.valid)];
        fixed
            .into_iter()
            .chain(self.test.iter().map(|test| (Split::Test, test)))
    }

    /// The parts beside the training part, as the gate takes them.
    pub fn others(&self) -> Vec<(&'static str, &T)> {
        let others = self.parts().skip(1);
        others.map(|(split, part)| (split.name(), part)).collect()
    }

    /// What the trained model is scored on: the test part, else the validation part.
    pub fn scored(&self) -> (Split, &T) {
        match &self.test {
            Some(test) => (Split::Test, test),
            None => (Split::Valid, &self.valid),
        }
    }

    /// Each part changed by `change`, which also sees its name.
    #[must_use]
    pub fn map<U>(self, mut change: impl FnMut(Split, T) -> U) -> Splits<U> {
        Splits {
            train: change(Split::Train, self.train),
            valid: change(Split::Valid, self.valid),
            is_held_out: self.is_held_out,
            test: self.test.map(|test| change(Split::Test, test)),
        }
    }

    /// As [`map`](Self::map), up to the first error.
    pub fn try_map<U>(self, mut change: impl FnMut(Split, T) -> Result<U>) -> Result<Splits<U>> {
        Ok(Splits {
            train: change(Split::Train, self.train)?,
            valid: change(Split::Valid, self.valid)?,
            is_held_out: self.is_held_out,
            test: self
                .test
                .map(|test| change(Split::Test, test))
                .transpose()?,
        })
    }
}

/// Holds out `fraction` of the rows of each class and returns `(kept, held out)`, both ascending.
///
/// Which rows is a function of `seed` and the row numbers alone. A class with at least two units
/// gives at least one to each side; rows without a label stay. `groups`, one number a row, names
/// units that may not be torn apart (copies of one image, sentences of one speaker); without it each
/// row is its own. A unit counts to the class of its first row. A class whose units do not add up to
/// the fraction gives the most that does not exceed it.
///
/// # Errors
/// `fraction` outside (0, 1); `groups` of another length than `labels`; nothing left to hold out.
pub fn stratified_holdout(
    labels: &[Option<usize>],
    groups: Option<&[usize]>,
    fraction: f64,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>)> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::input(
            "holdout",
            fraction.to_string(),
            "a fraction between 0 and 1, both excluded",
        ));
    }
    if let Some(groups) = groups.filter(|g| g.len() != labels.len()) {
        let what = format!("{} groups for {} rows", groups.len(), labels.len());
        return Err(Error::input("holdout", what, "one group a row"));
    }
    let mut units: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for row in 0..labels.len() {
        units
            .entry(groups.map_or(row, |g| g[row]))
            .or_default()
            .push(row);
    }
    let mut classes: BTreeMap<usize, Vec<Vec<usize>>> = BTreeMap::new();
    for unit in units.into_values() {
        if let Some(class) = labels[unit[0]] {
            classes.entry(class).or_default().push(unit);
        }
    }
    let mut held = vec![false; labels.len()];
    for units in classes.into_values() {
        for row in held_out_of_class(units, fraction, seed) {
            held[row] = true;
        }
    }
    let (held, kept): (Vec<usize>, Vec<usize>) = (0..labels.len()).partition(|&row| held[row]);
    if held.is_empty() {
        let what = format!("no class of the {} rows can spare one", labels.len());
        return Err(Error::input(
            "holdout",
            what,
            "at least two different labelled samples of a class",
        ));
    }
    Ok((kept, held))
}

/// The rows of one class that are held out, in no particular order.
fn held_out_of_class(mut units: Vec<Vec<usize>>, fraction: f64, seed: u64) -> Vec<usize> {
    /// Keeps these draws apart from other uses of the same seed.
    const HOLDOUT: u64 = 0x401D_0047;
    if units.len() < 2 {
        return Vec::new();
    }
    let rows: usize = units.iter().map(Vec::len).sum();
    let target = ((rows as f64 * fraction).round() as usize).clamp(1, rows - 1);
    units.sort_by_key(|unit| seed::derive(&[seed, HOLDOUT, unit[0] as u64]));
    let mut held = Vec::new();
    for unit in &units {
        if held.len() + unit.len() <= target {
            held.extend_from_slice(unit);
        }
    }
    if held.is_empty() {
        // Every unit is larger than the target: the smallest still leaves the others.
        held.extend(
            units
                .iter()
                .min_by_key(|unit| unit.len())
                .into_iter()
                .flatten(),
        );
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(counts: &[usize]) -> Vec<Option<usize>> {
        // Interleaved, so that a class is not a run of rows.
        let mut rows: Vec<(usize, usize)> = Vec::new();
        for (class, &count) in counts.iter().enumerate() {
            rows.extend((0..count).map(|i| (i, class)));
        }
        rows.sort_unstable();
        rows.into_iter().map(|(_, class)| Some(class)).collect()
    }

    fn count(labels: &[Option<usize>], rows: &[usize], class: usize) -> usize {
        rows.iter()
            .filter(|&&row| labels[row] == Some(class))
            .count()
    }

    #[test]
    fn each_class_gives_its_share() {
        let labels = labels(&[50, 20, 2, 1]);
        let (kept, held) = stratified_holdout(&labels, None, 0.1, 3).unwrap();
        assert_eq!([0, 1, 2, 3].map(|c| count(&labels, &held, c)), [5, 2, 1, 0]);
        let mut all = [kept.clone(), held.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..73).collect::<Vec<_>>());
        assert!(kept.is_sorted() && held.is_sorted());
        assert_eq!(stratified_holdout(&labels, None, 0.1, 3).unwrap().1, held);
        assert_ne!(stratified_holdout(&labels, None, 0.1, 4).unwrap().1, held);
    }

    #[test]
    fn groups_stay_together_and_a_class_keeps_something() {
        let labels = labels(&[12]);
        let groups = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2];
        for seed in 0..50 {
            for fraction in [0.01, 0.3, 0.5, 0.99] {
                let (kept, held) =
                    stratified_holdout(&labels, Some(&groups), fraction, seed).unwrap();
                assert!(!kept.is_empty() && !held.is_empty());
                assert!(
                    held.iter()
                        .all(|&h| kept.iter().all(|&k| groups[k] != groups[h]))
                );
            }
        }
    }

    #[test]
    fn rows_without_a_label_are_kept() {
        let mut labels = labels(&[10]);
        labels.extend([None, None]);
        let (kept, _) = stratified_holdout(&labels, None, 0.5, 1).unwrap();
        assert!(kept.ends_with(&[10, 11]) && kept.len() == 7);
    }

    #[test]
    fn what_cannot_be_held_out_is_an_error() {
        for fraction in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
            let text = stratified_holdout(&labels(&[4]), None, fraction, 0)
                .unwrap_err()
                .to_string();
            assert!(text.contains("fraction between 0 and 1"), "{text}");
        }
        assert!(stratified_holdout(&labels(&[1, 1]), None, 0.5, 0).is_err());
        assert!(stratified_holdout(&[], None, 0.5, 0).is_err());
        assert!(stratified_holdout(&labels(&[2]), Some(&[0]), 0.5, 0).is_err());
    }

    #[test]
    fn split_names() {
        assert_eq!("VAL".parse::<Split>().unwrap(), Split::Valid);
        assert_eq!("t10k".parse::<Split>().unwrap(), Split::Test);
        assert!(
            "trian"
                .parse::<Split>()
                .unwrap_err()
                .to_string()
                .contains("did you mean 'train'")
        );
    }
}
