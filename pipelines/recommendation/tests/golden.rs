//! Parity of the networks with RecBole: scores, losses and gradients.
//!
//! The reference outputs were made by `fixtures/networks/reference.py`, whose header pins the versions. The models are tiny
//! and load committed random weights. Dropout is off, as it was there.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use burn::{
    module::Module,
    tensor::{Device, Int, Tensor},
};
use panoply_core::{
    fit::{StepOutput, Trainable},
    weights::{self, KeyMap, SaveDtype},
};
use panoply_datasets::interactions::Csr;
use panoply_recommendation::{
    models::{
        Query, Recommender,
        bpr::BprConfig,
        light_gcn::{Graph, LightGcnConfig, LightGcnRecommender},
        neu_mf::{self, NeuMfConfig, NeuMfRecommender},
        sas_rec::{self, SasRec, SasRecConfig, SasRecRecommender},
    },
    preprocess::{
        PairBatch,
        sequences::{Sequence, SequenceBatch},
    },
};
use panoply_testkit::Golden;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const TOLERANCE: f64 = 1e-5;
const SHAPE: [usize; 2] = [5, 7];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/networks")
        .join(name)
}

fn golden(name: &str) -> Golden {
    Golden::open(&fixture(&format!("{name}.safetensors"))).unwrap()
}

