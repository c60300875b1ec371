//! Loading: match, check everything, then apply.

use super::{
    keymap::{self, KeyMap},
    layout::{self, Kind, Slot},
    read::{self, Entries, Entry},
};
use crate::{Error, Result, guard};
use burn::{
    module::Module,
    store::{Applier, bridge},
    tensor::TensorData,
};
use rayon::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

/// Names shown of each class of findings.
const SHOWN: usize = 10;

/// What training scripts put in front of every key: wrappers for several devices, compilation, or
/// the attribute that held the model.
const WRAPPERS: [&str; 7] = [
    "module.",
    "model.",
    "state_dict.",
    "_orig_mod.",
    "net.",
    "model_state_dict.",
    "backbone.",
];

/// What [`load_with`] tolerates; patterns as in [`KeyMap`], in the published spelling.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions<'a> {
    /// Keys that the file may lack or hold in another shape: our values stay. This is how a
    /// model gets a new head.
    pub allow_missing: &'a [&'a str],
    /// Keys that the file may hold although the model has no such tensor.
    pub allow_unexpected: &'a [&'a str],
}

/// What loading did. Keys are in the published spelling and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Number of tensors that were loaded.
    pub loaded: usize,
    /// Tensors that the file lacks and [`LoadOptions::allow_missing`] tolerates.
    pub missing: Vec<String>,
    /// Tensors whose shape differs, which [`LoadOptions::allow_missing`] tolerates, with both shapes.
    pub misshaped: Vec<String>,
    /// Keys that [`LoadOptions::allow_unexpected`] tolerates.
    pub unexpected: Vec<String>,
    /// Number of keys that the key map drops.
    pub dropped: usize,
    /// Wrapper that stood in front of every key and was taken off (`module.`).
    pub prefix: String,
}

/// Loads a checkpoint file of any format into `model`; see [`load_with`].
pub fn load<M: Module>(model: &mut M, path: &Path, map: &KeyMap) -> Result<LoadReport> {
    load_with(model, path, map, LoadOptions::default())
}

/// Loads a bundled safetensors file; `name` stands for it in messages.
pub fn load_bytes<M: Module>(
    model: &mut M,
    bytes: &[u8],
    name: &str,
    map: &KeyMap,
) -> Result<LoadReport> {
    let name = Path::new(name);
    load_entries(
        model,
        read::from_bytes(bytes, name)?,
        name,
        map,
        LoadOptions::default(),
    )
}

/// Loads a checkpoint file into `model`, tolerating what `options` says.
///
/// The format follows from the content: safetensors, `*.index.json` (sharded, shards in the
/// same folder), PyTorch's `.pt`, `.pth` or `.bin` (read by a pickle interpreter that runs
/// nothing; a nested `state_dict` or `model` is found). Floating-point tensors are cast to f32.
///
/// Anything else than a perfect fit is [`Error::Weights`] with the keys in the published
/// spelling, and `model` is unchanged. Note that clones of a burn module share their batch
/// norms' running statistics: loading into one changes them in all.
pub fn load_with<M: Module>(
    model: &mut M,
    path: &Path,
    map: &KeyMap,
    options: LoadOptions<'_>,
) -> Result<LoadReport> {
    load_entries(model, read::open(path)?, path, map, options)
}

fn load_entries<M: Module>(
    model: &mut M,
    entries: Entries<'_>,
    path: &Path,
    map: &KeyMap,
    options: LoadOptions<'_>,
) -> Result<LoadReport> {
    map.check()?;
    let slots = layout::slots(model, map);
    let Matched {
        pairs,
        ties,
        report,
        findings,
    } = matched(&slots, entries, map, options);
    findings.into_result(path)?;
    check_ties(&pairs, &ties, path)?;
    let data = read_values(&pairs, path)?;
    if slots.iter().any(|slot| slot.initialized && !slot.running) {
        // A model that has trained may hold statistics of its last step that would be merged
        // over the loaded ones later; `valid` settles them now.
        let _ = model.valid();
    }
    apply(model, data, path)?;
    Ok(report)
}

