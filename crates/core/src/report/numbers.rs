//! Numbers in JSON, which knows no NaN: what is not finite is written as `null` and read as NaN.

use serde::{Deserialize, Deserializer, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// A single number, for `deserialize_with`; serde_json itself writes `null`.
pub(super) fn nan_for_null<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or(f64::NAN))
}

/// Points of a curve, as `[[x, y], …]`.
pub(super) mod points {
    use super::{Deserialize, Deserializer, Serializer, finite};

    pub(in super::super) fn serialize<S: Serializer>(
        points: &[(f64, f64)],
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.collect_seq(points.iter().map(|(x, y)| (finite(*x), finite(*y))))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Vec<(f64, f64)>, D::Error> {
        let points = Vec::<(Option<f64>, Option<f64>)>::deserialize(input)?;
        let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
        Ok(points
            .into_iter()
            .map(|(x, y)| (number(x), number(y)))
            .collect())
    }
}

/// Named numbers, as an object in their order.
pub(super) mod named {
    use super::{Deserialize, Deserializer, Map, SerializeMap, Serializer, Value, finite};

    pub(in super::super) fn serialize<S: Serializer>(
        pairs: &[(String, f64)],
        out: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(pairs.len()))?;
        for (name, value) in pairs {
            map.serialize_entry(name, &finite(*value))?;
        }
        map.end()
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Vec<(String, f64)>, D::Error> {
        // serde_json's map keeps the order (its feature `preserve_order`).
        let map = Map::deserialize(input)?;
        let number = |(name, value): (String, Value)| (name, value.as_f64().unwrap_or(f64::NAN));
        Ok(map.into_iter().map(number).collect())
    }
}
