//! Pictures from bytes to 8-bit RGB, and their geometry, equal to Pillow's.
//!
//! | what | equal to | tolerance |
//! |---|---|---|
//! | JPEG: baseline, progressive, arithmetic-coded; also CMYK and YCCK | Pillow's `convert("RGB")` | none |
//! | PNG, BMP, GIF, WebP, TIFF | Pillow's `convert("RGB")` | none; one level for JPEG inside TIFF |
//! | resizing | Pillow's `resize` | none |
//! | short sides and centre crops | torchvision's `Resize(int)` and `CenterCrop` | none |
//!
//! Of an animation the first frame is taken. Alpha is dropped, not blended; grey is repeated; of 16
//! bits a sample the upper 8 are kept (Pillow does so for colour; 16-bit grey it saturates, which
//! leaves little of a picture). Not read: TIFF with a palette or of floating-point samples.
//! The orientation in the file's Exif or XMP data is applied, as `ImageOps.exif_transpose` does.

mod geometry;
mod interpolation;
mod jpeg;
mod resize;
mod sniff;

pub use geometry::{
    CropRounding, Window, center_crop, crop, flip_horizontal, resize_center_crop,
    resize_short_side, resize_short_side_center_crop, short_side_size,
};
pub use interpolation::Interpolation;
pub use resize::{resize, resize_window};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage,
    error::LimitErrorKind, metadata::Orientation,
};
use panoply_core::{Error, Result, guard};
use std::{io::Cursor, path::Path};

const EXPECTED: &str = "a JPEG, PNG, BMP, GIF, WebP or TIFF picture";

/// Bounds on what is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Width times height; checked against the header, before memory is taken.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// A hundred million pixels: 300 MB of RGB.
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
        }
    }
}

impl Limits {
    fn admit(self, width: u64, height: u64) -> Result<(), (String, String)> {
        let pixels = width.saturating_mul(height);
        if pixels > self.max_pixels {
            return Err((
                format!("a picture of {width}x{height} = {pixels} pixels"),
                format!("at most {} pixels", self.max_pixels),
            ));
        }
        Ok(())
    }
}

/// Decodes a picture with [`Limits::default`]; see [`decode_with`].
pub fn decode(bytes: &[u8], name: &str) -> Result<RgbImage> {
    decode_with(bytes, name, &Limits::default())
}

/// Reads and decodes a file.
pub fn read(path: &Path) -> Result<RgbImage> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    decode(&bytes, &path.display().to_string())
}

/// Decodes a JPEG, PNG, BMP, GIF (first frame), WebP or TIFF picture to upright 8-bit RGB.
///
/// The contents decide the format, not `name`, which serves the messages alone. Anything else,
/// damaged or larger than `limits` is an [`Error::Input`] that says what it looks like.
pub fn decode_with(bytes: &[u8], name: &str, limits: &Limits) -> Result<RgbImage> {
    let Ok(
        format @ (ImageFormat::Jpeg
        | ImageFormat::Png
        | ImageFormat::Bmp
        | ImageFormat::Gif
        | ImageFormat::WebP
        | ImageFormat::Tiff),
    ) = image::guess_format(bytes)
    else {
        return Err(Error::input(name, sniff::describe(bytes), EXPECTED));
    };
    let decoded = guard(name, || match format {
        ImageFormat::Jpeg => decode_jpeg(bytes, name, *limits),
        _ => decode_other(bytes, format, name, *limits),
    });
    // A decoder that panics met a file that its author did not think of: the file is to blame.
    decoded.map_err(|error| match error {
        Error::Internal { message, .. } => Error::input(
            name,
            format!("the {} data cannot be decoded ({message})", label(format)),
            undamaged(format),
        ),
        other => other,
    })
}

fn label(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Gif => "GIF",
        ImageFormat::WebP => "WebP",
        _ => "TIFF",
    }
}

fn undamaged(format: ImageFormat) -> String {
    format!("an undamaged {} file", label(format))
}

fn decode_jpeg(bytes: &[u8], name: &str, limits: Limits) -> Result<RgbImage> {
    let decoded = jpeg::decode(bytes, |width, height| limits.admit(width, height))
        .map_err(|fault| Error::input(name, fault.what, fault.expected))?;
    let orientation = orientation(decoded.exif.as_deref(), decoded.xmp.as_deref());
    let image = RgbImage::from_raw(decoded.width as u32, decoded.height as u32, decoded.rgb)
        .expect("the decoder returns width x height RGB pixels");
    Ok(upright(image, orientation))
}

