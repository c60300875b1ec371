//! Entities in texts: beside transformers' pipeline, over windows, and out of training.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{
    Input, Payload, PredictOptions, Predictor, RunContext, Task, TrainOutcome, TrainRequest,
};
use panoply_nlp::tasks::tokens::{Prediction, TokenClassifier, Tokens};
use serde_json::{Value, json};
use std::{
    fmt::Write,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(name)
}

fn with(settings: Value) -> RunContext {
    RunContext {
        settings,
        ..RunContext::cpu()
    }
}

fn open(model: &str, settings: Value) -> TokenClassifier {
    let model = fixture(model).display().to_string();
    TokenClassifier::open(&model, &with(settings)).unwrap()
}

fn one(classifier: &TokenClassifier, text: &str) -> Prediction {
    classifier.predict(&[text.to_string()]).unwrap().remove(0)
}

/// transformers 5.23, every strategy on every text, long ones in windows.
#[test]
fn entities_equal_the_pipeline() {
    let file = fs::read_to_string(fixture("spans/tokens.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let mut compared = 0;
    for name in ["bert", "roberta"] {
        for how in ["none", "simple", "first", "average", "max"] {
            let settings = json!({ "aggregation": how, "stride": file["stride"] });
            let classifier = open(&format!("spans/tokens-{name}"), settings);
            for row in file[name].as_array().unwrap() {
                let text = row["text"].as_str().unwrap();
                let Ok(expected) =
                    serde_json::from_value::<Vec<(String, f64, usize, usize)>>(row[how].clone())
                else {
                    assert_eq!(how, "none", "the reference refuses windows only there");
                    continue;
                };
                let found = one(&classifier, text).entities;
                let place = format!("{name}, {how}: {text:?}");
                assert_eq!(found.len(), expected.len(), "{place}");
                for (found, (label, score, start, end)) in found.iter().zip(expected) {
                    let at = (found.label.as_str(), found.start, found.end);
                    assert_eq!(at, (label.as_str(), start, end), "{place}");
                    assert!((found.score - score).abs() < 1e-5, "{place}: {found:?}");
                    let quoted: String = text.chars().skip(start).take(end - start).collect();
                    assert_eq!(found.text, quoted, "{place}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 2000, "{compared}");
}

#[test]
fn a_long_text_is_read_to_its_end_and_each_token_once() {
    let classifier = open("spans/tokens-bert", json!({ "aggregation": "none" }));
    let text = "The quick brown fox 🦀 jumps. ".repeat(40);
    let answer = one(&classifier, &text);
    let once = one(&classifier, "The quick brown fox 🦀 jumps. ")
        .tokens
        .len();
    assert_eq!(answer.tokens.len(), 40 * once);
    assert!(answer.tokens.is_sorted_by_key(|token| token.start));
    assert_eq!(answer.tokens.last().unwrap().end, text.chars().count() - 1);
    assert_eq!(answer.tokens[0].logits.len(), classifier.labels().len());
}

#[test]
fn ten_megabytes_are_cut_and_bad_inputs_refused() {
    let model = fixture("spans/tokens-bert").display().to_string();
    let context = with(json!({ "max_characters": 300 }));
    let mut session = Tokens.open(&model, &context).unwrap();
    let input = |payload| Input {
        name: "it".into(),
        payload,
    };
    let inputs = [
        input(Payload::Text("Rome and Paris. ".repeat(640_000))),
        input(Payload::Text(String::new())),
        input(Payload::Text("\u{200b}\u{0}".into())),
        input(Payload::Bytes(vec![b'a', 0xFF])),
        input(Payload::Text("e\u{301}".into())),
    ];
    let options = PredictOptions {
        raw: true,
        ..PredictOptions::default()
    };
    let answers = session.predict(&inputs, &options);
    let raw = answers[0].as_ref().unwrap().raw.clone().unwrap();
    let last = raw["tokens"].as_array().unwrap().last().unwrap()["end"].clone();
    assert!((290..=300).contains(&last.as_u64().unwrap()), "{last}");
    for (answer, part) in answers[1..4].iter().zip(["empty", "white space", "UTF-8"]) {
        let message = answer.as_ref().unwrap_err().to_string();
        assert!(
            message.contains(part) && message.contains("it"),
            "{message}"
        );
    }
    assert!(answers[4].is_ok());
}

#[test]
fn a_model_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture("spans/tokens-bert")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["vocab_size"] = json!(100);
    fs::write(&path, config.to_string()).unwrap();
    let open = |model: &str, settings| {
        let error = TokenClassifier::open(model, &with(settings)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let message = open(&dir.path().display().to_string(), Value::Null);
    assert!(message.contains("for a model of 100 tokens"), "{message}");
    let model = fixture("spans/tokens-bert").display().to_string();
    let message = open(&model, json!({ "stride": 64 }));
    assert!(message.contains("stride"), "{message}");
    assert!(open(&model, json!({ "aggregation": "best" })).contains("average"));
    // Weights of another head.
    let message = open(&fixture("spans/qa-bert").display().to_string(), Value::Null);
    assert!(message.contains("classifier"), "{message}");
}

fn request(recipe: &str, data: &Path, out: &Path, sets: &[&str]) -> TrainRequest {
    TrainRequest {
        recipe: recipe.into(),
        sets: sets.iter().map(|set| (*set).into()).collect(),
        data: Some(data.into()),
        model: None,
        out: out.into(),
        resume: false,
        accept_data_issues: false,
    }
}

fn train(request: &TrainRequest) -> TrainOutcome {
    Tokens.train(request, &RunContext::cpu()).unwrap()
}

/// Sentences whose words give their tags away.
fn conll(numbers: Range<usize>) -> String {
    let mut text = String::from("-DOCSTART- O\n\n");
    for i in numbers {
        let (city, name) = (["Rome", "Paris"][i % 2], ["Ann", "Bob", "Eve"][i % 3]);
        // The place differs, so that the words must tell.
        let before = "so O\n".repeat(i % 5);
        write!(
            text,
            "{before}{name} B-PER\nLee I-PER\nsaw O\n{city} B-LOC\nand O\nleft O\n{i} O\n\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn a_model_learns_tags_and_is_scored_alike() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("train.conll"), conll(0..160)).unwrap();
    fs::write(data.join("test.conll"), conll(160..200)).unwrap();
    let sets = ["fit.epochs=8", "data.validation=0.2"];
    let outcome = train(&request("debug", &data, &dir.path().join("run"), &sets));
    let model = outcome.model.display().to_string();
    let found = Tokens.eval(&model, &data, 7, &RunContext::cpu()).unwrap();
    assert_eq!((found.num_samples, found.artefacts.len()), (40, 1));
    let scored = found.metrics.clone();
    for ((name, trained), (same, scored)) in outcome.metrics.iter().zip(&found.metrics) {
        assert_eq!(name, &format!("test_{same}"));
        assert!(
            (trained - scored).abs() < 1e-9,
            "{name}: {trained}, {scored}"
        );
    }
    assert_eq!(outcome.metrics[0].0, "test_f1");
    assert!(outcome.metrics[0].1 > 0.95, "{:?}", outcome.metrics);
    assert_eq!(found.json["report"]["types"][0]["name"], "LOC");
    let config = fs::read_to_string(outcome.model.join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        config["id2label"],
        json!({"0": "B-LOC", "1": "B-PER", "2": "I-PER", "3": "O"})
    );
    let classifier = TokenClassifier::open(&model, &RunContext::cpu()).unwrap();
    let entities = one(&classifier, "so so Bob Lee saw Paris and left 4").entities;
    let found: Vec<(&str, &str, usize)> = entities
        .iter()
        .map(|e| (e.text.as_str(), e.label.as_str(), e.start))
        .collect();
    assert_eq!(found, [("Bob Lee", "PER", 6), ("Paris", "LOC", 18)]);
    let exported = dir.path().join("out.safetensors");
    Tokens
        .export(&outcome.model, "transformers", &exported)
        .unwrap();
    assert!(exported.is_file());
    assert!(
        Tokens
            .export(&outcome.model, "torchvision", &exported)
            .is_err()
    );
    // The same words in other columns.
    let turned = dir.path().join("turned.conll");
    let swap = |line: &str| match line.split_once(' ') {
        Some((word, tag)) if !word.starts_with('-') => format!("{tag} {word}\n"),
        _ => "\n".into(),
    };
    let lines: Vec<String> = conll(160..200).lines().map(swap).collect();
    fs::write(&turned, lines.concat()).unwrap();
    let columns = with(json!({ "columns": { "word": 1, "tag": 0 } }));
    let again = Tokens.eval(&model, &turned, 7, &columns).unwrap();
    assert_eq!(again.metrics, scored);
    // Tags that the model has not are no zero, but an error.
    let other = dir.path().join("other.jsonl");
    fs::write(&other, "{\"tokens\": [\"a\"], \"tags\": [\"B-ORG\"]}").unwrap();
    let message = Tokens
        .eval(&model, &other, 7, &RunContext::cpu())
        .unwrap_err();
    assert!(
        message.to_string().contains("unknown tag 'B-ORG'"),
        "{message}"
    );
}

#[test]
fn a_published_encoder_is_the_start_and_long_sentences_are_scored_whole() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("train.conll"), conll(0..20)).unwrap();
    // One sentence of 360 words, far more tokens than the model's 64.
    let long = conll(0..40)
        .replace("-DOCSTART- O\n\n", "")
        .replace("\n\n", "\n");
    fs::write(data.join("test.conll"), long).unwrap();
    let mut wanted = request(
        "base",
        &data,
        &dir.path().join("run"),
        &["fit.epochs=1", "data.validation=0.2"],
    );
    wanted.model = Some(fixture("text/bert").display().to_string());
    let outcome = train(&wanted);
    assert!(outcome.losses.iter().all(|loss| loss.is_finite()));
    let card = fs::read_to_string(outcome.model.join("panoply.json")).unwrap();
    assert!(
        card.contains("fine-tuned from") && card.contains("\"B-LOC\""),
        "{card}"
    );
    let model = outcome.model.display().to_string();
    let found = Tokens.eval(&model, &data, 4, &RunContext::cpu()).unwrap();
    assert_eq!(found.num_samples, 1);
    // Every word was looked at: the entities of the last sentence count.
    assert_eq!(found.json["report"]["micro_avg"]["support"], 80);
}

#[test]
fn wrong_data_is_refused_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |name: &str, content: &str| {
        let data = dir.path().join(name);
        fs::write(&data, content).unwrap();
        let wanted = request("debug", &data, &dir.path().join("never"), &[]);
        let error = Tokens.train(&wanted, &RunContext::cpu()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let message = refuse("a.conll", &conll(0..9).replace("5 O", "5"));
    assert!(
        message.contains("1 column(s)") && message.contains("line 59"),
        "{message}"
    );
    let message = refuse(
        "b.conll",
        &conll(0..9)
            .replace("B-PER", "O")
            .replace("I-PER", "O")
            .replace("B-LOC", "O"),
    );
    assert!(message.contains("few-classes"), "{message}");
    assert!(refuse("c.conll", "").contains("no sentence"));
    let checked = Tokens
        .check_data(&dir.path().join("a.conll"), &RunContext::cpu())
        .unwrap();
    assert!(
        checked.output.table.iter().any(|row| row[1] == "corrupt"),
        "{:?}",
        checked.output.table
    );
}
