//! Named arrays: the weights of a model that is no network.
//!
//! What a closed form, a neighbour search or a tree has learned goes into the same `model.safetensors` as a
//! network's parameters, without a detour over tensors of a device: f32 and f64 stay what they are, so a
//! model that was read again answers with the same bits.

use super::{
    SaveDtype,
    read::{self, Entry},
    write::{self, Out, Values},
};
use crate::{Error, Result};
use std::{borrow::Cow, collections::BTreeMap, io, path::Path};

/// Arrays under their names, to be saved or as they were read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrays {
    arrays: BTreeMap<String, (Vec<usize>, Held)>,
    /// Where they were read from, for messages.
    location: String,
}

/// What an array can hold: `f32`, `f64` and `i64`.
pub trait Element: Sized + private::Sealed {}

impl Element for f32 {}
impl Element for f64 {}
impl Element for i64 {}

use private::Held;

mod private {
    /// The values of an array, row-major.
    #[derive(Clone, Debug, PartialEq)]
    pub enum Held {
        F32(Vec<f32>),
        F64(Vec<f64>),
        I64(Vec<i64>),
    }

    pub trait Sealed: Sized {
        const NAME: &'static str;
        fn hold(values: Vec<Self>) -> Held;
        fn held(held: Held) -> Option<Vec<Self>>;
    }

    impl Sealed for f32 {
        const NAME: &'static str = "f32";
        fn hold(values: Vec<Self>) -> Held {
            Held::F32(values)
        }
        fn held(held: Held) -> Option<Vec<Self>> {
            match held {
                Held::F32(values) => Some(values),
                _ => None,
            }
        }
    }

    impl Sealed for f64 {
        const NAME: &'static str = "f64";
        fn hold(values: Vec<Self>) -> Held {
            Held::F64(values)
        }
        fn held(held: Held) -> Option<Vec<Self>> {
            match held {
                Held::F64(values) => Some(values),
                _ => None,
            }
        }
    }

    impl Sealed for i64 {
        const NAME: &'static str = "i64";
        fn hold(values: Vec<Self>) -> Held {
            Held::I64(values)
        }
        fn held(held: Held) -> Option<Vec<Self>> {
            match held {
                Held::I64(values) => Some(values),
                _ => None,
            }
        }
    }
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::I64(_) => "i64",
        }
    }

    fn read(entry: &Entry<'_>) -> io::Result<Self> {
        Ok(match (entry.dtype, entry.dtype.is_float()) {
            (read::Stored::F64, _) => Self::F64(entry.doubles()?),
            (_, true) => Self::F32(entry.floats()?),
            (_, false) => Self::I64(entry.integers()?),
        })
    }
}

impl Arrays {
    /// Adds the array `name` of `shape` with `values` in row-major order.
    ///
    /// # Panics
    /// If `shape` holds another number of values.
    pub fn put<T: Element, const N: usize>(
        &mut self,
        name: &str,
        shape: [usize; N],
        values: Vec<T>,
    ) {
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "values of '{name}'"
        );
        self.arrays
            .insert(name.into(), (shape.to_vec(), T::hold(values)));
    }

    /// Takes the array `name` out, with its shape.
    ///
    /// # Errors
    /// No such array, other extents than `N`, another element type, a value that is not finite.
    pub fn take<T: Element, const N: usize>(&mut self, name: &str) -> Result<([usize; N], Vec<T>)> {
        let expected = format!("an array '{name}' of {} with {N} extents", T::NAME);
        let wrong = |what: String| Error::input(&self.location, what, &expected);
        let Some((shape, held)) = self.arrays.remove(name) else {
            return Err(wrong(format!("no '{name}'")));
        };
        let kind = held.name();
        let Ok(extents) = <[usize; N]>::try_from(shape.as_slice()) else {
            return Err(wrong(format!("'{name}' has the shape {shape:?}")));
        };
        let finite = match &held {
            Held::F32(values) => values.iter().all(|value| value.is_finite()),
            Held::F64(values) => values.iter().all(|value| value.is_finite()),
            Held::I64(_) => true,
        };
        if !finite {
            return Err(wrong(format!("'{name}' holds a value that is not finite")));
        }
        match T::held(held) {
            Some(values) => Ok((extents, values)),
            None => Err(wrong(format!("'{name}' holds {kind}"))),
        }
    }

    /// As [`take`](Self::take), where the shape is known.
    ///
    /// # Errors
    /// Another shape as well.
    pub fn take_shaped<T: Element, const N: usize>(
        &mut self,
        name: &str,
        shape: [usize; N],
    ) -> Result<Vec<T>> {
        let (found, values) = self.take(name)?;
        if found == shape {
            return Ok(values);
        }
        let what = format!("'{name}' has the shape {found:?}");
        Err(Error::input(&self.location, what, format!("{shape:?}")))
    }

    /// Ends the reading: every array must have been taken.
    ///
    /// # Errors
    /// The name of one that was not.
    pub fn finish(self) -> Result<()> {
        match self.arrays.keys().next() {
            None => Ok(()),
            Some(name) => {
                let what = format!("an array '{name}' that the model does not know");
                Err(Error::input(
                    self.location,
                    what,
                    "the arrays of this model",
                ))
            }
        }
    }

    /// Number of floating-point values: what a model that consists of them has learned.
    pub fn num_params(&self) -> usize {
        let floats = |(_, held): &&(Vec<usize>, Held)| !matches!(held, Held::I64(_));
        self.arrays
            .values()
            .filter(floats)
            .map(|(_, held)| held.len())
            .sum()
    }

    /// Name, shape and element type of each array, by name.
    pub fn layout(&self) -> Vec<(String, Vec<usize>, &'static str)> {
        let row = |(name, (shape, held)): (&String, &(Vec<usize>, Held))| {
            (name.clone(), shape.clone(), held.name())
        };
        self.arrays.iter().map(row).collect()
    }

    /// Writes them as safetensors, whole or not at all.
    ///
    /// # Errors
    /// A value that is not finite, and what the file system says.
    pub fn save(&self, path: &Path) -> Result<()> {
        let named = |(name, array)| (String::clone(name), out(array));
        let tensors = self.arrays.iter().map(named).collect();
        write::safetensors(path, tensors, SaveDtype::F32)
    }

    /// Reads all arrays of a file; integers of any width become `i64`, f16 and bf16 become `f32`.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let array = |(name, entry): (String, Entry<'_>)| {
            let held = Held::read(&entry).map_err(|e| Error::io("read", path, e))?;
            Ok((name, (entry.shape.clone(), held)))
        };
        let arrays: Result<BTreeMap<_, _>> = read::open(path)?.into_iter().map(array).collect();
        Ok(Self {
            arrays: arrays?,
            location: path.display().to_string(),
        })
    }
}

