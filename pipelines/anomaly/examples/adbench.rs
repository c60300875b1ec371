//! AUROC and average precision on sets of ADBench, to be compared with PyOD's by `tests/adbench.py`.
//!
//! ```sh
//! cargo run --release -p panoply-anomaly --example adbench -- DIR [SET ...]          # classical detectors
//! cargo run --release -p panoply-anomaly --example adbench -- --deep DIR [SET ...]   # networks
//! ```
//!
//! Every detector is fitted to all rows, min-max scaled, without labels; the scores are those of the same rows. A line holds
//! set, detector, AUROC, average precision, their standard deviations over seeds, seconds a fit.

#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use panoply_anomaly::{
    models::{
        NormalOnly,
        pca::{PcaConfig, PcaScore},
    },
    tasks::table::{DetectorConfig, DetectorName, Scorer, Table},
};
use panoply_core::{Error, Result, RunContext, Task, TrainRequest};
use panoply_datasets::frame::{EncodeConfig, Encoder, Frame, TableOptions};
use panoply_metrics::{average_precision, roc_auc};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Seeds of the isolation forest and of networks.
const SEEDS: u64 = 20;
const DEEP_SEEDS: u64 = 3;

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let deep = args.iter().any(|arg| arg == "--deep");
    args.retain(|arg| arg != "--deep");
    let Some((folder, only)) = args.split_first() else {
        return Err(Error::input("arguments", "none", "a folder of .npz files"));
    };
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "npz"));
    files.sort();
    for file in files {
        let stem = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = stem
            .split_once('_')
            .map_or(stem.as_str(), |(_, name)| name)
            .to_string();
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        if deep {
            networks(&name, &file)?;
        } else {
            classical(&name, &file)?;
        }
    }
    Ok(())
}

fn classical(name: &str, file: &Path) -> Result<()> {
    let frame = Frame::open(file, &TableOptions::default(), None)?;
    let labels = frame.is_anomaly().unwrap_or_default();
    let rows = Encoder::fit(&frame, &EncodeConfig::default())?.encode(&frame)?;
    let rows = NormalOnly::unlabelled(rows)?;
    let weighted = PcaConfig {
        score: PcaScore::Weighted,
        ..PcaConfig::default()
    };
    for (word, detector, pca) in [
        ("iforest", DetectorName::Iforest, PcaConfig::default()),
        ("lof", DetectorName::Lof, PcaConfig::default()),
        ("knn", DetectorName::Knn, PcaConfig::default()),
        ("ecod", DetectorName::Ecod, PcaConfig::default()),
        ("hbos", DetectorName::Hbos, PcaConfig::default()),
        ("pca", DetectorName::Pca, weighted),
        ("mahalanobis", DetectorName::Pca, PcaConfig::default()),
    ] {
        let config = DetectorConfig {
            name: detector,
            pca,
            ..DetectorConfig::default()
        };
        let seeds = if detector == DetectorName::Iforest {
            SEEDS
        } else {
            1
        };
        let mut found = Vec::new();
        let started = Instant::now();
        for seed in 0..seeds {
            found.push(worth(&labels, &config.fit(&rows, seed)?.scores)?);
        }
        line(
            name,
            word,
            &found,
            started.elapsed().as_secs_f64() / seeds as f64,
        );
    }
    Ok(())
}

/// Trains by the recipes, on all rows; the training's own evaluation is of a held-out part, so the model is asked again.
fn networks(name: &str, file: &Path) -> Result<()> {
    let context = RunContext::cpu();
    let frame = Frame::open(file, &TableOptions::default(), None)?;
    let labels = frame.is_anomaly().unwrap_or_default();
    for recipe in ["auto-encoder", "vae", "deep-svdd"] {
        let mut found = Vec::new();
        let started = Instant::now();
        for seed in 0..DEEP_SEEDS {
            let out = std::env::temp_dir().join(format!("panoply-adbench-{}", std::process::id()));
            let request = TrainRequest {
                recipe: recipe.into(),
                sets: vec![
                    "data.fit_on=all".into(),
                    "data.test=0".into(),
                    // Networks are fitted to what is not held out; this is as little as there can be.
                    "data.validation=0.01".into(),
                    format!("fit.seed={seed}"),
                ],
                data: Some(file.into()),
                model: None,
                out: out.clone(),
                resume: false,
                accept_data_issues: true,
            };
            let outcome = Table.train(&request, &context)?;
            let model = outcome.model.display().to_string();
            let scorer = Scorer::open(&model, &context)?;
            found.push(worth(&labels, &scorer.score_frame(&frame)?)?);
            std::fs::remove_dir_all(&out).map_err(|e| Error::io("remove", &out, e))?;
        }
        line(
            name,
            recipe,
            &found,
            started.elapsed().as_secs_f64() / DEEP_SEEDS as f64,
        );
    }
    Ok(())
}

fn worth(labels: &[bool], scores: &[f64]) -> Result<[f64; 2]> {
    let internal = |e: panoply_metrics::MetricError| Error::Internal {
        context: "scoring".into(),
        message: e.to_string(),
    };
    let auroc = roc_auc(labels, scores).map_err(internal)?;
    Ok([auroc, average_precision(labels, scores).map_err(internal)?])
}

fn line(name: &str, detector: &str, found: &[[f64; 2]], secs: f64) {
    let n = found.len() as f64;
    let mean = |at: usize| found.iter().map(|f| f[at]).sum::<f64>() / n;
    let deviation = |at: usize| {
        let squares = found
            .iter()
            .map(|f| (f[at] - mean(at)).powi(2))
            .sum::<f64>();
        (squares / n).sqrt()
    };
    println!(
        "{name}\t{detector}\t{:.6}\t{:.6}\t{:.6}\t{:.6}\t{secs:.3}",
        mean(0),
        mean(1),
        deviation(0),
        deviation(1)
    );
}
