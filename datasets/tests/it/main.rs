//! Image sets of every layout, written to a temporary folder: intact, damaged, and planted with
//! defects for the data gate.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot write its files fails the test"
)]

mod binary;
mod bundled;
mod folders;
mod gate;
mod index;

use image::{Rgb, RgbImage};
use panoply_datasets::{Error, Result};
use std::path::Path;

/// An image that no other `seed` gives.
fn pixels(seed: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let value = (seed * 7919 + x * 31 + y * 17).to_le_bytes();
        Rgb([value[0], value[1], (x * 5 + y) as u8])
    })
}

/// Writes [`pixels`] of 8×6 to `path`, in the format of its extension.
fn write_image(path: &Path, seed: u32) {
    write_sized(path, seed, 8, 6);
}

fn write_sized(path: &Path, seed: u32, width: u32, height: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    pixels(seed, width, height).save(path).unwrap();
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// The message of an input error; anything else fails the test.
#[track_caller]
fn refused<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("bad input was accepted"),
        Err(e) => {
            assert!(
                matches!(
                    e,
                    Error::Input { .. } | Error::Io { .. } | Error::Unknown { .. }
                ),
                "{e:?}"
            );
            assert_eq!(e.exit_code(), 2);
            e.to_string()
        }
    }
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}
