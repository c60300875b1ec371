//! Series: parity of the detectors, rows that come one by one, files, the Numenta benchmark's layout.

#![expect(
    clippy::unwrap_used,
    reason = "a panic in a helper fails its test, as it should"
)]

use burn::tensor::{Device, Tensor};
use panoply_anomaly::{
    models::{
        forecaster::{Forecaster, ForecasterConfig},
        network::Network,
        spectral_residual::{SpectralResidual, SpectralResidualConfig},
    },
    tasks::series::{Series, SeriesDetector},
};
use panoply_core::{
    Error, Input, Payload, PredictOptions, RunContext, Session, Task, TrainOutcome, TrainRequest,
    seed, weights,
};
use panoply_datasets::{bundled, series::format_stamp};
use panoply_testkit::{ContractOptions, Golden, check_task};
use serde_json::{Value, json};
use std::{fmt::Write, path::Path};

const BUNDLED: &str = "spectral-residual-ec2";

fn input(name: &str, row: Value) -> Input {
    Input {
        name: name.into(),
        payload: Payload::Row(row),
    }
}

fn answer(session: &mut dyn Session, row: Value) -> Result<Value, Error> {
    let mut answers = session.predict(&[input("row", row)], &PredictOptions::default());
    answers.pop().unwrap().map(|output| output.json)
}

#[test]
fn spectral_residual_equals_alibi_detect() {
    let cases: Value =
        serde_json::from_str(include_str!("fixtures/series/spectral_residual.json")).unwrap();
    let floats = |value: &Value| -> Vec<f64> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect()
    };
    for case in cases.as_array().unwrap() {
        let config: SpectralResidualConfig =
            serde_json::from_value(case["config"].clone()).unwrap();
        let mut model = SpectralResidual::new(config).unwrap();
        let ours = model.score(&floats(&case["values"])).unwrap();
        let reference = floats(&case["scores"]);
        assert_eq!(ours.len(), reference.len());
        for (at, (ours, reference)) in ours.iter().zip(&reference).enumerate() {
            // The score divides by a mean that can be small: relative where it is large.
            let gap = (ours - reference).abs() / reference.abs().max(1.0);
            assert!(
                gap < 1e-6,
                "{} [{at}]: {ours}, reference {reference}",
                case["name"]
            );
        }
    }
}

#[test]
fn the_forecaster_equals_its_torch_twin() {
    let device = Device::flex();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forecaster");
    let config = ForecasterConfig {
        window: 5,
        hidden_size: 6,
        num_layers: 2,
    };
    let mut network = config.init(2, &device).unwrap();
    let file = folder.join("weights.safetensors");
    weights::load(&mut network, &file, &Forecaster::KEY_MAP).unwrap();
    let mut golden = Golden::open(&folder.join("outputs.safetensors")).unwrap();
    let x: Tensor<2> = golden.tensor("x", &device).unwrap();
    let mut seen = Vec::new();
    let errors = network.errors(x, &mut |_, value| seen.push(value.clone()));
    golden.check("hidden", &seen[0], 1e-5);
    golden.check("forecast", &seen[1], 1e-5);
    golden.check("errors", &errors, 1e-5);
    golden.finish();
}

#[test]
fn a_forecaster_keeps_the_contract() {
    let detector = r#"detector={"name":"forecast-residual","window":12,"hidden_size":8}"#;
    let options = ContractOptions {
        sets: vec![detector.into(), "fit.epochs=2".into()],
        ..ContractOptions::default()
    };
    check_task(&Series, &options).finish();
}

#[test]
fn rows_one_by_one_are_scored_as_the_series_is() {
    let context = RunContext::cpu();
    let detector = SeriesDetector::open(BUNDLED, &context).unwrap();
    let series = bundled::nab_slice().unwrap().slice(3000..3700);
    let whole = detector.score(&series).unwrap();
    let mut session = Series.open(BUNDLED, &context).unwrap();
    assert!(session.is_sequential());
    for (at, expected) in whole.iter().enumerate() {
        let stamp = format_stamp(series.stamps()[at]);
        let row = json!({ "timestamp": stamp, "value": series.row(at)[0], "other": "ignored" });
        let found = answer(session.as_mut(), row).unwrap();
        let expected = expected.as_ref().unwrap().score;
        assert_eq!(found["score"].as_f64().unwrap(), expected, "row {at}");
        assert_eq!(
            found["is_anomaly"],
            json!(expected > detector.calibration.threshold)
        );
        assert_eq!(found["contributions"]["value"].as_f64().unwrap(), expected);
        let p_value = found["p_value"].as_f64().unwrap();
        assert!(p_value > 0.0 && p_value <= 1.0);
    }
}

