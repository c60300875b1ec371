//! Checkpoint files as named, lazily read tensors: safetensors, sharded safetensors, PyTorch.

use crate::{Error, Result, guard};
use burn::store::pytorch_reader::{self, PickleValue, PytorchReader};
use half::{bf16, f16};
use safetensors::{Dtype, tensor::Metadata};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Component, Path},
    sync::{Arc, Mutex, PoisonError},
};

/// The largest header that the safetensors format allows.
const MAX_HEADER: u64 = 100_000_000;

/// What PyTorch training scripts call the entry that holds the weights, in order of preference.
const STATE_DICT_KEYS: [&str; 7] = [
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "params",
    "weights",
    "module",
];

/// Element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Stored {
    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }
}

/// A stored tensor whose bytes are read when asked for.
pub(super) struct Entry<'b> {
    pub(super) dtype: Stored,
    pub(super) shape: Vec<usize>,
    source: Source<'b>,
}

enum Source<'b> {
    Bytes(&'b [u8]),
    File {
        file: Arc<Mutex<File>>,
        offset: u64,
        len: usize,
    },
    PyTorch(pytorch_reader::Tensor),
}

/// The tensors of a checkpoint by published key.
pub(super) type Entries<'b> = BTreeMap<String, Entry<'b>>;

impl Entry<'_> {
    fn bytes(&self) -> std::io::Result<Vec<u8>> {
        match &self.source {
            Source::Bytes(bytes) => Ok(bytes.to_vec()),
            Source::File { file, offset, len } => {
                let mut bytes = vec![0; *len];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(*offset))?;
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Source::PyTorch(tensor) => tensor.read(),
        }
    }

    /// The values as f32 in row-major order; integers and booleans too.
    pub(super) fn floats(&self) -> std::io::Result<Vec<f32>> {
        let bytes = self.bytes()?;
        Ok(match self.dtype {
            Stored::F64 => decode(&bytes, |b| f64::from_le_bytes(b) as f32),
            Stored::F32 => decode(&bytes, f32::from_le_bytes),
            Stored::F16 => decode(&bytes, |b| f16::from_le_bytes(b).to_f32()),
            Stored::BF16 => decode(&bytes, |b| bf16::from_le_bytes(b).to_f32()),
            _ => self
                .decode_integers(&bytes)
                .iter()
                .map(|&v| v as f32)
                .collect(),
        })
    }

    /// The values as f64 in row-major order.
    pub(super) fn doubles(&self) -> std::io::Result<Vec<f64>> {
        if self.dtype == Stored::F64 {
            return Ok(decode(&self.bytes()?, f64::from_le_bytes));
        }
        let floats = self.floats()?;
        Ok(floats.into_iter().map(f64::from).collect())
    }

    /// The values of an integer or boolean tensor.
    pub(super) fn integers(&self) -> std::io::Result<Vec<i64>> {
        Ok(self.decode_integers(&self.bytes()?))
    }

    fn decode_integers(&self, bytes: &[u8]) -> Vec<i64> {
        match self.dtype {
            Stored::I64 => decode(bytes, i64::from_le_bytes),
            Stored::I32 => decode(bytes, |b| i32::from_le_bytes(b).into()),
            Stored::I16 => decode(bytes, |b| i16::from_le_bytes(b).into()),
            Stored::I8 => decode(bytes, |b| i8::from_le_bytes(b).into()),
            Stored::U64 => decode(bytes, |b| u64::from_le_bytes(b) as i64),
            Stored::U32 => decode(bytes, |b| u32::from_le_bytes(b).into()),
            Stored::U16 => decode(bytes, |b| u16::from_le_bytes(b).into()),
            Stored::U8 => decode(bytes, |b| u8::from_le_bytes(b).into()),
            Stored::Bool => decode(bytes, |b: [u8; 1]| (b != [0]).into()),
            Stored::F64 | Stored::F32 | Stored::F16 | Stored::BF16 => Vec::new(),
        }
    }
}

fn decode<const N: usize, T>(bytes: &[u8], one: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&chunk| one(chunk))
        .collect()
}

/// Opens a checkpoint of any format; the content decides, the extension only where it cannot.
pub(super) fn open(path: &Path) -> Result<Entries<'static>> {
    guard(&format!("reading {}", path.display()), || {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        if path.is_dir() {
            return Err(unreadable(path, "is a folder"));
        }
        let mut head = Vec::new();
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        file.take(512)
            .read_to_end(&mut head)
            .map_err(|e| Error::io("read", path, e))?;
        let format = format_of(&head).or(match extension.as_deref() {
            Some("safetensors") => Some(Format::Safetensors),
            Some("pt" | "pth" | "bin" | "ckpt" | "tar") => Some(Format::PyTorch),
            _ => None,
        });
        match format {
            _ if extension.as_deref() == Some("json") => sharded(path),
            Some(Format::Safetensors) => safetensors_file(path),
            Some(Format::PyTorch) => pytorch(path),
            None => Err(unreadable(
                path,
                "is neither safetensors nor a PyTorch file",
            )),
        }
    })
}