/// Puts checked values into the model; a panic below leaves it as it was.
fn apply<M: Module>(model: &mut M, data: Vec<(String, TensorData)>, path: &Path) -> Result<()> {
    let expected = data.len();
    let tensors = data
        .into_iter()
        .map(|(name, data)| bridge::from_data(data, name, None))
        .collect();
    // Not `ModuleSnapshot::apply`: a panic inside that one aborts the process.
    let mut applier = Applier::new(tensors, None, None, true);
    let source = model.clone();
    let loaded = guard(&format!("loading {}", path.display()), || {
        Ok(source.map(&mut applier))
    })?;
    let result = applier.into_result();
    if result.applied.len() != expected || !result.errors.is_empty() {
        let message = format!(
            "{} of {expected} tensors were taken: {:?}",
            result.applied.len(),
            result.errors
        );
        return Err(Error::Internal {
            context: format!("loading {}", path.display()),
            message,
        });
    }
    *model = loaded;
    Ok(())
}

struct Matched<'s, 'b> {
    pairs: Vec<(String, &'s Slot, Entry<'b>)>,
    /// Keys that name a tensor of ours once more.
    ties: Vec<(String, &'s str, Entry<'b>)>,
    report: LoadReport,
    findings: Findings,
}

fn matched<'s, 'b>(
    slots: &'s [Slot],
    entries: Entries<'b>,
    map: &KeyMap,
    options: LoadOptions<'_>,
) -> Matched<'s, 'b> {
    let allowed = |patterns: &[&str], key: &str| patterns.iter().any(|p| keymap::matches(p, key));
    let by_name: BTreeMap<&str, &Slot> = slots
        .iter()
        .map(|slot| (slot.name.as_str(), slot))
        .collect();
    let mut report = LoadReport {
        prefix: wrapper(&entries, &by_name, map),
        ..LoadReport::default()
    };
    let mut findings = Findings::default();
    let mut taken = BTreeSet::new();
    let mut pairs = Vec::new();
    let mut ties = Vec::new();
    let skip = report.prefix.len();
    let find = |key: &str| map.find(key, |name| by_name.get_key_value(name).map(|(k, _)| *k));
    let present: BTreeSet<&str> = entries
        .keys()
        .filter_map(|key| find(&key[skip..]))
        .collect();
    for (full_key, entry) in entries {
        let key = full_key[skip..].to_string();
        if map.is_dropped(&key) {
            report.dropped += 1;
            continue;
        }
        let mut found = find(&key);
        if let (None, Some(source)) = (found, map.tied_to(&key)) {
            found = find(source);
            if let Some(source) = found.filter(|source| present.contains(source)) {
                report.dropped += 1;
                ties.push((key, source, entry));
                continue;
            }
        }
        let Some(&slot) = found.and_then(|name| by_name.get(name)) else {
            let class = if allowed(options.allow_unexpected, &key) {
                &mut report.unexpected
            } else {
                &mut findings.unexpected
            };
            class.push(key);
            continue;
        };
        if !taken.insert(slot.name.as_str()) {
            findings.twice.push(format!("{key} (is {})", slot.name));
        } else if entry.shape != slot.shape {
            let line = format!("{key} (expected {:?}, found {:?})", slot.shape, entry.shape);
            let class = if allowed(options.allow_missing, &key) {
                &mut report.misshaped
            } else {
                &mut findings.misshaped
            };
            class.push(line);
        } else if (slot.kind == Kind::Float) != entry.dtype.is_float() {
            findings.misshaped.push(format!(
                "{key} (expected {:?} values, found {:?})",
                slot.kind, entry.dtype
            ));
        } else {
            pairs.push((key, slot, entry));
        }
    }
    for slot in slots
        .iter()
        .filter(|slot| !taken.contains(slot.name.as_str()))
    {
        let key = map.to_published(&slot.name);
        let class = if allowed(options.allow_missing, &key) {
            &mut report.missing
        } else {
            &mut findings.missing
        };
        class.push(format!("{key} {:?}", slot.shape));
    }
    report.missing.sort();
    findings.missing.sort();
    report.loaded = pairs.len();
    Matched {
        pairs,
        ties,
        report,
        findings,
    }
}

