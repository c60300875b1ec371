//! Answers to rows: one stamp at a time, or a whole series.

use super::{SeriesDetector, draw};
use crate::models::stream::{SeriesStream, StreamScore};
use panoply_core::{
    Error, Input, ModelCard, Output, Payload, PredictOptions, Result, Session, guard,
};
use panoply_datasets::{
    TimeSeries,
    series::{format_stamp, parse_stamp, time_column},
};
use panoply_metrics::spans;
use serde_json::{Map, Value, json};

/// What a row must be.
const EXPECTED: &str = "an object with a time and a value for each column, or with a list of each";

/// A detector that remembers what it was fed.
pub(super) struct SeriesSession {
    detector: SeriesDetector,
    /// Of the rows that came one by one.
    live: SeriesStream,
}

impl SeriesSession {
    pub(super) fn new(detector: SeriesDetector) -> Result<Self> {
        Ok(Self {
            live: detector.stream()?,
            detector,
        })
    }

    fn answer(&mut self, input: &Input, options: &PredictOptions) -> Result<Output> {
        match parse(input, &self.detector)? {
            Parsed::Stamp(stamp, values) => {
                let score = self.live.push(&input.name, stamp, &values)?;
                Ok(stamp_output(&self.detector, score.as_ref(), options))
            }
            Parsed::Whole(series) => whole_output(&self.detector, &series, options),
        }
    }
}

impl Session for SeriesSession {
    fn card(&self) -> &ModelCard {
        &self.detector.card
    }

    fn predict(&mut self, inputs: &[Input], options: &PredictOptions) -> Vec<Result<Output>> {
        inputs
            .iter()
            .map(|input| guard(&input.name, || self.answer(input, options)))
            .collect()
    }

    fn is_sequential(&self) -> bool {
        true
    }
}

/// A row as it came.
pub(super) enum Parsed {
    /// The next stamp of the series that is being streamed.
    Stamp(i64, Vec<f64>),
    /// A series of its own.
    Whole(TimeSeries),
}

pub(super) fn parse(input: &Input, detector: &SeriesDetector) -> Result<Parsed> {
    let wrong = |what: String| Error::input(&input.name, what, EXPECTED);
    let Payload::Row(Value::Object(row)) = &input.payload else {
        return Err(wrong("no object".into()));
    };
    let time = time_column(row.keys().map(String::as_str), &detector.options)
        .ok_or_else(|| wrong("no field with a time".into()))?;
    let stamp = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => return Err(wrong(format!("'{time}' is {other}"))),
        };
        parse_stamp(&text).ok_or_else(|| wrong(format!("'{time}' is '{text}', no time")))
    };
    let field = |name: &String| {
        row.get(name)
            .ok_or_else(|| wrong(format!("no field '{name}'")))
    };
    let number = |name: &str, value: &Value| match value {
        Value::Null => Ok(f64::NAN),
        Value::Number(number) => Ok(number.as_f64().unwrap_or(f64::NAN)),
        other => Err(wrong(format!("'{name}' holds {other}"))),
    };
    let columns = &detector.config.columns;
    let Value::Array(stamps) = &row[time] else {
        let stamp = stamp(&row[time])?;
        let values = columns.iter().map(|name| number(name, field(name)?));
        return Ok(Parsed::Stamp(stamp, values.collect::<Result<_>>()?));
    };
    let stamps = stamps.iter().map(stamp).collect::<Result<Vec<_>>>()?;
    if stamps.is_empty() {
        return Err(wrong("no times".into()));
    }
    let column = |name: &String| {
        let Value::Array(values) = field(name)? else {
            return Err(wrong(format!("'{name}' is no list")));
        };
        let values = values.iter().map(|value| number(name, value));
        Ok((name.clone(), values.collect::<Result<Vec<_>>>()?))
    };
    let columns = columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    let series = TimeSeries::new(&input.name, stamps, columns, None, detector.options.gap)?;
    Ok(Parsed::Whole(series))
}

