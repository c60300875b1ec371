//! Workloads of the recommendation pipeline: 1,000 users, 1,500 items and about 60,000 interactions of a generated table.

use crate::Workload;
use panoply_core::{progress::Interrupt, seed};
use panoply_datasets::{InteractionOptions, Interactions, SplitConfig};
use panoply_recommendation::models::{
    Query, Recommender,
    als::{self, AlsConfig},
    ease::{Ease, EaseConfig},
    item_knn::{ItemKnn, ItemKnnConfig},
};
use std::fmt::Write;

/// Every workload, in the order of measurement.
pub const NAMES: &[&str] = &[
    "read-split",
    "item-knn-fit",
    "ease-fit",
    "als-fit",
    "ease-score",
];

const USERS: u64 = 1_000;
const ITEMS: u64 = 1_500;
const ROWS: u64 = 60_000;

/// A table in memory, popular items first.
fn table() -> String {
    let mut text = String::from("user,item\n");
    for row in 0..ROWS {
        let bits = seed::derive(&[row]);
        let (a, b) = (bits >> 32, bits & 0xFFFF_FFFF);
        let item = (u128::from(a) * u128::from(b) * u128::from(ITEMS)) >> 64;
        // Writing into a string does not fail.
        let _ = writeln!(text, "{},{item}", seed::derive(&[row, 1]) % USERS);
    }
    text
}

fn read(text: &str) -> Interactions {
    Interactions::from_bytes("bench.csv", text.as_bytes(), &InteractionOptions::default())
        .expect("the generated table is read")
}

/// Makes one of [`NAMES`]; `None` for another name.
pub fn workload(name: &str) -> Option<Workload> {
    let text = table();
    let data = read(&text);
    let (train, num_items) = (data.by_user(), data.num_items());
    let name = NAMES.iter().find(|known| **known == name)?;
    let run: Box<dyn FnMut()> = match *name {
        "read-split" => Box::new(move || {
            let split = SplitConfig::default().split(&read(&text));
            split.expect("the generated table is divided");
        }),
        "item-knn-fit" => Box::new(move || {
            let model = ItemKnn::fit(&ItemKnnConfig::default(), &train, num_items);
            model.expect("the defaults are valid");
        }),
        "ease-fit" => Box::new(move || {
            let model = Ease::fit(&EaseConfig::default(), &train, num_items);
            model.expect("the defaults are valid");
        }),
        "als-fit" => Box::new(move || {
            let config = AlsConfig {
                iterations: 3,
                ..AlsConfig::default()
            };
            let model = als::fit(&config, &train, num_items, &Interrupt::default());
            model.expect("the defaults are valid");
        }),
        _ => {
            let model = Ease::fit(&EaseConfig::default(), &train, num_items);
            let model = model.expect("the defaults are valid");
            Box::new(move || {
                let queries: Vec<Query<'_>> = train.rows().map(Query::cold).collect();
                model.scores(&queries).expect("items of the model");
            })
        }
    };
    Some(Workload {
        name,
        batch: if *name == "ease-score" { USERS } else { ROWS } as usize,
        run,
    })
}
