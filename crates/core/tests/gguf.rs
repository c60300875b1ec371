//! GGUF files: values beside those of the package `gguf`, and files that lie.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::weights::{Gguf, GgufValue, read_tensors};
use std::{fs, path::PathBuf};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/gguf")
        .join(name)
}

#[test]
fn values_of_every_type_equal_the_reference() {
    let file = fixture("types.gguf");
    assert!(Gguf::is(&file) && !Gguf::is(&fixture("types.safetensors")));
    let gguf = Gguf::open(&file).unwrap();
    let expected = read_tensors(&fixture("types.safetensors")).unwrap();
    assert_eq!(gguf.names().count(), 8);
    for (name, theirs) in expected {
        let ours = gguf.tensor(&name).unwrap();
        assert_eq!(ours.shape, [3, 64], "{name}");
        assert_eq!(ours, theirs, "{name}");
    }
    let error = gguf.tensor("nothing").unwrap_err().to_string();
    assert!(error.contains("nothing"), "{error}");
}

#[test]
fn metadata_is_read() {
    let gguf = Gguf::open(&fixture("types.gguf")).unwrap();
    let text = |s: &str| GgufValue::Text(s.into());
    let expected = [
        ("a.uint32", GgufValue::Int(7)),
        ("a.int64", GgufValue::Int(-(1 << 40))),
        ("a.uint64", GgufValue::Int(i128::from(u64::MAX))),
        ("a.float32", GgufValue::Float(0.5)),
        ("a.bool", GgufValue::Bool(true)),
        ("a.text", text("Zürich 日本")),
        (
            "a.texts",
            GgufValue::List(vec![text("one"), text(""), text("drei")]),
        ),
        (
            "a.floats",
            GgufValue::List(vec![GgufValue::Float(1.5), GgufValue::Float(-2.0)]),
        ),
        ("general.architecture", text("test")),
    ];
    for (key, value) in expected {
        assert_eq!(gguf.get(key), Some(&value), "{key}");
    }
    assert_eq!(gguf.get("a.nothing"), None);
}

/// Opens the bytes and reads every tensor; the message of the error, if there is one.
fn outcome(bytes: &[u8]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    fs::write(&path, bytes).unwrap();
    let opened = Gguf::open(&path).and_then(|gguf| {
        let names: Vec<String> = gguf.names().map(String::from).collect();
        names
            .iter()
            .try_for_each(|name| gguf.tensor(name).map(drop))
    });
    let error = opened.err()?;
    assert_eq!(error.exit_code(), 2, "{error}");
    Some(error.to_string())
}

#[test]
fn files_that_are_cut_off_are_refused_wherever_they_end() {
    let whole = fs::read(fixture("types.gguf")).unwrap();
    assert_eq!(outcome(&whole), None);
    // Behind the last tensor there may be padding.
    let last = whole.len() - 32;
    for end in (0..last).step_by(7) {
        let message = outcome(&whole[..end]);
        assert!(message.is_some_and(|m| m.contains("GGUF")), "{end}");
    }
}

#[test]
fn a_flipped_byte_never_panics() {
    let whole = fs::read(fixture("types.gguf")).unwrap();
    // The header with all lengths, counts, types and offsets.
    for at in 0..900.min(whole.len()) {
        for flip in [0xFF, 0x80, 0x01] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            outcome(&bytes);
        }
    }
}

/// A file without metadata and with one tensor.
fn one_tensor(dims: &[u64], kind: u32, offset: u64, data: usize) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.push(b'x');
    bytes.extend((dims.len() as u32).to_le_bytes());
    bytes.extend(dims.iter().flat_map(|d| d.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

#[test]
fn lies_about_sizes_are_refused_before_memory_is_taken() {
    let refused = |bytes: &[u8], what: &str| {
        let message = outcome(bytes).unwrap();
        assert!(message.contains(what), "{message}");
    };
    assert_eq!(outcome(&one_tensor(&[4, 2], 0, 0, 32)), None);
    refused(&one_tensor(&[1 << 40, 2], 0, 0, 32), "outside");
    refused(&one_tensor(&[1 << 60, 1 << 60], 0, 0, 32), "shape");
    refused(&one_tensor(&[4, 2], 0, 1 << 60, 32), "outside");
    refused(&one_tensor(&[4, 2], 0, u64::MAX - 31, 32), "outside");
    refused(&one_tensor(&[4, 2], 0, 5, 64), "between places");
    refused(&one_tensor(&[4, 2], 12, 0, 32), "element type 12");
    refused(&one_tensor(&[33], 2, 0, 64), "rows of 33");
    refused(&one_tensor(&[1; 5], 0, 0, 32), "5 dimensions");
    let mut counts = b"GGUF".to_vec();
    counts.extend(3u32.to_le_bytes());
    counts.extend(u64::MAX.to_le_bytes());
    refused(&counts, "tensors");
    // A list of 2^62 numbers, a text of 2^40 bytes.
    for (kind, count) in [(9u32, 1u64 << 62), (8, 1 << 40)] {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.push(b'k');
        bytes.extend(kind.to_le_bytes());
        if kind == 9 {
            bytes.extend(4u32.to_le_bytes());
        }
        bytes.extend(count.to_le_bytes());
        refused(&bytes, "'k'");
    }
    refused(b"GGUF\x01\0\0\0", "version 1");
}
