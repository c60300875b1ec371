//! Occlusion (Zeiler and Fergus 2014), as `captum.attr.Occlusion` with windows that span all
//! channels.

use super::check;
use crate::{Error, Result};
use burn::tensor::{Tensor, TensorData};

/// Settings of [`occlusion`].
#[derive(Clone, Copy, Debug)]
pub struct OcclusionOptions {
    /// Height and width of the window in pixels.
    pub window: [usize; 2],
    /// Pixels from one window to the next; at most the window's size, so that no pixel is missed.
    pub stride: [usize; 2],
    /// What covered pixels become, in the units of the (normalised) input; 0 in captum.
    pub baseline: f64,
    /// Windows that one forward pass takes together.
    pub batch: usize,
}

/// How far the score of class `target` falls when a window of the input is covered.
///
/// The window slides over height and width and covers all channels
/// (captum's `sliding_window_shapes=(channels, h, w)`); the last one of a row or column may reach
/// over the edge. A pixel gets the mean fall over the windows that cover it.
///
/// # Shapes
///
/// - input: `[1, channels, height, width]`
/// - `forward`: `[batch, channels, height, width]` to `[batch, classes]`
/// - result: as input, equal along the channels
pub fn occlusion(
    forward: impl Fn(Tensor<4>) -> Tensor<2>,
    input: Tensor<4>,
    target: usize,
    options: &OcclusionOptions,
) -> Result<Tensor<4>> {
    check::one_sample("input", &input)?;
    let [_, channels, height, width] = input.dims();
    check::at_least("batch", options.batch, 1)?;
    let rows = windows("height", height, options.window[0], options.stride[0])?;
    let columns = windows("width", width, options.window[1], options.stride[1])?;
    if !options.baseline.is_finite() {
        return Err(Error::input(
            "baseline",
            options.baseline.to_string(),
            "a finite number",
        ));
    }
    let input = check::detach(input);
    check::finite("input", &input)?;
    let scores = |inputs: Tensor<4>| {
        let batch = inputs.dims()[0];
        let column = check::column(check::detach(forward(inputs)), batch, target)?;
        check::finite("output of the model", &column)
    };

    let whole = scores(input.clone())?[0];
    let places: Vec<Place> = rows
        .iter()
        .flat_map(|&y| columns.iter().map(move |&x| Place { y, x }))
        .collect();
    let (mut falls, mut counts) = (vec![0.0; height * width], vec![0.0; height * width]);
    for places in places.chunks(options.batch) {
        let mut mask = vec![0.0f64; places.len() * height * width];
        for (mask, place) in mask.chunks_exact_mut(height * width).zip(places) {
            place
                .pixels(options.window, [height, width])
                .for_each(|pixel| mask[pixel] = 1.0);
        }
        let mask: Tensor<4> = Tensor::from_data(
            TensorData::new(mask, [places.len(), 1, height, width]),
            (&input.device(), input.dtype()),
        );
        let seen = mask.clone().neg() + 1.0;
        let covered = input.clone() * seen + mask * options.baseline; // [B, C, H, W]
        for (score, place) in scores(covered)?.into_iter().zip(places) {
            for pixel in place.pixels(options.window, [height, width]) {
                falls[pixel] += whole - score;
                counts[pixel] += 1.0;
            }
        }
    }
    let means: Vec<f64> = falls
        .iter()
        .zip(&counts)
        .map(|(fall, count)| fall / count)
        .collect();
    let map: Tensor<4> = Tensor::from_data(
        TensorData::new(means, [1, 1, height, width]),
        (&input.device(), input.dtype()),
    );
    Ok(map.repeat_dim(1, channels))
}

/// Upper left corner of a window.
#[derive(Clone, Copy)]
struct Place {
    y: usize,
    x: usize,
}

impl Place {
    /// Indices of the pixels inside both the window and the image, row-major.
    fn pixels(self, window: [usize; 2], image: [usize; 2]) -> impl Iterator<Item = usize> {
        let rows = self.y..(self.y + window[0]).min(image[0]);
        let columns = self.x..(self.x + window[1]).min(image[1]);
        rows.flat_map(move |y| columns.clone().map(move |x| y * image[1] + x))
    }
}

/// First pixels of the windows along one axis.
fn windows(axis: &str, size: usize, window: usize, stride: usize) -> Result<Vec<usize>> {
    if window == 0 || window > size {
        return Err(Error::input(
            format!("window {axis}"),
            format!("{window} pixels on an input of {size}"),
            format!("between 1 and {size}"),
        ));
    }
    if stride == 0 || stride > window {
        return Err(Error::input(
            format!("stride along the {axis}"),
            format!("{stride} pixels for a window of {window}"),
            format!("between 1 and {window}"),
        ));
    }
    let last = (size - window).div_ceil(stride);
    Ok((0..=last).map(|i| i * stride).collect())
}
