//! What a training run did, in seven stages, as `report.json` and as a page.
//!
//! Data, network, forward shapes, activation statistics, loss, optimiser, training and validation.
//! The JSON of two runs with the same seed and command differs in its `timing` object alone. Numbers
//! that are not finite are `null` there and NaN when read back.

mod html;
mod json;
mod layers;
mod numbers;
mod stages;

use crate::{
    Error, Result, SizeClass,
    fit::{History, OptimizerGroup},
    model_folder::write_atomic,
};
pub use layers::layer_table;
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub use stages::{OBSERVED, Observed, Solved, Trained};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The burn that this crate is built with; burn does not say so itself.
const BURN: &str = "0.22.1";

/// Everything that a run says about itself. Stages that a run does not have stay empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// What was run, and how to run it again.
    pub run: RunStage,
    /// Stage 1.
    pub data: DataStage,
    /// Stage 2.
    pub network: NetworkStage,
    /// Stage 3: the shapes of one batch on its way through the network.
    pub forward: Vec<StageShape>,
    /// Stage 4: what one batch looked like inside the network, after training.
    pub activations: Vec<ActivationRow>,
    /// Stage 5.
    pub loss: LossStage,
    /// Stage 6.
    pub optimiser: OptimiserStage,
    /// Stage 7.
    pub training: Curves,
    /// Final validation metrics, in the order in which they are shown.
    #[serde(with = "numbers::named")]
    pub metrics: Vec<(String, f64)>,
    /// All that differs between two runs of one seed.
    pub timing: Timing,
    /// Further SVG pictures for stage 7 of the page, made by [`crate::plot`]; not in the JSON.
    #[serde(skip)]
    pub figures: Vec<String>,
}

/// What was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunStage {
    /// Pipeline name.
    pub pipeline: String,
    /// Task name.
    pub task: String,
    /// Recipe name.
    pub recipe: String,
    /// The whole recipe after `--set`, as JSON.
    pub config: Value,
    /// The one seed of the run.
    pub seed: u64,
    /// Command line, one argument each.
    pub command: Vec<String>,
    /// Device, as burn shows it.
    pub device: String,
    /// Versions of what computed; see [`versions`].
    pub versions: BTreeMap<String, String>,
}

/// Stage 1: the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataStage {
    /// Where it comes from: a path or a bundled name.
    pub source: String,
    /// SHA-256 over its content.
    pub sha256: String,
    /// The splits in the order train, validation, test.
    pub splits: Vec<SplitRow>,
    /// What the data gate found.
    pub gate: GateSummary,
}

/// One split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitRow {
    /// `train`, `validation`, …
    pub name: String,
    /// Samples in use.
    pub num_samples: usize,
    /// Samples of each class, in the order of the logits; empty where there are no classes.
    pub classes: Vec<(String, u64)>,
}

/// What the data gate found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GateSummary {
    /// Findings that stop a training, unless accepted.
    pub num_errors: usize,
    /// Findings that do not.
    pub num_warnings: usize,
    /// One line each.
    pub findings: Vec<String>,
}

/// Stage 2: the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStage {
    /// Architecture name.
    pub arch: String,
    /// Parameter count, running statistics excluded.
    pub num_params: usize,
    /// Parameters that the optimiser moves.
    pub num_trainable: usize,
    /// Size class of the parameter count.
    pub size_class: Option<SizeClass>,
    /// Every module that owns parameters, in the order of the forward pass; see [`layer_table`].
    pub layers: Vec<LayerRow>,
}

impl NetworkStage {
    /// Counts and lists the parameters of `model`.
    pub fn of<M: burn::module::Module>(arch: impl Into<String>, model: &M) -> Self {
        let layers = layer_table(model);
        let num_params = layers.iter().map(|row| row.num_params).sum();
        let num_trainable = layers.iter().map(|row| row.num_trainable).sum();
        let size_class = Some(SizeClass::of(num_params));
        Self {
            arch: arch.into(),
            num_params,
            num_trainable,
            size_class,
            layers,
        }
    }
}

