//! How well a model predicts a text: `eval nlp generate`.
//!
//! **Definition.** A document's tokens are read in windows of the model's longest sequence, `stride` tokens from one
//! to the next. In each window the tokens are predicted that no window before it has predicted; the
//! others are only context. So every token but a document's first is predicted once, with at least
//! `max_length - stride` tokens in front of it where the document has them. With `nll` the sum of
//! `-ln p(token)` over the predicted tokens of all documents,
//! - `cross_entropy` is `nll / tokens` (nats), `perplexity` is `exp` of it;
//! - `word_perplexity` is `exp(nll / words)`, words being separated by white space, and
//!   `byte_perplexity` is `exp(nll / bytes)` of the UTF-8: they compare models of different vocabularies;
//! - `bits_per_byte` and `bits_per_char` are `nll / ln 2` over bytes and characters.
//!
//! transformers' published recipe of a sliding window has the same windows and the same sum over a window; its
//! last step weighs a window's mean by one token less than were predicted, which changes the fourth digit.

use super::Generator;
use crate::{
    models::{CausalLm, Decoder},
    preprocess::causal_input,
};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};
use panoply_core::{Error, Evaluation, Result, host, progress::Progress};
use panoply_datasets::Corpus;
use panoply_metrics::{MetricError, Perplexity};
use serde_json::json;
use std::path::Path;

/// Tokens whose logits are held at a time: a vocabulary of 100,000 needs 50 MB for them.
const AT_ONCE: usize = 128;

/// What was found over some texts.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextScore {
    /// Negative log-likelihood and the number of predicted tokens.
    pub tokens: Perplexity,
    /// Words of the texts, separated by white space.
    pub num_words: u64,
    /// Characters of the texts.
    pub num_chars: u64,
    /// Bytes of the texts in UTF-8.
    pub num_bytes: u64,
}

impl TextScore {
    /// Names and values, in the order in which they are shown.
    ///
    /// # Errors
    /// No token was predicted.
    pub fn metrics(&self) -> Result<Vec<(String, f64)>> {
        let over = |units: u64| {
            let nll = self.tokens.cross_entropy()? * self.tokens.num_tokens() as f64;
            Ok::<f64, MetricError>((nll / units as f64).exp())
        };
        let values = || {
            Ok::<_, MetricError>([
                ("perplexity", self.tokens.value()?),
                ("word_perplexity", over(self.num_words.max(1))?),
                ("byte_perplexity", over(self.num_bytes)?),
                ("bits_per_byte", self.tokens.bits_per_byte(self.num_bytes)?),
                ("bits_per_char", self.tokens.bits_per_char(self.num_chars)?),
                ("cross_entropy", self.tokens.cross_entropy()?),
            ])
        };
        let values = values().map_err(|e| {
            let expected = "documents of at least two tokens";
            Error::input("evaluation", e.to_string(), expected)
        })?;
        Ok(values.map(|(name, value)| (name.to_string(), value)).into())
    }
}

/// Windows over `len` tokens: first token, one past the last, and how many of the last are predicted.
fn windows(len: usize, max_length: usize, stride: usize) -> Vec<(usize, usize, usize)> {
    let mut found = Vec::new();
    let mut done = 1; // Nothing stands in front of the first token.
    let mut begin = 0;
    while done < len {
        let end = (begin + max_length).min(len);
        // With windows side by side, a window's first token has nothing in front of it either.
        let predicted = (end - done).min(end - begin - 1);
        if predicted > 0 {
            found.push((begin, end, predicted));
        }
        done = end;
        begin += stride;
    }
    found
}

/// Sum of `-ln p` of the last `predicted` tokens of each row; all rows have the same length, at least
/// one above `predicted`.
pub(super) fn nll(
    model: &CausalLm,
    rows: &[&[u32]],
    predicted: usize,
    device: &Device,
) -> Result<f64> {
    let inputs: Vec<&[u32]> = rows.iter().map(|row| &row[..row.len() - 1]).collect();
    let hidden = model.walk(&causal_input(&inputs, device), None, &mut |_, _| ());
    let [batch, len, features] = hidden.dims();
    let hidden = hidden.narrow(1, len - predicted, predicted);
    let hidden = hidden.reshape([batch * predicted, features]);
    let targets = rows.iter().flat_map(|row| &row[row.len() - predicted..]);
    let targets: Vec<i64> = targets.map(|&id| i64::from(id)).collect();
    let mut sum = 0.0;
    for (index, chunk) in targets.chunks(AT_ONCE).enumerate() {
        let part = hidden.clone().narrow(0, index * AT_ONCE, chunk.len());
        let chunk = TensorData::new(chunk.to_vec(), [chunk.len(), 1]);
        let chunk = Tensor::<2, Int>::from_data(chunk, device);
        let log_probs = log_softmax(model.head(part), 1).gather(1, chunk);
        sum -= host::to_vec(log_probs)?
            .into_iter()
            .map(f64::from)
            .sum::<f64>();
    }
    Ok(sum)
}

