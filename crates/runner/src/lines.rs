//! Texts and tables line by line, in constant memory however long they are.

use panoply_core::{Error, Input, InputKind, Payload, Result};
use serde_json::{Map, Value};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// The inputs of one file or of standard input.
pub(crate) struct Lines {
    /// Of the file, for the names of its lines.
    name: String,
    form: Form,
}

/// How the lines are written.
enum Form {
    /// A text a line; empty lines count, since the number of the answer must match.
    Text(Numbered),
    /// A JSON object a line.
    Json(Numbered),
    /// A header, then a row a line.
    Table(Box<Table>),
}

/// Lines with their numbers, from 1.
struct Numbered {
    reader: Box<dyn BufRead>,
    number: usize,
}

struct Table {
    header: Vec<String>,
    /// What a record's line number lacks: csv takes it before it skips the `\n` of the `\r\n` before.
    skipped: u64,
    rows: csv::StringRecordsIntoIter<Box<dyn BufRead>>,
}

impl Lines {
    pub(crate) fn of_file(kind: InputKind, path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let name = path.display().to_string();
        Self::of(kind, name, Box::new(BufReader::new(file)))
    }

    pub(crate) fn of_stdin(kind: InputKind) -> Result<Self> {
        let stdin = BufReader::new(std::io::stdin());
        Self::of(kind, "-".into(), Box::new(stdin))
    }

    fn of(kind: InputKind, name: String, mut reader: Box<dyn BufRead>) -> Result<Self> {
        let first = first_byte(&mut reader).map_err(|e| Error::io("read", &name, e))?;
        let extension = Path::new(&name).extension().and_then(|e| e.to_str());
        let is_json = matches!(extension, Some("jsonl" | "ndjson" | "json"))
            || matches!(first, None | Some(b'{' | b'['));
        let numbered = |reader| Numbered { reader, number: 0 };
        let form = match kind {
            InputKind::Row if is_json => Form::Json(numbered(reader)),
            InputKind::Row => Form::Table(Box::new(Table::open(&name, reader)?)),
            _ => Form::Text(numbered(reader)),
        };
        Ok(Self { name, form })
    }
}

/// The first byte that is no white space, as far as it lies in the first piece that is read; a byte order
/// mark is taken away.
fn first_byte(reader: &mut dyn BufRead) -> std::io::Result<Option<u8>> {
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    let piece = reader.fill_buf()?;
    Ok(piece
        .iter()
        .copied()
        .find(|byte| !byte.is_ascii_whitespace()))
}

impl Iterator for Lines {
    type Item = Result<Input>;

    fn next(&mut self) -> Option<Result<Input>> {
        let name = &self.name;
        match &mut self.form {
            Form::Text(lines) => lines.next(name).map(|line| {
                let (name, text) = line?;
                let payload = Payload::Text(text);
                Ok(Input { name, payload })
            }),
            Form::Json(lines) => loop {
                match lines.next(name)? {
                    Ok((_, text)) if text.trim().is_empty() => {}
                    line => return Some(line.and_then(|(name, text)| object(name, &text))),
                }
            },
            Form::Table(table) => table.next(name),
        }
    }
}

fn object(name: String, text: &str) -> Result<Input> {
    let row = serde_json::from_str(text)
        .map_err(|e| Error::input(&name, e.to_string(), "a JSON object"))?;
    let payload = Payload::Row(row);
    Ok(Input { name, payload })
}

impl Numbered {
    /// The next line without its end, and its name.
    fn next(&mut self, file: &str) -> Option<Result<(String, String)>> {
        let mut bytes = Vec::new();
        match self.reader.read_until(b'\n', &mut bytes) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(e) => return Some(Err(Error::io("read", file, e))),
        }
        self.number += 1;
        let name = format!("{file}:{}", self.number);
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
        Some(match String::from_utf8(bytes) {
            Ok(text) => Ok((name, text)),
            Err(e) => {
                let at = e.utf8_error().valid_up_to();
                Err(Error::input(
                    name,
                    format!("byte {at} is not UTF-8"),
                    "UTF-8 text",
                ))
            }
        })
    }
}

impl Table {
    fn open(name: &str, mut reader: Box<dyn BufRead>) -> Result<Self> {
        let piece = reader.fill_buf().map_err(|e| Error::io("read", name, e))?;
        let head = piece.split(|&byte| byte == b'\n').next().unwrap_or(piece);
        let skipped = u64::from(head.ends_with(b"\r"));
        let delimiter = if head.contains(&b'\t') { b'\t' } else { b',' };
        let mut table = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .from_reader(reader);
        let wrong = |what: String| Error::input(format!("{name}:1"), what, "a CSV header");
        let header = table.headers().map_err(|e| wrong(e.to_string()))?;
        let header: Vec<String> = header.iter().map(|cell| cell.trim().to_string()).collect();
        if let Some(at) = (1..header.len()).find(|&at| header[..at].contains(&header[at])) {
            return Err(wrong(format!("two columns are called '{}'", header[at])));
        }
        let rows = table.into_records();
        Ok(Self {
            header,
            skipped,
            rows,
        })
    }

