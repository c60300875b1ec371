//! Class folders.

use crate::{assert_has, pixels, refused, write, write_image};
use panoply_datasets::{Layout, Split, detect, gate::Kind, open, open_for_eval, open_splits};
use std::path::Path;
use tempfile::tempdir;

fn names(set: &panoply_datasets::ImageSet) -> Vec<String> {
    (0..set.len()).map(|i| set.name(i)).collect()
}

#[test]
fn reads_every_known_format_below_its_class_in_order() {
    let dir = tempdir().unwrap();
    let files = [
        "b/10.png",
        "b/9.bmp",
        "a/x.tiff",
        "a/deep/er/y.PNG",
        "a/deep-er/z.gif",
        "b/w.webp",
        "b/v.jpg",
    ];
    for (seed, file) in files.iter().enumerate() {
        write_image(&dir.path().join(file), seed as u32);
    }
    write(&dir.path().join("a/.hidden.png"), "not an image");
    write(&dir.path().join(".git/c.png"), "not an image");
    write(&dir.path().join("__MACOSX/a/c.png"), "not an image");
    write(&dir.path().join("a/notes.txt"), "a note");
    write(&dir.path().join("README.md"), "a note");
    write_image(&dir.path().join("banner.png"), 99);
    let set = open(dir.path(), Split::Train).unwrap();
    assert_eq!(set.layout(), Layout::ClassFolders);
    assert_eq!(set.classes(), ["a", "b"]);
    // By folder as a string, then by name: torchvision's order.
    let expected = [
        "a/x.tiff",
        "a/deep-er/z.gif",
        "a/deep/er/y.PNG",
        "b/10.png",
        "b/9.bmp",
        "b/v.jpg",
        "b/w.webp",
    ];
    assert_eq!(names(&set), expected);
    assert_eq!(set.class_counts(), [3, 4]);
    assert_eq!((set.label(3), set.class_of(3)), (Some(1), Some("b")));
    assert_eq!(set.image(0).unwrap(), pixels(2, 8, 6));
    assert_eq!(set.image(3).unwrap(), pixels(0, 8, 6));
    assert_eq!(set.path(3), Some(dir.path().join("b/10.png").as_path()));
    let unknown: Vec<_> = set
        .findings()
        .iter()
        .map(|f| (f.kind, f.examples.join(" ")))
        .collect();
    let kind = Kind::UnknownFile;
    let expected = ["a/notes.txt", "banner.png", "README.md"].map(|name| (kind, name.to_string()));
    assert_eq!(unknown, expected);
}

fn split_set(root: &Path, splits: &[&str]) {
    for (s, split) in splits.iter().enumerate() {
        for class in ["cat", "dog"] {
            for i in 0..4 {
                let seed =
                    (s * 100 + i + class.len() * 7 + usize::from(class == "dog") * 50) as u32;
                write_image(&root.join(split).join(class).join(format!("{i}.png")), seed);
            }
        }
    }
}

#[test]
fn splits_share_one_class_list() {
    let dir = tempdir().unwrap();
    split_set(dir.path(), &["train", "val", "test"]);
    write_image(&dir.path().join("test/bird/1.png"), 1000);
    assert_eq!(
        detect(dir.path()).unwrap().splits(),
        [Split::Train, Split::Valid, Split::Test]
    );
    for (split, counts) in [
        (Split::Train, [0, 4, 4]),
        (Split::Valid, [0, 4, 4]),
        (Split::Test, [1, 4, 4]),
    ] {
        let set = open(dir.path(), split).unwrap();
        assert_eq!(set.classes(), ["bird", "cat", "dog"]);
        assert_eq!(set.class_counts(), counts);
    }
    assert_eq!(
        open(dir.path(), Split::Valid).unwrap().name(0),
        "val/cat/0.png"
    );
    let splits = open_splits(dir.path(), 0.25, 0).unwrap();
    assert!(!splits.is_held_out);
    assert_eq!((splits.valid.len(), splits.test.unwrap().len()), (8, 9));
    assert_eq!(open_for_eval(dir.path()).unwrap().len(), 9);
}

#[test]
fn a_missing_validation_split_is_held_out() {
    let dir = tempdir().unwrap();
    split_set(dir.path(), &["train"]);
    let text = refused(open(dir.path(), Split::Valid));
    assert_has(&text, &["no valid split", "it has: train", "held out"]);
    let splits = open_splits(dir.path(), 0.25, 5).unwrap();
    assert!(splits.is_held_out && splits.test.is_none());
    assert_eq!(
        (splits.train.class_counts(), splits.valid.class_counts()),
        (vec![3, 3], vec![1, 1])
    );
    assert_eq!(
        names(&open_splits(dir.path(), 0.25, 5).unwrap().valid),
        names(&splits.valid)
    );
}

#[test]
fn copies_are_held_out_together() {
    let dir = tempdir().unwrap();
    for i in 0..20 {
        let class = ["a", "b"][i % 2];
        // Each image four times.
        write_image(
            &dir.path().join(class).join(format!("{i:02}.png")),
            (i % 2 + i / 8 * 2) as u32,
        );
    }
    for seed in 0..10 {
        let splits = open_splits(dir.path(), 0.4, seed).unwrap();
        let (train, valid) = (&splits.train, &splits.valid);
        assert!(!valid.is_empty());
        for i in 0..valid.len() {
            let copy =
                (0..train.len()).find(|&j| train.image(j).unwrap() == valid.image(i).unwrap());
            assert_eq!(copy, None);
        }
    }
}

