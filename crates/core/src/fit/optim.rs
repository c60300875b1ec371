//! Optimisers with torch's numbers, decay groups, and the global gradient norm.

use super::config::{OptimizerConfig, OptimizerName};
use crate::{Error, Result};
use burn::{
    module::{Module, ModuleVisitor, Param, ParamGroup},
    optim::{
        AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig, decay::WeightDecayConfig,
        momentum::MomentumConfig,
    },
    tensor::{Tensor, TensorReadError},
};

/// Module paths of parameters that are not decayed: biases and the scales and shifts of norms.
const NO_DECAY: &str = r"(^|\.)(bias|gamma|beta)$";

/// Parameters that [`optimizer`] treats alike.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerGroup {
    /// What is in it.
    pub name: &'static str,
    /// Module paths of its parameters, in the order of the model's fields.
    pub paths: Vec<String>,
    /// Number of parameters.
    pub num_params: usize,
    /// Weight decay of each of them.
    pub weight_decay: f64,
    /// Their learning rate over the schedule's; the loop gives every parameter the same.
    pub lr_factor: f64,
}

/// Biases, and the scales and shifts of norms.
fn no_decay() -> Result<ParamGroup> {
    ParamGroup::from_regex(NO_DECAY).map_err(|e| Error::Internal {
        context: "decay groups".into(),
        message: format!("{e:?}"),
    })
}

/// The groups in which [`optimizer`] moves the parameters of `model`; frozen parameters and running
/// statistics are in none, and a group without parameters is left out.
pub fn optimizer_groups<M: Module>(
    config: &OptimizerConfig,
    model: &M,
) -> Result<Vec<OptimizerGroup>> {
    struct Sort {
        no_decay: ParamGroup,
        path: Vec<String>,
        groups: [OptimizerGroup; 2],
    }
    impl ModuleVisitor for Sort {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let running = |name: &String| name.starts_with("running_");
            if !param.is_require_grad() || self.path.last().is_some_and(running) {
                return;
            }
            let path = self.path.join(".");
            let group = usize::from(self.no_decay.matches(&param.id, Some(&path)));
            let shape: [usize; D] = param.lazy_shape().dims();
            self.groups[group].num_params += shape.iter().product::<usize>();
            self.groups[group].paths.push(path);
        }
    }
    let group = |name, weight_decay| OptimizerGroup {
        name,
        paths: Vec::new(),
        num_params: 0,
        weight_decay,
        lr_factor: 1.0,
    };
    let mut sort = Sort {
        no_decay: no_decay()?,
        path: Vec::new(),
        groups: [
            group("weights", config.weight_decay),
            group("biases and norms", 0.0),
        ],
    };
    // Away from training no parameter asks for gradients, whether it is frozen or not.
    model.valid().train().visit(&mut sort);
    let used = |group: &OptimizerGroup| !group.paths.is_empty();
    Ok(sort.groups.into_iter().filter(used).collect())
}

/// burn's optimiser for `config`, with the decay groups of [`OptimizerConfig`].
pub fn optimizer(config: &OptimizerConfig) -> Result<ModuleOptimizer> {
    let no_decay = no_decay()?;
    Ok(match config.name {
        OptimizerName::AdamW => {
            let adamw = AdamWConfig::new()
                .with_beta_1(config.beta_1 as f32)
                .with_beta_2(config.beta_2 as f32)
                .with_epsilon(config.epsilon as f32);
            let plain = adamw.clone().with_weight_decay(0.0).build();
            let decayed = adamw.with_weight_decay(config.weight_decay as f32);
            decayed.init().with_group(no_decay, plain, None)
        }
        OptimizerName::Sgd => {
            // burn's default dampening of 0.1 is not torch's.
            let momentum = MomentumConfig::new()
                .with_momentum(config.momentum)
                .with_dampening(0.0)
                .with_nesterov(config.nesterov);
            let sgd = SgdConfig::new().with_momentum((config.momentum > 0.0).then_some(momentum));
            let plain = sgd.clone().build();
            let decay = WeightDecayConfig::new(config.weight_decay as f32);
            let decay = (config.weight_decay > 0.0).then_some(decay);
            sgd.with_weight_decay(decay)
                .init()
                .with_group(no_decay, plain, None)
        }
    })
}

