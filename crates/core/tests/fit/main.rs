//! The training loop end to end, on tiny models and made-up data.
//!
//! In a process of its own: the CPU backend has one random generator per process, so training with
//! dropout must not run beside other tests that draw from it. Here [`lock`] serialises them.

mod resume;
mod training;

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::{
        BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Int, Tensor, TensorData, activation::relu},
};
use panoply_core::{
    Error, Result, RunContext,
    fit::{Collate, FitConfig, Fitted, Run, Samples, StepOutput, Targets, Trainable},
    fit::{cross_entropy, fit},
    seed::derive,
};
use std::{
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// Held by every test that trains.
pub(crate) fn lock() -> MutexGuard<'static, ()> {
    static RNG: Mutex<()> = Mutex::new(());
    RNG.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) const SIDE: usize = 6;
pub(crate) const CLASSES: usize = 3;

/// A number in [-1, 1).
pub(crate) fn noise(parts: &[u64]) -> f32 {
    (derive(parts) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// Pictures of 6x6 whose class is where the bright third is; `augment` adds noise from the seed.
/// `fault` may be switched while training: one sample then breaks.
pub(crate) struct Pictures {
    pub(crate) len: usize,
    pub(crate) augment: bool,
    pub(crate) fault: AtomicU32,
}

/// Values of [`Pictures::fault`].
pub(crate) mod fault {
    pub(crate) const NONE: u32 = 0;
    pub(crate) const UNREADABLE: u32 = 1;
    pub(crate) const NAN: u32 = 2;
    pub(crate) const ZERO: u32 = 3;
}

impl Pictures {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            len,
            augment: false,
            fault: AtomicU32::new(fault::NONE),
        }
    }

    pub(crate) fn augmented(len: usize) -> Self {
        Self {
            augment: true,
            ..Self::new(len)
        }
    }

    pub(crate) fn break_with(&self, what: u32) {
        self.fault.store(what, Ordering::SeqCst);
    }
}

impl Samples for Pictures {
    type Sample = (Vec<f32>, i64);

    fn len(&self) -> usize {
        self.len
    }

    fn load(&self, index: usize, seed: u64) -> Result<Self::Sample> {
        let class = index % CLASSES;
        let pixel = |i: usize| {
            let bright = f32::from(u8::from(i * CLASSES / (SIDE * SIDE) == class));
            let augment = if self.augment {
                0.3 * noise(&[seed, i as u64])
            } else {
                0.0
            };
            bright + 0.2 * noise(&[index as u64, i as u64]) + augment
        };
        let mut pixels: Vec<f32> = (0..SIDE * SIDE).map(pixel).collect();
        match (self.fault.load(Ordering::SeqCst), index) {
            (fault::UNREADABLE, 5) => {
                return Err(Error::input("train/5.jpg", "truncated", "a whole JPEG"));
            }
            (fault::NAN, 5) => pixels[0] = f32::NAN,
            (fault::ZERO, 5) => pixels.fill(0.0),
            _ => {}
        }
        Ok((pixels, class as i64))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) pixels: Tensor<4>,
    pub(crate) classes: Tensor<1, Int>,
}

pub(crate) struct Stack;

impl Collate<(Vec<f32>, i64)> for Stack {
    type Batch = Batch;

    fn collate(&self, s: Vec<(Vec<f32>, i64)>, _seed: u64, device: &Device) -> Result<Batch> {
        let n = s.len();
        let classes: Vec<i64> = s.iter().map(|s| s.1).collect();
        let pixels: Vec<f32> = s.into_iter().flat_map(|s| s.0).collect();
        Ok(Batch {
            pixels: Tensor::from_data(TensorData::new(pixels, [n, 1, SIDE, SIDE]), device),
            classes: Tensor::from_data(TensorData::new(classes, [n]), device),
        })
    }
}

pub(crate) fn step_output(logits: Tensor<2>, classes: Tensor<1, Int>) -> StepOutput {
    let num_samples = classes.dims()[0];
    let predicted = logits.clone().inner().argmax(1).reshape([num_samples]);
    let correct = predicted
        .equal(classes.clone().inner())
        .int()
        .sum()
        .into_scalar::<i64>();
    let loss = cross_entropy(logits, Targets::Classes(classes), 0.1);
    StepOutput {
        loss,
        num_samples,
        metrics: vec![("accuracy", correct as f64)],
    }
}

