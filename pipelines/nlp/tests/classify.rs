//! Training and scoring on tables of texts, one class a text and several.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{Predictor, RunContext, Task, TrainOutcome, TrainRequest};
use panoply_nlp::tasks::classify::{Classify, TextClassifier};
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

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
    Classify.train(request, &RunContext::cpu()).unwrap()
}

/// Things of a colour and a size; `label` says what a row is called.
fn table(rows: usize, label: impl Fn(bool, bool) -> &'static str) -> String {
    let mut text = "review,kind\n".to_string();
    for i in 0..rows {
        let (red, big) = (i % 2 == 0, i % 3 == 0);
        let colour = if red { "red" } else { "blue" };
        let size = if big { "big" } else { "small" };
        writeln!(text, "a {size} {colour} thing {i},{}", label(red, big)).unwrap();
    }
    text
}

const NAMES: [&str; 2] = ["data.columns.text=review", "data.columns.label=kind"];

#[test]
fn texts_may_have_several_classes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("things.csv");
    let label = |red, big| match (red, big) {
        (true, true) => "red|big",
        (true, false) => "red",
        (false, true) => "big",
        (false, false) => "",
    };
    fs::write(&data, table(240, label)).unwrap();
    let multi = [
        "data.multi_label=true",
        "data.columns.separator=\"|\"",
        "fit.epochs=30",
    ];
    let sets = [&NAMES[..], &multi].concat();
    let outcome = train(&request("debug", &data, &dir.path().join("run"), &sets));
    let names: Vec<&str> = outcome
        .metrics
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = [
        "valid_accuracy",
        "valid_f1_micro",
        "valid_f1_macro",
        "valid_hamming_loss",
    ];
    assert_eq!(names, expected);
    // The words decide: a model that learns finds them.
    assert!(outcome.metrics[1].1 > 0.9, "{:?}", outcome.metrics);

    let model = outcome.model.display().to_string();
    let found = Classify
        .eval(&model, &data, 16, &RunContext::cpu())
        .unwrap();
    assert_eq!(found.num_samples, 240);
    assert!(
        found.metrics[1].1 > 0.9 && found.artefacts.is_empty(),
        "{:?}",
        found.metrics
    );
    assert_eq!(found.json["report"]["red"]["support"], 120);
    let classifier = TextClassifier::open(&model, &RunContext::cpu()).unwrap();
    let answer = &classifier.predict(&["a big red thing 6".into()]).unwrap()[0];
    assert_eq!(answer.labels.len(), 2);
    // Each class for itself: no softmax over them.
    for label in &answer.labels {
        let sigmoid = 1.0 / (1.0 + (-f64::from(answer.logits[label.index])).exp());
        assert!((label.score - sigmoid).abs() < 1e-6, "{answer:?}");
    }
}

#[test]
fn a_published_encoder_is_fine_tuned_and_scored_alike() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let label = |red, _| if red { "warm" } else { "cold" };
    fs::write(data.join("train.csv"), table(60, label)).unwrap();
    fs::write(
        data.join("test.csv"),
        table(90, label).replace("thing", "object"),
    )
    .unwrap();
    let encoder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text/bert");
    let sets = [&NAMES[..], &["fit.epochs=1", "data.validation=0.2"]].concat();
    let mut wanted = request("base", &data, &dir.path().join("run"), &sets);
    wanted.model = Some(encoder.display().to_string());
    let outcome = train(&wanted);
    let model = outcome.model.display().to_string();
    let found = Classify.eval(&model, &data, 7, &RunContext::cpu()).unwrap();
    assert_eq!(found.num_samples, 90);
    for ((name, trained), (same, scored)) in outcome.metrics.iter().zip(&found.metrics) {
        assert_eq!(name, &format!("test_{same}"));
        assert!(
            (trained - scored).abs() < 1e-5,
            "{name}: {trained} and {scored}"
        );
    }
    let card = fs::read_to_string(outcome.model.join("panoply.json")).unwrap();
    assert!(
        card.contains("fine-tuned from") && card.contains("\"warm\""),
        "{card}"
    );
    let exported = dir.path().join("out.safetensors");
    Classify
        .export(&outcome.model, "transformers", &exported)
        .unwrap();
    assert!(exported.is_file());
    assert!(
        Classify
            .export(&outcome.model, "torchvision", &exported)
            .is_err()
    );
}

#[test]
fn wrong_data_is_refused_by_row_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |name: &str, content: &str, sets: &[&str]| {
        let data: PathBuf = dir.path().join(name);
        fs::write(&data, content).unwrap();
        let wanted = request("debug", &data, &dir.path().join("never"), sets);
        let error = Classify.train(&wanted, &RunContext::cpu()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let message = refuse("a.csv", &table(20, |_, _| "x"), &[]);
    assert!(message.contains("no column 'label'"), "{message}");
    let message = refuse("b.csv", &table(20, |_, _| "x"), &NAMES);
    assert!(message.contains("few-classes"), "{message}");
    let list = |i| format!("{{\"text\": \"text {i}\", \"label\": [\"x\", \"y\"]}}\n");
    let lists: String = (0..9).map(list).collect();
    let message = refuse("c.jsonl", &lists, &[]);
    assert!(
        message.contains("2 classes") && message.contains("multi_label"),
        "{message}"
    );
}

#[test]
fn an_adapter_alone_answers_as_the_merged_model() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("things.csv");
    fs::write(&data, table(120, |red, _| if red { "red" } else { "blue" })).unwrap();
    let base = dir.path().join("base");
    let small = ["fit.epochs=2", "model.hidden_size=16"];
    train(&request(
        "debug",
        &data,
        &base,
        &[&NAMES[..], &small].concat(),
    ));

    let tuned = dir.path().join("tuned");
    let few = ["fit.epochs=3", "model.lora.rank=2"];
    let outcome = train(&TrainRequest {
        model: Some(base.join("model").display().to_string()),
        ..request("lora", &data, &tuned, &[&NAMES[..], &few].concat())
    });
    let adapter = tuned.join("adapter");
    assert!(!adapter.join("model.safetensors").exists());
    let size = |path: PathBuf| fs::metadata(path).unwrap().len();
    let weights = size(outcome.model.join("model.safetensors"));
    assert!(size(adapter.join("adapter_model.safetensors")) * 4 < weights);

    let texts = [
        "a big red thing".to_string(),
        "a small blue thing".to_string(),
    ];
    let logits = |model: &Path| {
        let model = TextClassifier::open(&model.display().to_string(), &RunContext::cpu());
        let answers = model.unwrap().predict(&texts).unwrap();
        answers
            .into_iter()
            .flat_map(|a| a.logits)
            .collect::<Vec<f32>>()
    };
    let (merged, unmerged) = (logits(&outcome.model), logits(&adapter));
    let before = logits(&base.join("model"));
    for ((a, b), c) in merged.iter().zip(&unmerged).zip(&before) {
        assert!((a - b).abs() < 1e-5 && (a - c).abs() > 1e-3, "{a} {b} {c}");
    }
}
