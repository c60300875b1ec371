//! Downloads: hf-hub fetches into a staging folder, only what was verified moves into the cache.

use super::{Hub, RepoName, cache};
use crate::{Error, ModelFolder, Result, guard, progress::Progress};
use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{Api, ApiBuilder, ApiError, ApiRepo},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Folder in the cache for files that are not complete or not verified yet. It stays after an
/// interruption, which is what makes the next run go on instead of starting again.
const STAGING: &str = ".panoply-staging";

/// Wait before the second attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Bytes of one step of the progress display.
const MIB: usize = 1 << 20;

/// Fetches what the cache lacks of a model and returns its snapshot's folder.
pub(super) fn fetch(hub: &Hub, repo: &RepoName, companions: &[&str]) -> Result<PathBuf> {
    // hf-hub asserts and expects in places where a server may misbehave.
    guard(&format!("downloading {repo}"), || {
        Fetch::new(hub, repo)?.all(companions)
    })
}

struct Fetch<'h> {
    hub: &'h Hub,
    repo: &'h RepoName,
    /// The model's folder in the cache.
    root: PathBuf,
    api: Api,
    /// The commit that the revision stands for now, and the files in it.
    commit: String,
    files: BTreeSet<String>,
}

impl<'h> Fetch<'h> {
    /// Asks the hub for the commit and its list of files.
    fn new(hub: &'h Hub, repo: &'h RepoName) -> Result<Self> {
        let staging = Cache::new(hub.cache.join(STAGING));
        let mut builder = ApiBuilder::from_cache(staging)
            .with_token(hub.token.clone())
            .with_user_agent("panoply", env!("CARGO_PKG_VERSION"));
        if let Some(endpoint) = &hub.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let api = builder.build().map_err(|e| failed(repo, "", &e))?;
        let root = cache::repo_folder(&hub.cache, repo);
        let mut this = Self {
            hub,
            repo,
            root,
            api,
            commit: String::new(),
            files: BTreeSet::new(),
        };
        let handle = this.at(&repo.revision);
        let info = this.attempt("", || handle.info())?;
        if !cache::is_commit(&info.sha) {
            return Err(Error::input(
                repo.to_string(),
                format!("the hub names the commit '{}'", info.sha),
                "a commit hash",
            ));
        }
        this.commit = info.sha;
        this.files = info
            .siblings
            .into_iter()
            .map(|file| file.rfilename)
            .collect();
        Ok(this)
    }

    fn at(&self, revision: &str) -> ApiRepo {
        self.api.repo(Repo::with_revision(
            self.repo.id.clone(),
            RepoType::Model,
            revision.into(),
        ))
    }

    fn all(&self, companions: &[&str]) -> Result<PathBuf> {
        self.file(ModelFolder::CONFIG)?;
        let weights = [
            ModelFolder::WEIGHTS,
            ModelFolder::WEIGHTS_INDEX,
            ModelFolder::WEIGHTS_PYTORCH,
        ];
        match weights.iter().find(|name| self.files.contains(**name)) {
            Some(&ModelFolder::WEIGHTS_INDEX) => {
                let index = self.file(ModelFolder::WEIGHTS_INDEX)?;
                for shard in cache::shards(&index)? {
                    self.file(&shard)?;
                }
            }
            Some(name) => drop(self.file(name)?),
            None => return Err(self.lacks(&weights.join(" or "))),
        }
        for name in companions.iter().filter(|name| cache::is_inside(name)) {
            if self.files.contains(*name) {
                self.file(name)?;
            } else {
                let marker = cache::absent_marker(&self.root, &self.commit, name);
                let made = fs::create_dir_all(marker.parent().unwrap_or(&self.root))
                    .and_then(|()| File::create(&marker));
                made.map_err(|e| Error::io("create", &marker, e))?;
            }
        }
        cache::write_ref(&self.root, &self.repo.revision, &self.commit)?;
        Ok(self.root.join("snapshots").join(&self.commit))
    }

    fn lacks(&self, what: &str) -> Error {
        Error::input(
            self.repo.to_string(),
            format!("the hub has no {what} in it"),
            "a model with configuration and weights",
        )
    }

    /// The file called `name` in the snapshot, downloaded if it is not there.
    fn file(&self, name: &str) -> Result<PathBuf> {
        let pointer = self.root.join("snapshots").join(&self.commit).join(name);
        if pointer.is_file() {
            return Ok(pointer);
        }
        if !self.files.contains(name) {
            return Err(self.lacks(name));
        }
        let handle = self.at(&self.commit);
        let url = handle.url(name);
        let metadata = self.attempt(name, || self.api.metadata(&url))?;
        let stated = metadata.etag();
        let etag = stated.strip_prefix("W/").unwrap_or(stated);
        if !cache::is_plain(etag) {
            return Err(self.damaged(name, &format!("the hub names its content '{etag}'")));
        }
        let blob = self.root.join("blobs").join(etag);
        if fs::metadata(&blob).map(|m| m.len()).ok() != Some(metadata.size() as u64) {
            self.download(name, &handle, stated, metadata.size(), &blob)?;
        }
        cache::link(&self.root, &self.commit, name, etag)?;
        Ok(pointer)
    }

