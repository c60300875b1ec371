//! Encoded images to pixels.

use crate::{Error, Result};

/// Decodes `bytes`; `name` is what an error calls them.
pub fn decode(bytes: &[u8], name: &str) -> Result<::image::RgbImage> {
    let decoded = ::image::load_from_memory(bytes);
    let decoded =
        decoded.map_err(|e| Error::input(name, e.to_string(), "an image that can be decoded"))?;
    Ok(decoded.into_rgb8())
}
