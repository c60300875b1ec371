//! The bundled segmenter from raw text to words.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure ends the test"
)]

use panoply_core::{Predictor, RunContext, Task};
use panoply_nlp::tasks::segment::{BUNDLED, Segment, Segmenter};
use serde_json::json;

fn open(settings: serde_json::Value) -> Segmenter {
    let context = RunContext {
        settings,
        ..RunContext::cpu()
    };
    Segmenter::open(BUNDLED, &context).unwrap()
}

fn words(segmenter: &Segmenter, text: &str) -> Vec<String> {
    let mut found = segmenter.predict(&[text.to_string()]).unwrap();
    found.remove(0).words
}

/// A file with `content`, and the settings that name it.
fn dictionary(content: &str) -> (tempfile::NamedTempFile, serde_json::Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let settings = json!({ "user_dict": file.path() });
    (file, settings)
}

#[test]
fn the_words_are_the_text() {
    let segmenter = open(json!(null));
    for text in [
        "今天天气很好，我们一起去公园散步吧。",
        " 他用  Rust写了\u{3000}ABC１２３个\t编译器 ",
        "\u{0}\u{1b}\u{202e}\u{fffd}👩‍🔬e\u{301}",
        "。。。！！",
        "a",
    ] {
        let found = words(&segmenter, text);
        assert_eq!(found.concat(), text);
        assert!(found.iter().all(|word| !word.is_empty()));
    }
}

#[test]
fn runs_of_letters_digits_and_space_stay_whole() {
    let segmenter = open(json!(null));
    let found = words(&segmenter, "我在2026年用 Rust  写程序");
    for run in ["Rust", "  ", " "] {
        assert!(found.iter().any(|word| word == run), "{run}: {found:?}");
    }
    assert!(found.iter().any(|word| word.contains("2026")), "{found:?}");
}

#[test]
fn a_long_line_is_read_in_windows_without_loss() {
    let segmenter = open(json!(null));
    // No mark to cut at, then many sentences.
    let text = "中国人民生活水平".repeat(400) + &"今天天气很好。".repeat(300);
    let found = words(&segmenter, &text);
    assert_eq!(found.concat(), text);
    assert!(found.len() > 2_000, "{}", found.len());
    let sentence = words(&segmenter, "今天天气很好。");
    assert_eq!(found[found.len() - sentence.len()..], sentence);
}

#[test]
fn a_forced_word_is_kept_and_a_weight_tips_the_scale() {
    let text = "我们在天气很好的日子散步";
    let without = words(&open(json!(null)), text);
    let odd = "在天";
    assert!(!without.iter().any(|word| word == odd), "{without:?}");
    let (_file, settings) = dictionary("在天\n");
    let forced = words(&open(settings), text);
    assert!(forced.iter().any(|word| word == odd), "{forced:?}");
    assert_eq!(forced.concat(), text);
    let (_file, settings) = dictionary("在天 100\n");
    let favoured = words(&open(settings), text);
    assert!(favoured.iter().any(|word| word == odd), "{favoured:?}");
    let (_file, settings) = dictionary("在天 0.001\n");
    assert_eq!(words(&open(settings), text), without);
}

#[test]
fn a_dictionary_in_the_model_folder_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/segment-ud-zh");
    for entry in std::fs::read_dir(bundled).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let model = folder.path().display().to_string();
    let open = || Segmenter::open(&model, &RunContext::cpu()).unwrap();
    let text = "我们在天气很好的日子散步";
    let plain = words(&open(), text);
    let bundled = Segmenter::open(BUNDLED, &RunContext::cpu()).unwrap();
    assert_eq!(
        plain,
        words(&bundled, text),
        "the folder is the bundled model"
    );
    std::fs::write(folder.path().join("user_dict.txt"), "在天\n").unwrap();
    assert!(words(&open(), text).iter().any(|word| word == "在天"));
    std::fs::write(folder.path().join("vocab.txt"), "[UNK]\n的\n").unwrap();
    let error = Segmenter::open(&model, &RunContext::cpu()).err().unwrap();
    assert!(error.to_string().contains("as in its files"), "{error}");
}

#[test]
fn unknown_settings_and_bad_dictionaries_are_refused() {
    let refuse = |settings| {
        let context = RunContext {
            settings,
            ..RunContext::cpu()
        };
        Segmenter::open(BUNDLED, &context)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(refuse(json!({ "dict": 1 })).contains("user_dict"));
    assert!(refuse(json!({ "user_dict": "/nowhere" })).contains("/nowhere"));
    let (_file, settings) = dictionary("好\n天 x\n");
    assert!(refuse(settings).contains(":2"));
}

#[test]
fn an_evaluation_reports_the_sighan_measures() {
    let dir = tempfile::tempdir().unwrap();
    let gold = dir.path().join("gold.utf8");
    std::fs::write(&gold, "今天  天气  很  好  。\n我们  去  公园  。\n").unwrap();
    let list = dir.path().join("list.txt");
    std::fs::write(&list, "今天\n。\n").unwrap();
    let context = RunContext {
        settings: json!({ "word_list": list }),
        ..RunContext::cpu()
    };
    let found = Segment.eval(BUNDLED, &gold, 8, &context).unwrap();
    let value = |name: &str| {
        let metric = found.metrics.iter().find(|(known, _)| known == name);
        metric.unwrap().1
    };
    assert_eq!((found.num_samples, value("oov_rate")), (2, 6.0 / 9.0));
    assert!(value("f1") > 0.5 && value("f1") <= 1.0);
    assert!(found.artefacts[0].bytes.starts_with(b"<svg"));
}

#[test]
fn the_words_of_another_segmenter_are_scored_alike() {
    let dir = tempfile::tempdir().unwrap();
    let [gold, list, found] = ["gold.utf8", "list.txt", "found.jsonl"].map(|f| dir.path().join(f));
    std::fs::write(&gold, "今天  天气  很  好  。\n我们  去  公园  。\n").unwrap();
    std::fs::write(&list, "今天\n。\n").unwrap();
    let context = RunContext {
        settings: json!({ "word_list": list }),
        ..RunContext::cpu()
    };
    let score = |lines: &[&str], context: &RunContext| {
        std::fs::write(&found, lines.join("\n")).unwrap();
        Segment.score_predictions(&found, &gold, context)
    };
    let first = r#"{"output": {"words": ["今天", "天气", "很好", "。"]}}"#;
    let second = r#"{"words": ["我们", "去", "公园", "。"]}"#;
    let scores = score(&[first, second], &context).unwrap();
    let value = |name: &str| scores.json["metrics"][name].as_f64().unwrap();
    // 7 of 8 words found are among the 9 words; of the 6 unknown ones 4 are found.
    assert_eq!(
        (value("precision"), value("recall")),
        (7.0 / 8.0, 7.0 / 9.0)
    );
    assert_eq!((value("oov_recall"), scores.num_samples), (4.0 / 6.0, 2));

    let refused = |lines: &[&str]| score(lines, &context).unwrap_err().to_string();
    assert!(refused(&[first]).contains("one for each of the 2 sentences"));
    assert!(refused(&[first, second, second]).contains("one more line"));
    assert!(refused(&[second, first]).contains("found.jsonl:1"));
    assert!(refused(&[first, r#"{"words": "我们"}"#]).contains("found.jsonl:2"));
    let missing = score(&[first, second], &RunContext::cpu()).unwrap_err();
    assert!(missing.to_string().contains("word_list"));
}
