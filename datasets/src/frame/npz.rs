//! NumPy archives that hold `X` `[rows, columns]` and, if there are labels, `y` `[rows]`, as ADBench's.

use super::{LABEL, read::Cells};
use crate::{Error, Result};
use csv::StringRecord;
use npyz::{DType, NpyFile, Order, TypeChar, npz::NpzArchive};
use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

/// Largest array, in numbers.
const MAX_LEN: u64 = 1 << 27;

/// Columns are called `0`, `1`, …; the labels `label`.
pub(super) fn read(path: &Path) -> Result<Cells> {
    let location = path.display().to_string();
    let wrong = |what: String| {
        let expected = "a NumPy archive with X [rows, columns] and perhaps y [rows], of numbers";
        Error::input(&location, what, expected)
    };
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut archive = NpzArchive::new(BufReader::new(file)).map_err(|e| wrong(e.to_string()))?;
    let mut array = |name: &str| {
        let found = archive.by_name(name).map_err(|e| wrong(e.to_string()))?;
        let numbers = found.map(|npy| numbers(npy).map_err(|e| wrong(format!("{name}: {e}"))));
        numbers.transpose()
    };
    let (shape, values) = array("X")?.ok_or_else(|| wrong("no array X".into()))?;
    let [rows, columns] = shape[..] else {
        return Err(wrong(format!("X of shape {shape:?}")));
    };
    let labels = array("y")?;
    let labels = match labels {
        Some((shape, _)) if shape != [rows] && shape != [rows, 1] => {
            return Err(wrong(format!("y of shape {shape:?} beside {rows} rows")));
        }
        Some((_, values)) => Some(values),
        None => None,
    };
    let mut header: Vec<String> = (0..columns).map(|column| column.to_string()).collect();
    header.extend(labels.as_ref().map(|_| LABEL.into()));
    let mut cells = Cells::new(&location, header);
    for row in 0..rows {
        let numbers = values[row * columns..(row + 1) * columns].iter();
        let mut record: StringRecord = numbers.map(ToString::to_string).collect();
        if let Some(labels) = &labels {
            record.push_field(&labels[row].to_string());
        }
        cells.push(row + 1, Ok(record));
    }
    Ok(cells)
}

/// Shape and values in row-major order.
fn numbers<R: Read>(npy: NpyFile<R>) -> Result<(Vec<usize>, Vec<f64>), String> {
    let shape: Vec<usize> = npy.shape().iter().map(|&extent| extent as usize).collect();
    let order = npy.order();
    if npy.len() > MAX_LEN {
        return Err(format!("{} numbers, more than {MAX_LEN}", npy.len()));
    }
    let DType::Plain(kind) = npy.dtype() else {
        return Err("an array of records".into());
    };
    fn all<R: Read, T: npyz::Deserialize>(
        npy: NpyFile<R>,
        number: impl Fn(T) -> f64,
    ) -> Result<Vec<f64>, String> {
        let values = npy.into_vec::<T>().map_err(|e| e.to_string())?;
        Ok(values.into_iter().map(number).collect())
    }
    let values = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 8) => all(npy, |v: f64| v),
        (TypeChar::Float, 4) => all(npy, |v: f32| f64::from(v)),
        (TypeChar::Int, 8) => all(npy, |v: i64| v as f64),
        (TypeChar::Int, 4) => all(npy, |v: i32| f64::from(v)),
        (TypeChar::Int, 2) => all(npy, |v: i16| f64::from(v)),
        (TypeChar::Int, 1) => all(npy, |v: i8| f64::from(v)),
        (TypeChar::Uint, 8) => all(npy, |v: u64| v as f64),
        (TypeChar::Uint, 4) => all(npy, |v: u32| f64::from(v)),
        (TypeChar::Uint, 2) => all(npy, |v: u16| f64::from(v)),
        (TypeChar::Uint, 1) => all(npy, |v: u8| f64::from(v)),
        _ => Err(format!("elements of the type {kind}")),
    }?;
    if order == Order::C || shape.len() != 2 {
        return Ok((shape, values));
    }
    let (rows, columns) = (shape[0], shape[1]);
    let at = |i: usize| values[(i % columns) * rows + i / columns];
    let turned = (0..values.len()).map(at).collect();
    Ok((shape, turned))
}
