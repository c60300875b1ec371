//! Random windows and affine maps, as torchvision's and, for the pixels, Pillow's.

use image::{RgbImage, imageops};
use panoply_datasets::image::Window;
use rand::{Rng, rngs::StdRng};

use super::uniform;

/// Least and greatest width over height of a random part.
const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

/// torchvision's `RandomResizedCrop.get_params`: a part whose area is a fraction in `scale` of the
/// image's and whose shape lies between 3:4 and 4:3; the middle after ten tries in vain.
pub(super) fn random_window(
    (width, height): (u32, u32),
    scale: [f64; 2],
    rng: &mut StdRng,
) -> Window {
    let area = f64::from(width) * f64::from(height);
    for _ in 0..10 {
        let target = area * uniform(rng, scale[0], scale[1]);
        let aspect = uniform(rng, RATIO.0.ln(), RATIO.1.ln()).exp();
        let w = (target * aspect).sqrt().round_ties_even() as u32;
        let h = (target / aspect).sqrt().round_ties_even() as u32;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let y = rng.random_range(0..=height - h);
            let x = rng.random_range(0..=width - w);
            return Window {
                x,
                y,
                width: w,
                height: h,
            };
        }
    }
    middle(width, height)
}

/// The largest part in the middle whose shape is allowed.
fn middle(width: u32, height: u32) -> Window {
    let aspect = f64::from(width) / f64::from(height);
    let (mut w, mut h) = (width, height);
    if aspect < RATIO.0 {
        h = ((f64::from(width) / RATIO.0).round_ties_even() as u32).clamp(1, height);
    } else if aspect > RATIO.1 {
        w = ((f64::from(height) * RATIO.1).round_ties_even() as u32).clamp(1, width);
    }
    Window {
        x: (width - w) / 2,
        y: (height - h) / 2,
        width: w,
        height: h,
    }
}

/// Moves the image right and down (or left and up, if negative); black moves in.
pub fn shift(img: &RgbImage, right: i64, down: i64) -> RgbImage {
    let mut out = RgbImage::new(img.width(), img.height());
    imageops::replace(&mut out, img, right, down);
    out
}

/// Shears: a row moves left by `factor` pixels a row below the upper edge.
pub fn shear_x(img: &RgbImage, factor: f64) -> RgbImage {
    affine(img, [1.0, factor, 0.0, 0.0, 1.0, 0.0])
}

/// Shears: a column moves up by `factor` pixels a column right of the left edge.
pub fn shear_y(img: &RgbImage, factor: f64) -> RgbImage {
    affine(img, [1.0, 0.0, 0.0, factor, 1.0, 0.0])
}

/// Rotates counter-clockwise about the middle, in degrees; black moves in (Pillow's `rotate`).
pub fn rotate(img: &RgbImage, degrees: f64) -> RgbImage {
    let degrees = degrees.rem_euclid(360.0);
    let (width, height) = (f64::from(img.width()), f64::from(img.height()));
    if degrees == 0.0 {
        return img.clone();
    }
    if degrees == 180.0 {
        return imageops::rotate180(img);
    }
    if width == height && degrees == 90.0 {
        return imageops::rotate270(img);
    }
    if width == height && degrees == 270.0 {
        return imageops::rotate90(img);
    }
    let (sin, cos) = (-degrees.to_radians()).sin_cos();
    let rounded = |value: f64| (value * 1e15).round_ties_even() / 1e15;
    let (sin, cos) = (rounded(sin), rounded(cos));
    let (x, y) = (width / 2.0, height / 2.0);
    let c = cos * -x + sin * -y + x;
    let f = -sin * -x + cos * -y + y;
    affine(img, [cos, sin, c, -sin, cos, f])
}

/// Pillow's nearest-neighbour `transform(AFFINE)`: the output at (x, y) is the input at
/// (ax + by + c, dx + ey + f), in 16-bit fixed point; black outside.
fn affine(img: &RgbImage, [a, b, c, d, e, f]: [f64; 6]) -> RgbImage {
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let (width, height) = (i64::from(img.width()), i64::from(img.height()));
    // Sampled at the pixels' centres.
    let (mut row_x, mut row_y) = (fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5));
    let (step_x, step_y) = (fixed(a), fixed(d));
    let mut out = RgbImage::new(img.width(), img.height());
    for row in out.rows_mut() {
        let (mut x, mut y) = (row_x, row_y);
        for pixel in row {
            let (from_x, from_y) = (x >> 16, y >> 16);
            if (0..width).contains(&from_x) && (0..height).contains(&from_y) {
                *pixel = *img.get_pixel(from_x as u32, from_y as u32);
            }
            x += step_x;
            y += step_y;
        }
        row_x += fixed(b);
        row_y += fixed(e);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use rand::SeedableRng;

    #[test]
    fn random_windows_keep_area_shape_and_borders() {
        let mut rng = StdRng::seed_from_u64(3);
        let (mut areas, mut aspects, mut lefts) = (0.0, 0.0, 0.0);
        for _ in 0..20_000 {
            let window = random_window((640, 480), [0.08, 1.0], &mut rng);
            let (w, h) = (f64::from(window.width), f64::from(window.height));
            let area = w * h / (640.0 * 480.0);
            assert!(
                (0.079..=1.0).contains(&area) && (0.74..1.35).contains(&(w / h)),
                "{window:?}"
            );
            assert!(window.x + window.width <= 640 && window.y + window.height <= 480);
            areas += area / 20_000.0;
            aspects += (w / h).ln() / 20_000.0;
            lefts += f64::from(window.x) / (640.0 - w).max(1.0) / 20_000.0;
        }
        // torchvision 0.29.2, 40,000 windows: area 0.4340 (deviation 0.2171), logarithm of the
        // shape 0.0318 (0.1639). Six standard errors of both samples together.
        assert!((areas - 0.4340).abs() < 6.0 * 0.2171 * 0.0087, "{areas}");
        assert!(
            (aspects - 0.0318).abs() < 6.0 * 0.1639 * 0.0087,
            "{aspects}"
        );
        assert!((lefts - 0.5).abs() < 0.02, "{lefts}");
    }

    #[test]
    fn a_strip_falls_back_to_its_middle() {
        let mut rng = StdRng::seed_from_u64(3);
        let window = random_window((1000, 3), [0.5, 1.0], &mut rng);
        assert_eq!(
            window,
            Window {
                x: 498,
                y: 0,
                width: 4,
                height: 3
            }
        );
        assert_eq!(
            middle(1, 100),
            Window {
                x: 0,
                y: 49,
                width: 1,
                height: 1
            }
        );
    }

    #[test]
    fn a_shift_moves_black_in() {
        let img = RgbImage::from_fn(3, 1, |x, _| Rgb([x as u8 + 1; 3]));
        let reds = |img: &RgbImage| img.pixels().map(|p| p.0[0]).collect::<Vec<_>>();
        assert_eq!(reds(&shift(&img, 1, 0)), [0, 1, 2]);
        assert_eq!(reds(&shift(&img, -2, 0)), [3, 0, 0]);
        assert_eq!(reds(&shift(&img, 0, 1)), [0, 0, 0]);
        assert_eq!(reds(&shift(&img, 9, 9)), [0, 0, 0]);
    }
}
