//! From raw text to the decoded answer, beside transformers' pipelines on tiny models.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{Input, Payload, PredictOptions, Predictor, RunContext, Task};
use panoply_nlp::tasks::{
    classify::TextClassifier,
    embed::{Embed, Embedder},
    fill_mask::{FillMask, MaskFiller},
};
use serde_json::Value;
use std::{fs, path::PathBuf};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/text")
        .join(name)
}

fn model(name: &str) -> String {
    fixture(name).display().to_string()
}

fn expected(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

fn input(text: &str) -> Input {
    Input {
        name: "text".into(),
        payload: Payload::Text(text.into()),
    }
}

fn texts(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["text"].as_str().unwrap().into())
        .collect()
}

/// A fixture's model with the files of sentence-transformers that ask for `mode`, unnormalised.
fn with_pooling(name: &str, mode: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let modules = r#"[{"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]"#;
    fs::write(dir.path().join("modules.json"), modules).unwrap();
    fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    let config = format!(r#"{{"pooling_mode_{mode}": true}}"#);
    fs::write(dir.path().join("1_Pooling/config.json"), config).unwrap();
    dir
}

#[test]
fn embeddings_equal_pooled_hidden_states() {
    let all = expected("embed.json");
    for (name, field, mode) in ["bert", "roberta"].into_iter().flat_map(|name| {
        [
            ("mean", "mean_tokens"),
            ("cls", "cls_token"),
            ("max", "max_tokens"),
            ("mean_sqrt_len", "mean_sqrt_len_tokens"),
        ]
        .map(|(field, mode)| (name, field, mode))
    }) {
        let dir = with_pooling(name, mode);
        let path = dir.path().display().to_string();
        let embedder = Embedder::open(&path, &RunContext::cpu()).unwrap();
        // One batch of texts of different lengths.
        let found = embedder.predict(&texts(&all[name])).unwrap();
        for (row, found) in all[name].as_array().unwrap().iter().zip(found) {
            let expected = row[field].as_array().unwrap();
            assert_eq!(expected.len(), found.len());
            for (a, b) in expected.iter().zip(&found) {
                let difference = (a.as_f64().unwrap() - f64::from(*b)).abs();
                assert!(difference < 1e-4, "{name} {field}: {a} and {b}");
            }
        }
    }
}

#[test]
fn without_other_files_embeddings_are_normalised_means() {
    let all = expected("embed.json");
    let embedder = Embedder::open(&model("bert"), &RunContext::cpu()).unwrap();
    let found = embedder.predict(&texts(&all["bert"])).unwrap();
    for (row, found) in all["bert"].as_array().unwrap().iter().zip(found) {
        let mean: Vec<f64> = row["mean"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        let length = mean.iter().map(|v| v * v).sum::<f64>().sqrt();
        for (a, b) in mean.iter().zip(&found) {
            assert!((a / length - f64::from(*b)).abs() < 1e-5);
        }
    }
}

#[test]
fn lengths_in_a_batch_change_no_embedding() {
    let mut session = Embed.open(&model("roberta"), &RunContext::cpu()).unwrap();
    let inputs: Vec<Input> = [
        "a",
        "The quick brown fox jumps over the lazy dog.",
        "two words",
        "",
    ]
    .map(input)
    .to_vec();
    let mut answers = |batch| {
        let options = PredictOptions {
            batch,
            ..PredictOptions::default()
        };
        session.predict(&inputs, &options)
    };
    let (one, many) = (answers(1), answers(4));
    assert!(one[3].is_err() && many[3].is_err());
    for (a, b) in one.iter().zip(&many).take(3) {
        let (a, b) = (a.as_ref().unwrap(), b.as_ref().unwrap());
        let difference = panoply_testkit::json_difference(&a.json, &b.json, 1e-5);
        assert_eq!(difference, None);
    }
}

#[test]
fn fillings_equal_the_pipeline() {
    let all = expected("fill-mask.json");
    for name in ["bert", "roberta"] {
        let filler = MaskFiller::open(&model(name), &RunContext::cpu()).unwrap();
        let found = filler.predict(&texts(&all[name])).unwrap();
        for (row, found) in all[name].as_array().unwrap().iter().zip(&found) {
            let answer = row["answer"].as_array().unwrap();
            // One mask: a list of answers; several: a list of lists.
            let lists: Vec<&Vec<Value>> = if answer[0].is_array() {
                answer.iter().map(|list| list.as_array().unwrap()).collect()
            } else {
                vec![answer]
            };
            assert_eq!(lists.len(), found.masks.len());
            for (list, mask) in lists.iter().zip(&found.masks) {
                assert_eq!(list.len(), mask.len());
                for (a, b) in list.iter().zip(mask) {
                    assert_eq!(a["token"], b.index, "{name}: {row}");
                    assert_eq!(a["token_str"], b.label, "{name}: {row}");
                    assert_eq!(a["sequence"], b.text, "{name}: {row}");
                    assert!((a["score"].as_f64().unwrap() - b.score).abs() < 1e-4);
                }
            }
        }
    }
}

#[test]
fn either_spelling_of_the_mask_is_understood() {
    let mut session = FillMask
        .open(&model("roberta"), &RunContext::cpu())
        .unwrap();
    let options = PredictOptions::default();
    let inputs = ["The <mask> dog", "The [MASK] dog", "no mask"].map(input);
    let mut answers = session.predict(&inputs, &options);
    let refused = answers.pop().unwrap().unwrap_err().to_string();
    assert!(refused.contains("text: no <mask> in it"), "{refused}");
    let labels: Vec<Value> = answers
        .into_iter()
        .map(|a| a.unwrap().json["labels"][0]["index"].clone())
        .collect();
    // The reference's mask takes the space before it, so that the two differ in nothing.
    assert_eq!(labels[0], labels[1]);
}

#[test]
fn a_model_without_the_head_is_refused() {
    let dir = with_pooling("bert", "cls_token");
    let config = dir.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("\"hidden_size\": 32", "\"hidden_size\": 36"),
    )
    .unwrap();
    let path = dir.path().display().to_string();
    let message = MaskFiller::open(&path, &RunContext::cpu())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("shape") || message.contains("36"),
        "{message}"
    );
}

#[test]
fn classes_equal_the_pipeline() {
    let all = expected("classify.json");
    for name in ["bert", "roberta"] {
        let folder = model(&format!("{name}-classes"));
        let classifier = TextClassifier::open(&folder, &RunContext::cpu()).unwrap();
        assert_eq!(classifier.labels(), ["negative", "neutral", "positive"]);
        let found = classifier.predict(&texts(&all[name])).unwrap();
        for (row, found) in all[name].as_array().unwrap().iter().zip(&found) {
            let answer = row["answer"][0].as_array().unwrap();
            assert_eq!(answer.len(), found.labels.len());
            for (a, b) in answer.iter().zip(&found.labels) {
                assert_eq!(a["label"], b.label, "{name}: {row}");
                assert!(
                    (a["score"].as_f64().unwrap() - b.score).abs() < 1e-4,
                    "{name}: {a} {b:?}"
                );
            }
        }
    }
}
