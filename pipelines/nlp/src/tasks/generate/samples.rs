//! Blocks of a text as training samples.

use crate::{
    models::{CausalInput, CausalLm, Decoder},
    preprocess::causal_input,
};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};
use panoply_core::{
    Error, Result,
    fit::{Collate, Samples, StepOutput, Targets, Trainable, cross_entropy},
    seed::derive,
};

/// Blocks of `block_size` tokens, each with the token after it, at random places of a text: a sample
/// is drawn with replacement, anew in each epoch.
pub(super) struct Blocks<'a> {
    tokens: &'a [u32],
    block_size: usize,
    per_epoch: usize,
}

impl<'a> Blocks<'a> {
    /// `per_epoch` blocks an epoch.
    ///
    /// # Errors
    /// The text is no longer than a block.
    pub(super) fn new(tokens: &'a [u32], block_size: usize, per_epoch: usize) -> Result<Self> {
        check_length("the training text", tokens, block_size)?;
        Ok(Self {
            tokens,
            block_size,
            per_epoch,
        })
    }

    /// The first blocks of the text, one after the other.
    pub(super) fn first(&self, count: usize) -> Vec<&'a [u32]> {
        self.tokens
            .chunks_exact(self.block_size)
            .take(count)
            .collect()
    }
}

/// Refuses a text that makes no block.
pub(super) fn check_length(what: &str, tokens: &[u32], block_size: usize) -> Result<()> {
    if tokens.len() > block_size {
        return Ok(());
    }
    let found = format!("{what} has {} tokens", tokens.len());
    let expected = format!("more than the {block_size} of a block, or a smaller model.block_size");
    Err(Error::input("training data", found, expected))
}

impl Samples for Blocks<'_> {
    type Sample = Vec<u32>;

    fn len(&self) -> usize {
        self.per_epoch
    }

    fn load(&self, _index: usize, seed: u64) -> Result<Vec<u32>> {
        let places = self.tokens.len() - self.block_size;
        // The high half of the product is uniform below `places`.
        let start = (u128::from(derive(&[seed])) * places as u128) >> 64;
        let start = start as usize;
        Ok(self.tokens[start..=start + self.block_size].to_vec())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_anywhere_and_the_same_seed_gives_the_same() {
        let tokens: Vec<u32> = (0..20).collect();
        let blocks = Blocks::new(&tokens, 4, 7).unwrap();
        assert_eq!(blocks.len(), 7);
        let mut starts = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let block = blocks.load(0, seed).unwrap();
            assert!(block.len() == 5 && block.windows(2).all(|w| w[1] == w[0] + 1));
            assert_eq!(block, blocks.load(3, seed).unwrap());
            starts.insert(block[0]);
        }
        assert_eq!(
            starts.into_iter().collect::<Vec<_>>(),
            (0..16).collect::<Vec<_>>()
        );
        assert!(Blocks::new(&tokens[..4], 4, 7).is_err());
    }
}
