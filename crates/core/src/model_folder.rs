//! The model folder: everything a model needs, in files that Python's tools know too.
//!
//! `config.json` (architecture), `model.safetensors` (published layout), `preprocessor_config.json`
//! and `panoply.json` (the [`ModelCard`]).

use crate::{Error, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
};

/// Size class by parameter count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SizeClass {
    /// At most a million parameters.
    Small,
    /// At most a hundred million.
    Medium,
    /// At most a billion.
    Large,
    /// More.
    Beyond,
}

impl SizeClass {
    /// The class of a model with `num_params` parameters.
    pub fn of(num_params: usize) -> Self {
        match num_params {
            0..=1_000_000 => Self::Small,
            1_000_001..=100_000_000 => Self::Medium,
            100_000_001..=1_000_000_000 => Self::Large,
            _ => Self::Beyond,
        }
    }
}

impl fmt::Display for SizeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::Beyond => "beyond",
        })
    }
}

/// `panoply.json`: what a model is and where it comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelCard {
    /// Pipeline that runs it.
    pub pipeline: String,
    /// Task that runs it.
    pub task: String,
    /// Architecture name, as `model import --arch` takes it.
    pub arch: String,
    /// Parameter count, buffers excluded.
    pub num_params: usize,
    /// Size class of that count.
    pub size_class: SizeClass,
    /// Class names in the order of the logits.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Metrics as measured, with the data set they were measured on.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Hash of the training data, if it was trained here.
    #[serde(default)]
    pub data_sha256: Option<String>,
    /// SPDX identifier, or "unknown".
    pub licence: String,
    /// Where the weights come from.
    pub origin: String,
    /// Version of Panoply that wrote the folder.
    pub panoply: String,
}

impl ModelCard {
    /// The card of a network that this version of Panoply made, without labels and metrics.
    pub fn new(
        [pipeline, task, arch]: [&str; 3],
        num_params: usize,
        licence: &str,
        origin: &str,
    ) -> Self {
        Self {
            pipeline: pipeline.into(),
            task: task.into(),
            arch: arch.into(),
            num_params,
            size_class: SizeClass::of(num_params),
            labels: Vec::new(),
            metrics: BTreeMap::new(),
            data_sha256: None,
            licence: licence.into(),
            origin: origin.into(),
            panoply: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// A model folder on disk.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
}

impl ModelFolder {
    /// Name of the weights file.
    pub const WEIGHTS: &'static str = "model.safetensors";
    /// Name of the index of sharded weights.
    pub const WEIGHTS_INDEX: &'static str = "model.safetensors.index.json";
    /// Name of the PyTorch weights file that some Hub folders hold instead.
    pub const WEIGHTS_PYTORCH: &'static str = "pytorch_model.bin";
    /// Name of the architecture file.
    pub const CONFIG: &'static str = "config.json";
    /// Name of the preprocessing file.
    pub const PREPROCESSOR: &'static str = "preprocessor_config.json";
    /// Name of the file with the weights of an adapter alone.
    pub const ADAPTER: &'static str = "adapter_model.safetensors";
    /// Name of the file that says what an adapter adapts.
    pub const ADAPTER_CONFIG: &'static str = "adapter_config.json";
    /// Name of the card.
    pub const CARD: &'static str = "panoply.json";

    /// A folder that exists and holds a `config.json`.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Err(Error::input(
                path.display().to_string(),
                "no such folder",
                "a model folder",
            ));
        }
        if !path.join(Self::CONFIG).is_file() {
            return Err(Error::input(
                path.display().to_string(),
                format!("no {} in it", Self::CONFIG),
                "a model folder (see `model import` to make one out of a checkpoint file)",
            ));
        }
        Ok(Self { path: path.into() })
    }

    /// Makes the folder (and its parents).
    pub fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(|e| Error::io("create", path, e))?;
        Ok(Self { path: path.into() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file called `name` in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The weights: `model.safetensors`, else its sharded index, else `pytorch_model.bin`.
    pub fn weights(&self) -> Result<PathBuf> {
        let names = [Self::WEIGHTS, Self::WEIGHTS_INDEX, Self::WEIGHTS_PYTORCH];
        names
            .iter()
            .map(|name| self.file(name))
            .find(|path| path.is_file())
            .ok_or_else(|| {
                Error::input(
                    self.path.display().to_string(),
                    "no weights in it",
                    names.join(" or "),
                )
            })
    }

    /// Reads one of its JSON files; `Ok(None)` if there is none.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.file(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Error::input(
                path.display().to_string(),
                e.to_string(),
                "JSON with the fields of this file",
            )
        })
    }

    /// Writes one of its JSON files, atomically.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_json(&self.file(name), value)
    }

    /// The card, if the folder was written by Panoply.
    pub fn card(&self) -> Result<Option<ModelCard>> {
        self.read_json(Self::CARD)
    }

    /// `config.json` as it stands.
    pub fn config(&self) -> Result<Value> {
        Ok(self.read_json(Self::CONFIG)?.unwrap_or(Value::Null))
    }
}

/// Writes pretty JSON under a temporary name, then renames.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| Error::Internal {
        context: path.display().to_string(),
        message: e.to_string(),
    })?;
    text.push(b'\n');
    write_atomic(path, &text)
}

/// Writes `bytes` under a temporary name in the same folder, syncs, then renames.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        // A temporary file is private by default; what we publish follows the usual mode.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file()
                .set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| Error::io("write", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_have_inclusive_upper_bounds() {
        let classes = [
            1_000_000,
            1_000_001,
            100_000_000,
            100_000_001,
            1_000_000_000,
            1_000_000_001,
        ]
        .map(SizeClass::of);
        use SizeClass::{Beyond, Large, Medium, Small};
        assert_eq!(classes, [Small, Medium, Medium, Large, Large, Beyond]);
    }

    #[test]
    fn a_folder_without_config_says_so() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            ModelFolder::open(dir.path())
                .unwrap_err()
                .to_string()
                .contains("config.json")
        );
        assert!(
            ModelFolder::open(&dir.path().join("x"))
                .unwrap_err()
                .to_string()
                .contains("no such folder")
        );
    }

    #[test]
    fn json_is_written_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/a.json");
        write_json(&path, &vec![1, 2]).unwrap();
        assert_eq!(
            fs::read_to_string(&path)
                .unwrap()
                .split_whitespace()
                .collect::<String>(),
            "[1,2]"
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
