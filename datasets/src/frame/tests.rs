use super::*;
use crate::gate::{Kind, Level, inspect_frames};
use serde_json::{Map, Value, json};

fn table(text: &str) -> Frame {
    Frame::from_csv("here", text.as_bytes(), &TableOptions::default()).unwrap()
}

fn refused(text: &str) -> String {
    Frame::from_csv("here", text.as_bytes(), &TableOptions::default())
        .unwrap_err()
        .to_string()
}

const MIXED: &str = "\
size,colour,code,label
1.5,red,007,0
,blue,7,normal
3,red,x,0
2.5,?,,attack
";

#[test]
fn columns_are_what_they_hold() {
    let frame = table(MIXED);
    assert_eq!((frame.len(), frame.columns().len()), (4, 3));
    let kinds: Vec<ColumnKind> = frame.columns().iter().map(|(_, c)| c.kind()).collect();
    use ColumnKind::{Categorical, Numeric};
    assert_eq!(kinds, [Numeric, Categorical, Categorical]);
    assert_eq!(frame.is_anomaly().unwrap(), [false, false, false, true]);
    assert_eq!(frame.columns()[0].1.num_missing(), 1);
    assert_eq!(frame.columns()[1].1.num_missing(), 1);
    assert_eq!(frame.name(3), "line 5");
    assert_ne!(frame.digest(), frame.select(&[0, 1, 2]).digest());
}

#[test]
fn rows_that_do_not_parse_are_named_and_left_out() {
    let good: String = (0..60)
        .flat_map(|i| [i.to_string(), ",1\n".into()])
        .collect();
    let text = format!("a,b\n{good}inf,1\nabc,1\n1\n1,2,3\n");
    let frame = table(&text);
    assert_eq!(frame.len(), 60);
    let expected = [
        "line 64: 1 cells, not 2",
        "line 65: 3 cells, not 2",
        "line 62: 'inf' in a is no finite number",
        "line 63: 'abc' in a is no finite number",
    ];
    assert_eq!(frame.unparsed(), expected);
    let levels = |max| {
        let report = inspect_frames(&frame, &[], max);
        report
            .of(Kind::Corrupt)
            .map(|f| (f.level, f.count))
            .collect::<Vec<_>>()
    };
    assert_eq!(levels(0.01), [(Level::Error, 4)]);
    assert_eq!(levels(0.1), [(Level::Warning, 4)]);
}

#[test]
fn what_is_no_table_is_refused() {
    assert!(refused("").contains("empty file"));
    assert!(refused("a,b\n").contains("no rows"));
    assert!(refused("a,a\n1,2\n").contains("two columns 'a'"));
    assert!(refused("label\n1\n").contains("no columns"));
    let options = TableOptions {
        label: Some("kind".into()),
        ..TableOptions::default()
    };
    let e = Frame::from_csv("here", b"a,b\n1,2\n", &options).unwrap_err();
    assert!(
        e.to_string()
            .contains("no column 'kind'; its columns are a, b"),
        "{e}"
    );
    let options = TableOptions {
        drop: vec!["c".into()],
        ..TableOptions::default()
    };
    assert!(Frame::from_csv("here", b"a,b\n1,2\n", &options).is_err());
}

