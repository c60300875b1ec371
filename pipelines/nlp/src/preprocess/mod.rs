//! Text to tokens: the tokenizer that travels with the weights, and batches for the models.
//!
//! Ids, offsets, words and special tokens are those of transformers' fast tokenizers, which stand on
//! the same library. Offsets count Unicode characters of the text as it was given. Truncation and
//! padding that a `tokenizer.json` asks for are dropped: lengths are the model's, and padding goes
//! to the longest text of a batch.

mod causal;
mod files;
mod train;

pub use causal::causal_input;
pub use train::{TokenizerKind, TokenizerRecipe};

use crate::models::bert::{BertConfig, EncoderInput, Variant};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use panoply_core::{Error, ModelFolder, Result, model_folder::write_atomic};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use tokenizers::{
    Encoding, ModelWrapper, PostProcessor as _, Tokenizer, TruncationDirection, TruncationParams,
    TruncationStrategy,
};

/// Bytes of a long text that are tokenized at first; doubled while they give too few tokens.
const PREFIX_BYTES: usize = 1 << 16;

/// One text, or a pair of them, as tokens. All fields have the same length.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// 0 in the first text, 1 in the second, as the tokenizer says.
    pub types: Vec<u32>,
    /// First and one past the last character of each token in its text; `(0, 0)` for special tokens.
    pub offsets: Vec<(usize, usize)>,
    /// The word of its text that each token is a part of, as the tokenizer cuts words.
    pub words: Vec<Option<u32>>,
    /// Which text each token comes from; `None` for special tokens.
    pub texts: Vec<Option<usize>>,
    /// Whether something was cut off.
    pub truncated: bool,
    /// Of a window, how many tokens of its text (of the second of two) lie before it; else 0.
    pub skipped: usize,
}

impl Encoded {
    fn of(encoding: &Encoding) -> Self {
        let special = encoding.get_special_tokens_mask();
        let texts = encoding.get_sequence_ids().into_iter().zip(special);
        Self {
            ids: encoding.get_ids().to_vec(),
            types: encoding.get_type_ids().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
            words: encoding.get_word_ids().to_vec(),
            texts: texts
                .map(|(text, &special)| text.filter(|_| special == 0))
                .collect(),
            truncated: !encoding.get_overflowing().is_empty(),
            skipped: 0,
        }
    }

    /// Number of tokens, special ones included.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A tokenizer that fits a model. Copies are cheap.
#[derive(Clone, Debug)]
pub struct TextTokenizer {
    inner: Arc<Tokenizer>,
    max_length: usize,
    mask: Option<(String, u32)>,
    json: Arc<Vec<u8>>,
    config: Arc<Value>,
}

impl TextTokenizer {
    /// Reads the tokenizer of a model folder: `tokenizer.json`, else `vocab.txt`, else `vocab.json`
    /// with `merges.txt`. Sequences are cut to the model's length, or to `model_max_length` of
    /// `tokenizer_config.json` where that is smaller.
    ///
    /// # Errors
    /// No tokenizer, one that cannot be read, or one with ids that the model does not know.
    pub fn open(folder: &ModelFolder, config: &BertConfig) -> Result<Self> {
        let source = files::read(folder)?;
        Self::build(&source, config.vocab_size, config.max_length())
    }

    /// A tokenizer out of the content of a `tokenizer.json`, for a model that a recipe makes.
    pub fn from_json(json: &[u8], vocab_size: usize, max_length: usize) -> Result<Self> {
        let source = files::Source {
            json: json.to_vec(),
            path: Path::new("tokenizer.json").into(),
            config: json!({"tokenizer_class": "PreTrainedTokenizerFast"}),
            mask: None,
            max_length: None,
        };
        Self::build(&source, vocab_size, max_length)
    }

