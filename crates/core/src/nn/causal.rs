//! Which position each token of a causal decoder has, and what it may look at.

use super::KvCache;
use burn::tensor::{Bool, Device, Int, Tensor};

/// Position of padding: after everything, so that nothing sees it.
const PADDING: i64 = (i32::MAX / 2) as i64;

/// Positions and visibility of the tokens of one forward pass, the same for all layers.
///
/// Tokens count from the first that is not padding, so a row gives the same numbers whether it is
/// padded on the left, on the right, or not at all.
#[derive(Clone, Debug)]
pub struct CausalContext {
    /// Position of each token in its sequence, `[batch or 1, len]`; that of padding means nothing.
    pub positions: Tensor<2, Int>,
    keys: Option<Tensor<2, Int>>,
    mask: Option<Tensor<2, Bool>>,
}

impl CausalContext {
    /// The context of `[batch, len]` tokens after those that `cache` holds; `mask` is false at
    /// padding. The layers must append to the cache afterwards.
    ///
    /// # Shapes
    /// - `mask`: `[batch, len]`
    pub fn new(
        [batch, len]: [usize; 2],
        mask: Option<Tensor<2, Bool>>,
        cache: Option<&mut KvCache>,
        device: &Device,
    ) -> Self {
        let start = cache.as_ref().map_or(0, |cache| cache.len());
        let before = cache.as_ref().and_then(|cache| cache.positions.clone());
        let range = |from: usize, to: usize| {
            Tensor::<1, Int>::arange(from as i64..to as i64, device).unsqueeze::<2>()
        };
        if mask.is_none() && before.is_none() {
            return Self {
                positions: range(start, start + len),
                keys: None,
                mask: None,
            };
        }
        let shown = mask
            .clone()
            .unwrap_or_else(|| Tensor::full([batch, len], true, device));
        let before = match before {
            None if start > 0 => Some(range(0, start).expand([batch, start])),
            before => before,
        };
        let mut positions = (shown.clone().int().cumsum(1) - 1).clamp_min(0);
        if let Some(before) = &before {
            let read = before.clone().lower_elem(PADDING).int().sum_dim(1); // [B, 1]
            positions = positions + read;
        }
        let new = positions.clone().mask_fill(shown.bool_not(), PADDING);
        let keys = match before {
            Some(before) => Tensor::cat(vec![before, new], 1),
            None => new,
        };
        if let Some(cache) = cache {
            cache.positions = Some(keys.clone());
        }
        Self {
            positions,
            keys: Some(keys),
            mask,
        }
    }

    /// What the tokens see: everything up to themselves, or the last `window` positions of it.
    pub fn mask(&self, window: Option<usize>) -> CausalMask {
        let Some(keys) = &self.keys else {
            return CausalMask {
                causal: true,
                window,
                bias: None,
            };
        };
        let q: Tensor<4, Int> = self.positions.clone().unsqueeze_dims(&[1, 3]); // [B, 1, T, 1]
        let k: Tensor<4, Int> = keys.clone().unsqueeze_dims(&[1, 1]); // [B, 1, 1, S]
        let distance = q - k;
        let mut hidden = distance.clone().lower_elem(0);
        if let Some(window) = window {
            hidden = hidden.bool_or(distance.greater_equal_elem(window as i64));
        }
        let zeros = Tensor::zeros(hidden.dims(), &hidden.device());
        CausalMask {
            causal: false,
            window: None,
            bias: Some(zeros.mask_fill(hidden, f32::NEG_INFINITY)),
        }
    }

    /// The features of each row's last token that is not padding.
    ///
    /// # Shapes
    /// - `x`: `[batch, len, features]`
    /// - output: `[batch, features]`
    pub fn last(&self, x: Tensor<3>) -> Tensor<2> {
        let [batch, len, features] = x.dims();
        let Some(mask) = &self.mask else {
            return x.narrow(1, len - 1, 1).reshape([batch, features]);
        };
        let index = Tensor::<1, Int>::arange(0..len as i64, &x.device()).unsqueeze::<2>();
        let last = (index * mask.clone().int()).max_dim(1); // [B, 1]
        let last = last.unsqueeze_dim::<3>(2).expand([batch, 1, features]);
        x.gather(1, last).reshape([batch, features])
    }
}

/// What each query of an attention block sees; made by [`CausalContext::mask`].
#[derive(Clone, Debug)]
pub struct CausalMask {
    pub(super) causal: bool,
    pub(super) window: Option<usize>,
    pub(super) bias: Option<Tensor<4>>,
}

/// A bias for [`AttentionInput::bias`](super::AttentionInput::bias) that hides padding from every
/// query; `mask` is false at padding.
///
/// # Shapes
/// - `mask`: `[batch, len]`
/// - output: `[batch, 1, 1, len]`
pub fn padding_bias(mask: Tensor<2, Bool>) -> Tensor<4> {
    let [batch, len] = mask.dims();
    let device = mask.device();
    let hidden = mask.bool_not().reshape([batch, 1, 1, len]);
    Tensor::zeros([batch, 1, 1, len], &device).mask_fill(hidden, f32::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints<const D: usize>(x: Tensor<D, Int>) -> Vec<i64> {
        x.into_data().try_into_vec_as().unwrap()
    }

    fn visible(context: &CausalContext, window: Option<usize>) -> Vec<i64> {
        let bias = context.mask(window).bias.unwrap();
        ints(bias.equal_elem(0.0).int())
    }

    #[test]
    fn positions_skip_padding_and_go_on_after_it() {
        let device = Device::flex();
        let mask = Tensor::<2, Bool>::from_data(
            [[false, true, true], [true, true, false], [true, true, true]],
            &device,
        );
        let mut cache = KvCache::new(1, 8);
        let context = CausalContext::new([3, 3], Some(mask), Some(&mut cache), &device);
        assert_eq!(ints(context.positions.clone()), [0, 0, 1, 0, 1, 1, 0, 1, 2]);
        assert_eq!(
            visible(&context, None),
            [
                // The first query is padding: what it sees means nothing.
                [[0, 1, 0], [0, 1, 0], [0, 1, 1]],
                [[1, 0, 0], [1, 1, 0], [1, 1, 0]],
                [[1, 0, 0], [1, 1, 0], [1, 1, 1]],
            ]
            .concat()
            .concat()
        );
        let x = Tensor::<1, Int>::arange(0..9, &device)
            .float()
            .reshape([3, 3, 1]);
        assert_eq!(
            context
                .last(x.clone())
                .into_data()
                .try_into_vec_as::<f32>()
                .unwrap(),
            [2.0, 4.0, 8.0]
        );
        let kv = x.reshape([3, 1, 3, 1]);
        cache.layers()[0].append(kv.clone(), kv);
        let next = CausalContext::new([3, 2], None, Some(&mut cache), &device);
        assert_eq!(ints(next.positions.clone()), [2, 3, 2, 3, 3, 4]);
        assert_eq!(
            visible(&next, Some(3)),
            [
                [[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]],
                [[1, 1, 0, 1, 0], [0, 1, 0, 1, 1]],
                [[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]],
            ]
            .concat()
            .concat()
        );
    }

    #[test]
    fn nothing_is_computed_without_padding() {
        let device = Device::flex();
        let context = CausalContext::new([2, 3], None, None, &device);
        assert_eq!(ints(context.positions.clone()), [0, 1, 2]);
        let mask = context.mask(Some(7));
        assert!(mask.causal && mask.bias.is_none() && mask.window == Some(7));
    }
}
