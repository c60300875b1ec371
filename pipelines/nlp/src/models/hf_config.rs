//! Reading `config.json` in Hugging Face's spelling.

use panoply_core::{Error, Result, nn::Activation};
use serde_json::Value;

/// The fields of a `config.json`; one that is absent or null has the reference's default.
pub(super) struct HfConfig<'v>(pub(super) &'v Value);

impl<'v> HfConfig<'v> {
    pub(super) fn get(&self, field: &str) -> Option<&'v Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        field: &str,
        expected: &str,
        read: impl Fn(&'v Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| wrong(field, value, expected)),
        }
    }

    /// A count of at least one.
    pub(super) fn size(&self, field: &str, default: usize) -> Result<usize> {
        Ok(self.optional_size(field)?.unwrap_or(default))
    }

    /// A count of at least one that need not be there.
    pub(super) fn optional_size(&self, field: &str) -> Result<Option<usize>> {
        let read = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        let size = self.read(field, "a whole number from 1", |v| {
            read(v).filter(|n| *n > 0)
        })?;
        Ok(size.map(|n| n as usize))
    }

    /// A count that may be zero.
    pub(super) fn count(&self, field: &str, default: usize) -> Result<usize> {
        let read = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        Ok(self
            .read(field, "a whole number", read)?
            .map_or(default, |n| n as usize))
    }

    /// A positive number.
    pub(super) fn positive(&self, field: &str, default: f64) -> Result<f64> {
        let read = |v: &Value| v.as_f64().filter(|x| x.is_finite() && *x > 0.0);
        Ok(self
            .read(field, "a positive number", read)?
            .unwrap_or(default))
    }

    /// A dropout probability.
    pub(super) fn dropout(&self, field: &str, default: f64) -> Result<f64> {
        let read = |v: &Value| v.as_f64().filter(|p| (0.0..1.0).contains(p));
        Ok(self
            .read(field, "a probability in [0, 1)", read)?
            .unwrap_or(default))
    }

    pub(super) fn flag(&self, field: &str, default: bool) -> Result<bool> {
        Ok(self
            .read(field, "true or false", Value::as_bool)?
            .unwrap_or(default))
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&'v str>> {
        self.read(field, "a text", Value::as_str)
    }

    /// An activation under the reference's name.
    pub(super) fn activation(&self, field: &str, default: Activation) -> Result<Activation> {
        let known = ACTIVATIONS.map(|(name, _)| name).join(", ");
        let read = |v: &Value| {
            let name = v.as_str()?;
            let found = ACTIVATIONS.iter().find(|(known, _)| *known == name)?;
            Some(found.1)
        };
        Ok(self.read(field, &known, read)?.unwrap_or(default))
    }

    /// Number of labels: of `id2label`, else `num_labels`, else 2.
    pub(super) fn num_labels(&self) -> Result<usize> {
        match self.get("id2label").and_then(Value::as_object) {
            Some(labels) if !labels.is_empty() => Ok(labels.len()),
            _ => self.size("num_labels", 2),
        }
    }

    /// Refuses a field that has another value than the one that is implemented.
    pub(super) fn only(&self, field: &str, expected: &Value) -> Result<()> {
        match self.get(field) {
            Some(value) if value != expected => Err(wrong(field, value, &expected.to_string())),
            _ => Ok(()),
        }
    }
}

/// Reference names of activations.
const ACTIVATIONS: [(&str, Activation); 8] = [
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
];

/// The reference's name of an activation.
pub(super) fn activation_name(activation: Activation) -> &'static str {
    let found = ACTIVATIONS.iter().find(|(_, known)| *known == activation);
    found.map_or(activation.name(), |(name, _)| name)
}

pub(super) fn wrong(field: &str, value: &Value, expected: &str) -> Error {
    Error::input("config.json", format!("{field} {value}"), expected)
}

/// Refuses heads that do not divide the features.
pub(super) fn check_heads(heads: usize, hidden: usize) -> Result<()> {
    if hidden.is_multiple_of(heads) {
        return Ok(());
    }
    Err(Error::input(
        "config.json",
        format!("{heads} attention heads for {hidden} features"),
        "heads that divide the features",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_and_null_fields_have_defaults_and_wrong_ones_are_named() {
        let json = json!({"n": 3, "z": 0, "p": 1.0, "act": "gelu_new", "odd": null, "s": "x"});
        let config = HfConfig(&json);
        assert_eq!(config.size("n", 1).unwrap(), 3);
        assert_eq!(config.size("odd", 7).unwrap(), 7);
        assert_eq!(config.count("z", 7).unwrap(), 0);
        assert_eq!(
            config.activation("act", Activation::Relu).unwrap(),
            Activation::GeluTanh
        );
        let errors = [
            config.size("z", 1).unwrap_err(),
            config.dropout("p", 0.1).unwrap_err(),
            config.positive("s", 0.1).unwrap_err(),
            config.activation("s", Activation::Relu).unwrap_err(),
            config.only("n", &json!(4)).unwrap_err(),
        ];
        let expected = ["z 0", "p 1.0", "s \"x\"", "s \"x\"", "n 3"];
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(
            check_heads(3, 8)
                .unwrap_err()
                .to_string()
                .contains("3 attention heads")
        );
    }

    #[test]
    fn labels_are_counted() {
        let count = |json| HfConfig(&json).num_labels().unwrap();
        assert_eq!(
            count(json!({"id2label": {"0": "a", "1": "b", "2": "c"}})),
            3
        );
        assert_eq!(count(json!({"num_labels": 5})), 5);
        assert_eq!(count(json!({})), 2);
    }
}
