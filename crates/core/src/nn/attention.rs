//! Multi-head attention.

use super::{Activation, CausalMask, LayerCache, LinearInit, Rotation, init, ops};
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
    /// Number of heads; divides `hidden_size` unless `head_size` is given.
    pub num_heads: usize,
    /// Features of the memory that keys and values are made of, where they differ from the
    /// queries'.
    pub memory_size: Option<usize>,
    /// Number of heads of keys and values, each shared by `num_heads / num_kv_heads` heads of
    /// queries (Ainslie et al., "GQA", 2023); `num_heads` unless given.
    pub num_kv_heads: Option<usize>,
    /// Features of a head; `hidden_size / num_heads` unless given.
    pub head_size: Option<usize>,
    /// What scores are multiplied by; `1 / sqrt(head_size)` unless given.
    pub scale: Option<f64>,
    /// Whether the projections to queries, keys and values have biases.
    #[config(default = true)]
    pub bias: bool,
    /// Whether the output projection has a bias; as `bias` unless given.
    pub out_bias: Option<bool>,
    /// Whether one layer makes queries, keys and values (`qkv`, in this order).
    #[config(default = false)]
    pub fused: bool,
    /// Dropout of the attention weights, in `[0, 1)`.
    #[config(default = 0.0)]
    pub dropout: f64,
    /// How the projections start.
    #[config(default = "LinearInit::FanIn")]
    pub init: LinearInit,
    /// How the output projection starts; as `init` unless given.
    pub out_init: Option<LinearInit>,
}

/// Scaled dot-product attention over several heads (Vaswani et al., "Attention Is All You Need",
/// 2017), of a sequence over itself, over a memory, or over what a [`LayerCache`] holds.
///
/// Should be created with [`AttentionConfig`]. On a plain device it runs burn's fused operation;
/// on an autodiff device, and over a cache that already holds keys, the composed one. That one alone
/// has dropout, and it reads the cache where it lies. Both give the same numbers; a query that may
/// attend to nothing gets zeros.
#[derive(Module, Debug)]
pub struct Attention {
    /// Makes queries, keys and values at once; then `q`, `k` and `v` are absent, else it is.
    pub qkv: Option<Linear>,
    /// Makes the queries.
    pub q: Option<Linear>,
    /// Makes the keys.
    pub k: Option<Linear>,
    /// Makes the values.
    pub v: Option<Linear>,
    /// Mixes the heads.
    pub out: Linear,
    /// Of the attention weights; acts in training only.
    pub dropout: Dropout,
    num_heads: usize,
    num_kv_heads: usize,
    head_size: usize,
    scale: f64,
}

/// What [`Attention::forward`] takes.
#[derive(Clone, Debug)]
pub struct AttentionInput {
    query: Tensor<3>,
    memory: Option<Tensor<3>>,
    bias: Option<Tensor<4>>,
    rotation: Option<Rotation>,
    causal: bool,
    window: Option<usize>,
}

impl AttentionInput {
    /// Self-attention of `query`, `[batch, query_len, hidden_size]`.
    pub fn new(query: Tensor<3>) -> Self {
        Self {
            query,
            memory: None,
            bias: None,
            rotation: None,
            causal: false,
            window: None,
        }
    }

    /// Attends to `memory`, `[batch, memory_len, memory_size]`, instead of to the queries.
    #[must_use]
    pub fn memory(mut self, memory: Tensor<3>) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Adds `bias`, `[batch or 1, heads or 1, query_len or 1, memory_len]`, to the scores: a relative
    /// position bias, or a mask with minus infinity where a query must not look.
    #[must_use]
    pub fn bias(mut self, bias: Tensor<4>) -> Self {
        self.bias = Some(bias);
        self
    }