/// One module that owns parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// Path in the model (`layer1.0.conv1`).
    pub path: String,
    /// Type name (`Conv2d`).
    pub kind: String,
    /// Its parameters with their shapes (`weight [64, 3, 7, 7]`).
    pub shapes: Vec<String>,
    /// Parameters, running statistics excluded.
    pub num_params: usize,
    /// Those of them that are trained.
    pub num_trainable: usize,
}

/// Stage 3: the output shape of one stage of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageShape {
    /// Stage (`stem`, `layer1`, `logits`).
    pub stage: String,
    /// Shape of its output, batch first.
    pub shape: Vec<usize>,
}

/// Stage 4: the values of one stage's output on one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivationRow {
    /// Stage.
    pub stage: String,
    /// Mean of the finite values.
    #[serde(deserialize_with = "numbers::nan_for_null")]
    pub mean: f64,
    /// Their standard deviation (divided by n).
    #[serde(deserialize_with = "numbers::nan_for_null")]
    pub std: f64,
    /// Their minimum.
    #[serde(deserialize_with = "numbers::nan_for_null")]
    pub min: f64,
    /// Their maximum.
    #[serde(deserialize_with = "numbers::nan_for_null")]
    pub max: f64,
    /// Fraction of values that are exactly zero.
    #[serde(deserialize_with = "numbers::nan_for_null")]
    pub zeros: f64,
    /// Number of values that are infinite or NaN.
    pub non_finite: usize,
}

impl ActivationRow {
    /// Statistics of `values`; NaN throughout if none is finite.
    pub fn of(stage: impl Into<String>, values: &[f32]) -> Self {
        let finite = || {
            values
                .iter()
                .map(|&v| f64::from(v))
                .filter(|v| v.is_finite())
        };
        let count = finite().count();
        let mean = finite().sum::<f64>() / count as f64;
        let variance = finite().map(|v| (v - mean).powi(2)).sum::<f64>() / count as f64;
        Self {
            stage: stage.into(),
            mean,
            std: variance.sqrt(),
            min: finite().fold(f64::NAN, f64::min),
            max: finite().fold(f64::NAN, f64::max),
            zeros: finite().filter(|v| *v == 0.0).count() as f64 / values.len() as f64,
            non_finite: values.len() - count,
        }
    }
}

/// Stage 5: the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossStage {
    /// Name (`cross-entropy`).
    pub name: String,
    /// Formula in plain text.
    pub formula: String,
    /// Loss of the first optimiser step.
    #[serde(deserialize_with = "numbers::nan_for_null")]
    pub first: f64,
    /// Loss of the last.
    #[serde(deserialize_with = "numbers::nan_for_null")]
    pub last: f64,
}

impl LossStage {
    /// A loss with the first and last value of `curves`.
    pub fn of(name: impl Into<String>, formula: impl Into<String>, curves: &Curves) -> Self {
        let value = |point: Option<&(f64, f64)>| point.map_or(f64::NAN, |p| p.1);
        Self {
            name: name.into(),
            formula: formula.into(),
            first: value(curves.train_loss.first()),
            last: value(curves.train_loss.last()),
        }
    }
}

impl Default for LossStage {
    fn default() -> Self {
        Self::of("", "", &Curves::default())
    }
}

/// Stage 6: the optimiser.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptimiserStage {
    /// Name (`adamw`).
    pub name: String,
    /// Its settings, as JSON.
    pub config: Value,
    /// The learning-rate schedule, as JSON.
    pub schedule: Value,
    /// Parameter groups.
    pub groups: Vec<GroupRow>,
}

/// Parameters that the optimiser treats alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupRow {
    /// What is in it (`biases and norms`).
    pub name: String,
    /// Number of tensors.
    pub num_tensors: usize,
    /// Number of parameters.
    pub num_params: usize,
    /// Weight decay.
    pub weight_decay: f64,
    /// Learning rate over the schedule's.
    pub lr_factor: f64,
}

