//! The recurrence of an LSTM over a whole sequence as one operation on the CPU.
//!
//! Composed of tensor operations, each time step costs some twenty graph nodes, and the backward
//! pass as many again. Here a sequence is one node with a hand-written gradient; a step is one
//! matrix product and one loop over the gates. Rows whose sequence has ended take no part.

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        ops::FloatTensorOps,
        tensor::FloatTensor,
    },
    tensor::{Tensor, TensorData},
};
use rayon::prelude::*;

/// What one row of the result holds, in units of `hidden_size`: the gates i, f, g and o after their
/// activation, the cell state, the hidden state.
const PACKED: usize = 6;

/// The recurrence. The second direction, if there is one, runs from the end of each sequence.
#[backend_extension(Autodiff, Flex)]
pub(super) trait LstmOps: Backend {
    /// `gates` `[directions, seq, batch, 4 * hidden]` is `x W_ih + b_ih + b_hh`, `weight_hh`
    /// `[directions, 4 * hidden, hidden]`; the result `[directions, seq, batch, 6 * hidden]` is
    /// zero beyond a sequence's end.
    fn lstm(
        gates: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        lengths: Vec<usize>,
    ) -> FloatTensor<Self>;

    /// Gradient of `gates`, from that of the hidden and cell states in the result.
    fn lstm_backward(
        packed: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        lengths: Vec<usize>,
    ) -> FloatTensor<Self>;

    /// Gradient of `weight_hh`, from that of `gates`.
    fn lstm_weight_backward(
        packed: FloatTensor<Self>,
        grad_gates: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// The hidden states `[directions, seq, batch, hidden]` of [`LstmOps::lstm`].
pub(super) fn lstm(gates: Tensor<4>, weight_hh: Tensor<3>, lengths: &[usize]) -> Tensor<4> {
    let hidden = weight_hh.dims()[2];
    let packed = <Dispatch as LstmOps>::lstm(
        gates.into_dispatch(),
        weight_hh.into_dispatch(),
        lengths.to_vec(),
    );
    Tensor::<4>::from_dispatch(packed).narrow(3, 5 * hidden, hidden)
}

/// Extents of the recurrence.
#[derive(Clone, Copy)]
struct Shape {
    seq: usize,
    batch: usize,
    hidden: usize,
}

impl Shape {
    fn of(tensor: &FloatTensor<Flex>, per_row: usize) -> (usize, Self) {
        let [directions, seq, batch, row] = tensor.shape().dims::<4>();
        let hidden = row / per_row;
        (directions, Self { seq, batch, hidden })
    }

    /// Time steps of a direction, and those that went before each.
    fn steps(self, direction: usize) -> impl DoubleEndedIterator<Item = (usize, Option<usize>)> {
        let last = self.seq - 1;
        (0..self.seq).map(move |step| match direction {
            0 => (step, step.checked_sub(1)),
            _ => (last - step, (step > 0).then(|| last - step + 1)),
        })
    }

    /// Rows up to the last whose sequence reaches `time`: all others wait.
    fn active(lengths: &[usize], time: usize) -> usize {
        let last = lengths.iter().rposition(|&length| length > time);
        last.map_or(0, |row| row + 1)
    }
}

fn values(tensor: &FloatTensor<Flex>) -> &[f32] {
    tensor.as_slice().expect("contiguous f32 values")
}

fn matrix(values: Vec<f32>, rows: usize, cols: usize) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, [rows, cols]))
}

/// The matrix of one direction.
fn slice(tensor: &FloatTensor<Flex>, direction: usize) -> FloatTensor<Flex> {
    let [_, rows, cols] = tensor.shape().dims::<3>();
    tensor.narrow(0, direction, 1).reshape([rows, cols].into())
}

