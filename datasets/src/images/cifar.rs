//! CIFAR-10 and CIFAR-100, binary version (Krizhevsky 2009, "Learning multiple layers of features
//! from tiny images"): records of one label byte (CIFAR-100: coarse, then fine) and 32×32 pixels as
//! three planes.

use super::{Channels, Frames, ImageSet, Layout, Store};
use crate::{Error, Result, Split};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const SIDE: u32 = 32;
const PIXELS: usize = 3 * 32 * 32;

/// The binary files of each split and the file of class names, which may be absent.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) splits: BTreeMap<Split, Vec<PathBuf>>,
    names: Option<PathBuf>,
    pub(super) layout: Layout,
}

/// Finds `data_batch_*.bin` and `test_batch.bin`, or `train.bin` and `test.bin`.
pub(super) fn find(files: &[PathBuf]) -> Option<Files> {
    let named = |file: &PathBuf, wanted: &dyn Fn(&str) -> bool| {
        file.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(wanted)
    };
    let pick = |wanted: &dyn Fn(&str) -> bool| -> Vec<PathBuf> {
        files
            .iter()
            .filter(|file| named(file, wanted))
            .cloned()
            .collect()
    };
    let is_batch = |name: &str| {
        let number = name
            .strip_prefix("data_batch_")
            .and_then(|rest| rest.strip_suffix(".bin"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let kinds: [(Layout, Vec<PathBuf>, Vec<PathBuf>, &str); 2] = [
        (
            Layout::Cifar10,
            pick(&is_batch),
            pick(&|n| n == "test_batch.bin"),
            "batches.meta.txt",
        ),
        (
            Layout::Cifar100,
            pick(&|n| n == "train.bin"),
            pick(&|n| n == "test.bin"),
            "fine_label_names.txt",
        ),
    ];
    for (layout, train, test, names) in kinds {
        let parts = [(Split::Train, train), (Split::Test, test)];
        let splits: BTreeMap<_, _> = parts
            .into_iter()
            .filter(|(_, files)| !files.is_empty())
            .collect();
        if !splits.is_empty() {
            return Some(Files {
                splits,
                names: pick(&|n| n == names).pop(),
                layout,
            });
        }
    }
    None
}

/// Reads `split`; the classes of CIFAR-100 are the fine ones.
pub(super) fn load(root: &Path, files: &Files, split: Split) -> Result<ImageSet> {
    let (num_classes, label_bytes) = if files.layout == Layout::Cifar10 {
        (10, 1)
    } else {
        (100, 2)
    };
    let mut frames = Frames {
        bytes: Vec::new(),
        width: SIDE,
        height: SIDE,
        channels: Channels::PlanarRgb,
        files: Vec::new(),
    };
    let mut labels = Vec::new();
    for path in &files.splits[&split] {
        let raw = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        let name = path
            .file_name()
            .map_or(String::new(), |name| name.to_string_lossy().into());
        frames.files.push((name, labels.len()));
        read_records(
            path,
            &raw,
            label_bytes,
            num_classes,
            &mut frames.bytes,
            &mut labels,
        )?;
    }
    let classes = class_names(files.names.as_deref(), num_classes)?;
    let location = root.display().to_string();
    Ok(ImageSet::new(
        location,
        files.layout,
        classes,
        Store::Frames(frames),
        labels.into_iter().map(Some),
    ))
}

fn read_records(
    path: &Path,
    raw: &[u8],
    label_bytes: usize,
    num_classes: usize,
    pixels: &mut Vec<u8>,
    labels: &mut Vec<usize>,
) -> Result<()> {
    let location = || path.display().to_string();
    let size = label_bytes + PIXELS;
    if raw.is_empty() || !raw.len().is_multiple_of(size) {
        let what = format!("{} bytes: image {} is cut off", raw.len(), raw.len() / size);
        return Err(Error::input(
            location(),
            what,
            format!("a multiple of {size} bytes above 0"),
        ));
    }
    pixels.reserve(raw.len());
    for (number, record) in raw.chunks_exact(size).enumerate() {
        let label = usize::from(record[label_bytes - 1]);
        if label >= num_classes {
            let at = number * size + label_bytes - 1;
            let what = format!("label {label} of image {number} (byte {at})");
            return Err(Error::input(
                location(),
                what,
                format!("a label below {num_classes}"),
            ));
        }
        labels.push(label);
        pixels.extend_from_slice(&record[label_bytes..]);
    }
    Ok(())
}

/// One name a line; the numbers where there is no file of names.
fn class_names(file: Option<&Path>, num_classes: usize) -> Result<Vec<String>> {
    let Some(file) = file else {
        return Ok((0..num_classes).map(|i| i.to_string()).collect());
    };
    let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, e))?;
    let names: Vec<String> = text
        .lines()
        .map(|line| line.trim().to_string())
        .filter(|line| !line.is_empty())
        .collect();
    if names.len() == num_classes {
        return Ok(names);
    }
    let what = format!("{} class names", names.len());
    Err(Error::input(
        file.display().to_string(),
        what,
        num_classes.to_string(),
    ))
}
