//! Stochastic depth.

use burn::{
    config::Config,
    module::{Flag, Module, Param},
    tensor::{Distribution, Tensor},
};

/// Configuration of [`DropPath`].
#[derive(Config, Debug)]
pub struct DropPathConfig {
    /// Probability that a sample loses its branch, in `[0, 1)`.
    pub prob: f64,
}

/// Drops a residual branch for whole samples during training (Huang et al., "Deep Networks with
/// Stochastic Depth", 2016; torchvision's `StochasticDepth` in mode `row`) and scales what it
/// keeps by `1 / (1 - prob)`. At inference it is the identity.
///
/// Should be created with [`DropPathConfig`]. The device's generator draws the samples.
#[derive(Module, Debug)]
pub struct DropPath {
    /// Probability that a sample loses its branch.
    pub prob: f64,
    /// Whether to act as in training.
    pub training: Param<Flag>,
}

impl DropPathConfig {
    /// The block; it has no weights.
    ///
    /// # Panics
    /// If `prob` lies outside `[0, 1)`.
    pub fn init(&self) -> DropPath {
        assert!(
            (0.0..1.0).contains(&self.prob),
            "drop path probability {} is not in [0, 1)",
            self.prob
        );
        DropPath {
            prob: self.prob,
            training: Param::from_bool(true),
        }
    }
}

impl DropPath {
    /// Drops the branch `x` for some samples.
    ///
    /// # Shapes
    /// - input, output: `[batch, ..]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let device = x.device();
        if self.prob == 0.0 || !self.training.is_enabled() || !device.is_autodiff() {
            return x;
        }
        let mut shape = [1; D];
        shape[0] = x.dims()[0];
        let kept = Tensor::random(shape, Distribution::Bernoulli(1.0 - self.prob), &device);
        x * (kept / (1.0 - self.prob))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn drops_whole_samples_and_keeps_the_mean() {
        let device = Device::flex().autodiff();
        let block = DropPathConfig::new(0.25).init();
        let out = block.forward(Tensor::<3>::ones([4000, 2, 3], &device));
        let values: Vec<f32> = out.into_data().try_into_vec_as().unwrap();
        for sample in values.chunks(6) {
            let expected = if sample[0] == 0.0 { 0.0 } else { 1.0 / 0.75 };
            assert!(
                sample.iter().all(|v| (v - expected).abs() < 1e-6),
                "{sample:?}"
            );
        }
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
    }

    #[test]
    fn inference_is_the_identity() {
        let block = DropPathConfig::new(0.9).init();
        for (block, device) in [
            (block.clone(), Device::flex()),
            (block.valid(), Device::flex().autodiff()),
        ] {
            let out = block.forward(Tensor::<2>::ones([64, 2], &device));
            assert_eq!(out.sum().into_scalar::<f32>(), 128.0);
        }
    }

    #[test]
    #[should_panic(expected = "drop path probability 1 is not in [0, 1)")]
    fn a_probability_of_one_is_refused() {
        let _ = DropPathConfig::new(1.0).init();
    }
}
