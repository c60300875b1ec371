//! MNIST's IDX files, plain or packed with gzip.
//!
//! Two zero bytes, the element type (8: unsigned byte), the number of dimensions, each dimension as a
//! big-endian 32-bit number, then the elements, the last dimension fastest.

use super::{Channels, Frames, ImageSet, Layout, Store};
use crate::{Error, Result, Split};
use flate2::read::MultiGzDecoder;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

/// More than any published set of this kind; a header beyond it is taken for damage.
const MAX_BYTES: u64 = 1 << 33;

/// The file of images and the file of labels of one split.
#[derive(Clone, Debug)]
pub(super) struct Files {
    images: PathBuf,
    labels: PathBuf,
}

/// Finds `…train-images-idx3-ubyte[.gz]` and its relatives in `folder`; empty if there are none.
pub(super) fn find(folder: &Path, files: &[PathBuf]) -> Result<BTreeMap<Split, Files>> {
    let mut found: BTreeMap<Split, Files> = BTreeMap::new();
    for images in files {
        let Some((stem, split)) = split_of(images, "images", "idx3") else {
            continue;
        };
        if let Some(other) = found.get(&split) {
            if stem
                == split_of(&other.images, "images", "idx3")
                    .map(|o| o.0)
                    .unwrap_or_default()
            {
                continue; // the same file plain and packed
            }
            let what = format!(
                "both {} and {} hold {split} images",
                other.images.display(),
                images.display()
            );
            return Err(Error::input(
                folder.display().to_string(),
                what,
                "one file of images a split",
            ));
        }
        let mine = |file: &&PathBuf| {
            split_of(file, "labels", "idx1").is_some_and(|(other, _)| other == stem)
        };
        let labels = files.iter().find(mine).ok_or_else(|| {
            Error::input(
                images.display().to_string(),
                "no file of labels beside it",
                format!("{stem}-labels-idx1-ubyte"),
            )
        })?;
        found.insert(
            split,
            Files {
                images: images.clone(),
                labels: labels.clone(),
            },
        );
    }
    Ok(found)
}

/// `("emnist-letters-train", Train)` of `emnist-letters-train-images-idx3-ubyte.gz`.
fn split_of(file: &Path, what: &str, rank: &str) -> Option<(String, Split)> {
    let name = file.file_name()?.to_str()?;
    let name = name
        .strip_suffix(".gz")
        .unwrap_or(name)
        .strip_suffix(&format!("{rank}-ubyte"))?;
    // Some copies write a dot where the original has a dash.
    let stem = name
        .strip_suffix(['-', '.'])?
        .strip_suffix(&format!("-{what}"))?;
    let split = stem.rsplit('-').next()?.parse().ok()?;
    Some((stem.to_string(), split))
}

/// Reads `split`. Classes are those of `classes.txt` (one name a line) beside the files, else the
/// numbers up to the largest label of the training set.
pub(super) fn load(root: &Path, all: &BTreeMap<Split, Files>, split: Split) -> Result<ImageSet> {
    let files = &all[&split];
    let names_file = files.images.with_file_name("classes.txt");
    let names = match std::fs::read_to_string(&names_file) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io("read", names_file, e)),
    };
    let classes = match (names, all.get(&Split::Train)) {
        (Some(text), _) => text
            .lines()
            .map(|line| line.trim().to_string())
            .filter(|l| !l.is_empty())
            .collect(),
        (None, Some(train)) => numbered(&read_labels(open(&train.labels)?, &shown(&train.labels))?),
        (None, None) => numbered(&read_labels(open(&files.labels)?, &shown(&files.labels))?),
    };
    let images = (open(&files.images)?, shown(&files.images));
    let labels = (open(&files.labels)?, shown(&files.labels));
    from_parts(&root.display().to_string(), images, labels, classes)
}

