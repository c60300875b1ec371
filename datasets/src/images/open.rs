//! Which layout lies at a path, and which of its splits to take.

use super::{ImageSet, Layout, cifar, folder, idx, index};
use crate::{Error, Result, Split, Splits};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Folders in which published sets keep their files.
const NESTED: [&str; 3] = ["raw", "cifar-10-batches-bin", "cifar-100-binary"];

const EXPECTED: &str = "one of: class folders with images (cat/1.jpg), also below train/, valid/ or test/; an index \
     (index, labels, metadata, train, valid or test, .csv or .parquet) with columns path and label; MNIST's files \
     (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…, also .gz); CIFAR's files (data_batch_1.bin, \
     test_batch.bin; train.bin, test.bin)";

/// What lies at a path.
#[derive(Debug)]
pub struct Found {
    root: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Folders(BTreeMap<Split, PathBuf>),
    Index(index::Index),
    Idx(BTreeMap<Split, idx::Files>),
    Cifar(cifar::Files),
}

impl Found {
    /// The layout.
    pub fn layout(&self) -> Layout {
        match &self.content {
            Content::Folders(_) => Layout::ClassFolders,
            Content::Index(_) => Layout::Index,
            Content::Idx(_) => Layout::Idx,
            Content::Cifar(files) => files.layout,
        }
    }

    /// The splits that are there, in the order train, valid, test. A set without splits is all
    /// training set.
    pub fn splits(&self) -> Vec<Split> {
        match &self.content {
            Content::Folders(found) => found.keys().copied().collect(),
            Content::Index(found) => found.splits.keys().copied().collect(),
            Content::Idx(found) => found.keys().copied().collect(),
            Content::Cifar(found) => found.splits.keys().copied().collect(),
        }
    }

    /// Reads one split. All splits of a set have the same class list, also where one lacks a class.
    ///
    /// # Errors
    /// A split that is not there; damaged files of the formats with many images in a file; no image.
    pub fn load(&self, split: Split) -> Result<ImageSet> {
        let splits = self.splits();
        if !splits.contains(&split) {
            let has: Vec<&str> = splits.iter().map(|split| split.name()).collect();
            let what = format!(
                "no {split} split (layout: {}, it has: {})",
                self.layout(),
                has.join(", ")
            );
            let expected = format!("a {split} split, or a part of train held out for it");
            return Err(Error::input(
                self.root.display().to_string(),
                what,
                expected,
            ));
        }
        match &self.content {
            Content::Folders(found) => {
                let all: Vec<&Path> = found.values().map(PathBuf::as_path).collect();
                folder::load(&self.root, &found[&split], folder::classes_of(&all)?)
            }
            Content::Index(found) => Ok(found.load(&self.root, split)),
            Content::Idx(found) => idx::load(&self.root, found, split),
            Content::Cifar(found) => cifar::load(&self.root, found, split),
        }
    }
}

/// Recognises the data set at `path` by what is there: an index file itself, or a folder with IDX
/// files, CIFAR files, an index, or class folders, in this order. Of IDX and CIFAR, also the usual
/// folder below (`raw/`, `cifar-10-batches-bin/`). A folder `test/` of images without classes is no
/// labelled split and is left out.
///
/// # Errors
/// Nothing that is known, with what was looked for; two files that could be the same split; an index
/// in a build without the feature `tables`.
pub fn detect(path: &Path) -> Result<Found> {
    let root = path.to_path_buf();
    let nothing = |what: String| Error::input(path.display().to_string(), what, EXPECTED);
    let kind = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    if !kind.is_dir() {
        if !index::is_table(path) {
            return Err(nothing("a file that is no index of images".into()));
        }
        return Ok(Found {
            root,
            content: Content::Index(index::Index::read(&[path.to_path_buf()])?),
        });
    }
    let here = folder::list(path)?;
    let mut places = vec![(path.to_path_buf(), here.files.clone())];
    for name in NESTED {
        let nested = path.join(name);
        if here.folders.contains(&nested) {
            let files = folder::list(&nested)?.files;
            places.push((nested, files));
        }
    }
    for (place, files) in &places {
        let idx = idx::find(place, files)?;
        if !idx.is_empty() {
            return Ok(Found {
                root,
                content: Content::Idx(idx),
            });
        }
        if let Some(cifar) = cifar::find(files) {
            return Ok(Found {
                root,
                content: Content::Cifar(cifar),
            });
        }
    }
    let tables = index::find(path, &here.files)?;
    if !tables.is_empty() {
        return Ok(Found {
            root,
            content: Content::Index(index::Index::read(&tables)?),
        });
    }
    if here.folders.is_empty() {
        let images = here
            .files
            .iter()
            .filter(|file| folder::is_image(file))
            .count();
        return Err(nothing(format!(
            "{} files ({images} images) and no folder",
            here.files.len()
        )));
    }
    Ok(Found {
        root,
        content: Content::Folders(split_folders(path, here.folders)?),
    })
}

/// The folder of each split; the root itself as training set if its folders are classes.
///
/// They are splits if every name is one and there are folders below: a set of photos of trains
/// and cars may have the class "train".
fn split_folders(root: &Path, folders: Vec<PathBuf>) -> Result<BTreeMap<Split, PathBuf>> {
    let whole = || Ok(BTreeMap::from([(Split::Train, root.to_path_buf())]));
    let mut splits: BTreeMap<Split, PathBuf> = BTreeMap::new();
    for path in folders {
        let split = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse().ok());
        let Some(split) = split else { return whole() };
        if folder::list(&path)?.folders.is_empty() {
            continue;
        }
        if let Some(other) = splits.insert(split, path.clone()) {
            let what = format!(
                "both {} and {} are the {split} split",
                other.display(),
                path.display()
            );
            return Err(Error::input(
                root.display().to_string(),
                what,
                "one folder a split",
            ));
        }
    }
    if splits.is_empty() {
        whole()
    } else {
        Ok(splits)
    }
}

/// Reads one split of the data set at `path`; see [`detect`] and [`Found::load`].
pub fn open(path: &Path, split: Split) -> Result<ImageSet> {
    detect(path)?.load(split)
}

/// Reads all splits of the data set at `path`; without a validation split, `holdout` of each class of
/// the training set, chosen by `seed`, becomes it ([`ImageSet::holdout`]).
pub fn open_splits(path: &Path, holdout: f64, seed: u64) -> Result<Splits<ImageSet>> {
    let found = detect(path)?;
    let splits = found.splits();
    let train = found.load(Split::Train)?;
    let is_held_out = !splits.contains(&Split::Valid);
    let (train, valid) = if is_held_out {
        train.holdout(holdout, seed)?
    } else {
        (train, found.load(Split::Valid)?)
    };
    let test = splits
        .contains(&Split::Test)
        .then(|| found.load(Split::Test))
        .transpose()?;
    Ok(Splits {
        train,
        valid,
        is_held_out,
        test,
    })
}

/// Reads what a model is to be scored on at `path`: the test split, else the validation split, else
/// everything.
pub fn open_for_eval(path: &Path) -> Result<ImageSet> {
    let found = detect(path)?;
    let last = found.splits().into_iter().next_back();
    found.load(last.unwrap_or(Split::Train))
}
