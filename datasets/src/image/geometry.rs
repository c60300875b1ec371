//! Sizes, crops and flips by torchvision's rules.

use super::{Interpolation, Limits, resize, resize_window};
use image::{RgbImage, imageops};
use panoply_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// How a centre crop rounds a margin that is not whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropRounding {
    /// Half to even, as torchvision and timm.
    #[default]
    HalfEven,
    /// Down, as Hugging Face's image processors.
    Floor,
}

/// Size of an image of `width` x `height` whose short side becomes `size`:
/// the long side is `int(size * long / short)`, as torchvision's `Resize(int)`.
///
/// ```
/// assert_eq!(panoply_datasets::image::short_side_size(640, 427, 256), (383, 256));
/// ```
pub fn short_side_size(width: u32, height: u32, size: u32) -> (u32, u32) {
    let long = |long: u32, short: u32| {
        let exact = u64::from(size) * u64::from(long) / u64::from(short.max(1));
        u32::try_from(exact).unwrap_or(u32::MAX)
    };
    if width <= height {
        (size, long(height, width))
    } else {
        (long(width, height), size)
    }
}

/// Resizes so that the short side is `size`, as torchvision's `Resize(int)`.
///
/// A strip whose result would exceed [`Limits::default`] is an [`Error::Input`];
/// [`resize_short_side_center_crop`] takes strips too.
pub fn resize_short_side(img: &RgbImage, size: u32, filter: Interpolation) -> Result<RgbImage> {
    let (width, height) = short_side_size(img.width(), img.height(), size);
    let limit = Limits::default().max_pixels;
    if size == 0 || u64::from(width) * u64::from(height) > limit {
        return Err(Error::input(
            "resize",
            format!(
                "{}x{} with a short side of {size} is {width}x{height}",
                img.width(),
                img.height()
            ),
            format!("1 to {limit} pixels"),
        ));
    }
    Ok(resize(img, width, height, filter))
}

/// [`resize_short_side`] and [`center_crop`] in one, for the cost of the crop.
///
/// # Panics
/// If `size` is 0.
pub fn resize_short_side_center_crop(
    img: &RgbImage,
    size: u32,
    (crop_w, crop_h): (u32, u32),
    filter: Interpolation,
    rounding: CropRounding,
) -> RgbImage {
    let (width, height) = short_side_size(img.width(), img.height(), size);
    resize_center_crop(img, (width, height), (crop_w, crop_h), filter, rounding)
}

/// [`resize`](super::resize()) to `size` and [`center_crop`] to `crop` in one, for the cost of the crop.
///
/// # Panics
/// If a side of `size` is 0.
pub fn resize_center_crop(
    img: &RgbImage,
    (width, height): (u32, u32),
    (crop_w, crop_h): (u32, u32),
    filter: Interpolation,
    rounding: CropRounding,
) -> RgbImage {
    let (x, w, left) = center(width, crop_w, rounding);
    let (y, h, top) = center(height, crop_h, rounding);
    let part = resize_window(
        img,
        width,
        height,
        Window {
            x,
            y,
            width: w,
            height: h,
        },
        filter,
    );
    place(part, crop_w, crop_h, left, top)
}

/// The middle of an image, padded with black where the image is smaller.
///
/// A margin that is not whole is rounded as `rounding` says; odd padding puts the extra pixel
/// right and below (torchvision's `center_crop`).
pub fn center_crop(img: &RgbImage, width: u32, height: u32, rounding: CropRounding) -> RgbImage {
    let (x, w, left) = center(img.width(), width, rounding);
    let (y, h, top) = center(img.height(), height, rounding);
    place(
        crop(
            img,
            Window {
                x,
                y,
                width: w,
                height: h,
            },
        ),
        width,
        height,
        left,
        top,
    )
}

/// Start and length of the part of `0..from` that is kept, and the padding in front of it.
fn center(from: u32, to: u32, rounding: CropRounding) -> (u32, u32, u32) {
    if to >= from {
        return (0, from, (to - from) / 2);
    }
    let margin = from - to;
    let half = margin / 2;
    let start = match rounding {
        // Halves occur only when `margin` is odd; then the even neighbour is taken.
        CropRounding::HalfEven => half + (margin % 2) * (half % 2),
        CropRounding::Floor => half,
    };
    (start, to, 0)
}

fn place(part: RgbImage, width: u32, height: u32, left: u32, top: u32) -> RgbImage {
    if part.dimensions() == (width, height) {
        return part;
    }
    let mut out = RgbImage::new(width, height);
    imageops::replace(&mut out, &part, left.into(), top.into());
    out
}

/// Cuts `window` out.
///
/// # Panics
/// If the window leaves the image.
pub fn crop(img: &RgbImage, window: Window) -> RgbImage {
    let Window {
        x,
        y,
        width,
        height,
    } = window;
    assert!(
        x.checked_add(width)
            .is_some_and(|right| right <= img.width())
            && y.checked_add(height)
                .is_some_and(|bottom| bottom <= img.height()),
        "{window:?} leaves {}x{}",
        img.width(),
        img.height()
    );
    imageops::crop_imm(img, x, y, width, height).to_image()
}

/// Mirrors left and right.
pub fn flip_horizontal(img: &RgbImage) -> RgbImage {
    imageops::flip_horizontal(img)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn short_sides_follow_torchvision() {
        assert_eq!(short_side_size(640, 480, 256), (341, 256));
        assert_eq!(short_side_size(480, 640, 256), (256, 341));
        assert_eq!(short_side_size(3, 3, 7), (7, 7));
        assert_eq!(short_side_size(20_000, 2, 224), (2_240_000, 224));
    }

    #[test]
    fn centre_margins_round_half_to_even() {
        // Margins 33 / 2 = 16.5 -> 16, 35 / 2 = 17.5 -> 18.
        assert_eq!(center(257, 224, CropRounding::HalfEven), (16, 224, 0));
        assert_eq!(center(259, 224, CropRounding::HalfEven), (18, 224, 0));
        assert_eq!(center(259, 224, CropRounding::Floor), (17, 224, 0));
        assert_eq!(center(5, 10, CropRounding::HalfEven), (0, 5, 2));
    }

    #[test]
    fn a_small_image_is_padded_with_black() {
        let img = RgbImage::from_pixel(1, 2, Rgb([9, 9, 9]));
        let out = center_crop(&img, 4, 1, CropRounding::HalfEven);
        let reds: Vec<u8> = out.pixels().map(|p| p.0[0]).collect();
        assert_eq!(reds, [0, 9, 0, 0]);
    }

    #[test]
    fn a_strip_is_refused_whole_and_taken_cropped() {
        let img = RgbImage::from_pixel(20_000, 2, Rgb([1, 2, 3]));
        assert!(resize_short_side(&img, 224, Interpolation::Bilinear).is_err());
        let out = resize_short_side_center_crop(
            &img,
            224,
            (224, 224),
            Interpolation::Bilinear,
            CropRounding::HalfEven,
        );
        assert!(out.dimensions() == (224, 224) && out.pixels().all(|p| p.0 == [1, 2, 3]));
    }
}
