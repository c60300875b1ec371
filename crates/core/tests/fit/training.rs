//! What one run does: learning, accumulation, audit, stopping, freezing, LoRA.

use super::{
    Batch, CLASSES, Mlp, Net, Pictures, SIDE, Stack, accuracy, config, distance, fault, floats,
    lock, step_output, train,
};
use burn::{
    module::{Lora, Module, Param, ParamGroup},
    nn::{Linear, LinearConfig},
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use panoply_core::{
    Error, Result, RunContext,
    fit::{
        BestMetric, EarlyStopping, FitConfig, Fitted, Loader, Mode, OptimizerName, Run, Schedule,
        ScheduleName, StepOutput, Trainable, fit,
    },
};
use std::path::Path;

type Floats = Vec<(String, Vec<f32>)>;

fn initialised(model: Mlp) -> Mlp {
    model.valid()
}

#[test]
fn it_learns_and_writes_its_curves() {
    let _rng = lock();
    let dir = tempfile::tempdir().unwrap();
    let data = Pictures::augmented(60);
    let config = FitConfig {
        epochs: 8,
        batch_size: 10,
        clip_norm: Some(5.0),
        ..config()
    };
    let mut validate = |model: &Net| {
        assert!(!model.conv.weight.val().is_autodiff() && !model.dropout.training.is_enabled());
        Ok(vec![("accuracy".to_string(), accuracy(model, &data))])
    };
    let (run, context) = (Run::new(dir.path()), RunContext::cpu());
    let model = Net::new(&Device::flex());
    let fitted = fit(model, &config, &data, &Stack, &mut validate, &run, &context).unwrap();
    let history = &fitted.history;
    assert!(
        accuracy(&fitted.model, &data) > 0.95,
        "{:?}",
        history.epochs
    );
    assert_eq!((history.losses.len(), history.epochs.len()), (48, 8));
    let schedule = Schedule::new(&config, 6).unwrap();
    let lrs: Vec<f64> = (0..48).map(|t| schedule.lr(t)).collect();
    assert_eq!(history.lrs, lrs);
    assert!(history.grad_norms.iter().all(|norm| *norm > 0.0));
    let first = &history.epochs[0];
    let names: Vec<&str> = first.train.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        (first.epoch, first.steps, names),
        (1, 6, vec!["loss", "accuracy"])
    );
    let mean = history.losses[..6].iter().sum::<f64>() / 6.0;
    assert!((first.train[0].1 - mean).abs() < 1e-12);
    assert!(history.epochs[7].train[0].1 < first.train[0].1);
    assert!(dir.path().join("checkpoint/last/model.bpk").is_file());
}

/// One run of `model` with SGD, where the size of each step is that of the gradient.
fn sgd_run(model: Mlp, batch_size: usize, accumulation: usize) -> (Mlp, Vec<f64>) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = FitConfig {
        batch_size,
        accumulation,
        ..config()
    };
    config.optimizer.name = OptimizerName::Sgd;
    config.optimizer.lr = 0.1;
    config.schedule.name = ScheduleName::Constant;
    let fitted = train(model, &config, &Pictures::new(22), dir.path()).expect("a whole run");
    (fitted.model, fitted.history.losses)
}

#[test]
fn accumulation_equals_the_big_batch() {
    let _rng = lock();
    let model = initialised(Mlp::new(&Device::flex()));
    // 22 samples: the parts of a step differ in size (3, 3, 3, ..., then 3 and 1).
    for (big, small, parts) in [(8, 2, 4), (9, 3, 3)] {
        let (a, a_losses) = sgd_run(model.clone(), big, 1);
        let (b, b_losses) = sgd_run(model.clone(), small, parts);
        assert_eq!(a_losses.len(), b_losses.len());
        for (x, y) in a_losses.iter().zip(&b_losses) {
            assert!((x - y).abs() < 1e-6, "{a_losses:?} != {b_losses:?}");
        }
        let distance = distance(&a, &b);
        assert!(
            distance < 1e-6 && super::distance(&a, &model) > 0.01,
            "{distance}"
        );
    }
}

