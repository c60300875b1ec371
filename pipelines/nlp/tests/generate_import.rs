//! Checkpoints of other programs: GGUF beside transformers, llama2.c's layout, files that lie.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{
    Error, Predictor, RunContext, Task,
    weights::{RawTensor, read_tensors},
};
use panoply_nlp::tasks::generate::{Generate, Generator};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/generate")
        .join(name)
}

fn open(folder: &Path, settings: Value) -> Generator {
    let context = RunContext {
        settings,
        ..RunContext::cpu()
    };
    Generator::open(&folder.display().to_string(), &context).unwrap()
}

#[test]
fn gguf_gives_the_tokens_of_transformers() {
    let dir = tempfile::tempdir().unwrap();
    let card = Generate
        .import(&fixture("tiny.gguf"), "llama", dir.path())
        .unwrap();
    assert_eq!(
        (card.task.as_str(), card.arch.as_str()),
        ("generate", "llama")
    );
    let files = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(
        files, 6,
        "config, weights, tokenizer (2), generation_config, card"
    );
    let generator = open(dir.path(), json!({"max_new_tokens": 24}));
    let cases = fs::read_to_string(fixture("gguf.json")).unwrap();
    let cases: Value = serde_json::from_str(&cases).unwrap();
    for case in cases.as_array().unwrap() {
        let prompt = case["prompt"].as_str().unwrap();
        let ids = |key: &str| serde_json::from_value::<Vec<u32>>(case[key].clone()).unwrap();
        assert_eq!(
            generator.encode("prompt", prompt).unwrap().ids,
            ids("prompt_ids")
        );
        let answer = &generator.predict(&[prompt.into()]).unwrap()[0];
        assert_eq!(answer.ids, ids("ids"), "{prompt}");
        // The first token's log-probability, out of the reference's logits.
        let logits: Vec<f64> = serde_json::from_value(case["logits"].clone()).unwrap();
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        let expected = logits[answer.ids[0] as usize] - sum.ln();
        assert!((f64::from(answer.log_probs[0]) - expected).abs() < 1e-4);
    }
}

#[test]
fn what_is_no_checkpoint_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |bytes: &[u8], arch: &str, what: &str| {
        let (file, out) = (dir.path().join("x.bin"), dir.path().join("out"));
        fs::write(&file, bytes).unwrap();
        let error = Generate.import(&file, arch, &out).unwrap_err();
        assert!(
            error.exit_code() == 2 && error.to_string().contains(what),
            "{error}"
        );
        assert!(!out.join("config.json").exists());
    };
    let whole = fs::read(fixture("tiny.gguf")).unwrap();
    refused(&whole[..whole.len() - 400], "llama", "GGUF");
    refused(&whole, "stories15m", "sizes of stories15m");
    refused(&whole, "gpt5", "architecture");
    refused(b"", "llama", "too early");
    refused(&[0xFF; 100], "llama", "sizes");
    refused(
        b"{\"a\": 1}, and some more text of a file",
        "llama",
        "x.bin",
    );
    // Another kind of tokenizer, and another architecture.
    let change = |from: &[u8], to: &[u8]| {
        let at = whole
            .windows(from.len())
            .position(|part| part == from)
            .unwrap();
        [&whole[..at], to, &whole[at + from.len()..]].concat()
    };
    refused(&change(b"gpt-2", b"gpt-9"), "llama", "gpt-9");
    refused(&change(b"llama", b"mamba"), "llama", "mamba");
    refused(&change(b"blk.1.attn_k", b"blk.1.attn_z"), "llama", "attn_z");
    refused(
        &change(b"blk.1.attn_k", b"blk.9.attn_k"),
        "llama",
        "layers.",
    );
}

/// Rows of a head with rotary pairs side by side, as llama2.c has them.
fn permuted(tensor: &RawTensor, heads: usize) -> Vec<f32> {
    let (rows, width) = (tensor.shape[0], tensor.shape[1]);
    let head = rows / heads;
    let row = |at: usize| {
        let (start, within) = (at / head * head, at % head);
        let from = start + within / 2 + within % 2 * (head / 2);
        &tensor.data[from * width..(from + 1) * width]
    };
    (0..rows).flat_map(row).copied().collect()
}

