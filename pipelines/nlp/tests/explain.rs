//! Shares of tokens, beside captum's and transformers' attention weights.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{ExplainRequest, Input, Output, Payload, Result, RunContext, Task};
use panoply_nlp::tasks::classify::Classify;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn fixture(name: &str) -> PathBuf {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(name)
}

fn json_of(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

/// A tiny classifier whose token `i` is the word `wi`.
fn model(family: &str, folder: &Path) {
    let name = format!("{family}_sequence");
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    let words = (5..60).map(|i| format!("w{i}"));
    let vocab: Vec<String> = special.into_iter().chain(words).collect();
    fs::write(folder.join("vocab.txt"), vocab.join("\n")).unwrap();
    let config = json_of("configs.json")[&name].to_string();
    fs::write(folder.join("config.json"), config).unwrap();
    let weights = fixture(&format!("{name}.weights.safetensors"));
    fs::copy(weights, folder.join("model.safetensors")).unwrap();
}

fn explain(folder: &Path, method: &str, text: &str, target: Option<usize>) -> Result<Output> {
    let request = ExplainRequest {
        model: Some(folder.display().to_string()),
        method: method.into(),
        input: Input {
            name: "a text".into(),
            payload: Payload::Text(text.into()),
        },
        target,
    };
    Classify.explain(&request, &RunContext::cpu())
}

#[test]
fn shares_are_those_of_the_reference() {
    for (family, expected) in json_of("explain.json").as_object().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        model(family, dir.path());
        let ids = expected["ids"].as_array().unwrap();
        let words = &ids[1..ids.len() - 1];
        let text: Vec<String> = words.iter().map(|id| format!("w{id}")).collect();
        for (method, key) in [
            ("integrated-gradients", "shares"),
            ("attention-rollout", "rollout"),
        ] {
            let target = expected["target"].as_u64().unwrap() as usize;
            let found = explain(dir.path(), method, &text.join(" "), Some(target)).unwrap();
            let tokens = found.json["tokens"].as_array().unwrap();
            let theirs = expected[key].as_array().unwrap();
            assert_eq!(tokens.len(), theirs.len());
            for (ours, theirs) in tokens.iter().zip(theirs) {
                let (a, b) = (ours["share"].as_f64().unwrap(), theirs.as_f64().unwrap());
                assert!((a - b).abs() < 1e-5, "{family} {method}: {a} and {b}");
            }
            assert_eq!(tokens[2]["token"], json!("w5"));
            let text_of: String = found.shades.iter().map(|s| s.text.as_str()).collect();
            assert_eq!(text_of, text.join(" "));
            assert_eq!(
                found.artefacts[0].file_name,
                format!("a-text.{method}.html")
            );
        }
    }
}

#[test]
fn what_cannot_be_explained_says_why() {
    let dir = tempfile::tempdir().unwrap();
    model("bert", dir.path());
    let refuse = |method: &str, text: &str, target, words: &str| {
        let error = explain(dir.path(), method, text, target).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    refuse(
        "attention-rollout",
        "w9",
        Some(3),
        "class 3 of 3; expected 0 to 2",
    );
    refuse("attention-rollout", "", None, "an empty text");
    refuse("grad-cam", "w9", None, "integrated-gradients");
    // Longer than the model reads: what is read is explained, the rest is shown plain.
    let long = explain(dir.path(), "attention-rollout", &"w9 ".repeat(500), None).unwrap();
    assert_eq!(long.json["tokens"].as_array().unwrap().len(), 20);
    let shown: String = long.shades.iter().map(|s| s.text.as_str()).collect();
    assert_eq!(shown.len(), 1500);
}
