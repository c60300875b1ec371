//! What a run measured on its way.

use serde::{Deserialize, Deserializer, Serialize};

/// Curves of a run, for the report. All of it but the seconds is reproducible bit for bit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Mean training loss of each optimiser step.
    pub losses: Vec<f64>,
    /// Learning rate of each optimiser step.
    pub lrs: Vec<f64>,
    /// Global gradient norm of each optimiser step, before clipping.
    pub grad_norms: Vec<f64>,
    /// One record per finished epoch.
    pub epochs: Vec<EpochRecord>,
}

/// What one epoch ended with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Optimiser steps done by its end.
    pub steps: usize,
    /// Means over the epoch's training samples, while the weights moved: `loss`, then the model's
    /// own metrics.
    #[serde(deserialize_with = "nan_for_null")]
    pub train: Vec<(String, f64)>,
    /// Validation metrics, in the order given.
    #[serde(deserialize_with = "nan_for_null")]
    pub validation: Vec<(String, f64)>,
    /// Wall-clock seconds of training and validation.
    pub seconds: f64,
}

/// JSON has no NaN: serde_json writes `null`, as for the AUROC of a single class.
fn nan_for_null<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<(String, f64)>, D::Error> {
    let pairs = Vec::<(String, Option<f64>)>::deserialize(input)?;
    Ok(pairs
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or(f64::NAN)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_json_with_an_undefined_metric() {
        let epoch = EpochRecord {
            epoch: 1,
            steps: 2,
            train: vec![("loss".into(), 0.5)],
            validation: vec![("auroc".into(), f64::NAN), ("accuracy".into(), 0.25)],
            seconds: 1.5,
        };
        let history = History {
            losses: vec![0.5, 0.25],
            epochs: vec![epoch],
            ..Default::default()
        };
        let text = serde_json::to_string(&history).unwrap();
        let back: History = serde_json::from_str(&text).unwrap();
        assert!(back.epochs[0].validation[0].1.is_nan());
        assert_eq!(back.epochs[0].validation[1].1, 0.25);
        assert_eq!(back.losses, history.losses);
    }
}
