//! Answers to questions: beside transformers' `run_qa`, over windows, and out of training.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{Input, Payload, PredictOptions, Predictor, RunContext, Task, TrainRequest};
use panoply_nlp::tasks::qa::{Answer, Answerer, Asked, Qa};
use serde_json::{Value, json};
use std::{
    fs,
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

fn tiny() -> String {
    fixture("spans/qa-bert").display().to_string()
}

/// Answers and logits with five ways to choose, over windows and over texts that fit.
#[test]
fn answers_equal_run_qa() {
    let file = fs::read_to_string(fixture("spans/qa.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let mut compared = 0;
    for row in file["questions"].as_array().unwrap() {
        let asked: Asked = serde_json::from_value(row.clone()).unwrap();
        for decoded in row["decoded"].as_array().unwrap() {
            let settings = json!({
                "top_k": 100,
                "max_length": file["max_length"],
                "doc_stride": file["doc_stride"],
                "n_best": decoded["n_best"],
                "max_answer_len": decoded["max_answer_len"],
                "handle_impossible": decoded["impossible"],
                "null_score_diff_threshold": decoded["threshold"],
            });
            let answerer = Answerer::open(&tiny(), &with(settings)).unwrap();
            let found = answerer
                .predict(std::slice::from_ref(&asked))
                .unwrap()
                .remove(0);
            assert_eq!(
                found.answers[0].text,
                decoded["chosen"].as_str().unwrap(),
                "{decoded}"
            );
            same_answers(&found.answers, decoded["answers"].as_array().unwrap());
            compared += found.answers.len();
            let windows = row["start_logits"].as_array().unwrap();
            assert_eq!(found.windows.len(), windows.len());
            for (window, expected) in found.windows.iter().zip(windows) {
                let expected: Vec<f32> = serde_json::from_value(expected.clone()).unwrap();
                assert_eq!(window.start_logits.len(), expected.len());
                let pairs = window.start_logits.iter().zip(&expected);
                assert!(
                    pairs.clone().all(|(a, b)| (a - b).abs() < 1e-4),
                    "{window:?}"
                );
            }
        }
    }
    assert!(compared > 100, "{compared}");
}

/// Ours lists a stretch once and the chosen one first; beyond that the order is the reference's.
fn same_answers(found: &[Answer], expected: &[Value]) {
    let mut unique: Vec<(u64, u64, f64)> = Vec::new();
    for answer in expected {
        let number = |field: &str| answer[field].as_u64().unwrap();
        let (start, end) = (number("start"), number("end"));
        if !unique.iter().any(|&(s, e, _)| (s, e) == (start, end)) {
            unique.push((start, end, answer["score"].as_f64().unwrap()));
        }
    }
    let chosen = (found[0].start as u64, found[0].end as u64);
    unique.sort_by_key(|&(start, end, _)| (start, end) != chosen);
    assert_eq!(found.len(), unique.len());
    for (answer, (start, end, score)) in found.iter().zip(unique) {
        assert_eq!((answer.start as u64, answer.end as u64), (start, end));
        assert!((answer.score - score).abs() < 1e-4, "{answer:?} {score}");
    }
}

fn row(question: &str, context: &str) -> Input {
    Input {
        name: "it".into(),
        payload: Payload::Row(json!({ "question": question, "context": context })),
    }
}

#[test]
fn long_texts_are_read_in_windows_and_bad_rows_refused() {
    let context = with(json!({ "max_characters": 3000 }));
    let mut session = Qa.open(&tiny(), &context).unwrap();
    let options = PredictOptions {
        raw: true,
        ..PredictOptions::default()
    };
    let bad = |payload| Input {
        name: "it".into(),
        payload,
    };
    let inputs = [
        row("Who?", &"Rome 🦀 and Paris. ".repeat(600_000)),
        // So long a question leaves room for a few tokens only: the windows overlap less.
        row(&"Who reads it? ".repeat(6), &"Rome and Paris. ".repeat(20)),
        row(&"Who reads it? ".repeat(40), "Rome."),
        row("", "Rome."),
        row("Who?", ""),
        row("Who?", "\u{200b}"),
        bad(Payload::Row(json!({ "question": "Who?" }))),
        bad(Payload::Row(json!({ "question": 1, "context": "Rome." }))),
        bad(Payload::Text("Who?".into())),
        row("  \u{3000}", "Rome."),
        row("?", "Rome."),
    ];
    let answers = session.predict(&inputs, &options);
    let first = answers[0].as_ref().unwrap();
    let windows = first.raw.as_ref().unwrap()["windows"]
        .as_array()
        .unwrap()
        .clone();
    let ends = windows
        .iter()
        .flat_map(|w| w["offsets"].as_array().unwrap().clone());
    let last = ends.filter_map(|offset| offset[1].as_u64()).max().unwrap();
    assert!(
        windows.len() > 10 && (2990..=3000).contains(&last),
        "{last}"
    );
    assert!(answers[1].is_ok());
    let parts = [
        "no room",
        "empty",
        "empty",
        "white space",
        "no context",
        "question that is no text",
        "a text",
        "empty",
    ];
    for (answer, part) in answers[2..10].iter().zip(parts) {
        let message = answer.as_ref().unwrap_err().to_string();
        assert!(
            message.starts_with("it") && message.contains(part),
            "{part}: {message}"
        );
    }
    assert!(answers[10].is_ok());
    let wrong = |settings| {
        Answerer::open(&tiny(), &with(settings))
            .unwrap_err()
            .to_string()
    };
    assert!(wrong(json!({ "top_k": 0 })).contains("top_k"));
    assert!(wrong(json!({ "n_best": -1 })).contains("--set"));
    assert!(wrong(json!({ "max_length": 2 })).contains("tokens"));
}

fn article(title: &str, number: usize, impossible: bool) -> Value {
    let before = format!("🦀 {}{title} reads in ", "so ".repeat(number % 5));
    let context = format!("{before}Rome{}.", " and so".repeat(number % 3));
    let start = before.chars().count();
    let question = |id: String, answers: Value, is_impossible: bool| json!({"id": id, "question": "Where is it?", "answers": answers, "is_impossible": is_impossible});
    let place = json!([{"text": "Rome", "answer_start": start}]);
    let mut qas = vec![question(format!("{title}-{number}"), place, false)];
    if impossible {
        qas.push(question(format!("{title}-{number}-none"), json!([]), true));
    }
    json!({"title": title, "paragraphs": [{"context": context, "qas": qas}]})
}

fn squad(titles: &[&str], impossible: bool) -> String {
    let articles: Vec<Value> = titles
        .iter()
        .flat_map(|title| (0..16).map(|number| article(title, number, impossible)))
        .collect();
    json!({"version": "1.1", "data": articles}).to_string()
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

#[test]
fn training_and_scoring_agree_with_and_without_unanswerable_questions() {
    let dir = tempfile::tempdir().unwrap();
    for impossible in [false, true] {
        let data = dir.path().join(format!("squad-{impossible}.json"));
        fs::write(&data, squad(&["A", "B", "C"], impossible)).unwrap();
        let out = dir.path().join(format!("run-{impossible}"));
        let mut wanted = request("base", &data, &out, &["fit.epochs=2"]);
        wanted.model = Some(fixture("text/bert").display().to_string());
        let outcome = Qa.train(&wanted, &RunContext::cpu()).unwrap();
        assert!(outcome.losses.iter().all(|loss| loss.is_finite()));
        let names: Vec<&str> = outcome
            .metrics
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names[..2], ["valid_exact_match", "valid_f1"]);
        assert_eq!(names.len(), if impossible { 6 } else { 2 });
        // The article held out is the last by title: scored alone it gives the same.
        let held = dir.path().join("held.json");
        fs::write(&held, squad(&["C"], impossible)).unwrap();
        let model = outcome.model.display().to_string();
        let found = Qa.eval(&model, &held, 3, &RunContext::cpu()).unwrap();
        assert_eq!(found.num_samples, if impossible { 32 } else { 16 });
        for ((name, trained), (same, scored)) in outcome.metrics.iter().zip(&found.metrics) {
            assert_eq!(name, &format!("valid_{same}"));
            assert!(
                (trained - scored).abs() < 1e-9,
                "{name}: {trained}, {scored}"
            );
        }
        let said = fs::read_to_string(outcome.model.join("preprocessor_config.json")).unwrap();
        assert!(said.contains(&impossible.to_string()), "{said}");
        let exported = dir.path().join("out.safetensors");
        Qa.export(&outcome.model, "transformers", &exported)
            .unwrap();
        assert!(exported.is_file() && Qa.export(&outcome.model, "onnx", &exported).is_err());
    }
}

#[test]
fn a_model_learns_where_answers_stand() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("squad.json");
    fs::write(&data, squad(&["A", "B", "C", "D", "E"], false)).unwrap();
    let wanted = request("debug", &data, &dir.path().join("run"), &["fit.epochs=30"]);
    let outcome = Qa.train(&wanted, &RunContext::cpu()).unwrap();
    // Every answer is the word "Rome", at another place: a model that learns finds it in an article
    // that it never saw.
    assert_eq!(outcome.metrics[0].0, "valid_exact_match");
    assert!(outcome.metrics[0].1 > 90.0, "{:?}", outcome.metrics);
}

#[test]
fn wrong_data_is_refused_by_question() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |content: &str| {
        let data = dir.path().join("squad.json");
        fs::write(&data, content).unwrap();
        let wanted = request("debug", &data, &dir.path().join("never"), &[]);
        let error = Qa.train(&wanted, &RunContext::cpu()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let message = refuse(&squad(&["A", "B"], false).replace("\"Rome\"", "\"Paris\""));
    assert!(
        message.contains("answer_start") && message.contains("A-0"),
        "{message}"
    );
    assert!(refuse(&squad(&["A"], false)).contains("1 article(s)"));
    assert!(refuse("{\"data\": \"\\ud800\"}").contains("squad.json"));
}
