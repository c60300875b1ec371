//! Every language metric equals its reference evaluator (torchmetrics, SciPy, scikit-learn,
//! seqeval, transformers, sacrebleu) on the committed cases of `fixtures/language/language.json`,
//! which the `reference.py` beside it made.

#![expect(
    clippy::unwrap_used,
    reason = "a panic in a helper fails its test, as it should"
)]

use panoply_metrics::{
    Bleu, BleuSmoothing, BleuTokenizer, Chrf, EntityScorer, MetricError, MultilabelCounts,
    Perplexity, SegmentationScorer, SquadScores, TaggingMode, TaggingScheme, entities, pearsonr,
    spearmanr, squad_v1, squad_v2,
};
use serde_json::Value;

mod common;
#[path = "common/flags.rs"]
mod flags;
#[path = "common/labels.rs"]
mod labels;
use common::{Check, floats, indices};
use flags::flags;
use labels::AVERAGES;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/language/language.json")).unwrap()
}

fn cases(key: &str) -> Vec<Value> {
    common::cases(&fixture(), key)
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().unwrap().iter();
    items.map(|v| v.as_str().unwrap().to_string()).collect()
}

fn sequences(value: &Value) -> Vec<Vec<String>> {
    value.as_array().unwrap().iter().map(strings).collect()
}

fn get<'a>(case: &'a Value, key: &str) -> &'a Value {
    let value = &case[key];
    assert!(case.get(key).is_some(), "the fixture has no {key}");
    value
}

#[test]
fn perplexities() {
    let mut check = Check::default();
    for case in cases("perplexity") {
        let name = case["name"].as_str().unwrap();
        let expected = &case["expected"];
        let mut ours = Perplexity::new();
        for batch in case["batches"].as_array().unwrap() {
            let (nll, num_tokens) = (batch[0].as_f64().unwrap(), batch[1].as_u64().unwrap());
            ours.update(nll, num_tokens).unwrap();
        }
        let chars = ours.bits_per_char(case["num_chars"].as_u64().unwrap());
        for (key, ours) in [
            ("perplexity", ours.value()),
            ("bits_per_char", chars),
            ("bits_per_token", ours.bits_per_token()),
        ] {
            check.value(format!("{name}: {key}"), ours, get(expected, key));
        }
    }
    check.finish("perplexity");
}

#[test]
fn correlations() {
    let mut check = Check::default();
    for case in cases("correlation") {
        let name = case["name"].as_str().unwrap();
        let (x, y) = (floats(&case["x"]), floats(&case["y"]));
        let expected = &case["expected"];
        for (key, ours) in [
            ("pearson", pearsonr(&x, &y)),
            ("pearson", pearsonr(&y, &x)),
            ("spearman", spearmanr(&x, &y)),
        ] {
            check.value(format!("{name}: {key}"), ours, get(expected, key));
        }
    }
    check.finish("correlation");
}

#[test]
fn several_decided_labels_a_sample() {
    let mut check = Check::default();
    for case in cases("multilabel") {
        let name = case["name"].as_str().unwrap();
        let (y_true, y_pred) = (flags(&case["y_true"]), flags(&case["y_pred"]));
        let labels = indices(&Value::Array(vec![case["num_labels"].clone()]))[0];
        let expected = &case["expected"];
        let mut counts = MultilabelCounts::new(labels).unwrap();
        for (truth, predicted) in y_true.chunks(2 * labels).zip(y_pred.chunks(2 * labels)) {
            counts.update(truth, predicted).unwrap();
        }
        for (key, ours) in [
            ("subset_accuracy", counts.subset_accuracy()),
            ("hamming_loss", counts.hamming_loss()),
        ] {
            check.value(format!("{name}: {key}"), ours, get(expected, key));
        }
        for (label, scores) in counts.per_label().iter().enumerate() {
            let support = scores.support as f64;
            let ours = [scores.precision, scores.recall, scores.f1, support];
            check.slice(
                &format!("{name}: label {label}"),
                &ours,
                &expected["per_label"][label],
            );
        }
        for (key, average) in AVERAGES {
            for (metric, ours) in [
                ("precision", counts.precision(average)),
                ("recall", counts.recall(average)),
                ("f1", counts.f1(average)),
                ("f2", counts.f_beta(2.0, average)),
            ] {
                let what = format!("{name}: {key} {metric}");
                check.value(what, ours, get(&expected[key], metric));
            }
        }
    }
    check.finish("multilabel");
}

