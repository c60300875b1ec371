//! Parts of a set of interactions, and files of them.

use super::{Csr, Ids, InteractionOptions, Interactions, read};
use crate::{Error, Result, Split, Splits, files};
use panoply_core::{model_folder::write_atomic, seed};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Names of the files that a folder of given parts may hold.
const EXTENSIONS: [&str; 8] = [
    "inter", "tsv", "csv", "jsonl", "ndjson", "parquet", "txt", "dat",
];

/// How interactions are divided, each user's for themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitKind {
    /// By chance, by the ratios.
    #[default]
    Random,
    /// The oldest for training, the latest for test, by the ratios.
    Time,
    /// The latest for test, the one before it for validation, the others for training. Of two, none is for
    /// validation; a single one is for training.
    LeaveOneOut,
}

/// What orders a user's interactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Their times.
    #[default]
    Timestamp,
    /// Their places in the file.
    File,
}

/// How a set of interactions is divided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// The rule. Default random.
    pub kind: SplitKind,
    /// Shares of training, validation and test. Default 8:1:1.
    ///
    /// Counted as RecBole counts them: the parts for validation and test are rounded down and the rest is for
    /// training, but a share that comes to less than one interaction takes one where training keeps
    /// at least one.
    pub ratios: [f64; 3],
    /// What orders a user's interactions, where the rule asks for an order. Default their times.
    pub order: Order,
    /// Seed of the random rule.
    pub seed: u64,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            kind: SplitKind::Random,
            ratios: [0.8, 0.1, 0.1],
            order: Order::Timestamp,
            seed: 0,
        }
    }
}

impl SplitConfig {
    fn check(&self) -> Result<()> {
        let [train, ..] = self.ratios;
        let valid = self.ratios.iter().all(|r| r.is_finite() && *r >= 0.0) && train > 0.0;
        if valid {
            return Ok(());
        }
        let what = format!("{:?}", self.ratios);
        let expected = "three shares that are not negative, that of training not 0";
        Err(Error::input("ratios", what, expected))
    }

    /// Interactions of training, validation and test, of `total` of one user.
    pub(super) fn counts(&self, total: usize) -> [usize; 3] {
        if self.kind == SplitKind::LeaveOneOut {
            let left_out = total.saturating_sub(1).min(2);
            return [
                total - left_out,
                usize::from(left_out == 2),
                left_out.min(1),
            ];
        }
        let sum: f64 = self.ratios.iter().sum();
        let ratios = self.ratios.map(|ratio| ratio / sum);
        let mut counts = ratios.map(|ratio| (ratio * total as f64) as usize);
        counts[0] = total - counts[1] - counts[2];
        for part in [2, 1] {
            if counts[0] <= 1 {
                break;
            }
            let share = ratios[part] * total as f64;
            if share > 0.0 && share < 1.0 {
                counts[part] += 1;
                counts[0] -= 1;
            }
        }
        counts
    }

    /// Divides `all`; within a part the order stays. The parts share ids.
    ///
    /// # Errors
    /// Ratios that are none; an order by time of interactions without times; no interaction left for test
    /// and none for validation.
    pub fn split(&self, all: &Interactions) -> Result<Splits<Interactions>> {
        self.check()?;
        let by_time = self.kind != SplitKind::Random && self.order == Order::Timestamp;
        let times = match (by_time, all.timestamps()) {
            (true, None) => {
                let expected = "a column of times, or the order `file`";
                return Err(Error::input(
                    all.location(),
                    "no times to order by",
                    expected,
                ));
            }
            (true, times) => times,
            (false, _) => None,
        };
        let rows: Vec<u32> = (0..all.len() as u32).collect();
        let of_user = Csr::of(all.num_users(), all.users(), &rows);
        let mut parts: [Vec<u32>; 3] = Default::default();
        let mut keyed: Vec<(u64, u32)> = Vec::new();
        for own in of_user.rows() {
            let mut own = own.to_vec();
            if self.kind == SplitKind::Random {
                keyed.clear();
                keyed.extend(own.iter().map(|&row| (self.draw(row), row)));
                keyed.sort_unstable();
                own.clear();
                own.extend(keyed.iter().map(|&(_, row)| row));
            } else if let Some(times) = times {
                own.sort_by(|&a, &b| times[a as usize].total_cmp(&times[b as usize]));
            }
            let [train, valid, _] = self.counts(own.len());
            parts[0].extend(&own[..train]);
            parts[1].extend(&own[train..train + valid]);
            parts[2].extend(&own[train + valid..]);
        }
        if parts[1].is_empty() && parts[2].is_empty() {
            let what = "no interaction is left for validation or test";
            let expected = "more interactions a user, or larger shares";
            return Err(Error::input(all.location(), what, expected));
        }
        let [train, valid, test] = parts.map(|mut rows| {
            rows.sort_unstable();
            all.select(&rows)
        });
        Ok(Splits {
            train,
            valid,
            is_held_out: true,
            test: (!test.is_empty()).then_some(test),
        })
    }

    fn draw(&self, row: u32) -> u64 {
        /// Keeps these draws apart from other uses of the same seed.
        const SPLIT: u64 = 0x5117_0003;
        seed::derive(&[self.seed, SPLIT, u64::from(row)])
    }
}

