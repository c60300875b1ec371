//! RandAugment (Cubuk et al. 2020), with torchvision's operations and magnitudes.

use super::{colour, geometric};
use image::RgbImage;
use rand::{Rng, rngs::StdRng};

/// Magnitudes are numbered from 0 to this one: torchvision's 31 bins.
const LAST_BIN: usize = 30;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Nothing.
    Identity,
    /// Rows slide; magnitude in pixels a row.
    ShearX,
    /// Columns slide; magnitude in pixels a column.
    ShearY,
    /// Magnitude in pixels to the right.
    TranslateX,
    /// Magnitude in pixels down.
    TranslateY,
    /// Magnitude in degrees, counter-clockwise.
    Rotate,
    /// Factor 1 plus the magnitude.
    Brightness,
    /// Saturation; factor 1 plus the magnitude.
    Color,
    /// Factor 1 plus the magnitude.
    Contrast,
    /// Factor 1 plus the magnitude.
    Sharpness,
    /// Magnitude in bits kept.
    Posterize,
    /// Magnitude is the threshold.
    Solarize,
    /// No magnitude.
    AutoContrast,
    /// No magnitude.
    Equalize,
}

impl Op {
    /// Every operation, in torchvision's order.
    pub const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// The magnitude of bin `bin` (0 to 30) for an image of `width` x `height`, and whether a coin
    /// decides its sign.
    pub fn magnitude(self, bin: usize, (width, height): (u32, u32)) -> (f64, bool) {
        let shift = |side: u32| linspace(0.0, (150.0 / 331.0 * f64::from(side)) as f32, bin);
        match self {
            Self::Identity | Self::AutoContrast | Self::Equalize => (0.0, false),
            Self::ShearX | Self::ShearY => (linspace(0.0, 0.3, bin), true),
            Self::TranslateX => (shift(width), true),
            Self::TranslateY => (shift(height), true),
            Self::Rotate => (linspace(0.0, 30.0, bin), true),
            Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => {
                (linspace(0.0, 0.9, bin), true)
            }
            Self::Posterize => (8.0 - (bin as f64 / 7.5).round_ties_even(), false),
            Self::Solarize => (linspace(255.0, 0.0, bin), false),
        }
    }

    /// Applies the operation; `magnitude` as [`magnitude`](Self::magnitude) gives it, with its sign.
    pub fn apply(self, img: &mut RgbImage, magnitude: f64) {
        match self {
            Self::Identity => {}
            Self::ShearX => *img = geometric::shear_x(img, magnitude),
            Self::ShearY => *img = geometric::shear_y(img, magnitude),
            Self::TranslateX => *img = geometric::shift(img, magnitude as i64, 0),
            Self::TranslateY => *img = geometric::shift(img, 0, magnitude as i64),
            Self::Rotate => *img = geometric::rotate(img, magnitude),
            Self::Brightness => colour::adjust_brightness(img, 1.0 + magnitude),
            Self::Color => colour::adjust_saturation(img, 1.0 + magnitude),
            Self::Contrast => colour::adjust_contrast(img, 1.0 + magnitude),
            Self::Sharpness => colour::adjust_sharpness(img, 1.0 + magnitude),
            Self::Posterize => colour::posterize(img, (magnitude as u32).clamp(1, 8)),
            Self::Solarize => colour::solarize(img, magnitude),
            Self::AutoContrast => colour::autocontrast(img),
            Self::Equalize => colour::equalize(img),
        }
    }
}

/// Element `bin` of torch's `linspace(start, end, 31)`, which counts from both ends, in f32.
fn linspace(start: f32, end: f32, bin: usize) -> f64 {
    let step = (end - start) / LAST_BIN as f32;
    if bin < LAST_BIN.div_ceil(2) {
        f64::from(start + step * bin as f32)
    } else {
        f64::from(end - step * (LAST_BIN - bin) as f32)
    }
}

/// One operation drawn at random, at magnitude `bin`.
pub(super) fn random_op(img: &mut RgbImage, bin: usize, rng: &mut StdRng) {
    let op = Op::ALL[rng.random_range(0..Op::ALL.len())];
    let (magnitude, signed) = op.magnitude(bin, img.dimensions());
    let negative = signed && rng.random::<bool>();
    op.apply(img, if negative { -magnitude } else { magnitude });
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use rand::SeedableRng;

    #[test]
    fn magnitudes_span_their_ranges() {
        let size = (331, 662);
        assert_eq!(Op::Rotate.magnitude(30, size), (30.0, true));
        assert_eq!(Op::TranslateX.magnitude(30, size), (150.0, true));
        assert_eq!(Op::TranslateY.magnitude(30, size), (300.0, true));
        assert_eq!(Op::Solarize.magnitude(0, size), (255.0, false));
        let bits: Vec<f64> = [0, 3, 4, 11, 12, 30]
            .map(|bin| Op::Posterize.magnitude(bin, size).0)
            .to_vec();
        assert_eq!(bits, [8.0, 8.0, 7.0, 7.0, 6.0, 4.0]);
    }

    #[test]
    fn each_operation_is_drawn_equally_often() {
        // Told apart by what they do to one picture; signs make two pictures of one operation.
        let img = RgbImage::from_fn(24, 18, |x, y| {
            Rgb([(x * 9 + 3) as u8, (y * 11 + 20) as u8, (x * y) as u8])
        });
        let outcomes: Vec<(Op, Vec<RgbImage>)> = Op::ALL
            .iter()
            .map(|&op| {
                let (magnitude, signed) = op.magnitude(20, img.dimensions());
                let signs = if signed {
                    vec![magnitude, -magnitude]
                } else {
                    vec![magnitude]
                };
                let changed = |magnitude: &f64| {
                    let mut out = img.clone();
                    op.apply(&mut out, *magnitude);
                    out
                };
                (op, signs.iter().map(changed).collect())
            })
            .collect();
        let mut counts = [[0_usize; 2]; 14];
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..7000 {
            let mut out = img.clone();
            random_op(&mut out, 20, &mut rng);
            let (op, sign) = outcomes
                .iter()
                .enumerate()
                .find_map(|(i, (_, images))| {
                    images
                        .iter()
                        .position(|image| *image == out)
                        .map(|sign| (i, sign))
                })
                .unwrap();
            counts[op][sign] += 1;
        }
        for (count, (op, images)) in counts.iter().zip(&outcomes) {
            // Five standard deviations of a binomial of 7000 at 1/14: 108.
            assert!(
                (count[0] + count[1]).abs_diff(500) < 108,
                "{op:?} {count:?}"
            );
            assert!(
                images.len() == 1 || count[0].abs_diff(count[1]) < 112,
                "{op:?} {count:?}"
            );
        }
    }
}
