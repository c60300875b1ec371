//! Pictures against Pillow and torchvision: every fixture byte for byte, and bad input of all kinds.
//!
//! `fixtures/image/reference.py` made the pictures and the expected digests.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use image::{Rgb, RgbImage};
use panoply_core::{Error, seed};
use panoply_datasets::image::{
    CropRounding, Interpolation, Limits, center_crop, decode, decode_with, read, resize,
    resize_short_side, resize_short_side_center_crop,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{io::Cursor, path::PathBuf};

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/image", name]
        .iter()
        .collect()
}

fn photo(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "data/photos", name]
        .iter()
        .collect()
}

fn expected(section: &str) -> Value {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[section].take()
}

fn sha256(image: &RgbImage) -> String {
    let digest = Sha256::digest(image.as_raw());
    digest
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn check(image: &RgbImage, want: &Value, what: &str) {
    let size = (
        want["width"].as_u64().unwrap() as u32,
        want["height"].as_u64().unwrap() as u32,
    );
    assert_eq!(image.dimensions(), size, "{what}");
    assert_eq!(sha256(image), want["sha256"], "{what}");
}

/// The script's `pattern`.
fn pattern(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([0, 71, 142].map(|c| ((x * x / 3 + y * 29 + x * y + c) % 256) as u8))
    })
}

fn source(name: &str) -> RgbImage {
    match name.split_once('x') {
        Some((w, h)) => pattern(w.parse().unwrap(), h.parse().unwrap()),
        None => read(&photo(name)).unwrap(),
    }
}

#[test]
fn every_format_decodes_to_pillows_bytes() {
    let (expected_photos, expected) = (expected("photos"), expected("decode"));
    let files = expected.as_object().unwrap();
    assert!(files.len() > 60);
    for (name, want) in files {
        check(&read(&fixture(name)).unwrap(), want, name);
    }
    for (name, want) in expected_photos.as_object().unwrap() {
        check(&read(&photo(name)).unwrap(), want, name);
    }
}

#[test]
fn resizing_gives_pillows_bytes() {
    for case in expected("resize").as_array().unwrap() {
        let filter = Interpolation::from_name(case["filter"].as_str().unwrap()).unwrap();
        let (w, h) = (
            case["width"].as_u64().unwrap() as u32,
            case["height"].as_u64().unwrap() as u32,
        );
        check(
            &resize(&source(case["source"].as_str().unwrap()), w, h, filter),
            case,
            &case.to_string(),
        );
    }
}

#[test]
fn short_sides_and_centre_crops_are_torchvisions() {
    for case in expected("crop").as_array().unwrap() {
        let image = source(case["source"].as_str().unwrap());
        let short = case["short"].as_u64().unwrap() as u32;
        let (w, h) = (
            case["crop"][0].as_u64().unwrap() as u32,
            case["crop"][1].as_u64().unwrap() as u32,
        );
        let resized = resize_short_side(&image, short, Interpolation::Bilinear).unwrap();
        check(
            &center_crop(&resized, w, h, CropRounding::HalfEven),
            case,
            &case.to_string(),
        );
        let fused = resize_short_side_center_crop(
            &image,
            short,
            (w, h),
            Interpolation::Bilinear,
            CropRounding::HalfEven,
        );
        check(&fused, case, &format!("fused {case}"));
    }
}

#[test]
fn sixteen_bit_grey_keeps_the_upper_byte() {
    let samples =
        image::ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 1, vec![0x12FF_u16, 0x00FF, 0xFF00])
            .unwrap();
    let mut png = Cursor::new(Vec::new());
    samples.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let image = decode(png.get_ref(), "grey").unwrap();
    assert_eq!(
        image.as_raw(),
        &[0x12, 0x12, 0x12, 0, 0, 0, 0xFF, 0xFF, 0xFF]
    );
}