#[test]
fn a_class_may_be_called_train() {
    let dir = tempdir().unwrap();
    for class in ["train", "car"] {
        write_image(&dir.path().join(class).join("1.png"), class.len() as u32);
    }
    assert_eq!(
        open(dir.path(), Split::Train).unwrap().classes(),
        ["car", "train"]
    );
    let one = tempdir().unwrap();
    write_image(&one.path().join("train/1.png"), 1);
    assert_eq!(open(one.path(), Split::Train).unwrap().classes(), ["train"]);
}

#[test]
fn two_folders_for_one_split_are_refused() {
    let dir = tempdir().unwrap();
    split_set(dir.path(), &["train", "val", "valid"]);
    assert_has(
        &refused(detect(dir.path())),
        &["val", "valid", "one folder a split"],
    );
}

#[test]
fn what_is_no_data_set_is_refused() {
    let empty = tempdir().unwrap();
    assert_has(
        &refused(open(empty.path(), Split::Train)),
        &["0 files", "class folders", "train-images-idx3-ubyte"],
    );
    let flat = tempdir().unwrap();
    write_image(&flat.path().join("1.png"), 1);
    assert_has(
        &refused(open(flat.path(), Split::Train)),
        &["1 files (1 images) and no folder"],
    );
    let without = tempdir().unwrap();
    write(&without.path().join("cat/readme.txt"), "no image");
    assert_has(
        &refused(open(without.path(), Split::Train)),
        &["no image in its 1 class folders", "jpg, jpeg"],
    );
    let file = flat.path().join("1.png");
    assert_has(
        &refused(open(&file, Split::Train)),
        &["1.png", "a file that is no index"],
    );
    assert_has(
        &refused(open(&flat.path().join("nowhere"), Split::Train)),
        &["nowhere", "cannot read"],
    );
}

#[test]
fn a_damaged_image_is_an_error_with_its_path() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("cat/1.png");
    write_image(&path, 1);
    let bytes = std::fs::read(&path).unwrap();
    write(&dir.path().join("cat/2.png"), &bytes[..bytes.len() / 2]);
    write(&dir.path().join("cat/3.jpg"), "this is text");
    write(&dir.path().join("cat/4.png"), "");
    let set = open(dir.path(), Split::Train).unwrap();
    assert!(set.image(0).is_ok());
    for (i, file) in ["2.png", "3.jpg", "4.png"].iter().enumerate() {
        assert_has(
            &refused(set.image(i + 1)),
            &[&dir.path().join("cat").join(file).display().to_string()],
        );
    }
}

#[test]
fn the_digest_does_not_depend_on_the_place() {
    let (a, b) = (tempdir().unwrap(), tempdir().unwrap());
    split_set(a.path(), &["train"]);
    split_set(b.path(), &["train"]);
    let digest = |root: &Path| open(root, Split::Train).unwrap().digest().unwrap();
    assert_eq!(digest(a.path()), digest(b.path()));
    write_image(&b.path().join("train/dog/3.png"), 4321);
    assert_ne!(digest(a.path()), digest(b.path()));
    let set = open(b.path(), Split::Train).unwrap();
    std::fs::remove_file(b.path().join("train/dog/3.png")).unwrap();
    assert_has(&refused(set.digest()), &["dog/3.png"]);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let dir = tempdir().unwrap();
    write_image(&dir.path().join("cat/1.png"), 1);
    let odd = dir
        .path()
        .join("cat")
        .join(OsStr::from_bytes(b"caf\xe9.png"));
    std::fs::copy(dir.path().join("cat/1.png"), &odd).unwrap();
    let set = open(dir.path(), Split::Train).unwrap();
    assert_eq!(names(&set), ["cat/1.png", "cat/caf\u{fffd}.png"]);
    assert_eq!(set.image(1).unwrap(), pixels(1, 8, 6));
    let class = dir.path().join(OsStr::from_bytes(b"ch\xe2t"));
    std::fs::create_dir(&class).unwrap();
    assert_has(&refused(open(dir.path(), Split::Train)), &["not UTF-8"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_are_errors() {
    use std::os::unix::fs::symlink;
    let dir = tempdir().unwrap();
    write_image(&dir.path().join("cat/1.png"), 1);
    symlink(dir.path().join("cat/1.png"), dir.path().join("cat/2.png")).unwrap();
    symlink(dir.path().join("gone.png"), dir.path().join("cat/3.png")).unwrap();
    let set = open(dir.path(), Split::Train).unwrap();
    assert_eq!(set.len(), 3);
    assert_eq!(set.image(1).unwrap(), pixels(1, 8, 6));
    assert_has(&refused(set.image(2)), &["3.png"]);
    symlink(dir.path(), dir.path().join("cat/loop")).unwrap();
    assert_has(&refused(open(dir.path(), Split::Train)), &["loop"]);
}
