//! Integrated gradients (Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep
//! networks"), as `captum.attr.IntegratedGradients`.

use super::{Quadrature, check, input_gradient};
use crate::{Error, Result};
use burn::tensor::{Tensor, TensorData};

/// Settings of [`integrated_gradients`]; captum's defaults.
#[derive(Clone, Copy, Debug)]
pub struct IntegratedGradientsOptions {
    /// Points on the path from baseline to input; default 50.
    pub steps: usize,
    /// Where the points lie; default Gauss-Legendre.
    pub method: Quadrature,
    /// Points that one forward and backward pass takes together; default 16. It bounds memory and
    /// does not change the result beyond rounding.
    pub internal_batch: usize,
}

impl Default for IntegratedGradientsOptions {
    fn default() -> Self {
        Self {
            steps: 50,
            method: Quadrature::GaussLegendre,
            internal_batch: 16,
        }
    }
}

/// How much each element of the input moved the score of the target class away from the
/// baseline's.
#[derive(Clone, Debug)]
pub struct Attribution<const D: usize> {
    /// One share an element, shaped as the input; on a device without autodiff.
    pub values: Tensor<D>,
    /// Completeness gap: the sum of `values` less `output - baseline_output`. Zero for an exact
    /// integral; captum's convergence delta.
    pub delta: f64,
    /// Score of the target class for the input.
    pub output: f64,
    /// Score of the target class for the baseline.
    pub baseline_output: f64,
}

/// Attributes the score of class `target` to the elements of `input`.
///
/// # Shapes
///
/// - input, baseline: `[1, ..]`
/// - `forward`: `[batch, ..]` to `[batch, classes]`; rows must not see each other
/// - values: as input
pub fn integrated_gradients<const D: usize>(
    forward: impl Fn(Tensor<D>) -> Tensor<2>,
    input: Tensor<D>,
    baseline: Tensor<D>,
    target: usize,
    options: &IntegratedGradientsOptions,
) -> Result<Attribution<D>> {
    check::one_sample("input", &input)?;
    if baseline.dims() != input.dims() {
        let shape = |t: &Tensor<D>| format!("shape {:?}", t.dims());
        return Err(Error::input(
            "baseline",
            shape(&baseline),
            format!("the input's {}", shape(&input)),
        ));
    }
    check::at_least("internal_batch", options.internal_batch, 1)?;
    let points = options.method.points(options.steps)?;
    let (input, baseline) = (check::detach(input), check::detach(baseline));
    check::finite("input", &input)?;
    check::finite("baseline", &baseline)?;

    let ends = check::detach(forward(Tensor::cat(
        vec![input.clone(), baseline.clone()],
        0,
    )));
    let ends = check::finite("output of the model", &check::column(ends, 2, target)?)?;
    let difference = input.clone() - baseline.clone();
    let mut total = Tensor::zeros_like(&input);
    for points in points.chunks(options.internal_batch) {
        let [alphas, weights] = split(points, &input);
        let path = baseline.clone() + alphas * difference.clone(); // [points, ..]
        let gradient = input_gradient(&forward, path, target)?;
        total = total + (gradient.values * weights).sum_dim(0);
    }
    let values = total * difference;
    let sum: f64 = check::finite("attribution", &values)?.iter().sum();
    let [output, baseline_output] = [ends[0], ends[1]];
    Ok(Attribution {
        values,
        delta: sum - (output - baseline_output),
        output,
        baseline_output,
    })
}

/// Positions and weights as tensors `[points, 1, ..]` of `like`'s type and device.
fn split<const D: usize>(points: &[(f64, f64)], like: &Tensor<D>) -> [Tensor<D>; 2] {
    let mut shape = [1; D];
    shape[0] = points.len();
    let tensor = |values: Vec<f64>| {
        Tensor::from_data(
            TensorData::new(values, shape),
            (&like.device(), like.dtype()),
        )
    };
    [
        tensor(points.iter().map(|(alpha, _)| *alpha).collect()),
        tensor(points.iter().map(|(_, weight)| *weight).collect()),
    ]
}
