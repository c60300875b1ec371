//! IDX and CIFAR files.

use crate::{assert_has, refused, write};
use flate2::{Compression, write::GzEncoder};
use panoply_datasets::{Layout, Split, detect, open};
use std::{io::Write, path::Path};
use tempfile::{TempDir, tempdir};

fn idx(dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let dims_bytes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_be_bytes()).collect();
    [&[0, 0, 8, dims.len() as u8][..], &dims_bytes, elements].concat()
}

fn gz(content: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

fn images(count: u32) -> Vec<u8> {
    let elements: Vec<u8> = (0..count * 6).map(|i| (i * 13) as u8).collect();
    idx(&[count, 2, 3], &elements)
}

const IMAGES: &str = "train-images-idx3-ubyte";
const LABELS: &str = "train-labels-idx1-ubyte";

/// A training set of `images` and `labels` as they are.
fn train(images: &[u8], labels: &[u8]) -> TempDir {
    let dir = tempdir().unwrap();
    write(&dir.path().join(IMAGES), images);
    write(&dir.path().join(LABELS), labels);
    dir
}

fn train_error(images: &[u8], labels: &[u8]) -> String {
    refused(open(train(images, labels).path(), Split::Train))
}

#[test]
fn idx_plain_and_packed() {
    let plain = train(&images(3), &idx(&[3], &[2, 0, 2]));
    write(
        &plain.path().join("t10k-images.idx3-ubyte.gz"),
        gz(&images(1)),
    );
    write(
        &plain.path().join("t10k-labels.idx1-ubyte.gz"),
        gz(&idx(&[1], &[1])),
    );
    assert_eq!(
        detect(plain.path()).unwrap().splits(),
        [Split::Train, Split::Test]
    );
    let set = open(plain.path(), Split::Train).unwrap();
    assert_eq!(
        (set.layout(), set.len(), set.is_grey()),
        (Layout::Idx, 3, true)
    );
    assert_eq!(set.classes(), ["0", "1", "2"]);
    assert_eq!(
        (set.name(1), set.path(1)),
        ("train-images-idx3-ubyte#1".into(), None)
    );
    let image = set.image(1).unwrap();
    assert_eq!(image.dimensions(), (3, 2));
    let grey: Vec<u8> = image.pixels().map(|pixel| pixel[0]).collect();
    assert_eq!(grey, [78, 91, 104, 117, 130, 143]);
    assert!(
        image
            .pixels()
            .all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
    );
    let test = open(plain.path(), Split::Test).unwrap();
    assert_eq!((test.classes().len(), test.labels()), (3, vec![Some(1)]));

    // The same content in gzip, with both copies present, in the folder that torchvision uses.
    let packed = tempdir().unwrap();
    for (name, content) in [(IMAGES, images(3)), (LABELS, idx(&[3], &[2, 0, 2]))] {
        write(
            &packed.path().join("raw").join(format!("{name}.gz")),
            gz(&content),
        );
        write(&packed.path().join("raw").join(name), content);
    }
    assert_eq!(
        open(packed.path(), Split::Train).unwrap().digest().unwrap(),
        set.digest().unwrap()
    );
}

#[test]
fn idx_class_names_come_from_a_file() {
    let dir = train(&images(2), &idx(&[2], &[1, 0]));
    write(&dir.path().join("classes.txt"), "shirt\nshoe\n");
    assert_eq!(
        open(dir.path(), Split::Train).unwrap().class_of(0),
        Some("shoe")
    );
    write(&dir.path().join("classes.txt"), "shirt\n");
    let text = refused(open(dir.path(), Split::Train));
    assert_has(&text, &[LABELS, "label 1 of image 0", "a label below 1"]);
}

#[test]
fn damaged_idx_files_are_errors() {
    let (good, labels) = (images(3), idx(&[3], &[0, 1, 0]));
    assert_has(
        &train_error(&good[..10], &labels),
        &[IMAGES, "ends after 10 bytes", "16 bytes"],
    );
    assert_has(
        &train_error(&good[..20], &labels),
        &[IMAGES, "ends after 20 bytes", "34 bytes"],
    );
    assert_has(
        &train_error(&[&good[..], &[0]].concat(), &labels),
        &["more bytes than its header", "34 bytes"],
    );
    assert_has(&train_error(b"", &labels), &["magic number ''", "00000803"]);
    assert_has(
        &train_error(&labels, &labels),
        &["magic number '00000801'", "00000803"],
    );
    assert_has(
        &train_error(&good, &good),
        &[LABELS, "magic number '00000803'", "00000801"],
    );
    assert_has(
        &train_error(&good, &idx(&[2], &[0, 1])),
        &["2 labels", "expected 3"],
    );
    assert_has(
        &train_error(&idx(&[0, 2, 3], &[]), &labels),
        &["dimensions [0, 2, 3]"],
    );
    let huge = idx(&[u32::MAX, u32::MAX, u32::MAX], &[1, 2, 3]);
    assert_has(&train_error(&huge, &labels), &["4294967295", "at most"]);
    // A header that promises much and a file that holds little must not reserve what it promises.
    assert_has(
        &train_error(&idx(&[1 << 20, 64, 64], &[1]), &labels),
        &["ends after 17 bytes"],
    );
}

#[test]
fn damaged_gzip_is_an_error() {
    let labels = idx(&[3], &[0, 1, 0]);
    let packed = gz(&images(3));
    for cut in 2..packed.len() {
        let text = train_error(&packed[..cut], &labels);
        assert!(text.contains(IMAGES), "{cut}: {text}");
    }
    let mut flipped = packed.clone();
    let sum = packed.len() - 8;
    flipped[sum] ^= 1;
    assert_has(
        &train_error(&flipped, &labels),
        &[IMAGES, "cannot be read beyond byte"],
    );
    let mut odd = packed;
    odd.truncate(2);
    odd.extend(b"not gzip at all");
    assert_has(&train_error(&odd, &labels), &[IMAGES]);
}

#[test]
fn idx_files_must_pair_up() {
    let dir = tempdir().unwrap();
    write(&dir.path().join(IMAGES), images(1));
    assert_has(&refused(detect(dir.path())), &["no file of labels", LABELS]);
    let two = tempdir().unwrap();
    for prefix in ["emnist-letters-train", "emnist-digits-train"] {
        write(
            &two.path().join(format!("{prefix}-images-idx3-ubyte")),
            images(1),
        );
        write(
            &two.path().join(format!("{prefix}-labels-idx1-ubyte")),
            idx(&[1], &[0]),
        );
    }
    assert_has(
        &refused(detect(two.path())),
        &[
            "emnist-letters",
            "emnist-digits",
            "one file of images a split",
        ],
    );
}

fn record(labels: &[u8], seed: u8) -> Vec<u8> {
    let pixels = (0..3072u32).map(|i| seed.wrapping_add((i / 1024 * 64) as u8));
    labels.iter().copied().chain(pixels).collect()
}

fn cifar10(root: &Path) {
    for batch in 1..=2u8 {
        let content = [record(&[batch], batch), record(&[9], batch + 10)].concat();
        write(&root.join(format!("data_batch_{batch}.bin")), content);
    }
    write(&root.join("test_batch.bin"), record(&[0], 42));
}

#[test]
fn cifar_10() {
    let dir = tempdir().unwrap();
    cifar10(&dir.path().join("cifar-10-batches-bin"));
    let names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    write(
        &dir.path().join("cifar-10-batches-bin/batches.meta.txt"),
        names,
    );
    let set = open(dir.path(), Split::Train).unwrap();
    assert_eq!(
        (set.layout(), set.len(), set.is_grey()),
        (Layout::Cifar10, 4, false)
    );
    assert_eq!(set.labels(), [Some(1), Some(9), Some(2), Some(9)]);
    assert_eq!(
        (set.name(3), set.class_of(3)),
        ("data_batch_2.bin#1".into(), Some("truck"))
    );
    let image = set.image(3).unwrap();
    assert_eq!(image.dimensions(), (32, 32));
    assert!(image.pixels().all(|pixel| pixel.0 == [12, 76, 140]));
    assert_eq!(open(dir.path(), Split::Test).unwrap().labels(), [Some(0)]);
}

#[test]
fn cifar_100_has_fine_labels() {
    let dir = tempdir().unwrap();
    write(
        &dir.path().join("train.bin"),
        [record(&[19, 99], 1), record(&[3, 0], 2)].concat(),
    );
    let set = open(dir.path(), Split::Train).unwrap();
    assert_eq!((set.layout(), set.classes().len()), (Layout::Cifar100, 100));
    assert_eq!(set.labels(), [Some(99), Some(0)]);
    assert_eq!(set.image(1).unwrap().get_pixel(31, 31).0, [2, 66, 130]);
    write(&dir.path().join("fine_label_names.txt"), "apple\n");
    assert_has(
        &refused(open(dir.path(), Split::Train)),
        &["fine_label_names.txt", "1 class names", "100"],
    );
}

#[test]
fn damaged_cifar_files_are_errors() {
    let dir = tempdir().unwrap();
    cifar10(dir.path());
    let batch = dir.path().join("data_batch_2.bin");
    let whole = std::fs::read(&batch).unwrap();
    write(&batch, &whole[..4000]);
    let text = refused(open(dir.path(), Split::Train));
    assert_has(
        &text,
        &["data_batch_2.bin", "4000 bytes: image 1 is cut off", "3073"],
    );
    write(&batch, "");
    assert_has(
        &refused(open(dir.path(), Split::Train)),
        &["data_batch_2.bin", "0 bytes"],
    );
    write(&batch, [record(&[0], 1), record(&[10], 1)].concat());
    let text = refused(open(dir.path(), Split::Train));
    assert_has(
        &text,
        &["label 10 of image 1 (byte 3073)", "a label below 10"],
    );
    assert!(open(dir.path(), Split::Test).is_ok());
}
