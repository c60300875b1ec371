//! Beam search, as `GenerationMixin._beam_search` of transformers does it.
//!
//! Scores are log-probabilities after the processors (which see log-probabilities here, not
//! logits), summed. A sequence is finished when a token or text ends it; its score is then divided
//! by its length, without the prompt, to the power of `length_penalty`.

use super::{
    decode::{Chosen, Finish, check},
    growing::Growing,
    logits::{log_softmax, process},
    sequences::Sequences,
    settings::{Decoding, EarlyStopping},
};
use panoply_core::{Result, progress::Interrupt};

/// A sequence under consideration.
#[derive(Clone)]
struct Beam {
    tokens: Vec<u32>,
    log_probs: Vec<f32>,
    score: f32,
}

/// A beam with one token more.
struct Candidate {
    /// The beam that it continues.
    from: usize,
    beam: Beam,
    finish: Option<Finish>,
}

/// The best answer to `prompt`, with which the one row of `sequences` begins. `text` watches for stop
/// strings.
pub(super) fn search(
    sequences: &mut Sequences<'_>,
    prompt: &[u32],
    decoding: &Decoding,
    text: &mut Growing<'_>,
    interrupt: &Interrupt,
) -> Result<Chosen> {
    let num_beams = decoding.num_beams;
    let mut running = vec![Beam {
        tokens: Vec::new(),
        log_probs: Vec::new(),
        score: 0.0,
    }];
    let mut finished: Vec<(Beam, Finish)> = Vec::new();
    loop {
        check(interrupt)?;
        let logits = sequences.next()?;
        let mut candidates = best(&running, logits, prompt, decoding);
        for candidate in &mut candidates {
            candidate.finish = ended(&candidate.beam, decoding, text)?;
        }
        let full = finished.len() == num_beams && decoding.early_stopping == EarlyStopping::Yes;
        if !full {
            // Only the best `num_beams` may finish; the others are there to go on with.
            let ready = candidates.iter().take(num_beams);
            let ready = ready.filter_map(|c| Some((penalised(&c.beam, decoding), c.finish?)));
            finished.extend(ready);
            finished.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
            finished.truncate(num_beams);
        }
        let open = candidates.into_iter().filter(|c| c.finish.is_none());
        let open: Vec<Candidate> = open.take(num_beams).collect();
        if open.is_empty() || settled(&open[0].beam, &finished, decoding) {
            break;
        }
        let rows: Vec<usize> = open.iter().map(|c| c.from).collect();
        running = open.into_iter().map(|c| c.beam).collect();
        sequences.select(&rows);
        let last = running
            .iter()
            .filter_map(|beam| beam.tokens.last().copied());
        sequences.push(&last.collect::<Vec<_>>());
    }
    let (beam, finish) = finished.swap_remove(0);
    Ok(Chosen {
        tokens: beam.tokens,
        log_probs: beam.log_probs,
        finish,
        score: Some(beam.score),
    })
}

/// The best continuations of all beams: enough that `num_beams` remain if the best ones all end.
fn best(
    running: &[Beam],
    logits: Vec<Vec<f32>>,
    prompt: &[u32],
    decoding: &Decoding,
) -> Vec<Candidate> {
    let keep = (1 + decoding.eos_token_ids.len()).max(2) * decoding.num_beams;
    let log_probs: Vec<Vec<f32>> = logits.iter().map(|row| log_softmax(row)).collect();
    let mut scored = Vec::new();
    for (from, (beam, row)) in running.iter().zip(&log_probs).enumerate() {
        let mut scores = row.clone();
        process(&mut scores, &[prompt, &beam.tokens].concat(), decoding);
        let scores = scores.into_iter().enumerate();
        scored.extend(scores.map(|(token, score)| (beam.score + score, from, token)));
    }
    let order = |a: &(f32, usize, usize), b: &(f32, usize, usize)| {
        b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)))
    };
    if scored.len() > keep {
        scored.select_nth_unstable_by(keep - 1, order);
        scored.truncate(keep);
    }
    scored.sort_by(order);
    let candidate = |(score, from, token): (f32, usize, usize)| {
        let mut beam = running[from].clone();
        beam.tokens.push(token as u32);
        beam.log_probs.push(log_probs[from][token]);
        beam.score = score;
        Candidate {
            from,
            beam,
            finish: None,
        }
    };
    scored.into_iter().map(candidate).collect()
}

fn ended(beam: &Beam, decoding: &Decoding, text: &mut Growing<'_>) -> Result<Option<Finish>> {
    let last = beam.tokens.last();
    Ok(
        if last.is_some_and(|id| decoding.eos_token_ids.contains(id)) {
            Some(Finish::Eos)
        } else if text.update(&beam.tokens)? {
            Some(Finish::Stop)
        } else {
            (beam.tokens.len() >= decoding.max_new_tokens).then_some(Finish::Length)
        },
    )
}

/// A score over a length to the power of the penalty.
fn over_length(score: f32, length: usize, decoding: &Decoding) -> f32 {
    score / (length as f64).powf(decoding.length_penalty) as f32
}

fn penalised(beam: &Beam, decoding: &Decoding) -> Beam {
    let score = over_length(beam.score, beam.tokens.len(), decoding);
    Beam {
        score,
        ..beam.clone()
    }
}

/// Whether the finished beams are final.
fn settled(best_running: &Beam, finished: &[(Beam, Finish)], decoding: &Decoding) -> bool {
    let worst = match finished.last() {
        Some((worst, _)) if finished.len() == decoding.num_beams => worst.score,
        _ => return false,
    };
    let length = match decoding.early_stopping {
        EarlyStopping::Yes => return true,
        EarlyStopping::Never if decoding.length_penalty > 0.0 => decoding.max_new_tokens,
        _ => best_running.tokens.len(),
    };
    over_length(best_running.score, length, decoding) <= worst
}
