//! A GRU that forecasts the next row of a series from a window before it; what it did not foresee is unlike what it was
//! trained on (Malhotra et al. 2015, "Long Short Term Memory Networks for Anomaly Detection in Time Series", with the
//! gates of Cho et al. 2014).
//!
//! Twin: `torch.nn.GRU(num_columns, hidden_size, num_layers, batch_first=True)`, and a `torch.nn.Linear` from its last hidden
//! state to the next row. Rows are standardised by the training part.

use super::{
    network::{Network, tensor},
    stream::RowStream,
};
use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor},
};
use panoply_core::{
    Error, Result,
    fit::{StepOutput, Trainable},
    host,
    nn::{Activation, LinearInit, Rnn, RnnConfig, RnnKind, linear, ops},
    weights::KeyMap,
};
use panoply_datasets::{TimeSeries, frame::Matrix};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Windows that are forecast from together.
const CHUNK: usize = 256;

/// Settings of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForecasterConfig {
    /// Rows that a forecast looks back on.
    pub window: usize,
    /// Features of the hidden state.
    pub hidden_size: usize,
    /// Layers of the GRU.
    pub num_layers: usize,
}

impl Default for ForecasterConfig {
    fn default() -> Self {
        Self {
            window: 48,
            hidden_size: 32,
            num_layers: 1,
        }
    }
}

/// The network. Should be created with [`ForecasterConfig`].
#[derive(Module, Debug)]
pub struct Forecaster {
    /// Reads the window.
    pub rnn: Rnn,
    /// From the last hidden state to the next row.
    pub head: Linear,
    #[module(skip)]
    window: usize,
}

impl ForecasterConfig {
    /// A new network for rows of `num_columns`.
    ///
    /// # Errors
    /// A size of 0.
    pub fn init(&self, num_columns: usize, device: &Device) -> Result<Forecaster> {
        if [self.window, self.hidden_size, self.num_layers, num_columns].contains(&0) {
            let expected = "sizes of at least 1";
            return Err(Error::input("forecaster", format!("{self:?}"), expected));
        }
        let rnn = RnnConfig::new(RnnKind::Gru, num_columns, self.hidden_size)
            .with_num_layers(self.num_layers)
            .init(device);
        let features = [self.hidden_size, num_columns];
        Ok(Forecaster {
            rnn,
            head: linear(features, true, LinearInit::FanIn, device),
            window: self.window,
        })
    }
}

impl Forecaster {
    /// The next row after each window.
    ///
    /// # Shapes
    /// - `x`: `[windows, window, columns]`
    /// - output: `[windows, columns]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        self.walk(x, &mut |_, _| {})
    }

    fn walk(&self, x: Tensor<3>, see: &mut dyn FnMut(&str, &Tensor<2>)) -> Tensor<2> {
        let [windows, window, _] = x.dims();
        let lengths = vec![window; windows];
        let hidden = self
            .rnn
            .last_hidden(self.rnn.forward(x, &lengths), &lengths);
        see("last hidden state", &hidden);
        let forecast = ops::linear_act(hidden, &self.head, Activation::Identity);
        see("forecast", &forecast);
        forecast
    }

    /// Windows with the row after each, as they lie in a training sample.
    ///
    /// # Shapes
    /// - `x`: `[windows, (window + 1) * columns]`
    /// - output: `[windows, window, columns]` and `[windows, columns]`
    fn split(&self, x: Tensor<2>) -> (Tensor<3>, Tensor<2>) {
        let [windows, width] = x.dims();
        let columns = width / (self.window + 1);
        let past = x.clone().narrow(1, 0, self.window * columns);
        let next = x.narrow(1, self.window * columns, columns);
        (past.reshape([windows, self.window, columns]), next)
    }
}

impl Trainable for Forecaster {
    type Batch = Tensor<2>;

    fn loss(&self, batch: Tensor<2>) -> StepOutput {
        let num_samples = batch.dims()[0];
        let (past, next) = self.split(batch);
        StepOutput {
            loss: (self.forward(past) - next).powi_scalar(2).mean(),
            num_samples,
            metrics: Vec::new(),
        }
    }
}

