//! GGUF, the file of llama.cpp and ggml: metadata and tensors, quantised or not, in one file.
//!
//! The [format's description](https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3,
//! little-endian. Names are ggml's; a converter beside each architecture knows the published ones. Blocks
//! are dequantised to f32 as ggml's `dequantize_row_*` do.
//!
//! Why no crate: `ggus` 0.5.1, the one that also dequantises, takes memory by the counts of the header and
//! cuts slices by offsets that it does not check, so a damaged file ends the process; it reads version 3
//! alone. `gguf-rs` brings a command line along, `gguf` reads no tensors.
//!
//! Nothing is taken on trust: counts and lengths are checked against what is left of the file before
//! memory is taken for them, and every tensor must lie inside it.

use super::RawTensor;
use crate::{Error, Result};
use half::{bf16, f16};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Entries of the metadata, and tensors, that a file may have.
const MAX_ENTRIES: u64 = 1 << 16;
/// Elements of all lists of the metadata together: the largest vocabularies have a million tokens and merges.
const MAX_ELEMENTS: u64 = 1 << 22;
/// Bytes of a text in the metadata.
const MAX_TEXT: u64 = 1 << 24;
/// Where tensors begin, unless the metadata says otherwise.
const ALIGNMENT: u64 = 32;
/// Values of a quantised block.
const BLOCK: usize = 32;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// A whole number of any width.
    Int(i128),
    /// A floating-point number of either width.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text; bytes that are not UTF-8 are replaced.
    Text(String),
    /// Several values of one type.
    List(Vec<GgufValue>),
}

/// How the values of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

impl Stored {
    fn of(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            30 => Self::BF16,
            _ => return None,
        })
    }

    /// Values of a block, and its bytes.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Q4_0 => (BLOCK, 18),
            Self::Q4_1 => (BLOCK, 20),
            Self::Q5_0 => (BLOCK, 22),
            Self::Q5_1 => (BLOCK, 24),
            Self::Q8_0 => (BLOCK, 34),
        }
    }

    /// The values of one block.
    fn decode(self, block: &[u8], out: &mut Vec<f32>) {
        let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
        // Four bits each: the first half of the values in the low ones, the second in the high ones.
        let nibbles = |packed: usize| {
            let low = block[packed..].iter().map(|b| b & 15);
            low.chain(block[packed..].iter().map(|b| b >> 4))
        };
        // The fifth bits of all values.
        let fifth = |at: usize| {
            let bits = &block[at..at + 4];
            u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]])
        };
        let five = |low: u8, bit: usize, high: u32| u32::from(low) | (((high >> bit) & 1) << 4);
        match self {
            Self::F32 => out.push(f32::from_bits(fifth(0))),
            Self::F16 => out.push(half(0)),
            Self::BF16 => out.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
            Self::Q4_0 => {
                let scale = half(0);
                out.extend(nibbles(2).map(|q| (f32::from(q) - 8.0) * scale));
            }
            Self::Q4_1 => {
                let (scale, least) = (half(0), half(2));
                out.extend(nibbles(4).map(|q| f32::from(q) * scale + least));
            }
            Self::Q5_0 => {
                let (scale, high) = (half(0), fifth(2));
                let value = |(i, q): (usize, u8)| (five(q, i, high) as f32 - 16.0) * scale;
                out.extend(nibbles(6).enumerate().map(value));
            }
            Self::Q5_1 => {
                let (scale, least, high) = (half(0), half(2), fifth(4));
                let value = |(i, q): (usize, u8)| five(q, i, high) as f32 * scale + least;
                out.extend(nibbles(8).enumerate().map(value));
            }
            Self::Q8_0 => {
                let scale = half(0);
                out.extend(
                    block[2..]
                        .iter()
                        .map(|&q| f32::from(q.cast_signed()) * scale),
                );
            }
        }
    }
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
struct Place {
    stored: Stored,
    /// Outermost first.
    shape: Vec<usize>,
    offset: u64,
    len: usize,
}

