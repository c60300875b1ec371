//! A gradient against central differences.

use burn::tensor::{Tensor, TensorData};
use panoply_core::{Error, Result};

/// How a gradient is checked.
#[derive(Clone, Copy, Debug)]
pub struct GradientCheck {
    /// Half the distance between the two evaluations. In f32 large steps beat rounding; 1e-2 suits
    /// inputs of order one, 1e-5 in f64.
    pub step: f64,
    /// Accepted difference, relative to the larger of 1 and the gradient.
    pub tolerance: f64,
    /// Elements to check, spread evenly over the tensor; each costs two evaluations.
    pub max_elements: usize,
}

impl Default for GradientCheck {
    fn default() -> Self {
        Self {
            step: 1e-2,
            tolerance: 1e-2,
            max_elements: 64,
        }
    }
}

/// Checks the gradient of a scalar function `f` at `x` and answers the largest difference found
/// (relative to the larger of 1 and the gradient).
///
/// `f` maps a tensor of `x`'s shape to `[1]`; constants in it stay where they are, with or without
/// autodiff. The precision is `x`'s: pass f64 where f32 rounding is too coarse. An error names the
/// first element whose gradient differs, or is missing.
pub fn check_gradient<const D: usize>(
    f: impl Fn(Tensor<D>) -> Tensor<1>,
    x: &Tensor<D>,
    options: &GradientCheck,
) -> Result<f64> {
    let internal = |e: &dyn std::fmt::Display| Error::Internal {
        context: "finite differences".into(),
        message: e.to_string(),
    };
    let x = x.clone().without_autodiff();
    let leaf = x.clone().autodiff().require_grad();
    let output = f(leaf.clone());
    if output.dims() != [1] {
        let what = format!("a function with output {:?}", output.dims());
        return Err(Error::input("gradient check", what, "a scalar, [1]"));
    }
    let gradient = if output.is_tracked() {
        leaf.grad(&output.backward())
    } else {
        None
    };
    let gradient = gradient.ok_or_else(|| {
        Error::input(
            "gradient check",
            "no gradient reaches x",
            "a function that depends on x",
        )
    })?;
    let gradient = gradient.try_to_vec_as::<f64>().map_err(|e| internal(&e))?;
    let values = x.try_to_vec_as::<f64>().map_err(|e| internal(&e))?;
    let options_of_x = (&x.device(), x.dtype());
    let evaluate = |element: usize, by: f64| -> Result<f64> {
        let mut moved = values.clone();
        moved[element] += by;
        let moved = Tensor::from_data(TensorData::new(moved, x.dims()), options_of_x);
        let value = f(moved)
            .without_autodiff()
            .try_to_vec_as::<f64>()
            .map_err(|e| internal(&e))?;
        Ok(value[0])
    };
    let stride = values.len().div_ceil(options.max_elements.max(1)).max(1);
    let mut worst = 0.0f64;
    for element in (0..values.len()).step_by(stride) {
        let rise = evaluate(element, options.step)? - evaluate(element, -options.step)?;
        let (slope, ours) = (rise / (2.0 * options.step), gradient[element]);
        let scale = slope.abs().max(ours.abs()).max(1.0);
        let difference = (slope - ours).abs() / scale;
        if difference.is_nan() || difference > options.tolerance {
            return Err(Error::input(
                format!("gradient of element {element}"),
                format!("{ours}"),
                format!(
                    "{slope} by finite differences, to within {}",
                    options.tolerance
                ),
            ));
        }
        worst = worst.max(difference);
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device};

    fn x() -> Tensor<2> {
        Tensor::from_data(
            [[0.5, -1.0, 2.0], [0.1, 0.7, -0.3]],
            (&Device::flex(), DType::F64),
        )
    }

    #[test]
    fn right_gradients_pass() {
        let fine = GradientCheck {
            step: 1e-5,
            tolerance: 1e-8,
            ..GradientCheck::default()
        };
        let worst = check_gradient(|x| x.powi_scalar(3).sum(), &x(), &fine).unwrap();
        assert!(worst < 1e-8, "{worst}");
        let single = x().cast(DType::F32);
        check_gradient(|x| x.tanh().sum(), &single, &GradientCheck::default()).unwrap();
    }

    #[test]
    fn wrong_and_missing_gradients_are_named() {
        // Half of the function is hidden from autodiff, so the gradient is half of the slope.
        let half = |x: Tensor<2>| (x.clone() + x.detach()).square().sum();
        let text = check_gradient(half, &x(), &GradientCheck::default())
            .unwrap_err()
            .to_string();
        assert!(text.starts_with("gradient of element 0: 2"), "{text}");
        assert!(text.contains("4.0") || text.contains("3.99"), "{text}");
        let none = |x: Tensor<2>| x.detach().sum();
        assert!(check_gradient(none, &x(), &GradientCheck::default()).is_err());
        let wide = |x: Tensor<2>| x.flatten::<1>(0, 1);
        let text = check_gradient(wide, &x(), &GradientCheck::default())
            .unwrap_err()
            .to_string();
        assert!(text.contains("[6]"), "{text}");
    }
}
