//! From tensors to values on the host.

use crate::{Error, Result};
use burn::tensor::Tensor;

/// The values of a tensor in row-major order.
///
/// # Errors
/// The device fails: what was queued on it comes to light here.
pub fn to_vec<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let internal = |message: String| Error::Internal {
        context: "reading a tensor".into(),
        message,
    };
    let data = tensor
        .try_into_data()
        .map_err(|e| internal(format!("{e:?}")))?;
    data.try_into_vec_as::<f32>()
        .map_err(|e| internal(format!("{e:?}")))
}
