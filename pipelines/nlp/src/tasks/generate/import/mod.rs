//! Checkpoints of other programs: `model import FILE --arch ARCH --out DIR`.
//!
//! - GGUF of the Llama family (llama.cpp, ggml), weights dequantised to f32, with its tokenizer;
//! - llama2.c's `.bin` with its tokenizer behind the weights (as `llama2.data` has it) or in a
//!   `tokenizer.bin` beside it.
//!
//! Both keep rotary pairs side by side, so that the rows of queries and keys lie in another order than in the
//! published layout: [`unpermute`] puts them back.

mod gguf;
mod llama2c;
mod vocabulary;

use super::generator::Generator;
use crate::{
    models::{CausalLmConfig, llama::LlamaConfig},
    preprocess::TextTokenizer,
};
use burn::tensor::Device;
use panoply_core::{
    Error, ModelCard, ModelFolder, Result, RunContext,
    weights::{self, Gguf, RawTensor, SaveDtype},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Architectures that are known by name; `llama` is any model of the family.
fn known() -> [(&'static str, LlamaConfig); 3] {
    [
        ("llama", LlamaConfig::llama_7b()),
        ("smollm2-135m", LlamaConfig::smollm2_135m()),
        ("stories15m", LlamaConfig::stories15m()),
    ]
}

/// Their names with the number of parameters.
pub(super) fn architectures() -> Vec<(String, usize)> {
    let count = |(name, config): (&str, LlamaConfig)| {
        let model = config.init(&Device::flex());
        (name.to_string(), weights::num_params(&model))
    };
    known().into_iter().map(count).collect()
}

/// What a checkpoint holds, in the published layout.
struct Checkpoint {
    config: LlamaConfig,
    tensors: BTreeMap<String, RawTensor>,
    /// Content of a `tokenizer.json`.
    tokenizer: Value,
    /// Content of `generation_config.json`.
    generation: Value,
    licence: String,
}

/// Makes a model folder out of a checkpoint file.
pub(super) fn import(file: &Path, arch: &str, out: &Path) -> Result<ModelCard> {
    let known = known();
    let wanted = known.iter().find(|(name, _)| *name == arch);
    let (_, wanted) = wanted
        .ok_or_else(|| Error::unknown("architecture", arch, known.iter().map(|(name, _)| *name)))?;
    let checkpoint = if Gguf::is(file) {
        gguf::read(file)?
    } else {
        llama2c::read(file)?
    };
    let config = &checkpoint.config;
    if arch != "llama" && !same_sizes(config, wanted) {
        let what = format!(
            "{} layers of {} features for {} tokens",
            config.num_hidden_layers, config.hidden_size, config.vocab_size
        );
        let expected = format!("the sizes of {arch}, or --arch llama");
        return Err(Error::input(file.display().to_string(), what, expected));
    }
    write(checkpoint, file, out)
}

/// Whether all shapes are the same; what a file states beside them may differ.
fn same_sizes(a: &LlamaConfig, b: &LlamaConfig) -> bool {
    let sizes = |c: &LlamaConfig| {
        [
            c.vocab_size,
            c.hidden_size,
            c.intermediate_size,
            c.num_hidden_layers,
            c.num_attention_heads,
            c.num_key_value_heads,
            c.head_dim,
        ]
    };
    sizes(a) == sizes(b) && a.tie_word_embeddings == b.tie_word_embeddings
}

fn write(checkpoint: Checkpoint, file: &Path, out: &Path) -> Result<ModelCard> {
    let context = RunContext::cpu();
    let config = CausalLmConfig::Llama(checkpoint.config);
    let (vocab, length) = (config.vocab_size(), config.max_length());
    let json = checkpoint.tokenizer.to_string();
    let tokenizer = TextTokenizer::causal_from_json(json.as_bytes(), vocab, length)?;
    let folder = ModelFolder::create(out)?;
    // Under another name until it is known that they fit.
    let converted = folder.file("converted.safetensors");
    let mut model = config.init(&context.device);
    let loaded = weights::write_tensors(&converted, &checkpoint.tensors, SaveDtype::F32)
        .and_then(|()| model.load(&converted));
    if converted.exists() {
        fs::remove_file(&converted).map_err(|e| Error::io("remove", &converted, e))?;
    }
    loaded?;
    let origin = file.file_name().unwrap_or_default().to_string_lossy();
    let origin = format!("imported from {origin}");
    let card = ModelCard::new(
        ["nlp", "generate", "llama"],
        weights::num_params(&model),
        &checkpoint.licence,
        &origin,
    );
    let generator = Generator::new(config, model, tokenizer, card, &context)?;
    generator.save(out, SaveDtype::F32, &checkpoint.generation)?;
    Ok(generator.card)
}

/// Rows of a projection of queries or keys, whose rotary pairs lie side by side in each head, in the order of
/// the published layout: the first of each pair in the first half of the head, the second in the second.
fn unpermute(tensor: RawTensor, num_heads: usize) -> RawTensor {
    let rows = tensor.shape[0];
    let width = tensor.data.len() / rows.max(1);
    let head = rows / num_heads;
    let mut data = Vec::with_capacity(tensor.data.len());
    for row in 0..rows {
        let (start, at) = (row / head * head, row % head);
        let (second, pair) = (at / (head / 2), at % (head / 2));
        let from = (start + 2 * pair + second) * width;
        data.extend_from_slice(&tensor.data[from..from + width]);
    }
    RawTensor { data, ..tensor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotary_pairs_go_to_the_two_halves_of_a_head() {
        let data: Vec<f32> = (0..16).map(|x| x as f32).collect();
        let tensor = RawTensor {
            shape: vec![8, 2],
            data,
            integer: false,
        };
        let rows: Vec<f32> = unpermute(tensor, 2)
            .data
            .chunks(2)
            .map(|r| r[0] / 2.0)
            .collect();
        assert_eq!(rows, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }

    #[test]
    fn the_named_sizes_are_counted() {
        let counts = architectures();
        assert_eq!(counts[1], ("smollm2-135m".to_string(), 134_515_008));
        assert_eq!(counts[2], ("stories15m".to_string(), 15_191_712));
    }
}
