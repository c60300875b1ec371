//! The files that a tokenizer is published in.

use panoply_core::{Error, ModelFolder, Result};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Vocabularies above this are damage: the largest published ones are a few megabytes.
const MAX_BYTES: u64 = 1 << 28;

/// What [`read`] found.
pub(super) struct Source {
    /// Content of a `tokenizer.json`.
    pub(super) json: Vec<u8>,
    /// The file that it came from.
    pub(super) path: PathBuf,
    /// Content of `tokenizer_config.json`.
    pub(super) config: Value,
    /// Name of the mask token, if a file says so.
    pub(super) mask: Option<String>,
    /// `model_max_length`, if a file says so.
    pub(super) max_length: Option<usize>,
}

/// The tokenizer of a folder: `tokenizer.json`, else the files it is made of.
pub(super) fn read(folder: &ModelFolder) -> Result<Source> {
    let config: Value = folder
        .read_json("tokenizer_config.json")?
        .unwrap_or_default();
    let special: Value = folder
        .read_json("special_tokens_map.json")?
        .unwrap_or_default();
    // A name, or an object with the name as its content.
    let mask = [&config, &special].into_iter().find_map(|file| {
        let value = &file["mask_token"];
        value.as_str().or(value["content"].as_str())
    });
    // Tokenizers without a limit state a number as large as 1e30.
    let max_length = config["model_max_length"]
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .filter(|&n| n > 0);
    let source = |path: PathBuf, json: Vec<u8>| Source {
        json,
        path,
        config: config.clone(),
        mask: mask.map(String::from),
        max_length,
    };
    let file = folder.file("tokenizer.json");
    if file.is_file() {
        let json = bytes(&file)?;
        return Ok(source(file, json));
    }
    let file = folder.file("vocab.txt");
    if file.is_file() {
        let json = word_piece(&text(&file)?, &config, &file)?;
        return Ok(source(file, json.to_string().into_bytes()));
    }
    let (file, merges) = (folder.file("vocab.json"), folder.file("merges.txt"));
    if file.is_file() && merges.is_file() {
        let vocab: Value = folder.read_json("vocab.json")?.unwrap_or_default();
        let Value::Object(vocab) = vocab else {
            let location = file.display().to_string();
            return Err(Error::input(location, "no object", "tokens with their ids"));
        };
        let merges = text(&merges)?;
        let merges = merges.lines().filter(|line| !line.starts_with("#version"));
        let merges: Vec<&str> = merges.filter(|line| !line.is_empty()).collect();
        let json = byte_pairs(vocab, json!(merges), &config, &file)?;
        return Ok(source(file, json.to_string().into_bytes()));
    }
    Err(Error::input(
        folder.path().display().to_string(),
        "no tokenizer in it",
        "tokenizer.json, vocab.txt, or vocab.json with merges.txt",
    ))
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    let size = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    if size.len() > MAX_BYTES {
        let what = format!("{} bytes", size.len());
        return Err(Error::input(
            path.display().to_string(),
            what,
            "a tokenizer of at most 256 MB",
        ));
    }
    fs::read(path).map_err(|e| Error::io("read", path, e))
}

fn text(path: &Path) -> Result<String> {
    String::from_utf8(bytes(path)?).map_err(|e| {
        let what = format!("byte {} is not UTF-8", e.utf8_error().valid_up_to());
        Error::input(path.display().to_string(), what, "UTF-8 text")
    })
}

/// BERT's tokenizer: one token a line, ids in the order of the lines.
fn word_piece(vocab: &str, config: &Value, path: &Path) -> Result<Value> {
    let vocab: serde_json::Map<String, Value> = vocab
        .lines()
        .enumerate()
        .map(|(id, token)| (token.to_string(), json!(id)))
        .collect();
    let flag = |name: &str, default: bool| config[name].as_bool().unwrap_or(default);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let sep = id_of(&vocab, "[SEP]", path)?;
    let cls = id_of(&vocab, "[CLS]", path)?;
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(&vocab, &special, None),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": flag("tokenize_chinese_chars", true),
            "strip_accents": config["strip_accents"].as_bool(),
            "lowercase": flag("do_lower_case", true),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", sep], "cls": ["[CLS]", cls]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }))
}

/// RoBERTa's or GPT-2's tokenizer: byte-level pairs. RoBERTa's has the tokens `<s>` and `</s>`.
fn byte_pairs(
    vocab: serde_json::Map<String, Value>,
    merges: Value,
    config: &Value,
    path: &Path,
) -> Result<Value> {
    let prefix_space = config["add_prefix_space"].as_bool().unwrap_or(false);
    let special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"];
    let is_roberta = vocab.contains_key("<s>") && vocab.contains_key("</s>");
    let post_processor = if is_roberta {
        let (sep, cls) = (id_of(&vocab, "</s>", path)?, id_of(&vocab, "<s>", path)?);
        json!({
            "type": "RobertaProcessing",
            "sep": ["</s>", sep],
            "cls": ["<s>", cls],
            "trim_offsets": true,
            "add_prefix_space": prefix_space,
        })
    } else {
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true})
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(&vocab, &special, Some("<mask>")),
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": prefix_space,
            "trim_offsets": true,
            "use_regex": true,
        },
        "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }))
}

/// Special tokens that the vocabulary holds; `lstrip` takes the white space before it.
fn added(
    vocab: &serde_json::Map<String, Value>,
    names: &[&str],
    lstrip: Option<&str>,
) -> Vec<Value> {
    let mut tokens: Vec<(u64, Value)> = names
        .iter()
        .filter_map(|&name| {
            let id = vocab.get(name)?.as_u64()?;
            let token = json!({
                "id": id,
                "content": name,
                "single_word": false,
                "lstrip": lstrip == Some(name),
                "rstrip": false,
                "normalized": false,
                "special": true,
            });
            Some((id, token))
        })
        .collect();
    tokens.sort_by_key(|(id, _)| *id);
    tokens.into_iter().map(|(_, token)| token).collect()
}

fn id_of(vocab: &serde_json::Map<String, Value>, token: &str, path: &Path) -> Result<u64> {
    vocab.get(token).and_then(Value::as_u64).ok_or_else(|| {
        let what = format!("no token {token}");
        Error::input(
            path.display().to_string(),
            what,
            "the vocabulary of BERT or RoBERTa",
        )
    })
}
