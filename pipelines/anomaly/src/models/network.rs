//! What neural detectors share: layers, batches of rows, and scores out of squared errors.

use super::detector::{Detector, NormalOnly, check_width};
use burn::{
    module::Module,
    nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear},
    tensor::{Device, Tensor, TensorData},
};
use panoply_core::{
    Result, RunContext,
    fit::{self, Collate, FitConfig, Fitted, Metrics, Run, Samples, Trainable},
    host,
    nn::{Activation, LinearInit, linear, ops},
    weights::{self, Arrays, KeyMap, SaveDtype},
};
use panoply_datasets::frame::Matrix;
use std::path::Path;

/// Rows that are scored together.
const CHUNK: usize = 1024;

/// A linear layer, batch norm or none, an activation, dropout: PyOD's `LinearBlock`.
#[derive(Module, Debug)]
pub struct LinearBlock {
    /// `kaiming_uniform_` at the start.
    pub linear: Linear,
    /// Before the activation.
    pub bn: Option<BatchNorm>,
    #[module(skip)]
    activation: Activation,
    /// Acts in training only.
    pub dropout: Dropout,
}

impl LinearBlock {
    /// From `features[0]` to `features[1]`.
    pub fn new(
        features: [usize; 2],
        activation: Activation,
        batch_norm: bool,
        dropout: f64,
        device: &Device,
    ) -> Self {
        Self {
            linear: linear(features, true, LinearInit::HeUniform, device),
            bn: batch_norm.then(|| BatchNormConfig::new(features[1]).init(device)),
            activation,
            dropout: DropoutConfig::new(dropout).init(),
        }
    }

    /// # Shapes
    /// - `x`: `[rows, features[0]]`
    /// - output: `[rows, features[1]]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = ops::linear_act(x, &self.linear, Activation::Identity);
        let x = match &self.bn {
            Some(bn) => bn.forward(x),
            None => x,
        };
        self.dropout.forward(self.activation.forward(x))
    }
}

/// A stack of blocks of the widths `widths`, one less than there are widths.
pub(crate) fn blocks(
    widths: &[usize],
    batch_norm: bool,
    dropout: f64,
    device: &Device,
) -> Vec<LinearBlock> {
    let block = |pair: &[usize]| {
        let features = [pair[0], pair[1]];
        LinearBlock::new(features, Activation::Relu, batch_norm, dropout, device)
    };
    widths.windows(2).map(block).collect()
}

/// A network that scores rows by squared errors.
pub trait Network: Trainable<Batch = Tensor<2>> + Clone {
    /// Name and formula of the loss.
    const LOSS: (&'static str, &'static str);
    /// Published names of the parameters.
    const KEY_MAP: KeyMap;
    /// Whether there is one error a number of the row, and the score is the root of their sum: a reconstruction.
    /// Otherwise the score is the sum.
    const RECONSTRUCTS: bool;

    /// Squared errors of each row, without anything random. `see` is shown the output of each stage.
    ///
    /// # Shapes
    /// - `x`: `[rows, features]`
    /// - output: `[rows, errors]`
    fn errors(&self, x: Tensor<2>, see: &mut dyn FnMut(&str, &Tensor<2>)) -> Tensor<2>;
}

/// Rows as training samples.
pub(crate) struct Rows<'a>(pub(crate) &'a Matrix);

impl Samples for Rows<'_> {
    type Sample = Vec<f64>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn load(&self, index: usize, _seed: u64) -> Result<Vec<f64>> {
        Ok(self.0.row(index).to_vec())
    }
}

/// Puts rows side by side.
pub(crate) struct Stack;

impl Collate<Vec<f64>> for Stack {
    type Batch = Tensor<2>;

    fn collate(&self, rows: Vec<Vec<f64>>, _seed: u64, device: &Device) -> Result<Tensor<2>> {
        let width = rows.first().map_or(0, Vec::len);
        Ok(tensor(&rows.concat(), width, device))
    }
}

/// `values` in rows of `width`, as f32.
pub(crate) fn tensor(values: &[f64], width: usize, device: &Device) -> Tensor<2> {
    let floats: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    let rows = floats.len() / width.max(1);
    Tensor::from_data(TensorData::new(floats, [rows, width]), device)
}

/// Trains `network` on normal rows.
///
/// # Errors
/// What the training loop says.
pub fn fit<M: Network>(
    network: M,
    rows: &NormalOnly<Matrix>,
    config: &FitConfig,
    validate: &mut dyn FnMut(&M) -> Result<Metrics>,
    run: &Run,
    context: &RunContext,
) -> Result<Fitted<M>> {
    fit::fit(
        network,
        config,
        &Rows(rows.get()),
        &Stack,
        validate,
        run,
        context,
    )
}

/// A trained network as a detector.
#[derive(Debug)]
pub struct NetworkDetector<M> {
    network: M,
    width: usize,
    device: Device,
}

impl<M: Network> NetworkDetector<M> {
    /// A network in evaluation mode, for rows of `width`, on `device`.
    pub fn new(network: M, width: usize, device: &Device) -> Self {
        Self {
            network,
            width,
            device: device.clone(),
        }
    }

    /// Loads the parameters that [`Detector::save`] wrote into a network of the same shape.
    ///
    /// # Errors
    /// A file that does not fit.
    pub fn load(mut network: M, width: usize, path: &Path, device: &Device) -> Result<Self> {
        weights::load(&mut network, path, &M::KEY_MAP)?;
        Ok(Self::new(network, width, device))
    }

    fn errors(&self, rows: &[f64]) -> Result<Vec<f64>> {
        let x = tensor(rows, self.width, &self.device);
        let errors = host::to_vec(self.network.errors(x, &mut |_, _| {}))?;
        Ok(errors.into_iter().map(f64::from).collect())
    }
}

impl<M: Network + Send> Detector for NetworkDetector<M> {
    fn score(&self, rows: &Matrix) -> Result<Vec<f64>> {
        check_width(rows, self.width)?;
        let mut scores = Vec::with_capacity(rows.len());
        for chunk in rows.values().chunks(CHUNK * self.width) {
            let count = chunk.len() / self.width;
            let errors = self.errors(chunk)?;
            let sums = errors
                .chunks(errors.len() / count)
                .map(|row| row.iter().sum::<f64>());
            scores.extend(sums.map(|sum| if M::RECONSTRUCTS { sum.sqrt() } else { sum }));
        }
        Ok(scores)
    }

    /// Of a reconstruction: the squared error of each number over the score.
    fn contributions(&self, row: &[f64]) -> Result<Option<Vec<f64>>> {
        if !M::RECONSTRUCTS {
            return Ok(None);
        }
        let errors = self.errors(row)?;
        let score = errors.iter().sum::<f64>().sqrt();
        let share = |error: &f64| if score > 0.0 { error / score } else { 0.0 };
        Ok(Some(errors.iter().map(share).collect()))
    }

    fn width(&self) -> usize {
        self.width
    }

    fn arrays(&self) -> Arrays {
        Arrays::default()
    }

    fn num_params(&self) -> usize {
        weights::num_params(&self.network)
    }

    fn save(&self, path: &Path) -> Result<()> {
        weights::save(&self.network, path, &M::KEY_MAP, SaveDtype::F32)
    }
}
