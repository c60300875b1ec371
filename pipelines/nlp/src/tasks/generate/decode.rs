//! Greedy decoding and drawing, for several prompts at a time.

use super::{
    growing::Growing,
    logits::{argmax, draw, log_softmax, process, warp},
    sequences::Sequences,
    settings::Decoding,
};
use panoply_core::{Error, Result, progress::Interrupt};
use serde::Serialize;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// By a token that ends texts; it is the last of the answer's tokens.
    Eos,
    /// By a stop string.
    Stop,
    /// By `max_new_tokens`.
    Length,
}

/// The tokens chosen after one prompt.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) tokens: Vec<u32>,
    /// Log-probability that the model gives each token, before any processor.
    pub(super) log_probs: Vec<f32>,
    pub(super) finish: Finish,
    /// Of beam search: the sum of the processed log-probabilities over the penalised length.
    pub(super) score: Option<f32>,
}

/// Ends the work if somebody asked to.
pub(super) fn check(interrupt: &Interrupt) -> Result<()> {
    if interrupt.is_raised() {
        return Err(Error::Interrupted {
            resume: "run again with the prompts that are left".into(),
        });
    }
    Ok(())
}

/// An answer for each of `prompts`, with which `sequences` begin. A row that is finished leaves the
/// batch.
pub(super) fn decode(
    sequences: &mut Sequences<'_>,
    prompts: &[&[u32]],
    decoding: &Decoding,
    texts: &mut [Growing<'_>],
    interrupt: &Interrupt,
) -> Result<Vec<Chosen>> {
    let new = |_: &&[u32]| Chosen {
        tokens: Vec::new(),
        log_probs: Vec::new(),
        finish: Finish::Length,
        score: None,
    };
    let mut answers: Vec<Chosen> = prompts.iter().map(new).collect();
    let mut active: Vec<usize> = (0..prompts.len()).collect();
    while !active.is_empty() {
        check(interrupt)?;
        let (mut slots, mut tokens) = (Vec::new(), Vec::new());
        for (slot, logits) in sequences.next()?.into_iter().enumerate() {
            let row = active[slot];
            let answer = &mut answers[row];
            let token = choose(logits, prompts[row], answer, decoding);
            if let Some(finish) = ended(answer, decoding, &mut texts[row])? {
                answer.finish = finish;
            } else {
                slots.push(slot);
                tokens.push(token);
            }
        }
        active = slots.iter().map(|&slot| active[slot]).collect();
        if !active.is_empty() {
            sequences.select(&slots);
            sequences.push(&tokens);
        }
    }
    Ok(answers)
}

/// Appends the next token to an answer.
fn choose(mut scores: Vec<f32>, prompt: &[u32], answer: &mut Chosen, decoding: &Decoding) -> u32 {
    let log_probs = log_softmax(&scores);
    process(&mut scores, &[prompt, &answer.tokens].concat(), decoding);
    let token = if decoding.do_sample {
        warp(&mut scores, decoding);
        draw(&scores, decoding.seed, answer.tokens.len())
    } else {
        argmax(&scores)
    };
    answer.tokens.push(token as u32);
    answer.log_probs.push(log_probs[token]);
    token as u32
}

fn ended(answer: &Chosen, decoding: &Decoding, text: &mut Growing<'_>) -> Result<Option<Finish>> {
    let last = answer.tokens.last();
    Ok(
        if last.is_some_and(|id| decoding.eos_token_ids.contains(id)) {
            Some(Finish::Eos)
        } else if text.update(&answer.tokens)? {
            Some(Finish::Stop)
        } else {
            (answer.tokens.len() >= decoding.max_new_tokens).then_some(Finish::Length)
        },
    )
}
