//! The layout of the Hugging Face cache.

use super::RepoName;
use crate::{Error, ModelFolder, Result, model_folder::write_atomic};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// What the cache holds of a model.
pub(super) struct Cached {
    /// The snapshot's folder, if there is one.
    pub(super) folder: Option<PathBuf>,
    /// Necessary files that it lacks.
    pub(super) lacking: Vec<String>,
    /// Companions that are neither there nor known to be absent on the hub.
    pub(super) unknown: Vec<String>,
}

/// The folder of a model in the cache.
pub(super) fn repo_folder(cache: &Path, repo: &RepoName) -> PathBuf {
    cache.join(format!("models--{}", repo.id.replace('/', "--")))
}

/// Looks a model up without touching anything.
pub(super) fn look_up(cache: &Path, repo: &RepoName, companions: &[&str]) -> Cached {
    let root = repo_folder(cache, repo);
    let Some(commit) = commit(&root, &repo.revision) else {
        let lacking = [ModelFolder::CONFIG, ModelFolder::WEIGHTS]
            .map(String::from)
            .to_vec();
        return Cached {
            folder: None,
            lacking,
            unknown: Vec::new(),
        };
    };
    let folder = root.join("snapshots").join(&commit);
    let has = |name: &str| folder.join(name).is_file();
    let mut lacking = Vec::new();
    if !has(ModelFolder::CONFIG) {
        lacking.push(ModelFolder::CONFIG.to_string());
    }
    if !has(ModelFolder::WEIGHTS) {
        if has(ModelFolder::WEIGHTS_INDEX) {
            match shards(&folder.join(ModelFolder::WEIGHTS_INDEX)) {
                Ok(shards) => lacking.extend(shards.into_iter().filter(|shard| !has(shard))),
                Err(_damaged) => lacking.push(ModelFolder::WEIGHTS_INDEX.to_string()),
            }
        } else if !has(ModelFolder::WEIGHTS_PYTORCH) {
            lacking.push(ModelFolder::WEIGHTS.to_string());
        }
    }
    let known = |name: &&&str| has(name) || absent_marker(&root, &commit, name).exists();
    let unknown = companions
        .iter()
        .filter(|name| !known(name))
        .map(ToString::to_string)
        .collect();
    Cached {
        folder: Some(folder),
        lacking,
        unknown,
    }
}

/// The commit that `revision` stands for, if its snapshot is cached.
fn commit(root: &Path, revision: &str) -> Option<String> {
    let named = || fs::read_to_string(root.join("refs").join(revision)).ok();
    let commit = if is_commit(revision) {
        Some(revision.to_string())
    } else {
        named()
    };
    let commit = commit?.trim().to_string();
    (is_commit(&commit) && root.join("snapshots").join(&commit).is_dir()).then_some(commit)
}

/// Whether this is a full commit hash.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Notes that `revision` stands for `commit`.
pub(super) fn write_ref(root: &Path, revision: &str, commit: &str) -> Result<()> {
    if is_commit(revision) {
        return Ok(());
    }
    write_atomic(&root.join("refs").join(revision), commit.as_bytes())
}

/// The file by which the cache remembers that a commit has no such file.
pub(super) fn absent_marker(root: &Path, commit: &str, name: &str) -> PathBuf {
    root.join(".no_exist").join(commit).join(name)
}

/// Shows `blob` as `name` in a snapshot: a relative link as `huggingface_hub` makes it, or a hard
/// link or copy where the file system has none.
pub(super) fn link(root: &Path, commit: &str, name: &str, blob: &str) -> Result<()> {
    let pointer = root.join("snapshots").join(commit).join(name);
    let target = root.join("blobs").join(blob);
    let io = |e| Error::io("create", &pointer, e);
    fs::create_dir_all(pointer.parent().unwrap_or(root)).map_err(io)?;
    if pointer.is_file() {
        return Ok(());
    }
    match fs::remove_file(&pointer) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    let up = "../".repeat(2 + name.matches('/').count());
    let linked = symlink(&Path::new(&up).join("blobs").join(blob), &pointer);
    linked
        .or_else(|_unsupported| fs::hard_link(&target, &pointer))
        .or_else(|_unsupported| fs::copy(&target, &pointer).map(drop))
        .map_err(io)
}

#[cfg(unix)]
fn symlink(target: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(not(unix))]
fn symlink(_target: &Path, _pointer: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The shard files that an index names; each is a plain file name.
pub(super) fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let bad = |what: String| {
        Error::input(
            index.display().to_string(),
            what,
            "an index of shards with a weight_map",
        )
    };
    let text = fs::read_to_string(index).map_err(|e| Error::io("read", index, e))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    let map = value["weight_map"]
        .as_object()
        .ok_or_else(|| bad("no weight_map".into()))?;
    let shard = |value: &Value| match value.as_str() {
        Some(name) if is_plain(name) => Ok(name.to_string()),
        _ => Err(bad(format!("the shard name {value} is no plain file name"))),
    };
    map.values().map(shard).collect()
}

/// Whether `name` is a file of a repository, also in a folder of it (`a/b.json`).
pub(super) fn is_inside(name: &str) -> bool {
    !name.is_empty() && name.split('/').all(is_plain)
}

/// Whether `name` is one plain file name.
pub(super) fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    ) && !name.contains(['/', '\\'])
}
