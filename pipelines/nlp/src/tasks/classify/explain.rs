//! Why did the classifier answer so? Shares of the tokens.

use super::{DEFAULT, TextClassifier};
use crate::{
    preprocess::{Encoded, encoder_input},
    tasks::token_shares::{Explained, token_shares},
};
use panoply_core::{
    Error, ExplainRequest, Output, Result, RunContext,
    explain::{self, IntegratedGradientsOptions},
    host::to_vec,
};

/// Methods, in the order of `info`.
pub(super) const METHODS: &[&str] = &["integrated-gradients", "attention-rollout"];

pub(super) fn explain(request: &ExplainRequest, context: &RunContext) -> Result<Output> {
    let model = request.model.as_deref().unwrap_or(DEFAULT);
    let classifier = TextClassifier::open(model, context)?;
    let text = request.input.as_text()?;
    let encoded = classifier.encode(&request.input.name, text)?;
    let prediction = classifier.answer(&[&encoded])?.remove(0);
    let num_classes = prediction.logits.len();
    let target = request.target.unwrap_or(prediction.labels[0].index);
    if target >= num_classes {
        let what = format!("class {target} of {num_classes}");
        let expected = format!("0 to {}", num_classes - 1);
        return Err(Error::input("--target", what, expected));
    }
    let (shares, note) = match request.method.as_str() {
        "integrated-gradients" => integrated_gradients(&classifier, &encoded, target)?,
        "attention-rollout" => attention_rollout(&classifier, &encoded)?,
        method => {
            let known = METHODS.iter().copied();
            return Err(Error::unknown("explain method", method, known));
        }
    };
    let explained = Explained {
        stem: request
            .input
            .name
            .replace(|c: char| !c.is_alphanumeric(), "-"),
        method: &request.method,
        text,
        answer: classifier.labels()[target].clone(),
        note,
        tokens: token_shares(&encoded, &classifier.tokenizer, &shares),
    };
    Ok(explained.output())
}

/// The logit's distance from that of a text of padding, shared out among the vectors that the first
/// layer reads; a token's share is the sum over its vector. As captum's `LayerIntegratedGradients`
/// of the embeddings.
pub(super) fn integrated_gradients(
    classifier: &TextClassifier,
    encoded: &Encoded,
    target: usize,
) -> Result<(Vec<f32>, String)> {
    let (model, config) = (&classifier.model, &classifier.config);
    let ids = encoded.ids.iter().zip(&encoded.texts);
    let padding = config.pad_token_id as u32;
    let nothing = Encoded {
        ids: ids
            .map(|(&id, text)| if text.is_some() { padding } else { id })
            .collect(),
        ..encoded.clone()
    };
    let embed = |encoded: &Encoded| {
        let input = encoder_input(&[encoded], config, classifier.device());
        model.bert.embed(&input) // [1, T, C]
    };
    let forward = |x| model.head(model.bert.encode(x, None, &mut |_, _| ()));
    let found = explain::integrated_gradients(
        forward,
        embed(encoded),
        embed(&nothing),
        target,
        &IntegratedGradientsOptions::default(),
    )?;
    let note = format!(
        "The logit is {:.3}, that of a text of padding {:.3}; the shares add up to the difference but for {:.1e}.",
        found.output, found.baseline_output, found.delta
    );
    Ok((to_vec(found.values.sum_dim(2))?, note))
}

/// How much the first token, which the classifier reads, draws on each token.
pub(super) fn attention_rollout(
    classifier: &TextClassifier,
    encoded: &Encoded,
) -> Result<(Vec<f32>, String)> {
    let input = encoder_input(&[encoded], &classifier.config, classifier.device());
    let layers = classifier.model.bert.attentions(&input);
    let flow = explain::attention_rollout(&layers)?;
    let note = "How much the vector that the classifier reads draws on each token, whatever the class; adds up to 1.";
    Ok((to_vec(flow.narrow(1, 0, 1))?, note.into()))
}
