//! A report of a small made-up run: what is written, read back, and shown.

use super::*;
use crate::fit::EpochRecord;
use crate::fit::FitConfig;
use serde_json::json;

const EVIL: &str = "<script>alert('x')</script> & \"y\"";

fn history() -> History {
    // serde_json reads some numbers one ULP off; multiples of 1/1024 it reads exactly.
    let loss = |step: u32| (2048.0 / f64::from(step)).round() / 1024.0;
    let epoch = |epoch: usize| EpochRecord {
        epoch,
        steps: 150 * epoch,
        train: vec![
            ("loss".into(), 1.0 / epoch as f64),
            ("accuracy".into(), 0.5),
        ],
        validation: vec![("loss".into(), 1.25), ("auroc".into(), f64::NAN)],
        seconds: 1.5,
    };
    History {
        losses: (1..=300).map(loss).collect(),
        lrs: vec![0.125; 300],
        grad_norms: vec![f64::INFINITY; 300],
        epochs: vec![epoch(1), epoch(2)],
    }
}

fn report() -> Report {
    let training = Curves::from(&history());
    let classes = vec![("cat".to_string(), 60), (EVIL.to_string(), 40)];
    let split = SplitRow {
        name: "train".into(),
        num_samples: 100,
        classes,
    };
    let layer = LayerRow {
        path: "head".into(),
        kind: "Linear".into(),
        shapes: vec!["weight [4, 2]".into()],
        num_params: 8,
        num_trainable: 8,
    };
    Report {
        run: RunStage {
            pipeline: "a".into(),
            task: EVIL.into(),
            recipe: "debug".into(),
            config: json!({ "name": EVIL }),
            seed: 7,
            command: vec!["panoply".into(), EVIL.into()],
            device: "flex".into(),
            versions: versions(),
        },
        data: DataStage {
            source: EVIL.into(),
            sha256: "00ff".into(),
            splits: vec![split],
            gate: GateSummary {
                num_errors: 1,
                num_warnings: 2,
                findings: vec![EVIL.into()],
            },
        },
        network: NetworkStage {
            arch: EVIL.into(),
            num_params: 1_234_567,
            num_trainable: 8,
            size_class: Some(SizeClass::Medium),
            layers: vec![layer; 30],
        },
        forward: vec![StageShape {
            stage: "logits".into(),
            shape: vec![8, 2],
        }],
        activations: vec![ActivationRow::of(
            EVIL,
            &[0.0, 1.0, f32::NAN, f32::INFINITY],
        )],
        loss: LossStage::of("cross-entropy", "L = -Σ y < log p", &training),
        optimiser: OptimiserStage {
            name: "adamw".into(),
            config: json!({ "lr": 0.001 }),
            schedule: json!({ "name": "cosine" }),
            groups: vec![GroupRow {
                name: EVIL.into(),
                num_tensors: 2,
                num_params: 8,
                weight_decay: 0.05,
                lr_factor: 1.0,
            }],
        },
        training,
        metrics: vec![("zeta".into(), 0.5), ("auroc".into(), f64::NAN)],
        timing: Timing {
            total_secs: 125.0,
            epoch_secs: vec![1.5, 1.5],
            part_secs: vec![(EVIL.into(), 0.5)],
            samples_per_sec: Some(80.0),
            peak_memory_bytes: Some(1 << 30),
        },
        figures: vec![crate::plot::bars(EVIL, &[(EVIL.into(), 1.0)]).unwrap()],
    }
}

#[test]
fn both_files_are_written_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("runs/a");
    let page = report().write(&run).unwrap();
    assert_eq!(page, run.join("report.html"));
    let mut names: Vec<_> = fs::read_dir(&run)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["report.html", "report.json"]);
}

#[test]
fn json_comes_back_as_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let report = report();
    report.write(dir.path()).unwrap();
    let text = fs::read_to_string(dir.path().join(Report::JSON)).unwrap();
    assert!(!text.contains("NaN") && !text.contains("inf"));
    let back = Report::read(dir.path()).unwrap();
    assert!(back.metrics[1].1.is_nan() && back.training.grad_norm[0].1.is_nan());
    assert_eq!(back.metrics[0], ("zeta".to_string(), 0.5));
    assert_eq!(
        back.training.epochs[1].train,
        report.training.epochs[1].train
    );
    assert_eq!((back.loss.first, back.activations[0].max), (2.0, 1.0));
    assert_eq!(
        (&back.run, &back.data, &back.timing),
        (&report.run, &report.data, &report.timing)
    );
    // NaN differs from itself, so the whole is compared as text.
    let again = tempfile::tempdir().unwrap();
    back.write(again.path()).unwrap();
    let text_again = fs::read_to_string(again.path().join(Report::JSON)).unwrap();
    assert!(text_again == text, "the second copy differs");
}

