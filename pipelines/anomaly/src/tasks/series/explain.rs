//! What made a series be flagged: the score of each column by itself, over the picture of the series.

use super::{
    BUNDLED, SeriesDetector,
    session::{Parsed, parse, whole_output},
};
use panoply_core::{Error, ExplainRequest, Output, PredictOptions, Result, RunContext};

/// The one method: a row's score is its highest column's.
pub(super) const COLUMNS: &str = "columns";

pub(super) fn explain(request: &ExplainRequest, context: &RunContext) -> Result<Output> {
    if request.method != COLUMNS {
        return Err(Error::unknown("method", &request.method, [COLUMNS]));
    }
    let model = request.model.as_deref().unwrap_or(BUNDLED);
    let detector = SeriesDetector::open(model, context)?;
    let columns = &detector.config.columns;
    if let Some(target) = request.target.filter(|&target| target >= columns.len()) {
        let expected = format!("a column: 0 to {}", columns.len() - 1);
        return Err(Error::input("--target", target.to_string(), expected));
    }
    let Parsed::Whole(series) = parse(&request.input, &detector)? else {
        let expected = "a series: a list of times and of each column";
        return Err(Error::input(&request.input.name, "a single row", expected));
    };
    let options = PredictOptions {
        artefacts: true,
        ..PredictOptions::default()
    };
    let mut output = whole_output(&detector, &series, &options)?;
    if let Some(target) = request.target {
        let name = &columns[target];
        let scores = output.json["contributions"][name].take();
        output.json["contributions"] = serde_json::json!({ name: scores });
    }
    Ok(output)
}