impl Network for Forecaster {
    const LOSS: (&'static str, &'static str) = (
        "mean squared error",
        "mean over windows and columns of (next row - forecast)^2",
    );
    const KEY_MAP: KeyMap = KeyMap {
        renames: &[
            ("rnn.weight_ih_l{}", "rnn.layers.{}.forward.weight_ih"),
            ("rnn.weight_hh_l{}", "rnn.layers.{}.forward.weight_hh"),
            ("rnn.bias_ih_l{}", "rnn.layers.{}.forward.bias_ih"),
            ("rnn.bias_hh_l{}", "rnn.layers.{}.forward.bias_hh"),
        ],
        ..KeyMap::IDENTITY
    };
    const RECONSTRUCTS: bool = true;

    fn errors(&self, x: Tensor<2>, see: &mut dyn FnMut(&str, &Tensor<2>)) -> Tensor<2> {
        let (past, next) = self.split(x);
        (self.walk(past, see) - next).powi_scalar(2)
    }
}

/// Mean and deviation of each column, of the training part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standard {
    /// One a column.
    pub mean: Vec<f64>,
    /// One a column; 1 for a column that never changes.
    pub deviation: Vec<f64>,
}

impl Standard {
    /// Measures the rows of `series` that are there and not labelled anomalous.
    ///
    /// # Errors
    /// A column without such a row.
    pub fn fit(series: &TimeSeries) -> Result<Self> {
        let is_normal = |at: usize| series.labels().is_none_or(|labels| !labels[at]);
        let mut standard = Self::default();
        for (name, values) in series.columns() {
            let present = values.iter().enumerate();
            let present: Vec<f64> = present
                .filter(|&(at, value)| !value.is_nan() && is_normal(at))
                .map(|(_, &value)| value)
                .collect();
            if present.is_empty() {
                let what = format!("column '{name}' has no normal value");
                return Err(Error::input(series.location(), what, "some to learn from"));
            }
            let n = present.len() as f64;
            let mean = present.iter().sum::<f64>() / n;
            let squares = present.iter().map(|value| (value - mean).powi(2));
            let deviation = (squares.sum::<f64>() / n).sqrt();
            standard.mean.push(mean);
            standard
                .deviation
                .push(if deviation > 0.0 { deviation } else { 1.0 });
        }
        Ok(standard)
    }

    /// A row in deviations from the mean, within a million of them: f32 squares them.
    pub fn apply(&self, row: &[f64]) -> Vec<f64> {
        let scale = self.mean.iter().zip(&self.deviation);
        row.iter()
            .zip(scale)
            .map(|(value, (mean, deviation))| ((value - mean) / deviation).clamp(-1e6, 1e6))
            .collect()
    }
}

/// Windows of normal rows with the row after each, standardised, one a row: what a forecaster is trained on. None
/// crosses a gap or a missing value.
///
/// # Errors
/// No such window.
pub fn training_windows(series: &TimeSeries, window: usize, standard: &Standard) -> Result<Matrix> {
    let is_normal = |range: &std::ops::Range<usize>| {
        let labels = series.labels();
        labels.is_none_or(|labels| !labels[range.clone()].contains(&true))
    };
    let ranges = series.windows(window + 1, 1);
    let normal = ranges.into_iter().filter(is_normal);
    let rows: Vec<Vec<f64>> = normal
        .map(|range| {
            range
                .flat_map(|at| standard.apply(&series.row(at)))
                .collect()
        })
        .collect();
    if rows.is_empty() {
        let what = format!("no {} normal rows without a gap", window + 1);
        let expected = "a longer series, or a shorter window";
        return Err(Error::input(series.location(), what, expected));
    }
    Matrix::from_rows(&rows)
}

/// Forecasts row by row: the score of a column is the absolute error in deviations; 0 until a window is full.
pub struct ForecastStream {
    network: Forecaster,
    standard: Standard,
    device: Device,
    history: VecDeque<Vec<f64>>,
}

