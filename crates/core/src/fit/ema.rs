//! Exponential moving average of the weights and running statistics.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Tensor, container::TensorContainer},
};

/// A shadow of the model on the inference device.
pub(super) struct Ema<M> {
    model: M,
    decay: f64,
}

impl<M: Module> Ema<M> {
    /// Starts at the weights of `model`.
    pub(super) fn new(model: &M, decay: f64) -> Self {
        Self {
            model: model.valid(),
            decay,
        }
    }

    /// `shadow = decay * shadow + (1 - decay) * model`, in every float tensor.
    pub(super) fn update(self, model: &M) -> Self {
        let mut collect = Collect(TensorContainer::new());
        // `valid` folds pending batch-norm updates in and leaves the autodiff graph.
        model.valid().visit(&mut collect);
        let mut lerp = Lerp {
            current: collect.0,
            weight: 1.0 - self.decay,
        };
        Self {
            model: self.model.map(&mut lerp),
            decay: self.decay,
        }
    }

    /// A copy that later updates leave alone: running statistics are shared between clones, but
    /// not with what `valid` returns.
    pub(super) fn model(&self) -> M {
        self.model.valid()
    }
}

struct Collect(TensorContainer<ParamId>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val());
    }
}

struct Lerp {
    current: TensorContainer<ParamId>,
    weight: f64,
}

impl ModuleMapper for Lerp {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.current.remove::<Tensor<D>>(&param.id) {
            // This form leaves frozen parameters exactly as they are. Quantised ones are frozen.
            Some(new) if new.dtype().is_float() => {
                param.map(|old| old.clone() + (new - old).mul_scalar(self.weight))
            }
            _ => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{nn::BatchNormConfig, tensor::Device};

    fn mean(norm: &burn::nn::BatchNorm) -> f32 {
        norm.running_mean.value().into_scalar::<f32>()
    }

    #[test]
    fn averages_weights_and_running_statistics() {
        let device = Device::flex().autodiff();
        let mut model = BatchNormConfig::new(1).with_momentum(1.0).init(&device);
        let mut ema = Ema::new(&model, 0.75);
        let kept = ema.model();
        model
            .forward(Tensor::<2>::from_floats([[3.0], [5.0]], &device))
            .sum()
            .backward();
        model.gamma = model
            .gamma
            .map(|t| Tensor::from_inner(t.inner().add_scalar(2.0)));
        ema = ema.update(&model);
        // (1 - 0.75) of the way from 0 to 4, and from 1 to 3.
        assert_eq!(mean(&ema.model()), 1.0);
        assert_eq!(ema.model().gamma.val().into_scalar::<f32>(), 1.5);
        assert_eq!(mean(&kept), 0.0);
        assert!(!ema.model().gamma.val().is_autodiff());
    }
}