fn unreadable(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::input(
        path.display().to_string(),
        format!("unreadable checkpoint: {what}"),
        "a whole .safetensors, .safetensors.index.json, .pt, .pth or .bin file",
    )
}

enum Format {
    Safetensors,
    PyTorch,
}

fn format_of(head: &[u8]) -> Option<Format> {
    let json_len = head.first_chunk().map(|b| u64::from_le_bytes(*b));
    if json_len.is_some_and(|n| n <= MAX_HEADER) && head.get(8) == Some(&b'{') {
        return Some(Format::Safetensors);
    }
    let torch = head.starts_with(b"PK")
        || head.starts_with(&[0x80])
        || head.get(257..262) == Some(b"ustar");
    torch.then_some(Format::PyTorch)
}

// ------------------------------------------------------------------------------- safetensors

fn safetensors_file(path: &Path) -> Result<Entries<'static>> {
    let io = |e| Error::io("read", path, e);
    let mut file = File::open(path).map_err(io)?;
    let file_len = file.metadata().map_err(io)?.len();
    let mut prefix = [0; 8];
    if file_len < 8 {
        return Err(unreadable(
            path,
            format!("{file_len} bytes are no safetensors file"),
        ));
    }
    file.read_exact(&mut prefix).map_err(io)?;
    let header_len = header_len(prefix, file_len).map_err(|what| unreadable(path, what))?;
    let mut header = vec![0; header_len as usize];
    file.read_exact(&mut header).map_err(io)?;
    let start = 8 + header_len;
    let file = Arc::new(Mutex::new(file));
    entries(&header, file_len - start, |from, len| Source::File {
        file: file.clone(),
        offset: start + from as u64,
        len,
    })
    .map_err(|what| unreadable(path, what))
}

/// The tensors of a safetensors file in memory; `name` is for messages.
pub(super) fn from_bytes<'b>(bytes: &'b [u8], name: &Path) -> Result<Entries<'b>> {
    let parse = || -> Result<Entries<'b>, String> {
        let (prefix, rest) = bytes
            .split_first_chunk()
            .ok_or("too short for safetensors")?;
        let header_len = header_len(*prefix, bytes.len() as u64)? as usize;
        let (header, data) = rest.split_at(header_len);
        entries(header, data.len() as u64, |from, len| {
            Source::Bytes(&data[from..from + len])
        })
    };
    parse().map_err(|what| unreadable(name, what))
}

fn header_len(prefix: [u8; 8], total: u64) -> Result<u64, String> {
    let len = u64::from_le_bytes(prefix);
    if len > MAX_HEADER || len + 8 > total {
        return Err(format!(
            "a safetensors header of {len} bytes in a file of {total}"
        ));
    }
    Ok(len)
}

/// Parses a header; `locate(from, len)` places a tensor's bytes, which lie inside `data_len`.
fn entries<'b>(
    header: &[u8],
    data_len: u64,
    locate: impl Fn(usize, usize) -> Source<'b>,
) -> Result<Entries<'b>, String> {
    // Deserialising checks that the offsets are contiguous from 0 and fit the shapes.
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|e| format!("safetensors header: {e}"))?;
    if metadata.data_len() as u64 != data_len {
        let expected = metadata.data_len();
        return Err(format!(
            "{data_len} bytes of tensors where the header announces {expected}"
        ));
    }
    let mut found = Entries::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else {
            continue;
        };
        let (from, to) = info.data_offsets;
        let dtype =
            stored(info.dtype).ok_or_else(|| format!("'{name}' has the type {}", info.dtype))?;
        let source = locate(from, to - from);
        found.insert(
            name,
            Entry {
                dtype,
                shape: info.shape.clone(),
                source,
            },
        );
    }
    Ok(found)
}

