use super::*;

fn read(text: &str) -> Result<TimeSeries> {
    TimeSeries::from_csv("s.csv", text.as_bytes(), &SeriesOptions::default())
}

fn refusal(text: &str, options: &SeriesOptions) -> String {
    let read = TimeSeries::from_csv("s.csv", text.as_bytes(), options);
    read.unwrap_err().to_string()
}

#[test]
fn columns_find_their_roles() {
    let series = read("value,Date,is_anomaly,other\n1,2014-07-01,0,5\n2,2014-07-02,1,6\n").unwrap();
    let names: Vec<_> = series
        .columns()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["value", "other"]);
    assert_eq!(series.labels(), Some(&[false, true][..]));
    assert_eq!(
        (series.median_step(), series.row(1)),
        (86_400_000, vec![2.0, 6.0])
    );

    let options = SeriesOptions {
        timestamp: Some("b".into()),
        values: vec!["a".into()],
        ..SeriesOptions::default()
    };
    let series = TimeSeries::from_csv("s.csv", b"a,b,c\n7,0,x\n8,60,y\n", &options).unwrap();
    assert_eq!(
        (series.stamps(), series.columns().len()),
        (&[0, 60_000][..], 1)
    );
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let options = SeriesOptions::default();
    for (text, said) in [
        ("timestamp,value\n0,1\n60,2\n30,3\n", "s.csv:4"),
        ("timestamp,value\n0,1\n0,2\n", "s.csv:3"),
        ("timestamp,value\n0,1\nlater,2\n", "'later' in 'timestamp'"),
        ("timestamp,value\n0,high\n", "s.csv:2"),
        ("timestamp,value\n0,inf\n", "'inf' in 'value'"),
        ("timestamp,value,label\n0,1,2\n", "'2' in 'label'"),
        ("a,b\n0,1\n", "no column of times among a, b"),
        ("timestamp\n0\n", "no column of values"),
        ("timestamp,value\n", "no rows"),
        ("", "empty"),
        ("timestamp,value\n0,1,2\n", "line 2"),
    ] {
        let error = refusal(text, &options);
        assert!(error.contains(said), "{text:?}: {error}");
    }
    let missing = SeriesOptions {
        values: vec!["x".into()],
        ..SeriesOptions::default()
    };
    assert!(refusal("timestamp,value\n0,1\n", &missing).contains("no column 'x'"));
}

#[test]
fn order_and_repeated_times_by_explicit_choice() {
    let text = b"timestamp,value\n60,1\n0,2\n60,3\n";
    let options = |keep| SeriesOptions {
        sort: true,
        keep,
        ..SeriesOptions::default()
    };
    let read = |keep| TimeSeries::from_csv("s.csv", text, &options(keep));
    assert!(
        read(None)
            .unwrap_err()
            .to_string()
            .contains("again, as in line 2")
    );
    assert_eq!(read(Some(Keep::First)).unwrap().columns()[0].1, [2.0, 1.0]);
    assert_eq!(read(Some(Keep::Last)).unwrap().columns()[0].1, [2.0, 3.0]);
}

#[test]
fn windows_cross_no_gap_and_no_missing_value() {
    // A missing value at row 3, a gap before row 6.
    let series = read("t,v\n0,1\n1,2\n2,3\n3,\n4,5\n5,6\n9,7\n10,8\n11,NaN\n").unwrap();
    assert_eq!(series.gaps(), [6]);
    assert_eq!(series.stretches(), [0..3, 4..6, 6..8]);
    assert_eq!(series.windows(2, 1), [0..2, 1..3, 4..6, 6..8]);
    assert_eq!(series.windows(2, 2), [0..2, 4..6, 6..8]);
    assert!(series.windows(4, 1).is_empty());
}

#[test]
fn splits_are_by_time() {
    let series = read("t,v\n0,1\n1,2\n2,3\n3,4\n").unwrap();
    let (kept, held) = series.holdout(0.25).unwrap();
    assert_eq!(
        (kept.stamps(), held.stamps()),
        (&[0, 1000, 2000][..], &[3000][..])
    );
    assert_ne!(kept.digest(), held.digest());
    for fraction in [0.0, 1.0, 0.01, f64::NAN] {
        assert!(series.holdout(fraction).is_err(), "{fraction}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("train.csv"), "t,v\n0,1\n1,2\n").unwrap();
    std::fs::write(dir.path().join("test.csv"), "t,w\n2,1\n").unwrap();
    let error = open_series_splits(dir.path(), &SeriesOptions::default(), 0.5).unwrap_err();
    assert!(error.to_string().contains("the columns w"), "{error}");
    let test = open_series_for_eval(dir.path(), &SeriesOptions::default()).unwrap();
    assert_eq!(test.columns()[0].0, "w");
}

#[test]
fn a_series_keeps_its_promises() {
    let make = |stamps: Vec<i64>, values: Vec<f64>| {
        TimeSeries::new("here", stamps, vec![("v".into(), values)], None, 1.5)
    };
    assert!(make(vec![0, 0], vec![1.0, 2.0]).is_err());
    assert!(make(vec![0], vec![1.0, 2.0]).is_err());
    assert!(make(vec![0], vec![f64::INFINITY]).is_err());
    let one = make(vec![5], vec![f64::NAN]).unwrap();
    assert!((one.median_step(), one.stretches().len()) == (0, 0));
    assert!(one.with_labels(vec![]).is_err());
}

#[test]
fn a_folder_of_the_numenta_benchmark() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let rows: Vec<String> = (0..10)
        .map(|i| format!("2014-07-01 00:0{i}:00,{i}\n"))
        .collect();
    let rows = rows.concat();
    write("data/a/one.csv", &format!("timestamp,value\n{rows}"));
    write("data/a/two.csv", &format!("timestamp,value\n{rows}"));
    let labels = |from: &str, to: &str| {
        format!(
            "{{\"a/one.csv\": [[\"2014-07-01 00:0{from}:00.000000\", \"2014-07-01 00:0{to}:00.000000\"]], \"a/two.csv\": []}}"
        )
    };
    write("labels/combined_windows.json", &labels("3", "5"));
    assert!(NabFolder::is_at(dir.path()) && !NabFolder::is_at(&dir.path().join("data")));
    let folder = NabFolder::open(dir.path()).unwrap();
    assert_eq!(folder.series.len(), 2);
    let one = &folder.series[0];
    assert_eq!(
        (one.name.as_str(), &one.windows[..]),
        ("a/one.csv", &[(3, 5)][..])
    );
    assert_eq!(
        one.series.labels().unwrap().iter().filter(|&&l| l).count(),
        3
    );
    assert_eq!(folder.series[1].series.labels(), Some(&[false; 10][..]));

    write("labels/combined_windows.json", &labels("7", "5"));
    let error = NabFolder::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("a/one.csv"), "{error}");
    write("labels/combined_windows.json", "[]");
    assert!(NabFolder::open(dir.path()).is_err());
}
