//! The tasks from files to answers: what goes in, what comes out, and what is refused.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{
    ExplainRequest, Input, Output, Payload, PredictOptions, Result, RunContext, Task, TrainOutcome,
    TrainRequest,
};
use panoply_recommendation::PIPELINE;
use serde_json::{Value, json};
use std::path::Path;

fn task(name: &str) -> &'static dyn Task {
    PIPELINE.task(name).unwrap()
}

fn train(
    name: &str,
    recipe: &str,
    data: Option<&Path>,
    sets: &[&str],
    out: &Path,
) -> Result<TrainOutcome> {
    let request = TrainRequest {
        recipe: recipe.into(),
        sets: sets.iter().map(ToString::to_string).collect(),
        data: data.map(Into::into),
        model: None,
        out: out.into(),
        resume: false,
        accept_data_issues: false,
    };
    task(name).train(&request, &RunContext::cpu())
}

fn with(settings: Value) -> RunContext {
    RunContext {
        settings,
        ..RunContext::cpu()
    }
}

fn answer(name: &str, model: &str, row: Value, context: &RunContext) -> Result<Output> {
    let mut session = task(name).open(model, context)?;
    let input = Input {
        name: "row".into(),
        payload: Payload::Row(row),
    };
    session
        .predict(&[input], &PredictOptions::default())
        .remove(0)
}

fn items(output: &Output) -> Vec<String> {
    let items = output.json["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["item"].as_str().unwrap().into())
        .collect()
}

/// A folder with a table, the training part of a run by `ease`, and its model.
fn trained(folder: &Path) -> (String, std::path::PathBuf, TrainOutcome) {
    let out = folder.join("run");
    let outcome = train("rank", "ease", None, &["data.bundled=true"], &out).unwrap();
    (
        outcome.model.display().to_string(),
        out.join("split"),
        outcome,
    )
}

#[test]
fn lists_keep_to_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let (model, split, _) = trained(folder.path());
    let cpu = RunContext::cpu();
    let list = answer("rank", &model, json!({ "user": "u1" }), &cpu).unwrap();
    assert_eq!((items(&list).len(), &list.json["user"]), (10, &json!("u1")));
    let text = std::fs::read_to_string(split.join("split.train.inter")).unwrap();
    let seen: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("u1\t")?.split('\t').next())
        .collect();
    assert!(
        !seen.is_empty()
            && items(&list)
                .iter()
                .all(|item| !seen.contains(&item.as_str()))
    );
    let all = answer(
        "rank",
        &model,
        json!({ "user": "u1" }),
        &with(json!({ "mask_seen": false })),
    );
    assert!(
        items(&all.unwrap())
            .iter()
            .any(|item| seen.contains(&item.as_str()))
    );

    // The same history gives the same list to somebody new, and one that is known changes nothing.
    let cold = json!({ "history": seen });
    let same = answer("rank", &model, cold, &cpu).unwrap();
    let mut sorted = [items(&same), items(&list)];
    for list in &mut sorted {
        list.sort();
    }
    assert_eq!(sorted[0], sorted[1]);

    let best = items(&list);
    let row = json!({ "user": "u1", "exclude": [best[0]], "k": 3 });
    assert_eq!(
        items(&answer("rank", &model, row, &cpu).unwrap()),
        best[1..4]
    );
    let row = json!({ "user": "u1", "only": [best[4], best[2], "nothing"] });
    let only = answer("rank", &model, row, &cpu).unwrap();
    assert_eq!(items(&only), [best[2].clone(), best[4].clone()]);
    assert_eq!(only.json["unknown"], json!(["nothing"]));
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    let model = task("rank").default_model();
    let refused = |row: Value| {
        let error = answer("rank", model, row, &RunContext::cpu()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    assert!(refused(json!({ "user": "nobody" })).contains("unknown user 'nobody'"));
    assert!(refused(json!({ "history": ["nothing"] })).contains("without a known item"));
    assert!(refused(json!({ "history": [] })).contains("without a known item"));
    assert!(refused(json!({ "user": "u1", "history": ["i1"] })).contains("a user and a history"));
    assert!(refused(json!({ "user": "u1", "k": 0 })).contains("k 0"));
    assert!(refused(json!({ "user": "u1", "only": ["nothing"] })).contains("`only`"));
    assert!(refused(json!({ "user": "u1", "colour": 1 })).contains("colour"));
    let similar = answer(
        "similar",
        model,
        json!({ "item": "nothing" }),
        &RunContext::cpu(),
    );
    assert!(
        similar
            .unwrap_err()
            .to_string()
            .contains("unknown item 'nothing'")
    );
    // A part of a history that is unknown is said, not refused.
    let row = json!({ "history": ["i1", "nothing"] });
    let output = answer("rank", model, row, &RunContext::cpu()).unwrap();
    assert_eq!(output.json["unknown"], json!(["nothing"]));
}

#[test]
fn bad_tables_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let out = folder.path().join(format!("run-{name}"));
        let error = train("rank", "pop", Some(&path), &[], &out).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    assert!(refused("empty.csv", "").contains("no interactions"));
    assert!(refused("header.csv", "user,item\n").contains("no interactions"));
    assert!(refused("column.csv", "who,item\na,b\n").contains("for the users"));
    let row = |user: &str, item: usize| format!("{user},i{item},3\n");
    let many = |user: &str| {
        let rows: Vec<String> = (0..10).map(|item| row(user, item)).collect();
        rows.concat()
    };
    let header = "user,item,rating\n";
    assert!(refused("nan.csv", &format!("{header}{}b,i1,NaN\n", many("a"))).contains("'NaN'"));
    assert!(refused("inf.csv", &format!("{header}{}b,i1,inf\n", many("a"))).contains("'inf'"));
    assert!(refused("one.csv", &format!("{header}{}", many("a"))).contains("1 user"));
    assert!(refused("single.csv", "user,item\na,x\nb,y\n").contains("no interaction is left"));
    assert!(train("rank", "pop", None, &[], folder.path()).is_err());
    // Times out of order are put in order: what was latest is held out, wherever it stands.
    let path = folder.path().join("unordered.csv");
    let text = "user,item,time\na,x,30\na,y,10\na,z,20\nb,x,1\nb,y,3\nb,z,2\nc,x,1\n";
    std::fs::write(&path, text).unwrap();
    let out = folder.path().join("run-unordered");
    train(
        "rank",
        "pop",
        Some(&path),
        &["data.split.kind=leave-one-out"],
        &out,
    )
    .unwrap();
    let test = std::fs::read_to_string(out.join("split/split.test.inter")).unwrap();
    assert!(
        test.contains("a\tx\t30") && test.contains("b\ty\t3"),
        "{test}"
    );
    let gate = std::fs::read_to_string(out.join("data-gate.json")).unwrap();
    assert!(gate.contains("unordered") || gate.contains("[]"), "{gate}");
}

