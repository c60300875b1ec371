//! Reading reference values, and comparing with them.

#![expect(
    clippy::print_stdout,
    reason = "`--nocapture` shows how close the values are"
)]

use panoply_metrics::MetricError;
use serde_json::Value;

const TOLERANCE: f64 = 1e-6;

pub(crate) fn cases(fixture: &Value, key: &str) -> Vec<Value> {
    let cases = fixture[key].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

pub(crate) fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

pub(crate) fn indices(value: &Value) -> Vec<usize> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as usize)
        .collect()
}

/// Compares values, and remembers how many there were and how far the furthest was.
#[derive(Default)]
pub(crate) struct Check {
    compared: usize,
    furthest: f64,
    wrong: Vec<String>,
}

impl Check {
    /// A null in the reference is its NaN: ours must say that the metric is undefined.
    pub(crate) fn value(
        &mut self,
        what: String,
        ours: Result<f64, MetricError>,
        reference: &Value,
    ) {
        self.compared += 1;
        match (ours, reference.as_f64()) {
            (Ok(ours), Some(reference)) => {
                let gap = (ours - reference).abs();
                self.furthest = self.furthest.max(gap);
                if gap.is_nan() || gap > TOLERANCE {
                    self.wrong
                        .push(format!("{what}: {ours}, reference {reference}"));
                }
            }
            (Err(MetricError::Undefined { .. }), None) if reference.is_null() => {}
            (ours, _) => self
                .wrong
                .push(format!("{what}: {ours:?}, reference {reference}")),
        }
    }

    pub(crate) fn slice(&mut self, what: &str, ours: &[f64], reference: &Value) {
        let reference = reference.as_array().unwrap();
        assert_eq!(ours.len(), reference.len(), "{what}");
        for (i, (ours, reference)) in ours.iter().zip(reference).enumerate() {
            self.value(format!("{what}[{i}]"), Ok(*ours), reference);
        }
    }

    pub(crate) fn finish(self, what: &str) {
        println!(
            "{what}: {} values, max |Δ| {:.1e}",
            self.compared, self.furthest
        );
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert!(self.compared > 0);
    }
}