fn mode(scheme: &Value) -> TaggingMode {
    let scheme = scheme.as_str().map(|name| match name {
        "IOB1" => TaggingScheme::Iob1,
        "IOB2" => TaggingScheme::Iob2,
        "IOE1" => TaggingScheme::Ioe1,
        "IOE2" => TaggingScheme::Ioe2,
        "IOBES" => TaggingScheme::Iobes,
        "BILOU" => TaggingScheme::Bilou,
        other => panic!("unknown scheme {other}"),
    });
    scheme.map_or(TaggingMode::Lenient, TaggingMode::Strict)
}

#[test]
fn entities_of_tagged_sequences() {
    let mut check = Check::default();
    for case in cases("entities") {
        let name = case["name"].as_str().unwrap();
        let (y_true, y_pred) = (sequences(&case["y_true"]), sequences(&case["y_pred"]));
        let (mode, expected) = (mode(&case["scheme"]), &case["expected"]);
        for (tags, reference) in y_pred.iter().zip(expected["entities"].as_array().unwrap()) {
            let found = entities(tags, mode).unwrap();
            let found: Vec<_> = found
                .iter()
                .map(|e| serde_json::json!([e.entity_type, e.start, e.end]))
                .collect();
            assert_eq!(&Value::Array(found), reference, "{name}: {tags:?}");
        }

        // Streamed in two uneven parts.
        let (mut scorer, mut rest) = (EntityScorer::new(mode), EntityScorer::new(mode));
        let cut = y_true.len() / 3;
        scorer.update(&y_true[..cut], &y_pred[..cut]).unwrap();
        rest.update(&y_true[cut..], &y_pred[cut..]).unwrap();
        scorer.merge(&rest).unwrap();
        let accuracy = scorer.token_accuracy();
        check.value(
            format!("{name}: accuracy"),
            accuracy,
            get(expected, "accuracy"),
        );
        for (key, average) in AVERAGES {
            for (metric, ours) in [
                ("precision", scorer.precision(average)),
                ("recall", scorer.recall(average)),
                ("f1", scorer.f1(average)),
            ] {
                let what = format!("{name}: {key} {metric}");
                check.value(what, ours, get(&expected[key], metric));
            }
        }
        entity_report(&mut check, name, &scorer, &expected["report"]);
    }
    check.finish("entities");
}

fn entity_report(check: &mut Check, name: &str, scorer: &EntityScorer, expected: &Value) {
    let reference = expected.as_object().unwrap();
    let report = match scorer.report() {
        Ok(report) => report,
        Err(error) => {
            assert!(matches!(error, MetricError::Undefined { .. }), "{error}");
            assert!(reference.is_empty(), "{name}: {error}");
            return;
        }
    };
    let types = report
        .types
        .iter()
        .map(|row| (row.name.as_str(), row.scores));
    let averages = [
        ("micro avg", report.micro_avg),
        ("macro avg", report.macro_avg),
        ("weighted avg", report.weighted_avg),
    ];
    let rows: Vec<_> = types.chain(averages).collect();
    let names: Vec<&str> = rows.iter().map(|(row, _)| *row).collect();
    let theirs: Vec<&str> = reference.keys().map(String::as_str).collect();
    assert_eq!(names, theirs, "{name}: rows of the report");
    for (row, scores) in rows {
        let support = scores.support as f64;
        let ours = [scores.precision, scores.recall, scores.f1, support];
        check.slice(&format!("{name}: report {row}"), &ours, &reference[row]);
    }
}