#[test]
fn the_audit_changes_nothing_and_the_callers_model_neither() {
    let _rng = lock();
    let device = Device::flex();
    let data = Pictures::new(8);
    let mut model = Net::new(&device);
    model.dropout.prob = 0.0;
    let model = model.valid();
    let before = floats(&model);
    let mut config = FitConfig {
        epochs: 1,
        batch_size: 8,
        ..config()
    };
    config.schedule.name = ScheduleName::Constant;
    let dir = tempfile::tempdir().unwrap();
    let fitted = train(model.clone(), &config, &data, dir.path()).unwrap();
    assert_eq!(floats(&model), before);
    // The one step by hand, on the same batch.
    let autodiff = device.autodiff();
    let mut by_hand = model.valid().train();
    let batch = Loader::shuffled(&data, &Stack, 8, config.seed)
        .batch(0, 0, &autodiff)
        .unwrap();
    let output = by_hand.loss(batch);
    let loss = output.loss.clone().into_scalar::<f32>();
    let grads = GradientsParams::from_grads(output.loss.backward(), &by_hand);
    let mut optimizer = panoply_core::fit::optimizer(&config.optimizer).unwrap();
    by_hand = optimizer.step(config.optimizer.lr, by_hand, grads);
    assert_eq!(fitted.history.losses, [f64::from(loss)]);
    assert_eq!(floats(&fitted.model), floats(&by_hand.valid()));
    assert_ne!(floats(&fitted.model), before);
}

/// `alive` is trained; `unused` has no part in the loss, `cut` is behind a detach.
#[derive(Module, Debug)]
struct Faulty {
    alive: Linear,
    unused: Linear,
    cut: Param<Tensor<1>>,
}

impl Trainable for Faulty {
    type Batch = Batch;
    fn loss(&self, batch: Batch) -> StepOutput {
        let logits = self.alive.forward(batch.pixels.flatten::<2>(1, 3));
        let shift = self.cut.val().detach().unsqueeze::<2>();
        step_output(logits + shift, batch.classes)
    }
}

fn faulty() -> Faulty {
    let device = Device::flex();
    Faulty {
        alive: LinearConfig::new(SIDE * SIDE, CLASSES).init(&device),
        unused: LinearConfig::new(2, 2).init(&device),
        cut: Param::from_tensor(Tensor::ones([CLASSES], &device)),
    }
}

#[test]
fn the_audit_names_every_parameter_without_gradient_and_skips_frozen_ones() {
    let _rng = lock();
    let dir = tempfile::tempdir().unwrap();
    let data = Pictures::new(8);
    let text = train(faulty(), &config(), &data, dir.path())
        .unwrap_err()
        .to_string();
    for part in [
        "gradient audit: 3 of 5",
        "unused.weight",
        "unused.bias",
        "cut (no gradient)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        !text.contains("alive") && !dir.path().join("checkpoint").exists(),
        "{text}"
    );
    let group = ParamGroup::from_any_predicates(vec!["unused", "cut"]);
    let frozen = faulty().freeze_group(group);
    train(frozen, &config(), &data, dir.path()).unwrap();
    let text = train(faulty().freeze(), &config(), &data, Path::new("never")).unwrap_err();
    assert!(
        text.to_string().contains("no trainable parameter"),
        "{text}"
    );
}

/// `x + gamma * branch(x)` with gamma 0: the branch has rightly no gradient before the first step.
#[derive(Module, Debug)]
struct ZeroInit {
    branch: Linear,
    gamma: Param<Tensor<1>>,
    head: Linear,
}

impl Trainable for ZeroInit {
    type Batch = Batch;
    fn loss(&self, batch: Batch) -> StepOutput {
        let x = batch.pixels.flatten::<2>(1, 3);
        let branch = self.branch.forward(x.clone()) * self.gamma.val().unsqueeze::<2>();
        step_output(self.head.forward(x + branch), batch.classes)
    }
}

#[test]
fn a_residual_branch_that_starts_at_zero_passes_the_audit() {
    let _rng = lock();
    let device = Device::flex();
    let model = ZeroInit {
        branch: LinearConfig::new(SIDE * SIDE, SIDE * SIDE).init(&device),
        gamma: Param::from_tensor(Tensor::zeros([SIDE * SIDE], &device)),
        head: LinearConfig::new(SIDE * SIDE, CLASSES).init(&device),
    };
    let dir = tempfile::tempdir().unwrap();
    train(model, &config(), &Pictures::new(8), dir.path()).unwrap();
}

