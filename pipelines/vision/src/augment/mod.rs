//! Random changes of training images, by the formulas of Pillow and torchvision.
//!
//! On the host, on 8-bit RGB, in the order of torchvision's reference recipes: crop, flip, colour
//! jitter, RandAugment; then, on the normalised planes, random erasing; then, on the batch, MixUp or
//! CutMix. All random numbers of an image come from one seed and each stage draws from a stream of its
//! own, so the result depends on no thread, and switching a stage on leaves the others' draws alone.
//!
//! Each operation equals its reference byte for byte for a given factor or magnitude
//! (`tests/preprocess.rs`); only the random numbers differ from Python's. A grey image (equal
//! channels) stays grey, and saturation and hue leave it as it is.

pub mod colour;
pub mod geometric;
mod mix;
mod rand_augment;

pub use mix::{Patch, cut_mix, erase, mix, mix_up};
pub use rand_augment::Op;

use crate::preprocess::Preprocessing;
use image::RgbImage;
use panoply_core::{Error, Result, seed};
use panoply_datasets::image as picture;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// What is done to training images. Default: nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// In place of the evaluation's resize and crop, a random part of the image, of random area and
    /// shape (torchvision's `RandomResizedCrop`). Default false.
    pub random_resized_crop: bool,
    /// Least and greatest area of that part, as fractions of the image's. Default `[0.08, 1]`.
    pub random_resized_crop_scale: [f64; 2],
    /// Shifts the view by up to this many pixels each way, black moving in (torchvision's
    /// `RandomCrop(size, padding)`). Default 0, off.
    pub random_crop_padding: u32,
    /// Probability of mirroring left and right. Default 0.
    pub horizontal_flip: f64,
    /// Brightness changes by a factor from `1 - v` (0 at least) to `1 + v`. Default 0, off.
    pub brightness: f64,
    /// The same for the contrast. Default 0, off.
    pub contrast: f64,
    /// The same for the saturation. Default 0, off.
    pub saturation: f64,
    /// The hue turns by `-v` to `v` of the colour circle, at most 0.5. Default 0, off.
    pub hue: f64,
    /// Operations of RandAugment (Cubuk et al. 2020) an image; the paper uses 2. Default 0, off.
    pub rand_augment_ops: usize,
    /// Their magnitude, from 0 to 30. Default 9.
    pub rand_augment_magnitude: usize,
    /// Probability of erasing a rectangle (Zhong et al. 2020). Default 0.
    pub random_erasing: f64,
    /// MixUp (Zhang et al. 2018): the mixing weight is drawn from Beta(v, v). Default 0, off.
    pub mixup_alpha: f64,
    /// CutMix (Yun et al. 2019), likewise; where both are on, each batch takes one of them, with equal
    /// probability. Default 0, off.
    pub cutmix_alpha: f64,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            random_resized_crop: false,
            random_resized_crop_scale: [0.08, 1.0],
            random_crop_padding: 0,
            horizontal_flip: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            rand_augment_ops: 0,
            rand_augment_magnitude: 9,
            random_erasing: 0.0,
            mixup_alpha: 0.0,
            cutmix_alpha: 0.0,
        }
    }
}

impl AugmentConfig {
    /// Refuses values outside their ranges, by name.
    pub fn check(&self) -> Result<()> {
        let number = |name: &str, value: f64, (least, most): (f64, f64)| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            let range = if most == f64::MAX {
                format!("a number from {least}")
            } else {
                format!("{least} to {most}")
            };
            Err(Error::input(
                format!("augment.{name}"),
                value.to_string(),
                range,
            ))
        };
        let unbounded = (0.0, f64::MAX);
        number("horizontal_flip", self.horizontal_flip, (0.0, 1.0))?;
        number("random_erasing", self.random_erasing, (0.0, 1.0))?;
        number("brightness", self.brightness, unbounded)?;
        number("contrast", self.contrast, unbounded)?;
        number("saturation", self.saturation, unbounded)?;
        number("hue", self.hue, (0.0, 0.5))?;
        number("mixup_alpha", self.mixup_alpha, unbounded)?;
        number("cutmix_alpha", self.cutmix_alpha, unbounded)?;
        number(
            "random_crop_padding",
            self.random_crop_padding.into(),
            (0.0, 4096.0),
        )?;
        number(
            "rand_augment_ops",
            self.rand_augment_ops as f64,
            (0.0, 100.0),
        )?;
        number(
            "rand_augment_magnitude",
            self.rand_augment_magnitude as f64,
            (0.0, 30.0),
        )?;
        let [least, most] = self.random_resized_crop_scale;
        number("random_resized_crop_scale", most, (f64::MIN_POSITIVE, 1.0))?;
        number(
            "random_resized_crop_scale",
            least,
            (f64::MIN_POSITIVE, most),
        )
    }
}

/// The stages that draw random numbers; each number is part of its stream's seed.
#[derive(Clone, Copy)]
enum Stage {
    ResizedCrop = 1,
    Shift = 2,
    Flip = 3,
    Jitter = 4,
    RandAugment = 5,
    Erase = 6,
    Mix = 7,
}

