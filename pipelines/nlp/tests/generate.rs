//! `nlp generate` beside transformers on tiny models: tokens, scores, filters, perplexity.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{
    Input, Payload, Pieces, PredictOptions, Predictor, RunContext, Session, Task, TrainRequest,
};
use panoply_nlp::tasks::generate::{BUNDLED, Finish, Generate, Generator, logits, score_text};
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/generate")
        .join(name)
}

fn expected(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

fn context(settings: Value) -> RunContext {
    RunContext {
        settings,
        ..RunContext::cpu()
    }
}

fn open(model: &str, settings: Value) -> Generator {
    Generator::open(&fixture(model).display().to_string(), &context(settings)).unwrap()
}

fn input(name: &str, text: &str) -> Input {
    Input {
        name: name.into(),
        payload: Payload::Text(text.into()),
    }
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Cases of one setting and length, so that their prompts make a batch.
fn groups(cases: &Value) -> Vec<&[Value]> {
    let same = |a: &Value, b: &Value| {
        a["settings"] == b["settings"] && a["max_new_tokens"] == b["max_new_tokens"]
    };
    cases.as_array().unwrap().chunk_by(same).collect()
}

#[test]
fn greedy_decoding_and_beam_search_equal_transformers_alone_and_in_a_batch() {
    for model in ["gpt2", "llama"] {
        let all = expected("generate.json");
        for cases in groups(&all[model]) {
            let mut settings = cases[0]["settings"].clone();
            settings["max_new_tokens"] = cases[0]["max_new_tokens"].clone();
            let generator = open(model, settings);
            let prompts: Vec<String> = cases
                .iter()
                .map(|case| case["prompt"].as_str().unwrap().into())
                .collect();
            let together = generator.predict(&prompts).unwrap();
            for ((case, answer), prompt) in cases.iter().zip(&together).zip(&prompts) {
                assert_eq!(answer.ids, ids(&case["ids"]), "{model}: {case}");
                let alone = generator.predict(std::slice::from_ref(prompt)).unwrap();
                assert_eq!(alone[0].ids, answer.ids, "{model}: {case}");
                assert_eq!(alone[0].text, answer.text);
                let score = answer.score.map(f64::from);
                match case["score"].as_f64() {
                    Some(theirs) => assert!((score.unwrap() - theirs).abs() < 1e-4, "{case}"),
                    None => assert_eq!(score, None),
                }
            }
        }
    }
}

#[test]
fn processors_equal_transformers() {
    let cases = expected("processors.json");
    for case in cases.as_array().unwrap() {
        let mut scores: Vec<f32> = serde_json::from_value(case["scores"].clone()).unwrap();
        let tokens = ids(&case["tokens"]);
        for processor in case["processors"].as_str().unwrap().split(' ') {
            let (name, value) = processor.split_once('=').unwrap();
            let value: f64 = value.parse().unwrap();
            match name {
                "repetition_penalty" => {
                    logits::repetition_penalty(&mut scores, &tokens, value as f32);
                }
                "no_repeat_ngram_size" => {
                    logits::no_repeat_ngram(&mut scores, &tokens, value as usize);
                }
                "temperature" => scores.iter_mut().for_each(|s| *s /= value as f32),
                "top_k" => logits::top_k(&mut scores, value as usize),
                "top_p" => logits::top_p(&mut scores, value),
                other => panic!("{other}"),
            }
        }
        let theirs: Vec<Option<f32>> = serde_json::from_value(case["expected"].clone()).unwrap();
        for (ours, theirs) in scores.iter().zip(&theirs) {
            match theirs {
                None => assert_eq!(*ours, f32::NEG_INFINITY, "{case}"),
                Some(theirs) => assert!((ours - theirs).abs() < 1e-6, "{case}"),
            }
        }
        assert_eq!(scores.len(), theirs.len());
    }
}

#[test]
fn perplexity_equals_the_sliding_window_of_transformers() {
    for model in ["gpt2", "llama"] {
        let generator = open(model, json!({}));
        for case in expected("perplexity.json")[model].as_array().unwrap() {
            let (text, stride) = (case["text"].as_str().unwrap(), case["stride"].as_u64());
            let stride = stride.map(|stride| stride as usize);
            for batch in [1, 3] {
                let score = score_text(&generator, "text", text, stride, batch).unwrap();
                let tokens = case["tokens"].as_u64().unwrap();
                assert_eq!(score.tokens.num_tokens(), tokens);
                let theirs = case["nll"].as_f64().unwrap() / tokens as f64;
                let ours = score.tokens.cross_entropy().unwrap();
                assert!((ours - theirs).abs() < 1e-5, "{ours} {theirs}");
                // The guide weighs windows a little differently.
                let guide = case["perplexity_of_the_guide"].as_f64().unwrap();
                let value = score.tokens.value().unwrap();
                assert!((value / guide - 1.0).abs() < 0.05, "{value} {guide}");
                let words = text.split_whitespace().count() as f64;
                let metrics = score.metrics().unwrap();
                assert_eq!(metrics[1].0, "word_perplexity");
                let by_word = (theirs * tokens as f64 / words).exp();
                assert!((metrics[1].1 / by_word - 1.0).abs() < 1e-3);
            }
        }
        assert!(score_text(&generator, "text", "long enough", Some(65), 1).is_err());
        assert!(score_text(&generator, "text", "", None, 1).is_err());
    }
}

#[test]
fn eval_reads_files_and_folders() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.txt"), "The quick brown fox.").unwrap();
    fs::write(dir.path().join("b.txt"), "naïve 日本語").unwrap();
    let model = fixture("gpt2").display().to_string();
    let found = Generate
        .eval(&model, dir.path(), 4, &context(json!({"stride": 8})))
        .unwrap();
    assert_eq!(found.num_samples, 2);
    assert_eq!(found.json["num_words"], 6);
    let metric = |name: &str| found.json["metrics"][name].as_f64().unwrap();
    let nll = metric("cross_entropy") * found.json["num_tokens"].as_f64().unwrap();
    let bytes = found.json["num_bytes"].as_f64().unwrap();
    assert!((metric("bits_per_byte") - nll / bytes / std::f64::consts::LN_2).abs() < 1e-9);
    assert!((metric("byte_perplexity").log2() - metric("bits_per_byte")).abs() < 1e-9);
    fs::write(dir.path().join("c.txt"), b"\xFF").unwrap();
    assert!(
        Generate
            .eval(&model, dir.path(), 4, &RunContext::cpu())
            .is_err()
    );
}

#[test]
fn drawing_follows_the_seed_and_the_filters() {
    let draw = |settings: Value| {
        let generator = open("gpt2", settings);
        let prompts = ["The quick".to_string(), "naïve 日本".into()];
        let together = generator.predict(&prompts).unwrap();
        for (prompt, answer) in prompts.iter().zip(&together) {
            let alone = generator.predict(std::slice::from_ref(prompt)).unwrap();
            assert_eq!(alone[0].ids, answer.ids);
        }
        together.into_iter().map(|a| a.ids).collect::<Vec<_>>()
    };
    let warm = |seed| draw(json!({"do_sample": true, "max_new_tokens": 30, "seed": seed}));
    assert_eq!(warm(1), warm(1));
    assert_ne!(warm(1), warm(2));
    // One token left to draw from is greedy decoding.
    let greedy = draw(json!({"max_new_tokens": 30}));
    assert_eq!(draw(json!({"max_new_tokens": 30, "top_k": 1})), greedy);
    assert_eq!(draw(json!({"max_new_tokens": 30, "top_p": 1e-6})), greedy);
    assert_eq!(
        draw(json!({"max_new_tokens": 30, "temperature": 1e-4})),
        greedy
    );
}

#[test]
fn log_probabilities_are_those_of_the_model() {
    // The answer's own text, scored with the prompt in front of it, has the same likelihood.
    let generator = open(
        "llama",
        json!({"max_new_tokens": 12, "repetition_penalty": 1.5}),
    );
    let answer = &generator.predict(&["The quick".into()]).unwrap()[0];
    assert_eq!(answer.ids.len(), answer.log_probs.len());
    assert!(answer.log_probs.iter().all(|p| *p <= 0.0));
    let whole = generator.encode("prompt", "The quick").unwrap().ids;
    let short = open("llama", json!({"max_new_tokens": 1}));
    let mut prompt = short.encode("prompt", "The quick").unwrap();
    for (at, (&id, &log_prob)) in answer.ids.iter().zip(&answer.log_probs).enumerate() {
        prompt.ids = [&whole[..], &answer.ids[..at]].concat();
        let step = &short.generate(&[&prompt], None).unwrap()[0];
        // Only where the greedy token is the answer's does the step speak of the same token.
        if step.ids[0] == id {
            assert!((step.log_probs[0] - log_prob).abs() < 1e-4);
        }
    }
}

#[test]
fn answers_go_on_beyond_the_context() {
    for model in ["gpt2", "llama"] {
        let settings =
            json!({"max_new_tokens": 200, "eos_token_id": [], "repetition_penalty": 1.2});
        let generator = open(model, settings);
        let prompts = [
            "The quick".to_string(),
            "All work and no play makes the fox".into(),
        ];
        let together = generator.predict(&prompts).unwrap();
        for (prompt, answer) in prompts.iter().zip(&together) {
            assert_eq!((answer.ids.len(), answer.finish), (200, Finish::Length));
            let alone = generator.predict(std::slice::from_ref(prompt)).unwrap();
            assert_eq!(alone[0].ids, answer.ids);
        }
        // A prompt longer than the context: its last three quarters of a context, 48 tokens.
        let long = "naïve fox ".repeat(100_000);
        let prompt = generator.encode("long", &long).unwrap();
        assert_eq!(prompt.ids.len(), 48);
        assert_eq!(generator.predict(&[long]).unwrap()[0].ids.len(), 200);
    }
}

#[test]
fn stop_strings_and_pieces_agree_with_the_answer() {
    let plain = open("gpt2", json!({"max_new_tokens": 40, "eos_token_id": []}));
    let text = plain.predict(&["The quick".into()]).unwrap()[0]
        .text
        .clone();
    let middle: String = text.chars().skip(10).take(3).collect();
    for settings in [
        json!({"max_new_tokens": 40, "eos_token_id": []}),
        json!({"max_new_tokens": 40, "eos_token_id": [], "stop": middle.clone()}),
        json!({"max_new_tokens": 40, "eos_token_id": [], "full_text": true}),
        json!({"max_new_tokens": 12, "num_beams": 3}),
    ] {
        let stops = settings["stop"].is_string();
        let mut session = Generate
            .open(&fixture("gpt2").display().to_string(), &context(settings))
            .unwrap();
        assert!(session.streams());
        let shown = Arc::new(Mutex::new(Vec::new()));
        let sink = shown.clone();
        let options = PredictOptions {
            raw: true,
            pieces: Some(Pieces::new(move |piece| {
                sink.lock().unwrap().push(piece.to_string());
                Ok(())
            })),
            ..PredictOptions::default()
        };
        let answer = session
            .predict(&[input("a", "The quick")], &options)
            .remove(0)
            .unwrap();
        let answer_text = answer.json["text"].as_str().unwrap();
        let pieces = shown.lock().unwrap().clone();
        assert_eq!(pieces.concat(), answer_text);
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
        if stops {
            assert_eq!(answer.raw.unwrap()["finish"], "stop");
            assert_eq!(answer_text, text.split(&middle).next().unwrap());
        }
    }
}

#[test]
fn wrong_input_is_refused_by_name_and_spoils_no_neighbour() {
    let settings = json!({"max_new_tokens": 4});
    let model = fixture("llama").display().to_string();
    let mut session: Box<dyn Session> = Generate.open(&model, &context(settings)).unwrap();
    let bytes = Input::bytes("broken", vec![0x61, 0xFF]);
    let inputs = [
        input("good", "The quick"),
        input("empty", ""),
        bytes,
        input("good", "The quick"),
    ];
    let answers = session.predict(&inputs, &PredictOptions::default());
    let text = |at: usize| answers[at].as_ref().unwrap().json.clone();
    assert_eq!(text(0), text(3));
    for (at, name) in [(1, "empty"), (2, "broken")] {
        let error = answers[at].as_ref().unwrap_err();
        assert!(
            error.exit_code() == 2 && error.to_string().contains(name),
            "{error}"
        );
    }
    let ten_megabytes = "word ".repeat(2 << 20);
    let answers = session.predict(&[input("huge", &ten_megabytes)], &PredictOptions::default());
    assert!(answers[0].is_ok());
}

/// A copy of a fixture's folder with one file changed.
fn changed(model: &str, file: &str, change: impl Fn(&mut Map<String, Value>)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(model)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let path = dir.path().join(file);
    let mut value: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(value.as_object_mut().unwrap());
    fs::write(path, value.to_string()).unwrap();
    dir
}

#[test]
fn folders_that_do_not_fit_are_refused_by_name() {
    let message = |dir: &Path| {
        let opened = Generator::open(&dir.display().to_string(), &RunContext::cpu());
        let error = opened.unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let dir = changed("gpt2", "config.json", |c| {
        c.insert("vocab_size".into(), json!(100));
    });
    assert!(message(dir.path()).contains("100 tokens"));
    let dir = changed("gpt2", "generation_config.json", |c| {
        c.insert("eos_token_id".into(), json!(5000));
    });
    assert!(message(dir.path()).contains("eos_token_id"));
    let dir = changed("gpt2", "generation_config.json", |c| {
        c.insert("temperature".into(), json!("warm"));
    });
    assert!(message(dir.path()).contains("generation_config.json"));
    let dir = changed("gpt2", "config.json", |c| {
        c.insert("model_type".into(), json!("mamba"));
    });
    assert!(message(dir.path()).contains("mamba"));
}

#[test]
fn examples_stand_in_front_of_prompts() {
    let dir = tempfile::tempdir().unwrap();
    let shots = dir.path().join("shots.jsonl");
    fs::write(&shots, "{\"input\": \"fox\", \"output\": \"dog\"}\n").unwrap();
    let few = open("gpt2", json!({"few_shot": shots, "max_new_tokens": 5}));
    let plain = open("gpt2", json!({"max_new_tokens": 5}));
    let whole = "Input: fox\nOutput: dog\n\nInput: quick\nOutput:";
    let (a, b) = (
        few.encode("a", "quick").unwrap(),
        plain.encode("b", whole).unwrap(),
    );
    assert_eq!((a.ids, a.text.as_str()), (b.ids, "quick"));
    assert_eq!(few.decoding().stop, ["\n\n"]);
}

fn request(out: &Path, sets: &[&str]) -> TrainRequest {
    TrainRequest {
        recipe: "debug".into(),
        sets: sets.iter().map(|s| (*s).into()).collect(),
        data: None,
        model: None,
        out: out.into(),
        resume: false,
        accept_data_issues: false,
    }
}

fn debug_run(out: &Path, sets: &[&str], change: impl FnOnce(&mut TrainRequest)) -> Value {
    let mut request = request(out, sets);
    change(&mut request);
    let outcome = Generate.train(&request, &RunContext::cpu()).unwrap();
    let report = fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(outcome.losses.iter().all(|loss| loss.is_finite()));
    let metrics: Map<String, Value> = outcome
        .metrics
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    json!({"metrics": metrics, "losses": outcome.losses, "splits": report["data"]["splits"]})
}

#[test]
fn training_goes_on_bit_for_bit_and_from_a_trained_model() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let short = ["fit.epochs=2", "data.steps_per_epoch=10"];
    let whole = debug_run(&at("whole"), &short, |_| ());
    assert_eq!(whole["losses"].as_array().unwrap().len(), 20);
    assert_eq!(whole["splits"][0]["num_samples"], 90_000);
    // Ctrl-C after the first step, then the rest.
    let stopped = RunContext::cpu();
    stopped.interrupt.raise();
    let error = Generate
        .train(&request(&at("parts"), &short), &stopped)
        .unwrap_err();
    assert_eq!(error.exit_code(), 130, "{error}");
    let parts = debug_run(&at("parts"), &short, |request| request.resume = true);
    assert_eq!(parts, whole);
    // A model of 61 characters that has learned something.
    let loss = whole["metrics"]["valid_loss"].as_f64().unwrap();
    assert!(loss < 3.6, "{loss}");
    let model = at("whole").join("model").display().to_string();
    let text = dir.path().join("text.txt");
    fs::write(&text, "First Citizen:\nSpeak, speak.\n\n".repeat(200)).unwrap();
    let tuned = debug_run(
        &at("tuned"),
        &["data.steps_per_epoch=5", "fit.epochs=4"],
        |request| {
            request.recipe = "finetune".into();
            request.model = Some(model.clone());
            request.data = Some(text.clone());
            request.sets.push("fit.optimizer.lr=0.003".into());
        },
    );
    let losses = tuned["losses"].as_array().unwrap();
    assert!(losses[losses.len() - 1].as_f64() < losses[0].as_f64());
    let card = fs::read_to_string(at("tuned").join("model/panoply.json")).unwrap();
    assert!(card.contains("fine-tuned from"));
    let generator = Generator::open(&model, &RunContext::cpu()).unwrap();
    assert_eq!(generator.card().task, "generate");
}

#[test]
fn the_bundled_model_speaks() {
    let generator = Generator::open(BUNDLED, &RunContext::cpu()).unwrap();
    let answers = generator.predict(&["ROMEO:".into()]).unwrap();
    assert_eq!(answers[0].ids.len(), 256);
    let words = answers[0].text.split_whitespace().count();
    assert!((25..100).contains(&words), "{}", answers[0].text);
    // The published loss of this setting is 1.88.
    let metric = generator.card().metrics["valid_loss"];
    assert!(metric < 1.885, "{metric}");
}
