//! `anomaly series` keeps the contract of every task.

use panoply_anomaly::tasks::Series;
use panoply_testkit::{ContractOptions, check_task};

#[test]
fn series_keeps_the_contract() {
    let options = ContractOptions {
        solved: true,
        ..ContractOptions::default()
    };
    check_task(&Series, &options).finish();
}