fn stream(seed: u64, stage: Stage) -> StdRng {
    StdRng::seed_from_u64(seed::derive(&[seed, stage as u64]))
}

fn uniform(rng: &mut StdRng, least: f64, most: f64) -> f64 {
    least + (most - least) * rng.random::<f64>()
}

/// An [`AugmentConfig`] that was checked.
#[derive(Clone, Debug)]
pub struct Augment {
    config: AugmentConfig,
}

impl Augment {
    /// Checks the config; see [`AugmentConfig::check`].
    pub fn new(config: &AugmentConfig) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config: config.clone(),
        })
    }

    /// What the network sees of `photo` before normalisation: the view that `preprocessing` makes
    /// (or a random part of the photo in that size), changed at random.
    pub fn apply(&self, photo: &RgbImage, preprocessing: &Preprocessing, seed: u64) -> RgbImage {
        let mut view = if self.config.random_resized_crop {
            self.random_part(photo, preprocessing, seed)
        } else {
            preprocessing.view(photo)
        };
        if self.config.random_crop_padding > 0 {
            let mut rng = stream(seed, Stage::Shift);
            let padding = self.config.random_crop_padding;
            let (x, y) = (
                rng.random_range(0..=2 * padding),
                rng.random_range(0..=2 * padding),
            );
            view = geometric::shift(
                &view,
                i64::from(padding) - i64::from(x),
                i64::from(padding) - i64::from(y),
            );
        }
        if stream(seed, Stage::Flip).random::<f64>() < self.config.horizontal_flip {
            view = picture::flip_horizontal(&view);
        }
        self.jitter(&mut view, &mut stream(seed, Stage::Jitter));
        let mut rng = stream(seed, Stage::RandAugment);
        for _ in 0..self.config.rand_augment_ops {
            rand_augment::random_op(&mut view, self.config.rand_augment_magnitude, &mut rng);
        }
        view
    }

    /// [`apply`](Self::apply), normalised and, at random, partly erased:
    /// `[channels, height, width]` of [`Preprocessing::shape`].
    pub fn pixels(&self, photo: &RgbImage, preprocessing: &Preprocessing, seed: u64) -> Vec<f32> {
        let mut planes = preprocessing.normalise(&self.apply(photo, preprocessing, seed));
        let mut rng = stream(seed, Stage::Erase);
        if rng.random::<f64>() < self.config.random_erasing {
            mix::erase_at_random(&mut planes, preprocessing.shape(), &mut rng);
        }
        planes
    }

    fn random_part(&self, photo: &RgbImage, preprocessing: &Preprocessing, seed: u64) -> RgbImage {
        let mut rng = stream(seed, Stage::ResizedCrop);
        let scale = self.config.random_resized_crop_scale;
        let window = geometric::random_window(photo.dimensions(), scale, &mut rng);
        let (width, height) = preprocessing.crop;
        picture::resize(
            &picture::crop(photo, window),
            width,
            height,
            preprocessing.interpolation,
        )
    }

    /// torchvision's `ColorJitter`: each change by a random factor, in random order.
    fn jitter(&self, view: &mut RgbImage, rng: &mut StdRng) {
        let AugmentConfig {
            brightness,
            contrast,
            saturation,
            hue,
            ..
        } = self.config;
        let mut factor = |range: f64| uniform(rng, (1.0 - range).max(0.0), 1.0 + range);
        let factors = [factor(brightness), factor(contrast), factor(saturation)];
        let turn = uniform(rng, -hue, hue);
        let mut order = [0, 1, 2, 3];
        for last in (1..4).rev() {
            order.swap(last, rng.random_range(0..=last));
        }
        for kind in order {
            match kind {
                0 if brightness > 0.0 => colour::adjust_brightness(view, factors[0]),
                1 if contrast > 0.0 => colour::adjust_contrast(view, factors[1]),
                2 if saturation > 0.0 => colour::adjust_saturation(view, factors[2]),
                3 if hue > 0.0 => colour::adjust_hue(view, turn),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn photo() -> RgbImage {
        RgbImage::from_fn(40, 30, |x, y| {
            Rgb([(x * 6) as u8, (y * 8) as u8, (x * y) as u8])
        })
    }

    fn everything() -> AugmentConfig {
        AugmentConfig {
            random_resized_crop: true,
            random_crop_padding: 3,
            horizontal_flip: 0.5,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
            rand_augment_ops: 2,
            random_erasing: 0.5,
            ..AugmentConfig::default()
        }
    }

    #[test]
    fn nothing_is_on_by_default() {
        let augment = Augment::new(&AugmentConfig::default()).unwrap();
        let preprocessing = Preprocessing::square(16, 3);
        let plain = preprocessing.pixels(&photo());
        assert!((0..20).all(|seed| augment.pixels(&photo(), &preprocessing, seed) == plain));
    }

    #[test]
    fn the_seed_decides_whatever_the_thread() {
        let augment = Augment::new(&everything()).unwrap();
        let preprocessing = Preprocessing::square(16, 3);
        let here: Vec<_> = (0..20)
            .map(|seed| augment.pixels(&photo(), &preprocessing, seed))
            .collect();
        let there: Vec<_> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..20)
                .map(|seed| {
                    scope.spawn({
                        let (a, p) = (&augment, &preprocessing);
                        move || a.pixels(&photo(), p, seed)
                    })
                })
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap())
                .collect()
        });
        assert_eq!(here, there);
        assert!((1..20).all(|i| here[i] != here[0]));
    }

    #[test]
    fn a_stage_leaves_the_draws_of_the_others() {
        let preprocessing = Preprocessing::square(16, 3);
        let flip = Augment::new(&AugmentConfig {
            horizontal_flip: 0.5,
            ..AugmentConfig::default()
        })
        .unwrap();
        let both = AugmentConfig {
            brightness: 0.5,
            horizontal_flip: 0.5,
            ..AugmentConfig::default()
        };
        let both = Augment::new(&both).unwrap();
        let plain = preprocessing.view(&photo());
        for seed in 0..50 {
            let flipped = flip.apply(&photo(), &preprocessing, seed) != plain;
            let mut expected = if flipped {
                picture::flip_horizontal(&plain)
            } else {
                plain.clone()
            };
            both.jitter(&mut expected, &mut stream(seed, Stage::Jitter));
            assert_eq!(both.apply(&photo(), &preprocessing, seed), expected);
        }
    }

    #[test]
    fn probabilities_are_kept() {
        let config = AugmentConfig {
            horizontal_flip: 0.3,
            random_erasing: 0.25,
            ..AugmentConfig::default()
        };
        let augment = Augment::new(&config).unwrap();
        let preprocessing = Preprocessing::square(12, 3);
        let plain = preprocessing.view(&photo());
        let bright = RgbImage::from_pixel(12, 12, Rgb([255; 3]));
        let (mut flips, mut erased) = (0, 0);
        for seed in 0..2000 {
            flips += usize::from(augment.apply(&photo(), &preprocessing, seed) != plain);
            erased += usize::from(augment.pixels(&bright, &preprocessing, seed).contains(&0.0));
        }
        // Five standard deviations of a binomial of 2000: 102 and 97.
        assert!(flips.abs_diff(600) < 102, "{flips}");
        assert!(erased.abs_diff(500) < 97, "{erased}");
    }

    #[test]
    fn grey_stays_grey() {
        let grey = RgbImage::from_fn(28, 28, |x, y| Rgb([(x * y / 3) as u8; 3]));
        let augment = Augment::new(&everything()).unwrap();
        for seed in 0..100 {
            let out = augment.apply(&grey, &Preprocessing::square(28, 1), seed);
            assert!(out.pixels().all(|p| p.0[0] == p.0[1] && p.0[1] == p.0[2]));
            assert_eq!(
                augment
                    .pixels(&grey, &Preprocessing::square(28, 1), seed)
                    .len(),
                28 * 28
            );
        }
        let mut same = grey.clone();
        colour::adjust_saturation(&mut same, 1.7);
        colour::adjust_hue(&mut same, 0.3);
        assert_eq!(same, grey);
    }

    #[test]
    fn one_pixel_is_enough() {
        let augment = Augment::new(&AugmentConfig {
            random_crop_padding: 200,
            ..everything()
        })
        .unwrap();
        let dot = RgbImage::from_pixel(1, 1, Rgb([10, 200, 30]));
        for seed in 0..100 {
            assert_eq!(
                augment
                    .pixels(&dot, &Preprocessing::square(1, 3), seed)
                    .len(),
                3
            );
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        let base = AugmentConfig::default;
        for (config, name) in [
            (
                AugmentConfig {
                    horizontal_flip: 1.5,
                    ..base()
                },
                "augment.horizontal_flip: 1.5",
            ),
            (
                AugmentConfig { hue: 0.6, ..base() },
                "augment.hue: 0.6; expected 0 to 0.5",
            ),
            (
                AugmentConfig {
                    brightness: -1.0,
                    ..base()
                },
                "augment.brightness: -1",
            ),
            (
                AugmentConfig {
                    mixup_alpha: f64::NAN,
                    ..base()
                },
                "augment.mixup_alpha: NaN; expected a number from 0",
            ),
            (
                AugmentConfig {
                    rand_augment_magnitude: 31,
                    ..base()
                },
                "augment.rand_augment_magnitude: 31",
            ),
            (
                AugmentConfig {
                    random_resized_crop_scale: [0.9, 0.5],
                    ..base()
                },
                "augment.random_resized_crop_scale",
            ),
        ] {
            let text = Augment::new(&config).unwrap_err().to_string();
            assert!(text.contains(name), "{text}");
        }
        assert!(serde_json::from_str::<AugmentConfig>("{\"flip\": 1}").is_err());
        let read: AugmentConfig = serde_json::from_str("{\"hue\": 0.1}").unwrap();
        assert_eq!(read, AugmentConfig { hue: 0.1, ..base() });
    }
}
