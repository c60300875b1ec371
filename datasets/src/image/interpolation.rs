//! Resampling filters, by the names that torchvision, timm and Pillow give them.

use panoply_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How [`resize`](super::resize()) weighs the source pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The pixel under the centre; not antialiased.
    Nearest,
    /// Mean over the pixels covered.
    Box,
    /// Triangle of radius 1.
    #[default]
    Bilinear,
    /// Hamming-windowed sinc of radius 1.
    Hamming,
    /// Cubic of radius 2 with a = -0.5 (Catmull-Rom).
    Bicubic,
    /// Sinc of radius 3, windowed by its main lobe.
    Lanczos,
}

impl Interpolation {
    /// Every filter, in Pillow's order.
    pub const ALL: [Self; 6] = [
        Self::Nearest,
        Self::Lanczos,
        Self::Bilinear,
        Self::Bicubic,
        Self::Box,
        Self::Hamming,
    ];

    /// By the number that Pillow gives it (`resample` in `preprocessor_config.json`).
    pub fn from_pil(code: u64) -> Result<Self> {
        usize::try_from(code)
            .ok()
            .and_then(|code| Self::ALL.get(code))
            .copied()
            .ok_or_else(|| {
                Error::input(
                    "resample",
                    code.to_string(),
                    "0 (nearest), 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or 5 (hamming)",
                )
            })
    }

    /// The number that Pillow gives it.
    pub fn to_pil(self) -> u64 {
        match self {
            Self::Nearest => 0,
            Self::Lanczos => 1,
            Self::Bilinear => 2,
            Self::Bicubic => 3,
            Self::Box => 4,
            Self::Hamming => 5,
        }
    }

    /// By the name that torchvision and timm give it ("bicubic").
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|filter| filter.name() == name)
            .ok_or_else(|| Error::unknown("interpolation", name, Self::ALL.map(Self::name)))
    }

    /// The name that torchvision and timm give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Lanczos => "lanczos",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Box => "box",
            Self::Hamming => "hamming",
        }
    }

    /// Weight by distance and radius, both in target pixels.
    pub(super) fn kernel(self) -> (fn(f64) -> f64, f64) {
        match self {
            Self::Nearest | Self::Box => (boxed, 0.5),
            Self::Bilinear => (bilinear, 1.0),
            Self::Hamming => (hamming, 1.0),
            Self::Bicubic => (bicubic, 2.0),
            Self::Lanczos => (lanczos, 3.0),
        }
    }
}

fn boxed(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn bilinear(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn hamming(x: f64) -> f64 {
    let x = x.abs();
    if x >= 1.0 {
        0.0
    } else {
        // Pillow's constants are f32.
        sinc(x) * (f64::from(0.54_f32) + f64::from(0.46_f32) * (PI * x).cos())
    }
}

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_both_ways() {
        for filter in Interpolation::ALL {
            assert_eq!(Interpolation::from_pil(filter.to_pil()).unwrap(), filter);
            assert_eq!(Interpolation::from_name(filter.name()).unwrap(), filter);
        }
        assert!(Interpolation::from_pil(6).is_err());
        assert!(
            Interpolation::from_name("bicubik")
                .unwrap_err()
                .to_string()
                .contains("did you mean 'bicubic'")
        );
    }
}