#[test]
fn evaluation_repeats_what_training_measured_also_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (model, split, outcome) = trained(folder.path());
    let cpu = RunContext::cpu();
    let eval = task("rank").eval(&model, &split, 8, &cpu).unwrap();
    let measured: Vec<(String, f64)> = eval
        .metrics
        .iter()
        .map(|(name, v)| (format!("test_{name}"), *v))
        .collect();
    assert_eq!(measured, outcome.metrics);
    assert_eq!(eval.json["protocol"], "full ranking, seen items masked");

    // Validation items are masked in an evaluation, so they are excluded from the lists of the file.
    let valid = std::fs::read_to_string(split.join("split.valid.inter")).unwrap();
    let mut session = task("rank").open(&model, &cpu).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for user in 1..=200 {
        let prefix = format!("u{user}\t");
        let held: Vec<&str> = valid
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix)?.split('\t').next())
            .collect();
        let row = json!({ "user": format!("u{user}"), "exclude": held });
        let input = Input {
            name: format!("{user}"),
            payload: Payload::Row(row),
        };
        let output = session
            .predict(&[input], &PredictOptions::default())
            .remove(0)
            .unwrap();
        lines.push(format!("{}\n", output.to_line("x")));
    }
    let file = folder.path().join("lists.jsonl");
    std::fs::write(&file, lines.concat()).unwrap();
    let scored = task("rank").score_predictions(&file, &split, &cpu).unwrap();
    for ((name, found), (_, expected)) in scored.metrics.iter().zip(&eval.metrics) {
        assert!(
            (found - expected).abs() < 1e-9,
            "{name}: {found}, {expected}"
        );
    }
    std::fs::write(&file, "{\"user\":\"u1\",\"items\":[\"i1\",\"i1\"]}\n").unwrap();
    assert!(task("rank").score_predictions(&file, &split, &cpu).is_err());

    let sampled = with(json!({ "sampled_negatives": 20, "auc": true, "ks": [1, 5] }));
    let sampled = task("rank").eval(&model, &split, 8, &sampled).unwrap();
    assert!(
        sampled.json["protocol"]
            .as_str()
            .unwrap()
            .contains("NOT comparable")
    );
    assert!(sampled.metrics.last().unwrap().0 == "gauc" && sampled.metrics.last().unwrap().1 > 0.6);
}

