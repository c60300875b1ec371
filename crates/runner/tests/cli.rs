//! The binary as a stranger uses it: exit codes, one clear line, JSON lines.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use serde_json::Value;
use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Runs the binary in `folder`.
fn panoply(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_panoply"))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit code 2 and exactly one line on stderr that holds every word.
fn refuses(folder: &Path, args: &[&str], words: &[&str]) {
    let output = panoply(folder, args);
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
    for word in words {
        assert!(
            error.contains(word),
            "{args:?}: '{word}' is not in: {error}"
        );
    }
}

fn photo(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let (_, bytes) = panoply_datasets::bundled::photos()[0];
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn lists_and_describes() {
    let dir = tempfile::tempdir().unwrap();
    let list = stdout(&panoply(dir.path(), &["list", "--json"]));
    let tasks = list
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut tasks = tasks.map(|task| (task["pipeline"].clone(), task["task"].clone()));
    assert!(tasks.any(|task| task == ("vision".into(), "classify".into())));
    let info = stdout(&panoply(dir.path(), &["info", "vision", "classify"]));
    let model = panoply(dir.path(), &["model", "info", "efficientnet-lite0"]);
    assert!(stdout(&model).contains("4652008"));
    assert!(
        info.contains("4652008") && info.contains("medium") && info.contains("debug"),
        "{info}"
    );
}

#[cfg(feature = "nlp")]
#[test]
fn texts_come_as_arguments_and_as_lines() {
    let dir = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../pipelines/nlp/tests/fixtures/text/bert")
        .display()
        .to_string();
    let file = dir.path().join("texts.txt").display().to_string();
    std::fs::write(&file, "one fox\n\ntwo dogs\n").unwrap();
    let run = ["run", "nlp", "embed", "--model", &model, "--offline"];
    let lines = |args: &[&str]| {
        let output = panoply(dir.path(), &[&run, args].concat());
        let lines: Vec<Value> = stdout(&output)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (output.status.code(), lines)
    };
    let (code, from_file) = lines(&[&file, "--json"]);
    // The empty line is refused by its number; its neighbours are answered.
    assert_eq!((code, from_file.len()), (Some(2), 2));
    assert_eq!(from_file[1]["input"], format!("{file}:3"));
    let (code, from_args) = lines(&["--text", "one fox", "--text", "two dogs", "--json"]);
    assert_eq!(code, Some(0));
    for (a, b) in from_file.iter().zip(&from_args) {
        assert_eq!(a["output"], b["output"]);
    }
    let table = stdout(&panoply(
        dir.path(),
        &[&run[..], &["--text", "one fox", "--text", "two dogs"]].concat(),
    ));
    assert!(
        table.contains("cosine similarity") && table.contains("1.000"),
        "{table}"
    );
    // A default model that is not on the machine keeps nobody from being told about the task.
    let info = Command::new(env!("CARGO_BIN_EXE_panoply"))
        .args(["info", "nlp", "embed"])
        .env("HF_HUB_CACHE", dir.path())
        .output()
        .unwrap();
    assert!(stdout(&info).contains("not on this machine"), "{info:?}");
}

#[test]
fn json_lines_hold_labels_and_raw_logits() {
    let dir = tempfile::tempdir().unwrap();
    let path = photo(dir.path(), "a.jpg");
    let output = panoply(
        dir.path(),
        &[
            "run", "vision", "classify", &path, "--json", "--raw", "--device", "cpu",
        ],
    );
    assert_eq!(output.status.code(), Some(0));
    let line: Value = serde_json::from_str(stdout(&output).trim()).unwrap();
    assert_eq!(line["input"], path);
    assert_eq!(line["output"]["labels"].as_array().unwrap().len(), 5);
    assert_eq!(line["raw"]["logits"].as_array().unwrap().len(), 1000);
    assert!(line["output"]["labels"][0]["score"].as_f64().unwrap() > 0.3);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "--json writes no pictures unasked"
    );
}

#[test]
fn standard_input_equals_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = photo(dir.path(), "a.jpg");
    let from_file = stdout(&panoply(
        dir.path(),
        &["run", "vision", "classify", &path, "--json", "--raw"],
    ));
    let mut child = Command::new(env!("CARGO_BIN_EXE_panoply"))
        .args(["run", "vision", "classify", "-", "--json", "--raw"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&std::fs::read(&path).unwrap())
        .unwrap();
    let from_stdin = stdout(&child.wait_with_output().unwrap());
    let parse = |text: &str| serde_json::from_str::<Value>(text.trim()).unwrap()["raw"].clone();
    assert_eq!(parse(&from_file), parse(&from_stdin));
}

#[test]
fn wrong_usage_is_one_line_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    refuses(
        here,
        &["run", "visoin", "classify"],
        &["visoin", "did you mean 'vision'"],
    );
    refuses(
        here,
        &["run", "vision", "clasify"],
        &["did you mean 'classify'"],
    );
    refuses(
        here,
        &["run", "vision", "classify", "--jsn"],
        &["--jsn", "--json"],
    );
    refuses(
        here,
        &["run", "vision", "classify", "nowhere.jpg"],
        &["nowhere.jpg", "no such file"],
    );
    refuses(
        here,
        &["run", "vision", "classify", "--model", "nothing"],
        &["nothing", "efficientnet-lite0"],
    );
    refuses(
        here,
        &["run", "vision", "classify", "--device", "gpu"],
        &["gpu", "cuda"],
    );
    refuses(
        here,
        &["train", "vision", "classify", "--recipe", "debgu"],
        &["did you mean 'debug'"],
    );
    refuses(
        here,
        &["train", "vision", "classify", "--set", "fit.epoch=1"],
        &["did you mean 'epochs'"],
    );
    refuses(
        here,
        &["run", "vision", "classify", "--set", "user_dict=x"],
        &["unknown key 'user_dict'"],
    );
    refuses(
        here,
        &["run", "nlp", "segment", "--set", "user_dcit=x"],
        &["did you mean 'user_dict'"],
    );
    refuses(
        here,
        &["train", "vision", "classify", "--recipe", "finetune"],
        &["--data"],
    );
    refuses(
        here,
        &["explain", "vision", "classify", "--method", "gradcam"],
        &["did you mean 'grad-cam'"],
    );
    refuses(
        here,
        &[
            "model", "import", "x.pth", "--arch", "resnet5", "--out", "o",
        ],
        &["did you mean 'resnet50'"],
    );
    refuses(
        here,
        &["model", "info", "nowhere"],
        &["unknown model 'nowhere'", "a folder", "efficientnet-lite0"],
    );
}

