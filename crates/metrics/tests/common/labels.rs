//! Reading labels, and the averages over them.

use crate::common::indices;
use panoply_metrics::Average;
use serde_json::Value;

pub(crate) const AVERAGES: [(&str, Average); 3] = [
    ("micro", Average::Micro),
    ("macro", Average::Macro),
    ("weighted", Average::Weighted),
];

pub(crate) fn flags(value: &Value) -> Vec<bool> {
    indices(value).into_iter().map(|v| v != 0).collect()
}