fn out((shape, held): &(Vec<usize>, Held)) -> Out<'_> {
    let values = match held {
        Held::F32(values) => Values::Float(Box::new(|| Ok(Cow::Borrowed(values)))),
        Held::F64(values) => Values::Double(values),
        Held::I64(values) => Values::Int(Box::new(|| Ok(values.clone()))),
    };
    let shape = shape.clone();
    Out { shape, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let mut arrays = Arrays::default();
        arrays.put("weights", [2, 2], vec![0.1_f32, -0.0, 3.5e-40, 4.0]);
        arrays.put("thresholds", [3], vec![0.1_f64, 1.0 / 3.0, -1e300]);
        arrays.put("children", [2, 1], vec![i64::MAX, -1]);
        arrays.put("none", [0], Vec::<f64>::new());
        assert_eq!(arrays.num_params(), 7);
        assert_eq!(arrays.layout()[0], ("children".into(), vec![2, 1], "i64"));
        arrays.save(&path).unwrap();

        let mut back = Arrays::load(&path).unwrap();
        let weights: Vec<f32> = back.take_shaped("weights", [2, 2]).unwrap();
        let bits: Vec<u32> = weights.iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [0.1_f32, -0.0, 3.5e-40, 4.0].map(f32::to_bits));
        let (shape, thresholds) = back.take::<f64, 1>("thresholds").unwrap();
        assert_eq!((shape, thresholds), ([3], vec![0.1, 1.0 / 3.0, -1e300]));
        assert_eq!(
            back.take_shaped::<i64, 2>("children", [2, 1]).unwrap(),
            [i64::MAX, -1]
        );
        let left = back.clone().finish().unwrap_err().to_string();
        assert!(left.contains("'none'"), "{left}");
        assert!(back.take::<f64, 1>("none").unwrap().1.is_empty());
        back.finish().unwrap();
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let mut arrays = Arrays::default();
        arrays.put("a", [2], vec![1.0_f32, 2.0]);
        arrays.save(&path).unwrap();
        let load = || Arrays::load(&path).unwrap();
        let errors = [
            load().take::<f32, 1>("b").unwrap_err(),
            load().take::<f64, 1>("a").unwrap_err(),
            load().take::<f32, 2>("a").unwrap_err(),
            load().take_shaped::<f32, 1>("a", [3]).unwrap_err(),
        ];
        for (error, word) in errors.iter().zip(["no 'b'", "holds f32", "[2]", "[2]"]) {
            let text = error.to_string();
            assert!(
                text.contains(word) && text.contains("model.safetensors"),
                "{text}"
            );
            assert_eq!(error.exit_code(), 2);
        }
        arrays.put("a", [1], vec![f64::NAN]);
        assert!(arrays.save(&path).unwrap_err().to_string().contains("NaN"));
        // The file of before is still whole.
        load().take_shaped::<f32, 1>("a", [2]).unwrap();
        std::fs::write(&path, b"garbage").unwrap();
        assert!(Arrays::load(&path).is_err());
    }
}