    /// Turns queries and keys by their positions.
    #[must_use]
    pub fn rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = Some(rotation);
        self
    }

    /// Lets each query see only what is not after it. If the memory is longer than the queries, the
    /// last query is aligned with the memory's last position.
    #[must_use]
    pub fn causal(mut self) -> Self {
        self.causal = true;
        self
    }

    /// Lets each query see only the `window` positions that end with its own, aligned as in
    /// [`causal`](Self::causal), which it implies.
    #[must_use]
    pub fn window(mut self, window: usize) -> Self {
        self.causal = true;
        self.window = Some(window);
        self
    }

    /// Lets each query see what `mask` says.
    #[must_use]
    pub fn mask(mut self, mask: &CausalMask) -> Self {
        self.causal = mask.causal;
        self.window = mask.window;
        self.bias.clone_from(&mask.bias);
        self
    }
}

impl AttentionConfig {
    /// A new block.
    ///
    /// # Panics
    /// If `num_heads` does not divide `hidden_size`, or `num_kv_heads` not `num_heads`, or if
    /// `fused` is asked for over a memory of another size.
    pub fn init(&self, device: &Device) -> Attention {
        let (hidden, heads) = (self.hidden_size, self.num_heads);
        assert!(
            heads > 0 && (self.head_size.is_some() || hidden.is_multiple_of(heads)),
            "{heads} heads do not divide {hidden} features"
        );
        let kv_heads = self.num_kv_heads.unwrap_or(heads);
        assert!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads),
            "{kv_heads} heads of keys do not divide {heads} heads"
        );
        let memory = self.memory_size.unwrap_or(hidden);
        assert!(
            !self.fused || memory == hidden,
            "one layer cannot project both {hidden} and {memory} features"
        );
        let size = self.head_size.unwrap_or(hidden / heads);
        let (wide, narrow) = (heads * size, kv_heads * size);
        let project = |input, output| init::linear([input, output], self.bias, self.init, device);
        let separate = |input, output| (!self.fused).then(|| project(input, output));
        Attention {
            qkv: self.fused.then(|| project(hidden, wide + 2 * narrow)),
            q: separate(hidden, wide),
            k: separate(memory, narrow),
            v: separate(memory, narrow),
            out: init::linear(
                [wide, hidden],
                self.out_bias.unwrap_or(self.bias),
                self.out_init.unwrap_or(self.init),
                device,
            ),
            dropout: DropoutConfig::new(self.dropout).init(),
            num_heads: heads,
            num_kv_heads: kv_heads,
            head_size: size,
            scale: self.scale.unwrap_or_else(|| (size as f64).sqrt().recip()),
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
        self.forward_cached(input, None)
    }

    /// Attends to what `cache` holds and to the queries themselves, whose keys and values it keeps;
    /// without one as [`forward`](Self::forward).
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); `memory_len` of bias and masks counts what the cache holds
    /// afterwards.
    pub fn forward_cached(
        &self,
        input: AttentionInput,
        cache: Option<&mut LayerCache>,
    ) -> Tensor<3> {
        let [batch, query_len, _] = input.query.dims();
        let (mut q, mut k, mut v) = self.project(input.query, input.memory);
        if let Some(rotation) = &input.rotation {
            (q, k) = (rotation.apply(q), rotation.apply(k));
        }
        let mut fused = !q.device().is_autodiff();
        if let Some(cache) = cache {
            // The first keys are all there is, so they need not be read back.
            let first = cache.is_empty();
            cache.append(k.clone(), v.clone());
            if !first {
                fused = false;
                (k, v) = cache.held();
            }
        }
        let mut bias = input.bias;
        if let Some(window) = input.window.filter(|&window| window < k.dims()[2]) {
            if query_len == 1 && bias.is_none() {
                let start = k.dims()[2] - window;
                (k, v) = (k.narrow(2, start, window), v.narrow(2, start, window));
            } else {
                let past = beyond(window, query_len, &k);
                bias = Some(bias.map_or_else(|| past.clone(), |bias| bias + past.clone()));
            }
        }
        // A single query is the last position: nothing is after it.
        let causal = input.causal && query_len > 1;
        let context = if fused {
            self.fused(q, k, v, bias, causal)
        } else {
            self.composed(q, k, v, bias, causal)
        };
        let context =
            context
                .swap_dims(1, 2)
                .reshape([batch, query_len, self.num_heads * self.head_size]); // [B, T, H * Dh]
        ops::linear_act(context, &self.out, Activation::Identity)
    }

    /// Queries, keys and values as `[batch, heads, len, head_size]`.
    fn project(
        &self,
        query: Tensor<3>,
        memory: Option<Tensor<3>>,
    ) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let (wide, narrow) = (
            self.num_heads * self.head_size,
            self.num_kv_heads * self.head_size,
        );
        let linear = |x, layer| ops::linear_act(x, layer, Activation::Identity);
        let (q, k, v) = match (&self.qkv, &self.q, &self.k, &self.v) {
            (Some(qkv), ..) => {
                assert!(memory.is_none(), "one layer projects queries and memory");
                let all = linear(query, qkv);
                (
                    all.clone().narrow(2, 0, wide),
                    all.clone().narrow(2, wide, narrow),
                    all.narrow(2, wide + narrow, narrow),
                )
            }
            (None, Some(q), Some(k), Some(v)) => {
                let memory = memory.unwrap_or_else(|| query.clone());
                (
                    linear(query, q),
                    linear(memory.clone(), k),
                    linear(memory, v),
                )
            }
            _ => unreachable!("either qkv or q, k and v are there"),
        };
        let heads = |x: Tensor<3>, heads| {
            let [batch, len, _] = x.dims();
            x.reshape([batch, len, heads, self.head_size])
                .swap_dims(1, 2) // [B, H, T, Dh]
        };
        (
            heads(q, self.num_heads),
            heads(k, self.num_kv_heads),
            heads(v, self.num_kv_heads),
        )
    }

    fn fused(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        bias: Option<Tensor<4>>,
        causal: bool,
    ) -> Tensor<4> {
        let options = AttentionModuleOptions {
            scale: Some(self.scale),
            softcap: None,
            is_causal: causal,
        };
        // Not every backend's operation shares heads of keys, so each query's head gets its own.
        let group = self.num_heads / self.num_kv_heads;
        let own = |x: Tensor<4>| {
            if group == 1 {
                return x;
            }
            let [batch, heads, len, size] = x.dims();
            x.unsqueeze_dim::<5>(2)
                .expand([batch, heads, group, len, size])
                .reshape([batch, heads * group, len, size])
        };
        module::attention(q, own(k), own(v), None, bias, options)
    }

    fn composed(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        bias: Option<Tensor<4>>,
        causal: bool,
    ) -> Tensor<4> {
        let [batch, heads, queries, size] = q.dims();
        let keys = k.dims()[2];
        let weights = self.dropout.forward(self.softmax(q, k, bias, causal));
        // Heads that share keys are rows of one product.
        let rows = heads / self.num_kv_heads * queries;
        weights
            .reshape([batch, self.num_kv_heads, rows, keys])
            .matmul(v)
            .reshape([batch, heads, queries, size])
    }

    /// How much each query attends to each key: what [`forward`](Self::forward) mixes the values by.
    ///
    /// # Shapes
    /// - output: `[batch, heads, query_len, memory_len]`; a row adds up to 1, or is all zero if the
    ///   query may attend to nothing
    pub fn weights(&self, input: AttentionInput) -> Tensor<4> {
        let [_, query_len, _] = input.query.dims();
        let (mut q, mut k, _) = self.project(input.query, input.memory);
        if let Some(rotation) = &input.rotation {
            (q, k) = (rotation.apply(q), rotation.apply(k));
        }
        let past = input.window.map(|window| beyond(window, query_len, &k));
        let bias = match (input.bias, past) {
            (Some(bias), Some(past)) => Some(bias + past),
            (bias, past) => bias.or(past),
        };
        self.softmax(q, k, bias, input.causal)
    }

    fn softmax(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        bias: Option<Tensor<4>>,
        causal: bool,
    ) -> Tensor<4> {
        let [batch, heads, queries, size] = q.dims();
        let keys = k.dims()[2];
        let rows = heads / self.num_kv_heads * queries;
        let q = q.reshape([batch, self.num_kv_heads, rows, size]);
        let scores = q.matmul(k.transpose()) * self.scale;
        let mut scores = scores.reshape([batch, heads, queries, keys]); // [B, H, T, S]
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
        weights / sum
    }
}