    fn next(&mut self, file: &str) -> Option<Result<Input>> {
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(e) => {
                let line = self.line(e.position());
                let columns = format!("{} columns, as its header", self.header.len());
                let what = e.to_string();
                return Some(Err(Error::input(format!("{file}:{line}"), what, columns)));
            }
        };
        let line = self.line(row.position());
        let cells = self.header.iter().cloned().zip(row.iter().map(cell));
        Some(Ok(Input {
            name: format!("{file}:{line}"),
            payload: Payload::Row(Value::Object(cells.collect::<Map<_, _>>())),
        }))
    }
}

impl Table {
    fn line(&self, at: Option<&csv::Position>) -> u64 {
        at.map_or(0, csv::Position::line) + self.skipped
    }
}

/// A cell as JSON: nothing is `null`; what is spelt as a number is spelt is a number, so that `007` stays a
/// text; the rest is text.
fn cell(text: &str) -> Value {
    let text = text.trim();
    if text.is_empty() {
        return Value::Null;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let plain = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if padded || !digits.starts_with(|c: char| c.is_ascii_digit()) || !text.bytes().all(plain) {
        return text.into();
    }
    serde_json::from_str(text).unwrap_or_else(|_not_a_number| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: InputKind, name: &str, bytes: &'static [u8]) -> Vec<Result<Input>> {
        match Lines::of(kind, name.into(), Box::new(bytes)) {
            Ok(lines) => lines.collect(),
            Err(e) => vec![Err(e)],
        }
    }

    fn rows(bytes: &'static [u8]) -> Vec<(String, Value)> {
        let rows = read(InputKind::Row, "-", bytes);
        let row = |input: Result<Input>| match input.unwrap() {
            Input {
                name,
                payload: Payload::Row(row),
            } => (name, row),
            other => panic!("{other:?}"),
        };
        rows.into_iter().map(row).collect()
    }

    #[test]
    fn the_content_decides_between_objects_and_a_table() {
        let table = rows(b"user,price,note\r\n007,1.50,\"a,\nb\"\r\n-3,1e3,\n");
        let first = json!({ "user": "007", "price": 1.5, "note": "a,\nb" });
        let second = json!({ "user": -3, "price": 1000.0, "note": null });
        assert_eq!(table, [("-:2".into(), first), ("-:4".into(), second)]);
        let objects = rows(b"\xef\xbb\xbf \n{\"a\": 1}\n\n{\"a\": 2}");
        let expected = [
            ("-:2".into(), json!({ "a": 1 })),
            ("-:4".into(), json!({ "a": 2 })),
        ];
        assert_eq!(objects, expected);
        assert_eq!(rows(b"a\tb\n1\t2\n")[0].1, json!({ "a": 1, "b": 2 }));
        for (text, expected) in [
            ("0", json!(0)),
            ("0.5", json!(0.5)),
            ("nan", json!("nan")),
            ("1-2", json!("1-2")),
            ("-", json!("-")),
            ("00", json!("00")),
            ("12345678901234567890", json!(12345678901234567890_u64)),
        ] {
            assert_eq!(cell(text), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_line_is_an_error_in_its_place() {
        let outcomes = read(
            InputKind::Row,
            "-",
            b"{\"a\": 1}\nrubbish\n{\"a\": \"\xff\"}\n{\"a\": 2}\n",
        );
        let failed: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, true, true, false]);
        let text = outcomes[1].as_ref().unwrap_err().to_string();
        assert!(text.contains("-:2"), "{text}");
        let outcomes = read(InputKind::Row, "x.csv", b"a,b\n1,2\n3\n4,5\n");
        let failed: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, true, false]);
        let text = outcomes[1].as_ref().unwrap_err().to_string();
        assert!(
            text.contains("x.csv:3") && text.contains("2 columns"),
            "{text}"
        );
        let text = read(InputKind::Row, "x.csv", b"a,a\n1,2\n")[0]
            .as_ref()
            .unwrap_err()
            .to_string();
        assert!(text.contains("two columns"), "{text}");
        assert!(read(InputKind::Row, "-", b"").is_empty());
        assert!(read(InputKind::Row, "x.csv", b"a,b\n").is_empty());
    }

    #[test]
    fn empty_lines_of_a_text_count() {
        let texts = read(InputKind::Text, "t", b"one\r\n\ntwo");
        let text = |input: &Result<Input>| input.as_ref().unwrap().as_text().unwrap().to_string();
        assert_eq!(
            texts.iter().map(text).collect::<Vec<_>>(),
            ["one", "", "two"]
        );
        assert_eq!(texts[2].as_ref().unwrap().name, "t:3");
        assert!(read(InputKind::Text, "t", b"\xff\n")[0].is_err());
    }
}