fn reference() -> Value {
    let text = std::fs::read_to_string(fixture("configs.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The configuration called `name`, without dropout.
fn config<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let mut config = reference()["configs"][name].clone();
    for (key, value) in config.as_object_mut().unwrap() {
        if key.contains("dropout") {
            *value = 0.0.into();
        }
    }
    serde_json::from_value(config).unwrap()
}

/// Loads the committed weights strictly; what is saved again is what RecBole wrote.
fn load<M: Module>(model: &mut M, name: &str, map: &KeyMap) {
    let path = fixture(&format!("{name}.weights.safetensors"));
    weights::load(model, &path, map).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("model.safetensors");
    weights::save(model, &saved, map, SaveDtype::F32).unwrap();
    let read = |path: &Path| weights::read_tensors(path).unwrap();
    let (ours, reference) = (read(&saved), read(&path));
    assert!(ours.keys().eq(reference.keys()), "{name}");
    for (key, tensor) in &ours {
        let expected = &reference[key];
        assert_eq!(
            (&tensor.shape, &tensor.data),
            (&expected.shape, &expected.data),
            "{key}"
        );
    }
}

fn pairs(golden: &Golden, device: &Device) -> PairBatch {
    let column = |name| golden.int_tensor::<1>(name, device).unwrap();
    PairBatch {
        users: column("users"),
        positives: column("positives"),
        negatives: column("negatives"),
    }
}

/// Compares the loss, and the gradients of the parameters that `tables` names.
fn check_step<M: Trainable>(
    golden: &mut Golden,
    model: M,
    batch: M::Batch,
    gradients: impl FnOnce(&M) -> Vec<(&'static str, Tensor<2>)>,
) {
    let model = model.train();
    let StepOutput { loss, .. } = model.loss(batch);
    golden.check("loss", &loss.clone().inner(), TOLERANCE);
    let grads = loss.backward();
    for (name, parameter) in gradients(&model) {
        let grad = parameter.grad(&grads).unwrap();
        golden.check(&format!("grad.{name}"), &grad, TOLERANCE);
    }
}

fn autodiff() -> Device {
    Device::flex().autodiff()
}

fn check_scores(golden: &mut Golden, recommender: &dyn Recommender) {
    let query = |user| Query {
        user: Some(user),
        history: &[],
    };
    let queries: Vec<Query<'_>> = (0..SHAPE[0] as u32).map(query).collect();
    let scores = recommender.scores(&queries).unwrap();
    let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
    golden.check_values("scores", &SHAPE, &scores, TOLERANCE);
}

#[test]
fn bpr() {
    let mut golden = golden("bpr");
    let mut model = config::<BprConfig>("bpr")
        .init(SHAPE, &Device::flex())
        .unwrap();
    load(&mut model, "bpr", &KeyMap::IDENTITY);
    check_scores(&mut golden, &model.factors().unwrap());
    let batch = pairs(&golden, &autodiff());
    check_step(&mut golden, model.fork(&autodiff()), batch, |model| {
        vec![
            ("user_embedding.weight", model.user_embedding.weight.val()),
            ("item_embedding.weight", model.item_embedding.weight.val()),
        ]
    });
    golden.finish();
}

#[test]
fn neu_mf() {
    let mut golden = golden("neu_mf");
    let config: NeuMfConfig = config("neu_mf");
    let mut model = config.init(SHAPE, &Device::flex()).unwrap();
    load(&mut model, "neu_mf", &neu_mf::KEY_MAP);
    check_scores(&mut golden, &NeuMfRecommender::new(&model));
    let batch = pairs(&golden, &autodiff());
    check_step(&mut golden, model.fork(&autodiff()), batch, |model| {
        vec![
            (
                "user_mf_embedding.weight",
                model.user_mf_embedding.weight.val(),
            ),
            (
                "item_mf_embedding.weight",
                model.item_mf_embedding.weight.val(),
            ),
            (
                "user_mlp_embedding.weight",
                model.user_mlp_embedding.weight.val(),
            ),
            (
                "item_mlp_embedding.weight",
                model.item_mlp_embedding.weight.val(),
            ),
        ]
    });
    golden.finish();
}

fn graph() -> Arc<Graph> {
    let mut rows = vec![Vec::new(); SHAPE[0]];
    for edge in reference()["edges"].as_array().unwrap() {
        let [user, item] = [0, 1].map(|end| edge[end].as_u64().unwrap());
        rows[user as usize].push(item as u32);
    }
    Arc::new(Graph::new(&Csr::from_rows(rows), SHAPE[1]))
}

#[test]
fn light_gcn() {
    for name in ["light_gcn", "light_gcn_pow"] {
        let mut golden = golden(name);
        let config: LightGcnConfig = config(name);
        let mut model = config.init(graph(), &Device::flex()).unwrap();
        load(&mut model, name, &KeyMap::IDENTITY);
        check_scores(&mut golden, &LightGcnRecommender::new(&model).unwrap());
        let batch = pairs(&golden, &autodiff());
        check_step(&mut golden, model.fork(&autodiff()), batch, |model| {
            vec![
                ("user_embedding.weight", model.user_embedding.weight.val()),
                ("item_embedding.weight", model.item_embedding.weight.val()),
            ]
        });
        golden.finish();
    }
}

fn values<const D: usize>(tensor: &Tensor<D, Int>) -> Vec<i64> {
    tensor.to_data().try_into_vec_as().unwrap()
}

/// The committed sequences as items, without padding.
fn sequences(golden: &Golden) -> Vec<Vec<u32>> {
    let rows = golden.int_tensor::<2>("rows", &Device::flex()).unwrap();
    let [_, seq] = rows.dims();
    let items = |row: &[i64]| {
        row.iter()
            .filter(|&&i| i > 0)
            .map(|&i| i as u32 - 1)
            .collect()
    };
    values(&rows).chunks(seq).map(items).collect()
}

#[test]
fn sas_rec() {
    let mut golden = golden("sas_rec");
    let device = Device::flex();
    let config: SasRecConfig = config("sas_rec");
    let mut model = config.init(SHAPE[1], &device).unwrap();
    load(&mut model, "sas_rec", &sas_rec::KEY_MAP);
    let rows = golden.int_tensor::<2>("rows", &device).unwrap();
    // RecBole has no state where there is no item.
    let real = rows.clone().greater_elem(0).float().unsqueeze_dim::<3>(2);
    golden.check("states", &(model.forward(rows) * real), TOLERANCE);

    let items = sequences(&golden);
    let queries: Vec<Query<'_>> = items.iter().map(|items| Query::cold(items)).collect();
    let scores = SasRecRecommender::new(&model).scores(&queries).unwrap();
    let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
    golden.check_values("scores", &[items.len(), SHAPE[1]], &scores, TOLERANCE);

    let long = items.iter().filter(|items| items.len() > 1);
    let sequence = |items: &Vec<u32>| Sequence {
        items: items[..items.len() - 1].to_vec(),
        targets: items[1..].to_vec(),
        negatives: vec![0; items.len() - 1],
    };
    let sequences: Vec<Sequence> = long.map(sequence).collect();
    let batch = SequenceBatch::new(&sequences, &autodiff());
    check_step(
        &mut golden,
        model.fork(&autodiff()),
        batch,
        |model: &SasRec| {
            vec![
                ("item_embedding.weight", model.item_embedding.weight.val()),
                (
                    "position_embedding.weight",
                    model.position_embedding.weight.val(),
                ),
            ]
        },
    );
    golden.finish();
}