#[test]
fn a_bad_file_is_named_and_the_others_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    photo(dir.path(), "a.jpg");
    std::fs::write(dir.path().join("b.jpg"), b"GIF89a").unwrap();
    photo(dir.path(), "c.jpg");
    let output = panoply(dir.path(), &["run", "vision", "classify", ".", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output).lines().count(), 2);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.lines().count() == 1 && error.contains("b.jpg"),
        "{error}"
    );
}

#[test]
fn a_refusal_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let train = ["train", "vision", "classify"];
    let refuse = |args: &[&str], words: &[&str]| refuses(here, &[&train, args].concat(), words);
    refuse(
        &["--out", "r", "--set", "model.in_channels=5"],
        &["model.in_channels: 5", "1 (grey)"],
    );
    refuse(
        &["--out", "r", "--set", "model.image_size=0"],
        &["model.image_size: 0", "4096"],
    );
    refuse(
        &["--out", "r", "--set", "fit.best_metric.name=acc"],
        &["unknown validation metric 'acc'", "accuracy"],
    );
    refuse(&["--resume", "r"], &["r/checkpoint/last", "no checkpoint"]);
    assert_eq!(std::fs::read_dir(here).unwrap().count(), 0);

    std::fs::create_dir_all(here.join("r/checkpoint/last")).unwrap();
    std::fs::write(here.join("r/data-gate.json"), "of the first run").unwrap();
    refuse(&["--out", "r"], &["already holds a checkpoint", "--resume"]);
    let kept = std::fs::read_to_string(here.join("r/data-gate.json")).unwrap();
    assert_eq!(kept, "of the first run");
}

