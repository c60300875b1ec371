//! From a model's name to a folder on disk: a local path, else the Hugging Face cache, else a
//! download into it.
//!
//! This is the only module that opens a network connection, and it does so only for a name that is
//! neither a path nor completely cached. The cache is the one that Python's `huggingface_hub`
//! keeps (`models--owner--name/{blobs,refs,snapshots}`), so each finds what the other fetched.
//!
//! Downloads go through the `hf-hub` crate into a staging folder inside the cache. A file appears
//! under its final name only after its size and, where the hub states one, its SHA-256 are
//! right, so nothing that was interrupted or damaged is ever taken for a model.

mod cache;
mod fetch;

use crate::{Error, ModelFolder, Result};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Files besides configuration and weights that make a model usable; fetched where they exist.
pub const COMPANIONS: &[&str] = &[
    ModelFolder::PREPROCESSOR,
    ModelFolder::CARD,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];

/// Attempts per file before a broken connection is an error.
const ATTEMPTS: u32 = 3;

/// Finds models by name.
#[derive(Clone)]
pub struct Hub {
    cache: PathBuf,
    endpoint: Option<String>,
    token: Option<String>,
    offline: bool,
    attempts: u32,
    progress: bool,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token stays out of logs.
        let Self {
            cache,
            endpoint,
            offline,
            ..
        } = self;
        write!(
            f,
            "Hub {{ cache: {cache:?}, endpoint: {endpoint:?}, offline: {offline} }}"
        )
    }
}

impl Hub {
    /// A hub with its cache in `cache`, hf-hub's default endpoint, and no token.
    pub fn new(cache: PathBuf) -> Self {
        Self {
            cache,
            endpoint: None,
            token: None,
            offline: false,
            attempts: ATTEMPTS,
            progress: true,
        }
    }

    /// Reads the environment as `huggingface_hub` does: `HF_HUB_CACHE`, `HF_HOME`,
    /// `XDG_CACHE_HOME`, `HF_ENDPOINT`, `HF_TOKEN` (else the token file), `HF_HUB_OFFLINE`.
    /// `offline` is the user's own flag; either of the two suffices.
    pub fn from_env(offline: bool) -> Result<Self> {
        Self::from_vars(
            |name| std::env::var(name).ok(),
            std::env::home_dir(),
            offline,
        )
    }

    fn from_vars(
        var: impl Fn(&str) -> Option<String>,
        home: Option<PathBuf>,
        offline: bool,
    ) -> Result<Self> {
        let var = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| var(name).filter(|v| !v.trim().is_empty()))
        };
        let hf_home = var(&["HF_HOME"]).map(PathBuf::from).or_else(|| {
            let caches = var(&["XDG_CACHE_HOME"]).map(PathBuf::from);
            let caches = caches.or_else(|| home.map(|home| home.join(".cache")))?;
            Some(caches.join("huggingface"))
        });
        let cache = var(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).map(PathBuf::from);
        let cache = cache
            .or_else(|| Some(hf_home.as_ref()?.join("hub")))
            .ok_or_else(|| {
                Error::input(
                    "environment",
                    "no home folder for the model cache",
                    "HF_HOME to be set",
                )
            })?;
        let token_file = var(&["HF_TOKEN_PATH"])
            .map(PathBuf::from)
            .or_else(|| Some(hf_home?.join("token")));
        let token = var(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
            .or_else(|| std::fs::read_to_string(token_file?).ok())
            .map(|token| token.trim().to_string())
            .filter(|token| !token.is_empty());
        let endpoint = var(&["HF_ENDPOINT"]).map(|url| url.trim_end_matches('/').to_string());
        let set =
            |value: String| matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE");
        let offline = offline || var(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]).is_some_and(set);
        Ok(Self {
            endpoint,
            token,
            offline,
            ..Self::new(cache)
        })
    }

    /// Another server than hf-hub's default.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: &str) -> Self {
        self.endpoint = Some(endpoint.trim_end_matches('/').to_string());
        self
    }

    /// Never to open a connection.
    #[must_use]
    pub fn with_offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Attempts per file (at least one) before a broken connection is an error; default 3.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Whether downloads show their progress on stderr; default yes.
    #[must_use]
    pub fn with_progress(mut self, progress: bool) -> Self {
        self.progress = progress;
        self
    }

    /// Whether `name` has the form of a name on the hub: `owner/name` or `owner/name@revision`.
    pub fn is_name(name: &str) -> bool {
        RepoName::parse(name).is_ok()
    }

    /// The folder of the model called `name`.
    ///
    /// 1. A path that exists is returned as it is (a file, too).
    /// 2. `owner/name` or `owner/name@revision` is looked up in the cache. What is cached is
    ///    used without asking whether the hub has something newer.
    /// 3. Else `config.json`, the weights (`model.safetensors`, else the shards of its index, else
    ///    `pytorch_model.bin`) and those of `companions` that the hub has are downloaded.
    ///
    /// Errors name the model and the file: unknown name, missing file, no access, damaged
    /// download, or offline with something missing.
    pub fn resolve(&self, name: &str, companions: &[&str]) -> Result<PathBuf> {
        let path = Path::new(name);
        if path.exists() {
            return Ok(path.into());
        }
        let repo = RepoName::parse(name)?;
        let cached = cache::look_up(&self.cache, &repo, companions);
        let complete = cached.lacking.is_empty();
        match cached.folder {
            Some(folder) if complete && (cached.unknown.is_empty() || self.offline) => Ok(folder),
            _ if self.offline => Err(Error::input(
                name,
                format!(
                    "not in the cache {}: {}",
                    self.cache.display(),
                    cached.lacking.join(", ")
                ),
                "cached files, or a run without --offline and HF_HUB_OFFLINE",
            )),
            Some(folder) if complete => {
                Ok(fetch::fetch(self, &repo, companions).unwrap_or_else(|e| {
                    tracing::warn!(
                        "using the cached {name}, whose optional files could not be checked: {e}"
                    );
                    folder
                }))
            }
            _ => fetch::fetch(self, &repo, companions),
        }
    }
}

