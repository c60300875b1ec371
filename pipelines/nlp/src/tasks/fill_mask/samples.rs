//! Blocks of a text with hidden tokens, batches of them, and the loss.

use crate::{
    models::bert::{BertForMaskedLm, EncoderInput},
    preprocess::TextTokenizer,
    tasks::blocks::Blocks,
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

/// How tokens are hidden: each is chosen with `probability`; of the chosen ones 80 % become the mask,
/// 10 % a token drawn from the whole vocabulary, 10 % stay (Devlin et al., 2019). At least one is
/// chosen.
#[derive(Clone, Debug)]
pub(super) struct Masking {
    probability: f64,
    mask: u32,
    vocab_size: usize,
    /// Special tokens in front of a block and behind it.
    around: (Vec<u32>, Vec<u32>),
}

impl Masking {
    pub(super) fn new(tokenizer: &TextTokenizer, probability: f64) -> Result<Self> {
        if !(probability > 0.0 && probability <= 1.0) {
            let (location, what) = ("data.mask_probability", probability.to_string());
            return Err(Error::input(location, what, "above 0 and at most 1"));
        }
        let mask = tokenizer.mask().ok_or_else(|| {
            Error::input("tokenizer", "without a mask", "one with [MASK] or <mask>")
        })?;
        // What the tokenizer puts around any text.
        let one = tokenizer.encode_quietly("tokenizer", "a")?;
        let first = one.texts.iter().position(Option::is_some).unwrap_or(0);
        let last = one.texts.iter().rposition(Option::is_some).unwrap_or(0);
        Ok(Self {
            probability,
            mask: mask.1,
            vocab_size: tokenizer.vocab_size(),
            around: (one.ids[..first].into(), one.ids[last + 1..].into()),
        })
    }

    /// Special tokens around a block.
    pub(super) fn num_special(&self) -> usize {
        self.around.0.len() + self.around.1.len()
    }

    /// A block with special tokens around it and some of its own hidden.
    pub(super) fn hide(&self, block: &[u32], seed: u64) -> Masked {
        let uniform = |stream: u64, at: usize| {
            (derive(&[seed, stream, at as u64]) >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut chosen: Vec<usize> = (0..block.len())
            .filter(|&at| uniform(1, at) < self.probability)
            .collect();
        if chosen.is_empty() {
            chosen.push((uniform(2, 0) * block.len() as f64) as usize);
        }
        let offset = self.around.0.len();
        let mut ids = [&self.around.0[..], block, &self.around.1].concat();
        for &at in &chosen {
            ids[offset + at] = match uniform(3, at) {
                x if x < 0.8 => self.mask,
                x if x < 0.9 => (uniform(4, at) * self.vocab_size as f64) as u32,
                _ => block[at],
            };
        }
        Masked {
            targets: chosen.iter().map(|&at| (offset + at, block[at])).collect(),
            ids,
        }
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Masked {
    pub(super) ids: Vec<u32>,
    /// Places of the chosen tokens, and what stood there.
    pub(super) targets: Vec<(usize, u32)>,
}

/// Random blocks, hidden anew each time.
pub(super) struct MaskedBlocks<'a> {
    pub(super) blocks: Blocks<'a>,
    pub(super) masking: &'a Masking,
}

impl Samples for MaskedBlocks<'_> {
    type Sample = Masked;

    fn len(&self) -> usize {
        self.blocks.len()
    }

    fn load(&self, index: usize, seed: u64) -> Result<Masked> {
        let block = self.blocks.load(index, seed)?;
        Ok(self.masking.hide(&block, seed))
    }
}

/// One batch.
pub(super) struct Batch {
    pub(super) input: EncoderInput,
    /// Places of the chosen tokens in the flattened batch, `[chosen]`.
    places: Tensor<1, Int>,
    /// What stood there, `[chosen]`.
    targets: Tensor<1, Int>,
    rows: usize,
    num_targets: usize,
}

impl Batch {
    /// Samples of one length.
    pub(super) fn of(samples: &[Masked], device: &Device) -> Self {
        let length = samples.first().map_or(0, |sample| sample.ids.len());
        let ids = samples.iter().flat_map(|s| &s.ids).map(|&id| i64::from(id));
        let ids = TensorData::new(ids.collect(), [samples.len(), length]);
        let chosen = samples.iter().enumerate().flat_map(|(row, sample)| {
            let place = move |&(at, id): &(usize, u32)| ((row * length + at) as i64, i64::from(id));
            sample.targets.iter().map(place)
        });
        let (places, targets): (Vec<i64>, Vec<i64>) = chosen.unzip();
        let count = places.len();
        let ints = |values| Tensor::<1, Int>::from_data(TensorData::new(values, [count]), device);
        Self {
            input: EncoderInput::new(Tensor::<2, Int>::from_data(ids, device)),
            places: ints(places),
            targets: ints(targets),
            rows: samples.len(),
            num_targets: count,
        }
    }
}

/// Stacks blocks, all of one length.
pub(super) struct Stack;

impl Collate<Masked> for Stack {
    type Batch = Batch;

    fn collate(&self, samples: Vec<Masked>, _seed: u64, device: &Device) -> Result<Batch> {
        Ok(Batch::of(&samples, device))
    }
}

/// An encoder with its loss: the mean cross entropy of the chosen tokens.
#[derive(Module, Debug)]
pub(super) struct Supervised {
    pub(super) network: BertForMaskedLm,
}

impl Supervised {
    /// Logits of the chosen tokens, `[chosen, vocab_size]`.
    fn logits(&self, batch: &Batch) -> Tensor<2> {
        let hidden = self.network.bert.forward(&batch.input).flatten(0, 1);
        self.network.head(hidden.select(0, batch.places.clone()))
    }

    /// Loss and number of right guesses of a batch, and its number of chosen tokens.
    pub(super) fn score(&self, batch: Batch) -> (Tensor<1>, Tensor<1, Int>, usize) {
        let logits = self.logits(&batch);
        let guesses = logits.clone().argmax(1).flatten::<1>(0, 1);
        let right = guesses.equal(batch.targets.clone()).int().sum();
        let loss = cross_entropy(logits, Targets::Classes(batch.targets), 0.0);
        (loss, right, batch.num_targets)
    }
}

impl Trainable for Supervised {
    type Batch = Batch;

    fn loss(&self, batch: Batch) -> StepOutput {
        let logits = self.logits(&batch);
        StepOutput {
            loss: cross_entropy(logits, Targets::Classes(batch.targets), 0.0),
            num_samples: batch.rows,
            metrics: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_hidden_as_the_paper_says() {
        let masking = Masking {
            probability: 0.15,
            mask: 4,
            vocab_size: 1000,
            around: (vec![1], vec![2]),
        };
        let block = vec![7u32; 200];
        let (mut chosen, mut masked, mut kept) = (0, 0, 0);
        let runs = 200;
        for seed in 0..runs {
            let sample = masking.hide(&block, seed);
            assert_eq!(sample, masking.hide(&block, seed));
            assert_eq!((sample.ids[0], sample.ids[201]), (1, 2));
            let places: Vec<usize> = sample.targets.iter().map(|t| t.0).collect();
            for (at, &id) in sample.ids.iter().enumerate().take(201).skip(1) {
                assert!(id == 7 || places.contains(&at));
            }
            assert!(
                sample
                    .targets
                    .iter()
                    .all(|&(at, id)| id == 7 && (1..=200).contains(&at))
            );
            chosen += places.len();
            masked += places.iter().filter(|&&at| sample.ids[at] == 4).count();
            kept += places.iter().filter(|&&at| sample.ids[at] == 7).count();
        }
        // Four standard deviations.
        let near = |count: usize, of: f64, p: f64| {
            (count as f64 - of * p).abs() < 4.0 * (of * p * (1.0 - p)).sqrt()
        };
        assert!(near(chosen, runs as f64 * 200.0, 0.15), "{chosen}");
        assert!(near(masked, chosen as f64, 0.8), "{masked} of {chosen}");
        assert!(near(kept, chosen as f64, 0.1), "{kept} of {chosen}");
        // Never none.
        let rare = Masking {
            probability: 1e-9,
            ..masking
        };
        assert!((0..50).all(|seed| rare.hide(&block[..3], seed).targets.len() == 1));
    }
}