/// Scores a document: windows of the model's longest sequence, `stride` tokens from one to the next,
/// `batch` windows of a forward pass.
///
/// # Errors
/// An empty text, or a stride that is 0 or longer than a window.
pub fn score_text(
    generator: &Generator,
    name: &str,
    text: &str,
    stride: Option<usize>,
    batch: usize,
) -> Result<TextScore> {
    let max_length = generator.config.max_length();
    let stride = stride.unwrap_or((max_length / 2).max(1));
    if !(1..=max_length).contains(&stride) {
        let expected = format!("from 1 to the model's {max_length} tokens");
        return Err(Error::input("setting stride", stride.to_string(), expected));
    }
    let ids = generator.tokenizer.encode_whole(name, text)?;
    let windows = windows(ids.len(), max_length, stride);
    let mut score = TextScore {
        tokens: Perplexity::new(),
        num_words: text.split_whitespace().count() as u64,
        num_chars: text.chars().count() as u64,
        num_bytes: text.len() as u64,
    };
    let mut progress = Progress::new("eval", windows.len() as u64);
    let alike =
        |a: &(usize, usize, usize), b: &(usize, usize, usize)| (a.1 - a.0, a.2) == (b.1 - b.0, b.2);
    for chunk in windows
        .chunk_by(alike)
        .flat_map(|same| same.chunks(batch.max(1)))
    {
        super::decode::check(&generator.interrupt)?;
        let rows: Vec<&[u32]> = chunk.iter().map(|&(from, to, _)| &ids[from..to]).collect();
        let predicted = chunk[0].2;
        let nll = nll(&generator.model, &rows, predicted, &generator.device)?;
        let counted = score.tokens.update(nll, (rows.len() * predicted) as u64);
        counted.map_err(|e| Error::input(name, e.to_string(), "a model with finite weights"))?;
        progress.advance(chunk.len() as u64, "");
    }
    progress.finish();
    Ok(score)
}

/// Scores the documents of a file or a folder.
pub(super) fn eval(generator: &Generator, data: &Path, batch: usize) -> Result<Evaluation> {
    let corpus = Corpus::open(data)?;
    let mut total = TextScore::default();
    for (number, text) in (1..).zip(corpus.documents()) {
        let name = format!("{} (document {number})", corpus.location());
        let score = score_text(generator, &name, text, generator.settings.stride, batch)?;
        total.tokens.merge(&score.tokens);
        total.num_words += score.num_words;
        total.num_chars += score.num_chars;
        total.num_bytes += score.num_bytes;
    }
    let metrics = total.metrics()?;
    let values: serde_json::Map<_, _> = metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let json = json!({
        "metrics": values,
        "num_documents": corpus.documents().len(),
        "num_tokens": total.tokens.num_tokens(),
        "num_words": total.num_words,
        "num_chars": total.num_chars,
        "num_bytes": total.num_bytes,
    });
    Ok(Evaluation {
        num_samples: corpus.documents().len(),
        metrics,
        json,
        ..Evaluation::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_but_the_first_is_predicted_once() {
        assert_eq!(
            windows(10, 4, 2),
            [(0, 4, 3), (2, 6, 2), (4, 8, 2), (6, 10, 2)]
        );
        assert_eq!(
            windows(9, 4, 2),
            [(0, 4, 3), (2, 6, 2), (4, 8, 2), (6, 9, 1)]
        );
        assert_eq!(windows(3, 4, 2), [(0, 3, 2)]);
        // Side by side: the first token of each window is context.
        assert_eq!(windows(9, 4, 4), [(0, 4, 3), (4, 8, 3)]);
        assert!(windows(1, 4, 2).is_empty());
        for (len, max_length, stride) in [(100, 16, 5), (64, 64, 1), (77, 10, 9)] {
            let all: usize = windows(len, max_length, stride).iter().map(|w| w.2).sum();
            assert_eq!(all, len - 1);
        }
    }
}
