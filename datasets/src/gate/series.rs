//! The data gate of time series.

use super::{ClassCount, Finding, GateReport, Kind, Level, SplitSummary};
use crate::series::{TimeSeries, format_stamp};

/// Looks for missing values, gaps, columns that never change, rows of one part that lie within the time of another
/// (an error: what is scored must come later), and a part without two rows in a stretch. The balance is that of the point
/// labels, where there are any. Rows that are out of order or repeat a time never come so far: reading refuses them.
pub fn inspect_series(train: &TimeSeries, others: &[(&str, &TimeSeries)]) -> GateReport {
    let mut splits = vec![("train", train)];
    splits.extend(others);
    let summaries = splits.iter().map(summary).collect();
    let mut report = GateReport::new(train.location(), summaries, balance(&splits));
    report.compare(&splits, single, overlap);
    report
}

/// As [`inspect_series`] for series that stand beside each other: their times may overlap.
pub fn inspect_series_set(location: &str, set: &[(&str, &TimeSeries)]) -> GateReport {
    let summaries = set.iter().map(summary).collect();
    let mut report = GateReport::new(location, summaries, balance(set));
    report.compare(set, single, |_, _| None);
    report
}

fn summary((name, series): &(&str, &TimeSeries)) -> SplitSummary {
    SplitSummary {
        name: (*name).into(),
        location: series.location().into(),
        samples: series.len(),
        unusable: (0..series.len())
            .filter(|&at| series.is_missing(at))
            .collect(),
    }
}

fn balance(splits: &[(&str, &TimeSeries)]) -> Vec<ClassCount> {
    if splits.iter().all(|(_, series)| series.labels().is_none()) {
        return Vec::new();
    }
    let count = |wanted: bool| {
        let of = |(_, series): &(&str, &TimeSeries)| {
            series.labels().map_or(0, |labels| {
                labels.iter().filter(|&&label| label == wanted).count()
            })
        };
        splits.iter().map(of).collect()
    };
    [("normal", false), ("anomaly", true)]
        .map(|(class, wanted)| ClassCount {
            class: class.into(),
            counts: count(wanted),
        })
        .into()
}

fn single(series: &TimeSeries) -> Vec<Finding> {
    let at = |row: usize| format_stamp(series.stamps()[row]);
    let missing: Vec<String> = (0..series.len())
        .filter(|&row| series.is_missing(row))
        .map(at)
        .collect();
    let gaps: Vec<String> = series
        .gaps()
        .into_iter()
        .map(|row| format!("{} to {}", at(row - 1), at(row)))
        .collect();
    let is_constant = |values: &[f64]| {
        let mut present = values.iter().filter(|value| !value.is_nan());
        let first = present.next();
        present.all(|value| Some(value) == first)
    };
    let columns = series
        .columns()
        .iter()
        .filter(|(_, values)| is_constant(values));
    let constant: Vec<String> = columns.map(|(name, _)| name.clone()).collect();
    let is_torn = series.stretches().iter().all(|stretch| stretch.len() < 2);
    let torn = is_torn.then(|| {
        let what = "stretches of two rows or more without a gap or a missing value";
        Finding::new(Level::Error, Kind::FewSamples, what, 0, [])
    });
    [
        Finding::about(
            Level::Warning,
            Kind::Missing,
            "rows with a missing value",
            &missing,
        ),
        Finding::about(Level::Info, Kind::Gap, "gaps; no window crosses one", &gaps),
        Finding::about(
            Level::Warning,
            Kind::Constant,
            "columns that never change",
            &constant,
        ),
        torn,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn overlap(series: &TimeSeries, with: &TimeSeries) -> Option<Finding> {
    let (first, last) = (*series.stamps().first()?, *series.stamps().last()?);
    let within = with
        .stamps()
        .iter()
        .filter(|&&stamp| first <= stamp && stamp <= last);
    let within: Vec<String> = within.map(|&stamp| format_stamp(stamp)).collect();
    let what = "rows of the second lie within the time of the first";
    Finding::about(Level::Error, Kind::Leakage, what, &within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::SeriesOptions;

    fn series(text: &str) -> TimeSeries {
        TimeSeries::from_csv("s.csv", text.as_bytes(), &SeriesOptions::default()).unwrap()
    }

    #[test]
    fn gaps_missing_values_and_constants_are_found() {
        let report = inspect_series(
            &series("t,v,c,label\n0,1,5,0\n1,,5,0\n2,3,5,1\n9,4,5,0\n10,5,5,0\n"),
            &[],
        );
        let found: Vec<_> = report.findings.iter().map(|f| (f.kind, f.count)).collect();
        assert_eq!(
            found,
            [(Kind::Missing, 1), (Kind::Constant, 1), (Kind::Gap, 1)]
        );
        assert_eq!(report.balance[1].counts, [1]);
        assert_eq!(report.unusable("train"), [1]);
    }

    #[test]
    fn parts_that_share_time_are_refused() {
        let (train, valid) = (series("t,v\n0,1\n1,2\n2,3\n"), series("t,v\n2,1\n3,2\n"));
        let report = inspect_series(&train, &[("valid", &valid)]);
        assert_eq!(report.of(Kind::Leakage).next().unwrap().count, 1);
        assert!(report.refuse_unless(false).is_err());
        let later = series("t,v\n3,1\n4,2\n");
        assert!(inspect_series(&train, &[("valid", &later)]).is_clean());
    }

    #[test]
    fn a_part_of_single_rows_is_refused() {
        let report = inspect_series(&series("t,v\n0,1\n1,\n2,1.5\n"), &[]);
        assert!(report.of(Kind::FewSamples).next().is_some(), "{report}");
    }
}
