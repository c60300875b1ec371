//! A layer of a decoder: attention and perceptron, each on the normalised input.

use super::{Attention, AttentionInput, CausalMask, LayerCache, Mlp};
use burn::{
    module::Module,
    nn::{Dropout, LayerNorm},
    tensor::Tensor,
};

/// Attention and perceptron, each on the normalised input and added to it (Radford et al., "Language
/// Models are Unsupervised Multitask Learners", 2019). Its parts are the model's to make; the fields
/// have the published names.
#[derive(Module, Debug)]
pub struct PreNormLayer {
    /// Before the attention.
    pub ln_1: LayerNorm,
    /// Over the tokens so far.
    pub attn: Attention,
    /// Before the perceptron.
    pub ln_2: LayerNorm,
    /// The perceptron, with its own dropout.
    pub mlp: Mlp,
    /// Of the attention's output; acts in training only.
    pub dropout: Dropout,
}

impl PreNormLayer {
    /// The layer on `x`, attending to what `mask` says and, with a cache, to the tokens that it holds.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, seq, hidden_size]`
    pub fn forward(
        &self,
        x: Tensor<3>,
        mask: &CausalMask,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let input = AttentionInput::new(self.ln_1.forward(x.clone())).mask(mask);
        let attended = self.attn.forward_cached(input, cache);
        let x = x + self.dropout.forward(attended);
        x.clone() + self.mlp.forward(self.ln_2.forward(x))
    }
}
