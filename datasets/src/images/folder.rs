//! `root/class/*.jpg`, the layout of torchvision's `ImageFolder`.

use super::{ImageFile, ImageSet, Layout, Store};
use crate::{
    Error, Result,
    gate::{Finding, Kind, Level},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// What counts as an image, in any case.
pub(super) const EXTENSIONS: [&str; 8] =
    ["jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff"];

/// What lies directly in a folder, hidden entries left out, in byte order of the names.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) folders: Vec<PathBuf>,
    pub(super) files: Vec<PathBuf>,
}

/// Lists `folder`; links are followed.
pub(super) fn list(folder: &Path) -> Result<Listing> {
    let mut listing = Listing::default();
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::io("read", folder, e))?.path();
        if is_hidden(&path) {
            continue;
        }
        if path.is_dir() {
            listing.folders.push(path);
        } else {
            listing.files.push(path);
        }
    }
    listing.folders.sort();
    listing.files.sort();
    Ok(listing)
}

/// Dot files, and the folder that macOS puts into its archives.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

pub(super) fn is_image(path: &Path) -> bool {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .map(str::to_lowercase);
    extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// The name of a class folder.
fn class_name(folder: &Path) -> Result<&str> {
    folder
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| {
            Error::input(
                folder.display().to_string(),
                "a class folder whose name is not UTF-8",
                "a UTF-8 class name",
            )
        })
}

/// The class names of several splits together, in byte order.
pub(super) fn classes_of(splits: &[&Path]) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for split in splits {
        for folder in list(split)?.folders {
            names.insert(class_name(&folder)?.to_string());
        }
    }
    Ok(names.into_iter().collect())
}

/// Reads the class folders below `folder`; names are relative to `root`. `classes` holds all of them.
pub(super) fn load(root: &Path, folder: &Path, classes: Vec<String>) -> Result<ImageSet> {
    let Listing {
        folders,
        files: strays,
    } = list(folder)?;
    let (mut files, mut labels, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for class_folder in &folders {
        let label = class_position(&classes, class_folder)?;
        for path in walk(class_folder)? {
            if is_image(&path) {
                files.push(ImageFile {
                    name: relative(root, &path),
                    path,
                    listed: None,
                });
                labels.push(Some(label));
            } else {
                unknown.push(relative(root, &path));
            }
        }
    }
    if files.is_empty() {
        let what = format!("no image in its {} class folders", folders.len());
        return Err(Error::input(
            folder.display().to_string(),
            what,
            format!("files {}", EXTENSIONS.join(", ")),
        ));
    }
    let location = folder.display().to_string();
    let mut set = ImageSet::new(
        location,
        Layout::ClassFolders,
        classes,
        Store::Files(files),
        labels,
    );
    let (strays, others): (Vec<_>, Vec<_>) = strays.into_iter().partition(|path| is_image(path));
    let named = |paths: Vec<PathBuf>| paths.iter().map(|path| relative(root, path)).collect();
    let notes: [(Level, &str, Vec<String>); 3] = [
        (
            Level::Warning,
            "files in class folders that are no known kind of image",
            unknown,
        ),
        (
            Level::Warning,
            "images outside any class folder",
            named(strays),
        ),
        (
            Level::Info,
            "other files beside the class folders",
            named(others),
        ),
    ];
    for (level, what, names) in notes.into_iter().filter(|(_, _, names)| !names.is_empty()) {
        set.findings.push(Finding::new(
            level,
            Kind::UnknownFile,
            what,
            names.len(),
            names,
        ));
    }
    Ok(set)
}

fn class_position(classes: &[String], folder: &Path) -> Result<usize> {
    let name = class_name(folder)?;
    let found = classes.iter().position(|class| class == name);
    found.ok_or_else(|| Error::unknown("class folder", name, classes.iter().take(20)))
}

/// Every file below `folder` that is not hidden, in the order of torchvision: by folder, then by name.
/// A link that leads nowhere is kept: the image it stands for is missing.
fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let visible = |entry: &walkdir::DirEntry| entry.depth() == 0 || !is_hidden(entry.path());
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder)
        .follow_links(true)
        .into_iter()
        .filter_entry(visible)
    {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => files.push(entry.into_path()),
            Err(e) => {
                let path = e.path().unwrap_or(folder).to_path_buf();
                let dangling = e.loop_ancestor().is_none() && path.is_symlink() && !path.exists();
                if !dangling {
                    return Err(Error::io("read", path, e.into()));
                }
                files.push(path);
            }
        }
    }
    // Paths compare part by part; torchvision compares them as strings.
    let key = |path: &Path| {
        (
            path.parent().map(Path::as_os_str).map(ToOwned::to_owned),
            path.file_name().map(ToOwned::to_owned),
        )
    };
    files.sort_by_cached_key(|path| key(path));
    Ok(files)
}

/// `path` below `root`, with `/` on every system; bytes that are not UTF-8 become U+FFFD.
pub(super) fn relative(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}