#[test]
fn a_tokenizer_is_learnt_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("a.txt"),
        "the lower the newer, the wider\n".repeat(50),
    )
    .unwrap();
    let train = |kind: &str, more: &[&str]| {
        let out = ["--kind", kind, "--out", kind, "--vocab-size", "300"];
        let args = ["model", "tokenizer", "train", "a.txt"];
        [&args[..], &out[..], more]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    for kind in ["bpe", "wordpiece", "unigram"] {
        let args = train(kind, &[]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = panoply(dir.path(), &args);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(stdout(&output).contains("tokens)"));
        assert!(
            dir.path()
                .join(kind)
                .join("tokenizer_config.json")
                .is_file()
        );
        refuses(dir.path(), &args, &["tokenizer.json: is there already"]);
    }
    let args = train("bytes", &[]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    refuses(
        dir.path(),
        &args,
        &["unknown kind of tokenizer 'bytes'", "wordpiece"],
    );
}

#[test]
fn the_gate_decides_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let check = ["data", "check", "nlp", "segment", "a.txt"];
    std::fs::write(
        dir.path().join("a.txt"),
        "今天 天气 很 好\n我们 去 公园\n".repeat(20),
    )
    .unwrap();
    let good = panoply(dir.path(), &check);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    std::fs::write(dir.path().join("a.txt"), b"\xff\xfe\n\xff\xff\n").unwrap();
    let bad = panoply(dir.path(), &check);
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
}

#[test]
fn a_run_remembers_what_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let train = |args: &[&str]| {
        let verb = ["train", "nlp", "segment", "--json"];
        let output = panoply(dir.path(), &[&verb, args].concat());
        let error = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{error}");
        serde_json::from_str::<Value>(stdout(&output).trim()).unwrap()
    };
    std::fs::write(
        dir.path().join("a.txt"),
        "今天 天气 很 好\n我们 去 公园\n你 好\n".repeat(9),
    )
    .unwrap();
    let data = [
        "--data",
        "a.txt",
        "--set",
        "fit.epochs=1",
        "--set",
        "model.hidden_size=8",
    ];
    let first = train(&[&["--out", "r", "--accept-data-issues"], &data[..]].concat());
    // Without recipe, data and edits: had they been forgotten, the run would not be the same one.
    let again = train(&["--resume", "r"]);
    assert_eq!(first["metrics"], again["metrics"]);
}

#[test]
fn no_result_is_computed_that_could_not_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let file = photo(here, "a.jpg");
    let task = ["vision", "classify"];
    let refuse = |verb: &str, args: &[&str]| {
        let words = ["a.jpg: a file", "a folder"];
        refuses(
            here,
            &[&[verb], &task[..], args, &["--out", &file]].concat(),
            &words,
        );
    };
    refuse("run", &[]);
    refuse("explain", &[]);
    refuse("eval", &["--data", "nowhere"]);
    refuse("train", &[]);
    std::fs::create_dir(here.join("m")).unwrap();
    std::fs::write(here.join("m/config.json"), "{}").unwrap();
    refuses(
        here,
        &["model", "import", &file, "--arch", "resnet18", "--out", "m"],
        &["m: already holds a model", "a new folder"],
    );
}

#[test]
fn a_setting_reaches_the_task() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("words.txt"), "在天\n").unwrap();
    let words = |set: &[&str]| -> Value {
        let run = ["run", "nlp", "segment", "--json", "--text", "我在天上"];
        let output = panoply(dir.path(), &[&run[..], set].concat());
        assert_eq!(output.status.code(), Some(0));
        let line: Value = serde_json::from_str(stdout(&output).trim()).unwrap();
        line["output"]["words"].clone()
    };
    let forced = words(&["--set", "user_dict=words.txt"]);
    assert!(
        forced.as_array().unwrap().contains(&"在天".into()),
        "{forced}"
    );
    assert_ne!(words(&[]), forced);
    let info = stdout(&panoply(dir.path(), &["info", "nlp", "segment"]));
    assert!(info.contains("user_dict=null"), "{info}");
}