/// An open GGUF file.
#[derive(Clone, Debug)]
pub struct Gguf {
    path: PathBuf,
    metadata: BTreeMap<String, GgufValue>,
    tensors: BTreeMap<String, Place>,
}

impl Gguf {
    /// Whether a file begins as GGUF does; false if it cannot be read.
    pub fn is(path: &Path) -> bool {
        let mut magic = [0; 4];
        File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
            && &magic == b"GGUF"
    }

    /// Reads the metadata and the table of tensors.
    ///
    /// # Errors
    /// A file that is no GGUF, is cut off, or contradicts itself; an element type that is not
    /// implemented (K-quants, I-quants), by its number.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let total = file
            .metadata()
            .map_err(|e| Error::io("read", path, e))?
            .len();
        let mut input = Input {
            inner: BufReader::new(file),
            left: total,
            elements: MAX_ELEMENTS,
        };
        let (metadata, tensors) =
            header(&mut input, total).map_err(|what| unreadable(path, &what))?;
        Ok(Self {
            path: path.into(),
            metadata,
            tensors,
        })
    }

    /// The value of a key of the metadata.
    pub fn get(&self, key: &str) -> Option<&GgufValue> {
        self.metadata.get(key)
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor as f32, dequantised.
    ///
    /// # Errors
    /// There is none of this name, or the file cannot be read any more.
    pub fn tensor(&self, name: &str) -> Result<RawTensor> {
        let place = self
            .tensors
            .get(name)
            .ok_or_else(|| Error::unknown("tensor", name, self.names()))?;
        let io = |e| Error::io("read", &self.path, e);
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(place.offset)).map_err(io)?;
        let mut bytes = vec![0; place.len];
        file.read_exact(&mut bytes).map_err(io)?;
        let (values, size) = place.stored.block();
        let mut data = Vec::with_capacity(place.len / size * values);
        for block in bytes.chunks_exact(size) {
            place.stored.decode(block, &mut data);
        }
        Ok(RawTensor {
            shape: place.shape.clone(),
            data,
            integer: false,
        })
    }

    /// An error about this file.
    pub fn wrong(&self, what: impl Into<String>, expected: impl Into<String>) -> Error {
        Error::input(self.path.display().to_string(), what, expected)
    }
}

fn unreadable(path: &Path, what: &str) -> Error {
    let what = format!("unreadable GGUF file: {what}");
    let expected = "a whole .gguf file of version 2 or 3";
    Error::input(path.display().to_string(), what, expected)
}

/// What is left of a file to read.
struct Input<R> {
    inner: R,
    left: u64,
    /// Elements that lists may still have.
    elements: u64,
}

