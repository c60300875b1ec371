//! Properties of the language metrics against naive definitions, on random input with many repeats.

use panoply_metrics::{
    Average, Bleu, BleuSmoothing, BleuTokenizer, Chrf, EntityScorer, MetricError, MultilabelCounts,
    SegmentationScorer, TaggingMode, TaggingScheme, entities, normalize_answer, pearsonr,
    spearmanr, squad_exact, squad_f1, squad_v2,
};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

/// A text of a few characters, cut twice: whether a word ends after each character.
fn cuttings() -> impl Strategy<Value = Vec<(char, bool, bool)>> {
    let character = prop::sample::select(vec!['我', '的', 'a', '𠮷']);
    vec((character, any::<bool>(), any::<bool>()), 1..30)
}

fn words(text: &[(char, bool)]) -> Vec<String> {
    let pieces = text.split_inclusive(|&(_, ends)| ends);
    pieces
        .map(|piece| piece.iter().map(|&(c, _)| c).collect())
        .collect()
}

fn spans(words: &[String]) -> BTreeSet<(usize, usize)> {
    let mut start = 0;
    let span = |word: &String| {
        let end = start + word.chars().count();
        std::mem::replace(&mut start, end)..end
    };
    words.iter().map(span).map(|s| (s.start, s.end)).collect()
}

/// Tags of a few types.
fn tags() -> impl Strategy<Value = Vec<String>> {
    let tag = prop::sample::select(vec!["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B"]);
    vec(tag.prop_map(String::from), 0..15)
}

/// Lines of a few words.
fn line() -> impl Strategy<Value = String> {
    vec(
        prop::sample::select(vec!["a", "b", "the", "cat,", "3.5"]),
        0..9,
    )
    .prop_map(|w| w.join(" "))
}

/// Occurrences of each run of `n` words, by searching.
fn occurrences(words: &[&str], ngram: &[&str]) -> usize {
    words.windows(ngram.len()).filter(|w| *w == ngram).count()
}

/// The count of matches as the paper states it: for each distinct n-gram of the hypothesis, at
/// most as many as in the reference that has most.
fn naive_matches(hypothesis: &[&str], references: &[Vec<&str>], n: usize) -> usize {
    let distinct: BTreeSet<&[&str]> = hypothesis.windows(n).collect();
    let matched = distinct.into_iter().map(|ngram| {
        let most = references.iter().map(|r| occurrences(r, ngram)).max();
        occurrences(hypothesis, ngram).min(most.unwrap_or(0))
    });
    matched.sum()
}

/// The mean number of values below, and half of the equal ones: an average rank.
fn naive_ranks(values: &[f64]) -> Vec<f64> {
    let rank = |own: &f64| {
        let below = values.iter().filter(|v| *v < own).count() as f64;
        let equal = values.iter().filter(|v| *v == own).count() as f64;
        below + f64::midpoint(equal, 1.0)
    };
    values.iter().map(rank).collect()
}

/// Covariance over the root of the variances.
fn naive_pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let product = |a: &[f64], b: &[f64]| {
        let (sa, sb) = (a.iter().sum::<f64>(), b.iter().sum::<f64>());
        n * a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() - sa * sb
    };
    let spread = product(x, x) * product(y, y);
    (spread > 0.0).then(|| product(x, y) / spread.sqrt())
}

