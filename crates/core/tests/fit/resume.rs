//! Going on gives the same bits as never having stopped.

use super::{Net, Pictures, Stack, accuracy, config, fault, floats, lock, train};
use burn::{module::Module, tensor::Device};
use panoply_core::{
    Error, Result, RunContext,
    fit::{BestMetric, EarlyStopping, FitConfig, Fitted, Mode, Run, fit},
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Three steps an epoch, of two batches each, the last one smaller; everything switched on.
fn everything() -> FitConfig {
    let metric = "accuracy".to_string();
    FitConfig {
        accumulation: 2,
        clip_norm: Some(1.0),
        ema_decay: Some(0.8),
        best_metric: Some(BestMetric {
            name: metric.clone(),
            mode: Mode::Max,
        }),
        early_stopping: Some(EarlyStopping {
            metric,
            mode: Mode::Max,
            patience: 5,
        }),
        ..config()
    }
}

const STEPS: usize = 6;

fn data() -> Pictures {
    Pictures::augmented(22)
}

/// Goes on in `dir` if `resume`; asks to stop after the next step if `stop`.
fn go_with(
    config: &FitConfig,
    dir: &Path,
    resume: bool,
    stop: bool,
    data: &Pictures,
) -> Result<Fitted<Net>> {
    let context = RunContext::cpu();
    if stop {
        context.interrupt.raise();
    }
    let run = Run {
        resume,
        ..Run::new(dir)
    };
    let mut validate = |model: &Net| Ok(vec![("accuracy".to_string(), accuracy(model, data))]);
    fit(
        Net::new(&Device::flex()),
        config,
        data,
        &Stack,
        &mut validate,
        &run,
        &context,
    )
}

fn go(dir: &Path, resume: bool, stop: bool, data: &Pictures) -> Result<Fitted<Net>> {
    go_with(&everything(), dir, resume, stop, data)
}

fn assert_same(a: &Fitted<Net>, b: &Fitted<Net>, what: &str) {
    assert_eq!(floats(&a.model), floats(&b.model), "{what}: weights");
    assert_eq!(a.history.losses, b.history.losses, "{what}: losses");
    assert_eq!(a.history.lrs, b.history.lrs, "{what}: learning rates");
    assert_eq!(
        a.history.grad_norms, b.history.grad_norms,
        "{what}: gradient norms"
    );
    let curves = |f: &Fitted<Net>| {
        let each = f.history.epochs.iter();
        each.map(|e| (e.train.clone(), e.validation.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(curves(a), curves(b), "{what}: epochs");
    assert_eq!(
        (a.best, a.stopped_early),
        (b.best, b.stopped_early),
        "{what}"
    );
}

fn straight() -> Fitted<Net> {
    let dir = tempfile::tempdir().expect("a folder");
    let fitted = go(dir.path(), false, false, &data()).expect("a whole run");
    assert_eq!(fitted.history.losses.len(), STEPS);
    fitted
}

fn is_interrupted<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Interrupted { resume }) if resume.contains("--resume"))
}

#[test]
fn stopping_after_every_step_changes_nothing() {
    let _rng = lock();
    let whole = straight();
    let dir = tempfile::tempdir().unwrap();
    for step in 0..STEPS {
        assert!(
            is_interrupted(go(dir.path(), step > 0, true, &data())),
            "step {step}"
        );
    }
    // The last stop came before the second validation.
    let resumed = go(dir.path(), true, true, &data()).unwrap();
    assert_same(&whole, &resumed, "stopped after every step");
    let again = go(dir.path(), true, false, &data()).unwrap();
    assert_same(&whole, &again, "asked again after the end");
}

#[test]
fn one_stop_anywhere_changes_nothing() {
    let _rng = lock();
    // Averaging looks at the running statistics after each step; without it nothing else does.
    let plain = FitConfig {
        ema_decay: None,
        accumulation: 1,
        clip_norm: None,
        ..everything()
    };
    for (config, steps) in [(everything(), STEPS), (plain, 12)] {
        let begin = |dir: &Path, resume, stop| go_with(&config, dir, resume, stop, &data());
        let dir = tempfile::tempdir().unwrap();
        let whole = begin(dir.path(), false, false).unwrap();
        assert_eq!(whole.history.losses.len(), steps);
        for cut in [1, 2, 3, 5, steps] {
            let dir = tempfile::tempdir().unwrap();
            for step in 0..cut {
                assert!(is_interrupted(begin(dir.path(), step > 0, true)));
            }
            let resumed = begin(dir.path(), true, false).unwrap();
            assert_same(&whole, &resumed, &format!("cut after step {cut}"));
        }
    }
}

#[test]
fn a_crash_falls_back_to_the_last_checkpoint_and_changes_nothing() {
    let _rng = lock();
    let whole = straight();
    let dir = tempfile::tempdir().unwrap();
    let data = data();
    let mut epoch = 0;
    let mut config = everything();
    config.checkpoint_every_steps = Some(2);
    let context = RunContext::cpu();
    let mut start = |run: &Run| {
        let mut validate = |model: &Net| {
            epoch += 1;
            let value = accuracy(model, &data);
            if epoch == 1 {
                data.break_with(fault::UNREADABLE);
            }
            Ok(vec![("accuracy".to_string(), value)])
        };
        let model = Net::new(&Device::flex());
        fit(model, &config, &data, &Stack, &mut validate, run, &context)
    };
    let crash = start(&Run::new(dir.path())).unwrap_err().to_string();
    assert!(
        crash.contains("train/5.jpg") && crash.contains("truncated"),
        "{crash}"
    );
    data.break_with(fault::NONE);
    let resumed = start(&Run {
        resume: true,
        ..Run::new(dir.path())
    })
    .unwrap();
    assert_same(&whole, &resumed, "after a crash");
}

#[test]
fn a_failed_validation_is_repeated_alone() {
    let _rng = lock();
    let whole = straight();
    let dir = tempfile::tempdir().unwrap();
    let data = data();
    let context = RunContext::cpu();
    let run = Run::new(dir.path());
    let mut fail = |_: &Net| Err(Error::input("val/1.jpg", "gone", "a file"));
    let model = Net::new(&Device::flex());
    let failed = fit(
        model,
        &everything(),
        &data,
        &Stack,
        &mut fail,
        &run,
        &context,
    );
    assert!(failed.unwrap_err().to_string().contains("val/1.jpg"));
    // With a broken sample no training step could run before the first validation.
    data.break_with(fault::UNREADABLE);
    let mut validated = 0;
    let run = Run {
        resume: true,
        ..run
    };
    let mut validate = |model: &Net| {
        validated += 1;
        data.break_with(fault::NONE);
        Ok(vec![("accuracy".to_string(), accuracy(model, &data))])
    };
    let model = Net::new(&Device::flex());
    let resumed = fit(
        model,
        &everything(),
        &data,
        &Stack,
        &mut validate,
        &run,
        &context,
    )
    .unwrap();
    assert_eq!(validated, 2);
    assert_same(&whole, &resumed, "after a failed validation");
}

/// A stopped run and what resuming it says with an edited configuration or recipe.
fn resume_error(dir: &Path, edit: impl FnOnce(&mut FitConfig, &mut Run, &mut Pictures)) -> String {
    let mut run = Run {
        resume: true,
        recipe: json!({"model": {"width": 4}}),
        ..Run::new(dir)
    };
    let (mut config, mut data) = (everything(), data());
    edit(&mut config, &mut run, &mut data);
    let context = RunContext::cpu();
    let mut none = |_: &Net| Ok(vec![("accuracy".to_string(), 0.5)]);
    let model = Net::new(&Device::flex());
    fit(model, &config, &data, &Stack, &mut none, &run, &context)
        .expect_err("refused")
        .to_string()
}

fn stopped() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let context = RunContext::cpu();
    context.interrupt.raise();
    let run = Run {
        recipe: json!({"model": {"width": 4}}),
        ..Run::new(dir.path())
    };
    let mut none = |_: &Net| Ok(Vec::new());
    let model = Net::new(&Device::flex());
    let fitted = fit(
        model,
        &everything(),
        &data(),
        &Stack,
        &mut none,
        &run,
        &context,
    );
    assert!(is_interrupted(fitted));
    let path = dir.path().to_path_buf();
    (dir, path)
}

