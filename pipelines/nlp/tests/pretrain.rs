//! Masked-token pretraining: from nothing, then from what that made.

use panoply_core::{Predictor, RunContext, Task, TrainOutcome, TrainRequest};
use panoply_nlp::tasks::fill_mask::{FillMask, MaskFiller};
use std::{fs, path::Path};

fn request(out: &Path, sets: &[&str]) -> TrainRequest {
    TrainRequest {
        recipe: "debug".into(),
        sets: sets.iter().map(|s| (*s).into()).collect(),
        data: None,
        model: None,
        out: out.into(),
        resume: false,
        accept_data_issues: false,
    }
}

fn loss(outcome: &TrainOutcome) -> f64 {
    assert_eq!(outcome.metrics[0].0, "valid_loss");
    outcome.metrics[0].1
}

#[test]
fn a_model_is_made_and_trained_further() {
    let dir = tempfile::tempdir().unwrap();
    let context = RunContext::cpu();
    let first = request(&dir.path().join("first"), &["fit.epochs=2"]);
    let first = FillMask.train(&first, &context).unwrap();
    // Guessing among its 400 tokens alike costs ln 400.
    assert!(loss(&first) < 400f64.ln() - 0.3, "{}", loss(&first));
    let model = first.model.display().to_string();
    let filler = MaskFiller::open(&model, &context).unwrap();
    assert_eq!(filler.card().task, "fill-mask");
    let filled = &filler.predict(&["What is the [MASK]?".into()]).unwrap()[0];
    assert_eq!((filled.masks.len(), filled.masks[0].len()), (1, 5));

    // Going on from it begins where it ended.
    let mut further = request(&dir.path().join("further"), &["fit.epochs=2"]);
    further.model = Some(model.clone());
    let further = FillMask.train(&further, &context).unwrap();
    assert!(further.losses[0] < first.losses[0] - 0.3);
    assert!(loss(&further) < loss(&first));

    let short = [
        "fit.epochs=1",
        "data.steps_per_epoch=3",
        "fit.schedule.warmup_steps=1",
    ];
    // Data of one's own, and data that makes no block.
    let text = dir.path().join("text.txt");
    fs::write(
        &text,
        "To be, or not to be, that is the question.\n".repeat(100),
    )
    .unwrap();
    let mut own = request(&dir.path().join("own"), &short);
    own.data = Some(text.clone());
    assert_eq!(FillMask.train(&own, &context).unwrap().losses.len(), 3);
    fs::write(&text, "To be, or not.").unwrap();
    own.out = dir.path().join("short");
    let error = FillMask.train(&own, &context).unwrap_err();
    assert!(
        error.exit_code() == 2 && error.to_string().contains("tokens"),
        "{error}"
    );
    let never = request(&dir.path().join("never"), &["data.mask_probability=0"]);
    let error = FillMask.train(&never, &context).unwrap_err();
    assert!(error.to_string().contains("mask_probability"), "{error}");
}
