//! Multi-head attention.

use super::{Activation, LinearInit, init, ops};
use burn::{
    config::Config,
    module::Module,
    nn::{Dropout, DropoutConfig, Linear},
    tensor::{Bool, Device, Tensor, module, ops::AttentionModuleOptions},
};

/// Configuration of [`Attention`].
#[derive(Config, Debug)]
pub struct AttentionConfig {
    /// Features of the queries and of the output.
    pub hidden_size: usize,
    /// Number of heads; divides `hidden_size`.
    pub num_heads: usize,
    /// Features of the memory that keys and values are made of, where they differ from the
    /// queries'.
    pub memory_size: Option<usize>,
    /// What scores are multiplied by; `1 / sqrt(head_size)` unless given.
    pub scale: Option<f64>,
    /// Whether the four projections have biases.
    #[config(default = true)]
    pub bias: bool,
    /// Dropout of the attention weights, in `[0, 1)`.
    #[config(default = 0.0)]
    pub dropout: f64,
    /// How the projections start.
    #[config(default = "LinearInit::FanIn")]
    pub init: LinearInit,
}

/// Scaled dot-product attention over several heads (Vaswani et al., "Attention Is All You Need",
/// 2017), of a sequence over itself or over a memory.
///
/// Should be created with [`AttentionConfig`]. On a plain device it runs burn's fused operation;
/// on an autodiff device the composed one, which alone has dropout. Both give the same numbers; a
/// query that may attend to nothing gets zeros.
#[derive(Module, Debug)]
pub struct Attention {
    /// Makes the queries.
    pub q: Linear,
    /// Makes the keys.
    pub k: Linear,
    /// Makes the values.
    pub v: Linear,
    /// Mixes the heads.
    pub out: Linear,
    /// Of the attention weights; acts in training only.
    pub dropout: Dropout,
    num_heads: usize,
    scale: f64,
}

/// What [`Attention::forward`] takes.
#[derive(Clone, Debug)]
pub struct AttentionInput {
    query: Tensor<3>,
    memory: Option<Tensor<3>>,
    bias: Option<Tensor<4>>,
    causal: bool,
}

impl AttentionInput {
    /// Self-attention of `query`, `[batch, query_len, hidden_size]`.
    pub fn new(query: Tensor<3>) -> Self {
        Self {
            query,
            memory: None,
            bias: None,
            causal: false,
        }
    }

    /// Attends to `memory`, `[batch, memory_len, memory_size]`, instead of to the queries.
    #[must_use]
    pub fn memory(mut self, memory: Tensor<3>) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Adds `bias`, `[batch or 1, heads or 1, query_len, memory_len]`, to the scores: a relative
    /// position bias, or a mask with minus infinity where a query must not look.
    #[must_use]
    pub fn bias(mut self, bias: Tensor<4>) -> Self {
        self.bias = Some(bias);
        self
    }

    /// Lets each query see only what is not after it. If the memory is longer than the queries, the
    /// last query is aligned with the memory's last position.
    #[must_use]
    pub fn causal(mut self) -> Self {
        self.causal = true;
        self
    }
}

impl AttentionConfig {
    /// A new block.
    ///
    /// # Panics
    /// If `num_heads` does not divide `hidden_size`.
    pub fn init(&self, device: &Device) -> Attention {
        let (hidden, heads) = (self.hidden_size, self.num_heads);
        assert!(
            heads > 0 && hidden.is_multiple_of(heads),
            "{heads} heads do not divide {hidden} features"
        );
        let memory = self.memory_size.unwrap_or(hidden);
        let project = |input| init::linear([input, hidden], self.bias, self.init, device);
        Attention {
            q: project(hidden),
            k: project(memory),
            v: project(memory),
            out: project(hidden),
            dropout: DropoutConfig::new(self.dropout).init(),
            num_heads: heads,
            scale: self
                .scale
                .unwrap_or_else(|| ((hidden / heads) as f64).sqrt().recip()),
        }
    }
}

impl Attention {
    /// Attends.
    ///
    /// # Shapes
    /// - queries: `[batch, query_len, hidden_size]`
    /// - memory: `[batch, memory_len, memory_size]`
    /// - output: `[batch, query_len, hidden_size]`
    pub fn forward(&self, input: AttentionInput) -> Tensor<3> {
        let AttentionInput {
            query,
            memory,
            bias,
            causal,
        } = input;
        let [batch, query_len, hidden] = query.dims();
        let memory = memory.unwrap_or_else(|| query.clone());
        let q = self.heads(query, &self.q);
        let k = self.heads(memory.clone(), &self.k);
        let v = self.heads(memory, &self.v);
        let context = if q.device().is_autodiff() {
            self.composed(q, k, v, bias, causal)
        } else {
            let options = AttentionModuleOptions {
                scale: Some(self.scale),
                softcap: None,
                is_causal: causal,
            };
            module::attention(q, k, v, None, bias, options)
        };
        let context = context.swap_dims(1, 2).reshape([batch, query_len, hidden]); // [B, T, H * Dh]
        ops::linear_act(context, &self.out, Activation::Identity)
    }

    fn heads(&self, x: Tensor<3>, projection: &Linear) -> Tensor<4> {
        let x = ops::linear_act(x, projection, Activation::Identity);
        let [batch, len, hidden] = x.dims();
        let heads = self.num_heads;
        x.reshape([batch, len, heads, hidden / heads])
            .swap_dims(1, 2) // [B, H, T, Dh]
    }