impl LstmOps for Flex {
    fn lstm(
        gates: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        lengths: Vec<usize>,
    ) -> FloatTensor<Self> {
        let (directions, shape) = Shape::of(&gates, 4);
        let gates = gates.to_contiguous();
        let gates = values(&gates);
        let Shape { seq, batch, hidden } = shape;
        let (from, to) = (seq * batch * 4 * hidden, seq * batch * PACKED * hidden);
        let mut packed = vec![0.0; directions * to];
        let each = packed.par_chunks_mut(to).zip(gates.par_chunks(from));
        each.enumerate().for_each(|(direction, (packed, gates))| {
            let weight = slice(&weight_hh, direction);
            forward(shape, direction, gates, &weight, &lengths, packed);
        });
        let extents = [directions, seq, batch, PACKED * hidden];
        FloatTensor::<Flex>::from_data(TensorData::new(packed, extents))
    }

    fn lstm_backward(
        packed: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        lengths: Vec<usize>,
    ) -> FloatTensor<Self> {
        let (directions, shape) = Shape::of(&packed, PACKED);
        let (packed, grad) = (packed.to_contiguous(), grad.to_contiguous());
        let (packed, grad) = (values(&packed), values(&grad));
        let Shape { seq, batch, hidden } = shape;
        let (from, to) = (seq * batch * PACKED * hidden, seq * batch * 4 * hidden);
        let mut grad_gates = vec![0.0; directions * to];
        let inputs = packed.par_chunks(from).zip(grad.par_chunks(from));
        let each = grad_gates.par_chunks_mut(to).zip(inputs);
        each.enumerate()
            .for_each(|(direction, (grad_gates, (packed, grad)))| {
                let weight = slice(&weight_hh, direction);
                let states = States { packed, grad };
                backward(shape, direction, &states, &weight, &lengths, grad_gates);
            });
        let extents = [directions, seq, batch, 4 * hidden];
        FloatTensor::<Flex>::from_data(TensorData::new(grad_gates, extents))
    }

    fn lstm_weight_backward(
        packed: FloatTensor<Self>,
        grad_gates: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (directions, shape) = Shape::of(&packed, PACKED);
        let packed = packed.to_contiguous();
        let packed = values(&packed);
        let Shape { seq, batch, hidden } = shape;
        let step = batch * PACKED * hidden;
        let mut previous = vec![0.0; directions * seq * batch * hidden];
        for direction in 0..directions {
            for (time, before) in shape.steps(direction) {
                let Some(before) = before else { continue };
                let from = &packed[(direction * seq + before) * step..][..step];
                let to = &mut previous[(direction * seq + time) * batch * hidden..];
                for (to, from) in to
                    .chunks_exact_mut(hidden)
                    .zip(from.chunks_exact(PACKED * hidden))
                {
                    to.copy_from_slice(&from[5 * hidden..]);
                }
            }
        }
        let extents = [directions, seq * batch, hidden];
        let previous = FloatTensor::<Flex>::from_data(TensorData::new(previous, extents));
        let grad_gates = grad_gates.reshape([directions, seq * batch, 4 * hidden].into());
        Flex::float_matmul(grad_gates.transpose(1, 2), previous)
    }
}

/// One direction of the forward pass.
fn forward(
    shape: Shape,
    direction: usize,
    gates: &[f32],
    weight: &FloatTensor<Flex>,
    lengths: &[usize],
    packed: &mut [f32],
) {
    let Shape { batch, hidden, .. } = shape;
    let recurrent = weight.transpose(0, 1);
    let (mut h, mut c) = (vec![0.0; batch * hidden], vec![0.0; batch * hidden]);
    let mut z = vec![0.0; 4 * hidden];
    for (time, before) in shape.steps(direction) {
        let rows = Shape::active(lengths, time);
        let product = before.filter(|_| rows > 0).map(|_| {
            let h = matrix(h[..rows * hidden].to_vec(), rows, hidden);
            Flex::float_matmul(h, recurrent.clone())
        });
        let product = product.as_ref().map(values);
        for row in (0..rows).filter(|&row| lengths[row] > time) {
            let at = time * batch + row;
            z.copy_from_slice(&gates[at * 4 * hidden..][..4 * hidden]);
            if let Some(product) = product {
                let product = &product[row * 4 * hidden..][..4 * hidden];
                z.iter_mut().zip(product).for_each(|(z, p)| *z += p);
            }
            let out = &mut packed[at * PACKED * hidden..][..PACKED * hidden];
            let (h, c) = (
                &mut h[row * hidden..][..hidden],
                &mut c[row * hidden..][..hidden],
            );
            cell(&z, h, c, out);
        }
    }
}

