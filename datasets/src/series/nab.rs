//! The layout of the Numenta Anomaly Benchmark: `data/GROUP/NAME.csv`, and windows of anomalies as pairs of times in
//! `labels/combined_windows.json`.

use super::{Keep, SeriesOptions, TimeSeries, parse_stamp};
use crate::{Error, Result};
use std::{collections::BTreeMap, path::Path};

/// The labels, within the folder.
const WINDOWS: &str = "labels/combined_windows.json";

/// A series with its windows.
#[derive(Clone, Debug, PartialEq)]
pub struct NabSeries {
    /// Its path below `data`.
    pub name: String,
    /// The rows, labelled anomalous within the windows.
    pub series: TimeSeries,
    /// First and last row of each window, ascending.
    pub windows: Vec<(usize, usize)>,
}

/// Every series that the labels name, in the order of their names.
#[derive(Clone, Debug, PartialEq)]
pub struct NabFolder {
    /// The series.
    pub series: Vec<NabSeries>,
}

impl NabFolder {
    /// Whether a folder has this layout.
    pub fn is_at(path: &Path) -> bool {
        path.join(WINDOWS).is_file() && path.join("data").is_dir()
    }

    /// Reads every series that the labels name. Every row counts, also where a clock was set back and times repeat
    /// ([`Keep::All`]), as in NAB.
    ///
    /// # Errors
    /// Labels that are no such JSON, a file that cannot be read, a window whose times are not there or descend.
    pub fn open(path: &Path) -> Result<Self> {
        let labels = path.join(WINDOWS);
        let text = std::fs::read_to_string(&labels).map_err(|e| Error::io("read", &labels, e))?;
        let named: BTreeMap<String, Vec<[String; 2]>> =
            serde_json::from_str(&text).map_err(|e| {
                let expected = "for each file a list of windows, each the first and the last time";
                Error::input(labels.display().to_string(), e.to_string(), expected)
            })?;
        let one = |(name, windows): (String, Vec<[String; 2]>)| {
            let options = SeriesOptions {
                keep: Some(Keep::All),
                ..SeriesOptions::default()
            };
            let series = TimeSeries::open(&path.join("data").join(&name), &options)?;
            let mut rows = Vec::with_capacity(windows.len());
            for [first, last] in windows {
                let found = parse_stamp(&first)
                    .zip(parse_stamp(&last))
                    .filter(|(first, last)| first <= last);
                let within = found.and_then(|(first, last)| {
                    let first = series.stamps().partition_point(|&stamp| stamp < first);
                    // To the end of its second: a repeated time is some milliseconds later.
                    let after = series
                        .stamps()
                        .partition_point(|&stamp| stamp < last + 1000);
                    (first < after).then(|| (first, after - 1))
                });
                rows.push(within.ok_or_else(|| {
                    let what = format!("a window from {first} to {last} of {name}");
                    Error::input(
                        labels.display().to_string(),
                        what,
                        "ascending times within the file",
                    )
                })?);
            }
            rows.sort_unstable();
            let mut is_anomaly = vec![false; series.len()];
            for &(first, last) in &rows {
                is_anomaly[first..=last].fill(true);
            }
            let series = series.with_labels(is_anomaly)?;
            Ok(NabSeries {
                name,
                series,
                windows: rows,
            })
        };
        let series = named.into_iter().map(one).collect::<Result<Vec<_>>>()?;
        if series.is_empty() {
            return Err(Error::input(
                labels.display().to_string(),
                "no series",
                "at least one",
            ));
        }
        Ok(Self { series })
    }
}