fn encoded(image: &RgbImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn extreme_shapes_decode() {
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    for (w, h) in [(1, 1), (1, 3000), (20_000, 2)] {
        for format in [Png, Bmp, Tiff, Gif, Jpeg, WebP] {
            if format == WebP && w > 16_383 {
                continue; // the format's own bound
            }
            let bytes = encoded(&pattern(w, h), format);
            // The name's extension is wrong on purpose: the contents decide.
            assert_eq!(
                decode(&bytes, "picture.txt").unwrap().dimensions(),
                (w, h),
                "{format:?}"
            );
        }
    }
}

/// The error text; anything but an `Error::Input` with a name fails the test.
fn refusal(bytes: &[u8], name: &str) -> String {
    match decode(bytes, name) {
        Err(error @ Error::Input { .. }) => error.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn what_is_no_picture_is_named() {
    for (bytes, says) in [
        (&b""[..], "an empty file"),
        (b"PK\x03\x04\x14\0\0\0", "a ZIP archive"),
        (
            b"<!DOCTYPE html><html><body>404</body></html>",
            "an HTML page",
        ),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "an SVG drawing",
        ),
        (b"not a picture", "text that begins 'not a picture'"),
        (
            &[0xDE, 0xAD, 0xBE, 0xEF, 0, 1, 2, 3],
            "unknown binary data that begins de ad be ef",
        ),
    ] {
        let text = refusal(bytes, "cat.jpg");
        assert!(
            text.contains(says) && text.contains("cat.jpg") && text.contains("expected a JPEG"),
            "{text}"
        );
    }
    let missing = read(&fixture("no such file.png")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

#[test]
fn a_small_file_cannot_ask_for_a_huge_picture() {
    let mut jpeg = std::fs::read(fixture("baseline_420.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0, 0xFF, 0]);
    assert!(
        refusal(&jpeg, "j").contains("65280x65280 = 4261478400 pixels; expected at most 100000000")
    );
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    assert!(refusal(&jpeg, "j").contains("Maximum supported image dimension is 65500 pixels"));

    // A header alone, with its checksum: 100,000 x 100,000.
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\x86\xA0\0\x01\x86\xA0\x08\x02\0\0\0\x27\x30\x9C\x9F\0\0\0\0IDAT";
    let text = refusal(png, "p");
    assert!(
        text.contains("100000x100000") || text.contains("memory"),
        "{text}"
    );

    let mut gif = std::fs::read(fixture("p.gif")).unwrap();
    gif[6..10].copy_from_slice(&[0xFF; 4]);
    assert!(refusal(&gif, "g").contains("65535x65535"));

    let mut bmp = std::fs::read(fixture("rgb.bmp")).unwrap();
    bmp[18..26].copy_from_slice(&[0, 0xEE, 0, 0, 0, 0xEE, 0, 0]);
    assert!(refusal(&bmp, "b").contains("60928x60928"));

    let bytes = std::fs::read(fixture("rgb.png")).unwrap();
    assert!(
        decode_with(
            &bytes,
            "p",
            &Limits {
                max_pixels: 61 * 43
            }
        )
        .is_ok()
    );
    assert!(
        decode_with(
            &bytes,
            "p",
            &Limits {
                max_pixels: 61 * 43 - 1
            }
        )
        .is_err()
    );
}

/// Decodes whatever it is given to `Ok` or `Error::Input`, and not by way of a panic.
fn survives(bytes: &[u8], what: &str) -> bool {
    match decode(bytes, what) {
        Ok(_) => true,
        Err(Error::Input { what: text, .. }) => {
            assert!(
                !text.contains("cannot be decoded ("),
                "a panic in {what}: {text}"
            );
            false
        }
        Err(other) => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    for name in [
        "baseline_420.jpg",
        "progressive_444.jpg",
        "arithmetic_420.jpg",
        "separate_mixed.jpg",
        "restart.jpg",
        "rgb.png",
        "p.gif",
        "rgb.bmp",
        "lossy.webp",
        "rgb_None.tif",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for length in 0..bytes.len() * 9 / 10 {
            assert!(
                !survives(&bytes[..length], name),
                "{name} at {length} of {}",
                bytes.len()
            );
        }
        let text = refusal(&bytes[..bytes.len() * 9 / 10], name);
        assert!(text.contains("cut off") || !name.ends_with("jpg"), "{text}");
    }
}

#[test]
fn damaged_files_never_panic() {
    for (index, entry) in std::fs::read_dir(fixture("")).unwrap().enumerate() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if bytes.len() > 12_000 {
            continue;
        }
        for round in 0..60 {
            let mut damaged = bytes.clone();
            for hit in 0..=round % 4 {
                let random = seed::derive(&[index as u64, round, hit]);
                // The first kilobyte holds the headers, where a change does most.
                let range = if random.is_multiple_of(2) {
                    damaged.len()
                } else {
                    damaged.len().min(1000)
                };
                let at = (random >> 8) as usize % range;
                damaged[at] = (random >> 1) as u8;
            }
            survives(&damaged, &path.display().to_string());
        }
    }
}

/// A fixture with each of its segments (the marker in byte 1, its data behind it) changed.
fn changed_jpeg(name: &str, change: impl Fn(u8, Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let bytes = std::fs::read(fixture(name)).unwrap();
    let (mut pos, mut out) = (2, vec![0xFF, 0xD8]);
    while bytes[pos + 1] != 0xD9 {
        let start = pos;
        pos += 2 + usize::from(u16::from_be_bytes([bytes[pos + 2], bytes[pos + 3]]));
        while bytes[pos] != 0xFF || matches!(bytes[pos + 1], 0 | 0xD0..=0xD7) {
            pos += 1;
        }
        out.extend(change(bytes[start + 1], bytes[start..pos].to_vec()));
    }
    out.extend([0xFF, 0xD9]);
    out
}

#[test]
fn a_jpeg_says_why_it_is_refused() {
    let without = |unwanted: u8| {
        changed_jpeg("baseline_444.jpg", |marker, segment| {
            if marker == unwanted { vec![] } else { segment }
        })
    };
    let frame_with = |at: usize, value: u8| {
        changed_jpeg("baseline_422.jpg", |marker, mut segment| {
            if marker == 0xC0 {
                segment[at] = value;
            }
            segment
        })
    };
    for (bytes, says) in [
        (without(0xDB), "Quantization table 0x00 was not defined"),
        (without(0xC0), "SOS before SOF"),
        (without(0xDA), "missing SOS"),
        (
            frame_with(1, 0xC3),
            "Unsupported JPEG process: SOF type 0xc3",
        ),
        (frame_with(4, 12), "Unsupported JPEG data precision 12"),
        (frame_with(14, 0x31), "Fractional sampling"),
        (frame_with(11, 0x50), "Bogus sampling factors"),
    ] {
        let text = refusal(&bytes, "cat.jpg");
        assert!(text.contains(says) && text.contains("cat.jpg"), "{text}");
    }
    let one_component = changed_jpeg("separate_444.jpg", |marker, segment| {
        if marker == 0xDA && segment[5] == 3 {
            vec![]
        } else {
            segment
        }
    });
    let text = refusal(&one_component, "j");
    assert!(text.contains("no data for JPEG component 3"), "{text}");
}

#[test]
fn a_jpeg_of_thousands_of_scans_is_refused_at_once() {
    let bytes = changed_jpeg("progressive_444.jpg", |marker, segment| {
        let count = if marker == 0xDA { 500 } else { 1 };
        segment.repeat(count)
    });
    let start = std::time::Instant::now();
    let text = refusal(&bytes, "j");
    assert!(text.contains("more than 500 scans"), "{text}");
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn a_jpeg_of_one_scan_needs_no_end_and_others_do() {
    let whole = read(&fixture("baseline_444.jpg")).unwrap();
    let bytes = std::fs::read(fixture("baseline_444.jpg")).unwrap();
    let (data, end) = bytes.split_at(bytes.len() - 2);
    assert_eq!(decode(data, "no end").unwrap(), whole);
    let padded = [data, &[0; 5], end, b"trailer"].concat();
    assert_eq!(decode(&padded, "padded").unwrap(), whole);
    for name in ["progressive_420.jpg", "arithmetic_420.jpg"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let text = refusal(&bytes[..bytes.len() - 2], name);
        assert!(text.contains(name) && text.contains("cut off"), "{text}");
    }
}

#[test]
fn cut_and_spliced_jpegs_never_panic() {
    let mut names: Vec<String> = std::fs::read_dir(fixture(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jpg"))
        .map(|path| path.display().to_string())
        .collect();
    names.sort(); // the order of a folder is the file system's
    let files: Vec<_> = names
        .iter()
        .map(|name| std::fs::read(name).unwrap())
        .collect();
    let mut refused = 0;
    for round in 0..800 {
        let random =
            |position: u64, below: usize| (seed::derive(&[round, position]) >> 8) as usize % below;
        let (first, second) = (random(0, files.len()), random(1, files.len()));
        let head = &files[first][..4 + random(2, files[first].len() - 4)];
        let from = random(3, files[second].len());
        let tail: &[u8] = match round % 4 {
            0 => &[],
            _ => &files[second][from..],
        };
        let mut bytes = [head, tail].concat();
        let at = 3 + random(4, bytes.len() - 3); // behind what makes it a JPEG
        bytes[at] ^= 1 << random(5, 8);
        let what = format!("round {round}: {} and {}", names[first], names[second]);
        refused += usize::from(!survives(&bytes, &what));
    }
    assert!(refused > 400, "{refused}");
}