#[test]
fn contributions_of_ease_add_up_to_the_score() {
    let explain = |target| {
        let request = ExplainRequest {
            model: None,
            method: "removal".into(),
            input: Input {
                name: "row".into(),
                payload: Payload::Row(json!({ "user": "u1" })),
            },
            target,
        };
        task("rank").explain(&request, &RunContext::cpu())
    };
    let output = explain(None).unwrap();
    assert_eq!(output.json["exact"], json!(true));
    let contributions = output.json["items"].as_array().unwrap();
    let sum: f64 = contributions
        .iter()
        .map(|c| c["contribution"].as_f64().unwrap())
        .sum();
    let score = output.json["score"].as_f64().unwrap();
    assert!((sum - score).abs() < 1e-4 && score > 0.0, "{sum} {score}");
    let list = answer(
        "rank",
        task("rank").default_model(),
        json!({ "user": "u1" }),
        &RunContext::cpu(),
    );
    assert_eq!(output.json["item"], json!(items(&list.unwrap())[0]));
    assert!(explain(Some(120)).is_err() && explain(Some(119)).is_ok());
}

#[test]
fn ratings_beat_the_means_and_unknown_ids_fall_back() {
    let folder = tempfile::tempdir().unwrap();
    let rmse = |recipe: &str| {
        let out = folder.path().join(recipe);
        let outcome = train("rate", recipe, None, &["data.bundled=true"], &out).unwrap();
        assert_eq!(outcome.metrics[0].0, "test_rmse");
        (
            outcome.metrics[0].1,
            outcome.model.display().to_string(),
            out.join("split"),
        )
    };
    let (global, ..) = rmse("global-mean");
    let (user, ..) = rmse("user-mean");
    let (item, ..) = rmse("item-mean");
    let (biased, model, split) = rmse("base");
    assert!(
        biased < item && biased < user && item < global,
        "{biased} {item} {user} {global}"
    );

    let eval = task("rate")
        .eval(&model, &split, 8, &RunContext::cpu())
        .unwrap();
    assert_eq!(eval.metrics[0].1, biased);
    let test = std::fs::read_to_string(split.join("split.test.inter")).unwrap();
    let mut session = task("rate").open(&model, &RunContext::cpu()).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for line in test.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let row = json!({ "user": cells[0], "item": cells[1] });
        let input = Input {
            name: "row".into(),
            payload: Payload::Row(row),
        };
        let output = session
            .predict(&[input], &PredictOptions::default())
            .remove(0)
            .unwrap();
        lines.push(format!("{}\n", output.to_line("x")));
    }
    let file = folder.path().join("ratings.jsonl");
    std::fs::write(&file, lines.concat()).unwrap();
    let scored = task("rate")
        .score_predictions(&file, &split, &RunContext::cpu())
        .unwrap();
    assert!((scored.metrics[0].1 - biased).abs() < 1e-6);
    std::fs::write(&file, &lines[0]).unwrap();
    let error = task("rate")
        .score_predictions(&file, &split, &RunContext::cpu())
        .unwrap_err();
    assert!(error.to_string().contains("no rating for"), "{error}");

    let new = answer(
        "rate",
        &model,
        json!({ "user": "new", "item": 7 }),
        &RunContext::cpu(),
    )
    .unwrap();
    assert_eq!(
        (&new.json["known_user"], &new.json["known_item"]),
        (&json!(false), &json!(false))
    );
}
