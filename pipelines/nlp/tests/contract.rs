//! Every task of this pipeline keeps the contract that all tasks share.

use panoply_nlp::PIPELINE;
use panoply_testkit::{ContractOptions, check_task};
use std::path::Path;

#[test]
fn every_task_keeps_the_contract() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/bert");
    assert!(!PIPELINE.tasks.is_empty());
    for task in PIPELINE.tasks {
        // Fewer epochs than the recipes' own say as much about the contract.
        let epochs = match task.name() {
            "segment" => 1,
            "qa" => 2,
            _ => 4,
        };
        let trains = !task.recipes().is_empty();
        let options = ContractOptions {
            sets: trains
                .then(|| format!("fit.epochs={epochs}"))
                .into_iter()
                .collect(),
            model: (!trains).then(|| tiny.clone()),
            ..ContractOptions::default()
        };
        check_task(*task, &options).finish();
    }
}
