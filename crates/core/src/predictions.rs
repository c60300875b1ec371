//! Files of predictions, whoever made them: what `run --json` prints, read back to be scored.

use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// One line of a file of predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// File and line, for messages.
    pub location: String,
    /// What was predicted on: the `"input"` of the line; `null` if it says nothing of it.
    pub input: Value,
    /// The `"output"` of the line, or the whole line where it has none.
    pub output: Value,
}

impl Prediction {
    /// The output as the type that the metrics need; `expected` describes it.
    ///
    /// # Errors
    /// A field that is missing or of another type.
    pub fn parse<T: DeserializeOwned>(&self, expected: &str) -> Result<T> {
        serde_json::from_value(self.output.clone())
            .map_err(|e| Error::input(&self.location, e.to_string(), expected))
    }
}

/// Reads predictions line by line; empty lines are skipped.
///
/// # Errors
/// The file cannot be opened; in its place, a line that is no JSON object.
pub fn read_predictions(path: &Path) -> Result<impl Iterator<Item = Result<Prediction>>> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let path = path.to_path_buf();
    let lines = (1..).zip(BufReader::new(file).lines());
    Ok(lines.filter_map(move |(number, line)| {
        let location = format!("{}:{number}", path.display());
        match line {
            Ok(line) if line.trim().is_empty() => None,
            Ok(line) => Some(prediction(location, &line)),
            Err(e) => Some(Err(Error::io("read", &path, e))),
        }
    }))
}

fn prediction(location: String, line: &str) -> Result<Prediction> {
    let wrong =
        |what: String| Error::input(&location, what, "a JSON object, as `run --json` prints");
    match serde_json::from_str(line) {
        Ok(Value::Object(mut object)) => Ok(Prediction {
            input: object.get("input").cloned().unwrap_or_default(),
            output: match object.remove("output") {
                Some(output) => output,
                None => Value::Object(object),
            },
            location,
        }),
        Ok(_) => Err(wrong("no object".into())),
        Err(e) => Err(wrong(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_with_and_without_an_output() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.jsonl");
        let text =
            "{\"input\": \"a\", \"output\": {\"words\": [\"a\"]}}\n\n{\"words\": []}\n3\n{\n";
        std::fs::write(&path, text).unwrap();
        let lines: Vec<_> = read_predictions(&path).unwrap().collect();
        let first = lines[0].as_ref().unwrap();
        assert_eq!(
            (&first.input, &first.output),
            (&json!("a"), &json!({ "words": ["a"] }))
        );
        let second = lines[1].as_ref().unwrap();
        assert!(second.location.ends_with("p.jsonl:3"));
        assert_eq!(second.parse::<Value>("").unwrap(), json!({ "words": [] }));
        assert!(
            second
                .parse::<Vec<u8>>("bytes")
                .unwrap_err()
                .to_string()
                .contains(":3")
        );
        assert!(
            lines[2]
                .as_ref()
                .unwrap_err()
                .to_string()
                .contains(":4: no object")
        );
        assert!(lines[3].is_err() && lines.len() == 4);
        assert!(read_predictions(&dir.path().join("none")).is_err());
    }
}