/// Refuses a key that should be another tensor once more and holds something else: a model whose
/// layers are tied cannot represent it.
fn check_ties(
    pairs: &[(String, &Slot, Entry<'_>)],
    ties: &[(String, &str, Entry<'_>)],
    path: &Path,
) -> Result<()> {
    let mut findings = Findings::default();
    let io = |e| Error::io("read", path, e);
    for (key, source, entry) in ties {
        let Some((name, _, tensor)) = pairs.iter().find(|(_, slot, _)| slot.name == *source) else {
            continue;
        };
        if entry.shape != tensor.shape
            || entry.floats().map_err(io)? != tensor.floats().map_err(io)?
        {
            findings.untied.push(format!("{key} (is not {name})"));
        }
    }
    findings.into_result(path)
}

/// The wrappers in front of every key, if without them keys of ours appear and with them none does.
fn wrapper(entries: &Entries<'_>, by_name: &BTreeMap<&str, &Slot>, map: &KeyMap) -> String {
    let ours = |name: &str| by_name.get_key_value(name).map(|(name, _)| *name);
    let known = |skip: usize| {
        entries
            .keys()
            .any(|key| map.find(&key[skip..], ours).is_some())
    };
    let mut prefix = String::new();
    while !known(prefix.len()) {
        let longer = WRAPPERS.iter().map(|w| format!("{prefix}{w}"));
        let fits = |p: &String| {
            entries
                .keys()
                .all(|key| key.len() > p.len() && key.starts_with(p.as_str()))
        };
        match longer
            .into_iter()
            .find(fits)
            .filter(|_| !entries.is_empty())
        {
            Some(longer) => prefix = longer,
            None => return String::new(),
        }
    }
    prefix
}

/// Reads, casts and checks the values, in burn's layout and under burn's names.
fn read_values(
    pairs: &[(String, &Slot, Entry<'_>)],
    path: &Path,
) -> Result<Vec<(String, TensorData)>> {
    let read = |(key, slot, entry): &(String, &Slot, Entry<'_>)| -> Result<Result<(String, TensorData), String>> {
        let io = |e| Error::io("read", path, e);
        let shape = slot.shape.clone();
        let data = match slot.kind {
            Kind::Float => {
                let values = entry.floats().map_err(io)?;
                if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
                    return Ok(Err(format!("{key} (holds {bad})")));
                }
                if slot.transposed {
                    TensorData::new(layout::transpose(&values, shape[0], shape[1]), [shape[1], shape[0]])
                } else {
                    TensorData::new(values, shape)
                }
            }
            Kind::Int => TensorData::new(entry.integers().map_err(io)?, shape),
            Kind::Bool => TensorData::new(entry.integers().map_err(io)?.iter().map(|&v| v != 0).collect(), shape),
        };
        Ok(Ok((slot.path.clone(), data)))
    };
    let all: Vec<_> = pairs.par_iter().map(read).collect::<Result<_>>()?;
    let mut findings = Findings::default();
    let mut data = Vec::with_capacity(all.len());
    for one in all {
        match one {
            Ok(tensor) => data.push(tensor),
            Err(bad) => findings.nonfinite.push(bad),
        }
    }
    findings.into_result(path)?;
    Ok(data)
}

/// What does not fit, in the published spelling.
#[derive(Default)]
struct Findings {
    missing: Vec<String>,
    unexpected: Vec<String>,
    misshaped: Vec<String>,
    twice: Vec<String>,
    untied: Vec<String>,
    nonfinite: Vec<String>,
}

impl Findings {
    fn into_result(self, path: &Path) -> Result<()> {
        let report = self.to_string();
        if report.is_empty() {
            Ok(())
        } else {
            Err(Error::Weights {
                path: path.into(),
                report,
            })
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("mis-shaped", &self.misshaped),
            ("doubly given", &self.twice),
            ("not tied", &self.untied),
            ("not finite", &self.nonfinite),
        ];
        let mut separator = "";
        for (class, keys) in classes.into_iter().filter(|(_, keys)| !keys.is_empty()) {
            write!(
                f,
                "{separator}{} {class}: {}",
                keys.len(),
                keys[..keys.len().min(SHOWN)].join(", ")
            )?;
            if keys.len() > SHOWN {
                write!(f, ", and {} more", keys.len() - SHOWN)?;
            }
            separator = "; ";
        }
        Ok(())
    }
}