/// The square root has an infinite slope at 0.
#[derive(Module, Debug)]
struct Root {
    weight: Param<Tensor<1>>,
}

impl Trainable for Root {
    type Batch = Batch;
    fn loss(&self, batch: Batch) -> StepOutput {
        let num_samples = batch.classes.dims()[0];
        let mean = batch.pixels.flatten::<2>(1, 3).abs().mean_dim(1);
        let loss = (mean * self.weight.val().unsqueeze::<2>()).sqrt().mean();
        StepOutput {
            loss,
            num_samples,
            metrics: Vec::new(),
        }
    }
}

fn root() -> Root {
    Root {
        weight: Param::from_tensor(Tensor::ones([1], &Device::flex())),
    }
}

#[test]
fn a_loss_or_gradient_that_is_not_finite_stops_with_the_last_good_checkpoint() {
    let _rng = lock();
    for (what, expected) in [
        (fault::NAN, "the loss is NaN"),
        (fault::ZERO, "gradient norm is"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let data = Pictures::new(8);
        let mut validate = |_: &Root| {
            data.break_with(what);
            Ok(Vec::new())
        };
        let (run, context) = (Run::new(dir.path()), RunContext::cpu());
        let fitted = fit(
            root(),
            &config(),
            &data,
            &Stack,
            &mut validate,
            &run,
            &context,
        );
        let Err(Error::Training {
            step,
            what,
            checkpoint,
        }) = fitted
        else {
            panic!("{fitted:?}")
        };
        assert!(
            (3..=4).contains(&step) && what.contains(expected),
            "{step}: {what}"
        );
        assert_eq!(checkpoint, Some(dir.path().join("checkpoint/last")));
    }
    // At the very start there is nothing to go back to, and the audit speaks.
    for (what, expected) in [
        (fault::NAN, "the loss of the first batch"),
        (fault::ZERO, "weight"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let data = Pictures::new(6);
        data.break_with(what);
        let config = FitConfig {
            batch_size: 6,
            ..config()
        };
        let text = train(root(), &config, &data, dir.path())
            .unwrap_err()
            .to_string();
        assert!(text.contains(expected) && text.contains("none"), "{text}");
    }
}

/// Runs with scripted validation values; the weights that each validation saw.
fn scripted(config: &FitConfig, values: &[f64], dir: &Path) -> Result<(Fitted<Mlp>, Vec<Floats>)> {
    let mut seen = Vec::new();
    let mut validate = |model: &Mlp| {
        seen.push(floats(model));
        Ok(vec![("auc".to_string(), values[seen.len() - 1])])
    };
    let (run, context, data) = (Run::new(dir), RunContext::cpu(), Pictures::new(8));
    let model = Mlp::new(&Device::flex());
    let fitted = fit(model, config, &data, &Stack, &mut validate, &run, &context)?;
    Ok((fitted, seen))
}

#[test]
fn early_stopping_and_the_best_weights() {
    let _rng = lock();
    let early = EarlyStopping {
        metric: "auc".into(),
        mode: Mode::Max,
        patience: 2,
    };
    let best = BestMetric {
        name: "auc".into(),
        mode: Mode::Max,
    };
    let config = FitConfig {
        epochs: 9,
        early_stopping: Some(early),
        best_metric: Some(best),
        ..config()
    };
    let values = [0.1, 0.5, f64::NAN, 0.5];
    let dir = tempfile::tempdir().unwrap();
    let (fitted, seen) = scripted(&config, &values, dir.path()).unwrap();
    assert!(fitted.stopped_early && seen.len() == 4);
    assert_eq!(fitted.best, Some((2, 0.5)));
    assert_eq!(floats(&fitted.model), seen[1]);
    assert!(!fitted.model.head.weight.val().is_autodiff());

    let min = BestMetric {
        name: "auc".into(),
        mode: Mode::Min,
    };
    let config = FitConfig {
        epochs: 3,
        early_stopping: None,
        best_metric: Some(min),
        ..config
    };
    let dir = tempfile::tempdir().unwrap();
    let (fitted, seen) = scripted(&config, &[0.3, 0.2, 0.4], dir.path()).unwrap();
    assert_eq!((fitted.best, fitted.stopped_early), (Some((2, 0.2)), false));
    assert_eq!(floats(&fitted.model), seen[1]);

    let config = FitConfig {
        best_metric: None,
        ..config
    };
    let dir = tempfile::tempdir().unwrap();
    let (fitted, seen) = scripted(&config, &[0.3, 0.2, 0.4], dir.path()).unwrap();
    assert_eq!(
        (fitted.best, floats(&fitted.model)),
        (None, seen[2].clone())
    );
}

#[test]
fn an_unknown_metric_lists_the_known_ones() {
    let _rng = lock();
    let best = BestMetric {
        name: "acc".into(),
        mode: Mode::Max,
    };
    let config = FitConfig {
        best_metric: Some(best),
        ..config()
    };
    let dir = tempfile::tempdir().unwrap();
    let text = scripted(&config, &[0.1], dir.path())
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("unknown validation metric 'acc'") && text.contains("auc"),
        "{text}"
    );
}

#[test]
fn averaged_weights_lag_behind() {
    let _rng = lock();
    let model = initialised(Mlp::new(&Device::flex()));
    let run = |ema_decay| {
        let dir = tempfile::tempdir().unwrap();
        let config = FitConfig {
            ema_decay,
            ..config()
        };
        train(model.clone(), &config, &Pictures::new(22), dir.path()).unwrap()
    };
    let (raw, averaged) = (run(None), run(Some(0.9)));
    assert_eq!(raw.history.losses, averaged.history.losses);
    let moved = distance(&raw.model, &model);
    let lagging = distance(&averaged.model, &model);
    assert!(
        lagging > 0.0 && lagging < 0.8 * moved,
        "{lagging} of {moved}"
    );
}

#[test]
fn a_frozen_group_does_not_move() {
    let _rng = lock();
    let model = Mlp::new(&Device::flex()).freeze_group(ParamGroup::from_predicate("body"));
    let model = initialised(model);
    let dir = tempfile::tempdir().unwrap();
    let fitted = train(model.clone(), &config(), &Pictures::new(22), dir.path()).unwrap();
    for ((path, before), (_, after)) in floats(&model).iter().zip(&floats(&fitted.model)) {
        assert_eq!(before == after, path.starts_with("body"), "{path}");
    }
}

#[test]
fn lora_trains_adapters_alone_and_merges() {
    let _rng = lock();
    let device = Device::flex();
    let lora = Lora::new(2, 4.0).set_param_group(ParamGroup::from_any_predicates(vec!["weight"]));
    let model = initialised(Mlp::new(&device)).apply_lora(lora);
    let dir = tempfile::tempdir().unwrap();
    let data = Pictures::new(22);
    let fitted = train(model.clone(), &config(), &data, dir.path()).unwrap();
    let (before, after) = (floats(&model.valid()), floats(&fitted.model));
    assert_eq!(before.len(), 8);
    for ((path, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before != after, path.contains("lora"), "{path}");
    }
    let batch = Loader::ordered(&data, &Stack, 22)
        .batch(0, 0, &device)
        .unwrap();
    let merged = fitted.model.clone().materialize();
    assert_eq!(floats(&merged).len(), 4);
    let logits = |model: &Mlp| model.forward(batch.pixels.clone());
    let difference = (logits(&merged) - logits(&fitted.model))
        .abs()
        .max()
        .into_scalar::<f32>();
    let moved = (logits(&merged) - logits(&model.valid()))
        .abs()
        .max()
        .into_scalar::<f32>();
    assert!(difference < 1e-5 && moved > 1e-3, "{difference} {moved}");
}

#[test]
fn data_without_a_batch_and_bad_settings_are_input_errors() {
    let dir = tempfile::tempdir().unwrap();
    let model = || Mlp::new(&Device::flex());
    let text = |config: &FitConfig, data| {
        let error = train(model(), config, &data, dir.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    assert!(text(&config(), Pictures::new(0)).contains("0 samples"));
    let drop_last = FitConfig {
        drop_last: true,
        ..config()
    };
    assert!(text(&drop_last, Pictures::new(3)).contains("drop_last"));
    let bad = FitConfig {
        epochs: 0,
        ..config()
    };
    assert!(text(&bad, Pictures::new(3)).contains("epochs"));
}
