//! Recurrent layers: LSTM (Hochreiter and Schmidhuber, 1997) and GRU (Cho et al., 2014) as
//! `torch.nn.LSTM` and `torch.nn.GRU` define them, with PyTorch's gate order and parameter layout.
//!
//! The inputs of all time steps go through one matrix product; what is left for each step is the
//! recurrent one. On the CPU the recurrence of an LSTM is a single operation with its own gradient
//! (`kernel`); elsewhere, and for a GRU, it is composed of tensor operations.

mod kernel;

use burn::{
    backend::DispatchDevice,
    config::Config,
    module::{Module, Param},
    nn::{Dropout, DropoutConfig, Initializer},
    tensor::{
        Device, Int, Tensor, TensorData,
        activation::{sigmoid, tanh},
    },
};
use serde::{Deserialize, Serialize};

/// Which recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RnnKind {
    /// Gates i, f, g, o.
    Lstm,
    /// Gates r, z, n.
    Gru,
}

impl RnnKind {
    fn num_gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// Configuration of [`Rnn`]; names and meaning as in `torch.nn.LSTM`.
#[derive(Config, Debug)]
pub struct RnnConfig {
    /// LSTM or GRU.
    pub kind: RnnKind,
    /// Features of the input.
    pub input_size: usize,
    /// Features of the hidden state, in each direction.
    pub hidden_size: usize,
    /// Layers, each on top of the one before.
    #[config(default = 1)]
    pub num_layers: usize,
    /// Read each sequence from its end as well.
    #[config(default = false)]
    pub bidirectional: bool,
    /// Dropout on the output of each layer but the last, in `[0, 1)`.
    #[config(default = 0.0)]
    pub dropout: f64,
}

/// A stack of recurrent layers over batches of sequences of unequal length.
///
/// Should be created with [`RnnConfig`]. PyTorch's `weight_ih_l0_reverse` is
/// `layers.0.reverse.weight_ih` here; a model's key map says so.
#[derive(Module, Debug)]
pub struct Rnn {
    /// From the input up.
    pub layers: Vec<RnnLayer>,
    /// Between layers; acts in training only.
    pub dropout: Dropout,
    #[module(skip)]
    kind: RnnKind,
}

/// One layer.
#[derive(Module, Debug)]
pub struct RnnLayer {
    /// Reads from the start.
    pub forward: RnnWeights,
    /// Reads from the end.
    pub reverse: Option<RnnWeights>,
}

/// Parameters of one direction, in PyTorch's layout: the gates one below the other.
#[derive(Module, Debug)]
pub struct RnnWeights {
    /// `[gates * hidden_size, input_size]`.
    pub weight_ih: Param<Tensor<2>>,
    /// `[gates * hidden_size, hidden_size]`.
    pub weight_hh: Param<Tensor<2>>,
    /// `[gates * hidden_size]`.
    pub bias_ih: Param<Tensor<1>>,
    /// `[gates * hidden_size]`.
    pub bias_hh: Param<Tensor<1>>,
}

impl RnnConfig {
    /// A new stack; all parameters uniform within `1 / sqrt(hidden_size)`, as in PyTorch.
    pub fn init(&self, device: &Device) -> Rnn {
        let directions = 1 + usize::from(self.bidirectional);
        let rows = self.kind.num_gates() * self.hidden_size;
        let bound = 1.0 / (self.hidden_size as f64).sqrt();
        let uniform = Initializer::Uniform {
            min: -bound,
            max: bound,
        };
        let weights = |input_size| RnnWeights {
            weight_ih: uniform.init([rows, input_size], device),
            weight_hh: uniform.init([rows, self.hidden_size], device),
            bias_ih: uniform.init([rows], device),
            bias_hh: uniform.init([rows], device),
        };
        let layer = |index| {
            let input_size = match index {
                0 => self.input_size,
                _ => directions * self.hidden_size,
            };
            RnnLayer {
                forward: weights(input_size),
                reverse: self.bidirectional.then(|| weights(input_size)),
            }
        };
        Rnn {
            layers: (0..self.num_layers).map(layer).collect(),
            dropout: DropoutConfig::new(self.dropout).init(),
            kind: self.kind,
        }
    }
}

impl Rnn {
    /// The last layer's hidden states of all time steps: PyTorch's `output` after
    /// `pad_packed_sequence`, zero beyond a sequence's end.
    ///
    /// What lies beyond a sequence's end is not read. Batches whose sequences are sorted by length,
    /// the longest first, take the least time.
    ///
    /// # Shapes
    /// - `x`: `[batch, seq, input_size]`
    /// - `lengths`: one a sequence, at most `seq`
    /// - output: `[batch, seq, directions * hidden_size]`
    pub fn forward(&self, x: Tensor<3>, lengths: &[usize]) -> Tensor<3> {
        let fused = is_cpu(&x.device());
        self.run(x, lengths, fused)
    }

