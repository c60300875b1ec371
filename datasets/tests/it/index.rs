//! CSV and Parquet indexes.

use crate::{assert_has, pixels, refused, write, write_image};
use panoply_datasets::{Split, open};
use tempfile::{TempDir, tempdir};

/// A folder with four images and `text` as `labels.csv`.
fn csv(text: impl AsRef<[u8]>) -> TempDir {
    let dir = tempdir().unwrap();
    for (seed, file) in ["img/a.png", "img/b.png", "c.png", "d, e.png"]
        .iter()
        .enumerate()
    {
        write_image(&dir.path().join(file), seed as u32);
    }
    write(&dir.path().join("labels.csv"), text);
    dir
}

#[cfg(not(feature = "tables"))]
#[test]
fn without_the_feature_an_index_says_so() {
    let dir = csv("path,label\nimg/a.png,cat\n");
    assert_has(
        &refused(open(dir.path(), Split::Train)),
        &["labels.csv", "feature `tables`"],
    );
    assert_has(
        &refused(open(&dir.path().join("labels.csv"), Split::Train)),
        &["feature `tables`"],
    );
    assert_eq!(pixels(0, 1, 1).dimensions(), (1, 1));
}

#[cfg(feature = "tables")]
mod tables {
    use super::*;
    use panoply_datasets::{ImageSet, Layout, detect, gate, open_for_eval};
    use polars::prelude::{Column, DataFrame, ParquetWriter};
    use std::path::Path;

    fn train_error(text: impl AsRef<[u8]>) -> String {
        refused(open(csv(text).path(), Split::Train))
    }

    fn seen(set: &ImageSet) -> Vec<(String, Option<&str>)> {
        (0..set.len())
            .map(|i| (set.name(i), set.class_of(i)))
            .collect()
    }

    #[test]
    fn a_csv_index() {
        let text = "\u{feff}id,File,Label\n1,img/b.png,dog\n2,img/a.png,cat\n3,\"d, e.png\",\"a \"\"big\"\" dog\"\n4,c.png,dog\n";
        let dir = csv(text);
        let set = open(dir.path(), Split::Train).unwrap();
        assert_eq!((set.layout(), set.is_grey()), (Layout::Index, false));
        assert_eq!(set.classes(), ["a \"big\" dog", "cat", "dog"]);
        let expected = [
            ("img/b.png".into(), Some("dog")),
            ("img/a.png".into(), Some("cat")),
            ("d, e.png".into(), Some("a \"big\" dog")),
            ("c.png".into(), Some("dog")),
        ];
        assert_eq!(seen(&set), expected);
        assert_eq!(set.image(0).unwrap(), pixels(1, 8, 6));
        assert_eq!(set.image(2).unwrap(), pixels(3, 8, 6));
        // The file itself is a data set, too.
        let direct = open(&dir.path().join("labels.csv"), Split::Train).unwrap();
        assert_eq!(direct.digest().unwrap(), set.digest().unwrap());
    }

    #[test]
    fn labels_keep_their_spelling_and_numbers_their_order() {
        let set = open(
            csv("path,label\nc.png,10\nimg/a.png,9\nimg/b.png,0\n").path(),
            Split::Train,
        )
        .unwrap();
        assert_eq!(set.classes(), ["0", "9", "10"]);
        let set = open(
            csv("path,label\nc.png,010\nimg/a.png,b\nimg/b.png,9\n").path(),
            Split::Train,
        )
        .unwrap();
        assert_eq!(set.classes(), ["010", "9", "b"]);
    }

    #[test]
    fn a_column_of_splits() {
        let text = "path,label,split\nc.png,dog,train\nimg/a.png,cat,test\nimg/b.png,bird,VAL\n";
        let dir = csv(text);
        assert_eq!(
            detect(dir.path()).unwrap().splits(),
            [Split::Train, Split::Valid, Split::Test]
        );
        let set = open(dir.path(), Split::Test).unwrap();
        assert_eq!(
            (set.classes().len(), seen(&set)),
            (3, vec![("img/a.png".into(), Some("cat"))])
        );
        let text = train_error("path,label,split\nc.png,dog,train\nimg/a.png,cat,tset\n");
        assert_has(&text, &["labels.csv, row 2", "tset", "did you mean 'test'"]);
        assert_has(
            &train_error("path,label,split\nc.png,dog,\n"),
            &["row 1", "a split"],
        );
    }

    #[test]
    fn one_index_a_split() {
        let dir = csv("");
        std::fs::remove_file(dir.path().join("labels.csv")).unwrap();
        write(
            &dir.path().join("train.csv"),
            "path,label\nimg/a.png,cat\nimg/b.png,dog\n",
        );
        write(&dir.path().join("test.csv"), "path\nc.png\n");
        assert_eq!(
            open(dir.path(), Split::Train).unwrap().classes(),
            ["cat", "dog"]
        );
        let test = open_for_eval(dir.path()).unwrap();
        assert_eq!(test.labels(), [None]);
        write(&dir.path().join("index.csv"), "path,label\nc.png,dog\n");
        assert_has(
            &refused(detect(dir.path())),
            &["index.csv", "test.csv", "can be the index"],
        );
    }

