//! Comparison with a reference implementation's tensors, by name.

use burn::tensor::{Device, Int, Tensor, TensorData, bf16, f16};
use panoply_core::{Error, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{collections::BTreeMap, fmt, path::Path};

/// One output that is not the reference's.
#[derive(Clone, Debug, PartialEq)]
pub enum Mismatch {
    /// The file has no tensor of that name.
    Missing {
        /// The name asked for.
        name: String,
        /// Names it has.
        known: Vec<String>,
    },
    /// The shapes differ.
    Shape {
        /// The tensor.
        name: String,
        /// Ours.
        ours: Vec<usize>,
        /// The reference's.
        reference: Vec<usize>,
    },
    /// Our tensor could not be read back.
    Unreadable {
        /// The tensor.
        name: String,
        /// Why.
        why: String,
    },
    /// Values differ by more than the tolerance, or are NaN.
    Values {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Largest difference; NaN if there is one.
        max_delta: f64,
        /// What was accepted.
        tolerance: f64,
        /// Index of the first element that differs by more.
        first: Vec<usize>,
        /// Our value there.
        ours: f64,
        /// The reference's value there.
        reference: f64,
        /// How many elements differ by more.
        count: usize,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, known } => {
                write!(
                    f,
                    "{name}: not in the reference file, which has {}",
                    known.join(", ")
                )
            }
            Self::Shape {
                name,
                ours,
                reference,
            } => {
                write!(f, "{name}: shape {ours:?}, reference {reference:?}")
            }
            Self::Unreadable { name, why } => write!(f, "{name}: cannot be read: {why}"),
            Self::Values {
                name,
                shape,
                max_delta,
                tolerance,
                first,
                ours,
                reference,
                count,
            } => {
                let total: usize = shape.iter().product();
                write!(
                    f,
                    "{name} {shape:?}: max |Δ| {max_delta:.3e} > {tolerance:.1e}, {count} of {total} \
                     elements, first at {first:?}: {ours}, reference {reference}"
                )
            }
        }
    }
}

/// A safetensors file of named reference tensors, and what has been compared with it so far.
///
/// Checks never stop at the first mismatch, because the list of depths that differ says where in a
/// model an error begins. [`Golden::finish`] reports them all.
#[derive(Debug)]
pub struct Golden {
    path: String,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
    passed: Vec<(String, f64)>,
    mismatches: Vec<Mismatch>,
}

