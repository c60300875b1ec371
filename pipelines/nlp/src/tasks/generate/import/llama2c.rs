//! llama2.c's checkpoint: seven numbers, then all weights as f32 in a fixed order, and its `tokenizer.bin`.
//!
//! The format is `export.py`'s version 0 ("legacy") of github.com/karpathy/llama2.c.

use super::{
    Checkpoint, unpermute,
    vocabulary::{CONTROL, UNKNOWN, Vocabulary},
};
use crate::models::llama::LlamaConfig;
use panoply_core::{Error, Result, weights::RawTensor};
use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path};

/// Largest file: a model of seven billion parameters in f32 is below it.
const MAX_BYTES: u64 = 1 << 35;
/// No token of a vocabulary is longer, in bytes.
const LONGEST: usize = 1 << 12;

pub(super) fn read(path: &Path) -> Result<Checkpoint> {
    let size = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    if size.len() > MAX_BYTES {
        return Err(wrong(path, format!("{} bytes", size.len())));
    }
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let mut input = Input {
        bytes: &bytes,
        path,
    };
    let config = config(&mut input)?;
    let tensors = tensors(&mut input, &config)?;
    let beside = path.with_file_name("tokenizer.bin");
    let vocabulary = if input.bytes.is_empty() {
        fs::read(&beside).map_err(|e| Error::io("read", &beside, e))?
    } else {
        input.bytes.to_vec()
    };
    Ok(Checkpoint {
        tokenizer: tokenizer(&vocabulary, config.vocab_size, path)?,
        // Its program starts every text with token 1 and ends it there too.
        generation: json!({"bos_token_id": 1, "eos_token_id": [1, 2]}),
        config,
        tensors,
        licence: "unknown".into(),
    })
}

fn wrong(path: &Path, what: impl Into<String>) -> Error {
    let expected =
        "a whole GGUF file, or a llama2.c checkpoint of version 0 with its tokenizer.bin";
    Error::input(path.display().to_string(), what, expected)
}