    /// Downloads into the staging folder, verifies, moves to `blob`.
    fn download(
        &self,
        name: &str,
        handle: &ApiRepo,
        etag: &str,
        size: usize,
        blob: &Path,
    ) -> Result<()> {
        let staged_root = cache::repo_folder(&self.hub.cache.join(STAGING), self.repo);
        let staged = staged_root.join("blobs").join(etag);
        let part = staged.with_extension("part");
        self.attempt(name, || {
            // A part that is already whole would ask for an empty range; a stale link would be in the way.
            if fs::metadata(&part).is_ok_and(|m| m.len() >= size as u64) {
                fs::remove_file(&part)?;
            }
            remove_if_there(&staged_root.join("snapshots"))?;
            let bar = Bar {
                shown: self.hub.progress && size > MIB,
                resumed: false,
                rest: 0,
                progress: Progress::hidden(),
            };
            handle.download_with_progress(name, bar)
        })?;
        let found = fs::metadata(&staged)
            .map_err(|e| Error::io("read", &staged, e))?
            .len();
        let wrong = if found == size as u64 {
            wrong_hash(&staged, etag)?
        } else {
            Some(format!("{found} bytes instead of {size}"))
        };
        if let Some(what) = wrong {
            fs::remove_file(&staged).map_err(|e| Error::io("remove", &staged, e))?;
            return Err(self.damaged(name, &what));
        }
        let blobs = blob.parent().unwrap_or(&self.root);
        fs::create_dir_all(blobs).map_err(|e| Error::io("create", blobs, e))?;
        fs::rename(&staged, blob).map_err(|e| Error::io("write", blob, e))?;
        remove_if_there(&staged_root.join("snapshots"))
            .map_err(|e| Error::io("remove", &staged_root, e))
    }

    fn damaged(&self, name: &str, what: &str) -> Error {
        let location = format!("{}/{name}", self.repo);
        Error::input(
            location,
            format!("damaged download: {what}"),
            "the file as the hub describes it; run again",
        )
    }

    /// Tries again after a broken connection; what the server refuses is final.
    fn attempt<T>(&self, name: &str, mut f: impl FnMut() -> Result<T, ApiError>) -> Result<T> {
        let mut wait = FIRST_WAIT;
        let mut left = self.hub.attempts;
        loop {
            match f() {
                Ok(value) => return Ok(value),
                Err(e) if left <= 1 || refusal(&e).is_some() => {
                    return Err(failed(self.repo, name, &e));
                }
                Err(e) => tracing::warn!("{}/{name}: {e}; trying again", self.repo),
            }
            left -= 1;
            thread::sleep(wait);
            wait *= 2;
        }
    }
}

/// The status with which the server refused (4xx), if it did.
fn refusal(error: &ApiError) -> Option<u16> {
    // ureq is no dependency of ours, so its error shows itself as text only ("http status: 404").
    let ApiError::RequestError(e) = error else {
        return None;
    };
    let text = e.to_string();
    let status = text.strip_prefix("http status: ")?.get(..3)?.parse().ok()?;
    (400..500).contains(&status).then_some(status)
}

fn failed(repo: &RepoName, name: &str, error: &ApiError) -> Error {
    let location = if name.is_empty() {
        repo.to_string()
    } else {
        format!("{repo}/{name}")
    };
    match refusal(error) {
        Some(404) if name.is_empty() => Error::input(
            location,
            "the hub has no such model or revision (404)",
            "owner/name[@revision] of a model",
        ),
        Some(404) => Error::input(
            location,
            "the hub has no such file (404)",
            "a model with configuration and weights",
        ),
        Some(status @ (401 | 403)) => Error::input(
            location,
            format!("the hub denies access ({status})"),
            "an existing public model, or HF_TOKEN with access to it",
        ),
        _ => Error::io(
            "download",
            location,
            io::Error::other(format!(
                "{error}; what has arrived is kept, run again to go on"
            )),
        ),
    }
}

/// What is wrong with the file's SHA-256, if `etag` states one (it does for large files).
fn wrong_hash(path: &Path, etag: &str) -> Result<Option<String>> {
    if etag.len() != 64 || !etag.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let io = |e| Error::io("read", path, e);
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; MIB];
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    let found = format!("{:x}", hash.finalize());
    Ok((found != etag.to_lowercase()).then(|| format!("SHA-256 {found} instead of {etag}")))
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// hf-hub's progress in ours, in MiB.
struct Bar {
    shown: bool,
    resumed: bool,
    rest: usize,
    progress: Progress,
}

impl hf_hub::api::Progress for Bar {
    fn init(&mut self, size: usize, filename: &str) {
        if self.shown {
            self.progress = Progress::new(&format!("{filename} (MiB)"), size.div_ceil(MIB) as u64);
        }
        // The first update after this one counts what an earlier attempt left.
        self.resumed = false;
        self.rest = 0;
    }

    fn update(&mut self, size: usize) {
        self.rest += size;
        let steps = (self.rest / MIB) as u64;
        self.rest %= MIB;
        if self.resumed {
            self.progress.advance(steps, "");
        } else {
            self.progress.start_at(steps);
        }
        self.resumed = true;
    }

    fn finish(&mut self) {
        self.progress.finish();
    }
}
