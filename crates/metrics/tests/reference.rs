//! Every metric equals its reference evaluator (scikit-learn, torchmetrics) on the committed cases
//! of `fixtures/metrics.json`, which `fixtures/reference.py` made.

#![expect(
    clippy::unwrap_used,
    reason = "a panic in a helper fails its test, as it should"
)]

use panoply_metrics::{
    BrierScore, CalibrationBins, ConfusionMatrix, LogLoss, TopK, accuracy, average_precision,
    average_precision_multilabel, binary_brier_score, binary_calibration_error, binary_log_loss,
    brier_score, log_loss, multiclass_calibration_error, precision_recall_curve, roc_auc,
    roc_auc_ovr, roc_curve, top_k_accuracy,
};
use serde_json::Value;

mod common;
#[path = "common/flags.rs"]
mod flags;
#[path = "common/labels.rs"]
mod labels;
use common::{Check, floats, indices};
use flags::flags;
use labels::AVERAGES;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/metrics.json")).unwrap()
}

fn cases(key: &str) -> Vec<Value> {
    common::cases(&fixture(), key)
}

#[test]
fn decided_labels() {
    let mut check = Check::default();
    for case in cases("labels") {
        let name = case["name"].as_str().unwrap();
        let (y_true, y_pred) = (indices(&case["y_true"]), indices(&case["y_pred"]));
        let n = case["num_classes"].as_u64().unwrap() as usize;
        let expected = &case["expected"];
        // Streamed in two uneven parts.
        let mut matrix = ConfusionMatrix::new(n).unwrap();
        let cut = y_true.len() / 3;
        matrix.update(&y_true[..cut], &y_pred[..cut]).unwrap();
        matrix.update(&y_true[cut..], &y_pred[cut..]).unwrap();
        assert_eq!(
            matrix,
            ConfusionMatrix::from_labels(&y_true, &y_pred, n).unwrap()
        );

        let counts: Vec<f64> = matrix.rows().flatten().map(|&count| count as f64).collect();
        check.slice(
            &format!("{name}: confusion"),
            &counts,
            &expected["confusion"],
        );
        for (metric, ours) in [
            ("accuracy", matrix.accuracy()),
            ("accuracy", accuracy(&y_true, &y_pred)),
            ("balanced_accuracy", matrix.balanced_accuracy()),
            ("matthews_corrcoef", matrix.matthews_corrcoef()),
        ] {
            check.value(format!("{name}: {metric}"), ours, &expected[metric]);
        }
        let per_class = matrix.per_class();
        let column =
            |f: fn(&panoply_metrics::ClassScores) -> f64| per_class.iter().map(f).collect();
        let columns: [(&str, Vec<f64>); 4] = [
            ("precision_per_class", column(|c| c.precision)),
            ("recall_per_class", column(|c| c.recall)),
            ("f1_per_class", column(|c| c.f1)),
            ("f2_per_class", matrix.f_beta_per_class(2.0).unwrap()),
        ];
        for (key, ours) in columns {
            check.slice(&format!("{name}: {key}"), &ours, &expected[key]);
        }
        for (key, average) in AVERAGES {
            let expected = &expected[key];
            for (metric, ours) in [
                ("precision", matrix.precision(average)),
                ("recall", matrix.recall(average)),
                ("f1", matrix.f1(average)),
                ("f2", matrix.f_beta(2.0, average)),
                ("f0.5", matrix.f_beta(0.5, average)),
                ("f0", matrix.f_beta(0.0, average)),
                ("finf", matrix.f_beta(f64::INFINITY, average)),
            ] {
                check.value(format!("{name}: {key} {metric}"), ours, &expected[metric]);
            }
        }
        report(&mut check, name, &matrix, &expected["report"]);
    }
    check.finish("decided labels");
}

fn report(check: &mut Check, name: &str, matrix: &ConfusionMatrix, expected: &Value) {
    let names: Vec<String> = (0..matrix.num_classes()).map(|c| c.to_string()).collect();
    let report = matrix.report(&names).unwrap();
    let mut rows: Vec<_> = report
        .classes
        .iter()
        .map(|row| (row.name.as_str(), row.scores))
        .collect();
    rows.push(("macro avg", report.macro_avg));
    rows.push(("weighted avg", report.weighted_avg));
    let reference = expected.as_object().unwrap();
    assert_eq!(rows.len(), reference.len(), "{name}: rows of the report");
    for (row, scores) in rows {
        let ours = [
            scores.precision,
            scores.recall,
            scores.f1,
            scores.support as f64,
        ];
        check.slice(&format!("{name}: report {row}"), &ours, &reference[row]);
    }
}