fn contributions(detector: &SeriesDetector, score: &StreamScore) -> Map<String, Value> {
    let names = detector.config.columns.iter().cloned();
    names
        .zip(score.columns.iter().map(|&score| json!(score)))
        .collect()
}

fn stamp_output(
    detector: &SeriesDetector,
    score: Option<&StreamScore>,
    options: &PredictOptions,
) -> Output {
    let is_anomaly = score.is_some_and(|score| detector.calibration.is_anomaly(score.score));
    let shown = score.map_or("missing".into(), |score| format!("{:.4}", score.score));
    let p_value = score.map(|score| detector.calibration.p_value(score.score));
    let mark = if is_anomaly { "anomaly" } else { "" };
    Output {
        json: json!({
            "score": score.map(|score| score.score),
            "threshold": detector.calibration.threshold,
            "is_anomaly": is_anomaly,
            "p_value": p_value,
            "contributions": score.map(|score| contributions(detector, score)).unwrap_or_default(),
        }),
        raw: options
            .raw
            .then(|| json!({ "columns": score.map(|score| &score.columns) })),
        table: vec![
            ["", "score", "threshold", "anomaly"]
                .map(String::from)
                .to_vec(),
            vec![
                String::new(),
                shown,
                format!("{:.4}", detector.calibration.threshold),
                mark.into(),
            ],
        ],
        ..Output::default()
    }
}

/// The answer to a series: lists in place of single numbers, and the flagged spans.
pub(super) fn whole_output(
    detector: &SeriesDetector,
    series: &TimeSeries,
    options: &PredictOptions,
) -> Result<Output> {
    let found = detector.score(series)?;
    let scores: Vec<Option<f64>> = found.iter().map(|f| f.as_ref().map(|f| f.score)).collect();
    let flagged: Vec<bool> = scores
        .iter()
        .map(|score| score.is_some_and(|score| detector.calibration.is_anomaly(score)))
        .collect();
    let mut table = vec![
        ["", "from", "to", "rows", "highest score"]
            .map(String::from)
            .to_vec(),
    ];
    let mut listed = Vec::new();
    for span in spans(&flagged) {
        let highest = scores[span.clone()]
            .iter()
            .flatten()
            .copied()
            .fold(f64::MIN, f64::max);
        let (from, to) = (series.stamps()[span.start], series.stamps()[span.end - 1]);
        let (from, to) = (format_stamp(from), format_stamp(to));
        listed.push(json!({ "from": from, "to": to, "num_rows": span.len(), "score": highest }));
        table.push(vec![
            String::new(),
            from,
            to,
            span.len().to_string(),
            format!("{highest:.4}"),
        ]);
    }
    if listed.is_empty() {
        let row = ["", "nothing", "", "", ""].map(String::from);
        table.push(row.to_vec());
    }
    let column = |at: usize| {
        let of = |f: &Option<StreamScore>| f.as_ref().map(|f| f.columns[at]);
        json!(found.iter().map(of).collect::<Vec<_>>())
    };
    let names = detector.config.columns.iter().enumerate();
    let contributions: Map<String, Value> =
        names.map(|(at, name)| (name.clone(), column(at))).collect();
    let artefacts = if options.artefacts {
        vec![draw::series(series, &flagged)?]
    } else {
        Vec::new()
    };
    let p_values: Vec<Option<f64>> = scores
        .iter()
        .map(|s| s.map(|s| detector.calibration.p_value(s)))
        .collect();
    Ok(Output {
        json: json!({
            "score": scores,
            "threshold": detector.calibration.threshold,
            "is_anomaly": flagged,
            "p_value": p_values,
            "contributions": contributions,
            "spans": listed,
        }),
        raw: options.raw.then(|| json!({ "columns": contributions })),
        table,
        artefacts,
        ..Output::default()
    })
}