/// Global L2 norm over every gradient of `model`, as torch's `clip_grad_norm_` returns it; not
/// finite if any gradient is not.
pub fn grad_norm<M: Module>(model: &M, grads: &GradientsParams) -> Result<f64> {
    struct SquareSum<'a> {
        grads: &'a GradientsParams,
        sum: Option<Tensor<1>>,
    }
    impl ModuleVisitor for SquareSum<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.get::<D>(param.id) {
                let square = grad.square().sum();
                self.sum = Some(match self.sum.take() {
                    Some(sum) => sum + square,
                    None => square,
                });
            }
        }
    }
    let mut visitor = SquareSum { grads, sum: None };
    model.visit(&mut visitor);
    let square = visitor.sum.map_or(Ok(0.0), read_scalar)?;
    Ok(square.sqrt())
}

/// Scales the gradients so that their global norm is at most `max_norm` (torch's
/// `clip_grad_norm_`: factor `max_norm / (norm + 1e-6)`, never above 1). `norm` is [`grad_norm`].
pub fn clip_grad_norm<M: Module>(
    model: &M,
    grads: GradientsParams,
    norm: f64,
    max_norm: f64,
) -> GradientsParams {
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        scale(model, grads, factor)
    } else {
        grads
    }
}

/// Every gradient times `factor`.
pub(super) fn scale<M: Module>(
    model: &M,
    mut grads: GradientsParams,
    factor: f64,
) -> GradientsParams {
    struct Scale<'a> {
        grads: &'a mut GradientsParams,
        factor: f64,
    }
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.remove::<D>(param.id) {
                self.grads
                    .register::<D>(param.id, grad.mul_scalar(self.factor));
            }
        }
    }
    model.visit(&mut Scale {
        grads: &mut grads,
        factor,
    });
    grads
}