    fn run(&self, x: Tensor<3>, lengths: &[usize], fused: bool) -> Tensor<3> {
        let [batch, seq, _] = x.dims();
        assert_eq!(batch, lengths.len(), "one length a sequence");
        let longest = lengths.iter().max().copied().unwrap_or(0);
        assert!(longest <= seq, "length {longest} of {seq} steps");
        let last = self.layers.len() - 1;
        self.layers.iter().enumerate().fold(x, |x, (index, layer)| {
            let y = layer.run(self.kind, x, lengths, fused);
            if index < last {
                self.dropout.forward(y)
            } else {
                y
            }
        })
    }

    /// The last layer's hidden state where each direction ends: PyTorch's `h_n` of that layer, its
    /// directions side by side.
    ///
    /// # Shapes
    /// - `output`: `[batch, seq, directions * hidden_size]`, from [`forward`](Self::forward)
    /// - output: `[batch, directions * hidden_size]`
    pub fn last_hidden(&self, output: Tensor<3>, lengths: &[usize]) -> Tensor<2> {
        let [batch, seq, features] = output.dims();
        let device = output.device();
        let hidden = features / self.layers.last().map_or(1, RnnLayer::directions);
        let rows = lengths.iter().enumerate();
        let ends = rows.map(|(row, &length)| (row * seq + length.max(1) - 1) as i64);
        let ends = TensorData::new(ends.collect::<Vec<_>>(), [batch]);
        let flat = output.clone().reshape([batch * seq, features]);
        let ends = Tensor::<1, Int>::from_data(ends, &device);
        let forward = flat.select(0, ends).narrow(1, 0, hidden);
        if hidden == features {
            return forward;
        }
        let reverse = output.narrow(1, 0, 1).narrow(2, hidden, hidden);
        Tensor::cat(vec![forward, reverse.reshape([batch, hidden])], 1)
    }
}

impl RnnLayer {
    fn directions(&self) -> usize {
        1 + usize::from(self.reverse.is_some())
    }

