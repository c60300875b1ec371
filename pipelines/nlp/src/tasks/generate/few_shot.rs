//! Examples in front of every prompt, out of a file of JSON lines.

use super::settings::Settings;
use panoply_core::{Error, Result};
use serde::Deserialize;
use std::fs;

/// One example, as a line of the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shot {
    /// What would be asked.
    pub input: String,
    /// What would be answered.
    pub output: String,
}

/// What stands around a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FewShot {
    /// The examples, written out.
    before: String,
    /// What is between them and the prompt, and after it.
    around: (String, String),
    /// What follows an output in the template: it ends an answer.
    pub(super) stop: Option<String>,
}

impl FewShot {
    /// The examples of the settings' file; nothing without one.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is no example, a template without `{input}` followed
    /// by `{output}`.
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        let Some(path) = &settings.few_shot else {
            return Ok(Self::default());
        };
        let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        Self::parse(
            &path.display().to_string(),
            &text,
            &settings.few_shot_template,
        )
    }

    fn parse(location: &str, text: &str, template: &str) -> Result<Self> {
        let (start, middle, end) = parts(template)?;
        let mut before = String::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let shot: Shot = serde_json::from_str(line).map_err(|e| {
                let location = format!("{location}:{number}");
                Error::input(location, e.to_string(), "{\"input\": …, \"output\": …}")
            })?;
            for part in [start, &shot.input, middle, &shot.output, end] {
                before.push_str(part);
            }
        }
        if before.is_empty() {
            return Err(Error::input(location, "no example", "JSON lines"));
        }
        Ok(Self {
            before,
            // White space at the end would be a token that the model has never seen there.
            around: (start.into(), middle.trim_end().into()),
            stop: (!end.is_empty()).then(|| end.into()),
        })
    }

    /// The text that the model reads for a prompt.
    pub(super) fn prompt(&self, text: &str) -> String {
        let (start, middle) = &self.around;
        [&self.before, start, text, middle].concat()
    }
}

fn parts(template: &str) -> Result<(&str, &str, &str)> {
    let found = template
        .split_once("{input}")
        .and_then(|(start, rest)| Some((start, rest.split_once("{output}")?)));
    let (start, (middle, end)) = found.ok_or_else(|| {
        let expected = "a template with {input} and, after it, {output}";
        Error::input(
            "setting few_shot_template",
            format!("'{template}'"),
            expected,
        )
    })?;
    Ok((start, middle, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOTS: &str =
        "{\"input\": \"2+2\", \"output\": \"4\"}\n\n{\"output\": \"9\", \"input\": \"3*3\"}\n";

    #[test]
    fn examples_stand_in_front_of_the_prompt() {
        let template = Settings::default().few_shot_template;
        let few = FewShot::parse("shots.jsonl", SHOTS, &template).unwrap();
        let expected = "Input: 2+2\nOutput: 4\n\nInput: 3*3\nOutput: 9\n\nInput: 5-1\nOutput:";
        assert_eq!(few.prompt("5-1"), expected);
        assert_eq!(few.stop.as_deref(), Some("\n\n"));
        assert_eq!(FewShot::default().prompt("as it is"), "as it is");
    }

    #[test]
    fn wrong_lines_and_templates_are_named() {
        let message = |text, template| {
            FewShot::parse("shots.jsonl", text, template)
                .unwrap_err()
                .to_string()
        };
        assert!(message("{\"input\": 1}", "{input}{output}").contains("shots.jsonl:1"));
        assert!(message("\u{FEFF}{}", "{input}{output}").contains("shots.jsonl:1"));
        // Half of a surrogate pair is no character.
        assert!(message(r#"{"input": "\ud800", "output": ""}"#, "{input}{output}").contains(":1"));
        assert!(message("\n", "{input}{output}").contains("no example"));
        assert!(message(SHOTS, "{output}{input}").contains("few_shot_template"));
    }
}
