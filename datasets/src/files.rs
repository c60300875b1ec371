//! Files that may be gzipped, and the file of each split in a folder.

use crate::{Error, Result, Split, Splits};
use flate2::read::MultiGzDecoder;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

/// Largest unpacked file, in bytes.
pub(crate) const MAX_BYTES: u64 = 1 << 32;

/// The content of a file; one that begins as gzip does is unpacked.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    Ok(unpack(&path.display().to_string(), &bytes)?.into_owned())
}

/// Content that may be gzipped, unpacked; `location` is for messages.
pub(crate) fn unpack<'b>(location: &str, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>> {
    if !bytes.starts_with(&[0x1F, 0x8B]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let broken = |what: String| {
        Error::input(
            location,
            what,
            "an intact gzip file of at most 4 GB unpacked",
        )
    };
    let mut content = Vec::new();
    let mut limited = MultiGzDecoder::new(bytes).take(MAX_BYTES);
    let read = limited.read_to_end(&mut content);
    read.map_err(|e| broken(e.to_string()))?;
    if content.len() as u64 == MAX_BYTES {
        return Err(broken("more than 4 GB".into()));
    }
    Ok(Cow::Owned(content))
}

/// Text without the mark that some editors put before it.
pub(crate) fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// The file of each split in a folder: a part of its name (`train-v1.1.json`, `dev.txt.gz`,
/// `pku_test_gold.utf8`) is a name of the split. Files of other extensions are left aside, and those
/// with a part for which `aside` answers true.
pub(crate) fn splits(
    folder: &Path,
    extensions: &[&str],
    aside: impl Fn(&str) -> bool,
) -> Result<BTreeMap<Split, PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|e| Error::io("read", folder, e))?.path());
    }
    paths.sort();
    let mut files: BTreeMap<Split, PathBuf> = BTreeMap::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        let Some(split) = split_of(&path, extensions, &aside) else {
            continue;
        };
        if let Some(other) = files.insert(split, path.clone()) {
            let what = format!("{} is a {split} file as well", other.display());
            let expected = "one file a split";
            return Err(Error::input(path.display().to_string(), what, expected));
        }
    }
    Ok(files)
}

fn split_of(path: &Path, extensions: &[&str], aside: impl Fn(&str) -> bool) -> Option<Split> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let (stem, extension) = name.rsplit_once('.')?;
    if !extensions.contains(&extension) {
        return None;
    }
    let mut parts = stem.split(['_', '-', '.']);
    if parts.clone().any(aside) {
        return None;
    }
    parts.find_map(|part| part.parse().ok())
}

/// The parts of a data set, each read by `open`: a file alone is the training part, a folder has a file
/// for each split ([`splits`]). Without a validation file `holdout` divides the training part.
pub(crate) fn open_splits<T>(
    path: &Path,
    extensions: &[&str],
    aside: impl Fn(&str) -> bool,
    open: impl Fn(&Path) -> Result<T>,
    holdout: impl FnOnce(T) -> Result<(T, T)>,
) -> Result<Splits<T>> {
    if !path.is_dir() {
        let (train, valid) = holdout(open(path)?)?;
        return Ok(Splits {
            train,
            valid,
            is_held_out: true,
            test: None,
        });
    }
    let mut files = splits(path, extensions, aside)?;
    let mut part = |split| files.remove(&split).map(|file| open(&file)).transpose();
    let (train, valid, test) = (part(Split::Train)?, part(Split::Valid)?, part(Split::Test)?);
    let train = train.ok_or_else(|| {
        let expected = format!("train.{}", extensions.first().unwrap_or(&"txt"));
        let location = path.display().to_string();
        Error::input(location, "no training file in it", expected)
    })?;
    let is_held_out = valid.is_none();
    let (train, valid) = match valid {
        Some(valid) => (train, valid),
        None => holdout(train)?,
    };
    Ok(Splits {
        train,
        valid,
        is_held_out,
        test,
    })
}

/// Of a folder the test file, else the validation file, else the training file; a path that is no
/// folder is the file itself.
pub(crate) fn for_eval(
    path: &Path,
    extensions: &[&str],
    aside: impl Fn(&str) -> bool,
) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let mut files = splits(path, extensions, aside)?;
    let order = [Split::Test, Split::Valid, Split::Train];
    let found = order.iter().find_map(|split| files.remove(split));
    found.ok_or_else(|| {
        let expected = format!("test.{}", extensions.first().unwrap_or(&"txt"));
        Error::input(
            path.display().to_string(),
            "no file of a split in it",
            expected,
        )
    })
}
