//! Random erasing on normalised planes; MixUp and CutMix on batches, as torchvision's `v2`.

use super::{AugmentConfig, Stage, stream, uniform};
use rand::{Rng, rngs::StdRng};

/// A rectangle of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
}

/// Sets `patch` of each plane to 0, the mean of normalised data.
///
/// # Shapes
/// `planes`: `[channels, height, width]` as `shape` says.
pub fn erase(planes: &mut [f32], [_, height, width]: [usize; 3], patch: Patch) {
    for plane in planes.chunks_exact_mut(height * width) {
        for row in plane
            .chunks_exact_mut(width)
            .skip(patch.y)
            .take(patch.height)
        {
            row[patch.x..patch.x + patch.width].fill(0.0);
        }
    }
}

/// torchvision's `RandomErasing` after its coin: a rectangle of 2 to 33 % of the area and a shape
/// from 0.3 to 3.3; nothing after ten tries in vain.
pub(super) fn erase_at_random(planes: &mut [f32], shape: [usize; 3], rng: &mut StdRng) {
    let [_, height, width] = shape;
    for _ in 0..10 {
        let area = (height * width) as f64 * uniform(rng, 0.02, 0.33);
        let aspect = uniform(rng, 0.3_f64.ln(), 3.3_f64.ln()).exp();
        let h = (area * aspect).sqrt().round_ties_even() as usize;
        let w = (area / aspect).sqrt().round_ties_even() as usize;
        if h < height && w < width {
            let y = rng.random_range(0..=height - h);
            let x = rng.random_range(0..=width - w);
            erase(
                planes,
                shape,
                Patch {
                    x,
                    y,
                    width: w,
                    height: h,
                },
            );
            return;
        }
    }
}

/// Mixes a batch by MixUp or CutMix, whichever is on (with equal probability where both are), and
/// returns the soft targets; `None`, and nothing changed, where both are off or the batch is empty.
///
/// Each sample is mixed with the one before it, the first with the last.
///
/// # Shapes
/// - `pixels`: `[batch, channels, height, width]`, the last three as `shape` says
/// - `classes`: `[batch]`, each below `num_classes`
/// - result: `[batch, num_classes]`
pub fn mix(
    config: &AugmentConfig,
    pixels: &mut [f32],
    shape: [usize; 3],
    classes: &[usize],
    num_classes: usize,
    seed: u64,
) -> Option<Vec<f32>> {
    let (mixup, cutmix) = (config.mixup_alpha > 0.0, config.cutmix_alpha > 0.0);
    if !(mixup || cutmix) || classes.is_empty() {
        return None;
    }
    let mut rng = stream(seed, Stage::Mix);
    let mut targets = vec![0.0; classes.len() * num_classes];
    for (row, &class) in targets.chunks_exact_mut(num_classes).zip(classes) {
        row[class] = 1.0;
    }
    let cut = if mixup && cutmix {
        rng.random::<bool>()
    } else {
        cutmix
    };
    if cut {
        let lambda = beta(config.cutmix_alpha, &mut rng);
        let patch = random_patch(shape, lambda, &mut rng);
        cut_mix(pixels, shape, &mut targets, num_classes, patch);
    } else {
        let lambda = beta(config.mixup_alpha, &mut rng);
        mix_up(pixels, shape, &mut targets, num_classes, lambda);
    }
    Some(targets)
}

/// MixUp: `lambda` of each sample and `1 - lambda` of the one before it, pixels and targets alike.
///
/// # Shapes
/// As [`mix`]; `targets`: `[batch, num_classes]`.
pub fn mix_up(
    pixels: &mut [f32],
    shape: [usize; 3],
    targets: &mut [f32],
    num_classes: usize,
    lambda: f64,
) {
    blend_rows(pixels, shape.iter().product(), lambda);
    blend_rows(targets, num_classes, lambda);
}

/// CutMix: `patch` of each sample comes from the one before it, which gives its share of the target.
///
/// # Shapes
/// As [`mix_up`].
pub fn cut_mix(
    pixels: &mut [f32],
    shape: [usize; 3],
    targets: &mut [f32],
    num_classes: usize,
    patch: Patch,
) {
    let [_, height, width] = shape;
    with_previous(pixels, shape.iter().product(), |sample, previous| {
        let planes = sample
            .chunks_exact_mut(height * width)
            .zip(previous.chunks_exact(height * width));
        for (plane, previous) in planes {
            for y in patch.y..patch.y + patch.height {
                let row = y * width + patch.x..y * width + patch.x + patch.width;
                plane[row.clone()].copy_from_slice(&previous[row]);
            }
        }
    });
    let share = (patch.width * patch.height) as f64 / (width * height) as f64;
    blend_rows(targets, num_classes, 1.0 - share);
}

