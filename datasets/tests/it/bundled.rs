//! The bundled data and its manifest.

use panoply_datasets::{Split, bundled, gate};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, path::Path};

fn hex_sum(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[test]
fn the_manifest_lists_every_file_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let mut on_disk = BTreeSet::new();
    for entry in walkdir::WalkDir::new(&root) {
        let entry = entry.unwrap();
        let below = entry
            .path()
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        if entry.file_type().is_file() && !["manifest.json", "make.py"].contains(&below.as_str()) {
            on_disk.insert(below);
        }
    }
    let manifest = bundled::manifest().unwrap();
    let listed: BTreeSet<String> = manifest.iter().map(|entry| entry.file.clone()).collect();
    assert_eq!(on_disk, listed);
    let embedded: BTreeSet<String> = bundled::files()
        .iter()
        .map(|(name, _)| (*name).to_string())
        .collect();
    assert_eq!(embedded, listed);
    for (entry, (name, bytes)) in manifest.iter().zip(bundled::files()) {
        assert_eq!(entry.file, *name);
        assert_eq!(std::fs::read(root.join(name)).unwrap(), *bytes, "{name}");
        assert_eq!(
            (entry.bytes, &entry.sha256),
            (bytes.len() as u64, &hex_sum(bytes)),
            "{name}"
        );
        assert!(!entry.origin.is_empty() && !entry.licence.is_empty() && !entry.note.is_empty());
        let folder = name.split('/').next().unwrap();
        assert!(
            listed.contains(&format!("{folder}/LICENSE.txt")),
            "{folder} has no licence text"
        );
    }
}

#[test]
fn the_text_is_clean() {
    let (train, test) = bundled::ud_chinese_slice().unwrap();
    assert_eq!((train.len(), test.len()), (1000, 200));
    assert_eq!(train.sentences()[0].words[..3], ["看似", "简单", ","]);
    let report = gate::inspect_segmented(&train, &[("test", &test)]);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn photos_decode() {
    let sizes: Vec<_> = bundled::photos()
        .iter()
        .map(|(name, bytes)| {
            (
                *name,
                panoply_datasets::image::decode(bytes, name)
                    .unwrap()
                    .dimensions(),
            )
        })
        .collect();
    let expected = [
        ("chelsea.jpg", (451, 300)),
        ("coffee.jpg", (600, 400)),
        ("rocket.jpg", (640, 427)),
        ("astronaut.jpg", (512, 512)),
    ];
    assert_eq!(sizes, expected);
}

#[test]
fn the_slice_is_balanced_and_clean() {
    let train = bundled::fashion_mnist_slice(Split::Train).unwrap();
    let test = bundled::fashion_mnist_slice(Split::Test).unwrap();
    assert_eq!(
        (train.class_counts(), test.class_counts()),
        (vec![200; 10], vec![50; 10])
    );
    assert_eq!(
        (train.classes()[9].as_str(), test.classes()),
        ("Ankle boot", train.classes())
    );
    // The first labels of the original files.
    assert_eq!(train.labels()[..5], [9, 0, 0, 3, 0].map(Some));
    assert_eq!(test.labels()[..5], [9, 2, 1, 1, 6].map(Some));
    assert_eq!(train.name(7), "train-images-idx3-ubyte.gz#7");
    let (train, valid) = train.holdout(0.2, 1).unwrap();
    let report = gate::inspect(&train, &[("valid", &valid), ("test", &test)]);
    assert!(report.findings.is_empty(), "{report}");
    assert_eq!(report.imbalance, Some(1.0));
    assert!(bundled::fashion_mnist_slice(Split::Valid).is_err());
}

#[test]
fn languages_are_balanced_and_no_text_is_in_both_splits() {
    let train = bundled::languages(Split::Train).unwrap();
    let test = bundled::languages(Split::Test).unwrap();
    assert_eq!(
        (train.len(), test.len(), train.classes().len()),
        (1203, 311, 8)
    );
    let report = gate::inspect_labelled(&train, &[("test", &test)], false);
    assert!(report.is_clean(), "{report}");
    assert!(report.imbalance.unwrap() < 1.2);
    assert!(bundled::languages(Split::Valid).is_err());
}

#[test]
fn tagged_words_and_questions_are_without_errors() {
    let (train, test) = bundled::wnut17_slice().unwrap();
    assert_eq!(
        (train.len(), test.len(), train.tags().len()),
        (600, 200, 13)
    );
    // Four sentences recur with other tags: the annotators disagreed.
    let report = gate::inspect_tagged(&train, &[("test", &test)]);
    report.refuse_unless(false).unwrap();
    let conflicts: Vec<usize> = report.of(gate::Kind::Conflict).map(|f| f.count).collect();
    assert_eq!(conflicts, [4], "{report}");
    let (train, test) = bundled::squad_slice().unwrap();
    assert_eq!(
        (train.len(), test.len(), train.titles().len()),
        (335, 55, 5)
    );
    let report = gate::inspect_questions(&train, &[("test", &test)]);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_series_is_clean_and_its_anomalies_come_late() {
    let series = bundled::nab_slice().unwrap();
    assert_eq!((series.len(), series.median_step()), (4032, 300_000));
    let labels = series.labels().unwrap();
    assert_eq!(labels.iter().filter(|&&label| label).count(), 402);
    let (train, valid) = series.holdout(0.5).unwrap();
    assert!(!train.labels().unwrap().contains(&true));
    let report = gate::inspect_series(&train, &[("valid", &valid)]);
    assert!(report.is_clean(), "{report}");
}
