//! Weights in and out in the published layout.
//!
//! [`load`] reads safetensors (one file or a sharded index) and PyTorch files, [`save`] writes
//! safetensors that the reference implementation loads with `strict=True`. How the keys
//! correspond is a [`KeyMap`] next to each model. Loading is strict: a missing, unexpected or
//! mis-shaped key, or a value that is not finite, is an [`Error::Weights`] that names it, and the
//! model stays as it was.
//!
//! The conversion between the layouts follows burn-store's PyTorch adapter: a linear layer's
//! weight is transposed (unless the map says that it is stored `[in, out]`), a norm's `gamma` and
//! `beta` are `weight` and `bias`. It goes by the name
//! of the struct that owns the tensor (`Linear`, `BatchNorm`, …), so no module of ours may bear
//! one of these names and mean something else; `LinearLayout::Col` is not supported.

mod adapter;
mod arrays;
mod gguf;
mod keymap;
mod layout;
mod load;
mod read;
mod write;

pub use adapter::{LoraConfig, adapter_base, merge_adapter};
pub use arrays::{Arrays, Element};
pub use gguf::{Gguf, GgufValue};
pub use keymap::KeyMap;
pub use load::{LoadOptions, LoadReport, load, load_bytes, load_with};
pub use write::{SaveDtype, write_tensors};

use crate::{Error, Result};
use burn::module::Module;
use layout::{Kind, Slot};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, collections::BTreeMap, path::Path};
use write::{Out, Values};

/// The counter that PyTorch's batch norm keeps and nothing here reads.
const COUNTER: &str = "num_batches_tracked";

/// A tensor out of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTensor {
    /// Its extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its values in row-major order; integers are exact up to 2^24.
    pub data: Vec<f32>,
    /// Whether the file holds integers or booleans.
    pub integer: bool,
}

/// Every tensor of a checkpoint of any format under its key, for converters.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, RawTensor>> {
    let raw = |(key, entry): (String, read::Entry<'_>)| {
        let data = entry.floats().map_err(|e| Error::io("read", path, e))?;
        Ok((
            key,
            RawTensor {
                shape: entry.shape.clone(),
                data,
                integer: !entry.dtype.is_float(),
            },
        ))
    };
    read::open(path)?.into_iter().map(raw).collect()
}

/// Saves `model` as safetensors in the published layout, atomically, with the metadata
/// `format: pt`, so that Python loads it.
///
/// Every floating-point tensor is cast to `dtype`, running statistics included. A value that is not
/// finite, or that `dtype` cannot hold, is an error that names its key.
pub fn save<M: Module>(model: &M, path: &Path, map: &KeyMap, dtype: SaveDtype) -> Result<()> {
    map.check()?;
    // `valid` also settles the running statistics of the last training step.
    let model = model.valid();
    let mut tensors = BTreeMap::new();
    let mut put = |name: String, out: Out<'static>| match tensors.insert(name.clone(), out) {
        None => Ok(()),
        Some(_) => Err(bad_map(format!("two tensors are called '{name}'"))),
    };
    for slot in layout::slots_with_values(&model, map) {
        let published = map.to_published(&slot.name);
        if map.to_ours(&published) != slot.name {
            return Err(bad_map(format!(
                "'{}' becomes '{published}', which does not lead back",
                slot.name
            )));
        }
        if let Some(counter) = counter_beside(&published, map) {
            put(
                counter,
                Out {
                    shape: Vec::new(),
                    values: Values::Int(Box::new(|| Ok(vec![0]))),
                },
            )?;
        }
        put(published, out(slot))?;
    }
    write::safetensors(path, tensors, dtype)
}

fn bad_map(message: String) -> Error {
    Error::Internal {
        context: "key map".into(),
        message,
    }
}

fn out(slot: Slot) -> Out<'static> {
    let (shape, kind, transposed) = (slot.shape.clone(), slot.kind, slot.transposed);
    let fetch = slot
        .fetch
        .unwrap_or_else(|| Box::new(|| burn::tensor::TensorData::zeros::<f32, _>([0])));
    let values = if kind == Kind::Float {
        let dims = shape.clone();
        Values::Float(Box::new(move || {
            let values = write::floats(&fetch)?;
            Ok(Cow::Owned(if transposed {
                layout::transpose(&values, dims[1], dims[0])
            } else {
                values
            }))
        }))
    } else {
        Values::Int(Box::new(move || {
            fetch().try_into_vec_as::<i64>().map_err(|e| e.to_string())
        }))
    };
    Out { shape, values }
}

/// The key of the counter that belongs next to this key, if it is a running mean and `map` wants it.
fn counter_beside(published: &str, map: &KeyMap) -> Option<String> {
    let stem = published.strip_suffix("running_mean")?;
    map.writes_counters().then(|| format!("{stem}{COUNTER}"))
}

/// The keys and shapes of `model` as the published layout has them, sorted by key: what
/// [`save`] writes and PyTorch's `state_dict` holds.
pub fn published_keys<M: Module>(model: &M, map: &KeyMap) -> Vec<(String, Vec<usize>)> {
    let mut keys = Vec::new();
    for slot in layout::slots(model, map) {
        let published = map.to_published(&slot.name);
        keys.extend(counter_beside(&published, map).map(|counter| (counter, Vec::new())));
        keys.push((published, slot.shape));
    }
    keys.sort();
    keys
}

/// SHA-256 over lines `key [d0, d1]`, one a tensor in the order given, as lower-case hex.
///
/// The same in Python, to compare an architecture with its reference:
/// `sha256("".join(f"{k} {list(v.shape)}\n" for k, v in sorted(state_dict.items())).encode())`.
pub fn digest(keys: &[(String, Vec<usize>)]) -> String {
    let mut hash = Sha256::new();
    for (key, shape) in keys {
        hash.update(format!("{key} {shape:?}\n"));
    }
    format!("{:x}", hash.finalize())
}

/// Number of parameters, frozen ones included, running statistics excluded: PyTorch's
/// `sum(p.numel() for p in model.parameters())`.
pub fn num_params<M: Module>(model: &M) -> usize {
    let parameter = |slot: &Slot| slot.kind == Kind::Float && !slot.running;
    layout::slots(model, &KeyMap::IDENTITY)
        .iter()
        .filter(|slot| parameter(slot))
        .map(|s| s.shape.iter().product::<usize>())
        .sum()
}
