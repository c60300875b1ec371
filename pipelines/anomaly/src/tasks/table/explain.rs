//! Why a row has its score.
//!
//! `contributions` is what `run` prints too: the terms of a score that is a sum over the columns (ECOD, HBOS, Mahalanobis
//! distance, reconstruction errors over the score), else the fall of the score when a column is set to its usual value.
//! `shap` are Shapley values of the columns: a column that is left out takes the values of known normal rows. They are
//! exact up to ten columns and kernel SHAP's beyond.

use super::{Scorer, contributions, row_of, scorer::encode_row};
use crate::shap::{self, Coalition, MAX_EXACT};
use panoply_core::{Artefact, Error, ExplainRequest, Output, Result, RunContext, Task, plot};
use panoply_datasets::frame::Matrix;
use serde_json::json;

/// The class that can be explained: "anomaly".
const ANOMALY: usize = 1;

/// Numbers that are scored at a time.
const CHUNK: usize = 1 << 20;

pub(super) fn explain(request: &ExplainRequest, context: &RunContext) -> Result<Output> {
    let methods = super::Table.explain_methods();
    if !methods.contains(&request.method.as_str()) {
        return Err(Error::unknown(
            "explanation method",
            &request.method,
            methods.to_vec(),
        ));
    }
    if request.target.is_some_and(|target| target != ANOMALY) {
        let what = request.target.unwrap_or_default().to_string();
        return Err(Error::input("--target", what, "1, the anomaly, or none"));
    }
    let model = request.model.as_deref().unwrap_or(super::BUNDLED);
    let scorer = Scorer::open(model, context)?;
    let row = encode_row(
        &scorer.encoder,
        row_of(&request.input)?,
        &request.input.name,
    )?;
    let rows = Matrix::from_rows(std::slice::from_ref(&row))?;
    let score = scorer.score(&rows)?[0];
    let (values, base) = if request.method == "shap" {
        shapley(&scorer, &row)?
    } else {
        (scorer.contributions(&row, score)?, None)
    };
    let named: Vec<(String, f64)> = scorer.columns().into_iter().zip(values).collect();
    show(&request.method, score, base, &named)
}

/// Shapley values of the columns, and the score without any of them.
fn shapley(scorer: &Scorer, row: &[f64]) -> Result<(Vec<f64>, Option<f64>)> {
    let owners = scorer.encoder.owners();
    let background = &scorer.background.rows;
    let worth = |sets: &[Coalition]| {
        let mut worths = Vec::with_capacity(sets.len());
        for some in sets.chunks((CHUNK / (background.len() * row.len())).max(1)) {
            let mut values = Vec::with_capacity(some.len() * background.len() * row.len());
            for set in some {
                for known in background.rows() {
                    let each = row.iter().zip(known).zip(&owners);
                    values
                        .extend(each.map(|((own, known), &at)| if set[at] { own } else { known }));
                }
            }
            let scores = scorer.score(&Matrix::new(values, row.len())?)?;
            let means = scores.chunks_exact(background.len());
            worths.extend(means.map(|s| s.iter().sum::<f64>() / s.len() as f64));
        }
        Ok(worths)
    };
    let count = scorer.columns().len();
    let base = worth(&[vec![false; count]])?[0];
    let values = if count <= MAX_EXACT {
        shap::exact(count, worth)?
    } else {
        shap::kernel(count, scorer.settings.num_sets, 0, worth)?
    };
    Ok((values, Some(base)))
}

fn show(method: &str, score: f64, base: Option<f64>, named: &[(String, f64)]) -> Result<Output> {
    let mut order: Vec<&(String, f64)> = named.iter().collect();
    order.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
    let mut table = vec![row(["", "column", "contribution"])];
    table.extend(
        order
            .iter()
            .map(|(name, value)| row(["", name, &format!("{value:+.4}")])),
    );
    let bars: Vec<(String, f64)> = order.into_iter().cloned().collect();
    let title = format!("What makes the score of {score:.4}");
    let mut json = json!({
        "method": method, "score": score, "contributions": contributions(named),
    });
    if let Some(base) = base {
        json["base"] = json!(base);
    }
    Ok(Output {
        json,
        table,
        artefacts: vec![Artefact {
            file_name: format!("{method}.svg"),
            bytes: plot::bars(&title, &bars)?.into_bytes(),
        }],
        ..Output::default()
    })
}