fn numbered(labels: &[u8]) -> Vec<String> {
    let count = labels.iter().max().map_or(0, |&max| usize::from(max) + 1);
    (0..count).map(|i| i.to_string()).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn open(path: &Path) -> Result<BufReader<File>> {
    File::open(path)
        .map(BufReader::new)
        .map_err(|e| Error::io("read", path, e))
}

/// A set out of readers of images and labels, each with what an error calls it.
pub(crate) fn from_parts(
    location: &str,
    images: (impl Read, String),
    labels: (impl Read, String),
    classes: Vec<String>,
) -> Result<ImageSet> {
    let (images_name, labels_name) = (images.1, labels.1);
    let (dims, bytes) = read_idx(images.0, &images_name, 3)?;
    let [count, height, width] = [dims[0], dims[1], dims[2]];
    let labels = read_labels(labels.0, &labels_name)?;
    if labels.len() != count as usize {
        let what = format!("{} labels", labels.len());
        return Err(Error::input(
            labels_name,
            what,
            format!("{count}, as {images_name} has images"),
        ));
    }
    if let Some(at) = labels
        .iter()
        .position(|&label| usize::from(label) >= classes.len())
    {
        let what = format!("label {} of image {at}", labels[at]);
        return Err(Error::input(
            labels_name,
            what,
            format!("a label below {}", classes.len()),
        ));
    }
    let file = Path::new(&images_name)
        .file_name()
        .map_or(images_name.clone(), |f| f.to_string_lossy().into());
    let frames = Frames {
        bytes,
        width,
        height,
        channels: Channels::Grey,
        files: vec![(file, 0)],
    };
    let labels = labels.into_iter().map(|label| Some(usize::from(label)));
    Ok(ImageSet::new(
        location.into(),
        Layout::Idx,
        classes,
        Store::Frames(frames),
        labels,
    ))
}

fn read_labels(reader: impl Read, name: &str) -> Result<Vec<u8>> {
    Ok(read_idx(reader, name, 1)?.1)
}

/// Dimensions and elements of an IDX file with `rank` dimensions of unsigned bytes, packed or not.
fn read_idx(mut reader: impl Read, name: &str, rank: u8) -> Result<(Vec<u32>, Vec<u8>)> {
    let mut start = Vec::new();
    reader
        .by_ref()
        .take(2)
        .read_to_end(&mut start)
        .map_err(|e| Error::io("read", name, e))?;
    let packed = start == [0x1f, 0x8b];
    let mut reader = std::io::Cursor::new(start).chain(reader);
    if packed {
        parse_idx(MultiGzDecoder::new(reader), name, rank)
    } else {
        parse_idx(&mut reader, name, rank)
    }
}

fn parse_idx(mut reader: impl Read, name: &str, rank: u8) -> Result<(Vec<u32>, Vec<u8>)> {
    let head_len = 4 + 4 * u64::from(rank);
    let head = read_up_to(&mut reader, head_len, 0, name)?;
    let magic = [0, 0, 8, rank];
    if head.len() < 4 || head[..4] != magic {
        let seen = crate::hex(&head[..head.len().min(4)]);
        let expected = format!("0000080{rank} (unsigned bytes in {rank} dimensions)");
        return Err(Error::input(
            name,
            format!("it starts with the magic number '{seen}'"),
            expected,
        ));
    }
    if (head.len() as u64) < head_len {
        return Err(truncated(name, head.len() as u64, head_len));
    }
    let dims: Vec<u32> = head[4..]
        .chunks_exact(4)
        .map(|d| u32::from_be_bytes([d[0], d[1], d[2], d[3]]))
        .collect();
    let size = dims
        .iter()
        .try_fold(1u64, |size, &dim| size.checked_mul(dim.into()));
    let size = size
        .filter(|&size| size > 0 && size <= MAX_BYTES)
        .ok_or_else(|| {
            let expected = format!("dimensions above 0 and at most {MAX_BYTES} elements");
            Error::input(name, format!("dimensions {dims:?} in its header"), expected)
        })?;
    // One byte more than there should be, to see what follows and to check gzip's sum.
    let bytes = read_up_to(&mut reader, size + 1, head_len, name)?;
    match (bytes.len() as u64).cmp(&size) {
        std::cmp::Ordering::Less => Err(truncated(
            name,
            head_len + bytes.len() as u64,
            head_len + size,
        )),
        std::cmp::Ordering::Equal => Ok((dims, bytes)),
        std::cmp::Ordering::Greater => {
            let expected = format!("{} bytes, as its dimensions {dims:?} say", head_len + size);
            Err(Error::input(
                name,
                "more bytes than its header announces",
                expected,
            ))
        }
    }
}

/// At most `limit` bytes; `offset` is how many came before.
fn read_up_to(reader: &mut impl Read, limit: u64, offset: u64, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|e| {
            let at = offset + bytes.len() as u64;
            Error::input(
                name,
                format!("it cannot be read beyond byte {at} (unpacked): {e}"),
                "an intact file",
            )
        })?;
    Ok(bytes)
}

fn truncated(name: &str, found: u64, wanted: u64) -> Error {
    Error::input(
        name,
        format!("it ends after {found} bytes"),
        format!("{wanted} bytes, as its header announces"),
    )
}