/// One step of one row: `z` are the gates before their activation.
fn cell(z: &[f32], h: &mut [f32], c: &mut [f32], out: &mut [f32]) {
    let hidden = h.len();
    let (gates, states) = out.split_at_mut(4 * hidden);
    let (input_forget, rest) = gates.split_at_mut(2 * hidden);
    let (candidate, output) = rest.split_at_mut(hidden);
    activate(input_forget, &z[..2 * hidden], sigmoid);
    activate(candidate, &z[2 * hidden..3 * hidden], tanh);
    activate(output, &z[3 * hidden..], sigmoid);
    let (i, rest) = gates.split_at(hidden);
    let (f, rest) = rest.split_at(hidden);
    let (g, o) = rest.split_at(hidden);
    let (c_out, h_out) = states.split_at_mut(hidden);
    for j in 0..hidden {
        c_out[j] = f[j] * c[j] + i[j] * g[j];
    }
    for j in 0..hidden {
        h_out[j] = o[j] * tanh(c_out[j]);
    }
    c.copy_from_slice(c_out);
    h.copy_from_slice(h_out);
}

/// Inlined for each activation, so that each loop becomes vector code.
#[inline]
fn activate(out: &mut [f32], z: &[f32], activation: impl Fn(f32) -> f32) {
    out.iter_mut()
        .zip(z)
        .for_each(|(out, &z)| *out = activation(z));
}

/// The forward pass's result and its gradient.
struct States<'a> {
    packed: &'a [f32],
    grad: &'a [f32],
}

/// One direction of the backward pass.
fn backward(
    shape: Shape,
    direction: usize,
    states: &States<'_>,
    weight: &FloatTensor<Flex>,
    lengths: &[usize],
    grad_gates: &mut [f32],
) {
    let Shape { batch, hidden, .. } = shape;
    let (packed_row, gate_row) = (PACKED * hidden, 4 * hidden);
    let (mut dh, mut dc) = (vec![0.0; batch * hidden], vec![0.0; batch * hidden]);
    let start = vec![0.0; hidden];
    for (time, before) in shape.steps(direction).rev() {
        let rows = Shape::active(lengths, time);
        if rows == 0 {
            continue;
        }
        for row in (0..rows).filter(|&row| lengths[row] > time) {
            let at = time * batch + row;
            let before = before.filter(|&before| lengths[row] > before);
            let c_before = before.map_or(&start[..], |before| {
                &states.packed[(before * batch + row) * packed_row + 4 * hidden..][..hidden]
            });
            let step = Step {
                packed: &states.packed[at * packed_row..][..packed_row],
                grad: &states.grad[at * packed_row + 4 * hidden..][..2 * hidden],
                c_before,
            };
            let (dh, dc) = (
                &dh[row * hidden..][..hidden],
                &mut dc[row * hidden..][..hidden],
            );
            cell_backward(&step, dh, dc, &mut grad_gates[at * gate_row..][..gate_row]);
        }
        if before.is_some() {
            let grads = grad_gates[time * batch * gate_row..][..rows * gate_row].to_vec();
            let product = Flex::float_matmul(matrix(grads, rows, gate_row), weight.clone());
            dh[..rows * hidden].copy_from_slice(values(&product));
        }
    }
}

/// What the backward pass of one step of one row reads.
struct Step<'a> {
    packed: &'a [f32],
    /// Of the cell state, then of the hidden state.
    grad: &'a [f32],
    c_before: &'a [f32],
}

