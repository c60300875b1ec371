//! The picture of a series: its values, and over them what was flagged and what is labelled.

use panoply_core::{Artefact, Result, plot};
use panoply_datasets::TimeSeries;

/// Milliseconds in a unit of the time axis, from the longest.
const UNITS: [(f64, &str); 4] = [
    (86_400_000.0, "days"),
    (3_600_000.0, "hours"),
    (60_000.0, "minutes"),
    (1000.0, "seconds"),
];

/// The first column; `flagged` says of each row whether it is an anomaly.
pub(super) fn series(series: &TimeSeries, flagged: &[bool]) -> Result<Artefact> {
    let stamps = series.stamps();
    let first = stamps.first().copied().unwrap_or(0);
    let length = (stamps.last().copied().unwrap_or(0) - first) as f64;
    let fits = |&(unit, _): &(f64, &str)| length >= 3.0 * unit;
    let (unit, unit_name) = UNITS.into_iter().find(fits).unwrap_or(UNITS[3]);
    let (name, values) = &series.columns()[0];
    let line = |label: &str, is_shown: &dyn Fn(usize) -> bool| {
        let point = |(at, &value): (usize, &f64)| {
            let x = (stamps[at] - first) as f64 / unit;
            (x, if is_shown(at) { value } else { f64::NAN })
        };
        plot::Series::new(label, values.iter().enumerate().map(point).collect())
    };
    let mut lines = vec![line(name, &|_| true)];
    if let Some(labels) = series.labels().filter(|labels| labels.contains(&true)) {
        lines.push(line("labelled anomalous", &|at| labels[at]));
    }
    lines.push(line("flagged", &|at| flagged[at]));
    let x_label = format!(
        "{unit_name} since {}",
        panoply_datasets::series::format_stamp(first)
    );
    let svg = plot::line_chart("Anomalies", &x_label, name, &lines)?;
    Ok(Artefact {
        file_name: "series.svg".into(),
        bytes: svg.into_bytes(),
    })
}
