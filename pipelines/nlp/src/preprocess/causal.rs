//! What decoders need of a tokenizer: prompts whose end counts, whole corpora, text that grows.

use super::{TextTokenizer, check_not_empty, files, train};
use crate::models::CausalInput;
use burn::tensor::{Device, Int, Tensor, TensorData};
use panoply_core::{Error, ModelFolder, Result};
use tokenizers::Tokenizer;

/// Bytes at the end of a long text that are tokenized at first; doubled while they give too few
/// tokens.
const SUFFIX_BYTES: usize = 1 << 16;

/// Tokens of a prompt that are decoded together with what follows, so that spaces and characters
/// of several tokens come out as in the whole.
const OVERLAP: usize = 16;

impl TextTokenizer {
    /// The tokenizer of a decoder's folder. It cuts nothing: what happens to long prompts is decided
    /// where they are read.
    ///
    /// # Errors
    /// No tokenizer, one that cannot be read, or one with ids that the model does not know.
    pub fn open_causal(folder: &ModelFolder, vocab_size: usize, max_length: usize) -> Result<Self> {
        Self::build(&files::read(folder)?, vocab_size, max_length)?.uncut()
    }

    /// As [`open_causal`](Self::open_causal), out of the content of a `tokenizer.json`.
    pub fn causal_from_json(json: &[u8], vocab_size: usize, max_length: usize) -> Result<Self> {
        Self::from_json(json, vocab_size, max_length)?.uncut()
    }