impl ForecastStream {
    /// A network in evaluation mode, without history.
    pub fn new(network: Forecaster, standard: Standard, device: &Device) -> Self {
        Self {
            network,
            standard,
            device: device.clone(),
            history: VecDeque::new(),
        }
    }
}

impl RowStream for ForecastStream {
    fn num_columns(&self) -> usize {
        self.standard.mean.len()
    }

    fn push(&mut self, rows: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        let (window, columns) = (self.network.window, self.num_columns());
        let mut scores = vec![vec![0.0; columns]; rows.len()];
        for (chunk, scores) in rows.chunks(CHUNK).zip(scores.chunks_mut(CHUNK)) {
            let mut samples = Vec::new();
            let mut scored = Vec::new();
            for (at, row) in chunk.iter().enumerate() {
                self.history.push_back(self.standard.apply(row));
                if self.history.len() > window + 1 {
                    self.history.pop_front();
                }
                if self.history.len() == window + 1 {
                    samples.extend(self.history.iter().flatten().copied());
                    scored.push(at);
                }
            }
            if scored.is_empty() {
                continue;
            }
            let x = tensor(&samples, (window + 1) * columns, &self.device);
            let errors = host::to_vec(self.network.errors(x, &mut |_, _| {}))?;
            for (at, errors) in scored.into_iter().zip(errors.chunks(columns)) {
                scores[at] = errors
                    .iter()
                    .map(|&error| f64::from(error).sqrt())
                    .collect();
            }
        }
        Ok(scores)
    }

    fn reset(&mut self) {
        self.history.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panoply_datasets::series::SeriesOptions;

    #[test]
    fn windows_leave_out_anomalies_and_gaps() {
        let text = "t,v,label\n0,1,0\n1,2,0\n2,3,0\n3,4,0\n9,5,0\n10,6,1\n11,7,0\n12,8,0\n13,9,0\n";
        let options = SeriesOptions::default();
        let series = TimeSeries::from_csv("s", text.as_bytes(), &options).unwrap();
        let standard = Standard {
            mean: vec![0.0],
            deviation: vec![1.0],
        };
        let windows = training_windows(&series, 2, &standard).unwrap();
        let expected = [[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [7.0, 8.0, 9.0]];
        assert_eq!(windows.values(), expected.concat());
        assert!(training_windows(&series, 4, &standard).is_err());
        // 1 to 5 and 7 to 9, without the anomaly.
        assert_eq!(Standard::fit(&series).unwrap().mean, [39.0 / 8.0]);
    }

    #[test]
    fn a_stream_scores_as_soon_as_its_window_is_full_and_alike_in_pieces() {
        let device = Device::flex();
        let config = ForecasterConfig {
            window: 3,
            hidden_size: 4,
            num_layers: 2,
        };
        let network = config.init(2, &device).unwrap();
        let standard = Standard {
            mean: vec![1.0, 0.0],
            deviation: vec![2.0, 1.0],
        };
        let rows: Vec<Vec<f64>> = (0..9)
            .map(|i| vec![f64::from(i).sin(), f64::from(i)])
            .collect();
        let stream = || ForecastStream::new(network.clone(), standard.clone(), &device);
        let whole = stream().push(&rows).unwrap();
        let mut piecewise = stream();
        for (row, whole) in rows.iter().zip(&whole) {
            let one = piecewise.push(std::slice::from_ref(row)).unwrap();
            for (a, b) in one[0].iter().zip(whole) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
        assert!(whole[..3].iter().all(|scores| scores == &[0.0, 0.0]));
        assert!(whole[3..].iter().all(|scores| scores[1] > 0.0));
        piecewise.reset();
        assert_eq!(piecewise.push(&rows[..1]).unwrap(), [[0.0, 0.0]]);
        assert!(
            ForecasterConfig {
                window: 0,
                ..config
            }
            .init(2, &device)
            .is_err()
        );
    }
}
