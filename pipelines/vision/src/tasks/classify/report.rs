//! The seven stages of a training run, as `report.json` and `report.html`.

use super::{classifier::to_vec, recipe::Recipe, samples::Supervised};
use crate::{models::ConvNet, preprocess::Preprocessing};
use panoply_core::{
    ModelCard, Result, RunContext, TrainRequest,
    fit::{Fitted, History},
    report::{
        ActivationRow, Curves, DataStage, GateSummary, LossStage, NetworkStage, OptimiserStage,
        Report, RunStage, SplitRow, StageShape, Timing, peak_memory_bytes, versions,
    },
};
use panoply_datasets::{
    ImageSet, Splits,
    gate::{GateReport, Level},
};
use serde_json::json;

/// Images whose way through the network is shown.
const OBSERVED: usize = 8;

/// What was trained, on what, and how it went.
pub(super) struct Trained<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) request: &'a TrainRequest,
    pub(super) data: &'a Splits,
    pub(super) found: &'a GateReport,
    pub(super) preprocessing: &'a Preprocessing,
    pub(super) fitted: &'a Fitted<Supervised>,
    pub(super) card: &'a ModelCard,
}

/// All stages; the caller adds the final metrics and the times that it alone knows.
pub(super) fn page(run: &Trained<'_>, context: &RunContext) -> Result<Report> {
    let training = Curves::from(&run.fitted.history);
    let formula = match run.recipe.label_smoothing {
        0.0 => "-log softmax(logits)[class], mean over the batch".to_string(),
        e => format!("cross entropy against (1 - {e}) one-hot + {e} uniform, mean over the batch"),
    };
    let (forward, activations) = observe(run, context)?;
    Ok(Report {
        run: run_stage(run, context),
        data: data_stage(run),
        network: NetworkStage::of(&run.card.arch, &run.fitted.model),
        forward,
        activations,
        loss: LossStage::of("cross-entropy", formula, &training),
        optimiser: OptimiserStage::of(&run.recipe.fit, &run.fitted.model)?,
        timing: timing(&run.fitted.history, run.data.train.len()),
        training,
        ..Report::default()
    })
}

fn run_stage(run: &Trained<'_>, context: &RunContext) -> RunStage {
    RunStage {
        pipeline: run.card.pipeline.clone(),
        task: run.card.task.clone(),
        recipe: run.request.recipe.clone(),
        config: json!(run.recipe),
        seed: run.recipe.fit.seed,
        command: std::env::args().collect(),
        device: format!("{:?}", context.device),
        versions: versions(),
    }
}

fn data_stage(run: &Trained<'_>) -> DataStage {
    let split = |name: &str, set: &ImageSet| SplitRow {
        name: name.into(),
        num_samples: set.len(),
        classes: set
            .classes()
            .iter()
            .cloned()
            .zip(set.class_counts().into_iter().map(|n| n as u64))
            .collect(),
    };
    let mut splits = vec![
        split("train", &run.data.train),
        split("valid", &run.data.valid),
    ];
    splits.extend(run.data.test.as_ref().map(|test| split("test", test)));
    DataStage {
        source: run.data.train.location().into(),
        sha256: run.card.data_sha256.clone().unwrap_or_default(),
        splits,
        gate: GateSummary {
            num_errors: run.found.at(Level::Error).count(),
            num_warnings: run.found.at(Level::Warning).count(),
            findings: run.found.findings.iter().map(ToString::to_string).collect(),
        },
    }
}

fn timing(history: &History, num_samples: usize) -> Timing {
    let seconds: Vec<f64> = history.epochs.iter().map(|epoch| epoch.seconds).collect();
    let total: f64 = seconds.iter().sum();
    Timing {
        samples_per_sec: (total > 0.0).then(|| (num_samples * seconds.len()) as f64 / total),
        epoch_secs: seconds,
        peak_memory_bytes: peak_memory_bytes(),
        ..Timing::default()
    }
}

/// Shapes and activation statistics of the first images, stage by stage.
fn observe(
    run: &Trained<'_>,
    context: &RunContext,
) -> Result<(Vec<StageShape>, Vec<ActivationRow>)> {
    let set = &run.data.train;
    let images = (0..set.len().min(OBSERVED))
        .map(|i| set.image(i))
        .collect::<Result<Vec<_>>>()?;
    let input = run.preprocessing.batch(&images, &context.device)?;
    let (mut shapes, mut rows) = (Vec::new(), Vec::new());
    let mut note = |stage: &str, shape: Vec<usize>, values: Vec<f32>| {
        shapes.push(StageShape {
            stage: stage.into(),
            shape,
        });
        rows.push(ActivationRow::of(stage, &values));
    };
    note("input", input.dims().to_vec(), to_vec(input.clone())?);
    let backbone = &run.fitted.model.backbone;
    let mut seen = Vec::new();
    let features = backbone.walk(input, &mut |stage, x| {
        seen.push((stage.to_string(), x.clone()));
    });
    for (stage, x) in seen {
        note(&stage, x.dims().to_vec(), to_vec(x)?);
    }
    let logits = backbone.head(features);
    note("logits", logits.dims().to_vec(), to_vec(logits)?);
    Ok((shapes, rows))
}