fn stored(dtype: Dtype) -> Option<Stored> {
    Some(match dtype {
        Dtype::F64 => Stored::F64,
        Dtype::F32 => Stored::F32,
        Dtype::F16 => Stored::F16,
        Dtype::BF16 => Stored::BF16,
        Dtype::I64 => Stored::I64,
        Dtype::I32 => Stored::I32,
        Dtype::I16 => Stored::I16,
        Dtype::I8 => Stored::I8,
        Dtype::U64 => Stored::U64,
        Dtype::U32 => Stored::U32,
        Dtype::U16 => Stored::U16,
        Dtype::U8 => Stored::U8,
        Dtype::BOOL => Stored::Bool,
        _ => return None,
    })
}

// ----------------------------------------------------------------------------------- sharded

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn sharded(path: &Path) -> Result<Entries<'static>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let index: Index = serde_json::from_str(&text).map_err(|e| {
        Error::input(
            path.display().to_string(),
            e.to_string(),
            "an index of shards with a weight_map",
        )
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let shards: BTreeSet<&String> = index.weight_map.values().collect();
    let mut all = Entries::new();
    for shard in shards {
        check_shard(path, folder, shard)?;
        for (key, entry) in open(&folder.join(shard))? {
            match all.entry(key) {
                btree_map::Entry::Vacant(slot) => _ = slot.insert(entry),
                btree_map::Entry::Occupied(slot) => {
                    return Err(unreadable(
                        path,
                        format!("'{}' is in two shards", slot.key()),
                    ));
                }
            }
        }
    }
    match index
        .weight_map
        .iter()
        .find(|(key, _)| !all.contains_key(*key))
    {
        Some((key, shard)) => Err(unreadable(
            path,
            format!("'{key}' is not in its shard {shard}"),
        )),
        None => Ok(all),
    }
}

/// A shard is a plain file name next to the index, and no index itself.
fn check_shard(index: &Path, folder: &Path, shard: &str) -> Result<()> {
    let mut parts = Path::new(shard).components();
    let plain = matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    );
    if !plain || shard.contains(['/', '\\']) || shard.to_lowercase().ends_with(".json") {
        return Err(unreadable(
            index,
            format!("the shard name '{shard}' leaves the folder"),
        ));
    }
    if !folder.join(shard).is_file() {
        return Err(unreadable(index, format!("the shard {shard} is missing")));
    }
    Ok(())
}

// ----------------------------------------------------------------------------------- PyTorch

/// Reads with burn's pickle interpreter, which builds plain data and runs nothing.
fn pytorch(path: &Path) -> Result<Entries<'static>> {
    let fail = |e: pytorch_reader::PytorchError| unreadable(path, e);
    let top = PytorchReader::read_pickle_data(path, None).map_err(fail)?;
    let reader = match state_dict_key(&top) {
        Some(key) => PytorchReader::with_top_level_key(path, key),
        None => PytorchReader::new(path),
    };
    let tensors: BTreeMap<_, _> = reader.map_err(fail)?.into_tensors().into_iter().collect();
    if tensors.is_empty() {
        return Err(unreadable(path, "it holds no tensor"));
    }
    let entry = |(key, tensor): (String, pytorch_reader::Tensor)| {
        let dtype = stored_pytorch(tensor.dtype());
        (
            key,
            Entry {
                dtype,
                shape: tensor.shape().to_vec(),
                source: Source::PyTorch(tensor),
            },
        )
    };
    Ok(tensors.into_iter().map(entry).collect())
}

/// The top-level entry that holds the weights, unless they lie at the top themselves.
fn state_dict_key(top: &PickleValue) -> Option<&'static str> {
    let PickleValue::Dict(dict) = top else {
        return None;
    };
    if dict.values().any(is_tensor) {
        return None;
    }
    STATE_DICT_KEYS
        .into_iter()
        .find(|key| dict.get(*key).is_some_and(holds_tensor))
}

fn is_tensor(value: &PickleValue) -> bool {
    matches!(value, PickleValue::Unsupported(name) if name == "torch.Tensor")
}

fn holds_tensor(value: &PickleValue) -> bool {
    match value {
        PickleValue::Dict(dict) => dict.values().any(|v| is_tensor(v) || holds_tensor(v)),
        _ => false,
    }
}

fn stored_pytorch(dtype: pytorch_reader::DType) -> Stored {
    use pytorch_reader::DType as P;
    match dtype {
        P::F64 => Stored::F64,
        P::F32 => Stored::F32,
        P::F16 => Stored::F16,
        P::BF16 => Stored::BF16,
        P::I64 => Stored::I64,
        P::I32 => Stored::I32,
        P::I16 => Stored::I16,
        P::I8 => Stored::I8,
        P::U64 => Stored::U64,
        P::U32 => Stored::U32,
        P::U16 => Stored::U16,
        P::U8 => Stored::U8,
        P::Bool => Stored::Bool,
    }
}
