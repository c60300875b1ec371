//! Properties against naive definitions, on random labels and scores with many ties.

use panoply_metrics::{
    Average, CalibrationBins, ConfusionMatrix, MetricError, average_precision, log_loss,
    precision_recall_curve, roc_auc, roc_auc_ovr, roc_curve, top_k_accuracy,
};
use proptest::{collection::vec, prelude::*};

/// Labels and scores of a few levels, so that ties are common.
fn ranking() -> impl Strategy<Value = Vec<(bool, f64)>> {
    vec(
        (
            any::<bool>(),
            (0u8..6).prop_map(|level| f64::from(level) / 5.0),
        ),
        1..60,
    )
}

/// Pairs of (true, predicted) labels below 4.
fn pairs() -> impl Strategy<Value = Vec<(usize, usize)>> {
    vec((0usize..4, 0usize..4), 1..60)
}

/// Labels and rows of three small non-negative integers, not all zero.
fn tables() -> impl Strategy<Value = Vec<(usize, [u8; 3])>> {
    vec((0usize..3, [0u8..4, 0u8..4, 0u8..4]), 1..40).prop_map(|mut rows| {
        for (_, row) in &mut rows {
            row[0] += u8::from(row.iter().all(|&v| v == 0));
        }
        rows
    })
}

fn normalised(rows: &[(usize, [u8; 3])]) -> (Vec<usize>, Vec<f64>) {
    let probabilities = |row: &[u8; 3]| {
        let sum = f64::from(row.iter().sum::<u8>());
        row.map(|v| f64::from(v) / sum)
    };
    let labels = rows.iter().map(|(label, _)| *label).collect();
    (
        labels,
        rows.iter()
            .flat_map(|(_, row)| probabilities(row))
            .collect(),
    )
}

/// P(positive scores above negative) + half P(tie).
fn naive_auc(samples: &[(bool, f64)]) -> Option<f64> {
    let (mut wins, mut pairs) = (0.0, 0.0);
    for (_, positive) in samples.iter().filter(|(label, _)| *label) {
        for (_, negative) in samples.iter().filter(|(label, _)| !*label) {
            wins += if positive > negative {
                1.0
            } else if positive == negative {
                0.5
            } else {
                0.0
            };
            pairs += 1.0;
        }
    }
    (pairs > 0.0).then(|| wins / pairs)
}

/// Mean over positives of the precision among samples that score at least as high.
fn naive_ap(samples: &[(bool, f64)]) -> f64 {
    let positives: Vec<f64> = samples
        .iter()
        .filter(|(label, _)| *label)
        .map(|(_, s)| *s)
        .collect();
    let precision = |threshold: f64| {
        let called: Vec<bool> = samples
            .iter()
            .filter(|(_, s)| *s >= threshold)
            .map(|(label, _)| *label)
            .collect();
        called.iter().filter(|label| **label).count() as f64 / called.len() as f64
    };
    if positives.is_empty() {
        return 0.0;
    }
    positives.iter().map(|&s| precision(s)).sum::<f64>() / positives.len() as f64
}

