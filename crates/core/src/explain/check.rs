//! Checks and host reads that the methods share.

use crate::{Error, Result};
use burn::tensor::Tensor;

/// The tensor without autodiff. If it hangs on a graph, that graph is released first.
pub(super) fn detach<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.is_autodiff() && tensor.is_tracked() {
        // Only a backward pass frees a graph; its gradients are not wanted.
        let _released = tensor.clone().sum().backward();
    }
    tensor.without_autodiff()
}

/// The numbers of a tensor, row-major, all finite.
pub(super) fn finite<const D: usize>(location: &str, tensor: &Tensor<D>) -> Result<Vec<f64>> {
    let values = tensor.try_to_vec_as::<f64>().map_err(|e| Error::Internal {
        context: format!("reading {location}"),
        message: e.to_string(),
    })?;
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(index) => Err(Error::input(
            location,
            format!("element {index} is {}", values[index]),
            "finite numbers",
        )),
    }
}

/// One sample: a first dimension of 1 and no empty one.
pub(super) fn one_sample<const D: usize>(location: &str, input: &Tensor<D>) -> Result<()> {
    let dims = input.dims();
    if dims[0] == 1 && !dims.contains(&0) {
        return Ok(());
    }
    Err(Error::input(
        location,
        format!("shape {dims:?}"),
        "one sample, [1, ..]",
    ))
}

/// The scores of class `target`, as the column `[batch, 1]` of `output` `[batch, classes]`.
pub(super) fn column(output: Tensor<2>, batch: usize, target: usize) -> Result<Tensor<2>> {
    let [rows, classes] = output.dims();
    if rows != batch {
        return Err(Error::input(
            "output of the model",
            format!("{rows} rows for {batch} inputs"),
            "one row an input",
        ));
    }
    if target >= classes {
        return Err(Error::input(
            "target",
            format!("class {target} of a model with {classes} classes"),
            format!("a class below {classes}"),
        ));
    }
    Ok(output.slice([0..rows, target..target + 1]))
}

/// An error unless `value` is at least `least`.
pub(super) fn at_least(name: &str, value: usize, least: usize) -> Result<()> {
    if value >= least {
        return Ok(());
    }
    Err(Error::input(
        name,
        value.to_string(),
        format!("at least {least}"),
    ))
}
