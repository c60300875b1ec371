//! Inputs that no task can answer: empty, garbage, oversized, and of the wrong kind.

use panoply_core::{Input, InputKind, Payload};
use serde_json::{Value, json};

/// What a task may do with a hostile input. It may never panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// An error that blames the input.
    Refusal,
    /// That, or an answer: part of it may make sense.
    RefusalOrAnswer,
}

/// One hostile input.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// The input; its name says what is wrong with it.
    pub input: Input,
    /// What is right.
    pub expect: Expect,
}

/// Hostile inputs for a task that reads `kind`; `example` is a good one, to be spoilt.
pub fn hostile_inputs(kind: InputKind, example: &Input) -> Vec<Hostile> {
    let refusal = |name: &str, payload| Hostile {
        input: Input {
            name: format!("hostile: {name}"),
            payload,
        },
        expect: Expect::Refusal,
    };
    let either = |name: &str, payload| Hostile {
        expect: Expect::RefusalOrAnswer,
        ..refusal(name, payload)
    };
    let mut all = match kind {
        InputKind::Image | InputKind::Audio | InputKind::Table => vec![
            refusal("empty file", Payload::Bytes(Vec::new())),
            refusal("one byte", Payload::Bytes(vec![0])),
            refusal("random bytes", Payload::Bytes(noise(4096))),
            refusal("a text instead of a file", Payload::Text("hello".into())),
            refusal("a row instead of a file", Payload::Row(json!({"a": 1}))),
        ],
        InputKind::Text => vec![
            refusal("empty text", Payload::Text(String::new())),
            refusal(
                "bytes that are not UTF-8",
                Payload::Bytes(vec![0xFF, 0xFE, 0x80]),
            ),
            refusal("a row instead of a text", Payload::Row(json!({"a": 1}))),
            either("white space", Payload::Text(" \t\r\n\u{3000} ".into())),
            either(
                "control characters",
                Payload::Text("\u{0}\u{1b}\u{202e}\u{fffd}".into()),
            ),
            either(
                "two megabytes of text",
                Payload::Text("longword ".repeat(1 << 18)),
            ),
        ],
        InputKind::Row => vec![
            refusal("null", Payload::Row(Value::Null)),
            refusal("no fields", Payload::Row(json!({}))),
            refusal(
                "a list instead of an object",
                Payload::Row(json!([1, 2, 3])),
            ),
            refusal("a text instead of a row", Payload::Text("hello".into())),
            refusal("bytes instead of a row", Payload::Bytes(noise(64))),
            refusal("ten thousand unknown fields", Payload::Row(many_fields())),
        ],
    };
    match (kind, &example.payload) {
        (InputKind::Image, Payload::Bytes(bytes)) => {
            all.push(refusal(
                "decompression bomb",
                Payload::Bytes(png_header(100_000, 100_000)),
            ));
            all.push(refusal("no pixels", Payload::Bytes(png_header(0, 0))));
            all.extend(truncated(bytes).map(|(name, cut)| either(&name, cut)));
        }
        (InputKind::Audio, Payload::Bytes(bytes)) => {
            all.push(refusal(
                "header without sound",
                Payload::Bytes(wav_header()),
            ));
            all.extend(truncated(bytes).map(|(name, cut)| either(&name, cut)));
        }
        (InputKind::Table, Payload::Bytes(bytes)) => {
            all.extend(truncated(bytes).map(|(name, cut)| either(&name, cut)));
        }
        (InputKind::Row, Payload::Row(Value::Object(fields))) => {
            for key in fields.keys() {
                let mut spoilt = fields.clone();
                spoilt.insert(key.clone(), json!({"nested": [null, "?"]}));
                let name = format!("an object in field {key}");
                all.push(refusal(&name, Payload::Row(Value::Object(spoilt))));
            }
        }
        _ => {}
    }
    all
}

/// The start of a file, cut at several places.
fn truncated(bytes: &[u8]) -> impl Iterator<Item = (String, Payload)> {
    [1, 10, 50, 90].into_iter().map(move |percent| {
        let cut = bytes.len() * percent / 100;
        (
            format!("first {percent} % of a file"),
            Payload::Bytes(bytes[..cut].to_vec()),
        )
    })
}

/// Bytes without structure, the same every time (xorshift, Marsaglia 2003).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn many_fields() -> Value {
    let fields = (0..10_000).map(|i| (format!("unknown_{i}"), Value::from(i)));
    Value::Object(fields.collect())
}

/// A PNG file that claims to have `width` times `height` pixels, with next to no data.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [kind, data].concat();
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(&body);
        file.extend(crc32(&body).to_be_bytes());
    };
    // Eight bits a sample, RGB, no interlacing.
    let tail = [8, 2, 0, 0, 0];
    chunk(
        b"IHDR",
        &[&width.to_be_bytes()[..], &height.to_be_bytes(), &tail].concat(),
    );
    // A zlib stream of nothing.
    chunk(b"IDAT", &[0x78, 0x9C, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]);
    chunk(b"IEND", &[]);
    file
}

/// CRC-32 as PNG uses it (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            }
        })
    })
}

/// A WAV file (16 bits, mono, 16 kHz) whose data chunk claims two gigabytes and has none.
fn wav_header() -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend(0x7FFF_FFFFu32.to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend([1u16, 1].map(u16::to_le_bytes).concat());
    file.extend([16_000u32, 32_000].map(u32::to_le_bytes).concat());
    file.extend([2u16, 16].map(u16::to_le_bytes).concat());
    file.extend(b"data");
    file.extend(0x7FFF_FF00u32.to_le_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bomb_is_a_valid_header() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
        let png = png_header(100_000, 7);
        assert_eq!(&png[16..24], &[0, 1, 0x86, 0xA0, 0, 0, 0, 7]);
    }

    #[test]
    fn every_kind_has_empty_garbage_and_wrong_payloads() {
        for (kind, example) in [
            (InputKind::Image, Payload::Bytes(vec![1; 100])),
            (InputKind::Audio, Payload::Bytes(vec![1; 100])),
            (InputKind::Table, Payload::Bytes(vec![1; 100])),
            (InputKind::Text, Payload::Text("a".into())),
            (InputKind::Row, Payload::Row(json!({"user": 1, "item": 2}))),
        ] {
            let all = hostile_inputs(
                kind,
                &Input {
                    name: "good".into(),
                    payload: example,
                },
            );
            assert!(
                all.iter().filter(|h| h.expect == Expect::Refusal).count() >= 3,
                "{kind:?}"
            );
            let mut names: Vec<&str> = all.iter().map(|h| h.input.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all.len(), "{kind:?}: names are distinct");
        }
    }
}
