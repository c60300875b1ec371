//! Tokens equal those of transformers' fast tokenizers, to the character.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{ModelFolder, Result};
use panoply_nlp::{
    models::bert::BertConfig,
    preprocess::{Encoded, TextTokenizer},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text")
}

fn expected() -> Value {
    let text = fs::read_to_string(fixtures().join("tokens.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A model of many tokens, so that every tokenizer fits.
fn config() -> BertConfig {
    BertConfig::tiny(1000)
}

/// Some of the files of a fixture in a model folder of its own.
fn folder(of: &str, files: &[&str]) -> (tempfile::TempDir, ModelFolder) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), "{}").unwrap();
    for file in files {
        fs::copy(fixtures().join(of).join(file), dir.path().join(file)).unwrap();
    }
    let folder = ModelFolder::open(dir.path()).unwrap();
    (dir, folder)
}

fn open(of: &str, files: &[&str]) -> TextTokenizer {
    let (_dir, folder) = folder(of, files);
    TextTokenizer::open(&folder, &config()).unwrap()
}

fn json_of(encoded: &Encoded) -> Value {
    // transformers' `word_ids` of a single text, special tokens without a word.
    json!({
        "ids": encoded.ids,
        "types": encoded.types,
        "offsets": encoded.offsets,
        "words": encoded.words,
    })
}

/// Every nasty text and pair of the fixture, cut at its length.
fn equals_transformers(tokenizer: &TextTokenizer, name: &str) {
    let all = expected();
    let texts = all["texts"].as_array().unwrap();
    let answers = all[name]["texts"].as_array().unwrap();
    assert!(texts.len() == answers.len() && texts.len() >= 20);
    for (text, answer) in texts.iter().zip(answers) {
        let text = text.as_str().unwrap();
        let encoded = tokenizer.encode("text", text).unwrap();
        assert_eq!(&json_of(&encoded), answer, "{name}: {text:?}");
    }
    for (pair, answer) in all["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .zip(all[name]["pairs"].as_array().unwrap())
    {
        let (a, b) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        let encoded = tokenizer.encode_pair("pair", a, b).unwrap();
        let found = json_of(&encoded);
        for field in ["ids", "types", "offsets", "words"] {
            assert_eq!(found[field], answer[field], "{name}: {field} of {pair}");
        }
    }
}

#[test]
fn word_pieces_equal_transformers() {
    equals_transformers(&open("bert", &["tokenizer.json"]), "bert");
}

#[test]
fn byte_level_pairs_equal_transformers() {
    equals_transformers(&open("roberta", &["tokenizer.json"]), "roberta");
}

#[test]
fn unigrams_equal_transformers() {
    equals_transformers(&open("unigram", &["tokenizer.json"]), "unigram");
}

#[test]
fn a_vocabulary_alone_makes_the_same_tokenizer() {
    equals_transformers(
        &open("bert", &["vocab.txt", "tokenizer_config.json"]),
        "bert",
    );
    let files = ["vocab.json", "merges.txt", "tokenizer_config.json"];
    equals_transformers(&open("roberta", &files), "roberta");
}

#[test]
fn case_is_kept_where_the_files_say_so() {
    let (dir, folder) = folder("bert", &["vocab.txt"]);
    fs::write(
        dir.path().join("tokenizer_config.json"),
        r#"{"do_lower_case": false}"#,
    )
    .unwrap();
    let cased = TextTokenizer::open(&folder, &config()).unwrap();
    let uncased = open("bert", &["vocab.txt"]);
    let ids = |tokenizer: &TextTokenizer| tokenizer.encode("text", "PARIS").unwrap().ids;
    assert_eq!(ids(&uncased), uncased.encode("text", "paris").unwrap().ids);
    assert_ne!(ids(&cased), cased.encode("text", "paris").unwrap().ids);
}

#[test]
fn text_comes_back_from_tokens_as_in_transformers() {
    let all = expected();
    for name in ["bert", "roberta", "unigram"] {
        let tokenizer = open(name, &["tokenizer.json"]);
        let answers = all[name]["decoded"].as_array().unwrap();
        for (text, answer) in all["texts"].as_array().unwrap().iter().zip(answers) {
            let text = text.as_str().unwrap();
            let whole = tokenizer.windows("text", text, None, 0).unwrap();
            if whole.len() == 1 {
                let decoded = tokenizer.decode(&whole[0].ids, true).unwrap();
                assert_eq!(decoded, answer.as_str().unwrap(), "{name}: {text:?}");
            }
        }
    }
}

#[test]
fn windows_equal_transformers() {
    let all = expected();
    let (question, context) = (&all["pairs"][0][0], &all["pairs"][0][1]);
    let context = context.as_str().unwrap().repeat(3);
    for name in ["bert", "roberta", "unigram"] {
        let tokenizer = open(name, &["tokenizer.json"]).with_max_length(40).unwrap();
        let windows = tokenizer
            .windows("w", question.as_str().unwrap(), Some(&context), 7)
            .unwrap();
        let found: Vec<Value> = windows
            .iter()
            .map(|w| json!({"ids": w.ids, "offsets": w.offsets}))
            .collect();
        assert_eq!(json!(found), all[name]["windows"], "{name}");
        assert!(found.len() > 2);
    }
}

#[test]
fn what_cannot_be_tokenized_is_refused_by_name() {
    let tokenizer = open("bert", &["tokenizer.json"]);
    let refuse = |text: &str| tokenizer.encode("line 7", text).unwrap_err().to_string();
    assert!(refuse("").contains("line 7: an empty text"));
    assert!(refuse(" \n\u{3000}").contains("line 7: nothing but"));
    assert!(refuse("\u{0}\u{1}").contains("line 7: nothing but"));
    let long = "word ".repeat(100);
    let first_too_long = tokenizer.windows("line 8", &long, Some("x"), 2);
    assert!(first_too_long.unwrap_err().to_string().contains("line 8"));
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let (_dir, bert) = folder("bert", &["tokenizer.json"]);
    let open = |folder: &ModelFolder, vocab: usize| -> Result<TextTokenizer> {
        TextTokenizer::open(folder, &BertConfig::tiny(vocab))
    };
    let message = open(&bert, 100).unwrap_err().to_string();
    assert!(
        message.contains("token id") && message.contains("100 tokens"),
        "{message}"
    );
    let (dir, empty) = folder("bert", &[]);
    let message = open(&empty, 1000).unwrap_err().to_string();
    assert!(message.contains("no tokenizer in it"), "{message}");
    for (file, content) in [
        ("tokenizer.json", "{\"model\": 3}"),
        ("tokenizer.json", "not json"),
        ("vocab.txt", "a\nb\n"),
        ("vocab.json", "[]"),
    ] {
        fs::write(dir.path().join("merges.txt"), "").unwrap();
        fs::write(dir.path().join(file), content).unwrap();
        let message = open(&empty, 1000).unwrap_err().to_string();
        assert!(message.contains(file), "{file}: {message}");
        fs::remove_file(dir.path().join(file)).unwrap();
    }
}

#[test]
fn ten_megabytes_are_cut_like_their_beginning() {
    let start = "The quick brown fox, naïve 日本 👍🏽 ".repeat(40);
    let long = start.repeat(10_000_000 / start.len() + 1);
    for name in ["bert", "roberta", "unigram"] {
        let tokenizer = open(name, &["tokenizer.json"]);
        let encoded = tokenizer.encode("long", &long).unwrap();
        assert_eq!(
            encoded,
            tokenizer.encode("short", &start).unwrap(),
            "{name}"
        );
        assert!(encoded.truncated && encoded.len() == 64, "{name}");
    }
}
