//! Initial weights as torchvision draws them.

use burn::{
    nn::{
        Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::Device,
};
use serde::{Deserialize, Serialize};

/// A convolution whose weights are He-normal over the fan-out and whose bias, if any, is zero:
/// `torch.nn.init.kaiming_normal_(weight, mode="fan_out")`.
///
/// As in PyTorch the fan-out counts all output channels, also of a grouped convolution.
pub fn conv2d(config: &Conv2dConfig, device: &Device) -> Conv2d {
    let [_, out_channels] = config.channels;
    let fan_out = out_channels * config.kernel_size.iter().product::<usize>();
    let std = (2.0 / fan_out as f64).sqrt();
    let config = config
        .clone()
        .with_initializer(Initializer::Normal { mean: 0.0, std });
    let mut conv = config.clone().with_bias(false).init(device);
    conv.bias = config
        .bias
        .then(|| Initializer::Zeros.init([out_channels], device));
    conv
}

/// How a linear layer starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinearInit {
    /// PyTorch's default: weight and bias uniform within `1 / sqrt(in_features)`.
    #[default]
    FanIn,
    /// torchvision's EfficientNet: weight uniform within `1 / sqrt(out_features)`, bias zero.
    FanOut,
    /// Weight normal with this standard deviation, bias zero.
    Normal(f64),
    /// `torch.nn.init.kaiming_uniform_(weight)`: weight uniform within `sqrt(6 / in_features)`; the bias is
    /// PyTorch's default.
    HeUniform,
}

/// A linear layer from `features[0]` to `features[1]`.
pub fn linear(features: [usize; 2], bias: bool, init: LinearInit, device: &Device) -> Linear {
    let [input, output] = features;
    let config = LinearConfig::new(input, output);
    let initializer = match init {
        LinearInit::FanIn => return config.with_bias(bias).init(device),
        LinearInit::FanOut => {
            let bound = 1.0 / (output as f64).sqrt();
            Initializer::Uniform {
                min: -bound,
                max: bound,
            }
        }
        LinearInit::Normal(std) => Initializer::Normal { mean: 0.0, std },
        LinearInit::HeUniform => {
            let bound = (6.0 / input as f64).sqrt();
            let mut linear = config.with_bias(bias).init(device);
            let uniform = Initializer::Uniform {
                min: -bound,
                max: bound,
            };
            linear.weight = uniform.init([input, output], device);
            return linear;
        }
    };
    let mut linear = config
        .with_bias(false)
        .with_initializer(initializer)
        .init(device);
    linear.bias = bias.then(|| Initializer::Zeros.init([output], device));
    linear
}

/// A table of `count` vectors of `features` numbers, normal with standard deviation `std`.
pub fn embedding(count: usize, features: usize, std: f64, device: &Device) -> Embedding {
    EmbeddingConfig::new(count, features)
        .with_initializer(Initializer::Normal { mean: 0.0, std })
        .init(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn std(values: &[f32]) -> f64 {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let squares = values
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>();
        (squares / n).sqrt()
    }

    #[test]
    fn a_depthwise_convolution_counts_all_outputs_in_its_fan() {
        let device = Device::flex();
        device.seed(1);
        let config = Conv2dConfig::new([256, 256], [3, 3])
            .with_groups(256)
            .with_bias(true);
        let conv = conv2d(&config, &device);
        let weight: Vec<f32> = conv.weight.val().into_data().try_into_vec_as().unwrap();
        let expected = (2.0 / (256.0 * 9.0_f64)).sqrt();
        assert!(
            (std(&weight) / expected - 1.0).abs() < 0.05,
            "{}",
            std(&weight)
        );
        let bias: Vec<f32> = conv
            .bias
            .unwrap()
            .val()
            .into_data()
            .try_into_vec_as()
            .unwrap();
        assert!(bias.iter().all(|&b| b == 0.0));
    }

    #[test]
    fn linear_layers_stay_within_their_bounds() {
        let device = Device::flex();
        device.seed(1);
        let largest = |init| {
            let weight = linear([400, 100], true, init, &device).weight.val();
            weight.abs().max().into_scalar::<f32>()
        };
        assert!((0.045..=0.05).contains(&largest(LinearInit::FanIn)));
        assert!((0.09..=0.1).contains(&largest(LinearInit::FanOut)));
        let normal = linear([400, 100], false, LinearInit::Normal(0.01), &device);
        let weight: Vec<f32> = normal.weight.val().into_data().try_into_vec_as().unwrap();
        assert!((std(&weight) / 0.01 - 1.0).abs() < 0.03 && normal.bias.is_none());
    }
}