    fn build(source: &files::Source, vocab_size: usize, max_length: usize) -> Result<Self> {
        let wrong = |what: String, expected: &str| {
            Error::input(source.path.display().to_string(), what, expected)
        };
        let mut inner = Tokenizer::from_bytes(&source.json)
            .map_err(|e| wrong(e.to_string(), "a tokenizer of the `tokenizers` library"))?;
        let largest = inner.get_vocab(true).into_values().max();
        let largest = largest.ok_or_else(|| wrong("an empty vocabulary".into(), "tokens"))?;
        if largest as usize >= vocab_size {
            let what = format!("token id {largest} for a model of {vocab_size} tokens");
            return Err(wrong(what, "the tokenizer that the model was trained with"));
        }
        let max_length = source.max_length.map_or(max_length, |n| n.min(max_length));
        inner.with_padding(None);
        inner
            .with_truncation(Some(truncation(max_length, 0)))
            .map_err(|e| wrong(e.to_string(), "room for special tokens"))?;
        let names = source.mask.iter().map(String::as_str);
        let mask = names
            .chain(["[MASK]", "<mask>"])
            .find_map(|name| Some((name.to_string(), inner.token_to_id(name)?)));
        Ok(Self {
            inner: Arc::new(inner),
            max_length,
            mask,
            json: Arc::new(source.json.clone()),
            config: Arc::new(source.config.clone()),
        })
    }

    /// The same with sequences of at most `max_length` tokens, special ones included.
    pub fn with_max_length(&self, max_length: usize) -> Result<Self> {
        let max_length = max_length.min(self.max_length);
        Ok(Self {
            inner: self.cut(truncation(max_length, 0))?,
            max_length,
            ..self.clone()
        })
    }

    /// The tokenizer with another truncation.
    fn cut(&self, truncation: TruncationParams) -> Result<Arc<Tokenizer>> {
        let max_length = truncation.max_length;
        let added = self.inner.get_post_processor();
        let added = added.map_or(0, |processor| processor.added_tokens(false));
        if max_length <= added {
            let expected = format!("more than the {added} special tokens of a text");
            let what = format!("{max_length} tokens");
            return Err(Error::input("max_length", what, expected));
        }
        let mut inner = self.inner.as_ref().clone();
        inner.with_truncation(Some(truncation)).map_err(|e| {
            let what = format!("{max_length} tokens: {e}");
            Error::input("tokenizer", what, "a length above the stride")
        })?;
        Ok(Arc::new(inner))
    }

