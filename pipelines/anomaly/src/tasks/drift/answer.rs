//! What a comparison looks like: JSON, a table, a picture.

use super::compare::Drift;
use panoply_core::{Artefact, Output, PredictOptions, Result, plot};
use serde_json::json;

/// A p-value of 0 is drawn as this one.
const SMALLEST: f64 = 1e-16;

/// How far each column is from what chance explains, as bars.
pub(super) fn picture(drift: &Drift) -> Result<Artefact> {
    let bar = |name: &str, p_value: f64| (name.to_string(), -p_value.max(SMALLEST).log10());
    let mut bars = vec![bar("all columns (MMD)", drift.mmd.p_value)];
    bars.extend(
        drift
            .columns
            .iter()
            .map(|column| bar(&column.column, column.p_value)),
    );
    let svg = plot::bars("Drift: -log10 of the p-value", &bars)?;
    Ok(Artefact {
        file_name: "drift.svg".into(),
        bytes: svg.into_bytes(),
    })
}

/// The columns, the most surprising first; then all together.
pub(super) fn table(drift: &Drift) -> Vec<Vec<String>> {
    let mark = |is_drift: bool| if is_drift { "drift" } else { "" }.to_string();
    let mut rows = vec![
        ["", "column", "test", "statistic", "p-value", "drift"]
            .map(String::from)
            .to_vec(),
    ];
    let mut columns: Vec<_> = drift.columns.iter().collect();
    columns.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
    for column in columns {
        rows.push(vec![
            String::new(),
            column.column.clone(),
            column.test.into(),
            format!("{:.4}", column.statistic),
            format!("{:.3e}", column.p_value),
            mark(column.is_drift),
        ]);
    }
    rows.push(vec![
        String::new(),
        "(all)".into(),
        "mmd".into(),
        format!("{:.4}", drift.mmd.statistic),
        format!("{:.3e}", drift.mmd.p_value),
        mark(drift.mmd.is_drift),
    ]);
    rows
}

pub(super) fn output(drift: &Drift, options: &PredictOptions) -> Result<Output> {
    let artefacts = if options.artefacts {
        vec![picture(drift)?]
    } else {
        Vec::new()
    };
    let p_values: Vec<f64> = drift.columns.iter().map(|column| column.p_value).collect();
    Ok(Output {
        json: json!(drift),
        raw: options.raw.then(|| json!({ "p_values": p_values })),
        table: table(drift),
        artefacts,
        ..Output::default()
    })
}