proptest! {
    // Failing cases are printed; no file of them is kept beside the sources.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segmentation_equals_sets_of_spans(text in cuttings(), known in vec(cuttings(), 0..3)) {
        let truth: Vec<(char, bool)> = text.iter().map(|&(c, t, _)| (c, t)).collect();
        let predicted: Vec<(char, bool)> = text.iter().map(|&(c, _, p)| (c, p)).collect();
        let (truth, predicted) = (words(&truth), words(&predicted));
        let vocabulary: BTreeSet<String> = known.iter()
            .flat_map(|text| words(&text.iter().map(|&(c, t, _)| (c, t)).collect::<Vec<_>>()))
            .collect();
        let mut scorer = SegmentationScorer::new(vocabulary.clone());
        scorer.update(&[&truth], &[&predicted]).unwrap();
        let scores = scorer.scores().unwrap();

        let (true_spans, called) = (spans(&truth), spans(&predicted));
        let hits = true_spans.intersection(&called).count() as f64;
        prop_assert!((scores.precision - hits / called.len() as f64).abs() < 1e-12);
        prop_assert!((scores.recall - hits / truth.len() as f64).abs() < 1e-12);
        for (wanted, recall) in [(true, scores.iv_recall), (false, scores.oov_recall)] {
            let own: Vec<bool> = truth.iter().zip(&true_spans)
                .filter(|(word, _)| vocabulary.contains(*word) == wanted)
                .map(|(_, span)| called.contains(span)).collect();
            let hits = own.iter().filter(|hit| **hit).count() as f64;
            prop_assert_eq!(recall, (!own.is_empty()).then(|| hits / own.len() as f64));
        }
        let unknown = truth.iter().filter(|word| !vocabulary.contains(*word)).count() as f64;
        prop_assert_eq!(scores.oov_rate, unknown / truth.len() as f64);
    }

    #[test]
    fn entities_are_disjoint_and_strict_ones_wellformed(tags in tags()) {
        let scheme = TaggingScheme::Iobes;
        for mode in [TaggingMode::Lenient, TaggingMode::Strict(scheme)] {
            let found = entities(&tags, mode).unwrap();
            prop_assert!(found.windows(2).all(|w| w[0].end <= w[1].start));
            for entity in &found {
                let kinds = tags[entity.start..entity.end].iter().map(|tag| &tag[2..]);
                prop_assert!(entity.start < entity.end && entity.end <= tags.len());
                prop_assert!(kinds.eq(std::iter::repeat_n(entity.entity_type.as_str(), entity.end - entity.start)));
            }
        }
        // A strict IOBES entity is S alone, or B, any number of I, E.
        let strict = entities(&tags, TaggingMode::Strict(scheme)).unwrap();
        let naive = (0..tags.len()).flat_map(|start| (start + 1..=tags.len()).map(move |end| (start, end)));
        let naive: Vec<(usize, usize)> = naive.filter(|&(start, end)| {
            let prefixes: String = tags[start..end].iter().map(|tag| &tag[..1]).collect();
            let one_type = tags[start..end].iter().all(|tag| tag.get(2..) == tags[start].get(2..));
            let inner = prefixes.strip_prefix('B').and_then(|p| p.strip_suffix('E'));
            one_type && (prefixes == "S" || inner.is_some_and(|p| p.chars().all(|c| c == 'I')))
        }).collect();
        prop_assert_eq!(strict.iter().map(|e| (e.start, e.end)).collect::<Vec<_>>(), naive);
    }

    #[test]
    fn entity_scores_equal_sets_of_entities(sentences in vec((tags(), tags()), 1..6)) {
        let cut: Vec<(Vec<String>, Vec<String>)> = sentences.into_iter()
            .map(|(t, p)| { let n = t.len().min(p.len()); (t[..n].to_vec(), p[..n].to_vec()) })
            .collect();
        let (y_true, y_pred): (Vec<_>, Vec<_>) = cut.into_iter().unzip();
        let mut scorer = EntityScorer::new(TaggingMode::Lenient);
        scorer.update(&y_true, &y_pred).unwrap();
        let set = |sentences: &[Vec<String>]| -> BTreeSet<_> {
            sentences.iter().enumerate().flat_map(|(i, tags)| {
                entities(tags, TaggingMode::Lenient).unwrap().into_iter().map(move |e| (i, e))
            }).collect()
        };
        let (truth, predicted) = (set(&y_true), set(&y_pred));
        let hits = truth.intersection(&predicted).count() as f64;
        let share = |all: usize| if all == 0 { 0.0 } else { hits / all as f64 };
        match scorer.precision(Average::Micro) {
            Ok(precision) => {
                prop_assert_eq!(precision, share(predicted.len()));
                prop_assert_eq!(scorer.recall(Average::Micro).unwrap(), share(truth.len()));
            }
            Err(error) => {
                let empty = matches!(error, MetricError::Empty { .. });
                prop_assert!(empty, "{error}");
                prop_assert!(y_true.iter().all(Vec::is_empty));
            }
        }
    }

    #[test]
    fn bleu_equals_its_definition(segments in vec((line(), vec(line(), 1..4)), 1..4)) {
        let (hypotheses, references): (Vec<String>, Vec<Vec<String>>) = segments.into_iter().unzip();
        let bleu = Bleu { tokenize: BleuTokenizer::None, smooth_method: BleuSmoothing::None, ..Bleu::default() };
        let ours = bleu.corpus_score(&hypotheses, &references).unwrap();
        let (mut matched, mut total) = ([0usize; 4], [0usize; 4]);
        let (mut sys_len, mut ref_len) = (0, 0);
        for (hypothesis, refs) in hypotheses.iter().zip(&references) {
            let hypothesis: Vec<&str> = hypothesis.split_whitespace().collect();
            let refs: Vec<Vec<&str>> = refs.iter().map(|r| r.split_whitespace().collect()).collect();
            for n in 1..=4 {
                matched[n - 1] += naive_matches(&hypothesis, &refs, n);
                total[n - 1] += hypothesis.windows(n).count();
            }
            sys_len += hypothesis.len();
            let mut lengths: Vec<usize> = refs.iter().map(Vec::len).collect();
            lengths.sort_unstable();
            ref_len += lengths.into_iter().min_by_key(|len| len.abs_diff(hypothesis.len())).unwrap();
        }
        let product: f64 = matched.iter().zip(&total)
            .map(|(&m, &t)| if t == 0 { 0.0 } else { m as f64 / t as f64 }).product();
        let penalty = if sys_len >= ref_len { 1.0 } else { (1.0 - ref_len as f64 / sys_len as f64).exp() };
        let naive = if product == 0.0 { 0.0 } else { 100.0 * penalty * product.powf(0.25) };
        prop_assert!((ours.score - naive).abs() < 1e-9, "{} {naive}", ours.score);
        prop_assert_eq!((ours.sys_len as usize, ours.ref_len as usize), (sys_len, ref_len));
    }

    #[test]
    fn translation_scores_stay_in_range(hypothesis in any::<String>(), reference in any::<String>()) {
        for tokenize in [BleuTokenizer::V13a, BleuTokenizer::Zh, BleuTokenizer::Char, BleuTokenizer::None] {
            let bleu = Bleu { tokenize, effective_order: true, ..Bleu::default() };
            let score = bleu.sentence_score(&hypothesis, &[&reference]).unwrap().score;
            prop_assert!((0.0..=100.0 + 1e-9).contains(&score));
            let own = bleu.sentence_score(&reference, &[&reference]).unwrap();
            prop_assert!(own.sys_len == 0 || (own.score - 100.0).abs() < 1e-9);
        }
        for chrf in [Chrf::default(), Chrf::plus_plus(), Chrf { eps_smoothing: true, ..Chrf::default() }] {
            let score = chrf.sentence_score(&hypothesis, &[&reference]).unwrap().score;
            prop_assert!((0.0..=100.0 + 1e-9).contains(&score));
        }
        // chrF with beta 1 does not tell the sides apart.
        let chrf = Chrf { beta: 1, ..Chrf::default() };
        let ours = chrf.sentence_score(&hypothesis, &[&reference]).unwrap().score;
        let turned = chrf.sentence_score(&reference, &[&hypothesis]).unwrap().score;
        prop_assert!((ours - turned).abs() < 1e-9);
    }

    #[test]
    fn answers_compare_as_normalised(a in "[aAtThe ,.x\u{e9}_-]{0,12}", b in "[aAtThe ,.x\u{e9}_-]{0,12}") {
        let normal = normalize_answer(&a);
        prop_assert!(!normal.contains("  ") && normal.trim() == normal);
        prop_assert!(normal.split(' ').all(|word| !["a", "an", "the"].contains(&word)));
        prop_assert_eq!(squad_exact(&a, &b), normal == normalize_answer(&b));
        let f1 = squad_f1(&a, &b);
        prop_assert!((0.0..=1.0).contains(&f1) && f1 == squad_f1(&b, &a));
        prop_assert!(squad_f1(&a, &a) == 1.0 && (!squad_exact(&a, &b) || f1 == 1.0));
    }

    #[test]
    fn the_best_threshold_is_the_best_of_all(
        rows in vec((prop::sample::select(vec!["", "x", "y"]), prop::sample::select(vec!["", "x"]), 0u16..1000), 1..20)
    ) {
        // Distinct probabilities: among equal ones the script also stops between.
        let probs: Vec<f64> = rows.iter().enumerate().map(|(i, row)| (f64::from(row.2) * 20.0 + i as f64) / 2e4).collect();
        let predictions: Vec<&str> = rows.iter().map(|row| row.0).collect();
        let answers: Vec<Vec<&str>> = rows.iter().map(|row| if row.1.is_empty() { vec![] } else { vec![row.1] }).collect();
        let at = |threshold: f64| squad_v2(&predictions, &answers, Some(&probs), threshold).unwrap();
        let every = probs.iter().copied().chain([-1.0]).map(|threshold| at(threshold).all.exact);
        let best = every.fold(0.0, f64::max);
        let ours = at(1.0);
        prop_assert!((ours.best_exact - best).abs() < 1e-9, "{} {best}", ours.best_exact);
        if ours.best_exact_thresh > 0.0 {
            prop_assert!((at(ours.best_exact_thresh).all.exact - best).abs() < 1e-9);
        }
    }

    #[test]
    fn correlations_equal_their_definitions(samples in vec((0u8..6, 0u8..6), 3..40)) {
        let x: Vec<f64> = samples.iter().map(|s| f64::from(s.0)).collect();
        let y: Vec<f64> = samples.iter().map(|s| f64::from(s.1)).collect();
        for (ours, naive) in [
            (pearsonr(&x, &y), naive_pearson(&x, &y)),
            (spearmanr(&x, &y), naive_pearson(&naive_ranks(&x), &naive_ranks(&y))),
        ] {
            match (ours, naive) {
                (Ok(ours), Some(naive)) => prop_assert!((ours - naive).abs() < 1e-9),
                (Err(MetricError::Undefined { .. }), None) => {}
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn multilabel_micro_equals_pooled_cells(rows in vec([any::<(bool, bool)>(), any::<(bool, bool)>()], 1..30)) {
        let (y_true, y_pred): (Vec<bool>, Vec<bool>) = rows.iter().flatten().copied().unzip();
        let mut counts = MultilabelCounts::new(2).unwrap();
        counts.update(&y_true, &y_pred).unwrap();
        let cells = |wanted: (bool, bool)| rows.iter().flatten().filter(|cell| **cell == wanted).count() as f64;
        let (hits, wrong) = (cells((true, true)), cells((true, false)) + cells((false, true)));
        let naive = if hits + wrong == 0.0 { 0.0 } else { 2.0 * hits / (2.0 * hits + wrong) };
        prop_assert!((counts.f1(Average::Micro).unwrap() - naive).abs() < 1e-12);
        prop_assert!((counts.hamming_loss().unwrap() - wrong / y_true.len() as f64).abs() < 1e-12);
    }
}