    #[test]
    fn bad_tables_are_errors() {
        assert_has(
            &train_error("image_url,label\nc.png,dog\n"),
            &["labels.csv", "no column of paths", "image_url"],
        );
        assert_has(
            &train_error("path,kind\nc.png,dog\n"),
            &["no column of labels among: path, kind", "category"],
        );
        assert_has(
            &train_error("path,label\n,dog\n"),
            &["labels.csv, row 1", "no path"],
        );
        assert_has(&train_error("path,label\n"), &["labels.csv", "no row"]);
        assert_has(&train_error(""), &["labels.csv"]);
        assert_has(
            &train_error("path,label\nc.png,dog,more,cells\n"),
            &["labels.csv"],
        );
        assert_has(
            &train_error(b"path,label\nc.png,d\xff\xfeg\n"),
            &["labels.csv"],
        );
    }

    #[test]
    fn a_missing_or_damaged_image_names_its_row() {
        let dir = csv("path,label\nimg/a.png,cat\ngone.png,dog\nbad.png,dog\n");
        write(&dir.path().join("bad.png"), "this is text");
        let set = open(dir.path(), Split::Train).unwrap();
        assert!(set.image(0).is_ok());
        assert_has(&refused(set.image(1)), &["labels.csv, row 2", "gone.png"]);
        assert_has(&refused(set.image(2)), &["labels.csv, row 3", "bad.png"]);
        let report = gate::inspect(&set, &[]);
        assert_eq!(report.unusable("train"), [1, 2]);
        assert_eq!(
            report
                .of(gate::Kind::Missing)
                .map(|f| f.examples.clone())
                .collect::<Vec<_>>(),
            [["gone.png"]]
        );
        assert_eq!(report.of(gate::Kind::Corrupt).count(), 1);
        assert_eq!(
            gate::inspect(&set.without(report.unusable("train")), &[])
                .of(gate::Kind::Missing)
                .count(),
            0
        );
    }

    #[test]
    fn samples_without_a_label_are_found() {
        let dir = csv("path,label\nimg/a.png,cat\nimg/b.png,\nc.png,\"  \"\n");
        let set = open(dir.path(), Split::Train).unwrap();
        assert_eq!(set.labels(), [Some(0), None, None]);
        let report = gate::inspect(&set, &[]);
        let found: Vec<_> = report.of(gate::Kind::Unlabelled).collect();
        assert_eq!(
            (found.len(), found[0].count, found[0].level),
            (1, 2, gate::Level::Error)
        );
        assert_eq!(report.unusable("train"), [1, 2]);
    }

    fn parquet(path: &Path, columns: Vec<Column>) {
        let mut frame = DataFrame::new_infer_height(columns).unwrap();
        ParquetWriter::new(std::fs::File::create(path).unwrap())
            .finish(&mut frame)
            .unwrap();
    }

    #[test]
    fn a_parquet_index() {
        let dir = csv("");
        std::fs::remove_file(dir.path().join("labels.csv")).unwrap();
        let path = dir.path().join("metadata.parquet");
        let files = ["c.png", "img/a.png", "img/b.png"];
        let label = |values: &[Option<i64>]| Column::new("label".into(), values);
        let names = || Column::new("file_name".into(), files.as_slice());
        let extra = Column::new("weight".into(), [0.5f64, 1.0, 2.0].as_slice());
        parquet(
            &path,
            vec![extra, label(&[Some(10), Some(2), None]), names()],
        );
        let set = open(dir.path(), Split::Train).unwrap();
        let expected = [
            ("c.png".into(), Some("10")),
            ("img/a.png".into(), Some("2")),
            ("img/b.png".into(), None),
        ];
        assert_eq!(set.classes(), ["2", "10"]);
        assert_eq!(seen(&set), expected);
        assert_eq!(set.image(0).unwrap(), pixels(2, 8, 6));

        let text = Column::new("label".into(), ["x", "y", "x"].as_slice());
        parquet(&path, vec![names(), text]);
        assert_eq!(
            open(dir.path(), Split::Train).unwrap().classes(),
            ["x", "y"]
        );
        parquet(&path, vec![names()]);
        assert_has(
            &refused(open(dir.path(), Split::Train)),
            &["metadata.parquet", "no column of labels"],
        );
    }

    #[test]
    fn damaged_parquet_is_an_error() {
        let dir = csv("");
        std::fs::remove_file(dir.path().join("labels.csv")).unwrap();
        let path = dir.path().join("index.parquet");
        let names = Column::new("path".into(), ["c.png", "img/a.png"].as_slice());
        let labels = Column::new("label".into(), ["x", "y"].as_slice());
        parquet(&path, vec![names, labels]);
        let whole = std::fs::read(&path).unwrap();
        assert!(open(dir.path(), Split::Train).is_ok());
        for cut in (0..whole.len()).step_by(37) {
            write(&path, &whole[..cut]);
            assert_has(&refused(open(dir.path(), Split::Train)), &["index.parquet"]);
        }
        // A flipped byte may go unnoticed; it must not end the program. (The two bytes that count
        // the values of a data page are not among these: see the known limit in tables.rs.)
        for at in (0..whole.len()).step_by(5) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            write(&path, bytes);
            if let Err(e) = open(dir.path(), Split::Train) {
                assert_eq!(e.exit_code(), 2, "{e}");
            }
        }
    }
}