#[test]
fn word_segmentation() {
    let mut check = Check::default();
    for case in cases("segmentation") {
        let name = case["name"].as_str().unwrap();
        let (y_true, y_pred) = (sequences(&case["y_true"]), sequences(&case["y_pred"]));
        let expected = &case["expected"];
        let mut scorer = SegmentationScorer::new(strings(&case["vocabulary"]));
        for (truth, predicted) in y_true.chunks(2).zip(y_pred.chunks(2)) {
            scorer.update(truth, predicted).unwrap();
        }
        let scores = scorer.scores().unwrap();
        for (key, ours) in [
            ("precision", Some(scores.precision)),
            ("recall", Some(scores.recall)),
            ("f1", Some(scores.f1)),
            ("oov_rate", Some(scores.oov_rate)),
            ("oov_recall", scores.oov_recall),
            ("iv_recall", scores.iv_recall),
        ] {
            let reference = get(expected, key);
            match ours {
                Some(ours) => check.value(format!("{name}: {key}"), Ok(ours), reference),
                None => assert!(reference.is_null(), "{name}: {key} is {reference}"),
            }
        }
    }
    check.finish("word segmentation");
}

#[test]
fn extracted_answers() {
    let mut check = Check::default();
    let mut both = 0;
    for case in cases("squad") {
        let name = case["name"].as_str().unwrap();
        let predictions = strings(&case["predictions"]);
        let answers = sequences(&case["answers"]);
        let probs = case["no_answer_probs"].as_array();
        let probs = probs.map(|_| floats(&case["no_answer_probs"]));
        let threshold = case["threshold"].as_f64().unwrap();
        let ours = squad_v2(&predictions, &answers, probs.as_deref(), threshold).unwrap();
        let mut rows = vec![
            ("best_exact".into(), ours.best_exact),
            ("best_exact_thresh".into(), ours.best_exact_thresh),
            ("best_f1".into(), ours.best_f1),
            ("best_f1_thresh".into(), ours.best_f1_thresh),
        ];
        for (prefix, scores) in [
            ("", Some(ours.all)),
            ("HasAns_", ours.has_ans),
            ("NoAns_", ours.no_ans),
        ] {
            if let Some(SquadScores { exact, f1, total }) = scores {
                rows.push((format!("{prefix}exact"), exact));
                rows.push((format!("{prefix}f1"), f1));
                rows.push((format!("{prefix}total"), total as f64));
            }
        }
        let expected = case["expected"]["v2"].as_object().unwrap();
        assert_eq!(rows.len(), expected.len(), "{name}");
        for (key, ours) in rows {
            check.value(format!("{name}: {key}"), Ok(ours), &expected[&key]);
        }
        match (squad_v1(&predictions, &answers), &case["expected"]["v1"]) {
            (Err(MetricError::Argument { .. }), Value::Null) => {}
            (ours, v1) => {
                both += 1;
                let ours = ours.unwrap();
                for (key, ours) in [("exact_match", ours.exact), ("f1", ours.f1)] {
                    check.value(format!("{name}: v1 {key}"), Ok(ours), get(v1, key));
                }
            }
        }
    }
    assert!(both > 3);
    check.finish("SQuAD");
}

struct Corpus {
    hypotheses: Vec<String>,
    references: Vec<Vec<String>>,
}

fn corpus(fixture: &Value, name: &Value) -> Corpus {
    let segments = fixture["corpora"][name.as_str().unwrap()]
        .as_array()
        .unwrap();
    let hypothesis = |s: &Value| s["hypothesis"].as_str().unwrap().to_string();
    Corpus {
        hypotheses: segments.iter().map(hypothesis).collect(),
        references: segments.iter().map(|s| strings(&s["references"])).collect(),
    }
}

fn bleu(settings: &Value) -> Bleu {
    let value = settings["smooth_value"].as_f64();
    let order = settings["max_ngram_order"].as_u64();
    Bleu {
        lowercase: settings["lowercase"].as_bool().unwrap_or(false),
        tokenize: settings["tokenize"]
            .as_str()
            .map_or(BleuTokenizer::V13a, tokenizer),
        smooth_method: match settings["smooth_method"].as_str() {
            None => BleuSmoothing::Exp,
            Some("none") => BleuSmoothing::None,
            Some("floor") => BleuSmoothing::Floor(value.unwrap_or(0.1)),
            Some("add-k") => BleuSmoothing::AddK(value.unwrap_or(1.0)),
            Some(other) => panic!("unknown smoothing {other}"),
        },
        max_ngram_order: order.map_or(4, |order| order as usize),
        effective_order: settings["effective_order"].as_bool().unwrap_or(false),
    }
}

