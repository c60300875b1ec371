//! Every task of this pipeline keeps the contract that all tasks share.

use panoply_anomaly::PIPELINE;
use panoply_testkit::{ContractOptions, check_task};

#[test]
fn every_task_keeps_the_contract() {
    assert!(!PIPELINE.tasks.is_empty());
    for task in PIPELINE.tasks {
        let options = ContractOptions {
            solved: ["table", "series", "drift"].contains(&task.name()),
            ..ContractOptions::default()
        };
        check_task(*task, &options).finish();
    }
}

#[test]
fn a_network_keeps_it_too() {
    let options = ContractOptions {
        sets: vec![
            "detector.name=auto-encoder".into(),
            "encode.scaling=standard".into(),
            "fit.epochs=3".into(),
        ],
        ..ContractOptions::default()
    };
    let table = PIPELINE.task("table").unwrap();
    check_task(table, &options).finish();
}
