//! What the networks have in common.

use burn::tensor::{Device, Tensor};
use panoply_core::{nn::PoolHead, weights::KeyMap};

/// A convolutional network for classification: stages that end in a feature map, and a
/// [`PoolHead`] on it, in a field `head`. A network gives its stages and its head; the rest follows.
pub trait ConvNet {
    /// How the published keys of this network and ours correspond.
    fn key_map(&self) -> &'static KeyMap;

    /// Pooling, dropout and linear layer.
    fn pool_head(&self) -> &PoolHead;

    /// The same, to be replaced.
    fn pool_head_mut(&mut self) -> &mut PoolHead;

    /// As [`features`](Self::features); shows `visit` each stage's name and output on the way. The
    /// names are those of the network's own modules.
    fn walk(&self, x: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4>;

    /// Folds the norms into the convolutions: the same numbers in fewer passes. For inference
    /// only; a folded network cannot be saved in the published layout.
    #[must_use]
    fn fold(self) -> Self
    where
        Self: Sized;

    /// Logits of a batch of images.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_channels, height, width]`
    /// - output: `[batch, num_classes]`
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.head(self.features(x))
    }

    /// The last feature map, the one that Grad-CAM looks at.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_channels, height, width]`
    /// - output: `[batch, channels, height / 32, width / 32]`, rounded up (/ 8 with `ResNet`'s
    ///   small stem and in the tiny networks)
    fn features(&self, x: Tensor<4>) -> Tensor<4> {
        self.walk(x, &mut |_, _| ())
    }

    /// Logits of the last feature map.
    ///
    /// # Shapes
    /// - `features`: `[batch, channels, height, width]`
    /// - output: `[batch, num_classes]`
    fn head(&self, features: Tensor<4>) -> Tensor<2> {
        self.pool_head().forward(features)
    }

    /// The output of each stage under its name, for inspection; the last one is the feature map.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_channels, height, width]`
    /// - outputs: `[batch, channels, height', width']`
    fn stages(&self, x: Tensor<4>) -> Vec<(String, Tensor<4>)> {
        let mut stages = Vec::new();
        self.walk(x, &mut |name, x| stages.push((name.to_string(), x.clone())));
        stages
    }

    /// Pattern of the published keys of the head's linear layer, for
    /// [`LoadOptions::allow_missing`](panoply_core::weights::LoadOptions::allow_missing): what a
    /// checkpoint with other classes does not provide.
    fn head_keys(&self) -> String {
        self.key_map().to_published("head.fc.{}")
    }

    /// The same network with a new, untrained head for `num_classes`.
    #[must_use]
    fn replace_head(mut self, num_classes: usize, device: &Device) -> Self
    where
        Self: Sized,
    {
        let head = self.pool_head_mut();
        *head = head.replace(num_classes, device);
        self
    }
}