impl From<OptimizerGroup> for GroupRow {
    fn from(group: OptimizerGroup) -> Self {
        Self {
            name: group.name.into(),
            num_tensors: group.paths.len(),
            num_params: group.num_params,
            weight_decay: group.weight_decay,
            lr_factor: group.lr_factor,
        }
    }
}

/// Stage 7: what training and validation measured. Steps and epochs count from 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Curves {
    /// `(optimiser step, loss)`.
    #[serde(with = "numbers::points")]
    pub train_loss: Vec<(f64, f64)>,
    /// `(optimiser step, learning rate)`.
    #[serde(with = "numbers::points")]
    pub learning_rate: Vec<(f64, f64)>,
    /// `(optimiser step, global gradient norm before clipping)`.
    #[serde(with = "numbers::points")]
    pub grad_norm: Vec<(f64, f64)>,
    /// One row a finished epoch.
    pub epochs: Vec<EpochRow>,
}

/// Metrics of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Means over the training samples, while the weights moved.
    #[serde(with = "numbers::named")]
    pub train: Vec<(String, f64)>,
    /// Validation metrics.
    #[serde(with = "numbers::named")]
    pub valid: Vec<(String, f64)>,
}

impl From<&History> for Curves {
    fn from(history: &History) -> Self {
        let by_step = |values: &[f64]| {
            let steps = (1..).map(f64::from as fn(u32) -> f64);
            steps.zip(values.iter().copied()).collect()
        };
        let row = |epoch: &crate::fit::EpochRecord| EpochRow {
            epoch: epoch.epoch,
            train: epoch.train.clone(),
            valid: epoch.validation.clone(),
        };
        Self {
            train_loss: by_step(&history.losses),
            learning_rate: by_step(&history.lrs),
            grad_norm: by_step(&history.grad_norms),
            epochs: history.epochs.iter().map(row).collect(),
        }
    }
}

/// What the run cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// Wall-clock seconds from start to report.
    pub total_secs: f64,
    /// Wall-clock seconds of each epoch.
    pub epoch_secs: Vec<f64>,
    /// Seconds of other parts (`data gate`, `evaluation`), in order.
    #[serde(with = "numbers::named")]
    pub part_secs: Vec<(String, f64)>,
    /// Training samples a second, validation excluded.
    pub samples_per_sec: Option<f64>,
    /// Largest resident memory of the process; see [`peak_memory_bytes`].
    pub peak_memory_bytes: Option<u64>,
}

impl Report {
    /// Name of the JSON file in a run folder.
    pub const JSON: &'static str = "report.json";
    /// Name of the page.
    pub const HTML: &'static str = "report.html";

    /// Writes both files into `dir`, each whole or not at all; gives the path of the page.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let page = html::page(self)?;
        write_atomic(&dir.join(Self::JSON), &json::skimmable(self)?)?;
        let path = dir.join(Self::HTML);
        write_atomic(&path, page.as_bytes())?;
        Ok(path)
    }

    /// Reads the `report.json` of a run folder.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(Self::JSON);
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let wrong = |e: serde_json::Error| {
            Error::input(
                path.display().to_string(),
                e.to_string(),
                "a report written by Panoply",
            )
        };
        serde_json::from_str(&text).map_err(wrong)
    }
}

/// Versions of what computed: Panoply, burn, the Rust toolchain, the platform.
pub fn versions() -> BTreeMap<String, String> {
    // rustup names the toolchain; without it the oldest one that would do is all that is known.
    let rust = option_env!("RUSTUP_TOOLCHAIN").map_or_else(
        || format!(">= {}", env!("CARGO_PKG_RUST_VERSION")),
        str::to_string,
    );
    let platform = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    [
        ("panoply", env!("CARGO_PKG_VERSION").to_string()),
        ("burn", BURN.to_string()),
        ("rust", rust),
        ("platform", platform),
    ]
    .map(|(name, version)| (name.to_string(), version))
    .into()
}

/// Largest resident memory of this process so far (`VmHWM`); `None` where there is no `/proc`.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests;
