//! Changes of colour, byte for byte as Pillow's `ImageEnhance` and `ImageOps` on 8-bit RGB.

use crate::preprocess::luma;
use image::{Rgb, RgbImage};

/// `from + factor * (to - from)` in f32, truncated and clamped (Pillow's `Image.blend`).
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// Blends each pixel with what `degenerate` makes of it: factor 0 gives that, 1 the image itself.
fn enhance(img: &mut RgbImage, factor: f64, degenerate: impl Fn(Rgb<u8>) -> [u8; 3]) {
    let factor = factor as f32;
    for pixel in img.pixels_mut() {
        let from = degenerate(*pixel);
        for (value, from) in pixel.0.iter_mut().zip(from) {
            *value = blend(from, *value, factor);
        }
    }
}

/// Factor 0 gives black, 1 the image, above it a brighter one.
pub fn adjust_brightness(img: &mut RgbImage, factor: f64) {
    enhance(img, factor, |_pixel| [0; 3]);
}

/// Factor 0 gives the rounded mean luma everywhere, 1 the image.
pub fn adjust_contrast(img: &mut RgbImage, factor: f64) {
    let count = u64::from(img.width()) * u64::from(img.height());
    let sum: u64 = img.pixels().map(|p| u64::from(luma(p.0))).sum();
    let mean = (sum as f64 / count.max(1) as f64 + 0.5) as u8;
    enhance(img, factor, |_pixel| [mean; 3]);
}

/// Factor 0 gives the luma (a grey image), 1 the image.
pub fn adjust_saturation(img: &mut RgbImage, factor: f64) {
    enhance(img, factor, |pixel| [luma(pixel.0); 3]);
}

/// Factor 0 gives the image smoothed by a 3x3 filter (5 in the middle, 1 around it), 1 the image,
/// above it a sharper one. The outermost pixels are their own smoothing.
pub fn adjust_sharpness(img: &mut RgbImage, factor: f64) {
    let (width, height) = (img.width() as usize, img.height() as usize);
    if width < 3 || height < 3 {
        return;
    }
    let factor = factor as f32;
    let source = img.clone().into_raw();
    let stride = width * 3;
    for y in 1..height - 1 {
        let row = &mut img.as_mut()[y * stride + 3..(y + 1) * stride - 3];
        for (i, value) in row.iter_mut().enumerate() {
            let at = y * stride + 3 + i;
            let around = [at - stride, at, at + stride].map(|middle| {
                u32::from(source[middle - 3])
                    + u32::from(source[middle])
                    + u32::from(source[middle + 3])
            });
            let sum: u32 = around.iter().sum::<u32>() + 4 * u32::from(source[at]);
            // Rounded; a thirteenth is never half way.
            let smooth = ((2 * sum + 13) / 26) as u8;
            *value = blend(smooth, *value, factor);
        }
    }
}

/// Turns the hue by `turn` of the colour circle, from -0.5 to 0.5, through Pillow's 8-bit HSV.
///
/// # Panics
/// If `turn` is outside that range.
pub fn adjust_hue(img: &mut RgbImage, turn: f64) {
    assert!((-0.5..=0.5).contains(&turn), "hue turned by {turn}");
    // Truncated, then modulo 256.
    let turn = (turn * 255.0) as i32 as u8;
    for pixel in img.pixels_mut() {
        let [h, s, v] = to_hsv(pixel.0);
        pixel.0 = from_hsv([h.wrapping_add(turn), s, v]);
    }
}

/// Pillow's `convert("HSV")`; in f32 and f64 where Pillow uses them.
fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let [rc, gc, bc] = [r, g, b].map(|value| f32::from(most - value) / range);
    let sector = if r == most {
        bc - gc
    } else if g == most {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let hue = (f64::from(sector) / 6.0 + 1.0) % 1.0;
    [
        (f64::from(hue as f32) * 255.0) as u8,
        (f64::from(saturation) * 255.0) as u8,
        most,
    ]
}