#[test]
fn only_timing_differs_between_runs_of_one_seed() {
    let (mut first, mut second) = (history(), history());
    first.epochs[0].seconds = 3.0;
    second.epochs[0].seconds = 4.0;
    let json = |history: &History, secs: f64| {
        let mut report = report();
        report.training = Curves::from(history);
        report.timing.total_secs = secs;
        serde_json::to_value(&report).unwrap()
    };
    let (mut a, mut b) = (json(&first, 1.0), json(&second, 2.0));
    assert_ne!(a, b);
    for value in [&mut a, &mut b] {
        assert!(value.as_object_mut().unwrap().remove("timing").is_some());
    }
    assert_eq!(a, b);
}

#[test]
fn the_page_is_escaped_whole_and_self_contained() {
    let page = html::page(&report()).unwrap();
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    for absent in [
        "<script",
        "src=",
        "href=",
        "url(",
        "@import",
        "NaN",
        "javascript",
    ] {
        assert!(!page.contains(absent), "{absent}");
    }
    // The name of the SVG format is the only address.
    assert_eq!(
        page.matches("http://").count(),
        page.matches("http://www.w3.org/2000/svg").count()
    );
    assert!(!page.contains("https://"));
    for tag in [
        "section", "table", "tr", "td", "details", "dl", "figure", "svg", "pre", "ul", "div",
    ] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn the_page_shows_seven_stages_and_the_cost() {
    let page = html::page(&report()).unwrap();
    for (number, name) in [
        (1, "Data"),
        (2, "Network"),
        (3, "Forward pass"),
        (4, "Activations"),
        (5, "Loss"),
        (6, "Optimiser"),
        (7, "Training and validation"),
    ] {
        assert!(
            page.contains(&format!("<h2><b>{number}</b>{name}</h2>")),
            "{name}"
        );
    }
    for text in [
        "1,234,567",
        "medium",
        "2 min 5 s",
        "1024 MiB",
        "1 error(s)",
        "30 layers",
        "Training loss",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let versions = [BURN, env!("CARGO_PKG_VERSION")];
    assert!(versions.iter().all(|version| page.contains(version)));
}

#[test]
fn an_empty_report_is_a_page_too() {
    let page = html::page(&Report::default()).unwrap();
    assert_eq!(page.matches("This run has none").count(), 5);
    let text = serde_json::to_string(&Report::default()).unwrap();
    assert_eq!(
        serde_json::from_str::<Report>(&text).unwrap().run,
        RunStage::default()
    );
    assert!(serde_json::from_str::<Report>("{}").is_ok());
}

#[test]
fn a_broken_report_names_its_file() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        Report::read(dir.path())
            .unwrap_err()
            .to_string()
            .contains("report.json")
    );
    fs::write(dir.path().join(Report::JSON), "{\"metrics\":").unwrap();
    let error = Report::read(dir.path()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("report.json"), "{error}");
}

#[test]
fn activation_statistics_by_hand() {
    let row = ActivationRow::of("a", &[0.0, 2.0, 4.0, f32::NAN]);
    assert_eq!(
        (row.mean, row.min, row.max, row.non_finite),
        (2.0, 0.0, 4.0, 1)
    );
    assert!((row.std - (8.0f64 / 3.0).sqrt()).abs() < 1e-12 && row.zeros == 0.25);
    assert!(ActivationRow::of("none", &[]).mean.is_nan());
}

#[test]
fn burn_is_the_version_of_the_manifest() {
    let manifest = include_str!("../../../../Cargo.toml");
    assert!(manifest.contains(&format!("burn = {{ version = \"={BURN}\"")));
}

#[test]
fn peak_memory_is_at_least_what_we_hold() {
    if cfg!(target_os = "linux") {
        let held = vec![1u8; 8 << 20];
        assert!(peak_memory_bytes().unwrap() > held.iter().map(|&b| u64::from(b)).sum());
    }
}

#[test]
fn the_optimiser_stage_counts_each_group_of_the_real_optimiser() {
    use burn::{module::Module, nn::LinearConfig, tensor::Device};
    let fit = FitConfig::default();
    let model = LinearConfig::new(5, 3).init(&Device::flex());
    let stage = OptimiserStage::of(&fit, &model).unwrap();
    let row = |name: &str, num_params, weight_decay| GroupRow {
        name: name.into(),
        num_tensors: 1,
        num_params,
        weight_decay,
        lr_factor: 1.0,
    };
    let decayed = row("weights", 15, fit.optimizer.weight_decay);
    assert_eq!(stage.name, "adamw");
    assert_eq!(stage.groups, [decayed, row("biases and norms", 3, 0.0)]);
    let stage = OptimiserStage::of(&fit, &model.no_grad()).unwrap();
    assert!(stage.groups.is_empty());
}
