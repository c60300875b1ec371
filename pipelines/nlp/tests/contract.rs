//! Every task of this pipeline keeps the contract that all tasks share.

use panoply_nlp::PIPELINE;
use panoply_testkit::{ContractOptions, check_task};
use std::path::Path;

#[test]
fn every_task_keeps_the_contract() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/bert");
    assert!(!PIPELINE.tasks.is_empty());
    for task in PIPELINE.tasks {
        // One epoch of a tagger says as much about the contract as three, and takes a third.
        let short = (task.name() == "segment").then(|| "fit.epochs=1".to_string());
        let options = ContractOptions {
            model: task.recipes().is_empty().then(|| tiny.clone()),
            sets: short.into_iter().collect(),
            ..ContractOptions::default()
        };
        check_task(*task, &options).finish();
    }
}