impl Golden {
    /// Reads a file of floating-point, integer and boolean tensors whole.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        Self::from_bytes(&path.display().to_string(), &bytes)
    }

    /// As [`Golden::open`], from bytes (`include_bytes!`); `name` is for messages.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        let bad = |e: safetensors::SafeTensorError| {
            Error::input(name, e.to_string(), "a safetensors file")
        };
        let file = SafeTensors::deserialize(bytes).map_err(bad)?;
        let mut tensors = BTreeMap::new();
        for (key, view) in file.iter() {
            let values = decode(&view).ok_or_else(|| {
                let what = format!("tensor '{key}' of type {:?}", view.dtype());
                Error::input(
                    name,
                    what,
                    "floats of 16 bits or more, integers or booleans",
                )
            })?;
            tensors.insert(key.to_string(), (view.shape().to_vec(), values));
        }
        Ok(Self {
            path: name.into(),
            tensors,
            passed: Vec::new(),
            mismatches: Vec::new(),
        })
    }

    /// Names of the reference tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A reference tensor as `f32`: the input of the model, mostly. An error if there is none of
    /// that name and rank.
    pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>> {
        let (shape, values) = self.reference::<D>(name)?;
        let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }

    /// A reference tensor of integers: token ids, labels.
    pub fn int_tensor<const D: usize>(
        &self,
        name: &str,
        device: &Device,
    ) -> Result<Tensor<D, Int>> {
        let (shape, values) = self.reference::<D>(name)?;
        let values: Vec<i64> = values.iter().map(|&v| v as i64).collect();
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }

    fn reference<const D: usize>(&self, name: &str) -> Result<(Vec<usize>, &[f64])> {
        let Some((shape, values)) = self.tensors.get(name) else {
            return Err(Error::unknown("reference tensor", name, self.names()));
        };
        if shape.len() == D {
            return Ok((shape.clone(), values));
        }
        let what = format!("tensor '{name}' of shape {shape:?}");
        Err(Error::input(&self.path, what, format!("{D} dimensions")))
    }

    /// Compares an output with the reference of that name: shapes equal, and every element within
    /// `tolerance` (absolute). NaN is never within.
    pub fn check<const D: usize>(&mut self, name: &str, ours: &Tensor<D>, tolerance: f64) {
        match ours.try_to_vec_as::<f64>() {
            Ok(values) => self.check_values(name, &ours.dims(), &values, tolerance),
            Err(why) => {
                self.mismatches.push(Mismatch::Unreadable {
                    name: name.into(),
                    why: why.to_string(),
                });
            }
        }
    }

    /// As [`Golden::check`], for numbers that are no tensor; `ours` is row-major.
    pub fn check_values(&mut self, name: &str, shape: &[usize], ours: &[f64], tolerance: f64) {
        let Some((expected, reference)) = self.tensors.get(name) else {
            let known = self.names().map(String::from).collect();
            self.mismatches.push(Mismatch::Missing {
                name: name.into(),
                known,
            });
            return;
        };
        if expected.as_slice() != shape || ours.len() != reference.len() {
            self.mismatches.push(Mismatch::Shape {
                name: name.into(),
                ours: shape.to_vec(),
                reference: expected.clone(),
            });
            return;
        }
        let delta = |i: usize| {
            // Equal infinities have no difference to speak of.
            if ours[i] == reference[i] {
                0.0
            } else {
                (ours[i] - reference[i]).abs()
            }
        };
        let worse = |delta: f64| delta.is_nan() || delta > tolerance;
        let max_delta = (0..ours.len()).map(delta).fold(0.0, |max: f64, delta| {
            if max.is_nan() || delta.is_nan() {
                f64::NAN
            } else {
                max.max(delta)
            }
        });
        let Some(first) = (0..ours.len()).find(|&i| worse(delta(i))) else {
            self.passed.push((name.into(), max_delta));
            return;
        };
        self.mismatches.push(Mismatch::Values {
            name: name.into(),
            shape: shape.to_vec(),
            max_delta,
            tolerance,
            first: unravel(first, shape),
            ours: ours[first],
            reference: reference[first],
            count: (0..ours.len()).filter(|&i| worse(delta(i))).count(),
        });
    }

    /// Mismatches so far, in the order of the checks.
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }

    /// What was compared and agreed, with the largest difference, in the order of the checks.
    pub fn passed(&self) -> &[(String, f64)] {
        &self.passed
    }

    /// Ends the comparison.
    ///
    /// # Panics
    ///
    /// If anything differed, with all of it and what agreed; and if nothing was compared at all.
    pub fn finish(self) {
        let agreed: Vec<String> = self
            .passed
            .iter()
            .map(|(name, delta)| format!("  {name}: max |Δ| {delta:.1e}"))
            .collect();
        let wrong: Vec<String> = self.mismatches.iter().map(|m| format!("  {m}")).collect();
        assert!(
            wrong.is_empty(),
            "{}: {} outputs differ:\n{}\nagreed:\n{}",
            self.path,
            wrong.len(),
            wrong.join("\n"),
            agreed.join("\n")
        );
        assert!(!agreed.is_empty(), "{}: nothing was compared", self.path);
    }
}

/// Position in a row-major tensor as one index a dimension.
fn unravel(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (slot, &size) in index.iter_mut().zip(shape).rev() {
        *slot = position % size;
        position /= size;
    }
    index
}

