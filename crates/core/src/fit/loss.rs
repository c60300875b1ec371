//! Cross entropy with label smoothing, for class indices and for mixed (soft) targets; the same where some
//! targets are ignored; binary cross entropy for samples of several classes.

use burn::tensor::{
    Int, Tensor,
    activation::{log_sigmoid, log_softmax},
};

/// What a classifier should have answered.
#[derive(Clone, Debug)]
pub enum Targets {
    /// Class indices, `[batch]`, each in `0..classes`.
    Classes(Tensor<1, Int>),
    /// Probabilities, `[batch, classes]`, as MixUp and CutMix make them.
    Soft(Tensor<2>),
}

/// Mean cross entropy over the batch, `[1]`: torch's `F.cross_entropy(.., label_smoothing)`.
///
/// Smoothing mixes each target with the uniform distribution (Szegedy et al., 2016).
///
/// # Shapes
///
/// - `logits`: `[batch, classes]`
pub fn cross_entropy(logits: Tensor<2>, targets: Targets, label_smoothing: f64) -> Tensor<1> {
    let log_probs = log_softmax(logits, 1);
    let loss = match targets {
        Targets::Classes(classes) => log_probs
            .clone()
            .gather(1, classes.unsqueeze_dim::<2>(1))
            .mean()
            .neg(),
        Targets::Soft(probs) => (probs * log_probs.clone()).sum_dim(1).mean().neg(),
    };
    if label_smoothing == 0.0 {
        return loss;
    }
    // The mean over batch and classes is the cross entropy against the uniform distribution.
    let uniform = log_probs.mean().neg();
    loss.mul_scalar(1.0 - label_smoothing) + uniform.mul_scalar(label_smoothing)
}

/// The target that [`cross_entropy_ignoring`] leaves out: torch's default `ignore_index`.
pub const IGNORE_INDEX: i64 = -100;

/// Mean cross entropy over the targets that are not [`IGNORE_INDEX`], `[1]`: torch's `F.cross_entropy`
/// with its `ignore_index`. Without any such target it is 0; torch answers NaN.
///
/// # Shapes
///
/// - `logits`: `[samples, classes]`
/// - `classes`: `[samples]`, each in `0..classes` or `IGNORE_INDEX`
pub fn cross_entropy_ignoring(logits: Tensor<2>, classes: Tensor<1, Int>) -> Tensor<1> {
    let ignored = classes.clone().equal_elem(IGNORE_INDEX);
    let count = ignored.clone().bool_not().float().sum().clamp_min(1.0);
    // An ignored target picks class 0, which then counts nothing.
    let classes = classes.mask_fill(ignored.clone(), 0);
    let picked = log_softmax(logits, 1).gather(1, classes.unsqueeze_dim::<2>(1));
    let picked = picked.squeeze_dim::<1>(1).mask_fill(ignored, 0.0);
    picked.sum().neg() / count
}

/// Mean binary cross entropy over batch and classes, `[1]`: torch's
/// `F.binary_cross_entropy_with_logits`.
///
/// # Shapes
///
/// - `logits`, `targets` (0 to 1): `[batch, classes]`
pub fn binary_cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let on = log_sigmoid(logits.clone()) * targets.clone();
    let off = log_sigmoid(logits.neg()) * (targets.neg() + 1.0);
    (on + off).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn logits(device: &Device) -> Tensor<2> {
        Tensor::from_data(
            [[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 1.5, 4.0]],
            device,
        )
    }

    fn classes(device: &Device) -> Targets {
        Targets::Classes(Tensor::from_data([0, 2, 1], device))
    }

    fn soft(device: &Device) -> Targets {
        Targets::Soft(Tensor::from_data(
            [[0.7, 0.3, 0.0], [0.0, 0.0, 1.0], [0.25, 0.25, 0.5]],
            device,
        ))
    }

    /// torch 2.15: `F.cross_entropy(logits, targets, label_smoothing=e).item()`.
    #[test]
    fn equals_torch() {
        let device = Device::flex();
        for (targets, smoothing, torch) in [
            (classes(&device), 0.0, 1.2743287),
            (classes(&device), 0.1, 1.3498843),
            (soft(&device), 0.0, 1.532662),
            (soft(&device), 0.1, 1.5823845),
        ] {
            let loss = cross_entropy(logits(&device), targets, smoothing).into_scalar::<f32>();
            assert!((loss - torch).abs() < 1e-6, "{loss} != {torch}");
        }
    }

    /// torch 2.15: `F.binary_cross_entropy_with_logits(logits, targets)`, value and `logits.grad`.
    #[test]
    fn binary_equals_torch() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::from_data([[2.0, -100.0], [0.5, 90.0]], &device).require_grad();
        let targets = Tensor::from_data([[1.0, 0.0], [0.25, 0.0]], &device);
        let loss = binary_cross_entropy(x.clone(), targets);
        let grad = x.grad(&loss.backward()).unwrap().into_data();
        let value = loss.into_scalar::<f32>();
        let torch: [[f32; 2]; 2] = [[-0.029800743, 0.0], [0.09311484, 0.25]];
        assert!((value - 22.744001).abs() < 1e-5, "{value}");
        let tolerance = burn::tensor::Tolerance::<f32>::absolute(1e-6);
        grad.assert_approx_eq(&TensorData::from(torch), tolerance);
    }

    /// torch 2.15: `F.cross_entropy(logits, torch.tensor([0, -100, 1]))`, value and `logits.grad`.
    #[test]
    fn ignored_targets_count_nothing() {
        let device = Device::flex().autodiff();
        let x = logits(&device).require_grad();
        let classes = Tensor::from_data([0, IGNORE_INDEX, 1], &device);
        let loss = cross_entropy_ignoring(x.clone(), classes);
        let grad = x.grad(&loss.backward()).unwrap().into_data();
        let value = loss.into_scalar::<f32>();
        assert!((value - 1.4105216).abs() < 1e-6, "{value}");
        let torch: [[f32; 3]; 3] = [
            [-0.10720149, 0.019556286, 0.087645195],
            [0.0, 0.0, 0.0],
            [0.00042099942, -0.46210283, 0.46168187],
        ];
        let tolerance = burn::tensor::Tolerance::<f32>::absolute(1e-6);
        grad.assert_approx_eq(&TensorData::from(torch), tolerance);
        let none = Tensor::from_data([IGNORE_INDEX; 3], &device);
        let none = cross_entropy_ignoring(logits(&device), none).into_scalar::<f32>();
        assert_eq!(none, 0.0);
    }

    /// torch 2.15: `logits.grad` after `F.cross_entropy(.., label_smoothing=0.1).backward()`.
    #[test]
    fn gradient_equals_torch() {
        let device = Device::flex().autodiff();
        let x = logits(&device).require_grad();
        let loss = cross_entropy(x.clone(), classes(&device), 0.1);
        let grad = x.grad(&loss.backward()).unwrap().into_data();
        let torch: [[f32; 3]; 3] = [
            [-0.049245432, 0.0019264118, 0.047319014],
            [0.089092076, 0.099630535, -0.18872264],
            [-0.010830445, -0.28584632, 0.29667678],
        ];
        let tolerance = burn::tensor::Tolerance::<f32>::absolute(1e-6);
        grad.assert_approx_eq(&TensorData::from(torch), tolerance);
    }
}
