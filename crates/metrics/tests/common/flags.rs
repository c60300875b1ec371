//! Reading yes and no.

use crate::common::indices;
use serde_json::Value;

pub(crate) fn flags(value: &Value) -> Vec<bool> {
    indices(value).into_iter().map(|v| v != 0).collect()
}