/// What is left of a file.
struct Input<'a> {
    bytes: &'a [u8],
    path: &'a Path,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or_else(|| wrong(self.path, "it ends too early, or is something else"))?;
        self.bytes = rest;
        Ok(head)
    }

    fn i32(&mut self) -> Result<i32> {
        let bytes = self.take(4)?;
        Ok(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn f32(&mut self) -> Result<f32> {
        Ok(f32::from_bits(self.i32()?.cast_unsigned()))
    }

    fn floats(&mut self, shape: &[usize]) -> Result<RawTensor> {
        // Sizes are below 2^24 each, two of them at most.
        let count: usize = shape.iter().product();
        let bytes = self.take(count.saturating_mul(4))?;
        let (values, _) = bytes.as_chunks();
        Ok(RawTensor {
            shape: shape.to_vec(),
            data: values
                .iter()
                .map(|&value| f32::from_le_bytes(value))
                .collect(),
            integer: false,
        })
    }
}

fn config(input: &mut Input<'_>) -> Result<LlamaConfig> {
    let numbers: Vec<i32> = (0..7).map(|_| input.i32()).collect::<Result<_>>()?;
    let sizes: Vec<usize> = numbers.iter().map(|n| n.unsigned_abs() as usize).collect();
    let [dim, hidden, layers, heads, kv_heads, vocab, context] = sizes[..] else {
        return Err(wrong(input.path, "no header"));
    };
    let negative = numbers.iter().enumerate().any(|(i, &n)| n < 0 && i != 5);
    let plausible = sizes.iter().all(|&n| (1..1 << 24).contains(&n))
        && layers < 1 << 10
        && dim.is_multiple_of(heads)
        && heads.is_multiple_of(kv_heads)
        && (dim / heads).is_multiple_of(2);
    if negative || !plausible {
        return Err(wrong(input.path, format!("the sizes {numbers:?}")));
    }
    Ok(LlamaConfig {
        vocab_size: vocab,
        hidden_size: dim,
        intermediate_size: hidden,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: kv_heads,
        head_dim: dim / heads,
        max_position_embeddings: context,
        // A negative size of the vocabulary says that the output layer has its own weights.
        tie_word_embeddings: numbers[5] > 0,
        ..LlamaConfig::stories15m()
    })
}

fn tensors(input: &mut Input<'_>, c: &LlamaConfig) -> Result<BTreeMap<String, RawTensor>> {
    let (dim, hidden, vocab) = (c.hidden_size, c.intermediate_size, c.vocab_size);
    let kv = c.num_key_value_heads * c.head_dim;
    let (heads, kv_heads) = (c.num_attention_heads, c.num_key_value_heads);
    let mut all = BTreeMap::new();
    all.insert(
        "model.embed_tokens.weight".to_string(),
        input.floats(&[vocab, dim])?,
    );
    // Each kind of weight of all layers, one after the other; queries and keys with their heads.
    let kinds: [(&str, &[usize], Option<usize>); 9] = [
        ("input_layernorm", &[dim], None),
        ("self_attn.q_proj", &[dim, dim], Some(heads)),
        ("self_attn.k_proj", &[kv, dim], Some(kv_heads)),
        ("self_attn.v_proj", &[kv, dim], None),
        ("self_attn.o_proj", &[dim, dim], None),
        ("post_attention_layernorm", &[dim], None),
        ("mlp.gate_proj", &[hidden, dim], None),
        ("mlp.down_proj", &[dim, hidden], None),
        ("mlp.up_proj", &[hidden, dim], None),
    ];
    for (kind, shape, permuted) in kinds {
        for layer in 0..c.num_hidden_layers {
            let tensor = input.floats(shape)?;
            let tensor = match permuted {
                Some(heads) => unpermute(tensor, heads),
                None => tensor,
            };
            all.insert(format!("model.layers.{layer}.{kind}.weight"), tensor);
        }
    }
    all.insert("model.norm.weight".into(), input.floats(&[dim])?);
    // Cosines and sines of the rotation, which are computed here.
    input.take(
        c.max_position_embeddings
            .saturating_mul(c.head_dim)
            .saturating_mul(4),
    )?;
    if !c.tie_word_embeddings {
        all.insert("lm_head.weight".into(), input.floats(&[vocab, dim])?);
    }
    Ok(all)
}

/// Scores and bytes of each token, behind the length of the longest.
fn tokenizer(bytes: &[u8], vocab_size: usize, path: &Path) -> Result<serde_json::Value> {
    let mut input = Input { bytes, path };
    input.i32()?;
    let (mut tokens, mut scores) = (Vec::new(), Vec::new());
    for id in 0..vocab_size {
        scores.push(input.f32()?);
        let len = usize::try_from(input.i32()?).unwrap_or(usize::MAX);
        if len > LONGEST {
            return Err(wrong(path, format!("a token of {len} bytes")));
        }
        let token = String::from_utf8_lossy(input.take(len)?).into_owned();
        tokens.push(match id {
            // As SentencePiece calls them; their bytes there are what its program prints.
            0 => "<unk>".into(),
            1 => "<s>".into(),
            2 => "</s>".into(),
            // The 256 bytes; older files write a byte as the character of that number.
            _ => match u8::try_from(id - 3) {
                Ok(byte) if token.chars().eq([char::from(byte)]) => format!("<0x{byte:02X}>"),
                _ => token.replace(' ', "▁"),
            },
        });
    }
    let kinds = (0..vocab_size).map(|id| match id {
        0 => UNKNOWN,
        1 | 2 => CONTROL,
        _ => 1,
    });
    let vocabulary = Vocabulary {
        kinds: kinds.collect(),
        tokens,
    };
    let location = path.display().to_string();
    vocabulary.sentence_piece(&location, &scores, Some(1))
}
