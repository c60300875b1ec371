//! Labelled image sets for classification.

mod cifar;
mod folder;
mod idx;
mod index;
mod open;

pub use open::{Found, detect, open, open_for_eval, open_splits};

pub(crate) use idx::from_parts as idx_from_parts;

use crate::{Error, Result, gate::Finding, hex, split::stratified_holdout};
use ::image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a set is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `root/class/*.jpg`, or `root/{train,valid,test}/class/*.jpg`.
    ClassFolders,
    /// A CSV or Parquet table of paths and labels.
    Index,
    /// MNIST's files (LeCun et al. 1998): images and labels as unsigned bytes, big-endian dimensions.
    Idx,
    /// CIFAR-10, binary version (Krizhevsky 2009): a label and 3072 bytes an image.
    Cifar10,
    /// CIFAR-100, binary version: coarse label, fine label and 3072 bytes an image.
    Cifar100,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClassFolders => "class folders",
            Self::Index => "index",
            Self::Idx => "IDX",
            Self::Cifar10 => "CIFAR-10 binary",
            Self::Cifar100 => "CIFAR-100 binary",
        })
    }
}

/// Images with a class each. Files are decoded when asked for; small-image formats lie in memory.
///
/// Cloning and [`subset`](Self::subset) share the images. Sample numbers run from 0 and keep the
/// order of the source; a number that is too large panics, as it does for a slice.
#[derive(Clone, Debug)]
pub struct ImageSet {
    location: String,
    layout: Layout,
    classes: Arc<[String]>,
    store: Arc<Store>,
    samples: Vec<Sample>,
    findings: Vec<Finding>,
}

/// One sample: where its image is in the store, and its class.
#[derive(Clone, Copy, Debug)]
struct Sample {
    row: usize,
    label: Option<usize>,
}

/// The images behind a set and its subsets.
#[derive(Debug)]
enum Store {
    Files(Vec<ImageFile>),
    Frames(Frames),
}

/// An encoded image on disk.
#[derive(Debug)]
struct ImageFile {
    /// Relative to the root of the data set, with `/`, so that it does not depend on where that lies.
    name: String,
    path: PathBuf,
    /// The index that names it and its row there.
    listed: Option<(Arc<str>, usize)>,
}

/// Images of one size in one block of memory.
#[derive(Debug)]
struct Frames {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
    channels: Channels,
    /// File names with the number of their first image.
    files: Vec<(String, usize)>,
}

/// The order of the bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channels {
    /// One byte a pixel.
    Grey,
    /// All red, then all green, then all blue.
    PlanarRgb,
}

impl ImageFile {
    /// What an error calls this file.
    fn location(&self) -> String {
        let path = self.path.display();
        self.listed.as_ref().map_or_else(
            || path.to_string(),
            |(index, row)| format!("{index}, row {row}: {path}"),
        )
    }

    fn read(&self) -> Result<Vec<u8>> {
        std::fs::read(&self.path).map_err(|e| match self.listed {
            None => Error::io("read", &self.path, e),
            Some(_) => Error::input(self.location(), e.to_string(), "a file that can be read"),
        })
    }
}

impl Frames {
    fn frame(&self, row: usize) -> &[u8] {
        let planes = if self.channels == Channels::Grey {
            1
        } else {
            3
        };
        let size = self.width as usize * self.height as usize * planes;
        &self.bytes[row * size..(row + 1) * size]
    }

    fn name(&self, row: usize) -> String {
        let file = self.files.partition_point(|(_, first)| *first <= row) - 1;
        let (name, first) = &self.files[file];
        format!("{name}#{}", row - first)
    }

    fn image(&self, row: usize) -> RgbImage {
        let frame = self.frame(row);
        let plane = self.width as usize * self.height as usize;
        RgbImage::from_fn(self.width, self.height, |x, y| {
            let at = y as usize * self.width as usize + x as usize;
            ::image::Rgb(match self.channels {
                Channels::Grey => [frame[at]; 3],
                Channels::PlanarRgb => [frame[at], frame[at + plane], frame[at + 2 * plane]],
            })
        })
    }
}

impl ImageSet {
    /// One label an image of the store, in the same order.
    fn new(
        location: String,
        layout: Layout,
        classes: Vec<String>,
        store: Store,
        labels: impl IntoIterator<Item = Option<usize>>,
    ) -> Self {
        let samples = labels
            .into_iter()
            .enumerate()
            .map(|(row, label)| Sample { row, label })
            .collect();
        Self {
            location,
            layout,
            classes: classes.into(),
            store: Arc::new(store),
            samples,
            findings: Vec::new(),
        }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Where the set came from: a path, or `bundled:…`.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// How the set is stored.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Class names; a label is a position in this list. Folder names are in byte order (as
    /// torchvision's `ImageFolder` has them), index labels the same or, if all are integers, by value.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The class of sample `i`; `None` where an index names none.
    pub fn label(&self, i: usize) -> Option<usize> {
        self.samples[i].label
    }

    /// The class name of sample `i`.
    pub fn class_of(&self, i: usize) -> Option<&str> {
        self.label(i).map(|label| self.classes[label].as_str())
    }

    /// All labels, in order.
    pub fn labels(&self) -> Vec<Option<usize>> {
        self.samples.iter().map(|sample| sample.label).collect()
    }

    /// Samples of each class, in the order of [`classes`](Self::classes).
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for label in self.samples.iter().filter_map(|sample| sample.label) {
            counts[label] += 1;
        }
        counts
    }