/// The numbers of a tensor, or `None` for a type that no fixture uses.
fn decode(view: &TensorView<'_>) -> Option<Vec<f64>> {
    fn each<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks()
            .0
            .iter()
            .map(|bytes| number(*bytes))
            .collect()
    }
    let data = view.data();
    Some(match view.dtype() {
        Dtype::F64 => each(data, f64::from_le_bytes),
        Dtype::F32 => each(data, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F16 => each(data, |b| f64::from(f16::from_le_bytes(b))),
        Dtype::BF16 => each(data, |b| f64::from(bf16::from_le_bytes(b))),
        Dtype::I64 => each(data, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => each(data, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::U8 | Dtype::BOOL => each(data, |[byte]| f64::from(byte)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Golden {
        let numbers: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let half: Vec<u8> = f16::from_f32(0.5).to_le_bytes().to_vec();
        let ids: Vec<u8> = [7i64, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
        let views = [
            (
                "square",
                TensorView::new(Dtype::F32, vec![2, 2], &numbers).unwrap(),
            ),
            ("half", TensorView::new(Dtype::F16, vec![1], &half).unwrap()),
            (
                "ids",
                TensorView::new(Dtype::I64, vec![1, 2], &ids).unwrap(),
            ),
        ];
        Golden::from_bytes("test", &safetensors::serialize(views, None).unwrap()).unwrap()
    }

    #[test]
    fn equal_outputs_pass_and_are_listed() {
        let device = Device::flex();
        let mut golden = file();
        assert_eq!(
            golden.names().collect::<Vec<_>>(),
            ["half", "ids", "square"]
        );
        let square = golden.tensor::<2>("square", &device).unwrap();
        golden.check("square", &(square + 1e-5), 1e-4);
        let half = golden.tensor::<1>("half", &device).unwrap();
        golden.check("half", &half, 0.0);
        let ids = golden.int_tensor::<2>("ids", &device).unwrap();
        assert_eq!(ids.try_to_vec_as::<i64>().unwrap(), [7, -1]);
        assert_eq!(golden.passed().len(), 2);
        assert!(golden.passed()[0].1 > 1e-6);
        golden.finish();
    }

    #[test]
    fn every_mismatch_is_collected() {
        let device = Device::flex();
        let mut golden = file();
        golden.check(
            "square",
            &Tensor::<2>::from_data([[1.0, 2.0], [3.5, f32::NAN]], &device),
            0.1,
        );
        golden.check("square", &Tensor::<1>::zeros([4], &device), 0.1);
        golden.check("circle", &Tensor::<1>::zeros([4], &device), 0.1);
        let text: Vec<String> = golden
            .mismatches()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            text[0].contains("NaN > 1.0e-1, 2 of 4 elements, first at [1, 0]: 3.5, reference 3"),
            "{text:?}"
        );
        assert_eq!(text[1], "square: shape [4], reference [2, 2]");
        assert!(text[2].starts_with("circle: not in") && text[2].contains("square"));
        let panic = std::panic::catch_unwind(|| golden.finish()).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(
            message.contains("3 outputs differ") && message.contains("circle"),
            "{message}"
        );
    }

    #[test]
    fn comparing_nothing_is_a_failure() {
        assert!(std::panic::catch_unwind(|| file().finish()).is_err());
    }

    #[test]
    fn wrong_files_and_names_are_errors() {
        assert!(Golden::open(Path::new("/no/such/file")).is_err());
        assert!(
            Golden::from_bytes("x", b"garbage")
                .unwrap_err()
                .to_string()
                .starts_with("x: ")
        );
        let device = Device::flex();
        let text = file()
            .tensor::<2>("sqare", &device)
            .unwrap_err()
            .to_string();
        assert!(text.contains("did you mean 'square'"), "{text}");
        assert!(
            file()
                .tensor::<3>("square", &device)
                .unwrap_err()
                .to_string()
                .contains("3 dimensions")
        );
    }
}