    /// `[batch, seq, in]` to `[batch, seq, directions * hidden]`.
    fn run(&self, kind: RnnKind, x: Tensor<3>, lengths: &[usize], fused: bool) -> Tensor<3> {
        let [batch, seq, input] = x.dims();
        let [rows, hidden] = self.forward.weight_hh.dims();
        let directions = self.directions();
        let stack = |part: fn(&RnnWeights) -> Tensor<2>| {
            let each = [Some(&self.forward), self.reverse.as_ref()];
            Tensor::stack::<3>(each.into_iter().flatten().map(part).collect(), 0)
        };
        let x = x.swap_dims(0, 1).reshape([1, seq * batch, input]);
        let weight_ih = stack(|w| w.weight_ih.val()).swap_dims(1, 2);
        let weight_hh = stack(|w| w.weight_hh.val());
        let bias_hh = stack(|w| w.bias_hh.val().unsqueeze());
        let gates = x.matmul(weight_ih) + stack(|w| w.bias_ih.val().unsqueeze());
        let h = if fused && kind == RnnKind::Lstm {
            let gates = (gates + bias_hh).reshape([directions, seq, batch, rows]);
            kernel::lstm(gates, weight_hh, lengths)
        } else {
            let gates = gates.reshape([directions, seq, batch, rows]);
            composed(kind, gates, weight_hh, bias_hh, lengths)
        };
        // [directions, seq, batch, hidden] -> [batch, seq, directions, hidden]
        h.permute([2, 1, 0, 3])
            .reshape([batch, seq, directions * hidden])
    }
}

/// Whether `device` is burn's CPU backend, with or without autodiff.
fn is_cpu(device: &Device) -> bool {
    matches!(
        device.clone().inner().as_dispatch(),
        DispatchDevice::Flex(_)
    )
}

/// The recurrence out of tensor operations, for every device.
///
/// # Shapes
/// - `gates`: `[directions, seq, batch, gates * hidden]`, the inputs' part
/// - `weight_hh`: `[directions, gates * hidden, hidden]`
/// - `bias_hh`: `[directions, 1, gates * hidden]`
/// - output: `[directions, seq, batch, hidden]`
fn composed(
    kind: RnnKind,
    gates: Tensor<4>,
    weight_hh: Tensor<3>,
    bias_hh: Tensor<3>,
    lengths: &[usize],
) -> Tensor<4> {
    let [directions, seq, batch, rows] = gates.dims();
    let hidden = rows / kind.num_gates();
    let device = gates.device();
    let mask = |time: usize| {
        let on: Vec<f32> = lengths
            .iter()
            .map(|&length| f32::from(u8::from(length > time)))
            .collect();
        Tensor::<2>::from_data(TensorData::new(on, [batch, 1]), &device)
    };
    let uneven = lengths.iter().any(|&length| length != seq);
    let run = |direction: usize| {
        let steps = unbind(gates.clone().narrow(0, direction, 1).squeeze_dim(0));
        let weight = weight_hh
            .clone()
            .narrow(0, direction, 1)
            .squeeze_dim::<2>(0)
            .transpose();
        let bias = bias_hh.clone().narrow(0, direction, 1).squeeze_dim::<2>(0);
        let mut h = Tensor::zeros([batch, hidden], &device);
        let mut c = Tensor::zeros([batch, hidden], &device);
        let mut out = Vec::with_capacity(seq);
        for step in 0..seq {
            let time = if direction == 0 { step } else { seq - 1 - step };
            let recurrent = h.clone().matmul(weight.clone()) + bias.clone();
            let (mut h_new, mut c_new) = match kind {
                RnnKind::Lstm => lstm_cell(steps[time].clone() + recurrent, c.clone()),
                RnnKind::Gru => (gru_cell(steps[time].clone(), recurrent, h), c.clone()),
            };
            if uneven {
                // Beyond its end a sequence has the state of a start: zero.
                let on = mask(time);
                h_new = h_new * on.clone();
                c_new = c_new * on;
            }
            (h, c) = (h_new, c_new);
            out.push(h.clone());
        }
        if direction == 1 {
            out.reverse();
        }
        Tensor::stack::<3>(out, 0)
    };
    Tensor::stack((0..directions).map(run).collect(), 0)
}

/// `[seq, batch, features]` to one tensor a step. Halving keeps the gradient's cost at
/// `n log n`: the gradient of each part is as large as what it was cut from.
fn unbind(x: Tensor<3>) -> Vec<Tensor<2>> {
    let seq = x.dims()[0];
    if seq == 1 {
        return vec![x.squeeze_dim(0)];
    }
    let half = seq / 2;
    let mut parts = unbind(x.clone().narrow(0, 0, half));
    parts.extend(unbind(x.narrow(0, half, seq - half)));
    parts
}

/// Hidden and cell state after one step; `gates` `[batch, 4 * hidden]` in the order i, f, g, o.
fn lstm_cell(gates: Tensor<2>, c: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let hidden = c.dims()[1];
    let gate = |index: usize| gates.clone().narrow(1, index * hidden, hidden);
    let c = sigmoid(gate(1)) * c + sigmoid(gate(0)) * tanh(gate(2));
    (sigmoid(gate(3)) * tanh(c.clone()), c)
}

/// Hidden state after one step; `input` and `recurrent` `[batch, 3 * hidden]` in the order r, z, n.
fn gru_cell(input: Tensor<2>, recurrent: Tensor<2>, h: Tensor<2>) -> Tensor<2> {
    let hidden = h.dims()[1];
    let part = |x: &Tensor<2>, index: usize| x.clone().narrow(1, index * hidden, hidden);
    let r = sigmoid(part(&input, 0) + part(&recurrent, 0));
    let z = sigmoid(part(&input, 1) + part(&recurrent, 1));
    let n = tanh(part(&input, 2) + r * part(&recurrent, 2));
    n.clone() + z * (h - n)
}

#[cfg(test)]
mod tests;
