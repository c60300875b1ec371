//! Activations by name.

use crate::{Error, Result};
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// An element-wise activation; in configs it goes by its [`name`](Activation::name).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x`
    #[default]
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x * sigmoid(x)`, also called swish
    Silu,
    /// `x * relu6(x + 3) / 6`
    HardSwish,
    /// `x * Φ(x)` with the exact normal distribution function
    Gelu,
    /// GELU in its tanh approximation
    GeluTanh,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `relu6(x + 3) / 6`
    HardSigmoid,
    /// `tanh(x)`
    Tanh,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 10] = [
        Self::Identity,
        Self::Relu,
        Self::Relu6,
        Self::Silu,
        Self::HardSwish,
        Self::Gelu,
        Self::GeluTanh,
        Self::Sigmoid,
        Self::HardSigmoid,
        Self::Tanh,
    ];

    /// The activation called `name`; an unknown name is an error that lists the known ones.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|a| a.name() == name);
        found.ok_or_else(|| Error::unknown("activation", name, Self::ALL.map(Self::name)))
    }

    /// Its name, as in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Silu => "silu",
            Self::HardSwish => "hard_swish",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid => "hard_sigmoid",
            Self::Tanh => "tanh",
        }
    }

    /// Applies it to each element.
    ///
    /// # Shapes
    /// - input, output: any, the same
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => x,
            Self::Relu => activation::relu(x),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Silu => activation::silu(x),
            Self::HardSwish => x.clone() * Self::HardSigmoid.forward(x),
            Self::Gelu => activation::gelu(x),
            Self::GeluTanh => activation::gelu_approximate(x),
            Self::Sigmoid => activation::sigmoid(x),
            Self::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::Tanh => x.tanh(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// `torch.nn.functional` at -4, -1.5, 0, 0.5, 7.
    const EXPECTED: [(Activation, [f32; 5]); 10] = [
        (Activation::Identity, [-4.0, -1.5, 0.0, 0.5, 7.0]),
        (Activation::Relu, [0.0, 0.0, 0.0, 0.5, 7.0]),
        (Activation::Relu6, [0.0, 0.0, 0.0, 0.5, 6.0]),
        (
            Activation::Silu,
            [-0.071_944_83, -0.273_638_23, 0.0, 0.311_229_7, 6.993_623],
        ),
        (Activation::HardSwish, [0.0, -0.375, 0.0, 0.291_666_67, 7.0]),
        (
            Activation::Gelu,
            [-0.000_126_481, -0.100_210_8, 0.0, 0.345_731_2, 7.0],
        ),
        (
            Activation::GeluTanh,
            [-0.000_070_214_27, -0.100_428_42, 0.0, 0.345_714, 7.0],
        ),
        (
            Activation::Sigmoid,
            [0.017_986_21, 0.182_425_53, 0.5, 0.622_459_35, 0.999_089],
        ),
        (Activation::HardSigmoid, [0.0, 0.25, 0.5, 0.583_333_3, 1.0]),
        (
            Activation::Tanh,
            [-0.999_329_3, -0.905_148_25, 0.0, 0.462_117_16, 0.999_998_3],
        ),
    ];

    #[test]
    fn values_equal_pytorch() {
        for (activation, expected) in EXPECTED {
            let x = Tensor::<1>::from_floats([-4.0, -1.5, 0.0, 0.5, 7.0], &Device::flex());
            let y: Vec<f32> = activation.forward(x).into_data().try_into_vec_as().unwrap();
            for (a, b) in y.iter().zip(expected) {
                assert!(
                    (a - b).abs() < 2e-6,
                    "{}: {a} is not {b}",
                    activation.name()
                );
            }
        }
    }

    #[test]
    fn names_lead_back_and_serde_uses_them() {
        for activation in Activation::ALL {
            assert_eq!(
                Activation::from_name(activation.name()).unwrap(),
                activation
            );
            assert_eq!(serde_json::to_value(activation).unwrap(), activation.name());
        }
        let text = Activation::from_name("hardswish").unwrap_err().to_string();
        assert!(text.contains("did you mean 'hard_swish'"), "{text}");
    }
}
