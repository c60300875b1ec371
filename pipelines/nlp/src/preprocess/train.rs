//! A vocabulary out of texts, for models that start from nothing.

use super::files;
use panoply_core::{Error, Result};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path};
use tokenizers::{
    AddedToken, Tokenizer,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainer},
    },
    pre_tokenizers::byte_level::ByteLevel,
};

/// Special tokens, ids in this order.
const SPECIAL: [&str; 5] = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"];

/// The content of a `tokenizer.json`: byte-level BPE (Sennrich et al., 2016; Radford et al., 2019) with
/// pairs that occur at least twice.
pub(super) fn byte_pairs<'t>(
    texts: impl Iterator<Item = &'t str> + Send,
    vocab_size: usize,
) -> Result<Vec<u8>> {
    let least = SPECIAL.len() + 256;
    if vocab_size < least {
        let what = format!("{vocab_size} tokens");
        let expected = format!("at least {least}: every byte is one");
        return Err(Error::input("vocab_size", what, expected));
    }
    let special = SPECIAL.map(|token| AddedToken::from(token, true));
    let trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(special.to_vec())
        .build();
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    let failed = |message: String| Error::Internal {
        context: "training a tokenizer".into(),
        message,
    };
    tokenizer
        .train(&mut TrainerWrapper::BpeTrainer(trainer), texts)
        .map_err(|e| failed(e.to_string()))?;
    let model = serde_json::to_value(tokenizer.get_model()).map_err(|e| failed(e.to_string()))?;
    let Some(Value::Object(vocab)) = model.get("vocab").cloned() else {
        return Err(failed("no vocabulary".into()));
    };
    let path = Path::new("tokenizer.json");
    let json = files::byte_pairs(vocab, model["merges"].clone(), &json!({}), path)?;
    Ok(json.to_string().into_bytes())
}

/// The content of a `tokenizer.json` with a token for each character of `texts`, and the number of
/// tokens. Ids are in the order of the code points, as nanoGPT's `sorted(set(text))`.
pub(super) fn characters<'t>(texts: impl Iterator<Item = &'t str>) -> Result<(Vec<u8>, usize)> {
    let all: BTreeSet<char> = texts.flat_map(str::chars).collect();
    if all.is_empty() {
        return Err(Error::input("training texts", "no character", "a text"));
    }
    let vocab: serde_json::Map<String, Value> = (0..)
        .zip(&all)
        .map(|(id, c): (usize, _)| (c.to_string(), json!(id)))
        .collect();
    // Pairs without merges: every character stays alone. The decoder puts nothing between them.
    let json = json!({
        "version": "1.0",
        "added_tokens": [],
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    Ok((json.to_string().into_bytes(), all.len()))
}
