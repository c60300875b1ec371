//! TEMPORARY
use image::RgbImage;
use panoply_core::Result;
use serde::{Deserialize, Serialize};
/// x
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// x
    pub horizontal_flip: f64,
    /// x
    pub random_crop_padding: u32,
    /// x
    pub random_resized_crop: bool,
}
/// x
pub struct Augment(AugmentConfig);
impl Augment {
    /// x
    pub fn new(c: &AugmentConfig) -> Result<Self> {
        Ok(Self(c.clone()))
    }
    /// x
    pub fn image(&self, i: &RgbImage, s: u64) -> RgbImage {
        use rand::{Rng, SeedableRng};
        let mut rng = rand::rngs::StdRng::seed_from_u64(s);
        let mut i = i.clone();
        if rng.random::<f64>() < self.0.horizontal_flip {
            i = image::imageops::flip_horizontal(&i);
        }
        let p = self.0.random_crop_padding as i64;
        if p > 0 {
            let (dx, dy) = (rng.random_range(-p..=p), rng.random_range(-p..=p));
            let mut o = RgbImage::new(i.width(), i.height());
            image::imageops::replace(&mut o, &i, dx, dy);
            i = o;
        }
        i
    }
}
/// x
pub fn mix(
    _c: &AugmentConfig,
    _p: &mut Vec<f32>,
    _s: [usize; 3],
    _cl: &[usize],
    _n: usize,
    _seed: u64,
) -> Option<Vec<f32>> {
    None
}
impl Augment {
    /// x
    pub fn pixels(&self, i: &RgbImage, p: &crate::preprocess::Preprocessing, s: u64) -> Vec<f32> {
        p.pixels(&self.image(i, s))
    }
}
