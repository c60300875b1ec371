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
pub struct Augment;
impl Augment {
    /// x
    pub fn new(_c: &AugmentConfig) -> Result<Self> { Ok(Self) }
    /// x
    pub fn image(&self, i: &RgbImage, _s: u64) -> RgbImage { i.clone() }
}
/// x
pub fn mix(_c: &AugmentConfig, _p: &mut Vec<f32>, _s: [usize; 3], _cl: &[usize], _n: usize, _seed: u64) -> Option<Vec<f32>> { None }
impl Augment {
    /// x
    pub fn pixels(&self, i: &RgbImage, p: &crate::preprocess::Preprocessing, _s: u64) -> Vec<f32> { p.pixels(i) }
}