fn decode_other(bytes: &[u8], format: ImageFormat, name: &str, limits: Limits) -> Result<RgbImage> {
    let failed = |error: ImageError| describe_failure(error, format, name);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allocations = image::Limits::no_limits();
    // At most 16 bytes a pixel (four channels of 32 bits), and as much again to work with.
    allocations.max_alloc = Some(limits.max_pixels.saturating_mul(32));
    reader.limits(allocations);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    limits
        .admit(width.into(), height.into())
        .map_err(|(what, expected)| Error::input(name, what, expected))?;
    let exif = decoder.exif_metadata().unwrap_or_default();
    let xmp = decoder.xmp_metadata().unwrap_or_default();
    let tag = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let orientation = match tag {
        Orientation::NoTransforms => orientation(exif.as_deref(), xmp.as_deref()),
        tag => tag,
    };
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok(upright(to_rgb(image, name)?, orientation))
}

fn describe_failure(error: ImageError, format: ImageFormat, name: &str) -> Error {
    let label = label(format);
    match error {
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Error::input(
            name,
            format!("the {label} file is cut off"),
            format!("a complete {label} file"),
        ),
        ImageError::Limits(e) if e.kind() == LimitErrorKind::InsufficientMemory => Error::input(
            name,
            format!("the {label} file asks for too much memory"),
            "a picture within the pixel limit",
        ),
        ImageError::Unsupported(e) => {
            Error::input(name, e.to_string(), format!("a common kind of {label}"))
        }
        other => Error::input(name, other.to_string(), undamaged(format)),
    }
}

/// Pillow's `convert("RGB")`.
fn to_rgb(image: DynamicImage, name: &str) -> Result<RgbImage> {
    let (width, height) = (image.width(), image.height());
    let upper = |value: u16| (value >> 8) as u8;
    let rgb: Vec<u8> = match image {
        DynamicImage::ImageRgb8(image) => return Ok(image),
        DynamicImage::ImageLuma8(image) => {
            image.into_raw().into_iter().flat_map(|v| [v; 3]).collect()
        }
        DynamicImage::ImageLumaA8(image) => image.pixels().flat_map(|p| [p.0[0]; 3]).collect(),
        DynamicImage::ImageRgba8(image) => image
            .pixels()
            .flat_map(|p| [p.0[0], p.0[1], p.0[2]])
            .collect(),
        DynamicImage::ImageLuma16(image) => {
            image.pixels().flat_map(|p| [upper(p.0[0]); 3]).collect()
        }
        DynamicImage::ImageLumaA16(image) => {
            image.pixels().flat_map(|p| [upper(p.0[0]); 3]).collect()
        }
        DynamicImage::ImageRgb16(image) => image.pixels().flat_map(|p| p.0.map(upper)).collect(),
        DynamicImage::ImageRgba16(image) => image
            .pixels()
            .flat_map(|p| [upper(p.0[0]), upper(p.0[1]), upper(p.0[2])])
            .collect(),
        other => {
            return Err(Error::input(
                name,
                format!("samples of type {:?}", other.color()),
                "8 or 16 bits a sample",
            ));
        }
    };
    Ok(RgbImage::from_raw(width, height, rgb).expect("three bytes were made of each pixel"))
}

/// Orientation by the Exif data, else by `tiff:Orientation` in the XMP data.
fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    exif.and_then(Orientation::from_exif_chunk)
        .or_else(|| xmp.and_then(xmp_orientation))
        .unwrap_or(Orientation::NoTransforms)
}

fn xmp_orientation(xmp: &[u8]) -> Option<Orientation> {
    const KEY: &[u8] = b"tiff:Orientation";
    let rest = xmp
        .windows(KEY.len())
        .position(|w| w == KEY)
        .map(|at| &xmp[at + KEY.len()..])?;
    let digit = rest
        .strip_prefix(b"=\"")
        .or_else(|| rest.strip_prefix(b">"))?
        .first()?;
    Orientation::from_exif(digit.checked_sub(b'0')?)
}

fn upright(image: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return image;
    }
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    image.into_rgb8()
}
