//! What a report shows of an encoder.

use crate::{
    models::bert::{Bert, BertConfig},
    preprocess::{Encoded, encoder_input},
};
use burn::tensor::Tensor;
use panoply_core::{Result, RunContext, report::Observed};

/// Shapes and activation statistics of some samples, stage by stage, down to the logits.
pub(super) fn observe<const D: usize>(
    samples: &[Encoded],
    config: &BertConfig,
    bert: &Bert,
    head: impl Fn(Tensor<3>) -> Tensor<D>,
    context: &RunContext,
) -> Result<Observed> {
    let samples: Vec<&Encoded> = samples.iter().collect();
    let input = encoder_input(&samples, config, &context.device);
    let (mut observed, hidden) = Observed::watch(|visit| bert.walk(&input, visit))?;
    observed.note("logits", head(hidden))?;
    Ok(observed)
}
