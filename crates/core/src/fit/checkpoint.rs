//! Checkpoint folders that are whole or absent, and the loop's state in them.
//!
//! A checkpoint is a folder with burn records (`.bpk`, which keep parameter identities), the loop's
//! `state.json` and a manifest of sha256 sums. It is written under another name, then renamed; the
//! one before is kept until the new one is in place. Whatever moment the process dies at, either
//! the old or the new one is found.

use super::history::{EpochRecord, History};
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const MANIFEST: &str = "sha256.json";
const STATE: &str = "state.json";

/// Version of [`State`]'s layout.
pub(super) const FORMAT: u32 = 1;

/// The folder `checkpoint` of a run.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints {
    dir: PathBuf,
}

impl Checkpoints {
    pub(super) const LAST: &'static str = "last";
    pub(super) const BEST: &'static str = "best";

    pub(super) fn new(run: &Path) -> Self {
        Self {
            dir: run.join("checkpoint"),
        }
    }

    /// Whether the run folder holds any checkpoint.
    pub(super) fn any(&self) -> bool {
        [Self::LAST, Self::BEST]
            .iter()
            .any(|name| self.locate(name).is_some())
    }

    /// The folder called `name`, or the one that was about to be replaced when a write stopped.
    pub(super) fn locate(&self, name: &str) -> Option<PathBuf> {
        [self.dir.join(name), self.previous(name)]
            .into_iter()
            .find(|path| path.is_dir())
    }

    /// A checkpoint whose files are all there and unchanged.
    pub(super) fn open(&self, name: &str) -> Result<PathBuf> {
        let path = self.locate(name).ok_or_else(|| {
            let location = self.dir.join(name).display().to_string();
            Error::input(
                location,
                "no checkpoint there",
                "the folder of a run to go on with",
            )
        })?;
        let manifest: BTreeMap<String, String> = read_json(&path.join(MANIFEST))?;
        for (file, expected) in &manifest {
            let found = sha256(&path.join(file))?;
            if found != *expected {
                let location = path.join(file).display().to_string();
                let what = format!("damaged: sha256 {found}");
                return Err(Error::input(location, what, expected.clone()));
            }
        }
        Ok(path)
    }

    /// Replaces the checkpoint `name` by what `save` puts into the folder it is given, and `state`.
    pub(super) fn write(
        &self,
        name: &str,
        state: &State,
        save: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let (current, previous) = (self.dir.join(name), self.previous(name));
        let new = self.dir.join(format!("{name}.new"));
        remove_dir(&new)?;
        fs::create_dir_all(&new).map_err(|e| Error::io("create", &new, e))?;
        save(&new)?;
        let json = |e: serde_json::Error| Error::Internal {
            context: "writing a checkpoint".into(),
            message: e.to_string(),
        };
        let state = serde_json::to_vec(state).map_err(json)?;
        crate::model_folder::write_atomic(&new.join(STATE), &state)?;
        let manifest = serde_json::to_vec(&sums(&new)?).map_err(json)?;
        crate::model_folder::write_atomic(&new.join(MANIFEST), &manifest)?;
        if current.is_dir() {
            remove_dir(&previous)?;
            fs::rename(&current, &previous).map_err(|e| Error::io("rename", &current, e))?;
        }
        fs::rename(&new, &current).map_err(|e| Error::io("rename", &new, e))?;
        sync_dir(&self.dir);
        remove_dir(&previous)?;
        Ok(current)
    }

    fn previous(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.previous"))
    }
}

/// Reads the state of the checkpoint folder `path`.
pub(super) fn read_state(path: &Path) -> Result<State> {
    let state: State = read_json(&path.join(STATE))?;
    if state.format != FORMAT {
        let location = path.join(STATE).display().to_string();
        let expected = format!("format {FORMAT}, which this version writes");
        return Err(Error::input(
            location,
            format!("format {}", state.format),
            expected,
        ));
    }
    Ok(state)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Error::input(
            path.display().to_string(),
            e.to_string(),
            "the JSON that training writes",
        )
    })
}

fn sums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    let mut sums = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read", folder, e))?;
        sums.insert(
            entry.file_name().to_string_lossy().into_owned(),
            sha256(&entry.path())?,
        );
    }
    Ok(sums)
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(|e| Error::io("read", path, e))?;
    Ok(format!("{:x}", hash.finalize()))
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// Makes the renames durable where the platform can; losing them only means the older checkpoint.
fn sync_dir(path: &Path) {
    if let Ok(dir) = fs::File::open(path) {
        let _ = dir.sync_all();
    }
}

