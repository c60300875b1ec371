//! Convolution, norm and linear layer with what follows them: the place for faster kernels.

use super::Activation;
use burn::{
    module::Param,
    nn::{BatchNorm, Linear, conv::Conv2d},
    tensor::{
        Tensor,
        module::{batch_norm_train, conv2d},
        ops::ConvOptions,
    },
};
use serde::{Deserialize, Serialize};

/// How a convolution pads its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// `dilation * (kernel - 1) / 2` on every side, PyTorch's usual choice.
    #[default]
    Half,
    /// TensorFlow's SAME: the output has `ceil(input / stride)` rows, and an odd total puts the
    /// larger half at the bottom and right. Depends on the input's size, so it is computed in
    /// `forward`.
    Same,
}

impl Padding {
    /// Rows (or columns) put before and after an input of `size`.
    pub fn pair(
        self,
        size: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
    ) -> (usize, usize) {
        let extent = dilation * (kernel - 1);
        match self {
            Self::Half => (extent / 2, extent / 2),
            Self::Same => {
                let steps = size.div_ceil(stride).saturating_sub(1);
                let total = (steps * stride + extent + 1).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }
}

/// `activation(norm(conv(x)))`; `conv`'s own padding setting is not used.
///
/// # Shapes
/// - `x`: `[batch, in_channels, height, width]`
/// - output: `[batch, out_channels, height', width']`
pub fn conv_norm_act(
    x: Tensor<4>,
    conv: &Conv2d,
    padding: Padding,
    norm: Option<&BatchNorm>,
    activation: Activation,
) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let pair = |size, axis: usize| {
        padding.pair(
            size,
            conv.kernel_size[axis],
            conv.stride[axis],
            conv.dilation[axis],
        )
    };
    let options = ConvOptions::new_with_padding(
        conv.stride,
        [pair(height, 0), pair(width, 1)],
        conv.dilation,
        conv.groups,
    );
    let bias = conv.bias.as_ref().map(Param::val);
    let x = conv2d(x, conv.weight.val(), bias, options);
    let x = match norm {
        Some(norm) => batch_norm(x, norm),
        None => x,
    };
    activation.forward(x)
}

/// `activation(x W + b)`.
///
/// # Shapes
/// - `x`: `[.., in_features]`
/// - output: `[.., out_features]`
pub fn linear_act<const D: usize>(
    x: Tensor<D>,
    linear: &Linear,
    activation: Activation,
) -> Tensor<D> {
    activation.forward(linear.forward(x))
}

/// `x Eᵀ + b` with a table of embeddings `E`: the output layer that shares its weight with the input
/// layer (Press and Wolf, "Using the Output Embedding to Improve Language Models", 2017). The table
/// is read where it lies.
///
/// # Shapes
/// - `x`: `[.., features]`
/// - `table`: `[count, features]`
/// - `bias`: `[count]`
/// - output: `[.., count]`
pub fn tied_linear<const D: usize>(
    x: Tensor<D>,
    table: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let [count, features] = table.dims();
    let rows = dims[..D - 1].iter().product::<usize>();
    // Two-dimensional, for only then does no backend copy the transposed table.
    let out = x.reshape([rows, features]).matmul(table.transpose());
    let out = match bias {
        Some(bias) => out + bias.unsqueeze(),
        None => out,
    };
    dims[D - 1] = count;
    out.reshape(dims)
}

/// Mean over the positions of each channel.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - output: `[batch, channels]`
pub fn global_avg_pool(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch * channels, height * width])
        .mean_dim(1)
        .reshape([batch, channels])
}

/// Per-channel scale and shift that a batch norm amounts to at inference.
///
/// # Shapes
/// - output: `[channels]`, `[channels]`
pub(super) fn scale_shift(norm: &BatchNorm) -> (Tensor<1>, Tensor<1>) {
    let gamma = norm.gamma.val();
    let device = gamma.device();
    let mean = norm.running_mean.value().to_device(&device);
    let var = norm.running_var.value().to_device(&device);
    let scale = gamma / (var + norm.epsilon).sqrt();
    let shift = norm.beta.val() - mean * scale.clone();
    (scale, shift)
}

/// Batch normalisation with PyTorch's running statistics: burn's layer feeds the biased variance of
/// the batch into the running one, PyTorch the unbiased, which matters for small maps.
fn batch_norm(x: Tensor<4>, norm: &BatchNorm) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    if !(x.device().is_autodiff() && norm.training.is_enabled()) {
        let (scale, shift) = scale_shift(norm);
        let shape = [1, channels, 1, 1];
        return x * scale.reshape(shape) + shift.reshape(shape);
    }
    let device = x.device();
    let out = batch_norm_train(x, norm.gamma.val(), norm.beta.val(), norm.epsilon);
    let count = (batch * height * width) as f64;
    let unbiased = out.variance * (count / (count - 1.0).max(1.0));
    let blend = |old: Tensor<1>, new: Tensor<1>| {
        (old.to_device(&device) * (1.0 - norm.momentum) + new.detach() * norm.momentum).detach()
    };
    norm.running_mean
        .update(blend(norm.running_mean.value_sync(), out.mean));
    norm.running_var
        .update(blend(norm.running_var.value_sync(), unbiased));
    out.output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_tensorflows() {
        // 224 at stride 2, kernel 3: one row, at the bottom; kernel 5: 1 + 2.
        assert_eq!(Padding::Same.pair(224, 3, 2, 1), (0, 1));
        assert_eq!(Padding::Same.pair(56, 5, 2, 1), (1, 2));
        assert_eq!(Padding::Same.pair(225, 3, 2, 1), (1, 1));
        assert_eq!(Padding::Same.pair(7, 5, 1, 1), (2, 2));
        assert_eq!(Padding::Same.pair(7, 1, 2, 1), (0, 0));
        assert_eq!(Padding::Same.pair(10, 3, 1, 2), (2, 2));
        assert_eq!(Padding::Half.pair(224, 7, 2, 1), (3, 3));
        assert_eq!(Padding::Half.pair(224, 3, 1, 2), (2, 2));
    }
}
