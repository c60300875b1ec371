//! JSON that a person can skim: two levels are indented, what lies deeper stays on one line.

use crate::{Error, Result};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

/// Levels that get lines of their own.
const INDENTED: usize = 2;

/// `value` as indented JSON with a newline at its end.
pub(super) fn skimmable(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(
            &mut text,
            TwoLevels::default(),
        ))
        .map_err(|e| Error::Internal {
            context: "report as JSON".into(),
            message: e.to_string(),
        })?;
    text.push(b'\n');
    Ok(text)
}

/// Like serde_json's `PrettyFormatter`, up to a depth.
#[derive(Default)]
struct TwoLevels {
    depth: usize,
    has_value: bool,
}

impl TwoLevels {
    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: u8) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        out.write_all(&[bracket])
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, bracket: u8) -> io::Result<()> {
        self.depth -= 1;
        if self.has_value && self.depth < INDENTED {
            self.new_line(out)?;
        }
        self.has_value = true;
        out.write_all(&[bracket])
    }

    fn item<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if self.depth <= INDENTED {
            out.write_all(if first { b"" } else { b"," })?;
            return self.new_line(out);
        }
        out.write_all(if first { b"" } else { b", " })
    }

    fn new_line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        out.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| out.write_all(b"  "))
    }
}

impl Formatter for TwoLevels {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b'[')
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b']')
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.item(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _out: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b'{')
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b'}')
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.item(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _out: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn deep_values_stay_on_one_line() {
        let value = json!({ "a": { "b": [[1, 2], [3, 4]], "c": {} }, "d": [], "e": [{ "f": 1 }] });
        let text = String::from_utf8(skimmable(&value).unwrap()).unwrap();
        let expected = "{\n  \"a\": {\n    \"b\": [[1, 2], [3, 4]],\n    \"c\": {}\n  },\n  \"d\": [],\n  \
                        \"e\": [\n    {\"f\": 1}\n  ]\n}\n";
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
