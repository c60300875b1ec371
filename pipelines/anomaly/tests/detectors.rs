//! Scores equal PyOD's, scikit-learn's and SciPy's; `fixtures/detectors/reference.py` made them.

#![expect(
    clippy::unwrap_used,
    reason = "a panic in a helper fails its test, as it should"
)]

use burn::tensor::{Device, Tensor, TensorData};
use panoply_anomaly::{
    models::{
        Detector, Fit, NormalOnly,
        auto_encoder::AutoEncoderConfig,
        deep_svdd::DeepSvddConfig,
        ecod::Ecod,
        hbos::{Hbos, HbosConfig},
        knn::{Knn, KnnConfig, KnnMethod},
        lof::{Lof, LofConfig},
        network::NetworkDetector,
        pca::{Pca, PcaConfig, PcaScore},
        vae::VaeConfig,
    },
    threshold::{Calibration, Pareto, ProbabilityMethod, ThresholdConfig},
};
use panoply_datasets::{
    bundled,
    frame::{EncodeConfig, Encoder, Matrix},
};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/detectors")
}

fn reference() -> Value {
    let text = std::fs::read_to_string(fixtures().join("scores.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap();
    list.iter().map(|v| v.as_f64().unwrap()).collect()
}

fn matrix(value: &Value) -> Matrix {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Matrix::from_rows(&rows).unwrap()
}

/// Largest difference, relative to the size of the numbers where they are large.
fn gap(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let each = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
    each.fold(0.0, f64::max)
}

fn check<D: Detector>(name: &str, fit: &Fit<D>, new: Option<&Matrix>, expected: &Value) {
    const TOLERANCE: f64 = 1e-9;
    let scores = gap(&fit.scores, &numbers(&expected[name]["fit"]));
    assert!(scores < TOLERANCE, "{name}: {scores}");
    if let Some(new) = new {
        let scores = fit.detector.score(new).unwrap();
        let scores = gap(&scores, &numbers(&expected[name]["new"]));
        assert!(scores < TOLERANCE, "{name}, new rows: {scores}");
    }
}

fn classical(rows: &NormalOnly<Matrix>, new: Option<&Matrix>, expected: &Value) {
    check("ecod", &Ecod::fit(rows).unwrap(), None, expected);
    check(
        "hbos",
        &Hbos::fit(rows, &HbosConfig::default()).unwrap(),
        new,
        expected,
    );
    for (name, method) in [
        ("knn", KnnMethod::Largest),
        ("knn_mean", KnnMethod::Mean),
        ("knn_median", KnnMethod::Median),
    ] {
        let config = KnnConfig {
            n_neighbors: 5,
            method,
        };
        check(name, &Knn::fit(rows, &config).unwrap(), new, expected);
    }
    for (name, score) in [
        ("pca", PcaScore::Weighted),
        ("mahalanobis", PcaScore::Mahalanobis),
    ] {
        let config = PcaConfig {
            score,
            ..PcaConfig::default()
        };
        check(name, &Pca::fit(rows, &config).unwrap(), new, expected);
    }
}

#[test]
fn scores_of_a_made_up_table_are_the_references() {
    let reference = reference();
    let expected = &reference["made_up"];
    let rows = NormalOnly::unlabelled(matrix(&expected["x"])).unwrap();
    let new = matrix(&expected["new"]);
    classical(&rows, Some(&new), expected);
    check(
        "lof",
        &Lof::fit(&rows, &LofConfig::default()).unwrap(),
        Some(&new),
        expected,
    );
}

#[test]
fn scores_of_the_cell_samples_are_the_references() {
    let reference = reference();
    let frame = bundled::breastw().unwrap();
    let rows = Encoder::fit(&frame, &EncodeConfig::default())
        .unwrap()
        .encode(&frame)
        .unwrap();
    classical(
        &NormalOnly::unlabelled(rows).unwrap(),
        None,
        &reference["breastw"],
    );
}

#[test]
fn thresholds_and_probabilities_are_pyods() {
    let reference = reference();
    let expected = &reference["made_up"];
    let scores = numbers(&expected["knn"]["fit"]);
    let threshold = ThresholdConfig::default().find(&scores, None).unwrap();
    assert!((threshold - expected["threshold"].as_f64().unwrap()).abs() < 1e-12);
    let calibration = Calibration::new(threshold, &scores).unwrap();
    for (name, method) in [
        ("linear", ProbabilityMethod::Linear),
        ("unify", ProbabilityMethod::Unify),
    ] {
        let new = numbers(&expected["knn"]["new"]);
        let found: Vec<f64> = new
            .iter()
            .map(|&s| calibration.probability(s, method))
            .collect();
        let gap = gap(&found, &numbers(&expected[name]));
        assert!(gap < 1e-12, "{name}: {gap}");
    }
}

#[test]
fn pareto_tails_are_at_least_as_likely_as_scipys() {
    for tail in reference()["tails"].as_array().unwrap() {
        let excesses = numbers(&tail["excesses"]);
        let found = Pareto::fit(&excesses);
        let (shape, scale) = (
            tail["shape"].as_f64().unwrap(),
            tail["scale"].as_f64().unwrap(),
        );
        // scipy's simplex stops at 1e-4 in the parameters.
        assert!((found.shape - shape).abs() < 1e-3, "{found:?} {shape}");
        assert!(
            (found.scale - scale).abs() < 1e-3 * scale.max(1.0),
            "{found:?} {scale}"
        );
        let terms = excesses
            .iter()
            .map(|y| (found.shape * y / found.scale).ln_1p());
        let nll = excesses.len() as f64 * found.scale.ln()
            + (1.0 + 1.0 / found.shape) * terms.sum::<f64>();
        assert!(
            nll <= tail["nll"].as_f64().unwrap() + 1e-7,
            "{nll} {}",
            tail["nll"]
        );
    }
}

#[test]
fn networks_with_pyods_weights_score_as_pyods() {
    let reference = reference();
    let expected = &reference["networks"];
    let rows = matrix(&expected["x"]);
    let device = Device::flex();
    let file = |name: &str| fixtures().join(format!("{name}.safetensors"));
    let check = |name: &str, detector: &dyn Detector| {
        let found = detector.score(&rows).unwrap();
        let gap = gap(&found, &numbers(&expected[name]["score"]));
        assert!(gap < 1e-5, "{name}: {gap}");
    };
    let auto_encoder = AutoEncoderConfig {
        hidden_neurons: vec![8, 4],
        ..AutoEncoderConfig::default()
    };
    let network = auto_encoder.init(5, &device);
    let detector = NetworkDetector::load(network, 5, &file("auto_encoder"), &device).unwrap();
    check("auto_encoder", &detector);
    let parts = detector.contributions(rows.row(0)).unwrap().unwrap();
    let score = detector.score(&rows).unwrap()[0];
    assert!((parts.iter().sum::<f64>() - score).abs() < 1e-5);

    let vae = VaeConfig {
        encoder_neurons: vec![8, 6],
        decoder_neurons: vec![6, 8],
        ..VaeConfig::default()
    };
    let network = vae.init(5, &device);
    check(
        "vae",
        &NetworkDetector::load(network, 5, &file("vae"), &device).unwrap(),
    );

    let svdd = DeepSvddConfig {
        hidden_neurons: vec![8, 4],
        ..DeepSvddConfig::default()
    };
    let mut network = svdd.init(5, &device).unwrap();
    panoply_core::weights::load(
        &mut network,
        &file("deep_svdd"),
        &panoply_core::weights::KeyMap::IDENTITY,
    )
    .unwrap();
    let floats: Vec<f32> = rows.values().iter().map(|&v| v as f32).collect();
    let x: Tensor<2> = Tensor::from_data(TensorData::new(floats, [rows.len(), 5]), &device);
    let network = network.centred(x).unwrap();
    let center: Vec<f64> = network.center().iter().map(|&c| f64::from(c)).collect();
    assert!(gap(&center, &numbers(&expected["deep_svdd"]["center"])) < 1e-6);
    check("deep_svdd", &NetworkDetector::new(network, 5, &device));
}
