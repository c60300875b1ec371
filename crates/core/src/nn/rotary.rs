//! Rotary position embedding.

use burn::{
    config::Config,
    tensor::{Int, Tensor},
};

/// Rotary position embedding (Su et al., "RoFormer", 2021) in the half-split convention of Hugging
/// Face's Llama: feature `i` of a head turns together with feature `i + head_size / 2`, by the angle
/// `position * theta^(-2 i / head_size)`.
///
/// It has no weights. Meta's original Llama files pair neighbours instead; their converted weights
/// are permuted for this convention.
#[derive(Config, Debug)]
pub struct Rotary {
    /// Features of a head; even.
    pub head_size: usize,
    /// Base of the angles.
    #[config(default = 10000.0)]
    pub theta: f64,
    /// What positions are divided by (linear interpolation to a longer context).
    #[config(default = 1.0)]
    pub factor: f64,
}

impl Rotary {
    /// The rotation of tokens at `positions`, for all layers of one forward pass.
    ///
    /// # Shapes
    /// - `positions`: `[batch or 1, len]`
    pub fn at(&self, positions: Tensor<2, Int>) -> Rotation {
        let half = self.head_size / 2;
        let frequency = |i: usize| {
            let exponent = (2 * i) as f32 / self.head_size as f32;
            (self.theta as f32).powf(exponent).recip() / self.factor as f32
        };
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let device = positions.device();
        let frequencies = Tensor::<1>::from_floats(frequencies.as_slice(), &device);
        let positions: Tensor<4> = positions.float().unsqueeze_dims(&[1, 3]); // [B, 1, T, 1]
        let angles = positions * frequencies.unsqueeze(); // [B, 1, T, Dh / 2]
        Rotation {
            cos: angles.clone().cos(),
            sin: angles.sin(),
        }
    }
}

/// A rotation by position; made by [`Rotary::at`].
#[derive(Clone, Debug)]
pub struct Rotation {
    pub(super) cos: Tensor<4>,
    pub(super) sin: Tensor<4>,
}

impl Rotation {
    /// Turns queries or keys.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, heads, len, head_size]`
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        let left = a.clone() * cos.clone() - b.clone() * sin.clone();
        Tensor::cat(vec![left, b * cos + a * sin], 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn turns_pairs_half_a_head_apart() {
        let device = Device::flex();
        let rotary = Rotary::new(4).with_theta(100.0);
        let rotation = rotary.at(Tensor::from_ints([[0, 3]], &device));
        let x = Tensor::<4>::from_floats([[[[1., 2., 3., 4.], [1., 2., 3., 4.]]]], &device);
        let out: Vec<f32> = rotation.apply(x).into_data().try_into_vec_as().unwrap();
        let (c, s) = (3.0_f32.cos(), 3.0_f32.sin());
        let (d, t) = (0.3_f32.cos(), 0.3_f32.sin());
        let expected = [
            1.0,
            2.0,
            3.0,
            4.0,
            c - 3.0 * s,
            2.0 * d - 4.0 * t,
            3.0 * c + s,
            4.0 * d + 2.0 * t,
        ];
        assert!(
            out.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5),
            "{out:?}"
        );
    }
}
