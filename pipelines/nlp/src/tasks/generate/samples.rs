//! Batches of blocks, each with the token after it, and the loss.

use crate::{
    models::{CausalInput, CausalLm, Decoder},
    preprocess::causal_input,
};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};
use panoply_core::{
    Result,
    fit::{Collate, StepOutput, Targets, Trainable, cross_entropy},
};

/// One batch.
pub(super) struct Batch {
    input: CausalInput,
    /// The token after each, `[batch * block_size]`.
    targets: Tensor<1, Int>,
    rows: usize,
}

/// Stacks blocks.
pub(super) struct Stack;

impl Collate<Vec<u32>> for Stack {
    type Batch = Batch;

    fn collate(&self, samples: Vec<Vec<u32>>, _seed: u64, device: &Device) -> Result<Batch> {
        let inputs: Vec<&[u32]> = samples
            .iter()
            .map(|block| &block[..block.len() - 1])
            .collect();
        let targets = samples.iter().flat_map(|block| &block[1..]);
        let targets: Vec<i64> = targets.map(|&id| i64::from(id)).collect();
        let count = targets.len();
        Ok(Batch {
            input: causal_input(&inputs, device),
            targets: Tensor::from_data(TensorData::new(targets, [count]), device),
            rows: samples.len(),
        })
    }
}

/// A decoder with its loss: the mean cross entropy of the next token.
#[derive(Module, Debug)]
pub(super) struct Supervised {
    pub(super) model: CausalLm,
}

impl Trainable for Supervised {
    type Batch = Batch;

    fn loss(&self, batch: Batch) -> StepOutput {
        let logits = self.model.forward(&batch.input, None);
        let loss = cross_entropy(logits.flatten(0, 1), Targets::Classes(batch.targets), 0.0);
        StepOutput {
            loss,
            num_samples: batch.rows,
            metrics: Vec::new(),
        }
    }
}