proptest! {
    // Failing cases are printed; no file of them is kept beside the sources.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn areas_equal_their_definitions(samples in ranking()) {
        let (y_true, y_score): (Vec<bool>, Vec<f64>) = samples.iter().copied().unzip();
        match (roc_auc(&y_true, &y_score), naive_auc(&samples)) {
            (Ok(ours), Some(naive)) => {
                prop_assert!((ours - naive).abs() < 1e-12);
                let curve = roc_curve(&y_true, &y_score).unwrap();
                let trapezoids = curve.windows(2).map(|w| {
                    (w[1].false_positive_rate - w[0].false_positive_rate)
                        * (w[1].true_positive_rate + w[0].true_positive_rate) / 2.0
                });
                prop_assert!((trapezoids.sum::<f64>() - ours).abs() < 1e-12);
                let negated: Vec<f64> = y_score.iter().map(|s| -s).collect();
                prop_assert!((roc_auc(&y_true, &negated).unwrap() - (1.0 - ours)).abs() < 1e-12);
            }
            (Err(MetricError::Undefined { .. }), None) => {}
            other => prop_assert!(false, "{other:?}"),
        }
        let ours = average_precision(&y_true, &y_score).unwrap();
        prop_assert!((ours - naive_ap(&samples)).abs() < 1e-12);
        let recalls = precision_recall_curve(&y_true, &y_score).unwrap();
        prop_assert!(recalls.windows(2).all(|w| w[0].recall <= w[1].recall && w[0].threshold > w[1].threshold));
    }

    #[test]
    fn order_of_samples_does_not_matter(samples in ranking(), turn in 0usize..60) {
        let mut turned = samples.clone();
        turned.rotate_left(turn % samples.len());
        let areas = |samples: &[(bool, f64)]| {
            let (y_true, y_score): (Vec<bool>, Vec<f64>) = samples.iter().copied().unzip();
            (roc_auc(&y_true, &y_score).ok(), average_precision(&y_true, &y_score).unwrap())
        };
        prop_assert_eq!(areas(&samples), areas(&turned));
    }

    #[test]
    fn averages_equal_their_definitions(samples in pairs()) {
        let (y_true, y_pred): (Vec<usize>, Vec<usize>) = samples.iter().copied().unzip();
        let matrix = ConfusionMatrix::from_labels(&y_true, &y_pred, 4).unwrap();
        let accuracy = samples.iter().filter(|(t, p)| t == p).count() as f64 / samples.len() as f64;
        // With one label a sample, the micro averages and the weighted recall are the accuracy.
        for value in [matrix.precision(Average::Micro), matrix.recall(Average::Micro),
                      matrix.f1(Average::Micro), matrix.recall(Average::Weighted)] {
            prop_assert!((value.unwrap() - accuracy).abs() < 1e-12);
        }
        let recall = |class: usize| {
            let own: Vec<_> = samples.iter().filter(|(t, _)| *t == class).collect();
            let hits = own.iter().filter(|(_, p)| *p == class).count();
            if own.is_empty() { 0.0 } else { hits as f64 / own.len() as f64 }
        };
        let present: Vec<usize> =
            (0..4).filter(|c| samples.iter().any(|(t, p)| t == c || p == c)).collect();
        let mean = present.iter().map(|&c| recall(c)).sum::<f64>() / present.len() as f64;
        prop_assert!((matrix.recall(Average::Macro).unwrap() - mean).abs() < 1e-12);
        prop_assert!((-1.0..=1.0 + 1e-12).contains(&matrix.matthews_corrcoef().unwrap()));
    }

    #[test]
    fn merging_is_counting_together(a in pairs(), b in pairs()) {
        let matrix = |samples: &[(usize, usize)]| {
            let (y_true, y_pred): (Vec<usize>, Vec<usize>) = samples.iter().copied().unzip();
            ConfusionMatrix::from_labels(&y_true, &y_pred, 4).unwrap()
        };
        let mut merged = matrix(&a);
        merged.merge(&matrix(&b)).unwrap();
        prop_assert_eq!(merged, matrix(&[a, b].concat()));
    }

    #[test]
    fn tables_equal_their_definitions(rows in tables(), k in 1usize..4) {
        let (labels, proba) = normalised(&rows);
        let naive: f64 = labels.iter().zip(proba.chunks(3))
            .map(|(&label, row)| -row[label].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln())
            .sum::<f64>() / labels.len() as f64;
        prop_assert!((log_loss(&labels, &proba, 3).unwrap() - naive).abs() < 1e-12);

        // A stable ascending sort read backwards is scikit-learn's ranking.
        let hits = labels.iter().zip(proba.chunks(3)).filter(|(label, row)| {
            let mut ranked = [0, 1, 2];
            ranked.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
            ranked.iter().rev().take(k).any(|class| class == *label)
        });
        let naive = hits.count() as f64 / labels.len() as f64;
        prop_assert_eq!(top_k_accuracy(&labels, &proba, 3, k).unwrap(), naive);

        let column = |class: usize| -> Vec<(bool, f64)> {
            labels.iter().zip(proba.chunks(3)).map(|(&l, row)| (l == class, row[class])).collect()
        };
        let areas: Option<Vec<f64>> = (0..3).map(|class| naive_auc(&column(class))).collect();
        let ours = roc_auc_ovr(&labels, &proba, 3, Average::Macro);
        match areas {
            Some(areas) => prop_assert!((ours.unwrap() - areas.iter().sum::<f64>() / 3.0).abs() < 1e-12),
            None => prop_assert!(ours.is_err()),
        }
    }

    #[test]
    fn calibration_error_is_a_weighted_gap(samples in ranking(), num_bins in 1usize..20) {
        let mut bins = CalibrationBins::new(num_bins).unwrap();
        let (correct, confidence): (Vec<bool>, Vec<f64>) = samples.iter().copied().unzip();
        bins.update(&confidence, &correct).unwrap();
        let bars = bins.bins();
        prop_assert_eq!(bars.iter().map(|b| b.count).sum::<u64>(), samples.len() as u64);
        let gaps = bars.iter().map(|b| b.count as f64 * (b.confidence - b.accuracy).abs());
        let naive = gaps.sum::<f64>() / samples.len() as f64;
        prop_assert!((bins.error().unwrap() - naive).abs() < 1e-12);
        for bar in bars.iter().filter(|bar| bar.count > 0) {
            prop_assert!(f64::from(bar.lower) - 1e-6 <= bar.confidence && bar.confidence <= f64::from(bar.upper) + 1e-6);
        }
    }
}
