//! Safetensors out: streamed to a temporary file, then renamed.

use super::{RawTensor, layout::Fetch};
use crate::{Error, Result};
use half::{bf16, f16};
use safetensors::{Dtype, View, serialize_to_file};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    path::Path,
};

/// Element type in which floating-point tensors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SaveDtype {
    /// Single precision, exact.
    #[default]
    F32,
    /// Half precision: 11 significant bits, magnitudes up to 65504.
    F16,
    /// bfloat16: 8 significant bits, the range of f32.
    BF16,
}

impl SaveDtype {
    fn stored(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::BF16 => Dtype::BF16,
        }
    }

    fn size(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// The little-endian bytes of `values`, or the first value that is not finite afterwards.
    fn encode(self, values: &[f32]) -> Result<Vec<u8>, f32> {
        let finite = |value: f32| match self {
            Self::F32 | Self::BF16 => {
                bf16::from_f32(value).is_finite() || (self == Self::F32 && value.is_finite())
            }
            Self::F16 => f16::from_f32(value).is_finite(),
        };
        if let Some(&bad) = values.iter().find(|value| !finite(**value)) {
            return Err(bad);
        }
        Ok(match self {
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F16 => values
                .iter()
                .flat_map(|v| f16::from_f32(*v).to_le_bytes())
                .collect(),
            Self::BF16 => values
                .iter()
                .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
                .collect(),
        })
    }
}

/// Where the values of a tensor to write come from.
pub(super) enum Values<'v> {
    /// f32 values, made on demand and dropped after writing.
    Float(Box<dyn Fn() -> Result<Cow<'v, [f32]>, String> + 'v>),
    /// f64 values, written as they are.
    Double(&'v [f64]),
    /// Integers.
    Int(Box<dyn Fn() -> Result<Vec<i64>, String> + 'v>),
}

/// A tensor to write.
pub(super) struct Out<'v> {
    pub(super) shape: Vec<usize>,
    pub(super) values: Values<'v>,
}

/// Reads a module's float tensor as f32.
pub(super) fn floats(fetch: &Fetch) -> Result<Vec<f32>, String> {
    fetch().try_into_vec_as::<f32>().map_err(|e| e.to_string())
}

struct Writing<'v, 'f> {
    name: String,
    out: Out<'v>,
    dtype: SaveDtype,
    /// `View::data` cannot fail, so the first failure waits here.
    failed: &'f RefCell<Option<String>>,
}

impl Writing<'_, '_> {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        match &self.out.values {
            Values::Int(values) => Ok(values()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Values::Double(values) => match values.iter().find(|value| !value.is_finite()) {
                Some(bad) => Err(format!("it holds {bad}")),
                None => Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            },
            Values::Float(values) => self.dtype.encode(&values()?).map_err(|bad| {
                if bad.is_finite() {
                    format!("{bad} does not fit {:?}; bf16 and f32 hold it", self.dtype)
                } else {
                    format!("it holds {bad}")
                }
            }),
        }
    }
}

impl View for Writing<'_, '_> {
    fn dtype(&self) -> Dtype {
        match self.out.values {
            Values::Float(_) => self.dtype.stored(),
            Values::Double(_) => Dtype::F64,
            Values::Int(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.out.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.bytes().and_then(|bytes| {
            let (len, expected) = (bytes.len(), self.data_len());
            (len == expected)
                .then_some(bytes)
                .ok_or(format!("{len} bytes where its shape needs {expected}"))
        });
        Cow::Owned(bytes.unwrap_or_else(|what| {
            self.failed
                .borrow_mut()
                .get_or_insert_with(|| format!("'{}': {what}", self.name));
            Vec::new()
        }))
    }

    fn data_len(&self) -> usize {
        let size = match self.out.values {
            Values::Float(_) => self.dtype.size(),
            Values::Int(_) | Values::Double(_) => 8,
        };
        self.out.shape.iter().product::<usize>() * size
    }
}

/// Writes `tensors` (float as `dtype`, integers as i64) with the metadata `format: pt`. Whole or
/// not at all: a tensor with a value that is not finite, or that `dtype` cannot hold, is an error
/// that names it.
pub(super) fn safetensors(
    path: &Path,
    tensors: BTreeMap<String, Out<'_>>,
    dtype: SaveDtype,
) -> Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let io = |e| Error::io("write", path, e);
    let scratch = tempfile::NamedTempFile::new_in(folder)
        .map_err(io)?
        .into_temp_path();
    let failed = RefCell::new(None);
    let failed_ref = &failed;
    let views = tensors.into_iter().map(move |(name, out)| {
        let view = Writing {
            name: name.clone(),
            out,
            dtype,
            failed: failed_ref,
        };
        (name, view)
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let written = serialize_to_file(views, Some(metadata), &scratch);
    if let Some(what) = failed.take() {
        return Err(Error::input(
            path.display().to_string(),
            what,
            "finite values that the file's type holds",
        ));
    }
    written.map_err(|e| io(std::io::Error::other(e)))?;
    let file = File::open(&scratch).map_err(io)?;
    // A temporary file is private by default; what we publish follows the usual mode.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o644))
            .map_err(io)?;
    }
    file.sync_all().map_err(io)?;
    scratch.persist(path).map_err(|e| io(e.error))
}

/// Writes tensors under their names as safetensors, atomically; floating-point ones as `dtype`,
/// integer ones as i64.
pub fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, RawTensor>,
    dtype: SaveDtype,
) -> Result<()> {
    let out = tensors.iter().map(|(name, tensor)| {
        let values = if tensor.integer {
            Values::Int(Box::new(|| {
                Ok(tensor.data.iter().map(|&v| v as i64).collect())
            }))
        } else {
            Values::Float(Box::new(|| Ok(Cow::Borrowed(&tensor.data[..]))))
        };
        (
            name.clone(),
            Out {
                shape: tensor.shape.clone(),
                values,
            },
        )
    });
    safetensors(path, out.collect(), dtype)
}
