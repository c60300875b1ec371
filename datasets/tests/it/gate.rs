//! Planted defects, each found, and a clean set without any.

use crate::{pixels, write, write_image, write_sized};
use panoply_core::progress::Interrupt;
use panoply_datasets::{
    Error, ImageSet, Split,
    gate::{Checks, Finding, GateReport, Kind, Level, inspect, inspect_with},
    open,
};
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// Twelve training and four validation images of each of three classes, all different.
fn clean() -> TempDir {
    let dir = tempdir().unwrap();
    for (split, count, base) in [("train", 12, 0), ("valid", 4, 1000)] {
        for (c, class) in ["ant", "bee", "cat"].iter().enumerate() {
            for i in 0..count {
                let path = dir
                    .path()
                    .join(split)
                    .join(class)
                    .join(format!("{i:02}.png"));
                write_image(&path, base + c as u32 * 100 + i);
            }
        }
    }
    dir
}

fn sets(dir: &TempDir) -> (ImageSet, ImageSet) {
    (
        open(dir.path(), Split::Train).unwrap(),
        open(dir.path(), Split::Valid).unwrap(),
    )
}

fn inspect_dir(dir: &TempDir) -> GateReport {
    let (train, valid) = sets(dir);
    inspect(&train, &[("valid", &valid)])
}

/// The report of a clean set after `plant` has changed the folder: the only finding that matters.
#[track_caller]
fn planted(plant: impl FnOnce(&Path)) -> Finding {
    let dir = clean();
    plant(dir.path());
    let report = inspect_dir(&dir);
    let found: Vec<&Finding> = report
        .findings
        .iter()
        .filter(|f| f.level > Level::Info)
        .collect();
    assert_eq!(found.len(), 1, "{report}");
    assert_eq!(
        report.refuse_unless(false).is_err(),
        found[0].level == Level::Error
    );
    report.refuse_unless(true).unwrap();
    found[0].clone()
}

#[track_caller]
fn check(found: &Finding, level: Level, kind: Kind, split: &str, count: usize, example: &str) {
    assert_eq!(
        (found.level, found.kind, found.split.as_str(), found.count),
        (level, kind, split, count),
        "{found}"
    );
    assert!(found.examples[0].contains(example), "{found}");
}

#[test]
fn a_clean_set_has_no_finding() {
    let dir = clean();
    let report = inspect_dir(&dir);
    assert!(report.findings.is_empty() && report.is_clean(), "{report}");
    assert_eq!(
        (report.imbalance, report.splits[1].samples),
        (Some(1.0), 12)
    );
    assert_eq!(report.balance[2].counts, [12, 4]);
    report.refuse_unless(false).unwrap();
    let text = report.to_string();
    assert!(
        text.contains("  cat       12      4\n") && text.ends_with("0 error(s), 0 warning(s)"),
        "{text}"
    );
}

#[test]
fn corrupt_files() {
    let found = planted(|root| {
        write(&root.join("train/ant/03.png"), "this is text");
        let bytes = std::fs::read(root.join("train/bee/03.png")).unwrap();
        write(&root.join("train/bee/03.png"), &bytes[..40]);
    });
    check(
        &found,
        Level::Error,
        Kind::Corrupt,
        "train",
        2,
        "ant/03.png",
    );
}

#[cfg(unix)]
#[test]
fn missing_files() {
    let found = planted(|root| {
        let path = root.join("train/ant/03.png");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(root.join("gone"), path).unwrap();
    });
    check(
        &found,
        Level::Error,
        Kind::Missing,
        "train",
        1,
        "train/ant/03.png",
    );
}

#[test]
fn duplicates_and_conflicts() {
    // Re-encoded: the pixels count, not the bytes.
    let found = planted(|root| {
        pixels(1, 8, 6)
            .save(root.join("train/ant/copy.bmp"))
            .unwrap();
    });
    check(
        &found,
        Level::Warning,
        Kind::Duplicate,
        "train",
        1,
        "train/ant/01.png (ant) = train/ant/copy.bmp (ant)",
    );
    let found = planted(|root| {
        pixels(1, 8, 6)
            .save(root.join("train/cat/copy.bmp"))
            .unwrap();
    });
    check(
        &found,
        Level::Error,
        Kind::Conflict,
        "train",
        2,
        "train/ant/01.png (ant) = train/cat/copy.bmp (cat)",
    );
}

#[test]
fn the_same_bytes_in_another_shape_are_another_image() {
    let dir = clean();
    let grey = |w, h| image::GrayImage::from_pixel(w, h, image::Luma([7]));
    grey(8, 6).save(dir.path().join("train/ant/a.png")).unwrap();
    grey(6, 8).save(dir.path().join("train/bee/b.png")).unwrap();
    assert!(inspect_dir(&dir).is_clean());
}

