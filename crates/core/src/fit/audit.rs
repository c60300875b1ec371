//! The gradient audit before the first step.

use super::{Trainable, optim::read_scalar, stream};
use crate::{Error, Result, seed::derive};
use burn::{
    module::{ModuleVisitor, Param},
    optim::{AdamWConfig, GradientsParams},
    tensor::{Device, Tensor},
};

/// Batches that a parameter has for showing a gradient.
const BATCHES: usize = 3;

/// Learning rate of the trial steps between them.
const TRIAL_LR: f64 = 1e-3;

/// Checks that every trainable parameter gets a finite gradient with at least one non-zero element;
/// the error names all that do not.
///
/// A gradient may rightly be zero at the start: the weights below a zero-initialised residual gamma,
/// or LoRA's `a` while `b` is zero. So a parameter without one gets up to three batches, with an
/// AdamW step of 1e-3 after each, which moves such a factor away from zero. All of it happens on a
/// copy that shares nothing with `model` (running statistics included), and batches and random
/// numbers are functions of their position, so the audit changes nothing.
pub(super) fn audit<M: Trainable>(
    model: &M,
    seed: u64,
    device: &Device,
    mut batch: impl FnMut(usize) -> Result<M::Batch>,
) -> Result<()> {
    let mut model = model.valid().train();
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(0.0)
        .with_epsilon(1e-8)
        .init();
    let mut pending: Vec<Finding> = Vec::new();
    for attempt in 0..BATCHES {
        let batch = batch(attempt)?;
        device.seed(derive(&[seed, stream::AUDIT, attempt as u64]));
        let output = model.loss(batch);
        if attempt == 0 {
            let loss = read_scalar(output.loss.clone().inner())?;
            if !loss.is_finite() {
                return Err(failure(format!("the loss of the first batch is {loss}")));
            }
        }
        let grads = if output.loss.is_tracked() {
            GradientsParams::from_grads(output.loss.backward(), &model)
        } else {
            GradientsParams::new()
        };
        let found = inspect(&model, &grads)?;
        if attempt == 0 {
            if found.is_empty() {
                let expected = "at least one parameter that is not frozen";
                return Err(Error::input("model", "no trainable parameter", expected));
            }
            let broken = found
                .iter()
                .filter(|f| matches!(f.gradient, Gradient::NotFinite));
            let broken: Vec<&Finding> = broken.collect();
            if !broken.is_empty() {
                return Err(failure(report(&broken, found.len())));
            }
            pending.clone_from(&found);
        }
        pending.retain_mut(|finding| {
            let now = found.iter().find(|f| f.path == finding.path);
            !matches!(
                now,
                Some(Finding {
                    gradient: Gradient::Flows,
                    ..
                })
            )
        });
        if pending.is_empty() {
            return Ok(());
        }
        if attempt + 1 == BATCHES {
            return Err(failure(report(
                &pending.iter().collect::<Vec<_>>(),
                found.len(),
            )));
        }
        model = optimizer.step(TRIAL_LR, model, grads);
    }
    Ok(())
}

/// The gradient of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gradient {
    /// The parameter has no part in the loss.
    Absent,
    /// Every element is zero.
    Zero,
    /// An element is infinite or NaN.
    NotFinite,
    /// As it should be.
    Flows,
}

#[derive(Clone, Debug)]
struct Finding {
    path: String,
    gradient: Gradient,
}

/// The gradient of each trainable parameter, in the order of the module.
fn inspect<M: Trainable>(model: &M, grads: &GradientsParams) -> Result<Vec<Finding>> {
    struct Inspect<'a> {
        grads: &'a GradientsParams,
        path: Vec<String>,
        found: Vec<(String, Option<Tensor<1>>)>,
    }
    impl ModuleVisitor for Inspect<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_string());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                // Sums of absolute values, not of squares: those of tiny gradients vanish in f32.
                let sum = self.grads.get::<D>(param.id).map(|grad| grad.abs().sum());
                self.found.push((self.path.join("."), sum));
            }
        }
    }
    let mut visitor = Inspect {
        grads,
        path: Vec::new(),
        found: Vec::new(),
    };
    model.visit(&mut visitor);
    let classify = |(path, sum): (String, Option<Tensor<1>>)| {
        let gradient = match sum.map(read_scalar).transpose()? {
            None => Gradient::Absent,
            Some(0.0) => Gradient::Zero,
            Some(sum) if sum.is_finite() => Gradient::Flows,
            Some(_) => Gradient::NotFinite,
        };
        Ok(Finding { path, gradient })
    };
    visitor.found.into_iter().map(classify).collect()
}

fn report(broken: &[&Finding], trainable: usize) -> String {
    let each = broken.iter().map(|finding| {
        let what = match finding.gradient {
            Gradient::Absent => "no gradient",
            Gradient::Zero => "zero gradient",
            Gradient::NotFinite => "infinite or NaN gradient",
            Gradient::Flows => "finite gradient",
        };
        format!("{} ({what})", finding.path)
    });
    let each: Vec<String> = each.collect();
    format!(
        "gradient audit: {} of {trainable} trainable parameters have no finite non-zero gradient: {}",
        broken.len(),
        each.join(", ")
    )
}

fn failure(what: String) -> Error {
    Error::Training {
        step: 0,
        what,
        checkpoint: None,
    }
}
