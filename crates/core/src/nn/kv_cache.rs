//! Keys and values of what a decoder has already read.

use burn::tensor::{Int, Tensor};

/// Keys and values of one attention block.
///
/// Space for the whole capacity is taken at the first append; later ones write into it, and
/// [`Attention`](super::Attention) reads it in place, so that a step costs no copy of what is held.
#[derive(Clone, Debug)]
pub struct LayerCache {
    held: Option<(Tensor<4>, Tensor<4>)>,
    len: usize,
    capacity: usize,
}

impl LayerCache {
    /// An empty cache with room for `capacity` positions.
    pub fn new(capacity: usize) -> Self {
        Self {
            held: None,
            len: 0,
            capacity,
        }
    }

    /// Number of positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends keys and values.
    ///
    /// # Shapes
    /// - `k`, `v`: `[batch, heads, new, head_size]`, batch and heads the same every time
    ///
    /// # Panics
    /// If they do not fit the capacity.
    pub fn append(&mut self, k: Tensor<4>, v: Tensor<4>) {
        let [batch, heads, new, size] = k.dims();
        let end = self.len + new;
        assert!(
            end <= self.capacity,
            "{end} positions do not fit a cache of {}",
            self.capacity
        );
        let place = [0..batch, 0..heads, self.len..end, 0..size];
        // Taken out, so that the buffers have one owner and are written in place.
        let (keys, values) = self.held.take().unwrap_or_else(|| {
            let room = || Tensor::zeros([batch, heads, self.capacity, size], &k.device());
            (room(), room())
        });
        self.held = Some((
            keys.slice_assign(place.clone(), k),
            values.slice_assign(place, v),
        ));
        self.len = end;
    }

    /// The keys and values held, as views of the buffers.
    ///
    /// # Shapes
    /// - output: `[batch, heads, len, head_size]` each
    ///
    /// # Panics
    /// If nothing was ever appended.
    pub fn held(&self) -> (Tensor<4>, Tensor<4>) {
        let (k, v) = self.held.clone().expect("something was appended");
        (k.narrow(2, 0, self.len), v.narrow(2, 0, self.len))
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    fn reorder(&mut self, rows: &Tensor<1, Int>) {
        if self.is_empty() {
            self.held = None;
            return;
        }
        let (k, v) = self.held();
        let (k, v) = (k.select(0, rows.clone()), v.select(0, rows.clone()));
        if k.dims()[0] != self.batch() {
            self.held = None;
        }
        self.len = 0;
        self.append(k, v);
    }

    fn batch(&self) -> usize {
        self.held.as_ref().map_or(0, |(k, _)| k.dims()[0])
    }
}

/// The cache of a decoder: one [`LayerCache`] a layer, and where the sequences are padded.
///
/// A model's `forward` appends to it; see [`CausalContext`](super::CausalContext) for padding.
#[derive(Clone, Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    capacity: usize,
    /// Position of each key in its sequence, `[batch, len]`, once anything was padded.
    pub(super) positions: Option<Tensor<2, Int>>,
}

impl KvCache {
    /// An empty cache of `num_layers` layers with room for `capacity` positions.
    pub fn new(num_layers: usize, capacity: usize) -> Self {
        Self {
            layers: vec![LayerCache::new(capacity); num_layers],
            capacity,
            positions: None,
        }
    }

    /// Number of positions held, padding included.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, LayerCache::len)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of positions it has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The caches of the layers, first to last.
    pub fn layers(&mut self) -> &mut [LayerCache] {
        &mut self.layers
    }

    /// Forgets all but the first `len` positions.
    pub fn truncate(&mut self, len: usize) {
        let len = len.min(self.len());
        self.positions = match self.positions.take() {
            Some(positions) if len > 0 => Some(positions.narrow(1, 0, len)),
            _ => None,
        };
        for layer in &mut self.layers {
            layer.truncate(len);
        }
    }

    /// Makes row `i` of the batch what row `rows[i]` was: beams that go on from another one, or a
    /// prompt read once that several answers start from (`rows` may be longer or shorter than the
    /// batch).
    ///
    /// # Shapes
    /// - `rows`: `[new_batch]`
    pub fn reorder(&mut self, rows: &Tensor<1, Int>) {
        self.positions = self.positions.take().map(|p| p.select(0, rows.clone()));
        for layer in &mut self.layers {
            layer.reorder(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn rows(values: [[f32; 2]; 2]) -> Tensor<4> {
        Tensor::<2>::from_floats(values, &Device::flex()).reshape([2, 1, 2, 1])
    }

    fn keys(cache: &mut KvCache) -> Vec<f32> {
        let (k, v) = cache.layers()[0].held();
        let values: Vec<f32> = v.into_data().try_into_vec_as().unwrap();
        let keys: Vec<f32> = k.into_data().try_into_vec_as().unwrap();
        assert!(keys.iter().zip(values).all(|(k, v)| v == -k));
        keys
    }

    fn append(cache: &mut KvCache, x: Tensor<4>) {
        cache.layers()[0].append(x.clone(), -x);
    }

    #[test]
    fn appends_truncates_and_reorders() {
        let mut cache = KvCache::new(1, 5);
        assert!(cache.is_empty());
        append(&mut cache, rows([[1., 2.], [11., 12.]]));
        append(&mut cache, rows([[3., 4.], [13., 14.]]));
        assert_eq!((cache.len(), cache.capacity()), (4, 5));
        cache.truncate(3);
        assert_eq!(keys(&mut cache), [1., 2., 3., 11., 12., 13.]);
        cache.reorder(&Tensor::from_ints([1, 1], &Device::flex()));
        append(&mut cache, rows([[5., 6.], [15., 16.]]));
        assert_eq!(
            keys(&mut cache),
            [11., 12., 13., 5., 6., 11., 12., 13., 15., 16.]
        );
        cache.reorder(&Tensor::from_ints([1], &Device::flex()));
        assert_eq!(keys(&mut cache), [11., 12., 13., 15., 16.]);
        cache.truncate(0);
        append(&mut cache, rows([[7., 8.], [9., 10.]]).narrow(0, 0, 1));
        assert_eq!(keys(&mut cache), [7., 8.]);
    }

    #[test]
    #[should_panic(expected = "6 positions do not fit a cache of 5")]
    fn what_does_not_fit_is_refused() {
        let mut cache = KvCache::new(1, 5);
        for _ in 0..3 {
            append(&mut cache, rows([[1., 2.], [11., 12.]]));
        }
    }
}