#[test]
fn the_training_part_alone_says_how_rows_become_numbers() {
    let frame = table(MIXED);
    let train = frame.select(&[0, 1, 2]);
    let encoder = Encoder::fit(&train, &EncodeConfig::default()).unwrap();
    // size and its mask, blue and red, three codes and no more.
    assert_eq!(encoder.width(), 2 + 2 + 3);
    assert_eq!(encoder.owners(), [0, 0, 1, 1, 2, 2, 2]);
    let rows = encoder.encode(&train).unwrap();
    // The gap has the median of 1.5 and 3.
    assert_eq!(rows.row(1), [0.5, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    let new: Map<String, Value> = match json!({
        "size": "4.5", "colour": "green", "code": null, "label": 1
    }) {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    // Beyond the training part's extent; a colour that it has not; its first code for a missing one.
    let encoded = encoder.encode_row(&new, "row").unwrap();
    assert_eq!(encoded, [2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    let text = serde_json::to_string(&encoder).unwrap();
    assert_eq!(serde_json::from_str::<Encoder>(&text).unwrap(), encoder);
}

#[test]
fn rows_with_other_columns_are_refused() {
    let encoder = Encoder::fit(&table("a,b\n1,x\n2,y\n"), &EncodeConfig::default()).unwrap();
    let error = |row: Value| match row {
        Value::Object(row) => encoder.encode_row(&row, "row 1").unwrap_err().to_string(),
        _ => String::new(),
    };
    assert!(error(json!({"a": 1})).contains("no column 'b'"));
    assert!(error(json!({"a": 1, "b": "x", "c": 2})).contains("a column 'c'"));
    assert!(error(json!({"a": "one", "b": "x"})).contains("'one' in column 'a'"));
    assert!(error(json!({"a": [1], "b": "x"})).contains("a list in column 'a'"));
    let other = table("a,c\n1,2\n");
    assert!(
        encoder
            .encode(&other)
            .unwrap_err()
            .to_string()
            .contains("no column 'b'")
    );
}

#[test]
fn scaling_is_scikit_learns() {
    let frame = table("a,b\n1,5\n2,5\n4,5\n");
    let config = |scaling| EncodeConfig {
        scaling,
        ..EncodeConfig::default()
    };
    let encode = |scaling| {
        let encoder = Encoder::fit(&frame, &config(scaling)).unwrap();
        encoder.encode(&frame).unwrap()
    };
    let min_max = encode(Scaling::MinMax);
    assert_eq!(min_max.column(0).collect::<Vec<_>>(), [0.0, 1.0 / 3.0, 1.0]);
    assert_eq!(min_max.column(1).collect::<Vec<_>>(), [0.0; 3]);
    let standard = encode(Scaling::Standard);
    let sum: f64 = standard.column(0).sum();
    let squares: f64 = standard.column(0).map(|v| v * v).sum();
    assert!(sum.abs() < 1e-12 && (squares - 3.0).abs() < 1e-12);
    assert_eq!(encode(Scaling::None).row(2), [4.0, 5.0]);
}

#[test]
fn many_categories_are_told_by_their_share() {
    let frame = table("a\nx\nx\ny\nz\n");
    let config = EncodeConfig {
        max_categories: 2,
        ..EncodeConfig::default()
    };
    let encoder = Encoder::fit(&frame, &config).unwrap();
    let rows = encoder.encode(&frame).unwrap();
    assert_eq!(rows.values(), [0.5, 0.5, 0.25, 0.25]);
    assert_eq!(encoder.encode(&table("a\nnew\n")).unwrap().values(), [0.0]);
}

#[test]
fn the_latest_rows_are_held_out_without_tearing_a_moment_apart() {
    let frame = table("t,label\n3,0\n1,0\n2,0\n2,0\n4,1\n");
    let times = |frame: &Frame| match &frame.columns()[0].1 {
        Column::Numeric(values) => values.clone(),
        Column::Categorical { .. } => Vec::new(),
    };
    let (early, late) = frame.clone().holdout_latest(0.6, "t").unwrap();
    assert_eq!(
        (times(&early), times(&late)),
        (vec![1.0, 2.0, 2.0], vec![3.0, 4.0])
    );
    let encoder = Encoder::fit(&table("t,a\n1,2\n").without("t"), &EncodeConfig::default());
    let row = [("t", json!(9)), ("a", json!(2))].map(|(k, v)| (k.to_string(), v));
    let encoded = encoder
        .unwrap()
        .encode_row(&row.into_iter().collect(), "row");
    assert_eq!(encoded.unwrap(), [0.0]);
    assert!(frame.clone().holdout_latest(0.1, "x").is_err());
    assert!(frame.clone().holdout_latest(1.5, "t").is_err());
    let (kept, held) = frame.holdout(0.5, 3).unwrap();
    assert_eq!((kept.len(), held.len()), (3, 2));
}

#[test]
fn json_lines_and_arrays_read_like_csv() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.jsonl");
    let text = "{\"a\": 1, \"b\": \"x\"}\n\n{\"a\": null}\n3\n{\"a\": 2, \"c\": 1}\n";
    std::fs::write(&path, text).unwrap();
    let frame = Frame::open(&path, &TableOptions::default(), None).unwrap();
    assert_eq!((frame.len(), frame.unparsed().len()), (2, 2));
    assert!(Frame::open(&dir.path().join("t.txt"), &TableOptions::default(), None).is_err());
    std::fs::write(&path, "").unwrap();
    assert!(Frame::open(&path, &TableOptions::default(), None).is_err());
}

#[cfg(feature = "tables")]
#[test]
fn numpy_archives_are_read_in_either_order() {
    // np.savez(X=np.asfortranarray([[1, 2, 3], [4, 5, 6.5]]), y=np.array([0, 1])), and one of u8 in C order without y.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/frame");
    let config = EncodeConfig {
        scaling: Scaling::None,
        ..EncodeConfig::default()
    };
    let rows = |frame: &Frame| Encoder::fit(frame, &config).unwrap().encode(frame).unwrap();
    let open = |name: &str| Frame::open(&folder.join(name), &TableOptions::default(), None);
    let frame = open("fortran.npz").unwrap();
    assert_eq!(frame.is_anomaly().unwrap(), [false, true]);
    assert_eq!(rows(&frame).values(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.5]);
    let frame = open("bytes.npz").unwrap();
    assert!(frame.is_anomaly().is_none());
    assert_eq!(rows(&frame).values(), [1.0, 2.0, 3.0, 4.0]);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.npz");
    let bytes = std::fs::read(folder.join("fortran.npz")).unwrap();
    for cut in [0, 10, bytes.len() / 2, bytes.len() - 4] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Frame::open(&path, &TableOptions::default(), None).is_err());
    }
}