fn blend_rows(rows: &mut [f32], length: usize, lambda: f64) {
    let (own, other) = (lambda as f32, (1.0 - lambda) as f32);
    with_previous(rows, length, |row, previous| {
        for (value, previous) in row.iter_mut().zip(previous) {
            *value = previous * other + *value * own;
        }
    });
}

/// Calls `change` with each row and the unchanged row before it (the last one for the first row).
fn with_previous(rows: &mut [f32], length: usize, change: impl Fn(&mut [f32], &[f32])) {
    let count = rows.len() / length.max(1);
    if count == 0 {
        return;
    }
    let last = rows[(count - 1) * length..].to_vec();
    // From the end, so that the row before is still as it was.
    for i in (1..count).rev() {
        let (before, row) = rows.split_at_mut(i * length);
        change(&mut row[..length], &before[(i - 1) * length..]);
    }
    change(&mut rows[..length], &last);
}

/// torchvision's rectangle of `1 - lambda` of the area about a random centre, cut at the borders.
fn random_patch([_, height, width]: [usize; 3], lambda: f64, rng: &mut StdRng) -> Patch {
    let (x, y) = (rng.random_range(0..width), rng.random_range(0..height));
    let half = 0.5 * (1.0 - lambda).sqrt();
    let (half_w, half_h) = (
        (half * width as f64) as usize,
        (half * height as f64) as usize,
    );
    let (left, top) = (x.saturating_sub(half_w), y.saturating_sub(half_h));
    Patch {
        x: left,
        y: top,
        width: (x + half_w).min(width) - left,
        height: (y + half_h).min(height) - top,
    }
}

/// A draw from Beta(alpha, alpha): `g / (g + h)` of two gamma draws, by their logarithms, because a
/// small alpha makes both too small for an f64.
fn beta(alpha: f64, rng: &mut StdRng) -> f64 {
    let difference = ln_gamma_draw(alpha, rng) - ln_gamma_draw(alpha, rng);
    1.0 / (1.0 + (-difference).exp())
}

/// Logarithm of a draw from Gamma(alpha, 1) (Marsaglia and Tsang 2000).
fn ln_gamma_draw(alpha: f64, rng: &mut StdRng) -> f64 {
    if alpha < 1.0 {
        // Gamma(a) = Gamma(a + 1) * U^(1/a); 1 - random lies in (0, 1].
        let uniform: f64 = 1.0 - rng.random::<f64>();
        return ln_gamma_draw(alpha + 1.0, rng) + uniform.ln() / alpha;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 {
            let uniform: f64 = 1.0 - rng.random::<f64>();
            if uniform.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return (d * v).ln();
            }
        }
    }
}

