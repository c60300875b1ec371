//! Attention rollout (Abnar and Zuidema 2020, "Quantifying attention flow in transformers").

use super::check;
use crate::{Error, Result};
use burn::tensor::Tensor;

/// How much each position after the last layer draws on each position before the first: the mean
/// over the heads, half of it replaced by the identity for the residual connection, multiplied
/// through the layers.
///
/// # Shapes
///
/// - `layers`: attention weights of each layer, first to last, `[batch, heads, seq, seq]`
/// - output: `[batch, seq, seq]`; row `i` says where position `i` draws from, and adds up to 1
pub fn attention_rollout(layers: &[Tensor<4>]) -> Result<Tensor<3>> {
    let mut flow: Option<Tensor<3>> = None;
    for (i, weights) in layers.iter().enumerate() {
        let location = format!("attention weights of layer {i}");
        let [batch, heads, queries, keys] = weights.dims();
        let as_before = flow
            .as_ref()
            .is_none_or(|flow| flow.dims() == [batch, queries, keys]);
        if heads == 0 || queries != keys || !as_before {
            let what = format!("shape {:?}", weights.dims());
            let expected = "[batch, heads, seq, seq], the same for every layer";
            return Err(Error::input(location, what, expected));
        }
        check::finite(&location, weights)?;
        let mean = weights.clone().mean_dim(1).reshape([batch, queries, keys]);
        let identity = Tensor::<2>::eye(queries, &weights.device()).unsqueeze();
        let mixed = (mean + identity) * 0.5;
        let mixed = mixed.clone() / mixed.sum_dim(2);
        flow = Some(match flow {
            Some(flow) => mixed.matmul(flow),
            None => mixed,
        });
    }
    flow.ok_or_else(|| Error::input("attention weights", "no layer", "at least one"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn two_layers_by_hand() {
        let device = Device::flex();
        let first = Tensor::<4>::from_floats(
            [[[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]],
            &device,
        );
        let second = Tensor::<4>::from_floats([[[[0.0, 1.0], [1.0, 0.0]]]], &device);
        let flow = attention_rollout(&[first.clone(), second]).unwrap();
        // Layer 1: [[.75, .25], [0, 1]]; layer 2: [[.5, .5], [.5, .5]].
        let values: Vec<f32> = flow.into_data().try_into_vec_as().unwrap();
        assert_eq!(values, [0.375, 0.625, 0.375, 0.625]);

        let narrow = first.clone().narrow(3, 0, 1);
        let error = attention_rollout(&[first, narrow]).unwrap_err().to_string();
        assert!(error.contains("layer 1: shape [1, 2, 2, 1]"), "{error}");
        assert!(attention_rollout(&[]).is_err());
    }
}