    fn composed(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        bias: Option<Tensor<4>>,
        causal: bool,
    ) -> Tensor<4> {
        let mut scores = q.matmul(k.transpose()) * self.scale; // [B, H, T, S]
        if causal {
            let mask = future(&scores);
            scores = scores.mask_fill(mask, f32::NEG_INFINITY);
        }
        if let Some(bias) = bias {
            scores = scores + bias;
        }
        // A row of minus infinities becomes zeros instead of NaN, as in the fused operation.
        let top = scores.clone().max_dim(3).detach().clamp_min(f32::MIN);
        let weights = (scores - top).exp();
        let sum = weights.clone().sum_dim(3).clamp_min(f32::MIN_POSITIVE);
        self.dropout.forward(weights / sum).matmul(v)
    }
}

/// True where a key lies after its query; `[1, 1, query_len, memory_len]`.
fn future(scores: &Tensor<4>) -> Tensor<4, Bool> {
    let [.., queries, keys] = scores.dims();
    let offset = keys as i64 - queries as i64;
    Tensor::<2, Bool>::tril_mask([queries, keys], offset, &scores.device()).unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }

    /// Fused (plain device) and composed (autodiff device) on the same weights and input.
    fn both(attention: &Attention, input: AttentionInput) -> (Vec<f32>, Vec<f32>) {
        let lift = |x: AttentionInput| AttentionInput {
            query: Tensor::from_inner(x.query),
            memory: x.memory.map(Tensor::from_inner),
            bias: x.bias.map(Tensor::from_inner),
            causal: x.causal,
        };
        let fused = attention.forward(input.clone());
        let composed = attention.clone().train().forward(lift(input));
        let values = |x: Tensor<3>| x.into_data().try_into_vec_as().unwrap();
        (values(fused), values(composed))
    }

    #[test]
    fn fused_equals_composed() {
        let device = Device::flex();
        device.seed(2);
        let attention = AttentionConfig::new(16, 4).init(&device);
        let cross = AttentionConfig::new(16, 2)
            .with_memory_size(Some(6))
            .with_scale(Some(1.0))
            .init(&device);
        let (x, memory) = (random([2, 5, 16], &device), random([2, 9, 6], &device));
        let hidden =
            Tensor::<4>::from_floats([[[[0.0, 0.0, f32::NEG_INFINITY, 0.0, 0.0]]]], &device);
        let cases = [
            (&attention, AttentionInput::new(x.clone())),
            (&attention, AttentionInput::new(x.clone()).causal()),
            (
                &attention,
                AttentionInput::new(x.clone()).bias(random([2, 4, 5, 5], &device)),
            ),
            (
                &attention,
                AttentionInput::new(x.clone())
                    .bias(hidden.expand([1, 1, 5, 5]))
                    .causal(),
            ),
            (
                &cross,
                AttentionInput::new(x.clone()).memory(memory.clone()),
            ),
            (&cross, AttentionInput::new(x).memory(memory).causal()),
        ];
        for (i, (attention, input)) in cases.into_iter().enumerate() {
            let (fused, composed) = both(attention, input);
            let largest = fused
                .iter()
                .zip(&composed)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(largest < 1e-5, "case {i}: {largest}");
            assert!(fused.iter().any(|v| v.abs() > 0.05), "case {i}");
        }
    }

    #[test]
    fn a_causal_query_does_not_see_what_follows() {
        let device = Device::flex();
        let attention = AttentionConfig::new(8, 2).init(&device);
        let x: Tensor<3> = random([1, 4, 8], &device);
        let other = Tensor::cat(
            vec![x.clone().narrow(1, 0, 3), random([1, 1, 8], &device)],
            1,
        );
        let run = |x| {
            attention
                .forward(AttentionInput::new(x).causal())
                .narrow(1, 0, 3)
        };
        let difference = (run(x) - run(other)).abs().max().into_scalar::<f32>();
        assert_eq!(difference, 0.0);
    }

    #[test]
    fn a_query_that_sees_nothing_gets_the_output_bias() {
        let device = Device::flex();
        let attention = AttentionConfig::new(4, 1).init(&device);
        let nothing = Tensor::full([1, 1, 2, 2], f32::NEG_INFINITY, &device);
        let (fused, composed) = both(
            &attention,
            AttentionInput::new(random([1, 2, 4], &device)).bias(nothing),
        );
        let bias: Vec<f32> = attention
            .out
            .bias
            .unwrap()
            .val()
            .into_data()
            .try_into_vec_as()
            .unwrap();
        assert_eq!(fused[..4], bias);
        assert_eq!(composed[4..], bias);
    }

    #[test]
    fn weights_drop_out_in_training_only() {
        let device = Device::flex().autodiff();
        let attention = AttentionConfig::new(8, 2).with_dropout(0.5).init(&device);
        let x: Tensor<3> = random([1, 6, 8], &device);
        let run = |attention: &Attention, seed| -> Vec<f32> {
            device.seed(seed);
            attention
                .forward(AttentionInput::new(x.clone()))
                .into_data()
                .try_into_vec_as()
                .unwrap()
        };
        assert_ne!(run(&attention, 1), run(&attention, 2));
        let valid = attention.valid();
        assert_eq!(run(&valid, 1), run(&valid, 2));
    }

    #[test]
    #[should_panic(expected = "3 heads do not divide 8 features")]
    fn heads_must_divide_the_features() {
        let _ = AttentionConfig::new(8, 3).init(&Device::flex());
    }
}