    /// What to call sample `i`: its path below the root of the set, or `train-images-idx3-ubyte#17`.
    pub fn name(&self, i: usize) -> String {
        let row = self.samples[i].row;
        match &*self.store {
            Store::Files(files) => files[row].name.clone(),
            Store::Frames(frames) => frames.name(row),
        }
    }

    /// The image file of sample `i`; `None` where one file holds many images.
    pub fn path(&self, i: usize) -> Option<&Path> {
        match &*self.store {
            Store::Files(files) => Some(&files[self.samples[i].row].path),
            Store::Frames(_) => None,
        }
    }

    /// Whether every image is stored with one channel ([`image`](Self::image) repeats it).
    pub fn is_grey(&self) -> bool {
        matches!(&*self.store, Store::Frames(frames) if frames.channels == Channels::Grey)
    }

    /// The pixels of sample `i`; a grey image has three equal channels.
    ///
    /// # Errors
    /// A file that is missing or cannot be decoded, with its path and its row in the index.
    pub fn image(&self, i: usize) -> Result<RgbImage> {
        let row = self.samples[i].row;
        match &*self.store {
            Store::Files(files) => {
                crate::image::decode(&files[row].read()?, &files[row].location())
            }
            Store::Frames(frames) => Ok(frames.image(row)),
        }
    }

