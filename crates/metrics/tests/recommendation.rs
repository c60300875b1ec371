//! Every metric of recommendations equals RecBole's (novelty RecTools') on the committed cases of
//! `fixtures/recommendation/recommendation.json`, which the `reference.py` beside it made.

#![expect(
    clippy::unwrap_used,
    reason = "a panic in a helper fails its test, as it should"
)]

use panoply_metrics::{CatalogueScorer, GroupedAuc, RelevanceScorer, Tail, roc_auc, top_k_items};
use serde_json::Value;

mod common;
use common::{Check, floats, indices};

fn cases() -> Vec<Value> {
    let fixture =
        serde_json::from_str(include_str!("fixtures/recommendation/recommendation.json")).unwrap();
    common::cases(&fixture, "cases")
}

/// One row of a case: the scores of all items, masked ones at minus infinity, and the positives.
struct User {
    scores: Vec<f64>,
    positives: Vec<usize>,
}

impl User {
    /// The candidates that are not masked: whether each is positive, and its score.
    fn candidates(&self) -> (Vec<bool>, Vec<f64>) {
        let free = (0..self.scores.len()).filter(|&item| self.scores[item].is_finite());
        free.map(|item| (self.positives.contains(&item), self.scores[item]))
            .unzip()
    }
}

fn users(case: &Value) -> Vec<User> {
    let rows = case["scores"].as_array().unwrap().iter();
    let positives = case["positives"].as_array().unwrap();
    rows.zip(positives)
        .map(|(row, positives)| User {
            scores: row
                .as_array()
                .unwrap()
                .iter()
                .map(|score| score.as_f64().unwrap_or(f64::NEG_INFINITY))
                .collect(),
            positives: indices(positives),
        })
        .collect()
}

/// Compares each field over the cut-offs.
fn compare(check: &mut Check, name: &str, ours: &Value, expected: &Value) {
    let ours = ours.as_array().unwrap();
    for (key, reference) in expected.as_object().unwrap() {
        let values: Vec<f64> = ours.iter().map(|at| at[key].as_f64().unwrap()).collect();
        check.slice(&format!("{name}: {key}"), &values, reference);
    }
}

#[test]
fn lists() {
    for case in cases() {
        let k = indices(&case["ks"]).into_iter().max().unwrap();
        let ranked = case["ranked"].as_array().unwrap();
        for (user, expected) in users(&case).iter().zip(ranked) {
            let ours = top_k_items(&user.scores, k).unwrap();
            assert_eq!(ours, indices(expected), "{}", case["name"]);
        }
    }
}

#[test]
fn relevance() {
    let mut check = Check::default();
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let ks = indices(&case["ks"]);
        let mut scorer = RelevanceScorer::new(&ks).unwrap();
        let mut without = 0;
        for user in users(&case) {
            let ranked = top_k_items(&user.scores, *ks.last().unwrap()).unwrap();
            scorer.update(&ranked, &user.positives).unwrap();
            without += u64::from(user.positives.is_empty());
        }
        assert_eq!(scorer.num_without_positives(), without);
        let ours = serde_json::to_value(scorer.scores().unwrap()).unwrap();
        compare(&mut check, name, &ours, &case["relevance"]);
    }
    check.finish("relevance");
}

#[test]
fn catalogue() {
    let mut check = Check::default();
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let ks = indices(&case["ks"]);
        let popularity: Vec<u64> = indices(&case["popularity"])
            .into_iter()
            .map(|count| count as u64)
            .collect();
        let tail = match floats(&Value::Array(vec![case["tail"].clone()]))[0] {
            share if share <= 1.0 => Tail::Share(share),
            count => Tail::AtMost(count as u64),
        };
        let num_users = case["num_train_users"].as_u64().unwrap() as usize;
        let mut scorer = CatalogueScorer::new(&ks, &popularity, num_users, tail).unwrap();
        for user in users(&case) {
            let ranked = top_k_items(&user.scores, *ks.last().unwrap()).unwrap();
            scorer.update(&ranked).unwrap();
        }
        let ours = serde_json::to_value(scorer.scores().unwrap()).unwrap();
        compare(&mut check, name, &ours, &case["catalogue"]);
    }
    check.finish("catalogue");
}

#[test]
fn areas() {
    let mut check = Check::default();
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let mut grouped = GroupedAuc::new();
        let (mut labels, mut scores) = (Vec::new(), Vec::new());
        for user in users(&case) {
            let (y_true, y_score) = user.candidates();
            grouped.update(&y_true, &y_score).unwrap();
            labels.extend(y_true);
            scores.extend(y_score);
        }
        check.value(format!("{name}: GAUC"), grouped.value(), &case["gauc"]);
        let auc = roc_auc(&labels, &scores);
        check.value(format!("{name}: AUC"), auc, &case["auc"]);
    }
    check.finish("areas");
}