fn tokenizer(name: &str) -> BleuTokenizer {
    use BleuTokenizer::{Char, None, V13a, Zh};
    let all = [V13a, Zh, Char, None].into_iter();
    all.clone().find(|t| t.name() == name).unwrap()
}

fn chrf(settings: &Value) -> Chrf {
    let number = |key: &str, default| settings[key].as_u64().unwrap_or(default);
    let flag = |key: &str| settings[key].as_bool().unwrap_or(false);
    Chrf {
        char_order: number("char_order", 6) as usize,
        word_order: number("word_order", 0) as usize,
        beta: number("beta", 2) as u32,
        lowercase: flag("lowercase"),
        whitespace: flag("whitespace"),
        eps_smoothing: flag("eps_smoothing"),
    }
}

#[test]
fn bleu_of_corpora_and_sentences() {
    let (mut check, fixture) = (Check::default(), fixture());
    for case in cases("bleu") {
        let name = format!("{} {}", case["corpus"], case["settings"]);
        let (bleu, expected) = (bleu(&case["settings"]), &case["expected"]);
        let corpus = corpus(&fixture, &case["corpus"]);
        let ours = bleu
            .corpus_score(&corpus.hypotheses, &corpus.references)
            .unwrap();
        assert_eq!(
            ours.signature.as_str(),
            expected["signature"].as_str().unwrap()
        );
        assert_eq!(
            ours.to_string(),
            expected["text"].as_str().unwrap(),
            "{name}"
        );
        check.value(name.clone(), Ok(ours.score), get(expected, "score"));
        check.value(format!("{name}: bp"), Ok(ours.bp), get(expected, "bp"));
        check.slice(&name, &ours.precisions, &expected["precisions"]);
        let lengths = [ours.sys_len as f64, ours.ref_len as f64];
        check.slice(&name, &lengths, &expected["lengths"]);
        let sentences = corpus.hypotheses.iter().zip(&corpus.references);
        let ours: Vec<f64> = sentences
            .map(|(hypothesis, refs)| bleu.sentence_score(hypothesis, refs).unwrap().score)
            .collect();
        check.slice(&format!("{name}: sentence"), &ours, &case["sentences"]);
    }
    check.finish("BLEU");
}

#[test]
fn chrf_of_corpora_and_sentences() {
    let (mut check, fixture) = (Check::default(), fixture());
    assert_eq!(
        chrf(&serde_json::json!({"word_order": 2})),
        Chrf::plus_plus()
    );
    for case in cases("chrf") {
        let name = format!("{} {}", case["corpus"], case["settings"]);
        let (chrf, expected) = (chrf(&case["settings"]), &case["expected"]);
        let corpus = corpus(&fixture, &case["corpus"]);
        let ours = chrf
            .corpus_score(&corpus.hypotheses, &corpus.references)
            .unwrap();
        assert_eq!(
            ours.signature.as_str(),
            expected["signature"].as_str().unwrap()
        );
        assert_eq!(
            ours.to_string(),
            expected["text"].as_str().unwrap(),
            "{name}"
        );
        check.value(name.clone(), Ok(ours.score), get(expected, "score"));
        let sentences = corpus.hypotheses.iter().zip(&corpus.references);
        let ours: Vec<f64> = sentences
            .map(|(hypothesis, refs)| chrf.sentence_score(hypothesis, refs).unwrap().score)
            .collect();
        check.slice(&format!("{name}: sentence"), &ours, &case["sentences"]);
    }
    check.finish("chrF");
}

#[test]
fn tokenizers_cut_as_sacrebleu() {
    let tokens = fixture()["tokens"].as_object().unwrap().clone();
    assert_eq!(tokens.len(), 4);
    for (name, lines) in &tokens {
        for (line, words) in lines.as_object().unwrap() {
            // The metric, there and here, drops trailing whitespace first; it is no word either way.
            assert_eq!(
                tokenizer(name).tokenize(line),
                strings(words),
                "{name}: {line:?}"
            );
        }
    }
}