    /// Longest sequence, special tokens included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The token that stands for a hidden one, with its id, if the tokenizer has one.
    pub fn mask(&self) -> Option<(&str, u32)> {
        self.mask.as_ref().map(|(name, id)| (name.as_str(), *id))
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` that make the same tokenizer.
    pub fn save(&self, folder: &ModelFolder) -> Result<()> {
        write_atomic(&folder.file("tokenizer.json"), &self.json)?;
        let mut config = self.config.as_ref().clone();
        if let Value::Object(fields) = &mut config {
            fields.insert("model_max_length".into(), json!(self.max_length));
        }
        folder.write_json("tokenizer_config.json", &config)
    }

    /// A byte-level BPE tokenizer with at most `vocab_size` tokens for the given texts, with
    /// RoBERTa's special tokens; `<pad>` has id 0. The same texts give the same tokenizer.
    pub fn train<'t>(
        texts: impl Iterator<Item = &'t str> + Send,
        vocab_size: usize,
        max_length: usize,
    ) -> Result<Self> {
        let recipe = TokenizerRecipe {
            kind: TokenizerKind::Bpe,
            vocab_size,
            min_frequency: 2,
            lowercase: false,
        };
        Self::from_json(&recipe.train(texts)?, vocab_size, max_length)
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Tokens of a text, cut at the model's length with a warning in the log. `name` stands for the
    /// text in messages.
    ///
    /// # Errors
    /// The text is empty, or nothing in it makes a token.
    pub fn encode(&self, name: &str, text: &str) -> Result<Encoded> {
        let encoded = self.encode_quietly(name, text)?;
        if encoded.truncated {
            let (bytes, tokens) = (text.len(), self.max_length);
            let read = encoded.offsets.iter().map(|o| o.1).max().unwrap_or(0);
            tracing::warn!(
                "{name}: a text of {bytes} bytes is cut after {read} characters: the model reads {tokens} tokens"
            );
        }
        Ok(encoded)
    }

    /// As [`encode`](Self::encode), without the warning: for training texts, seen in every epoch.
    pub fn encode_quietly(&self, name: &str, text: &str) -> Result<Encoded> {
        check_not_empty(name, text)?;
        let mut end = PREFIX_BYTES;
        let (encoded, shortened) = loop {
            let part = prefix(text, end);
            let encoded = run(&self.inner, name, part)?;
            if part.len() == text.len() || encoded.truncated {
                break (encoded, part.len() < text.len());
            }
            end *= 2;
        };
        let encoded = Encoded {
            truncated: encoded.truncated || shortened,
            ..encoded
        };
        if encoded.texts.iter().all(Option::is_none) {
            return Err(nothing(name));
        }
        Ok(encoded)
    }

    /// Windows over the second of two texts, each with the whole first text and `stride` tokens in
    /// common with the window before (half a window, where the first text leaves room for no more); a text
    /// without a partner is cut into windows itself.
    ///
    /// # Errors
    /// A text is empty, nothing in it makes a token, or the first leaves no room for the second.
    pub fn windows(
        &self,
        name: &str,
        text: &str,
        second: Option<&str>,
        stride: usize,
    ) -> Result<Vec<Encoded>> {
        for text in [Some(text), second].into_iter().flatten() {
            check_not_empty(name, text)?;
        }
        let encode = |tokenizer: &Tokenizer| match second {
            Some(second) => tokenizer.encode_char_offsets((text, second), true),
            None => tokenizer.encode_char_offsets(text, true),
        };
        // Most texts fit into one window; another tokenizer is costly.
        let (mut encoding, mut stride) = (encode(&self.inner), stride);
        if encoding
            .as_ref()
            .is_ok_and(|e| !e.get_overflowing().is_empty())
        {
            let (inner, narrowed) = self.cut_for_windows(name, text, second, stride)?;
            (encoding, stride) = (encode(&inner), narrowed);
        }
        let encoding = encoding
            .map_err(|e| Error::input(name, e.to_string(), "a text that the tokenizer can cut"))?;
        let windows = std::iter::once(&encoding).chain(encoding.get_overflowing());
        let mut windows: Vec<Encoded> = windows.map(Encoded::of).collect();
        let of_text = usize::from(second.is_some());
        let content = |window: &Encoded| {
            let texts = window.texts.iter();
            texts.filter(|&&text| text == Some(of_text)).count()
        };
        if windows.iter().all(|window| content(window) == 0) {
            return Err(nothing(name));
        }
        // All windows but the last are full.
        let step = content(&windows[0]).saturating_sub(stride);
        for (at, window) in windows.iter_mut().enumerate() {
            window.skipped = at * step;
        }
        Ok(windows)
    }

    /// The tokenizer that cuts windows for a text, and how many tokens two of them share.
    fn cut_for_windows(
        &self,
        name: &str,
        text: &str,
        second: Option<&str>,
        stride: usize,
    ) -> Result<(Arc<Tokenizer>, usize)> {
        let added = self.inner.get_post_processor();
        let mut room = added.map_or(self.max_length, |processor| {
            let added = processor.added_tokens(second.is_some());
            self.max_length.saturating_sub(added)
        });
        let mut strategy = TruncationStrategy::LongestFirst;
        if second.is_some() {
            strategy = TruncationStrategy::OnlySecond;
            let first = self.inner.encode_char_offsets(text, false);
            let first = first.map_err(|e| {
                Error::input(name, e.to_string(), "a text that the tokenizer can cut")
            })?;
            room = room.saturating_sub(first.len());
        }
        if room == 0 {
            let what = "it leaves no room for the text beside it";
            let expected = format!("less than {} tokens", self.max_length);
            return Err(Error::input(name, what, expected));
        }
        let stride = if stride < room { stride } else { room / 2 };
        let cut = self.cut(TruncationParams {
            strategy,
            ..truncation(self.max_length, stride)
        });
        Ok((cut?, stride))
    }

    /// Tokens of two texts, the longer one cut first.
    ///
    /// # Errors
    /// A text is empty.
    pub fn encode_pair(&self, name: &str, text: &str, second: &str) -> Result<Encoded> {
        check_not_empty(name, text)?;
        check_not_empty(name, second)?;
        run(&self.inner, name, (text, second))
    }

    /// The text of tokens.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner
            .decode(ids, skip_special)
            .map_err(|e| Error::Internal {
                context: "decoding tokens".into(),
                message: e.to_string(),
            })
    }

    /// Whether a token's spelling tells if it goes on with a word (WordPiece's `##`).
    pub fn marks_subwords(&self) -> bool {
        let prefix = match self.inner.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.continuing_subword_prefix.as_str()),
            ModelWrapper::BPE(model) => model.continuing_subword_prefix.as_deref(),
            _ => None,
        };
        prefix.is_some_and(|prefix| !prefix.is_empty())
    }