/// The first key in which `now` differs from `then`, with both values.
pub(super) fn first_difference(then: &Value, now: &Value) -> Option<(String, String, String)> {
    if let (Value::Object(then), Value::Object(now)) = (then, now) {
        let new_keys = now.keys().filter(|key| !then.contains_key(*key));
        return then.keys().chain(new_keys).find_map(|key| {
            let get =
                |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            let (path, a, b) = first_difference(&get(then), &get(now))?;
            Some((
                if path.is_empty() {
                    key.clone()
                } else {
                    format!("{key}.{path}")
                },
                a,
                b,
            ))
        });
    }
    (then != now).then(|| (String::new(), then.to_string(), now.to_string()))
}

/// An `f64` that JSON brings back bit for bit: serde_json's reader may be off in the last place,
/// and JSON has no NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Exact(pub(super) f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Everything about the loop that is not a tensor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) format: u32,
    /// [`super::FitConfig`] and [`super::Run::recipe`], which may not change.
    pub(super) config: Value,
    pub(super) recipe: Value,
    pub(super) num_samples: usize,
    /// Optimiser steps done.
    pub(super) step: usize,
    /// Epochs finished, validation included.
    pub(super) epoch: usize,
    /// Batches of the current epoch that are used up.
    pub(super) batch: usize,
    /// Running sums of the current epoch.
    pub(super) sums: Sums,
    pub(super) best: Watch,
    pub(super) early: Watch,
    pub(super) stopped_early: bool,
    #[serde(with = "exact_history")]
    pub(super) history: History,
}

/// Sums over the samples of an epoch so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    pub(super) samples: usize,
    pub(super) loss: Exact,
    pub(super) metrics: Vec<(String, Exact)>,
    pub(super) seconds: Exact,
}

/// Follows one validation metric.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Watch {
    pub(super) value: Option<Exact>,
    /// Epoch (from 1) of `value`.
    pub(super) epoch: usize,
    /// Validations since then.
    pub(super) waited: usize,
}

/// [`History`] with every number exact.
mod exact_history {
    use super::{Deserialize, Deserializer, EpochRecord, Exact, History, Serialize, Serializer};

    type Pairs = Vec<(String, Exact)>;

    #[derive(Serialize, Deserialize)]
    struct Record {
        losses: Vec<Exact>,
        lrs: Vec<Exact>,
        grad_norms: Vec<Exact>,
        epochs: Vec<(usize, usize, Pairs, Pairs, Exact)>,
    }

    fn exact(values: &[f64]) -> Vec<Exact> {
        values.iter().copied().map(Exact).collect()
    }

    fn plain(values: &[Exact]) -> Vec<f64> {
        values.iter().map(|v| v.0).collect()
    }