#[test]
fn another_configuration_is_refused_by_name() {
    let _rng = lock();
    let (_guard, dir) = stopped();
    let text = resume_error(&dir, |config, _, _| config.optimizer.lr = 0.02);
    assert!(
        text.contains("'optimizer.lr' is now 0.02") && text.contains("0.01"),
        "{text}"
    );
    let text = resume_error(&dir, |config, _, _| config.ema_decay = None);
    assert!(text.contains("'ema_decay'"), "{text}");
    let text = resume_error(&dir, |_, run, _| {
        run.recipe = json!({"model": {"width": 8}});
    });
    assert!(
        text.contains("'model.width' is now 8") && text.contains('4'),
        "{text}"
    );
    let text = resume_error(&dir, |_, _, data| data.len = 23);
    assert!(
        text.contains("number of training samples is now 23"),
        "{text}"
    );
}

#[test]
fn a_folder_in_use_and_a_folder_without_checkpoint_are_refused() {
    let _rng = lock();
    let (_guard, dir) = stopped();
    let text = resume_error(&dir, |_, run, _| run.resume = false);
    assert!(
        text.contains("--resume") && text.contains("--out"),
        "{text}"
    );
    let empty = tempfile::tempdir().unwrap();
    let text = resume_error(empty.path(), |_, _, _| ());
    assert!(text.contains("no checkpoint"), "{text}");
}

