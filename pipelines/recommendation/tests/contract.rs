//! Every task of this pipeline keeps the contract that all tasks share.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{RunContext, TrainRequest};
use panoply_recommendation::PIPELINE;
use panoply_testkit::{ContractOptions, check_task};

/// A model of `rank`, for the task that trains none of its own.
fn rank_model(folder: &std::path::Path) -> std::path::PathBuf {
    let request = TrainRequest {
        recipe: "debug".into(),
        sets: vec!["fit.epochs=1".into()],
        data: None,
        model: None,
        out: folder.join("run"),
        resume: false,
        accept_data_issues: false,
    };
    let rank = PIPELINE.task("rank").unwrap();
    rank.train(&request, &RunContext::cpu()).unwrap().model
}

#[test]
fn every_task_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let model = rank_model(folder.path());
    for task in PIPELINE.tasks {
        let options = ContractOptions {
            sets: match task.name() {
                "rank" => vec!["fit.epochs=4".into()],
                _ => Vec::new(),
            },
            model: task.recipes().is_empty().then(|| model.clone()),
            solved: task.name() == "rate",
            ..ContractOptions::default()
        };
        check_task(*task, &options).finish();
    }
}

#[test]
fn the_models_that_solve_keep_the_contract() {
    for (architecture, edits) in [
        ("pop", vec![]),
        ("item-knn", vec!["model.k=20"]),
        ("ease", vec!["model.reg_weight=50"]),
        ("als", vec!["model.factors=8", "model.iterations=3"]),
    ] {
        let mut sets = vec!["data.bundled=true"];
        sets.extend(edits);
        let options = ContractOptions {
            recipe: Some(architecture.into()),
            sets: sets.into_iter().map(String::from).collect(),
            solved: true,
            ..ContractOptions::default()
        };
        check_task(PIPELINE.task("rank").unwrap(), &options).finish();
    }
}

#[test]
fn the_networks_keep_the_contract() {
    for (architecture, edits) in [
        (
            "neu-mf",
            vec![
                "model.mf_embedding_size=8",
                "model.mlp_embedding_size=8",
                "model.mlp_hidden_size=[8]",
            ],
        ),
        ("light-gcn", vec!["model.embedding_size=8"]),
        (
            "sas-rec",
            vec![
                "model.hidden_size=8",
                "model.inner_size=16",
                "model.max_seq_length=10",
            ],
        ),
    ] {
        let mut sets = vec!["data.bundled=true", "fit.epochs=4", "fit.batch_size=64"];
        sets.extend(edits);
        let options = ContractOptions {
            recipe: Some(architecture.into()),
            sets: sets.into_iter().map(String::from).collect(),
            ..ContractOptions::default()
        };
        check_task(PIPELINE.task("rank").unwrap(), &options).finish();
    }
}