/// Convolution, batch norm, dropout: everything that makes resuming hard.
#[derive(Module, Debug)]
pub(crate) struct Net {
    pub(crate) conv: Conv2d,
    pub(crate) norm: BatchNorm,
    pub(crate) dropout: Dropout,
    pub(crate) head: Linear,
}

impl Net {
    pub(crate) fn new(device: &Device) -> Self {
        Self {
            conv: Conv2dConfig::new([1, 4], [3, 3]).init(device),
            norm: BatchNormConfig::new(4).init(device),
            dropout: DropoutConfig::new(0.3).init(),
            head: LinearConfig::new(4 * 16, CLASSES).init(device),
        }
    }

    pub(crate) fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let x = relu(self.norm.forward(self.conv.forward(pixels)));
        self.head
            .forward(self.dropout.forward(x.flatten::<2>(1, 3)))
    }
}

impl Trainable for Net {
    type Batch = Batch;
    fn loss(&self, batch: Batch) -> StepOutput {
        step_output(self.forward(batch.pixels), batch.classes)
    }
}

/// Two layers, nothing random.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    pub(crate) body: Linear,
    pub(crate) head: Linear,
}

impl Mlp {
    pub(crate) fn new(device: &Device) -> Self {
        Self {
            body: LinearConfig::new(SIDE * SIDE, 8).init(device),
            head: LinearConfig::new(8, CLASSES).init(device),
        }
    }

    pub(crate) fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        self.head
            .forward(self.body.forward(pixels.flatten::<2>(1, 3)).tanh())
    }
}

impl Trainable for Mlp {
    type Batch = Batch;
    fn loss(&self, batch: Batch) -> StepOutput {
        step_output(self.forward(batch.pixels), batch.classes)
    }
}

/// Every float of a module, running statistics included, by path.
pub(crate) fn floats<M: Module>(model: &M) -> Vec<(String, Vec<f32>)> {
    struct Collect(Vec<String>, Vec<(String, Vec<f32>)>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param
                .val()
                .into_data()
                .try_into_vec_as::<f32>()
                .expect("f32");
            self.1.push((self.0.join("."), values));
        }
    }
    let mut collect = Collect(Vec::new(), Vec::new());
    model.visit(&mut collect);
    collect.1
}

/// Largest absolute difference between two models of one structure.
pub(crate) fn distance<M: Module>(a: &M, b: &M) -> f32 {
    let (a, b) = (floats(a), floats(b));
    let pairs = a.iter().zip(&b).flat_map(|((p, x), (q, y))| {
        assert_eq!(p, q);
        x.iter().zip(y)
    });
    pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// Small enough for milliseconds; no decay, so that only gradients move weights.
pub(crate) fn config() -> FitConfig {
    let mut config = FitConfig {
        epochs: 2,
        batch_size: 4,
        seed: 3,
        ..FitConfig::default()
    };
    config.optimizer.lr = 0.01;
    config.optimizer.weight_decay = 0.0;
    config
}

/// Accuracy on the training pictures, in order and without noise.
pub(crate) fn accuracy(model: &Net, data: &Pictures) -> f64 {
    let device = Device::flex();
    let loader = panoply_core::fit::Loader::ordered(data, &Stack, 5);
    let sum = loader.pass(0, 0, &device, |batches| {
        batches.try_fold(0.0, |sum, batch| Ok(sum + model.loss(batch?).metrics[0].1))
    });
    sum.expect("readable") / data.len as f64
}

/// Trains without validation metrics.
pub(crate) fn train<M>(
    model: M,
    config: &FitConfig,
    data: &Pictures,
    dir: &Path,
) -> Result<Fitted<M>>
where
    M: Trainable<Batch = Batch>,
{
    let context = RunContext::cpu();
    fit(
        model,
        config,
        data,
        &Stack,
        &mut |_| Ok(Vec::new()),
        &Run::new(dir),
        &context,
    )
}