#[test]
fn leakage() {
    let leak =
        |to: &'static str| planted(move |root| pixels(205, 8, 6).save(root.join(to)).unwrap());
    let found = leak("valid/cat/copy.png");
    check(
        &found,
        Level::Error,
        Kind::Leakage,
        "train, valid",
        1,
        "train/cat/05.png (cat) = valid/cat/copy.png (cat)",
    );
    let found = leak("valid/ant/copy.png");
    check(
        &found,
        Level::Error,
        Kind::Leakage,
        "train, valid",
        1,
        "valid/ant/copy.png (ant)",
    );
    // Between two splits that are not trained on it is a warning.
    let dir = clean();
    let (train, valid) = sets(&dir);
    let report = inspect(
        &train,
        &[("valid", &valid), ("test", &valid.subset(&[0, 5]))],
    );
    let leaks: Vec<_> = report
        .of(Kind::Leakage)
        .map(|f| (f.level, f.split.as_str(), f.count))
        .collect();
    assert_eq!(leaks, [(Level::Warning, "valid, test", 2)]);
}

#[test]
fn empty_classes() {
    let found = planted(|root| std::fs::create_dir(root.join("train/dog")).unwrap());
    check(&found, Level::Error, Kind::EmptyClass, "train", 1, "dog");
    let found = planted(|root| std::fs::remove_dir_all(root.join("valid/bee")).unwrap());
    check(&found, Level::Warning, Kind::EmptyClass, "valid", 1, "bee");
}

#[test]
fn one_class_is_not_enough() {
    let dir = clean();
    let (train, _) = sets(&dir);
    let ants: Vec<usize> = (0..12).collect();
    let one = train
        .subset(&ants)
        .relabelled(&["ant".to_string()])
        .unwrap();
    let report = inspect(&one, &[]);
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|f| (f.level, f.kind, f.count))
        .collect();
    assert_eq!(found, [(Level::Error, Kind::FewClasses, 1)]);
    let checks = Checks {
        min_classes: 1,
        ..Checks::default()
    };
    assert!(
        inspect_with(&one, &[], &checks, &Interrupt::default())
            .unwrap()
            .is_clean()
    );
}

#[test]
fn class_lists_that_differ() {
    let dir = clean();
    let (train, valid) = sets(&dir);
    let order = ["bee", "ant", "cat"].map(String::from);
    let report = inspect(&train, &[("valid", &valid.relabelled(&order).unwrap())]);
    let found = report.of(Kind::ClassList).next().unwrap();
    check(found, Level::Error, Kind::ClassList, "valid", 2, "bee");
}

#[test]
fn small_classes_and_imbalance() {
    let found = planted(|root| {
        for i in 3..12 {
            std::fs::remove_file(root.join(format!("train/bee/{i:02}.png"))).unwrap();
        }
    });
    check(
        &found,
        Level::Warning,
        Kind::FewSamples,
        "train",
        1,
        "bee: 3",
    );
    let found = planted(|root| {
        for i in 0..120 {
            write_image(&root.join(format!("train/bee/m{i}.png")), 5000 + i);
        }
    });
    check(
        &found,
        Level::Warning,
        Kind::Imbalance,
        "train",
        2,
        "ant: 12",
    );
}

#[test]
fn sizes() {
    let found = planted(|root| write_sized(&root.join("train/ant/99.png"), 9, 400, 300));
    check(
        &found,
        Level::Warning,
        Kind::SizeOutlier,
        "train",
        1,
        "ant/99.png (400x300)",
    );
    let found = planted(|root| write_sized(&root.join("valid/ant/99.png"), 9, 1, 48));
    check(
        &found,
        Level::Warning,
        Kind::SizeOutlier,
        "valid",
        1,
        "ant/99.png (1x48)",
    );
}

#[test]
fn unknown_files() {
    let found = planted(|root| write(&root.join("train/ant/photo.heic"), "?"));
    check(
        &found,
        Level::Warning,
        Kind::UnknownFile,
        "train",
        1,
        "train/ant/photo.heic",
    );
}

#[test]
fn the_report_does_not_depend_on_threads() {
    let dir = clean();
    for i in 0..8 {
        let path = dir.path().join(format!(
            "train/{}/again{i}.png",
            ["ant", "bee"][i as usize % 2]
        ));
        write_image(&path, 100 * (i % 3) + i);
        write(&dir.path().join(format!("train/cat/bad{i}.jpg")), "text");
    }
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        serde_json::to_string(&pool.install(|| inspect_dir(&dir))).unwrap()
    };
    let one = with(1);
    assert!(one.contains("conflict") && one.contains("corrupt"));
    assert_eq!(one, with(4));
}

#[test]
fn an_interrupt_ends_the_inspection() {
    let dir = clean();
    let interrupt = Interrupt::default();
    interrupt.raise();
    let result = inspect_with(&sets(&dir).0, &[], &Checks::default(), &interrupt);
    assert!(matches!(result, Err(Error::Interrupted { .. })));
}