#[test]
fn a_damaged_checkpoint_is_an_error_that_names_the_file() {
    let _rng = lock();
    for file in [
        "model.bpk",
        "ema.bpk",
        "optimizer.bpk",
        "state.json",
        "sha256.json",
    ] {
        let (_guard, dir) = stopped();
        let path = dir.join("checkpoint/last").join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let text = resume_error(&dir, |_, _, _| ());
        assert!(text.contains(file), "{file}: {text}");
        fs::remove_file(&path).unwrap();
        let text = resume_error(&dir, |_, _, _| ());
        assert!(text.contains(file), "{file}: {text}");
    }
}

#[test]
fn the_weights_of_another_model_are_refused() {
    let _rng = lock();
    let (_guard, dir) = stopped();
    let run = Run {
        resume: true,
        recipe: json!({"model": {"width": 4}}),
        ..Run::new(&dir)
    };
    let mut none = |_: &super::Mlp| Ok(Vec::new());
    let model = super::Mlp::new(&Device::flex());
    let context = RunContext::cpu();
    let other = fit(
        model,
        &everything(),
        &data(),
        &Stack,
        &mut none,
        &run,
        &context,
    );
    let text = other.unwrap_err().to_string();
    assert!(
        text.contains("model.bpk") && text.contains("head.weight"),
        "{text}"
    );
}

#[test]
fn one_seed_one_run() {
    let _rng = lock();
    let one = |seed| {
        let dir = tempfile::tempdir().unwrap();
        let config = FitConfig { seed, ..config() };
        let fitted = train(Net::new(&Device::flex()), &config, &data(), dir.path()).unwrap();
        (floats(&fitted.model), fitted.history.losses)
    };
    let first = one(1);
    assert_eq!(first, one(1));
    assert_ne!(first.1, one(2).1);
}

#[test]
fn the_device_and_mode_of_the_given_model_do_not_matter() {
    let _rng = lock();
    let one = |model: Net| {
        let dir = tempfile::tempdir().unwrap();
        let fitted = train(model, &config(), &data(), dir.path()).unwrap();
        (floats(&fitted.model), fitted.history.losses)
    };
    let model = Net::new(&Device::flex().autodiff());
    let first = one(model.valid());
    assert_eq!(first, one(model.clone()));
    assert_eq!(first, one(model));
    // Weights that were never looked at are drawn from the run's seed.
    let first = one(Net::new(&Device::flex()));
    assert_eq!(first, one(Net::new(&Device::flex().autodiff())));
}
