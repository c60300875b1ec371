//! Pictures: what scores look like, and what they are worth.

use panoply_core::{
    Artefact, Result,
    plot::{self, Series},
};
use panoply_metrics::{precision_recall_curve, roc_curve};

/// Bars of a distribution.
const BINS: usize = 40;

/// Distribution of the scores, and the curves of labelled ones.
pub(super) fn pictures(
    scores: &[f64],
    labels: Option<&[bool]>,
    threshold: f64,
) -> Result<Vec<Artefact>> {
    let mut pictures = vec![distribution(scores, labels, threshold)?];
    let Some(labels) = labels.filter(|l| l.contains(&true) && l.contains(&false)) else {
        return Ok(pictures);
    };
    let internal = super::eval::metric_error;
    let roc = roc_curve(labels, scores).map_err(internal)?;
    let roc = roc
        .iter()
        .map(|p| (p.false_positive_rate, p.true_positive_rate));
    let chance = Series::new("chance", vec![(0.0, 0.0), (1.0, 1.0)]);
    let curve = Series::new("detector", roc.collect());
    let axes = ("false-positive rate", "true-positive rate");
    let svg = plot::line_chart("ROC curve", axes.0, axes.1, &[curve, chance])?;
    pictures.push(artefact("roc.svg", svg));
    let curve = precision_recall_curve(labels, scores).map_err(internal)?;
    let points = curve.iter().map(|p| (p.recall, p.precision)).collect();
    let share = labels.iter().filter(|&&l| l).count() as f64 / labels.len() as f64;
    let chance = Series::new("chance", vec![(0.0, share), (1.0, share)]);
    let series = [Series::new("detector", points), chance];
    let svg = plot::line_chart("Precision and recall", "recall", "precision", &series)?;
    pictures.push(artefact("precision-recall.svg", svg));
    Ok(pictures)
}

fn artefact(file_name: &str, svg: String) -> Artefact {
    Artefact {
        file_name: file_name.into(),
        bytes: svg.into_bytes(),
    }
}

/// The share of the rows in each bin, normal rows and anomalies apart, with the threshold as an upright line.
fn distribution(scores: &[f64], labels: Option<&[bool]>, threshold: f64) -> Result<Artefact> {
    let low = scores.iter().copied().fold(f64::INFINITY, f64::min);
    let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let width = (high - low) / BINS as f64;
    let share = |wanted: Option<bool>| {
        let of = |row: usize| wanted.is_none() || labels.map(|l| l[row]) == wanted;
        let chosen: Vec<f64> = (0..scores.len())
            .filter(|&r| of(r))
            .map(|r| scores[r])
            .collect();
        let mut counts = vec![0usize; BINS];
        for score in &chosen {
            let bin = if width > 0.0 {
                ((score - low) / width) as usize
            } else {
                0
            };
            counts[bin.min(BINS - 1)] += 1;
        }
        let point = |(bin, &count): (usize, &usize)| {
            let middle = low + (bin as f64 + 0.5) * width;
            (middle, count as f64 / chosen.len().max(1) as f64)
        };
        counts.iter().enumerate().map(point).collect::<Vec<_>>()
    };
    let mut series = match labels {
        None => vec![Series::new("rows", share(None))],
        Some(_) => vec![
            Series::new("normal", share(Some(false))),
            Series::new("anomalous", share(Some(true))),
        ],
    };
    let shares = series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
    let top = shares.fold(0.0, f64::max);
    series.push(Series::new(
        "threshold",
        vec![(threshold, 0.0), (threshold, top)],
    ));
    let svg = plot::line_chart("Scores", "score", "share of the rows", &series)?;
    Ok(artefact("scores.svg", svg))
}