/// `dh` and `dc` come from the step after this one; `dc` leaves for the one before.
fn cell_backward(step: &Step<'_>, dh: &[f32], dc: &mut [f32], grad_gates: &mut [f32]) {
    let hidden = dh.len();
    let (i, rest) = step.packed.split_at(hidden);
    let (f, rest) = rest.split_at(hidden);
    let (g, rest) = rest.split_at(hidden);
    let (o, rest) = rest.split_at(hidden);
    let c = &rest[..hidden];
    let (grad_c, grad_h) = step.grad.split_at(hidden);
    let (di, rest) = grad_gates.split_at_mut(hidden);
    let (df, rest) = rest.split_at_mut(hidden);
    let (dg, d_o) = rest.split_at_mut(hidden);
    let c_before = &step.c_before[..hidden];
    let (dc, d_o) = (&mut dc[..hidden], &mut d_o[..hidden]);
    for j in 0..hidden {
        let tanh_c = tanh(c[j]);
        let dh = grad_h[j] + dh[j];
        let dcell = dc[j] + grad_c[j] + dh * o[j] * (1.0 - tanh_c * tanh_c);
        d_o[j] = dh * tanh_c * o[j] * (1.0 - o[j]);
        di[j] = dcell * g[j] * i[j] * (1.0 - i[j]);
        df[j] = dcell * c_before[j] * f[j] * (1.0 - f[j]);
        dg[j] = dcell * i[j] * (1.0 - g[j] * g[j]);
        dc[j] = dcell * f[j];
    }
}

#[inline]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline]
fn tanh(x: f32) -> f32 {
    2.0 / (1.0 + exp(-2.0 * x)) - 1.0
}

/// `e^x` to two units in the last place, without a branch or a call, so that loops over it become
/// vector code: the range reduction and the minimax polynomial of Cephes' `expf` (Moshier).
#[inline]
fn exp(x: f32) -> f32 {
    /// `1.5 * 2^23`: adding it rounds to an integer, which then stands in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_6e-1;
    let p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // The exponent of 2^n; the magic number's own bits shift out.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    y * scale
}

/// The gradient as a graph node. The node's output holds all that its gradient needs.
impl<B: LstmOps, C: CheckpointStrategy> LstmOps for Autodiff<B, C> {
    fn lstm(
        gates: FloatTensor<Self>,
        weight_hh: FloatTensor<Self>,
        lengths: Vec<usize>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Lstm;
        impl<B: LstmOps> Backward<B, 2> for Lstm {
            type State = (FloatTensor<B>, FloatTensor<B>, Vec<usize>);
            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let [gates, weight] = ops.parents;
                let grad = grads.consume::<B>(&ops.node);
                let (packed, weight_hh, lengths) = ops.state;
                let grad_gates = B::lstm_backward(packed.clone(), weight_hh, grad, lengths);
                if let Some(node) = weight {
                    let grad = B::lstm_weight_backward(packed, grad_gates.clone());
                    grads.register::<B>(node.id, grad);
                }
                if let Some(node) = gates {
                    grads.register::<B>(node.id, grad_gates);
                }
            }
        }
        let nodes = [gates.node(), weight_hh.node()];
        let (gates, weight_hh) = (gates.into_primitive(), weight_hh.into_primitive());
        let packed = B::lstm(gates, weight_hh.clone(), lengths.clone());
        match Lstm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((packed.clone(), weight_hh, lengths), packed),
            OpsKind::UnTracked(prep) => prep.finish(packed),
        }
    }

    fn lstm_backward(
        _packed: FloatTensor<Self>,
        _weight_hh: FloatTensor<Self>,
        _grad: FloatTensor<Self>,
        _lengths: Vec<usize>,
    ) -> FloatTensor<Self> {
        unreachable!("burn has no second-order autodiff")
    }

    fn lstm_weight_backward(
        _packed: FloatTensor<Self>,
        _grad_gates: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        unreachable!("burn has no second-order autodiff")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_three_units_in_the_last_place() {
        for i in -8_600..=8_600 {
            let x = i as f32 * 0.010_007;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3.0 * f64::from(f32::EPSILON), "exp({x}): {error}");
        }
    }

    #[test]
    fn gates_saturate_without_nan() {
        for (x, s, t) in [(f32::MAX, 1.0, 1.0), (f32::MIN, 0.0, -1.0), (0.0, 0.5, 0.0)] {
            assert!((sigmoid(x) - s).abs() < 1e-30 || sigmoid(x) == s, "{x}");
            assert_eq!(tanh(x), t);
        }
        assert!(sigmoid(f32::NAN).is_nan());
    }
}