/// The fixture's Llama as llama2.c writes it, with a vocabulary of letters.
fn llama2c(tensors: &BTreeMap<String, RawTensor>, vocab: usize) -> Vec<u8> {
    // Negative: the output layer has its own weights.
    let header = [24, 40, 2, 4, 2, -(vocab as i32), 64];
    let mut floats: Vec<f32> = tensors["model.embed_tokens.weight"].data.clone();
    for (kind, heads) in [
        ("input_layernorm", 0),
        ("self_attn.q_proj", 4),
        ("self_attn.k_proj", 2),
        ("self_attn.v_proj", 0),
        ("self_attn.o_proj", 0),
        ("post_attention_layernorm", 0),
        ("mlp.gate_proj", 0),
        ("mlp.down_proj", 0),
        ("mlp.up_proj", 0),
    ] {
        for layer in 0..2 {
            let tensor = &tensors[&format!("model.layers.{layer}.{kind}.weight")];
            floats.extend(match heads {
                0 => tensor.data.clone(),
                heads => permuted(tensor, heads),
            });
        }
    }
    floats.extend(&tensors["model.norm.weight"].data);
    floats.extend(vec![0.0; 64 * 6]);
    floats.extend(&tensors["lm_head.weight"].data);
    let mut bytes: Vec<u8> = header.iter().flat_map(|n| n.to_le_bytes()).collect();
    bytes.extend(floats.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

/// Tokens with scores: `<unk>`, `<s>`, `</s>`, all bytes (by name, or as older files have them), some
/// pieces, then fillers.
fn vocabulary(size: usize, old: bool) -> Vec<u8> {
    let mut tokens = vec!["<unk>".to_string(), "\n<s>\n".into(), "\n</s>\n".into()];
    let byte = |byte: u8| {
        if old {
            char::from(byte).to_string()
        } else {
            format!("<0x{byte:02X}>")
        }
    };
    tokens.extend((0..=255).map(byte));
    let pieces = [" ", "a", "b", "c", "ab", "abc", " a", " abc", "bc"];
    tokens.extend(pieces.map(String::from));
    tokens.extend((tokens.len()..size).map(|id| format!("filler{id}")));
    let mut bytes = 16i32.to_le_bytes().to_vec();
    for (id, token) in tokens.iter().enumerate() {
        bytes.extend((-(id as f32)).to_le_bytes());
        bytes.extend((token.len() as i32).to_le_bytes());
        bytes.extend(token.as_bytes());
    }
    bytes
}

#[test]
fn llama2c_files_become_the_published_layout() -> Result<(), Error> {
    let original = read_tensors(&fixture("llama/model.safetensors"))?;
    let vocab = original["model.embed_tokens.weight"].shape[0];
    let weights = llama2c(&original, vocab);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.bin");
    for (name, whole) in [
        (
            "behind",
            [weights.clone(), vocabulary(vocab, true)].concat(),
        ),
        ("beside", weights.clone()),
    ] {
        fs::write(&file, whole).unwrap();
        if name == "beside" {
            fs::write(dir.path().join("tokenizer.bin"), vocabulary(vocab, false)).unwrap();
        }
        let out = dir.path().join(name);
        Generate.import(&file, "llama", &out)?;
        assert_eq!(read_tensors(&out.join("model.safetensors"))?, original);
        let generator = open(&out, json!({"max_new_tokens": 3}));
        // Merged in the order of the scores; bytes stand for what has no token.
        let encoded = generator.encode("prompt", "abc é")?.ids;
        assert_eq!(encoded[0], 1);
        let known = ["<s>", "▁abc", "▁", "<0xC3>", "<0xA9>"];
        assert_eq!(encoded.len(), known.len(), "{encoded:?}");
        assert_eq!(generator.predict(&["abc".into()])?[0].ids.len(), 3);
    }
    fs::write(&file, &weights[..weights.len() - 4]).unwrap();
    assert!(
        Generate
            .import(&file, "llama", &dir.path().join("cut"))
            .is_err()
    );
    Ok(())
}