/// The one element of `tensor`.
pub(super) fn read_scalar(tensor: Tensor<1>) -> Result<f64> {
    tensor
        .try_into_scalar::<f64>()
        .map_err(|e: TensorReadError| Error::Internal {
            context: "reading a scalar from the device".into(),
            message: format!("{e:?}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{
        module::{Module, Param},
        tensor::Device,
    };

    /// A quadratic with a decayed and an undecayed parameter; no random numbers.
    #[derive(Module, Debug)]
    struct Quadratic {
        weight: Param<Tensor<1>>,
        bias: Param<Tensor<1>>,
    }

    impl Quadratic {
        fn new(device: &Device) -> Self {
            let param = |data: &[f32]| Param::from_tensor(Tensor::from_floats(data, device));
            Self {
                weight: param(&[1.0, -2.0, 0.5]),
                bias: param(&[0.3, -0.1]),
            }
        }

        fn grads(&self) -> GradientsParams {
            let device = Device::flex().autodiff();
            let w = self.weight.val() - Tensor::<1>::from_floats([0.2, 0.4, -0.6], &device);
            let b = self.bias.val() - Tensor::<1>::from_floats([1.0, 2.0], &device);
            let loss = (w.square().sum() + b.square().sum()).mul_scalar(0.5);
            GradientsParams::from_grads(loss.backward(), self)
        }
    }

    fn values(param: &Param<Tensor<1>>) -> Vec<f32> {
        param.val().into_data().try_into_vec_as::<f32>().unwrap()
    }

    fn assert_five_steps(config: &OptimizerConfig, weight: [f32; 3], bias: [f32; 2]) {
        let mut model = Quadratic::new(&Device::flex().autodiff());
        let mut optimizer = optimizer(config).unwrap();
        for _ in 0..5 {
            let grads = model.grads();
            model = optimizer.step(0.05, model, grads);
        }
        let got: Vec<f32> = [values(&model.weight), values(&model.bias)].concat();
        for (a, b) in got.iter().zip(weight.iter().chain(&bias)) {
            assert!((a - b).abs() < 1e-6, "{got:?} != {weight:?} {bias:?}");
        }
    }

    /// torch 2.15: five steps of `AdamW([{weight, 0.1}, {bias, 0}], 0.05, (0.9, 0.99), 1e-8)`.
    #[test]
    fn adamw_with_decay_groups_equals_torch() {
        let config = OptimizerConfig {
            weight_decay: 0.1,
            beta_2: 0.99,
            ..Default::default()
        };
        let weight = [0.72984666, -1.7035643, 0.2413933];
        assert_five_steps(&config, weight, [0.54774475, 0.1494472]);
    }

    /// torch 2.15: the same with `SGD(lr=0.05, momentum=0.9, nesterov=..)`.
    #[test]
    fn sgd_with_momentum_equals_torch() {
        let name = OptimizerName::Sgd;
        let config = OptimizerConfig {
            name,
            weight_decay: 0.1,
            ..Default::default()
        };
        let weight = [0.48182634, -0.50305396, -0.16211076];
        assert_five_steps(&config, weight, [0.7079908, 1.1239725]);
        let config = OptimizerConfig {
            nesterov: true,
            ..config
        };
        let weight = [0.3972005, -0.25857916, -0.27024385];
        assert_five_steps(&config, weight, [0.7788404, 1.3365211]);
    }

    /// One step without gradients moves what is decayed, and by its group's decay; no more, no less.
    #[test]
    fn groups_are_those_that_the_optimiser_decays() {
        let device = Device::flex().autodiff();
        let name = OptimizerName::Sgd;
        let config = OptimizerConfig {
            name,
            weight_decay: 0.5,
            ..Default::default()
        };
        let model = Quadratic::new(&device);
        let groups = optimizer_groups(&config, &model).unwrap();
        let row = |g: &OptimizerGroup| (g.name, g.paths.join(" "), g.num_params, g.weight_decay);
        let rows: Vec<_> = groups.iter().map(row).collect();
        let expected = [
            ("weights", "weight".to_string(), 3, 0.5),
            ("biases and norms", "bias".to_string(), 2, 0.0),
        ];
        assert_eq!(rows, expected);
        let before = [values(&model.weight), values(&model.bias)];
        let zero = (model.weight.val().sum() + model.bias.val().sum()).mul_scalar(0.0);
        let grads = GradientsParams::from_grads(zero.backward(), &model);
        let lr = 0.1;
        let model = optimizer(&config).unwrap().step(lr, model, grads);
        for ((group, old), new) in groups
            .iter()
            .zip(before)
            .zip([values(&model.weight), values(&model.bias)])
        {
            let factor = (1.0 - lr * group.lr_factor * group.weight_decay) as f32;
            for (old, new) in old.iter().zip(new) {
                assert!((old * factor - new).abs() < 1e-6, "{}", group.name);
            }
        }
        let frozen = model.no_grad();
        assert!(optimizer_groups(&config, &frozen).unwrap().is_empty());
    }

    /// torch 2.15: `clip_grad_norm_` of gradients (3, -4) and (12) to 2.
    #[test]
    fn clipping_is_by_the_global_norm() {
        let device = Device::flex();
        let model = Quadratic::new(&device);
        let mut grads = GradientsParams::new();
        grads.register(
            model.weight.id,
            Tensor::<1>::from_floats([3.0, -4.0], &device),
        );
        grads.register(model.bias.id, Tensor::<1>::from_floats([12.0], &device));
        let norm = grad_norm(&model, &grads).unwrap();
        assert_eq!(norm, 13.0);
        let grads = clip_grad_norm(&model, grads, norm, 2.0);
        let get = |id| {
            grads
                .get::<1>(id)
                .unwrap()
                .into_data()
                .try_into_vec_as::<f32>()
                .unwrap()
        };
        let got = [get(model.weight.id), get(model.bias.id)].concat();
        for (a, b) in got.iter().zip([0.46153843, -0.6153847, 1.8461537]) {
            assert!((a - b).abs() < 1e-6, "{got:?}");
        }
        let norm = grad_norm(&model, &grads).unwrap();
        let untouched = clip_grad_norm(&model, grads, norm, 5.0);
        assert_eq!(grad_norm(&model, &untouched).unwrap(), norm);
    }
}