/// The parts of the interactions at `path`: a file is divided by `config`; a folder has a file for each part
/// (`ml.train.inter`, `test.csv`), and without one for validation its training file is divided, unless the share of
/// validation is 0: then there is none.
///
/// # Errors
/// Files that are none, as [`Interactions::open`]; a folder without a training file, or with two of one part;
/// filters of interactions (`k-core`) for a folder, whose parts they would take apart.
pub fn open_interaction_splits(
    path: &Path,
    options: &InteractionOptions,
    config: &SplitConfig,
) -> Result<Splits<Interactions>> {
    if !path.is_dir() {
        return config.split(&Interactions::open(path, options)?);
    }
    if options.min_user_interactions > 1 || options.min_item_interactions > 1 {
        let expected = "no core of parts that are given; filter before dividing";
        return Err(Error::input(
            path.display().to_string(),
            "a folder of parts",
            expected,
        ));
    }
    let found = files::splits(path, &EXTENSIONS, |_| false)?;
    let Some(train) = found.get(&Split::Train) else {
        let what = "no training file in it";
        return Err(Error::input(path.display().to_string(), what, "train.tsv"));
    };
    let (train, ids) = read::open(train, options, Ids::default())?;
    let part = |split: Split, ids: Ids| match found.get(&split) {
        None => Ok((None, ids)),
        Some(file) => read::open(file, options, ids).map(|(part, ids)| (Some(part), ids)),
    };
    let (valid, ids) = part(Split::Valid, ids)?;
    let (test, ids) = part(Split::Test, ids)?;
    let ids = Arc::new(ids);
    let known = |mut part: Interactions| {
        part.ids = Arc::clone(&ids);
        part
    };
    let (train, valid, test) = (known(train), valid.map(known), test.map(known));
    if let Some(valid) = valid {
        return Ok(Splits {
            train,
            valid,
            is_held_out: false,
            test,
        });
    }
    let [keep, hold, _] = config.ratios;
    if hold == 0.0 {
        let valid = train.select(&[]);
        return Ok(Splits {
            train,
            valid,
            is_held_out: true,
            test,
        });
    }
    let two = SplitConfig {
        ratios: [keep, hold, 0.0],
        ..config.clone()
    };
    let held = two.split(&train)?;
    Ok(Splits {
        test: test.or(held.test),
        ..held
    })
}

/// The interactions that a model with the ids `ids` is scored on: of a folder the test file, else the
/// validation file, else the training file. Ids that the model does not know come after its own. Beside
/// them, what of the folder's other parts was known before: training and validation, if they are
/// not what is scored.
///
/// # Errors
/// As [`open_interaction_splits`].
pub fn open_interactions_for_eval(
    path: &Path,
    options: &InteractionOptions,
    ids: &Ids,
) -> Result<(Interactions, Vec<Interactions>)> {
    let scored = files::for_eval(path, &EXTENSIONS, |_| false)?;
    let mut before: Vec<PathBuf> = Vec::new();
    if path.is_dir() {
        let found = files::splits(path, &EXTENSIONS, |_| false)?;
        before.extend(found.into_values().filter(|file| *file != scored));
    }
    let (mut scored, mut ids) = read::open(&scored, options, ids.clone())?;
    let mut known = Vec::new();
    for file in before {
        let (part, more) = read::open(&file, options, ids)?;
        ids = more;
        known.push(part);
    }
    let ids = Arc::new(ids);
    for part in std::iter::once(&mut scored).chain(&mut known) {
        part.ids = Arc::clone(&ids);
    }
    Ok((scored, known))
}

/// Writes each part into `folder` as RecBole's `benchmark_filename` asks for it: `NAME.train.inter`,
/// `NAME.valid.inter`, `NAME.test.inter`, where `NAME` is the folder's; tab-separated, `user_id:token`,
/// `item_id:token` and, where there are some, `rating:float` and `timestamp:float`. An empty part has no file.
///
/// # Errors
/// An id with a tab or a line end in it; a file that cannot be written.
pub fn write_splits(splits: &Splits<Interactions>, folder: &Path) -> Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    for (split, part) in splits.parts().filter(|(_, part)| !part.is_empty()) {
        let path = folder.join(format!("{name}.{split}.inter"));
        write_atomic(&path, atomic(part)?.as_bytes())?;
    }
    Ok(())
}

/// A part in RecBole's atomic form.
fn atomic(part: &Interactions) -> Result<String> {
    let ids = part.ids();
    let torn = |name: &&str| name.contains(['\t', '\n', '\r']);
    if let Some(name) = ids.users.names().chain(ids.items.names()).find(torn) {
        let expected = "ids without tabs and line ends";
        return Err(Error::input(
            part.location(),
            format!("the id {name:?}"),
            expected,
        ));
    }
    let mut text = String::from("user_id:token\titem_id:token");
    if part.ratings().is_some() {
        text += "\trating:float";
    }
    if part.timestamps().is_some() {
        text += "\ttimestamp:float";
    }
    text.push('\n');
    for row in 0..part.len() {
        text += ids.users.name(part.users()[row]);
        text.push('\t');
        text += ids.items.name(part.items()[row]);
        // Writing into a string does not fail.
        if let Some(ratings) = part.ratings() {
            let _ = write!(text, "\t{}", ratings[row]);
        }
        if let Some(times) = part.timestamps() {
            let _ = write!(text, "\t{}", times[row]);
        }
        text.push('\n');
    }
    Ok(text)
}