    /// The bytes of sample `i` as stored: the encoded file, or the frame.
    fn stored(&self, i: usize) -> Result<Cow<'_, [u8]>> {
        let row = self.samples[i].row;
        match &*self.store {
            Store::Files(files) => files[row].read().map(Cow::Owned),
            Store::Frames(frames) => Ok(Cow::Borrowed(frames.frame(row))),
        }
    }

    /// What was noticed on opening: files that are not images, images outside any class.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The samples `rows`, in that order, with the same class list.
    #[must_use]
    pub fn subset(&self, rows: &[usize]) -> Self {
        Self {
            location: self.location.clone(),
            layout: self.layout,
            classes: self.classes.clone(),
            store: self.store.clone(),
            samples: rows.iter().map(|&row| self.samples[row]).collect(),
            findings: Vec::new(),
        }
    }

    /// The set without the samples `rows` (for instance [`GateReport::unusable`]).
    ///
    /// [`GateReport::unusable`]: crate::gate::GateReport::unusable
    #[must_use]
    pub fn without(&self, rows: &[usize]) -> Self {
        let mut kept = vec![true; self.len()];
        for &row in rows {
            kept[row] = false;
        }
        let rows: Vec<usize> = (0..self.len()).filter(|&row| kept[row]).collect();
        Self {
            findings: self.findings.clone(),
            ..self.subset(&rows)
        }
    }

    /// Splits off a validation set: `fraction` of each class, chosen by `seed`; `(train, valid)`.
    ///
    /// Both keep the order of the set. Images that are stored byte for byte alike stay on one side,
    /// so that this split does not leak; see [`stratified_holdout`]. Reads every file once.
    pub fn holdout(&self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        // A file that cannot be read is a group of its own here and an error of the data gate.
        let keys: Vec<Option<[u8; 32]>> = (0..self.len())
            .into_par_iter()
            .map(|i| self.stored(i).ok().map(|b| Sha256::digest(b).into()))
            .collect();
        let mut first_with = BTreeMap::new();
        let groups: Vec<usize> = keys
            .iter()
            .enumerate()
            .map(|(row, key)| key.map_or(row, |key| *first_with.entry(key).or_insert(row)))
            .collect();
        let split = stratified_holdout(&self.labels(), Some(&groups), fraction, seed);
        let (kept, held) = split.map_err(|e| match e {
            Error::Input {
                what,
                location,
                expected,
            } => Error::input(format!("{}, {location}", self.location), what, expected),
            other => other,
        })?;
        Ok((
            Self {
                findings: self.findings.clone(),
                ..self.subset(&kept)
            },
            self.subset(&held),
        ))
    }

    /// The same samples with their labels as positions in `classes`, for instance a model's.
    ///
    /// A class is looked up by name; a name that is not there but is an integer below
    /// `classes.len()` is taken as the position.
    ///
    /// # Errors
    /// A class with samples that `classes` lacks.
    pub fn relabelled(&self, classes: &[String]) -> Result<Self> {
        let counts = self.class_counts();
        let positions = self.classes.iter().zip(counts).map(|(name, count)| {
            let by_name = classes.iter().position(|known| known == name);
            let by_number = || {
                name.parse()
                    .ok()
                    .filter(|&number: &usize| number < classes.len())
            };
            match by_name.or_else(by_number) {
                None if count > 0 => Err(Error::unknown("class", name, classes.iter().take(20))),
                position => Ok(position),
            }
        });
        let positions = positions.collect::<Result<Vec<Option<usize>>>>()?;
        let relabel = |s: &Sample| Sample {
            row: s.row,
            label: s.label.and_then(|label| positions[label]),
        };
        let samples = self.samples.iter().map(relabel).collect();
        Ok(Self {
            classes: classes.into(),
            samples,
            ..self.clone()
        })
    }

    /// The same set with other class names, for formats that store numbers only.
    ///
    /// # Errors
    /// Another number of names than classes.
    pub fn with_class_names<S: Into<String>>(
        self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let classes: Vec<String> = names.into_iter().map(Into::into).collect();
        if classes.len() != self.classes.len() {
            let expected = format!("{} class names", self.classes.len());
            return Err(Error::input(
                &self.location,
                format!("{} class names", classes.len()),
                expected,
            ));
        }
        Ok(Self {
            classes: classes.into(),
            ..self
        })
    }

    /// SHA-256 over class names and, for each sample in order, its name, label and stored bytes, in
    /// hexadecimal: which data a model has seen. It does not depend on where the set lies.
    pub fn digest(&self) -> Result<String> {
        let hash_one = |i| Ok(Sha256::digest(self.stored(i)?).into());
        let contents: Vec<Result<[u8; 32]>> =
            (0..self.len()).into_par_iter().map(hash_one).collect();
        let mut sum = Sha256::new();
        // Each text with its length before it: no two sets give the same stream.
        let text = |sum: &mut Sha256, text: &str| {
            sum.update((text.len() as u64).to_le_bytes());
            sum.update(text);
        };
        sum.update((self.classes.len() as u64).to_le_bytes());
        for class in &*self.classes {
            text(&mut sum, class);
        }
        for (i, content) in contents.into_iter().enumerate() {
            text(&mut sum, &self.name(i));
            sum.update(
                self.label(i)
                    .map_or(u64::MAX, |label| label as u64)
                    .to_le_bytes(),
            );
            sum.update(content?);
        }
        Ok(hex(&sum.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two grey 2×1 frames and one more in a second file.
    fn grey() -> ImageSet {
        let frames = Frames {
            bytes: vec![1, 2, 3, 4, 5, 6],
            width: 2,
            height: 1,
            channels: Channels::Grey,
            files: vec![("a".into(), 0), ("b".into(), 2)],
        };
        let classes = vec!["0".into(), "1".into()];
        let labels = [Some(0), Some(1), Some(1)];
        ImageSet::new(
            "here".into(),
            Layout::Idx,
            classes,
            Store::Frames(frames),
            labels,
        )
    }

    #[test]
    fn frames_have_names_and_pixels() {
        let set = grey();
        assert_eq!([0, 1, 2].map(|i| set.name(i)), ["a#0", "a#1", "b#0"]);
        assert_eq!(set.image(1).unwrap().into_raw(), [3, 3, 3, 4, 4, 4]);
        assert_eq!(set.class_counts(), [1, 2]);
        let part = set.subset(&[2, 0]);
        assert_eq!((part.name(0), part.label(1)), ("b#0".into(), Some(0)));
        assert_eq!(set.without(&[0]).class_counts(), [0, 2]);
    }

    #[test]
    fn planes_become_pixels() {
        let frames = Frames {
            bytes: vec![1, 2, 10, 20, 100, 200],
            width: 1,
            height: 2,
            channels: Channels::PlanarRgb,
            files: vec![("a".into(), 0)],
        };
        assert_eq!(frames.image(0).into_raw(), [1, 10, 100, 2, 20, 200]);
    }

    #[test]
    fn relabelling_goes_by_name_then_by_number() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let set = grey().with_class_names(["dog", "cat"]).unwrap();
        let moved = set.relabelled(&names(&["bird", "cat", "dog"])).unwrap();
        assert_eq!(moved.labels(), [Some(2), Some(1), Some(1)]);
        let text = set
            .relabelled(&names(&["cats", "dog"]))
            .unwrap_err()
            .to_string();
        assert!(text.contains("did you mean 'cats'"), "{text}");
        assert_eq!(
            grey().relabelled(&names(&["x", "y"])).unwrap().labels(),
            grey().labels()
        );
        assert!(grey().with_class_names(["x"]).is_err());
    }

    #[test]
    fn the_digest_sees_names_labels_bytes_and_order() {
        let set = grey();
        let digest = set.digest().unwrap();
        assert_eq!(digest, grey().digest().unwrap());
        let others = [
            set.subset(&[1, 0, 2]),
            set.subset(&[0, 1]),
            set.clone().with_class_names(["0", "2"]).unwrap(),
            set.relabelled(&["1".into(), "0".into()]).unwrap(),
        ];
        for other in others {
            assert_ne!(digest, other.digest().unwrap());
        }
    }
}
