//! What the decoders have in common.

use super::CausalInput;
use burn::tensor::Tensor;
use panoply_core::{
    nn::{CausalContext, KvCache},
    weights::KeyMap,
};

/// Shown the name and the output of each stage on the way through a decoder.
pub type Visit<'a> = dyn FnMut(&str, &Tensor<3>) + 'a;

/// A decoder with its output layer. A network gives its layers and its head; the rest follows.
pub trait Decoder {
    /// How the published keys of this network and ours correspond.
    fn key_map(&self) -> &'static KeyMap;

    /// Number of layers, each with its part of a cache.
    fn num_layers(&self) -> usize;

    /// Hidden states after the last norm, `[batch, seq, hidden_size]`, and where the tokens stand;
    /// appends the tokens to `cache`, if there is one. Shows `visit` the output of the embeddings
    /// (`embeddings`), of each layer and of the last norm, by the published names.
    fn run(
        &self,
        input: &CausalInput,
        cache: Option<&mut KvCache>,
        visit: &mut Visit<'_>,
    ) -> (Tensor<3>, CausalContext);

    /// Logits of hidden states.
    ///
    /// # Shapes
    /// - `hidden`: `[tokens, hidden_size]`
    /// - output: `[tokens, vocab_size]`
    fn head(&self, hidden: Tensor<2>) -> Tensor<2>;

    /// The hidden states of [`run`](Self::run).
    ///
    /// # Shapes
    /// - output: `[batch, seq, hidden_size]`
    fn walk(
        &self,
        input: &CausalInput,
        cache: Option<&mut KvCache>,
        visit: &mut Visit<'_>,
    ) -> Tensor<3> {
        self.run(input, cache, visit).0
    }

    /// Logits of the token after each token; appends the tokens to `cache`, if there is one.
    ///
    /// # Shapes
    /// - output: `[batch, seq, vocab_size]`
    fn forward(&self, input: &CausalInput, cache: Option<&mut KvCache>) -> Tensor<3> {
        let hidden = self.walk(input, cache, &mut |_, _| ());
        let [batch, seq, _] = hidden.dims();
        let logits = self.head(hidden.flatten(0, 1));
        let [_, vocab] = logits.dims();
        logits.reshape([batch, seq, vocab])
    }

    /// Logits of the token after each row's last one: a step of generation.
    ///
    /// # Shapes
    /// - output: `[batch, vocab_size]`
    fn next(&self, input: &CausalInput, cache: &mut KvCache) -> Tensor<2> {
        let (hidden, context) = self.run(input, Some(cache), &mut |_, _| ());
        self.head(context.last(hidden))
    }

    /// An empty cache with room for `capacity` tokens a row.
    fn cache(&self, capacity: usize) -> KvCache {
        KvCache::new(self.num_layers(), capacity)
    }
}