    fn exact_pairs(pairs: &[(String, f64)]) -> Pairs {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), Exact(*value)))
            .collect()
    }

    fn plain_pairs(pairs: Pairs) -> Vec<(String, f64)> {
        pairs
            .into_iter()
            .map(|(name, value)| (name, value.0))
            .collect()
    }

    pub(super) fn serialize<S: Serializer>(history: &History, out: S) -> Result<S::Ok, S::Error> {
        let epoch = |e: &EpochRecord| {
            (
                e.epoch,
                e.steps,
                exact_pairs(&e.train),
                exact_pairs(&e.validation),
                Exact(e.seconds),
            )
        };
        let record = Record {
            losses: exact(&history.losses),
            lrs: exact(&history.lrs),
            grad_norms: exact(&history.grad_norms),
            epochs: history.epochs.iter().map(epoch).collect(),
        };
        record.serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<History, D::Error> {
        let record = Record::deserialize(input)?;
        let epochs = record
            .epochs
            .into_iter()
            .map(|(epoch, steps, train, validation, seconds)| {
                let (train, validation) = (plain_pairs(train), plain_pairs(validation));
                EpochRecord {
                    epoch,
                    steps,
                    train,
                    validation,
                    seconds: seconds.0,
                }
            });
        Ok(History {
            losses: plain(&record.losses),
            lrs: plain(&record.lrs),
            grad_norms: plain(&record.grad_norms),
            epochs: epochs.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(step: usize) -> State {
        State {
            format: FORMAT,
            config: json!({}),
            recipe: Value::Null,
            num_samples: 1,
            step,
            epoch: 0,
            batch: 0,
            sums: Sums::default(),
            best: Watch::default(),
            early: Watch::default(),
            stopped_early: false,
            history: History::default(),
        }
    }

    fn write(checkpoints: &Checkpoints, step: usize) -> Result<PathBuf> {
        checkpoints.write("last", &state(step), |dir| {
            fs::write(dir.join("model.bpk"), step.to_string()).unwrap();
            Ok(())
        })
    }

    fn step(checkpoints: &Checkpoints) -> usize {
        read_state(&checkpoints.open("last").unwrap()).unwrap().step
    }

    #[test]
    fn the_newest_whole_checkpoint_is_found_wherever_a_write_stopped() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(run.path());
        assert!(!checkpoints.any());
        write(&checkpoints, 1).unwrap();
        write(&checkpoints, 2).unwrap();
        assert_eq!(step(&checkpoints), 2);
        let dir = run.path().join("checkpoint");
        let names = |dir: &Path| fs::read_dir(dir).unwrap().count();
        assert_eq!(names(&dir), 1);
        // The save fails half way: the old one stays.
        let failed = checkpoints.write("last", &state(3), |dir| {
            fs::write(dir.join("model.bpk"), "half").unwrap();
            Err(Error::io("write", dir, std::io::Error::other("disk full")))
        });
        assert!(failed.is_err());
        assert_eq!(step(&checkpoints), 2);
        // Dead between the two renames: `last` is away, its predecessor and the new one are there.
        fs::rename(dir.join("last"), dir.join("last.previous")).unwrap();
        assert_eq!(step(&checkpoints), 2);
        write(&checkpoints, 4).unwrap();
        assert_eq!(step(&checkpoints), 4);
        assert_eq!(names(&dir), 1);
    }

    #[test]
    fn damage_is_an_error_that_names_the_file() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(run.path());
        let missing = checkpoints.open("last").unwrap_err().to_string();
        assert!(missing.contains("no checkpoint"), "{missing}");
        let path = write(&checkpoints, 1).unwrap();
        fs::write(path.join("model.bpk"), "2").unwrap();
        let text = checkpoints.open("last").unwrap_err().to_string();
        assert!(
            text.contains("model.bpk") && text.contains("damaged"),
            "{text}"
        );
        fs::remove_file(path.join("model.bpk")).unwrap();
        assert!(
            checkpoints
                .open("last")
                .unwrap_err()
                .to_string()
                .contains("model.bpk")
        );
        fs::write(path.join(MANIFEST), "{").unwrap();
        assert!(
            checkpoints
                .open("last")
                .unwrap_err()
                .to_string()
                .contains(MANIFEST)
        );
    }

    #[test]
    fn state_keeps_every_bit() {
        let third = 0.1 + 0.2;
        let epoch = EpochRecord {
            epoch: 1,
            steps: 3,
            train: vec![("loss".into(), 1.0 / 3.0)],
            validation: vec![("auroc".into(), f64::NAN), ("x".into(), f64::NEG_INFINITY)],
            seconds: 2.0f64.sqrt(),
        };
        let mut before = state(3);
        before.history.losses = vec![third, f64::MIN_POSITIVE, 1e300, -0.0];
        before.history.epochs = vec![epoch];
        before.sums.loss = Exact(1e-17 + 1.0 / 7.0);
        let text = serde_json::to_string(&before).unwrap();
        let after: State = serde_json::from_str(&text).unwrap();
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&after.history.losses), bits(&before.history.losses));
        assert_eq!(after.sums.loss, before.sums.loss);
        let (a, b) = (&after.history.epochs[0], &before.history.epochs[0]);
        assert_eq!((&a.train, a.seconds), (&b.train, b.seconds));
        assert!(a.validation[0].1.is_nan() && a.validation[1].1 == f64::NEG_INFINITY);
    }

    #[test]
    fn a_difference_is_named_by_its_path() {
        let then = json!({"a": 1, "b": {"lr": 0.1, "x": [1]}});
        assert_eq!(first_difference(&then, &then), None);
        let now = json!({"a": 1, "b": {"lr": 0.2, "x": [1]}});
        let expected = ("b.lr".to_string(), "0.1".to_string(), "0.2".to_string());
        assert_eq!(first_difference(&then, &now), Some(expected));
        let now = json!({"a": 1, "b": {"lr": 0.1, "x": [1]}, "c": true});
        assert_eq!(first_difference(&then, &now).unwrap().0, "c");
    }
}