/// Pillow's `convert("RGB")` of HSV.
fn from_hsv([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let position = f64::from(h) * 6.0 / 255.0;
    let sector = position.floor();
    let (f, s) = (
        f64::from((position - sector) as f32),
        f64::from(f32::from(s) / 255.0),
    );
    let scaled = |factor: f64| (f64::from(v) * factor).round() as u8;
    let (p, q, t) = (
        scaled(1.0 - s),
        scaled(1.0 - s * f),
        scaled(1.0 - s * (1.0 - f)),
    );
    match sector as u32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// Maps each channel's values through its own table.
fn map_values(img: &mut RgbImage, tables: &[[u8; 256]; 3]) {
    for pixel in img.pixels_mut() {
        for (value, table) in pixel.0.iter_mut().zip(tables) {
            *value = table[usize::from(*value)];
        }
    }
}

fn histograms(img: &RgbImage) -> [[u32; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in img.pixels() {
        for (count, value) in counts.iter_mut().zip(pixel.0) {
            count[usize::from(value)] += 1;
        }
    }
    counts
}

/// Keeps the upper `bits` (1 to 8) of each value.
///
/// # Panics
/// If `bits` is outside that range.
pub fn posterize(img: &mut RgbImage, bits: u32) {
    assert!((1..=8).contains(&bits), "posterize to {bits} bits");
    let mask = 0xFF_u8 << (8 - bits);
    img.iter_mut().for_each(|value| *value &= mask);
}

/// Inverts the values from `threshold` on.
pub fn solarize(img: &mut RgbImage, threshold: f64) {
    for value in img.iter_mut() {
        if f64::from(*value) >= threshold {
            *value = 255 - *value;
        }
    }
}

/// Stretches each channel to the full range.
pub fn autocontrast(img: &mut RgbImage) {
    let tables = histograms(img).map(|counts| {
        let least = counts.iter().position(|&count| count > 0).unwrap_or(0);
        let most = counts.iter().rposition(|&count| count > 0).unwrap_or(255);
        if most <= least {
            return identity();
        }
        let scale = 255.0 / (most - least) as f64;
        let offset = -(least as f64) * scale;
        std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
    });
    map_values(img, &tables);
}

/// Equalises each channel's histogram.
pub fn equalize(img: &mut RgbImage) {
    let tables = histograms(img).map(|counts| {
        let last = counts
            .iter()
            .rfind(|&&count| count > 0)
            .copied()
            .unwrap_or(0);
        let step = (counts.iter().sum::<u32>() - last) / 255;
        if step == 0 {
            return identity();
        }
        let mut below = step / 2;
        std::array::from_fn(|value| {
            let level = (below / step).min(255) as u8;
            below += counts[value];
            level
        })
    });
    map_values(img, &tables);
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(rgb: [u8; 3]) -> RgbImage {
        RgbImage::from_pixel(1, 1, Rgb(rgb))
    }

    #[test]
    fn enhancements_by_hand() {
        let mut img = dot([100, 200, 3]);
        adjust_brightness(&mut img, 1.5);
        assert_eq!(img.get_pixel(0, 0).0, [150, 255, 4]);
        // Luma of (100, 200, 3): 147.64 -> 148; 148 + 0.5 * (100 - 148) = 124.
        let mut img = dot([100, 200, 3]);
        adjust_saturation(&mut img, 0.5);
        assert_eq!(img.get_pixel(0, 0).0, [124, 174, 75]);
        let mut img = dot([100, 200, 3]);
        adjust_contrast(&mut img, 0.0);
        assert_eq!(img.get_pixel(0, 0).0, [148; 3]);
    }

    #[test]
    fn a_third_of_the_circle_turns_red_into_green() {
        let mut img = dot([255, 0, 0]);
        adjust_hue(&mut img, 1.0 / 3.0);
        assert_eq!(img.get_pixel(0, 0).0, [0, 255, 0]);
    }

    #[test]
    fn every_grey_survives_hsv() {
        assert!((0..=255).all(|v| from_hsv(to_hsv([v; 3])) == [v; 3]));
    }

    #[test]
    fn tables_by_hand() {
        let mut img = RgbImage::from_raw(2, 1, vec![10, 20, 5, 20, 20, 250]).unwrap();
        autocontrast(&mut img);
        assert_eq!(img.as_raw(), &[0, 20, 0, 255, 20, 255]);
        posterize(&mut img, 1);
        assert_eq!(img.as_raw(), &[0, 0, 0, 128, 0, 128]);
        solarize(&mut img, 128.0);
        assert_eq!(img.as_raw(), &[0, 0, 0, 127, 0, 127]);
    }
}
