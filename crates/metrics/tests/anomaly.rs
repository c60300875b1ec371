//! Metrics of anomaly detection and two-sample tests equal their references on the committed cases of
//! `fixtures/anomaly/`, and the NAB score equals NAB's published ones.

#![expect(
    clippy::unwrap_used,
    reason = "a panic in a helper fails its test, as it should"
)]

use panoply_metrics::{
    Cardinality, KsMethod, MetricError, MmdTest, NabCorpus, NabProfile, PositionalBias,
    chi2_contingency, f1_max, ks_2samp, median_bandwidth, point_adjusted_f1, pointwise_f1,
    precision_at_n, range_f_beta, range_precision, range_recall, recall_at_fpr,
};
use serde_json::Value;

mod common;
#[path = "common/flags.rs"]
mod flags;
use common::{Check, floats, indices};
use flags::flags;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/anomaly/anomaly.json")).unwrap()
}

fn nab() -> Value {
    serde_json::from_str(include_str!("fixtures/anomaly/nab.json")).unwrap()
}

fn cases(key: &str) -> Vec<Value> {
    common::cases(&fixture(), key)
}

fn count(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn scores_against_point_labels() {
    let mut check = Check::default();
    for case in cases("scores") {
        let name = case["name"].as_str().unwrap();
        let (y_true, y_score) = (flags(&case["y_true"]), floats(&case["y_score"]));
        for (n, reference) in case["precision_at_n"].as_object().unwrap() {
            let ours = precision_at_n(&y_true, &y_score, n.parse().ok());
            check.value(format!("{name}: precision at {n}"), ours, reference);
        }
        let best = f1_max(&y_true, &y_score).unwrap();
        let ours = [best.threshold, best.precision, best.recall, best.f1];
        check.slice(&format!("{name}: F1-max"), &ours, &case["f1_max"]);
        for (rate, reference) in case["recall_at_fpr"].as_object().unwrap() {
            let ours = recall_at_fpr(&y_true, &y_score, rate.parse().unwrap());
            check.value(format!("{name}: recall at FPR {rate}"), ours, reference);
        }
    }
    check.finish("scores against point labels");
}

#[test]
fn ranges() {
    let mut check = Check::default();
    let biases = [
        ("flat", PositionalBias::Flat),
        ("front", PositionalBias::Front),
        ("middle", PositionalBias::Middle),
        ("back", PositionalBias::Back),
    ];
    let cardinalities = [
        ("one", Cardinality::One),
        ("reciprocal", Cardinality::Reciprocal),
    ];
    for case in cases("ranges") {
        let name = case["name"].as_str().unwrap();
        let (y_true, y_pred) = (flags(&case["y_true"]), flags(&case["y_pred"]));
        let expected = &case["expected"];
        let mut value = |key: String, ours: Result<f64, MetricError>| {
            check.value(format!("{name}: {key}"), ours, &expected[&key]);
        };
        value("f1".into(), pointwise_f1(&y_true, &y_pred));
        let adjusted = point_adjusted_f1(&y_true, &y_pred);
        value("point_adjusted_f1".into(), adjusted);
        for (bias_name, bias) in biases {
            for (gamma_name, gamma) in cardinalities {
                let key = format!("{bias_name} {gamma_name}");
                let ours = range_precision(&y_true, &y_pred, gamma, bias);
                value(format!("precision {key}"), ours);
                for alpha in [0.0, 0.3] {
                    let ours = range_recall(&y_true, &y_pred, alpha, gamma, bias);
                    value(format!("recall {key} {alpha:?}"), ours);
                }
            }
        }
        let (gamma, bias) = (Cardinality::default(), PositionalBias::default());
        let precision = range_precision(&y_true, &y_pred, gamma, bias).unwrap();
        let recall = range_recall(&y_true, &y_pred, 0.5, gamma, bias).unwrap();
        value("f_score".into(), Ok(range_f_beta(precision, recall, 1.0)));
    }
    check.finish("ranges");
}

#[test]
fn kolmogorov_smirnov() {
    let mut check = Check::default();
    for case in cases("ks") {
        let name = case["name"].as_str().unwrap();
        let test = ks_2samp(&floats(&case["x"]), &floats(&case["y"])).unwrap();
        assert_eq!(test.method, KsMethod::Exact, "{name}");
        let statistic = Ok(test.statistic);
        check.value(format!("{name}: distance"), statistic, &case["statistic"]);
        check.value(format!("{name}: p"), Ok(test.p_value), &case["p_value"]);
        // Small chances keep their digits.
        let reference = case["p_value"].as_f64().unwrap();
        assert!((test.p_value / reference - 1.0).abs() < 1e-9, "{name}");
    }
    // The formula of `reference.py`.
    let large = |n: usize, shift: f64| -> Vec<f64> {
        let values = (0..n).map(|i| (i * 7919 % 10007) as f64 / 10007.0 + shift);
        values.collect()
    };
    for case in cases("ks_large") {
        let (n, m) = (count(&case["n"]), count(&case["m"]));
        let shift = case["shift"].as_f64().unwrap();
        let test = ks_2samp(&large(n, 0.0), &large(m, shift)).unwrap();
        assert_eq!(test.method, KsMethod::Asymptotic);
        let name = format!("{n} and {m}, {shift}");
        let statistic = Ok(test.statistic);
        check.value(format!("{name}: distance"), statistic, &case["statistic"]);
        check.value(format!("{name}: p"), Ok(test.p_value), &case["p_value"]);
    }
    check.finish("Kolmogorov-Smirnov");
}

#[test]
fn chi_squared() {
    let mut check = Check::default();
    for case in cases("chi2") {
        let name = case["name"].as_str().unwrap();
        let table: Vec<u64> = indices(&case["table"]).iter().map(|&c| c as u64).collect();
        let test = chi2_contingency(&table, count(&case["rows"])).unwrap();
        let statistic = Ok(test.statistic);
        check.value(format!("{name}: statistic"), statistic, &case["statistic"]);
        check.value(format!("{name}: p"), Ok(test.p_value), &case["p_value"]);
        assert_eq!(test.dof, count(&case["dof"]), "{name}");
    }
    check.finish("chi-squared");
}

#[test]
fn maximum_mean_discrepancy() {
    let mut check = Check::default();
    for case in cases("mmd") {
        let name = case["name"].as_str().unwrap();
        let (x, y) = (floats(&case["x"]), floats(&case["y"]));
        let columns = count(&case["columns"]);
        let test = MmdTest::new(&x, &y, columns, None).unwrap();
        let pooled = [x.clone(), y.clone()].concat();
        assert_eq!(
            test.bandwidth(),
            median_bandwidth(&pooled, columns).unwrap()
        );
        let orders = case["permutations"].as_array().unwrap();
        let p_value = test.p_value(orders.iter().map(indices));
        let fixed = MmdTest::new(&x, &y, columns, Some(0.7)).unwrap();
        for (key, ours) in [
            ("bandwidth", Ok(test.bandwidth())),
            ("statistic", Ok(test.statistic())),
            ("statistic at 0.7", Ok(fixed.statistic())),
            ("p_value", p_value),
        ] {
            check.value(format!("{name}: {key}"), ours, &case[key]);
        }
    }
    check.finish("maximum mean discrepancy");
}

fn windows(value: &Value) -> Vec<(usize, usize)> {
    let pairs = value.as_array().unwrap().iter().map(indices);
    pairs.map(|pair| (pair[0], pair[1])).collect()
}

/// The whole corpus of NAB, with the alarms of two of its detectors at their published thresholds.
#[test]
fn published_nab_scores() {
    let fixture = nab();
    let corpus = common::cases(&fixture, "corpus");
    assert_eq!(corpus.len(), 58);
    let mut check = Check::default();
    for (detector, profiles) in fixture["detectors"].as_object().unwrap() {
        for profile in NabProfile::ALL {
            let expected = &profiles[profile.name];
            let mut whole = NabCorpus::new();
            for (i, series) in corpus.iter().enumerate() {
                let mut scores = vec![0.0; count(&series["num_steps"])];
                for at in indices(&expected["alarms"][i]) {
                    scores[at] = 1.0;
                }
                let windows = windows(&series["windows"]);
                whole.add(&scores, &windows).unwrap();
                let mut one = NabCorpus::new();
                one.add(&scores, &windows).unwrap();
                let what = format!("{detector} {}: {}", profile.name, series["name"]);
                check.value(what, Ok(one.raw(profile, 1.0)), &expected["raw"][i]);
            }
            assert_eq!(whole.num_windows(), 116);
            let score = whole.at(profile, 1.0).map(|score| score.normalized);
            println!("{detector}, {}: {}", profile.name, score.clone().unwrap());
            let what = format!("{detector} {}", profile.name);
            check.value(what, score, &expected["published"]);
            let silent = whole.at(profile, 2.0).map(|score| score.normalized);
            check.value("no alarm".into(), silent, &Value::from(0.0));
        }
    }
    check.finish("published NAB scores");
}

#[test]
fn nab_at_every_threshold() {
    let mut check = Check::default();
    for (i, case) in common::cases(&nab(), "sweeps").iter().enumerate() {
        let mut corpus = NabCorpus::new();
        for series in case["series"].as_array().unwrap() {
            let windows = windows(&series["windows"]);
            corpus.add(&floats(&series["scores"]), &windows).unwrap();
        }
        for profile in NabProfile::ALL {
            let (thresholds, raw): (Vec<f64>, Vec<f64>) = corpus.sweep(profile).into_iter().unzip();
            let what = format!("sweep {i}, {}", profile.name);
            check.slice(&what, &thresholds, &case["thresholds"]);
            check.slice(&what, &raw, &case[profile.name]);
            let best = corpus.optimum(profile).unwrap();
            let highest = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let silent = corpus.raw(profile, f64::INFINITY);
            assert_eq!(best.raw, highest.max(silent), "{what}");
        }
    }
    check.finish("NAB at every threshold");
}