    /// A tokenizer with a token for each character of the given texts, ids in the order of the code
    /// points. A character that it does not know makes no token.
    pub fn characters<'t>(texts: impl Iterator<Item = &'t str>, max_length: usize) -> Result<Self> {
        let (json, vocab_size) = train::characters(texts)?;
        Self::causal_from_json(&json, vocab_size, max_length)
    }

    /// The same without a limit of the length.
    pub(crate) fn uncut(self) -> Result<Self> {
        let mut inner: Tokenizer = self.inner.as_ref().clone();
        let failed = |e: tokenizers::Error| Error::Internal {
            context: "tokenizer".into(),
            message: e.to_string(),
        };
        inner.with_truncation(None).map_err(failed)?;
        Ok(Self {
            inner: inner.into(),
            ..self
        })
    }

    /// All tokens of a text, special tokens included where the tokenizer adds some.
    ///
    /// # Errors
    /// The text is empty, or nothing in it makes a token.
    pub fn encode_whole(&self, name: &str, text: &str) -> Result<Vec<u32>> {
        check_not_empty(name, text)?;
        let ids = self.ids(name, text, true)?;
        if ids.is_empty() {
            return Err(no_token(name));
        }
        Ok(ids)
    }

    /// The tokens of a document of a corpus, without special tokens; there may be none.
    pub fn encode_document(&self, name: &str, text: &str) -> Result<Vec<u32>> {
        self.ids(name, text, false)
    }

    /// The last `most` tokens of a text, and whether there are others in front of them. Of a long
    /// text only the end is read.
    ///
    /// # Errors
    /// The text is empty, or nothing in it makes a token.
    pub fn encode_end(&self, name: &str, text: &str, most: usize) -> Result<(Vec<u32>, bool)> {
        check_not_empty(name, text)?;
        let mut bytes = SUFFIX_BYTES;
        loop {
            let start = text.len().saturating_sub(bytes);
            let part = &text[text.ceil_char_boundary(start)..];
            let mut ids = self.ids(name, part, true)?;
            let whole = part.len() == text.len();
            // The tokens at the edge of a part need not be those of the text: enough others must
            // stand behind them.
            if whole || ids.len() >= 2 * most.max(8) {
                if ids.is_empty() {
                    return Err(no_token(name));
                }
                let cut = ids.len().saturating_sub(most);
                ids.drain(..cut);
                return Ok((ids, cut > 0 || !whole));
            }
            bytes *= 4;
        }
    }

    fn ids(&self, name: &str, text: &str, special: bool) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, special)
            .map_err(|e| Error::input(name, e.to_string(), "a text that the tokenizer can cut"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `new` tokens that follow `before`; special tokens have none.
    pub fn continuation(&self, before: &[u32], new: &[u32]) -> Result<String> {
        let overlap = &before[before.len().saturating_sub(OVERLAP)..];
        let known = self.decode(overlap, true)?;
        let all = self.decode(&[overlap, new].concat(), true)?;
        match all.strip_prefix(known.as_str()) {
            Some(text) => Ok(text.into()),
            // A decoder that changes what it has already said: the new tokens for themselves.
            None => self.decode(new, true),
        }
    }
}

fn no_token(name: &str) -> Error {
    let expected = "characters that the tokenizer knows";
    Error::input(name, "nothing in it makes a token", expected)
}

/// A batch for a decoder, padded on the left.
///
/// # Panics
/// If `rows` is empty.
pub fn causal_input<R: AsRef<[u32]>>(rows: &[R], device: &Device) -> CausalInput {
    let lengths = rows.iter().map(|row| row.as_ref().len());
    let longest = lengths.clone().max().expect("a batch of some rows");
    let mut ids = Vec::with_capacity(rows.len() * longest);
    let mut real = Vec::with_capacity(rows.len() * longest);
    for row in rows {
        let row = row.as_ref();
        let padding = longest - row.len();
        ids.resize(ids.len() + padding, 0);
        real.resize(real.len() + padding, false);
        ids.extend(row.iter().map(|&id| i64::from(id)));
        real.resize(real.len() + row.len(), true);
    }
    let shape = [rows.len(), longest];
    let input = CausalInput::new(Tensor::<2, Int>::from_data(
        TensorData::new(ids, shape),
        device,
    ));
    if lengths.min() == Some(longest) {
        return input;
    }
    input.mask(Tensor::from_data(TensorData::new(real, shape), device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters() -> TextTokenizer {
        TextTokenizer::characters(["ba\n c", "é"].into_iter(), 8).unwrap()
    }

    #[test]
    fn every_character_is_a_token_in_the_order_of_code_points() {
        let tokenizer = letters();
        assert_eq!(tokenizer.vocab_size(), 6);
        let ids = tokenizer.encode_whole("text", "abc é\n").unwrap();
        assert_eq!(ids, [2, 3, 4, 1, 5, 0]);
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), "abc é\n");
        // Unknown characters make no token; a text of nothing else is refused.
        assert_eq!(tokenizer.encode_whole("text", "axb").unwrap(), [2, 3]);
        assert!(tokenizer.encode_whole("text", "xyz").is_err());
        assert!(tokenizer.encode_end("text", "", 4).is_err());
    }

    #[test]
    fn the_end_of_a_long_text_is_kept() {
        let tokenizer = letters();
        let (ids, cut) = tokenizer.encode_end("text", "abcab", 3).unwrap();
        assert_eq!((ids, cut), (vec![4, 2, 3], true));
        let (ids, cut) = tokenizer.encode_end("text", "abc", 3).unwrap();
        assert_eq!((ids, cut), (vec![2, 3, 4], false));
        let long = "é ".repeat(200_000) + "abc";
        let (ids, cut) = tokenizer.encode_end("text", &long, 5).unwrap();
        assert_eq!((ids, cut), (vec![5, 1, 2, 3, 4], true));
        // Known characters only at the very start: the part grows to the whole.
        let long = "abc".to_string() + &"x".repeat(300_000);
        let (ids, cut) = tokenizer.encode_end("text", &long, 5).unwrap();
        assert_eq!((ids, cut), (vec![2, 3, 4], false));
    }

    #[test]
    fn rows_are_padded_on_the_left() {
        let input = causal_input(&[vec![7, 8], vec![9]], &Device::flex());
        let ids: Vec<i64> = input.ids.into_data().try_into_vec_as().unwrap();
        assert_eq!(ids, [7, 8, 0, 9]);
        assert!(input.mask.is_some());
        assert!(causal_input(&[[1], [2]], &Device::flex()).mask.is_none());
    }
}
