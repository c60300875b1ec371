//! GGUF of the Llama family. Keys are those of llama.cpp (`llama.block_count`, `blk.0.attn_q.weight`).

use super::{Checkpoint, unpermute, vocabulary::Vocabulary};
use crate::models::{CausalLmConfig, llama::LlamaConfig};
use panoply_core::{
    Error, Result,
    weights::{Gguf, GgufValue, RawTensor},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

/// llama.cpp's names of a layer's tensors, and ours.
const LAYER: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

pub(super) fn read(path: &Path) -> Result<Checkpoint> {
    let file = Metadata(Gguf::open(path)?);
    let architecture = file.text("general.architecture")?.unwrap_or_default();
    if architecture != "llama" {
        let what = format!("the architecture '{architecture}'");
        return Err(file.0.wrong(what, "llama"));
    }
    let config = config(&file)?;
    let tensors = tensors(&file.0, &config)?;
    let (tokenizer, generation) = tokenizer(&file, path)?;
    Ok(Checkpoint {
        config,
        tensors,
        tokenizer,
        generation,
        licence: file.text("general.license")?.unwrap_or("unknown").into(),
    })
}

/// Metadata with its types.
struct Metadata(Gguf);

impl Metadata {
    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a GgufValue) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.0.get(key) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.0.wrong(format!("'{key}' is something else"), expected)),
            },
        }
    }

    fn text(&self, key: &str) -> Result<Option<&str>> {
        self.read(key, "a text", |value| match value {
            GgufValue::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        self.read(key, "a whole number", |value| match value {
            GgufValue::Int(n) => u32::try_from(*n).ok().map(|n| n as usize),
            _ => None,
        })
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.read(key, "true or false", |value| match value {
            GgufValue::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        self.read(key, "a number", |value| match value {
            GgufValue::Float(x) => Some(*x),
            GgufValue::Int(n) => Some(*n as f64),
            _ => None,
        })
    }

    fn list<T>(&self, key: &str, read: impl Fn(&GgufValue) -> Option<T>) -> Result<Vec<T>> {
        let all = self.read(key, "a list of one type", |value| match value {
            GgufValue::List(values) => values.iter().map(read).collect::<Option<Vec<T>>>(),
            _ => None,
        })?;
        Ok(all.unwrap_or_default())
    }

    fn texts(&self, key: &str) -> Result<Vec<String>> {
        self.list(key, |value| match value {
            GgufValue::Text(text) => Some(text.clone()),
            _ => None,
        })
    }
}

/// The config, by way of `config.json`'s own checks.
fn config(file: &Metadata) -> Result<LlamaConfig> {
    if let Some(kind) = file
        .text("llama.rope.scaling.type")?
        .filter(|&k| k != "none")
    {
        let what = format!("positions scaled by '{kind}'");
        return Err(file.0.wrong(what, "positions as they are"));
    }
    let embedding = file.0.tensor("token_embd.weight")?;
    let heads = file.size("llama.attention.head_count")?;
    let head_dim = match file.size("llama.attention.key_length")? {
        Some(length) => Some(length),
        None => file.size("llama.rope.dimension_count")?,
    };
    let kv_heads = file.size("llama.attention.head_count_kv")?.or(heads);
    let json = json!({
        "model_type": "llama",
        "vocab_size": embedding.shape.first(),
        "hidden_size": file.size("llama.embedding_length")?,
        "intermediate_size": file.size("llama.feed_forward_length")?,
        "num_hidden_layers": file.size("llama.block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "max_position_embeddings": file.size("llama.context_length")?,
        "rms_norm_eps": file.number("llama.attention.layer_norm_rms_epsilon")?,
        "rope_theta": file.number("llama.rope.freq_base")?,
        "tie_word_embeddings": !file.0.names().any(|name| name == "output.weight"),
    });
    match CausalLmConfig::from_hf(&json)? {
        CausalLmConfig::Llama(config) => Ok(config),
        _ => Err(file.0.wrong("another family", "llama")),
    }
}

fn tensors(file: &Gguf, config: &LlamaConfig) -> Result<BTreeMap<String, RawTensor>> {
    let mut all = BTreeMap::new();
    for name in file.names() {
        let published = published(name).ok_or_else(|| {
            file.wrong(
                format!("the tensor '{name}'"),
                "tensors of a Llama without biases",
            )
        })?;
        let tensor = file.tensor(name)?;
        let heads = match name.rsplit('.').nth(1) {
            Some("attn_q") => Some(config.num_attention_heads),
            Some("attn_k") => Some(config.num_key_value_heads),
            _ => None,
        };
        let Some(heads) = heads else {
            all.insert(published, tensor);
            continue;
        };
        if tensor.shape.first() != Some(&(heads * config.head_dim)) {
            let what = format!("'{name}' of shape {:?}", tensor.shape);
            let expected = format!("{heads} heads of {} features", config.head_dim);
            return Err(file.wrong(what, expected));
        }
        all.insert(published, unpermute(tensor, heads));
    }
    Ok(all)
}

/// The published name of a tensor.
fn published(name: &str) -> Option<String> {
    Some(match name {
        "token_embd.weight" => "model.embed_tokens.weight".into(),
        "output_norm.weight" => "model.norm.weight".into(),
        "output.weight" => "lm_head.weight".into(),
        _ => {
            let (layer, kind) = name.strip_prefix("blk.")?.split_once('.')?;
            let layer: usize = layer.parse().ok()?;
            let kind = kind.strip_suffix(".weight")?;
            let (_, ours) = LAYER.iter().find(|(theirs, _)| *theirs == kind)?;
            format!("model.layers.{layer}.{ours}.weight")
        }
    })
}

/// The contents of `tokenizer.json` and `generation_config.json`.
fn tokenizer(file: &Metadata, path: &Path) -> Result<(Value, Value)> {
    let location = path.display().to_string();
    let vocabulary = Vocabulary {
        tokens: file.texts("tokenizer.ggml.tokens")?,
        kinds: file.list("tokenizer.ggml.token_type", |value| match value {
            GgufValue::Int(kind) => Some(*kind),
            _ => None,
        })?,
    };
    let id = |name: &str| file.size(&format!("tokenizer.ggml.{name}_token_id"));
    let (bos, eos) = (id("bos")?, id("eos")?);
    let adds = file.flag("tokenizer.ggml.add_bos_token")?;
    let model = file.text("tokenizer.ggml.model")?.unwrap_or_default();
    let json = match model {
        "gpt2" => {
            let merges = file.texts("tokenizer.ggml.merges")?;
            let digits = digits_apart(file)?;
            let first = bos.filter(|_| adds.unwrap_or(false));
            vocabulary.byte_level(&location, &merges, digits, first)?
        }
        "llama" => {
            let scores = file.list("tokenizer.ggml.scores", |value| match value {
                GgufValue::Float(score) => Some(*score as f32),
                _ => None,
            })?;
            let first = bos.filter(|_| adds.unwrap_or(true));
            vocabulary.sentence_piece(&location, &scores, first)?
        }
        other => {
            let what = format!("a tokenizer of the kind '{other}'");
            return Err(Error::input(location, what, "gpt2 or llama"));
        }
    };
    Ok((json, json!({"bos_token_id": bos, "eos_token_id": eos})))
}

/// Whether the way in which words are cut, named by `tokenizer.ggml.pre`, lets each digit stand alone.
fn digits_apart(file: &Metadata) -> Result<bool> {
    match file.text("tokenizer.ggml.pre")?.unwrap_or("default") {
        "default" | "gpt-2" => Ok(false),
        "smollm" => Ok(true),
        other => {
            let what = format!("words cut as by '{other}'");
            Err(file.0.wrong(what, "default, gpt-2 or smollm"))
        }
    }
}
