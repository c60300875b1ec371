use super::*;
use std::{fs, path::PathBuf};

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn open(name: &str, content: &str, columns: &Columns) -> Result<LabelledTexts> {
    let dir = tempfile::tempdir().unwrap();
    LabelledTexts::open(&write(dir.path(), name, content), columns)
}

fn rows(texts: &LabelledTexts) -> Vec<(&str, Vec<&str>)> {
    let labels = |row: usize| {
        texts
            .labels(row)
            .iter()
            .map(|&l| texts.classes()[l].as_str())
    };
    (0..texts.len())
        .map(|row| (texts.text(row), labels(row).collect()))
        .collect()
}

#[test]
fn every_format_gives_the_same_rows() {
    let expected = [("a, \"b\"\nc", vec!["10"]), ("日本", vec!["2"])];
    let default = Columns::default();
    let csv = "id,label,sentence\n1,10,\"a, \"\"b\"\"\nc\"\n2,2,日本\n";
    let texts = open("x.csv", csv, &default).unwrap();
    assert_eq!(rows(&texts), expected);
    assert_eq!(texts.classes(), ["2", "10"], "numbers in their order");
    let lines =
        "{\"text\": \"a, \\\"b\\\"\\nc\", \"label\": 10}\n\n{\"label\": \"2\", \"text\": \"日本\"}";
    assert_eq!(rows(&open("x.jsonl", lines, &default).unwrap()), expected);
    let bare = Columns {
        header: false,
        ..default
    };
    let texts = open("x.tsv", "one \"quoted\tneg\ntwo\tpos\n", &bare).unwrap();
    assert_eq!(rows(&texts)[0], ("one \"quoted", vec!["neg"]));
    assert_eq!(texts.len(), 2);
}

#[test]
fn labels_may_be_several() {
    let columns = Columns {
        separator: Some('|'),
        ..Columns::default()
    };
    let texts = open("x.csv", "text,label\na,x| y\nb,\nc,y|y\n", &columns).unwrap();
    let expected = [("a", vec!["x", "y"]), ("b", vec![]), ("c", vec!["y"])];
    assert_eq!(rows(&texts), expected);
    let lines = "{\"text\": \"a\", \"labels\": [\"y\", \"x\"]}";
    let texts = open("x.jsonl", lines, &Columns::default()).unwrap();
    assert_eq!(rows(&texts), [("a", vec!["x", "y"])]);
}

#[test]
fn damage_is_named_with_its_place() {
    let refuse = |name: &str, content: &str| {
        let error = open(name, content, &Columns::default()).unwrap_err();
        error.to_string()
    };
    assert!(refuse("x.csv", "text,label\na,b\nc\n").contains("line 3"));
    assert!(refuse("x.csv", "a,b\n1,2\n").contains("its columns are a, b"));
    assert!(refuse("x.csv", "text,label\n").contains("no rows"));
    assert!(refuse("x.jsonl", "{\"text\": 1, \"label\": 2}\n[1]").contains("line 2: no object"));
    assert!(refuse("x.jsonl", "{\"text\": {}, \"label\": 2}").contains("line 1"));
    assert!(refuse("x.xlsx", "").contains("'.xlsx'"));
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "x.csv", b"text,label\n\xFF,1\n");
    let message = LabelledTexts::open(&path, &Columns::default()).unwrap_err();
    assert!(message.to_string().contains("line 2"), "{message}");
    let path = write(dir.path(), "x.csv.gz", b"\x1F\x8B\x08\x00garbage");
    let message = LabelledTexts::open(&path, &Columns::default()).unwrap_err();
    assert!(message.to_string().contains("gzip"), "{message}");
}

#[test]
fn a_folder_holds_splits() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "train.csv", "text,label\na,x\nb,y\n");
    write(dir.path(), "dev.csv", "text,label\nc,y\n");
    write(dir.path(), "readme.txt", "");
    let open = || open_text_splits(dir.path(), &Columns::default(), 0.5, 1);
    let splits = open().unwrap();
    assert_eq!((splits.train.len(), splits.valid.len()), (2, 1));
    assert!(splits.test.is_none());
    assert_eq!(splits.valid.labels(0), [1], "numbered as in training");
    let eval = open_texts_for_eval(dir.path(), &Columns::default()).unwrap();
    assert_eq!(eval.text(0), "c");
    write(
        dir.path(),
        "test.jsonl",
        "{\"text\": \"d\", \"label\": \"z\"}",
    );
    let message = open().unwrap_err().to_string();
    assert!(message.contains("unknown class 'z'"), "{message}");
}

#[test]
fn equal_texts_stay_on_one_side() {
    let row = |i: usize| format!("text {},{}\n", i / 2, i % 2);
    let content: String = "text,label\n".to_string() + &(0..40).map(row).collect::<String>();
    let texts = open("x.csv", &content, &Columns::default()).unwrap();
    let (kept, held) = texts.holdout(0.25, 7).unwrap();
    assert_eq!(kept.len() + held.len(), 40);
    let texts_of = |part: &LabelledTexts| -> BTreeSet<String> {
        (0..part.len()).map(|i| part.text(i).into()).collect()
    };
    assert!(!held.is_empty() && texts_of(&kept).is_disjoint(&texts_of(&held)));
    assert_ne!(kept.digest(), held.digest());
    assert_eq!(kept.digest(), texts.holdout(0.25, 7).unwrap().0.digest());
}
