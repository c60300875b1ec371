//! The averages over labels.

use panoply_metrics::Average;

pub(crate) const AVERAGES: [(&str, Average); 3] = [
    ("micro", Average::Micro),
    ("macro", Average::Macro),
    ("weighted", Average::Weighted),
];
