//! Preprocessing and augmentation against torchvision, timm and Pillow, from the raw file on.
//!
//! Everything is compared bit for bit, by hash: decoding, resizing and the arithmetic all round as
//! the references do. `fixtures/preprocess/reference.py` made the expected hashes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use image::{Rgb, RgbImage};
use panoply_datasets::{
    bundled,
    image::{self as picture, Interpolation},
};
use panoply_vision::{
    augment::{Op, colour, geometric},
    preprocess::Preprocessing,
};
use serde_json::Value;
use std::path::Path;

const EXPECTED: &str = include_str!("fixtures/preprocess/expected.json");

fn cases(section: &str) -> Vec<Value> {
    let mut all: Value = serde_json::from_str(EXPECTED).unwrap();
    serde_json::from_value(all[section].take()).unwrap()
}

/// 64-bit FNV-1a.
fn hash(bytes: impl IntoIterator<Item = u8>) -> String {
    let value = bytes
        .into_iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |value, byte| {
            (value ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
    format!("{value:016x}")
}

/// The script's pictures by name: a photograph, `WxH` of its `pattern`, or a small cat.
fn source(name: &str) -> RgbImage {
    match name {
        "cat" => picture::resize(&source("chelsea"), 61, 43, Interpolation::Bicubic),
        "grey" => {
            let mut grey = source("cat");
            colour::adjust_saturation(&mut grey, 0.0);
            grey
        }
        _ => {
            if let Some((w, h)) = name.split_once('x') {
                return RgbImage::from_fn(w.parse().unwrap(), h.parse().unwrap(), |x, y| {
                    Rgb([0, 71, 142].map(|c| ((x * x / 3 + y * 29 + x * y + c) % 256) as u8))
                });
            }
            let (_, bytes) = bundled::photos()
                .iter()
                .find(|(file, _)| file.contains(name))
                .unwrap();
            picture::decode(bytes, name).unwrap()
        }
    }
}

#[test]
fn planes_equal_torchvisions_and_timms_from_the_raw_file() {
    let cases = cases("preprocess");
    assert!(cases.len() > 10);
    for case in cases {
        let preprocessing =
            Preprocessing::from_json(&case["config"], Path::new("expected.json")).unwrap();
        let shape: Vec<usize> = serde_json::from_value(case["shape"].clone()).unwrap();
        assert_eq!(preprocessing.shape()[..], shape, "{case}");
        let planes = preprocessing.pixels(&source(case["picture"].as_str().unwrap()));
        let sum: f64 = planes.iter().map(|&v| f64::from(v)).sum();
        assert!(
            (sum - case["sum"].as_f64().unwrap()).abs() < 1e-3,
            "{sum} {case}"
        );
        assert_eq!(planes[0], case["first"].as_f64().unwrap() as f32, "{case}");
        assert_eq!(
            hash(planes.iter().flat_map(|v| v.to_le_bytes())),
            case["hash"],
            "{case}"
        );
    }
}

/// Applies a case's operation.
fn apply(case: &Value, img: &mut RgbImage) {
    let name = case["op"].as_str().unwrap();
    let Some(value) = case["value"].as_f64() else {
        let op = Op::ALL
            .into_iter()
            .find(|op| format!("{op:?}") == name)
            .unwrap();
        let (magnitude, _) = op.magnitude(case["bin"].as_u64().unwrap() as usize, img.dimensions());
        return op.apply(img, magnitude * case["sign"].as_f64().unwrap());
    };
    match name {
        "adjust_brightness" => colour::adjust_brightness(img, value),
        "adjust_contrast" => colour::adjust_contrast(img, value),
        "adjust_saturation" => colour::adjust_saturation(img, value),
        "adjust_sharpness" => colour::adjust_sharpness(img, value),
        "adjust_hue" => colour::adjust_hue(img, value),
        "rotate" => *img = geometric::rotate(img, value),
        other => panic!("{other}"),
    }
}

#[test]
fn every_operation_gives_pillows_bytes() {
    let cases = cases("augment");
    assert!(cases.len() > 400);
    let mut failures = Vec::new();
    for case in &cases {
        let name = case["picture"].as_str().unwrap();
        let mut img = source(name);
        apply(case, &mut img);
        let found = if name == "grey" {
            assert!(img.pixels().all(|p| p.0 == [p.0[0]; 3]), "{case}");
            hash(img.pixels().map(|p| p.0[0]))
        } else {
            hash(img.into_raw())
        };
        if found != case["hash"] {
            failures.push(case.to_string());
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn a_batch_is_its_pictures_one_by_one() {
    let device = burn::tensor::Device::flex();
    let preprocessing = Preprocessing::square(20, 3);
    let photos: Vec<RgbImage> = ["cat", "7x5", "1x1"].map(source).into();
    let batch = preprocessing.batch(&photos, &device).unwrap();
    assert_eq!(batch.dims(), [3, 3, 20, 20]);
    let one_by_one: Vec<f32> = photos
        .iter()
        .flat_map(|photo| preprocessing.pixels(photo))
        .collect();
    assert_eq!(batch.into_data().try_to_vec::<f32>().unwrap(), one_by_one);
    assert!(preprocessing.batch(&[], &device).is_err());
}