#[test]
fn rankings() {
    let mut check = Check::default();
    for case in cases("rankings") {
        let name = case["name"].as_str().unwrap();
        let (y_true, y_score) = (flags(&case["y_true"]), floats(&case["y_score"]));
        let expected = &case["expected"];
        check.value(
            format!("{name}: roc_auc"),
            roc_auc(&y_true, &y_score),
            &expected["roc_auc"],
        );
        let precision = average_precision(&y_true, &y_score);
        check.value(
            format!("{name}: ap"),
            precision,
            &expected["average_precision"],
        );
        // The reference lists thresholds from the laxest up.
        let curve = precision_recall_curve(&y_true, &y_score).unwrap();
        let backwards = |f: fn(&panoply_metrics::PrPoint) -> f64| -> Vec<f64> {
            curve.iter().rev().map(f).collect()
        };
        check.slice(name, &backwards(|p| p.precision), &expected["precision"]);
        check.slice(name, &backwards(|p| p.recall), &expected["recall"]);
        check.slice(
            name,
            &backwards(|p| p.threshold),
            &expected["pr_thresholds"],
        );
        match roc_curve(&y_true, &y_score) {
            Ok(curve) => {
                let fpr: Vec<f64> = curve.iter().map(|p| p.false_positive_rate).collect();
                let tpr: Vec<f64> = curve.iter().map(|p| p.true_positive_rate).collect();
                check.slice(name, &fpr, &expected["fpr"]);
                check.slice(name, &tpr, &expected["tpr"]);
            }
            Err(error) => assert!(expected["roc_auc"].is_null(), "{name}: {error}"),
        }
    }
    check.finish("rankings");
}

#[test]
fn tables_of_class_probabilities() {
    let mut check = Check::default();
    for case in cases("tables") {
        let name = case["name"].as_str().unwrap();
        let (y_true, proba) = (indices(&case["y_true"]), floats(&case["y_proba"]));
        let n = case["num_classes"].as_u64().unwrap() as usize;
        let expected = &case["expected"];
        check.value(
            format!("{name}: log loss"),
            log_loss(&y_true, &proba, n),
            &expected["log_loss"],
        );
        check.value(
            format!("{name}: brier"),
            brier_score(&y_true, &proba, n),
            &expected["brier"],
        );
        for (key, average) in AVERAGES {
            let auc = roc_auc_ovr(&y_true, &proba, n, average);
            check.value(
                format!("{name}: auc {key}"),
                auc,
                &expected[&format!("roc_auc_{key}")],
            );
            let onehot: Vec<bool> = y_true
                .iter()
                .flat_map(|&t| (0..n).map(move |c| c == t))
                .collect();
            let ap = average_precision_multilabel(&onehot, &proba, n, average);
            check.value(
                format!("{name}: ap {key}"),
                ap,
                &expected["average_precision"][key],
            );
        }
        for (k, reference) in expected["top_k"].as_object().unwrap() {
            let ours = top_k_accuracy(&y_true, &proba, n, k.parse().unwrap());
            check.value(format!("{name}: top {k}"), ours, reference);
        }
        for (bins, reference) in expected["ece"].as_object().unwrap() {
            let ours = multiclass_calibration_error(&y_true, &proba, n, bins.parse().unwrap());
            check.value(format!("{name}: ece {bins}"), ours, reference);
        }
        streamed(&y_true, &proba, n);
    }
    check.finish("tables");
}

/// A batch at a time gives what all at once gives.
fn streamed(y_true: &[usize], proba: &[f64], n: usize) {
    let (mut loss, mut brier) = (LogLoss::default(), BrierScore::new(n).unwrap());
    let mut top = TopK::new(2).unwrap();
    for (labels, rows) in y_true.chunks(7).zip(proba.chunks(7 * n)) {
        loss.update(labels, rows, n).unwrap();
        brier.update(labels, rows).unwrap();
        top.update(labels, rows, n).unwrap();
    }
    assert_eq!(loss.value(), log_loss(y_true, proba, n));
    assert!((brier.value().unwrap() - brier_score(y_true, proba, n).unwrap()).abs() < 1e-14);
    assert_eq!(top.value(), top_k_accuracy(y_true, proba, n, 2));
}

#[test]
fn several_labels_a_sample() {
    let mut check = Check::default();
    let case = &fixture()["multilabel"];
    let (y_true, y_score) = (flags(&case["y_true"]), floats(&case["y_score"]));
    let labels = case["num_labels"].as_u64().unwrap() as usize;
    for (key, average) in AVERAGES {
        let ours = average_precision_multilabel(&y_true, &y_score, labels, average);
        check.value(format!("ap {key}"), ours, &case["expected"][key]);
    }
    check.finish("multilabel");
}

#[test]
fn yes_or_no_with_a_probability() {
    let mut check = Check::default();
    for case in cases("binary") {
        let name = case["name"].as_str().unwrap();
        let (y_true, proba) = (flags(&case["y_true"]), floats(&case["y_proba"]));
        let expected = &case["expected"];
        check.value(
            format!("{name}: log loss"),
            binary_log_loss(&y_true, &proba),
            &expected["log_loss"],
        );
        check.value(
            format!("{name}: brier"),
            binary_brier_score(&y_true, &proba),
            &expected["brier"],
        );
        for (bins, reference) in expected["ece"].as_object().unwrap() {
            let bins: usize = bins.parse().unwrap();
            let ours = binary_calibration_error(&y_true, &proba, bins);
            check.value(format!("{name}: ece {bins}"), ours.clone(), reference);
            let mut streamed = CalibrationBins::new(bins).unwrap();
            for (confidence, correct) in proba.chunks(3).zip(y_true.chunks(3)) {
                streamed.update(confidence, correct).unwrap();
            }
            assert_eq!(streamed.error(), ours);
        }
    }
    check.finish("binary");
}
