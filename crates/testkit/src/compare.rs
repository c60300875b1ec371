//! Comparison of predictions as JSON.

use serde_json::Value;

/// The first difference between two values, with its path, or `None`.
///
/// Numbers may differ by `tolerance` times the larger of 1 and their size; all else must be equal,
/// the order of keys excepted.
pub fn json_difference(left: &Value, right: &Value, tolerance: f64) -> Option<String> {
    difference("", left, right, tolerance)
}

fn difference(path: &str, left: &Value, right: &Value, tolerance: f64) -> Option<String> {
    let here = if path.is_empty() { "/" } else { path };
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            let (Some(x), Some(y)) = (a.as_f64(), b.as_f64()) else {
                return (a != b).then(|| format!("{here}: {a} and {b}"));
            };
            let gap = (x - y).abs();
            let accepted = tolerance * x.abs().max(y.abs()).max(1.0);
            (gap > accepted).then(|| format!("{here}: {x} and {y} differ by {gap:.1e}"))
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                return Some(format!("{here}: {} and {} elements", a.len(), b.len()));
            }
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(i, (a, b))| difference(&format!("{path}/{i}"), a, b, tolerance))
        }
        (Value::Object(a), Value::Object(b)) => {
            let only = a.keys().find(|key| !b.contains_key(*key));
            if let Some(key) = only.or_else(|| b.keys().find(|key| !a.contains_key(*key))) {
                return Some(format!("{path}/{key}: on one side only"));
            }
            a.iter().find_map(|(key, value)| {
                difference(&format!("{path}/{key}"), value, &b[key], tolerance)
            })
        }
        _ => (left != right).then(|| format!("{here}: {left} and {right}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_have_paths() {
        let a = json!({"labels": [{"index": 1, "score": 0.5}], "name": "x"});
        assert_eq!(json_difference(&a, &a, 0.0), None);
        let near = json!({"name": "x", "labels": [{"index": 1, "score": 0.500_001}]});
        assert_eq!(json_difference(&a, &near, 1e-5), None);
        let text = json_difference(&a, &near, 0.0).unwrap();
        assert!(
            text.starts_with("/labels/0/score: 0.5 and 0.500001"),
            "{text}"
        );
        let other = |value: Value| json_difference(&a, &value, 1.0).unwrap();
        assert_eq!(
            other(json!({"labels": [], "name": "x"})),
            "/labels: 1 and 0 elements"
        );
        assert_eq!(other(json!({"labels": []})), "/name: on one side only");
        assert_eq!(other(json!(null)), format!("/: {a} and null"));
        // A NaN becomes null in JSON and must not pass for a number.
        assert!(json_difference(&json!(1.0), &json!(null), 1.0).is_some());
    }
}