#[test]
fn wrong_rows_are_named_and_leave_the_stream_as_it_was() {
    let mut session = Series.open(BUNDLED, &RunContext::cpu()).unwrap();
    let mut twin = Series.open(BUNDLED, &RunContext::cpu()).unwrap();
    for at in 0..80 {
        let row = json!({ "timestamp": at * 300, "value": (f64::from(at) * 0.7).sin() });
        let wrong = [
            json!({ "timestamp": at * 300 - 300, "value": 1.0 }),
            json!({ "timestamp": "soon", "value": 1.0 }),
            json!({ "timestamp": at * 300, "value": "high" }),
            json!({ "timestamp": at * 300 }),
            json!({ "value": 1.0 }),
            json!({ "timestamp": at * 300, "value": 1e200 }),
        ];
        if at > 0 {
            for row in wrong {
                let error = answer(session.as_mut(), row.clone()).unwrap_err();
                assert!(matches!(error, Error::Input { .. }), "{row}: {error}");
                assert!(error.to_string().contains("row"), "{error}");
            }
        }
        assert_eq!(
            answer(session.as_mut(), row.clone()).unwrap(),
            answer(twin.as_mut(), row).unwrap()
        );
    }
    let missing = answer(
        session.as_mut(),
        json!({ "timestamp": 80 * 300, "value": null }),
    )
    .unwrap();
    assert_eq!(
        (&missing["score"], &missing["is_anomaly"]),
        (&Value::Null, &json!(false))
    );
    // What came before is forgotten.
    let next = answer(
        session.as_mut(),
        json!({ "timestamp": 81 * 300, "value": 50.0 }),
    )
    .unwrap();
    assert_eq!(next["score"], json!(0.0));
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    let mut session = Series.open(BUNDLED, &RunContext::cpu()).unwrap();
    for row in [
        json!({ "timestamp": [], "value": [] }),
        json!({ "timestamp": [0, 60], "value": [1.0] }),
        json!({ "timestamp": [60, 0], "value": [1.0, 2.0] }),
        json!({ "timestamp": [0, 60], "value": 1.0 }),
        json!({ "timestamp": [0, "x"], "value": [1.0, 2.0] }),
    ] {
        assert!(answer(session.as_mut(), row.clone()).is_err(), "{row}");
    }
    let short = answer(
        session.as_mut(),
        json!({ "timestamp": [0, 60], "value": [1.0, null] }),
    )
    .unwrap();
    assert_eq!(short["score"], json!([0.0, null]));
}

fn train(folder: &Path, recipe: &str, data: &Path, sets: &[&str]) -> Result<TrainOutcome, Error> {
    let request = TrainRequest {
        recipe: recipe.into(),
        sets: sets.iter().map(ToString::to_string).collect(),
        data: Some(data.into()),
        model: None,
        out: folder.join("run"),
        resume: false,
        accept_data_issues: false,
    };
    Series.train(&request, &RunContext::cpu())
}

/// Noise between -1 and 1 on a wave, with a labelled spike of three rows.
fn wave(rows: usize, spike: usize) -> String {
    let mut text = String::from("timestamp,value,is_anomaly\n");
    for at in 0..rows {
        let is_spike = (spike..spike + 3).contains(&at);
        let noise = (seed::derive(&[at as u64]) >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        let value = (at as f64 * 0.3).sin() + noise + f64::from(u8::from(is_spike)) * 12.0;
        writeln!(text, "{},{value:.4},{}", at * 60, u8::from(is_spike)).unwrap();
    }
    text
}

#[test]
fn a_file_is_fitted_scored_and_scored_again_from_its_predictions() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wave.csv");
    std::fs::write(&file, wave(600, 500)).unwrap();
    let outcome = train(dir.path(), "base", &file, &["data.holdout=0.4"]).unwrap();
    let metric = |name: &str| outcome.metrics.iter().find(|(n, _)| n == name).unwrap().1;
    assert!(metric("valid_auroc") > 0.9, "{:?}", outcome.metrics);
    // Point-wise first; the point-adjusted one last, under its name.
    let names: Vec<_> = outcome
        .metrics
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        (names[0], names[7]),
        ("valid_auroc", "valid_point_adjusted_f1")
    );

    let model = outcome.model.display().to_string();
    let context = RunContext::cpu();
    let direct = Series.eval(&model, &file, 1, &context).unwrap();
    let detector = SeriesDetector::open(&model, &context).unwrap();
    let series = panoply_datasets::open_series_for_eval(&file, &detector.options).unwrap();
    let mut lines = String::new();
    for found in detector.score(&series).unwrap() {
        let score = found.unwrap().score;
        let output =
            json!({ "score": score, "is_anomaly": detector.calibration.is_anomaly(score) });
        writeln!(lines, "{}", json!({ "input": "row", "output": output })).unwrap();
    }
    let predictions = dir.path().join("predictions.jsonl");
    std::fs::write(&predictions, &lines).unwrap();
    let again = Series
        .score_predictions(&predictions, &file, &context)
        .unwrap();
    assert_eq!(direct.metrics, again.metrics);

    std::fs::write(&predictions, lines.lines().next().unwrap()).unwrap();
    let error = Series
        .score_predictions(&predictions, &file, &context)
        .unwrap_err();
    assert!(error.to_string().contains("1 predictions"), "{error}");
}