/// `owner/name[@revision]`, checked.
struct RepoName {
    id: String,
    revision: String,
}

impl RepoName {
    fn parse(name: &str) -> Result<Self> {
        let bad = |what: &str| {
            let expected = "an existing path, or owner/name[@revision] of a model on the hub";
            Err(Error::input("model", format!("'{name}' {what}"), expected))
        };
        let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
        let word = |text: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            !text.is_empty()
                && text.chars().all(plain)
                && !text.starts_with('.')
                && !text.contains("..")
        };
        let Some((owner, model)) = id.split_once('/') else {
            return bad("is neither a path nor the name of a model");
        };
        if !word(owner) || !word(model) {
            return bad("is no such path and no name of a model");
        }
        if !revision.split('/').all(word) {
            return bad("has a malformed revision");
        }
        Ok(Self {
            id: id.into(),
            revision: revision.into(),
        })
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if self.revision == "main" {
            Ok(())
        } else {
            write!(f, "@{}", self.revision)
        }
    }
}

/// The folder of a model that a task was asked for: `None` for the bundled one, whose name is
/// `bundled`, else a local folder or one of the Hub with its `companions`, files that may be absent.
///
/// # Errors
/// What is neither a folder nor `owner/name`; what [`Hub::resolve`] refuses.
pub fn find(
    model: &str,
    bundled: &str,
    companions: &[&str],
    offline: bool,
) -> Result<Option<ModelFolder>> {
    let local = Path::new(model).exists();
    if model == bundled && !local {
        return Ok(None);
    }
    if !local && !model.contains('/') {
        let known = [bundled, "a folder", "owner/name on the Hub"];
        return Err(Error::unknown("model", model, known));
    }
    let folder = Hub::from_env(offline)?.resolve(model, companions)?;
    ModelFolder::open(&folder).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(vars: &[(&str, &str)]) -> Hub {
        let get = |name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.to_string())
        };
        Hub::from_vars(get, Some("/home/a".into()), false).unwrap()
    }

    #[test]
    fn the_environment_is_read_as_huggingface_hub_does() {
        assert_eq!(hub(&[]).cache, Path::new("/home/a/.cache/huggingface/hub"));
        assert_eq!(
            hub(&[("XDG_CACHE_HOME", "/x")]).cache,
            Path::new("/x/huggingface/hub")
        );
        assert_eq!(
            hub(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")]).cache,
            Path::new("/h/hub")
        );
        assert_eq!(
            hub(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]).cache,
            Path::new("/c")
        );
        assert_eq!(
            hub(&[("HF_ENDPOINT", "http://a.b/")]).endpoint.unwrap(),
            "http://a.b"
        );
        assert_eq!(hub(&[("HF_TOKEN", " t ")]).token.unwrap(), "t");
        assert!(
            hub(&[("HF_HUB_OFFLINE", "1")]).offline && hub(&[("HF_HUB_OFFLINE", "true")]).offline
        );
        assert!(
            !hub(&[("HF_HUB_OFFLINE", "0")]).offline
                && !hub(&[]).offline
                && hub(&[]).token.is_none()
        );
        assert!(!format!("{:?}", hub(&[("HF_TOKEN", "secret")])).contains("secret"));
        let homeless = Hub::from_vars(|_| None, None, false).unwrap_err();
        assert!(homeless.to_string().contains("HF_HOME"));
    }

    #[test]
    fn the_token_file_counts_where_no_variable_does() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "from-file\n").unwrap();
        let home = dir.path().to_str().unwrap();
        assert_eq!(hub(&[("HF_HOME", home)]).token.unwrap(), "from-file");
        assert_eq!(
            hub(&[("HF_HOME", home), ("HF_TOKEN", "t")]).token.unwrap(),
            "t"
        );
    }

    #[test]
    fn names() {
        let repo = RepoName::parse("timm/resnet18.a1_in1k").unwrap();
        assert_eq!(
            (repo.id.as_str(), repo.revision.as_str()),
            ("timm/resnet18.a1_in1k", "main")
        );
        assert_eq!(
            RepoName::parse("a/b@refs/pr/1").unwrap().revision,
            "refs/pr/1"
        );
        assert_eq!(RepoName::parse("a/b@v1").unwrap().to_string(), "a/b@v1");
        for bad in [
            "resnet18", "", "/", "a/", "/b", "a/b/c", "../b", "a/..", "./a", "a/b@", "a/b@../c",
            "a b/c", "~/x", "a\\b/c",
        ] {
            let text = RepoName::parse(bad).err().unwrap().to_string();
            assert!(
                text.contains(&format!("'{bad}'")) && text.contains("owner/name"),
                "{text}"
            );
        }
    }
}