/// True where a key lies after its query; `[1, 1, query_len, memory_len]`.
fn future(scores: &Tensor<4>) -> Tensor<4, Bool> {
    let [.., queries, keys] = scores.dims();
    let offset = keys as i64 - queries as i64;
    Tensor::<2, Bool>::tril_mask([queries, keys], offset, &scores.device()).unsqueeze()
}

/// Minus infinity where a key lies `window` positions or more before its query, else zero;
/// `[1, 1, query_len, memory_len]`.
fn beyond(window: usize, queries: usize, keys: &Tensor<4>) -> Tensor<4> {
    let (device, keys) = (keys.device(), keys.dims()[2]);
    let first = keys as i64 - queries as i64 - window as i64 + 1;
    let mask = Tensor::<2, Bool>::triu_mask([queries, keys], first, &device).unsqueeze();
    Tensor::zeros([1, 1, queries, keys], &device).mask_fill(mask, f32::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Rotary;
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
            rotation: x.rotation.map(|r| Rotation {
                cos: Tensor::from_inner(r.cos),
                sin: Tensor::from_inner(r.sin),
            }),
            causal: x.causal,
            window: x.window,
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
    fn heads_may_share_keys_and_keys_may_lie_beyond_a_window() {
        let device = Device::flex();
        device.seed(3);
        let shared = AttentionConfig::new(16, 4)
            .with_num_kv_heads(Some(2))
            .with_head_size(Some(6))
            .init(&device);
        let fused = AttentionConfig::new(16, 4).with_fused(true).init(&device);
        let x = random([2, 7, 16], &device);
        let rotation = Rotary::new(6).at(Tensor::from_ints([[0, 1, 2, 3, 4, 5, 6]], &device));
        for (i, (attention, input)) in [
            (&shared, AttentionInput::new(x.clone()).rotation(rotation)),
            (&shared, AttentionInput::new(x.clone()).window(3)),
            (&fused, AttentionInput::new(x.clone()).causal()),
        ]
        .into_iter()
        .enumerate()
        {
            let (fused, composed) = both(attention, input);
            for (a, b) in fused.iter().zip(&composed) {
                assert!((a - b).abs() < 1e-5, "case {i}: {a} and {b}");
            }
        }
        // The last query of a window of 3 sees tokens 4 to 6, and so does that of these alone.
        let window = fused.forward(AttentionInput::new(x.clone()).window(3));
        let alone = fused.forward(AttentionInput::new(x.narrow(1, 4, 3)).causal());
        let difference = window.narrow(1, 6, 1) - alone.narrow(1, 2, 1);
        assert!(difference.abs().max().into_scalar::<f32>() < 1e-6);
    }

    #[test]
    fn a_cache_changes_nothing() {
        let device = Device::flex();
        device.seed(4);
        let shared = AttentionConfig::new(12, 4)
            .with_num_kv_heads(Some(2))
            .init(&device);
        let fused = AttentionConfig::new(12, 3).with_fused(true).init(&device);
        let x: Tensor<3> = random([2, 9, 12], &device);
        let input = |x, window: Option<usize>| match window {
            Some(window) => AttentionInput::new(x).window(window),
            None => AttentionInput::new(x).causal(),
        };
        for (attention, window) in [(&shared, None), (&shared, Some(3)), (&fused, Some(2))] {
            let whole = attention.forward(input(x.clone(), window));
            for splits in [&[9][..], &[1, 8], &[4, 3, 1, 1], &[1; 9]] {
                let mut cache = LayerCache::new(9);
                let mut parts = Vec::new();
                for &len in splits {
                    let part = x.clone().narrow(1, cache.len(), len);
                    parts.push(attention.forward_cached(input(part, window), Some(&mut cache)));
                }
                let difference = Tensor::cat(parts, 1) - whole.clone();
                let largest = difference.abs().max().into_scalar::<f32>();
                assert!(largest < 1e-5, "{splits:?}: {largest}");
            }
        }
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
