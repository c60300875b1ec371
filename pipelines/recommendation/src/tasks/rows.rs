//! Rows of input.

use panoply_core::{Error, Input, Payload, Result};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::Error as _};
use serde_json::{Map, Value};

/// An id, written as a text or as a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Id(pub String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        match Value::deserialize(input)? {
            Value::String(text) if !text.is_empty() => Ok(Self(text)),
            Value::Number(number) => Ok(Self(number.to_string())),
            other => Err(D::Error::custom(format!("{other} is no id"))),
        }
    }
}

/// Rows as inputs.
pub(super) fn examples(rows: impl IntoIterator<Item = Value>) -> Vec<Input> {
    let example = |(number, row): (usize, Value)| Input {
        name: format!("example {number}"),
        payload: Payload::Row(row),
    };
    (1..).zip(rows).map(example).collect()
}

/// A row as the type that a task reads; `expected` names its fields.
pub(super) fn parse<T: DeserializeOwned>(input: &Input, expected: &str) -> Result<T> {
    let wrong = |what: String| Error::input(&input.name, what, expected);
    let Payload::Row(Value::Object(fields)) = &input.payload else {
        return Err(wrong("no JSON object".into()));
    };
    // Of a table, an empty cell is nothing at all.
    let given = fields.iter().filter(|(_, value)| !value.is_null());
    let given: Map<String, Value> = given
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    serde_json::from_value(Value::Object(given)).map_err(|e| wrong(e.to_string()))
}
