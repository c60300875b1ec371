//! Perplexity of a language model, and the same quantity in bits.

use crate::{MetricError, Result};
use serde::Serialize;

/// How far below zero the mean negative log-likelihood may fall before it is refused: what an
/// `f32` log-softmax rounds to where the model is certain.
const ROUNDING: f64 = 1e-4;

/// Summed negative log-likelihood and the number of tokens it was summed over.
///
/// Sums and not means are kept, so that batches of unequal length weigh as their tokens do:
/// `exp(sum / tokens)`, equal to `torchmetrics.functional.text.perplexity` over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Perplexity {
    nll: f64,
    num_tokens: u64,
}

impl Perplexity {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch: the sum over its predicted tokens of `-ln p(token)`, in nats, and how many
    /// these are (padding and tokens that are only context left out of both). Refused, and nothing
    /// counted, if the sum is not finite, is negative beyond rounding (log-likelihood given for
    /// its negative), or stands beside no token and is not zero.
    pub fn update(&mut self, nll: f64, num_tokens: u64) -> Result<()> {
        if !nll.is_finite() || nll < -ROUNDING * num_tokens as f64 {
            return Err(MetricError::Argument {
                name: "nll",
                value: nll.to_string(),
                expected: "a finite sum of negative log-likelihoods, which are at least 0",
            });
        }
        if num_tokens == 0 && nll != 0.0 {
            return Err(MetricError::Argument {
                name: "num_tokens",
                value: num_tokens.to_string(),
                expected: "at least one token beside a sum that is not 0",
            });
        }
        self.nll += nll;
        self.num_tokens += num_tokens;
        Ok(())
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        self.nll += other.nll;
        self.num_tokens += other.num_tokens;
    }

    /// Tokens so far.
    pub fn num_tokens(&self) -> u64 {
        self.num_tokens
    }

    /// Mean negative log-likelihood of a token, in nats: the cross-entropy loss.
    pub fn cross_entropy(&self) -> Result<f64> {
        match self.num_tokens {
            0 => Err(MetricError::Empty {
                metric: "perplexity",
            }),
            tokens => Ok(self.nll / tokens as f64),
        }
    }

    /// `exp` of the cross-entropy; infinite where that does not fit a number (above 709 nats).
    pub fn value(&self) -> Result<f64> {
        Ok(self.cross_entropy()?.exp())
    }

    /// The cross-entropy in bits a token.
    pub fn bits_per_token(&self) -> Result<f64> {
        Ok(self.cross_entropy()? / std::f64::consts::LN_2)
    }

    /// Bits a character: the whole text's negative log-likelihood, in bits, over its
    /// `num_chars` characters (Unicode scalar values by custom). Does not depend on how the
    /// tokenizer cuts, so it compares models of different vocabularies.
    pub fn bits_per_char(&self, num_chars: u64) -> Result<f64> {
        self.cross_entropy()?;
        self.bits_per("num_chars", num_chars)
    }

    /// Bits a byte of the text's UTF-8, as [`bits_per_char`](Self::bits_per_char).
    pub fn bits_per_byte(&self, num_bytes: u64) -> Result<f64> {
        self.cross_entropy()?;
        self.bits_per("num_bytes", num_bytes)
    }

    fn bits_per(&self, name: &'static str, units: u64) -> Result<f64> {
        if units == 0 {
            return Err(MetricError::Argument {
                name,
                value: units.to_string(),
                expected: "the length of the text, at least 1",
            });
        }
        Ok(self.nll / std::f64::consts::LN_2 / units as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fair_coin_has_perplexity_two() {
        let mut p = Perplexity::new();
        p.update(3.0 * std::f64::consts::LN_2, 3).unwrap();
        p.update(0.0, 0).unwrap();
        p.update(std::f64::consts::LN_2, 1).unwrap();
        assert!((p.value().unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(p.bits_per_token().unwrap(), 1.0);
        assert_eq!(p.bits_per_char(8).unwrap(), 0.5);
        assert_eq!(p.bits_per_byte(16).unwrap(), 0.25);
        let mut twice = p;
        twice.merge(&p);
        assert_eq!(
            (twice.num_tokens(), twice.bits_per_token()),
            (8, p.bits_per_token())
        );
    }

    #[test]
    fn bad_sums_are_named_and_not_counted() {
        let mut p = Perplexity::new();
        assert!(p.value().unwrap_err().to_string().contains("no samples"));
        assert!(p.bits_per_char(3).is_err());
        for nll in [f64::NAN, f64::INFINITY, -0.5] {
            let text = p.update(nll, 2).unwrap_err().to_string();
            assert!(text.starts_with(&format!("nll is {nll}")), "{text}");
        }
        assert!(
            p.update(1.0, 0)
                .unwrap_err()
                .to_string()
                .contains("num_tokens is 0")
        );
        assert_eq!(p, Perplexity::new());
        p.update(1.0, 1).unwrap();
        assert!(
            p.bits_per_byte(0)
                .unwrap_err()
                .to_string()
                .contains("num_bytes is 0")
        );
    }
}