    /// The token that stands for what the vocabulary lacks, if there is one.
    pub fn unknown(&self) -> Option<u32> {
        let named = &self.config["unk_token"];
        let named = named.as_str().or(named["content"].as_str());
        let own = match self.inner.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
            ModelWrapper::BPE(model) => model.unk_token.as_deref(),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
            ModelWrapper::Unigram(_) => Some("<unk>"),
        };
        named
            .or(own)
            .and_then(|token| self.inner.token_to_id(token))
    }

    /// A token's spelling in the vocabulary.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a spelling in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

/// The start of a text that is longer than `max_characters`, with a warning in the log that says so.
/// `name` stands for the text in messages.
pub fn shortened<'t>(name: &str, text: &'t str, max_characters: usize) -> &'t str {
    // A byte count first: it is free.
    if text.len() <= max_characters {
        return text;
    }
    let Some((end, _)) = text.char_indices().nth(max_characters) else {
        return text;
    };
    let bytes = text.len();
    tracing::warn!(
        "{name}: a text of {bytes} bytes is cut after {max_characters} characters (--set max_characters)"
    );
    &text[..end]
}

fn nothing(name: &str) -> Error {
    let what = "nothing but white space or control characters";
    Error::input(name, what, "a text")
}

fn check_not_empty(name: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::input(
            name,
            "an empty text",
            "at least one character",
        ));
    }
    Ok(())
}

fn run<'s>(
    inner: &Tokenizer,
    name: &str,
    input: impl Into<tokenizers::EncodeInput<'s>>,
) -> Result<Encoded> {
    let encoding = inner.encode_char_offsets(input, true);
    let failed = |e: tokenizers::Error| {
        Error::input(name, e.to_string(), "a text that the tokenizer can cut")
    };
    Ok(Encoded::of(&encoding.map_err(failed)?))
}

fn truncation(max_length: usize, stride: usize) -> TruncationParams {
    TruncationParams {
        direction: TruncationDirection::Right,
        max_length,
        strategy: TruncationStrategy::LongestFirst,
        stride,
    }
}

/// The first `end` bytes of a text, shortened to where white space begins: tokenizers cut words there, so
/// that the tokens are those of the whole text. A text without white space is not cut.
fn prefix(text: &str, end: usize) -> &str {
    if text.len() <= end {
        return text;
    }
    let head = &text[..text.floor_char_boundary(end)];
    let words = head
        .trim_end_matches(|c: char| !c.is_whitespace())
        .trim_end();
    if words.is_empty() { text } else { words }
}

/// A batch for an encoder, padded to its longest text.
///
/// # Panics
/// If `batch` is empty.
pub fn encoder_input(batch: &[&Encoded], config: &BertConfig, device: &Device) -> EncoderInput {
    let rows = batch.len();
    let longest = batch.iter().map(|e| e.len()).max().unwrap_or(0);
    assert!(rows > 0, "a batch of no texts");
    let padded = |values: &dyn Fn(&Encoded) -> Vec<i64>, padding: i64| {
        let mut flat = Vec::with_capacity(rows * longest);
        for encoded in batch {
            flat.extend(values(encoded));
            flat.resize(flat.len() + longest - encoded.len(), padding);
        }
        Tensor::<2, Int>::from_data(TensorData::new(flat, [rows, longest]), device)
    };
    let wide = |values: &[u32]| values.iter().map(|&v| i64::from(v)).collect();
    let ids = padded(&|e| wide(&e.ids), config.pad_token_id as i64);
    let mut input = EncoderInput::new(ids);
    if config.variant != Variant::DistilBert && config.type_vocab_size > 1 {
        input = input.token_types(padded(&|e| wide(&e.types), 0));
    }
    if batch.iter().any(|e| e.len() < longest) {
        input = input.mask(real_tokens(batch, longest, device));
    }
    input
}

/// True at the tokens of each text, false at padding: `[batch, longest]`.
pub fn real_tokens(batch: &[&Encoded], longest: usize, device: &Device) -> Tensor<2, Bool> {
    let real: Vec<bool> = batch
        .iter()
        .flat_map(|e| (0..longest).map(|i| i < e.len()))
        .collect();
    Tensor::from_data(TensorData::new(real, [batch.len(), longest]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_before_white_space() {
        assert_eq!(prefix("one two three", 100), "one two three");
        assert_eq!(prefix("one two  three", 11), "one two");
        assert_eq!(prefix("one two", 3), "one two");
        assert_eq!(prefix("日本 語語語", 8), "日本");
        assert_eq!(prefix("unbroken", 4), "unbroken");
    }
}
