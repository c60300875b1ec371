//! Every task of this pipeline keeps the contract that all tasks share.

use panoply_nlp::PIPELINE;
use panoply_testkit::{ContractOptions, check_task};

#[test]
fn every_task_keeps_the_contract() {
    for task in PIPELINE.tasks {
        // One epoch says as much about the contract as three.
        let options = ContractOptions {
            sets: vec!["fit.epochs=1".into()],
            ..ContractOptions::default()
        };
        check_task(*task, &options).finish();
    }
}
