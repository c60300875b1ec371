//! The gradient of one class's score by the input, the quantity that the other methods are made
//! of (the "saliency" of Simonyan et al. 2013, with its sign).

use super::check;
use crate::{Error, Result};
use burn::tensor::Tensor;

/// Scores of one class, and their gradients by the inputs.
#[derive(Clone, Debug)]
pub struct InputGradient<const D: usize> {
    /// Gradient of each sample's own score, shaped as the inputs; on a device without autodiff.
    pub values: Tensor<D>,
    /// Score of the target class, one a sample.
    pub outputs: Vec<f64>,
}

/// Gradient of the score of class `target` by each of `inputs`.
///
/// # Shapes
///
/// - inputs: `[batch, ..]`, one independent sample a row
/// - `forward`: `[batch, ..]` to `[batch, classes]`
/// - values: as inputs
pub fn input_gradient<const D: usize>(
    forward: impl Fn(Tensor<D>) -> Tensor<2>,
    inputs: Tensor<D>,
    target: usize,
) -> Result<InputGradient<D>> {
    let batch = inputs.dims()[0];
    check::at_least("number of inputs", batch, 1)?;
    let leaf = check::detach(inputs).autodiff().require_grad();
    let output = forward(leaf.clone());
    if !output.is_tracked() {
        return Err(unconnected());
    }
    // On failure the graph must be released as well.
    let scores = check::column(output.clone(), batch, target).inspect_err(|_| {
        let _released = output.sum().backward();
    })?;
    // Rows do not see each other, so the gradient of the sum holds each row's own gradient.
    let mut gradients = scores.clone().sum().backward();
    let values = leaf.grad_remove(&mut gradients).ok_or_else(unconnected)?;
    let outputs = check::finite("output of the model", &scores.without_autodiff())?;
    Ok(InputGradient {
        values: values.without_autodiff(),
        outputs,
    })
}

fn unconnected() -> Error {
    Error::input(
        "output of the model",
        "no gradient leads from it to the input",
        "a forward of differentiable operations on its input",
    )
}
