//! Token sequences that grow by one token a step, read once each through a key/value cache.

use crate::{
    models::{CausalInput, CausalLm, Decoder},
    preprocess::causal_input,
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use panoply_core::{Result, host, nn::KvCache};

/// The context that stays when it is full: three quarters of it.
pub(super) fn kept(max_length: usize) -> usize {
    max_length - max_length / 4
}

/// Rows of tokens in front of a model.
///
/// A row that has reached the model's longest sequence loses its oldest tokens, so that three quarters of the
/// context stay, and what is left is read anew: an answer may be longer than the context. Each row
/// does so by its own length, whatever stands beside it.
pub(super) struct Sequences<'m> {
    model: &'m CausalLm,
    device: &'m Device,
    max_length: usize,
    rows: Vec<Vec<u32>>,
    cache: Option<KvCache>,
    /// Tokens that may still come.
    room: usize,
}

impl<'m> Sequences<'m> {
    /// Sequences that begin with `rows`, none empty or above `max_length`, and grow by up to `room` tokens.
    pub(super) fn new(
        model: &'m CausalLm,
        max_length: usize,
        rows: Vec<Vec<u32>>,
        room: usize,
        device: &'m Device,
    ) -> Self {
        let cache = None;
        Self {
            model,
            device,
            max_length,
            rows,
            cache,
            room,
        }
    }

    /// Logits of the token after each row, one vector a row.
    pub(super) fn next(&mut self) -> Result<Vec<Vec<f32>>> {
        let logits = if let Some(cache) = &mut self.cache {
            let last = self.rows.iter().map(|row| i64::from(row[row.len() - 1]));
            let last = TensorData::new(last.collect(), [self.rows.len(), 1]);
            let input = CausalInput::new(Tensor::<2, Int>::from_data(last, self.device));
            self.model.next(&input, cache)
        } else {
            let longest = self.rows.iter().map(Vec::len).max().unwrap_or(0);
            let capacity = (longest + self.room).min(self.max_length);
            let mut cache = self.model.cache(capacity.max(longest));
            let input = causal_input(&self.rows, self.device);
            let logits = self.model.next(&input, &mut cache);
            self.cache = Some(cache);
            logits
        };
        let [_, vocab] = logits.dims();
        let values = host::to_vec(logits)?;
        Ok(values.chunks(vocab).map(<[f32]>::to_vec).collect())
    }

    /// Appends a token to each row.
    pub(super) fn push(&mut self, tokens: &[u32]) {
        self.room = self.room.saturating_sub(1);
        for (row, &token) in self.rows.iter_mut().zip(tokens) {
            row.push(token);
            if row.len() > self.max_length {
                row.drain(..row.len() - kept(self.max_length));
                self.cache = None;
            }
        }
        // Rows shorter than one that has gone are padded in the cache: it may be full before they are.
        self.cache.take_if(|cache| cache.len() >= cache.capacity());
    }

    /// Makes row `i` what row `rows[i]` was.
    pub(super) fn select(&mut self, rows: &[usize]) {
        if rows.iter().copied().eq(0..self.rows.len()) {
            return;
        }
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
        if let Some(cache) = &mut self.cache {
            let index: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
            let index = TensorData::new(index, [rows.len()]);
            cache.reorder(&Tensor::<1, Int>::from_data(index, self.device));
        }
    }
}