/// A standard normal draw (Box and Muller 1958).
fn normal(rng: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.05, 0.2, 1.0, 2.5, 40.0] {
            let mut rng = StdRng::seed_from_u64(11);
            let draws: Vec<f64> = (0..40_000).map(|_| beta(alpha, &mut rng)).collect();
            assert!(draws.iter().all(|x| (0.0..=1.0).contains(x)));
            let mean = draws.iter().sum::<f64>() / 40_000.0;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 40_000.0;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            // Five standard errors of the mean; the variance's relative one is below 1 %.
            assert!(
                (mean - 0.5).abs() < 5.0 * (expected / 40_000.0_f64).sqrt(),
                "{alpha}: {mean}"
            );
            assert!(
                (variance / expected - 1.0).abs() < 0.04,
                "{alpha}: {variance} {expected}"
            );
        }
        let mut rng = StdRng::seed_from_u64(1);
        assert!((0..1000).all(|_| (0.0..=1.0).contains(&beta(1e-6, &mut rng))));
    }

    #[test]
    fn mix_up_by_hand() {
        let mut pixels = vec![0.0, 4.0, 8.0, 12.0, 100.0, 200.0];
        let mut targets = vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
        mix_up(&mut pixels, [1, 1, 2], &mut targets, 2, 0.75);
        // torch: x * 0.75 + x.roll(1, 0) * 0.25.
        assert_eq!(pixels, [25.0, 53.0, 6.0, 10.0, 77.0, 153.0]);
        assert_eq!(targets, [1.0, 0.0, 0.25, 0.75, 0.75, 0.25]);
    }

    #[test]
    fn cut_mix_by_hand() {
        let mut pixels: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mut targets = vec![1.0, 0.0, 0.0, 1.0];
        let patch = Patch {
            x: 1,
            y: 0,
            width: 2,
            height: 1,
        };
        cut_mix(&mut pixels, [1, 2, 3], &mut targets, 2, patch);
        assert_eq!(
            pixels,
            [0.0, 7.0, 8.0, 3.0, 4.0, 5.0, 6.0, 1.0, 2.0, 9.0, 10.0, 11.0]
        );
        // The patch is exactly a third.
        let third = 1.0 / 3.0_f32;
        assert!(
            targets
                .iter()
                .zip([1.0 - third, third, third, 1.0 - third])
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
    }

    #[test]
    fn targets_follow_the_pixels() {
        // Sample i is i everywhere, so each image's mean tells how much of which sample it holds.
        for (mixup_alpha, cutmix_alpha) in [(0.4, 0.0), (0.0, 1.0), (0.8, 1.0)] {
            let config = AugmentConfig {
                mixup_alpha,
                cutmix_alpha,
                ..AugmentConfig::default()
            };
            let (mut cut, mut blended) = (0, 0);
            for seed in 0..200 {
                let shape = [2, 6, 5];
                let mut pixels: Vec<f32> = (0..3 * 60).map(|i| (i / 60) as f32).collect();
                let targets = mix(&config, &mut pixels, shape, &[0, 1, 2], 3, seed).unwrap();
                for (image, target) in pixels.chunks_exact(60).zip(targets.chunks_exact(3)) {
                    let mean = image.iter().sum::<f32>() / 60.0;
                    assert!((mean - (target[1] + 2.0 * target[2])).abs() < 1e-5);
                    assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                }
                let whole = pixels.iter().all(|v| v.fract() == 0.0);
                cut += usize::from(whole);
                blended += usize::from(!whole);
            }
            match (mixup_alpha > 0.0, cutmix_alpha > 0.0) {
                (true, true) => assert!(cut.abs_diff(100) < 36, "{cut}"),
                (true, false) => assert!(blended > 190, "{blended}"),
                _ => assert_eq!(blended, 0),
            }
        }
    }

    #[test]
    fn off_changes_nothing() {
        let mut pixels = vec![1.0, 2.0];
        assert!(
            mix(
                &AugmentConfig::default(),
                &mut pixels,
                [1, 1, 1],
                &[0, 1],
                2,
                0
            )
            .is_none()
        );
        let on = AugmentConfig {
            mixup_alpha: 1.0,
            ..AugmentConfig::default()
        };
        assert!(mix(&on, &mut [], [1, 1, 1], &[], 2, 0).is_none());
        assert_eq!(pixels, [1.0, 2.0]);
        // A batch of one is mixed with itself.
        assert_eq!(
            mix(&on, &mut [5.0], [1, 1, 1], &[1], 2, 0).unwrap(),
            [0.0, 1.0]
        );
    }

    #[test]
    fn erased_rectangles_keep_area_and_shape() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut sum = 0.0;
        for _ in 0..2000 {
            let mut planes = vec![1.0; 2 * 60 * 80];
            erase_at_random(&mut planes, [2, 60, 80], &mut rng);
            let zeros: Vec<usize> = (0..4800).filter(|&i| planes[i] == 0.0).collect();
            assert!(planes[..4800] == planes[4800..]);
            let rows = zeros
                .iter()
                .map(|i| i / 80)
                .fold((usize::MAX, 0), |m, y| (m.0.min(y), m.1.max(y)));
            let columns = zeros
                .iter()
                .map(|i| i % 80)
                .fold((usize::MAX, 0), |m, x| (m.0.min(x), m.1.max(x)));
            let (h, w) = (rows.1 - rows.0 + 1, columns.1 - columns.0 + 1);
            assert_eq!(h * w, zeros.len());
            let area = zeros.len() as f64 / 4800.0;
            assert!((0.015..0.35).contains(&area) && (0.25..4.0).contains(&(h as f64 / w as f64)));
            sum += area;
        }
        assert!((sum / 2000.0 - 0.175).abs() < 0.01, "{}", sum / 2000.0);
    }
}
