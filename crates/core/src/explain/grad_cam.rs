//! Grad-CAM (Selvaraju et al. 2017), as `captum.attr.LayerGradCam` with `relu_attributions=True`.

use super::{check, input_gradient};
use crate::{Error, Result};
use burn::tensor::{
    Tensor,
    activation::relu,
    module::interpolate,
    ops::{InterpolateMode, InterpolateOptions},
};

/// Where in a feature map the evidence for class `target` lies.
///
/// The model is given in two halves around the layer to look at, usually the last convolution:
/// `features` up to and including it, `head` from there to the scores. Channels are weighted by
/// the mean gradient of the score by them and summed; what speaks against the class is cut off.
///
/// # Shapes
///
/// - input: `[1, channels, height, width]`
/// - `features`: to `[1, channels', height', width']`; `head`: from there to `[1, classes]`
/// - result: `[height', width']`, not negative; see [`upsample_bilinear`]
pub fn grad_cam(
    features: impl Fn(Tensor<4>) -> Tensor<4>,
    head: impl Fn(Tensor<4>) -> Tensor<2>,
    input: Tensor<4>,
    target: usize,
) -> Result<Tensor<2>> {
    check::one_sample("input", &input)?;
    let input = check::detach(input);
    check::finite("input", &input)?;
    let activations = check::detach(features(input));
    check::one_sample("feature map", &activations)?;
    let [_, _, height, width] = activations.dims();
    let gradient = input_gradient(head, activations.clone(), target)?;
    let weights = gradient.values.mean_dim(3).mean_dim(2); // [1, C, 1, 1]
    let map = relu((weights * activations).sum_dim(1)).reshape([height, width]);
    check::finite("heat map", &map)?;
    Ok(map)
}

/// Enlarges a heat map `[height, width]` to the input's size, bilinearly between pixel centres
/// (PyTorch's `interpolate` with `align_corners=False`).
pub fn upsample_bilinear(map: Tensor<2>, size: [usize; 2]) -> Result<Tensor<2>> {
    let [height, width] = map.dims();
    if height * width == 0 || size.contains(&0) {
        return Err(Error::input(
            "heat map",
            format!("{height} x {width} to be resized to {size:?}"),
            "sizes above zero",
        ));
    }
    let options = InterpolateOptions::new(InterpolateMode::Bilinear)
        .with_align_corners(false)
        .with_output_size(size);
    Ok(interpolate(map.reshape([1, 1, height, width]), options).reshape(size))
}
