//! Equality with captum on the fixture of `tests/fixtures/explain/` (made by `reference.py` there),
//! the axioms, and errors.

use super::*;
use burn::tensor::{
    Device, Tensor, TensorData,
    activation::{relu, tanh},
    module::conv2d,
    ops::ConvOptions,
};
use safetensors::SafeTensors;

const FIXTURE: &[u8] = include_bytes!("../../tests/fixtures/explain/explain.safetensors");
const TARGET: usize = 3;
/// Largest difference from captum that is accepted; what is met is printed.
const TOLERANCE: f64 = 1e-3;

fn numbers(name: &str) -> (Vec<usize>, Vec<f64>) {
    let file = SafeTensors::deserialize(FIXTURE).unwrap();
    let view = file.tensor(name).unwrap();
    let values = match view.dtype() {
        safetensors::Dtype::F64 => view
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b))
            .collect(),
        safetensors::Dtype::F32 => view
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|b| f64::from(f32::from_le_bytes(*b)))
            .collect(),
        other => panic!("{name} is {other:?}"),
    };
    (view.shape().to_vec(), values)
}

fn tensor<const D: usize>(name: &str, device: &Device) -> Tensor<D> {
    let (shape, values) = numbers(name);
    let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The fixture's net: convolution, ReLU, strided convolution, ReLU, linear layer.
struct Net {
    conv1: (Tensor<4>, Tensor<1>),
    conv2: (Tensor<4>, Tensor<1>),
    fc: (Tensor<2>, Tensor<1>),
}

impl Net {
    fn new(device: &Device) -> Self {
        let conv = |name: &str| {
            (
                tensor(&format!("{name}.weight"), device),
                tensor(&format!("{name}.bias"), device),
            )
        };
        Self {
            conv1: conv("conv1"),
            conv2: conv("conv2"),
            fc: (tensor("fc.weight", device), tensor("fc.bias", device)),
        }
    }

    /// A net whose weights want gradients, as one in training has them.
    fn in_training() -> Self {
        let Net { conv1, conv2, fc } = Self::new(&Device::flex().autodiff());
        Self {
            conv1: (conv1.0.require_grad(), conv1.1.require_grad()),
            conv2: (conv2.0.require_grad(), conv2.1.require_grad()),
            fc: (fc.0.require_grad(), fc.1.require_grad()),
        }
    }

    fn features(&self, x: Tensor<4>) -> Tensor<4> {
        let conv = |x, (weight, bias): &(Tensor<4>, Tensor<1>), stride| {
            let options = ConvOptions::new([stride, stride], [1, 1], [1, 1], 1);
            relu(conv2d(x, weight.clone(), Some(bias.clone()), options))
        };
        conv(conv(x, &self.conv1, 1), &self.conv2, 2)
    }

    fn head(&self, features: Tensor<4>) -> Tensor<2> {
        let (weight, bias) = &self.fc;
        features.flatten(1, 3).matmul(weight.clone().transpose()) + bias.clone().unsqueeze()
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.head(self.features(x))
    }
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    assert!(
        !tensor.is_autodiff(),
        "results live on a device without autodiff"
    );
    tensor.try_to_vec_as::<f64>().unwrap()
}

/// Asserts shape and values against the fixture, and prints the largest difference.
fn equal<const D: usize>(name: &str, ours: &Tensor<D>) {
    let (shape, reference) = numbers(name);
    assert_eq!(ours.dims().to_vec(), shape, "{name}");
    let gaps = values(ours)
        .into_iter()
        .zip(reference)
        .map(|(a, b)| (a - b).abs());
    let gap = gaps.fold(0.0, f64::max);
    println!("{name}: max |Δ| {gap:.1e}");
    assert!(gap < TOLERANCE, "{name}: {gap}");
}

fn setting() -> (Net, Tensor<4>, Tensor<4>) {
    let device = Device::flex();
    (
        Net::new(&device),
        tensor("input", &device),
        tensor("baseline", &device),
    )
}

#[test]
fn the_net_and_its_gradient_equal_pytorch() {
    let (net, input, _) = setting();
    equal("logits", &net.forward(input.clone()));
    equal("features", &net.features(input.clone()));
    let gradient = input_gradient(|x| net.forward(x), input, TARGET).unwrap();
    equal("gradient", &gradient.values);
    assert!((gradient.outputs[0] - numbers("logits").1[TARGET]).abs() < 1e-4);
}

#[test]
fn the_gradient_equals_finite_differences() {
    let (net, input, _) = setting();
    let gradient = input_gradient(|x| net.forward(x), input.clone(), TARGET).unwrap();
    let (gradient, input) = (values(&gradient.values), values(&input));
    let score = |changed: Vec<f64>| {
        let x = Tensor::from_data(TensorData::new(changed, [1, 3, 12, 10]), &Device::flex());
        values(&net.forward(x))[TARGET]
    };
    // The net is linear between the kinks of its ReLUs, so the step may be large against rounding;
    // inputs whose step crosses a kink are told by their one-sided slopes, which differ.
    let (step, mut compared) = (1e-2, 0);
    for (i, gradient) in gradient.iter().enumerate() {
        let moved = |by: f64| {
            let mut changed = input.clone();
            changed[i] += by;
            score(changed)
        };
        let (up, here, down) = (moved(step), moved(0.0), moved(-step));
        if ((up - here) - (here - down)).abs() < 1e-4 * step {
            let slope = (up - down) / (2.0 * step);
            assert!(
                (slope - gradient).abs() < 2e-3,
                "element {i}: {slope}, gradient {gradient}"
            );
            compared += 1;
        }
    }
    println!(
        "finite differences agree on {compared} of {} elements",
        gradient.len()
    );
    assert!(compared > 100);
}

#[test]
fn integrated_gradients_equal_captum() {
    let (net, input, baseline) = setting();
    for (name, method, steps) in [
        ("ig_gausslegendre", Quadrature::GaussLegendre, 50),
        ("ig_left", Quadrature::RiemannLeft, 20),
        ("ig_right", Quadrature::RiemannRight, 20),
        ("ig_middle", Quadrature::RiemannMiddle, 20),
        ("ig_trapezoid", Quadrature::RiemannTrapezoid, 20),
    ] {
        let options = IntegratedGradientsOptions {
            steps,
            method,
            internal_batch: 7,
        };
        let forward = |x| net.forward(x);
        let ours = integrated_gradients(forward, input.clone(), baseline.clone(), TARGET, &options)
            .unwrap();
        equal(name, &ours.values);
        assert!((ours.delta - numbers(&format!("{name}.delta")).1[0]).abs() < TOLERANCE);
        assert!((ours.output - numbers("logits").1[TARGET]).abs() < 1e-4);
        assert!((ours.baseline_output - numbers("baseline_logits").1[TARGET]).abs() < 1e-4);
    }
    let zero = input.zeros_like();
    let options = IntegratedGradientsOptions::default();
    let ours = integrated_gradients(|x| net.forward(x), input, zero, TARGET, &options).unwrap();
    equal("ig_zero_baseline", &ours.values);
}

#[test]
fn gauss_legendre_points_equal_numpy() {
    let points = Quadrature::GaussLegendre.points(50).unwrap();
    let (alphas, weights) = (numbers("leggauss.alphas").1, numbers("leggauss.weights").1);
    for (i, (alpha, weight)) in points.into_iter().enumerate() {
        assert!(
            (alpha - alphas[i]).abs() < 1e-14 && (weight - weights[i]).abs() < 1e-14,
            "{i}"
        );
    }
}

#[test]
fn integrated_gradients_are_complete() {
    let (net, input, baseline) = setting();
    let options = IntegratedGradientsOptions {
        steps: 256,
        ..Default::default()
    };
    for target in 0..5 {
        let forward = |x| net.forward(x);
        let a = integrated_gradients(forward, input.clone(), baseline.clone(), target, &options)
            .unwrap();
        let difference = a.output - a.baseline_output;
        let sum: f64 = values(&a.values).iter().sum();
        assert!((sum - difference - a.delta).abs() < 1e-9);
        println!(
            "class {target}: f(x) - f(baseline) {difference:.4}, gap {:.4}",
            a.delta
        );
        assert!(
            a.delta.abs() < 0.01 * difference.abs(),
            "class {target}: {} of {difference}",
            a.delta
        );
    }
}

/// On a linear model the attribution is weight times input, whatever the steps; and rank two works.
#[test]
fn a_linear_model_is_attributed_exactly() {
    let device = Device::flex();
    let weight = Tensor::<2>::from_data([[2.0, 0.0], [-1.0, 1.0], [0.5, 3.0]], &device);
    let input = Tensor::<2>::from_data([[1.0, 2.0, 4.0]], &device);
    let options = IntegratedGradientsOptions {
        steps: 1,
        ..Default::default()
    };
    let forward = |x: Tensor<2>| x.matmul(weight.clone());
    let a = integrated_gradients(forward, input.clone(), input.zeros_like(), 0, &options).unwrap();
    assert_eq!(values(&a.values), [2.0, -2.0, 2.0]);
    assert_eq!((a.output, a.baseline_output, a.delta), (2.0, 0.0, 0.0));
}

/// A curved function in closed form: the integral of the derivative of tanh is tanh.
#[test]
fn a_curved_model_is_integrated() {
    let device = Device::flex();
    let input = Tensor::<2>::from_data([[1.5, -0.5]], &device);
    let forward = |x: Tensor<2>| tanh(x);
    let options = IntegratedGradientsOptions {
        steps: 20,
        ..Default::default()
    };
    let a = integrated_gradients(forward, input.clone(), input.zeros_like(), 0, &options).unwrap();
    let shares = values(&a.values);
    assert!(
        (shares[0] - 1.5f64.tanh()).abs() < 1e-6 && shares[1] == 0.0,
        "{shares:?}"
    );
}

#[test]
fn grad_cam_equals_captum() {
    let (net, input, _) = setting();
    for target in 0..5 {
        let ours = grad_cam(|x| net.features(x), |f| net.head(f), input.clone(), target).unwrap();
        equal(&format!("grad_cam.{target}"), &ours);
        let large = upsample_bilinear(ours, [12, 10]).unwrap();
        equal(&format!("grad_cam_upsampled.{target}"), &large);
    }
}

#[test]
fn occlusion_equals_captum() {
    let (net, input, _) = setting();
    for (name, window, stride, baseline) in [
        ("occlusion_overlapping", [4, 3], [2, 2], 0.0),
        ("occlusion_tiles", [5, 4], [5, 4], 0.0),
        ("occlusion_grey", [3, 3], [1, 3], 0.5),
        ("occlusion_whole", [12, 10], [1, 1], 0.0),
    ] {
        let options = OcclusionOptions {
            window,
            stride,
            baseline,
            batch: 5,
        };
        let ours = occlusion(|x| net.forward(x), input.clone(), TARGET, &options).unwrap();
        equal(name, &ours);
    }
}

#[test]
fn a_model_on_an_autodiff_device_gives_the_same() {
    let (net, input, baseline) = setting();
    let training = Net::in_training();
    let options = IntegratedGradientsOptions {
        steps: 5,
        ..Default::default()
    };
    let ig = |net: &Net, input: Tensor<4>| {
        let a = integrated_gradients(
            |x| net.forward(x),
            input,
            baseline.clone(),
            TARGET,
            &options,
        );
        values(&a.unwrap().values)
    };
    let lifted = input.clone().autodiff().require_grad();
    assert_eq!(ig(&net, input.clone()), ig(&training, lifted.clone()));
    let cam = |net: &Net, input: Tensor<4>| {
        values(&grad_cam(|x| net.features(x), |f| net.head(f), input, TARGET).unwrap())
    };
    assert_eq!(cam(&net, input.clone()), cam(&training, lifted.clone()));
    let options = OcclusionOptions {
        window: [6, 5],
        stride: [6, 5],
        baseline: 0.0,
        batch: 3,
    };
    let cover = |net: &Net, input: Tensor<4>| {
        values(&occlusion(|x| net.forward(x), input, TARGET, &options).unwrap())
    };
    assert_eq!(cover(&net, input), cover(&training, lifted));
}

fn text<T>(outcome: crate::Result<T>) -> String {
    match outcome {
        Ok(_) => panic!("no error"),
        Err(error) => {
            assert!(matches!(error, crate::Error::Input { .. }), "{error}");
            error.to_string()
        }
    }
}

#[test]
fn wrong_input_is_an_error_that_names_it() {
    let (net, input, baseline) = setting();
    let default = IntegratedGradientsOptions::default();
    let ig = |input: &Tensor<4>, baseline: &Tensor<4>, target, options| {
        let forward = |x| net.forward(x);
        text(integrated_gradients(
            forward,
            input.clone(),
            baseline.clone(),
            target,
            options,
        ))
    };
    let wide = ig(&input, &baseline, 5, &default);
    assert_eq!(
        wide,
        "target: class 5 of a model with 5 classes; expected a class below 5"
    );
    let none = IntegratedGradientsOptions {
        steps: 0,
        ..default
    };
    assert_eq!(
        ig(&input, &baseline, 0, &none),
        "steps: 0; expected at least 1"
    );
    let none = IntegratedGradientsOptions {
        internal_batch: 0,
        ..default
    };
    assert!(ig(&input, &baseline, 0, &none).contains("internal_batch"));
    let cut = baseline.clone().slice([0..1, 0..3, 0..12, 0..9]);
    assert!(ig(&input, &cut, 0, &default).contains("[1, 3, 12, 9]"));
    let two = Tensor::cat(vec![input.clone(), input.clone()], 0);
    assert!(ig(&two, &two, 0, &default).contains("one sample"));
    let nan = input.clone() * f32::NAN;
    assert!(ig(&nan, &baseline, 0, &default).contains("element 0 is NaN"));
    assert!(ig(&input, &nan, 0, &default).starts_with("baseline: element 0 is NaN"));

    let broken = |x: Tensor<4>| net.forward(x) * f32::INFINITY;
    let outcome = integrated_gradients(broken, input.clone(), baseline, 0, &default);
    assert!(text(outcome).starts_with("output of the model: element"));
    let blind = |x: Tensor<4>| net.forward(x.detach());
    assert!(text(input_gradient(blind, input.clone(), 0)).contains("no gradient leads"));
    let summed = |x: Tensor<4>| net.forward(x).sum_dim(0);
    assert!(text(input_gradient(summed, two, 0)).contains("1 rows for 2 inputs"));
    let cam = |target| {
        text(grad_cam(
            |x| net.features(x),
            |f| net.head(f),
            input.clone(),
            target,
        ))
    };
    assert!(cam(9).contains("class 9"));
}

#[test]
fn wrong_windows_are_errors() {
    let (net, input, _) = setting();
    let right = OcclusionOptions {
        window: [4, 4],
        stride: [2, 2],
        baseline: 0.0,
        batch: 4,
    };
    let wrong = |options: OcclusionOptions, target| {
        text(occlusion(
            |x| net.forward(x),
            input.clone(),
            target,
            &options,
        ))
    };
    assert!(wrong(right, 5).contains("class 5"));
    assert!(
        wrong(
            OcclusionOptions {
                window: [13, 4],
                ..right
            },
            0
        )
        .contains("between 1 and 12")
    );
    assert!(
        wrong(
            OcclusionOptions {
                window: [4, 0],
                ..right
            },
            0
        )
        .contains("window width")
    );
    assert!(
        wrong(
            OcclusionOptions {
                stride: [5, 2],
                ..right
            },
            0
        )
        .contains("between 1 and 4")
    );
    assert!(
        wrong(
            OcclusionOptions {
                stride: [2, 0],
                ..right
            },
            0
        )
        .contains("stride along the width")
    );
    assert!(wrong(OcclusionOptions { batch: 0, ..right }, 0).contains("batch"));
    assert!(
        wrong(
            OcclusionOptions {
                baseline: f64::NAN,
                ..right
            },
            0
        )
        .contains("baseline")
    );
    assert!(
        text(upsample_bilinear(
            Tensor::ones([2, 2], &Device::flex()),
            [0, 4]
        ))
        .contains("above zero")
    );
}
