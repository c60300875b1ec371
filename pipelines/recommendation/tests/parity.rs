//! Scores equal those of RecBole and implicit; `fixtures/models/reference.py` made the numbers.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::progress::Interrupt;
use panoply_datasets::{InteractionOptions, Interactions};
use panoply_recommendation::models::{
    Query, Recommender,
    als::{self, AlsConfig},
    ease::{Ease, EaseConfig},
    item_knn::{ItemKnn, ItemKnnConfig},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

const TOLERANCE: f64 = 1e-4;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

fn data() -> Interactions {
    Interactions::open(&fixture("interactions.csv"), &InteractionOptions::default()).unwrap()
}

/// Our index of the reference's item (or user) `number`.
fn item(data: &Interactions, number: usize) -> usize {
    data.ids().items.get(&format!("i{number}")).unwrap() as usize
}

fn user(data: &Interactions, number: usize) -> u32 {
    data.ids().users.get(&format!("u{number}")).unwrap()
}

/// Compares a row of ours with one of the reference's, whose items are in another order.
fn check(data: &Interactions, what: &str, ours: &[f32], reference: &[f64]) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    for (number, expected) in reference.iter().enumerate() {
        let found = f64::from(ours[item(data, number)]);
        assert!(
            (found - expected).abs() < TOLERANCE,
            "{what}, item {number}: {found}, reference {expected}"
        );
    }
}

fn check_all(data: &Interactions, model: &dyn Recommender, reference: &[Vec<f64>]) {
    assert_eq!(reference.len(), 30);
    let histories = data.histories();
    for (number, row) in reference.iter().enumerate() {
        let user = user(data, number);
        let query = Query {
            user: Some(user),
            history: histories.row(user as usize),
        };
        let what = format!("user {number}");
        check(data, &what, &model.scores(&[query]).unwrap(), row);
    }
}

#[test]
fn item_knn_is_recboles() {
    #[derive(Deserialize)]
    struct Fixture {
        k: f64,
        shrink: f64,
        scores: Vec<Vec<f64>>,
    }
    let (fixture, data): (Fixture, _) = (json("item_knn.json"), data());
    let config = ItemKnnConfig {
        k: fixture.k as usize,
        shrink: fixture.shrink,
    };
    let model = ItemKnn::fit(&config, &data.by_user(), data.num_items()).unwrap();
    check_all(&data, &model, &fixture.scores);
}

#[test]
fn ease_is_recboles() {
    #[derive(Deserialize)]
    struct Fixture {
        reg_weight: f64,
        scores: Vec<Vec<f64>>,
    }
    let (fixture, data): (Fixture, _) = (json("ease.json"), data());
    let config = EaseConfig {
        reg_weight: fixture.reg_weight,
    };
    let model = Ease::fit(&config, &data.by_user(), data.num_items()).unwrap();
    check_all(&data, &model, &fixture.scores);
}

#[test]
fn als_is_implicits_also_for_a_new_user() {
    #[derive(Deserialize)]
    struct Fixture {
        factors: f64,
        alpha: f32,
        regularization: f32,
        iterations: f64,
        start: Vec<Vec<f64>>,
        scores: Vec<Vec<f64>>,
        folded_in: Vec<f64>,
    }
    let (fixture, data): (Fixture, _) = (json("als.json"), data());
    let config = AlsConfig {
        factors: fixture.factors as usize,
        alpha: fixture.alpha,
        regularization: fixture.regularization,
        iterations: fixture.iterations as usize,
        ..AlsConfig::default()
    };
    let mut start = vec![0.0; data.num_items() * config.factors];
    for (number, vector) in fixture.start.iter().enumerate() {
        let place = item(&data, number) * config.factors;
        for (slot, value) in start[place..].iter_mut().zip(vector) {
            *slot = *value as f32;
        }
    }
    let train = data.by_user();
    let model = als::fit_from(&config, &train, start, &Interrupt::default()).unwrap();
    check_all(&data, &model, &fixture.scores);
    let history = train.row(user(&data, 3) as usize);
    let folded = model.scores(&[Query::cold(history)]).unwrap();
    check(&data, "the new user", &folded, &fixture.folded_in);
}