#[test]
fn labelled_anomalies_do_not_move_the_threshold() {
    let dir = tempfile::tempdir().unwrap();
    let threshold = |name: &str, text: String, sets: &[&str]| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("wave.csv");
        // A labelled spike at the end, so that the held-out part can be scored.
        std::fs::write(&file, text + "36000,9.0,1\n36060,0.0,0\n").unwrap();
        let gaussian = r#"detector={"name":"windowed-gaussian"}"#;
        let sets = [&["data.holdout=0.4", gaussian], sets].concat();
        let model = train(&folder, "base", &file, &sets)?
            .model
            .display()
            .to_string();
        SeriesDetector::open(&model, &RunContext::cpu()).map(|d| d.calibration.threshold)
    };
    let f1 = threshold("f1", wave(600, 200), &["threshold.method=f1"]).unwrap();
    let quantile = threshold("normal", wave(600, 200), &[]).unwrap();
    let unlabelled = wave(600, 200).replace(",1\n", ",0\n");
    let contaminated = threshold("unlabelled", unlabelled, &[]).unwrap();
    assert!(quantile < contaminated, "{quantile} {contaminated}");
    assert!(f1 > 0.0);
    assert!(threshold("none", wave(600, 900), &["threshold.method=f1"]).is_err());
    assert!(threshold("wrong", wave(600, 200), &["threshold.contamination=2"]).is_err());
}

#[test]
fn bad_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.csv");
    for (text, said) in [
        ("", "empty"),
        ("timestamp,value\n", "no rows"),
        ("timestamp,value\n0,1\n60,2\n30,1\n90,2\n", "bad.csv:4"),
        ("timestamp,value\n0,1\n60,inf\n", "bad.csv:3"),
        ("a,b\n0,1\n", "no column of times"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = train(dir.path(), "base", &file, &[]).unwrap_err();
        assert!(error.to_string().contains(said), "{text:?}: {error}");
        assert_eq!(error.exit_code(), 2);
    }
    let labels = "timestamp,value\n0,1\n60,2\n120,1\n180,4\n";
    std::fs::write(&file, labels).unwrap();
    let error = Series
        .eval(BUNDLED, &file, 1, &RunContext::cpu())
        .unwrap_err();
    assert!(error.to_string().contains("no column of labels"), "{error}");
}

#[test]
fn a_folder_of_the_numenta_benchmark_has_its_own_score() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("nab/data/group");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(dir.path().join("nab/labels")).unwrap();
    let plain = |text: String| -> String {
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.rsplit_once(',').unwrap().0)
            .collect();
        lines.join("\n")
    };
    std::fs::write(data.join("one.csv"), plain(wave(400, 300))).unwrap();
    let windows = format!(
        "{{\"group/one.csv\": [[\"{}\", \"{}\"]]}}",
        format_stamp(295 * 60_000),
        format_stamp(320 * 60_000)
    );
    std::fs::write(dir.path().join("nab/labels/combined_windows.json"), windows).unwrap();
    let outcome = train(dir.path(), "nab-gaussian", &dir.path().join("nab"), &[]).unwrap();
    let metric = |name: &str| outcome.metrics.iter().find(|(n, _)| n == name).unwrap().1;
    // The first row of the spike, five rows into the window of 26, is the highest score of all.
    assert!(metric("test_nab_standard") > 90.0, "{:?}", outcome.metrics);
}

#[test]
fn a_test_file_that_begins_with_the_training_rows_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let whole = wave(900, 800);
    let first: Vec<&str> = whole.lines().take(401).collect();
    std::fs::write(data.join("S_TRAIN.csv"), first.join("\n")).unwrap();
    std::fs::write(data.join("S_TEST.csv"), &whole).unwrap();
    let error = train(dir.path(), "base", &data, &[]).unwrap_err();
    assert!(error.to_string().contains("leakage"), "{error}");
    let folder = dir.path().join("cut");
    std::fs::create_dir(&folder).unwrap();
    let outcome = train(&folder, "ucr-135", &data, &[]).unwrap();
    let auroc = outcome
        .metrics
        .iter()
        .find(|(name, _)| name == "test_auroc");
    assert!(auroc.unwrap().1 > 0.9, "{:?}", outcome.metrics);
}