impl<R: Read> Input<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.take(N as u64)?;
        self.inner
            .read_exact(&mut bytes)
            .map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    fn take(&mut self, count: u64) -> Result<(), String> {
        let left = self.left.checked_sub(count);
        self.left = left.ok_or_else(|| format!("it ends {} bytes too early", count - self.left))?;
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn count(&mut self, what: &str) -> Result<u64, String> {
        let count = self.u64()?;
        if count > MAX_ENTRIES {
            return Err(format!("{count} {what}"));
        }
        Ok(count)
    }

    fn text(&mut self) -> Result<String, String> {
        let len = self.u64()?;
        if len > MAX_TEXT {
            return Err(format!("a text of {len} bytes"));
        }
        self.take(len)?;
        let mut bytes = vec![0; len as usize];
        self.inner
            .read_exact(&mut bytes)
            .map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn value(&mut self, code: u32) -> Result<GgufValue, String> {
        let int = |value: i128| Ok(GgufValue::Int(value));
        match code {
            0 => int(u8::from_le_bytes(self.bytes()?).into()),
            1 => int(i8::from_le_bytes(self.bytes()?).into()),
            2 => int(u16::from_le_bytes(self.bytes()?).into()),
            3 => int(i16::from_le_bytes(self.bytes()?).into()),
            4 => int(self.u32()?.into()),
            5 => int(i32::from_le_bytes(self.bytes()?).into()),
            6 => Ok(GgufValue::Float(f32::from_le_bytes(self.bytes()?).into())),
            7 => Ok(GgufValue::Bool(self.bytes::<1>()? != [0])),
            8 => Ok(GgufValue::Text(self.text()?)),
            9 => self.list(),
            10 => int(self.u64()?.into()),
            11 => int(i64::from_le_bytes(self.bytes()?).into()),
            12 => Ok(GgufValue::Float(f64::from_le_bytes(self.bytes()?))),
            other => Err(format!("a value of the unknown type {other}")),
        }
    }

    fn list(&mut self) -> Result<GgufValue, String> {
        let (code, count) = (self.u32()?, self.u64()?);
        if code == 9 {
            return Err("a list of lists".into());
        }
        // Every element has a byte at least.
        if count > self.elements.min(self.left) {
            return Err(format!("a list of {count} elements"));
        }
        self.elements -= count;
        let values = (0..count).map(|_| self.value(code));
        Ok(GgufValue::List(values.collect::<Result<_, _>>()?))
    }
}

type Header = (BTreeMap<String, GgufValue>, BTreeMap<String, Place>);

fn header(input: &mut Input<impl Read>, total: u64) -> Result<Header, String> {
    if &input.bytes::<4>()? != b"GGUF" {
        return Err("it does not begin with 'GGUF'".into());
    }
    let version = input.u32()?;
    if !(2..=3).contains(&version) {
        return Err(format!("version {version}"));
    }
    let num_tensors = input.count("tensors")?;
    let num_entries = input.count("entries of metadata")?;
    let mut metadata = BTreeMap::new();
    for _ in 0..num_entries {
        let key = input.text()?;
        let code = input.u32()?;
        let value = input.value(code).map_err(|e| format!("'{key}': {e}"))?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("'{key}' is there twice"));
        }
    }
    let mut places = Vec::new();
    for _ in 0..num_tensors {
        let name = input.text()?;
        let place = place(input).map_err(|e| format!("tensor '{name}': {e}"))?;
        places.push((name, place));
    }
    let alignment = match metadata.get("general.alignment") {
        None => ALIGNMENT,
        Some(GgufValue::Int(n)) if (1..=1 << 20).contains(n) && n % 8 == 0 => *n as u64,
        Some(other) => return Err(format!("the alignment {other:?}")),
    };
    let start = (total - input.left).next_multiple_of(alignment);
    let mut tensors = BTreeMap::new();
    for (name, mut place) in places {
        let end = place.offset.checked_add(place.len as u64);
        let end = end.and_then(|end| end.checked_add(start));
        if !place.offset.is_multiple_of(alignment) || end.is_none_or(|end| end > total) {
            let (offset, len) = (place.offset, place.len);
            return Err(format!(
                "tensor '{name}' of {len} bytes lies at {offset}, outside the {total} bytes of the file or between places"
            ));
        }
        place.offset += start;
        if tensors.insert(name.clone(), place).is_some() {
            return Err(format!("tensor '{name}' is there twice"));
        }
    }
    Ok((metadata, tensors))
}

fn place(input: &mut Input<impl Read>) -> Result<Place, String> {
    let rank = input.u32()?;
    if rank > 4 {
        return Err(format!("{rank} dimensions"));
    }
    // Innermost first in the file.
    let dims = (0..rank).map(|_| input.u64());
    let mut shape: Vec<u64> = dims.collect::<Result<_, _>>()?;
    let code = input.u32()?;
    let stored = Stored::of(code).ok_or_else(|| {
        format!("the element type {code}, not one of F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0")
    })?;
    let offset = input.u64()?;
    let (values, bytes) = stored.block();
    if !shape.first().unwrap_or(&1).is_multiple_of(values as u64) {
        return Err(format!("rows of {} values in blocks of {values}", shape[0]));
    }
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let len = count
        .and_then(|n| (n / values as u64).checked_mul(bytes as u64))
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| format!("the shape {shape:?}"))?;
    shape.reverse();
    Ok(Place {
        stored,
        shape: shape.into_iter().map(|d| d as usize).collect(),
        offset,
        len,
    })
}
