//! Rows out of files.

use super::{BadRows, Ids, InteractionOptions, Interactions};
use crate::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

/// Longest line of JSON, in bytes: a file without line ends must not fill the memory.
const MAX_LINE: u64 = 1 << 20;
/// Bad rows that are listed.
const MAX_EXAMPLES: usize = 5;
/// Bytes of the buffer before a file.
const BUFFER: usize = 1 << 16;
/// User, item, rating, timestamp.
type Columns = [Option<usize>; 4];

/// Reads a file and adds its ids to `ids`, which come back beside the interactions.
pub(super) fn open(
    path: &Path,
    options: &InteractionOptions,
    ids: Ids,
) -> Result<(Interactions, Ids)> {
    let location = path.display().to_string();
    let kind = extension(&location);
    if kind == "parquet" {
        return parquet(path, &location, options, ids);
    }
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    text(
        &location,
        BufReader::with_capacity(BUFFER, file),
        options,
        ids,
    )
}

/// As [`open`], of content in memory.
pub(super) fn from_bytes(
    location: &str,
    bytes: &[u8],
    options: &InteractionOptions,
    ids: Ids,
) -> Result<(Interactions, Ids)> {
    text(location, bytes, options, ids)
}

/// The last part of a file's name, `.gz` aside.
fn extension(location: &str) -> String {
    let name = location.strip_suffix(".gz").unwrap_or(location);
    let extension = Path::new(name).extension().unwrap_or_default();
    extension.to_string_lossy().to_lowercase()
}

/// Text that may be gzipped.
fn text(
    location: &str,
    mut source: impl BufRead,
    options: &InteractionOptions,
    ids: Ids,
) -> Result<(Interactions, Ids)> {
    let broken = |e: std::io::Error| Error::input(location, e.to_string(), "a readable file");
    if source
        .fill_buf()
        .map_err(broken)?
        .starts_with(&[0x1F, 0x8B])
    {
        let unpacked = BufReader::with_capacity(BUFFER, MultiGzDecoder::new(source));
        return lines(location, unpacked, options, ids);
    }
    lines(location, source, options, ids)
}

fn lines(
    location: &str,
    mut source: impl BufRead,
    options: &InteractionOptions,
    ids: Ids,
) -> Result<(Interactions, Ids)> {
    let broken = |e: std::io::Error| Error::input(location, e.to_string(), "an intact file");
    if source
        .fill_buf()
        .map_err(broken)?
        .starts_with(b"\xEF\xBB\xBF")
    {
        source.consume(3);
    }
    let mut builder = Builder::new(location, options, ids);
    match extension(location).as_str() {
        "jsonl" | "ndjson" => json_lines(&mut builder, source)?,
        _ => separated(&mut builder, source)?,
    }
    builder.finish()
}

/// What stands between two cells: a byte, and how many of it.
fn separator(options: &InteractionOptions, location: &str, start: &[u8]) -> Result<(u8, usize)> {
    if let Some(given) = &options.separator {
        return match given.as_bytes() {
            [byte] => Ok((*byte, 1)),
            [byte, same] if byte == same => Ok((*byte, 2)),
            _ => {
                let expected = "one character of ASCII, or the same one twice";
                Err(Error::input("separator", format!("'{given}'"), expected))
            }
        };
    }
    let first = start
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let has = |mark: &[u8]| first.windows(mark.len()).any(|part| part == mark);
    Ok(match extension(location).as_str() {
        "csv" => (b',', 1),
        "tsv" | "inter" => (b'\t', 1),
        _ if has(b"\t") => (b'\t', 1),
        _ if has(b"::") => (b':', 2),
        _ if has(b",") => (b',', 1),
        _ => (b' ', 1),
    })
}

/// Reads values between separators. Quotes (RFC 4180) mean something between commas alone.
fn separated(builder: &mut Builder<'_>, mut source: impl BufRead) -> Result<()> {
    let location = builder.location.to_string();
    let broken = |e: std::io::Error| Error::input(&location, e.to_string(), "an intact file");
    let start = source.fill_buf().map_err(broken)?;
    let (byte, step) = separator(builder.options, &location, start)?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(byte)
        .quoting(byte == b',')
        .has_headers(false)
        .flexible(true)
        .from_reader(source);
    let mut record = csv::ByteRecord::new();
    let mut columns: Option<Columns> = None;
    loop {
        let wrong = |e: csv::Error| Error::input(&location, e.to_string(), "an intact file");
        if !reader.read_byte_record(&mut record).map_err(wrong)? {
            return Ok(());
        }
        let line = record.position().map_or(0, csv::Position::line);
        if builder.options.sequences {
            builder.sequence(line, &record);
            continue;
        }
        let places = if let Some(places) = columns {
            places
        } else {
            let (places, is_header) = header(builder, &record, step)?;
            columns = Some(places);
            if is_header {
                continue;
            }
            places
        };
        let cell = |at: Option<usize>| at.map(|at| record.get(at * step).unwrap_or_default());
        builder.row(line, places.map(cell));
    }
}

/// The columns by a file's first record, and whether that record is a header.
fn header(
    builder: &mut Builder<'_>,
    record: &csv::ByteRecord,
    step: usize,
) -> Result<(Columns, bool)> {
    let options = builder.options;
    let cells = record.iter().step_by(step);
    let cells: Vec<String> = cells
        .map(|c| String::from_utf8_lossy(c).into_owned())
        .collect();
    let is_number = |cell: &String| cell.trim().parse::<f64>().is_ok();
    let (names, is_header) = match &options.header {
        Some(names) => (names.clone(), false),
        None if (2..=4).contains(&cells.len()) && cells.iter().all(is_number) => {
            let names = ["user", "item", "rating", "timestamp"];
            let names = names[..cells.len()].iter().map(ToString::to_string);
            (names.collect(), false)
        }
        None => (cells, true),
    };
    let columns = options.find(&names, builder.location)?;
    builder.has(columns);
    Ok((columns, is_header))
}

/// Reads one JSON object a line.
fn json_lines(builder: &mut Builder<'_>, mut source: impl BufRead) -> Result<()> {
    let location = builder.location.to_string();
    let broken = |e: std::io::Error| Error::input(&location, e.to_string(), "an intact file");
    let mut names: Option<[Option<String>; 4]> = None;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut limited = source.by_ref().take(MAX_LINE);
        if limited.read_until(b'\n', &mut line).map_err(broken)? == 0 {
            break;
        }
        if line.len() as u64 == MAX_LINE {
            let location = format!("{location}, line {number}");
            return Err(Error::input(location, "more than 1 MiB", "shorter lines"));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row = match serde_json::from_slice(&line) {
            Ok(Value::Object(row)) => row,
            Ok(_) => {
                builder.bad(number, "no JSON object");
                continue;
            }
            Err(e) => {
                builder.bad(number, &e.to_string());
                continue;
            }
        };
        if names.is_none() {
            let header: Vec<String> = row.keys().cloned().collect();
            let columns = builder.options.find(&header, &location)?;
            builder.has(columns);
            names = Some(columns.map(|at| at.map(|at| header[at].clone())));
        }
        let cell = |name: &Option<String>| {
            name.as_ref().map(|name| match row.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                _ => String::new(),
            })
        };
        let cells = names.as_ref().map(|names| names.each_ref().map(cell));
        if let Some(cells) = cells {
            builder.row(
                number,
                cells.each_ref().map(|c| c.as_ref().map(String::as_bytes)),
            );
        }
    }
    Ok(())
}

#[cfg(feature = "tables")]
fn parquet(
    path: &Path,
    location: &str,
    options: &InteractionOptions,
    ids: Ids,
) -> Result<(Interactions, Ids)> {
    /// Rows that are in memory as text at a time.
    const ROWS: usize = 1 << 19;
    let mut builder = Builder::new(location, options, ids);
    let choose = |header: &[String]| options.find(header, location);
    crate::tables::read_slices::<4>(path, ROWS, &choose, |start, columns| {
        builder.has(columns.each_ref().map(|column| column.as_ref().map(|_| 0)));
        let rows = columns[0].as_ref().map_or(0, Vec::len);
        for row in 0..rows {
            let cell = |column: &Option<Vec<Option<String>>>| {
                let cell = |cells: &'_ Vec<Option<String>>| cells[row].clone().unwrap_or_default();
                column.as_ref().map(cell)
            };
            let cells = columns.each_ref().map(cell);
            let cells = cells.each_ref().map(|c| c.as_ref().map(String::as_bytes));
            builder.row((start + row + 1) as u64, cells);
        }
        Ok(())
    })?;
    builder.finish()
}

#[cfg(not(feature = "tables"))]
fn parquet(
    _path: &Path,
    location: &str,
    _options: &InteractionOptions,
    _ids: Ids,
) -> Result<(Interactions, Ids)> {
    let expected = "CSV, TSV or JSON lines (Parquet with the feature `tables`)";
    Err(Error::input(location, "a Parquet file", expected))
}

/// Interactions row by row.
struct Builder<'o> {
    location: &'o str,
    options: &'o InteractionOptions,
    ids: Ids,
    users: Vec<u32>,
    items: Vec<u32>,
    ratings: Option<Vec<f32>>,
    timestamps: Option<Vec<f64>>,
    bad: BadRows,
    num_rows: usize,
}

impl<'o> Builder<'o> {
    fn new(location: &'o str, options: &'o InteractionOptions, ids: Ids) -> Self {
        Self {
            location,
            options,
            ids,
            users: Vec::new(),
            items: Vec::new(),
            ratings: None,
            timestamps: None,
            bad: BadRows::default(),
            num_rows: 0,
        }
    }

    /// Which columns there are.
    fn has(&mut self, columns: Columns) {
        if columns[2].is_some() {
            self.ratings.get_or_insert_default();
        }
        if columns[3].is_some() {
            self.timestamps.get_or_insert_default();
        }
    }

    fn bad(&mut self, line: u64, why: &str) {
        self.num_rows += 1;
        self.bad.count += 1;
        if self.bad.examples.len() < MAX_EXAMPLES {
            self.bad.examples.push(format!("line {line}: {why}"));
        }
    }

    fn row(&mut self, line: u64, cells: [Option<&[u8]>; 4]) {
        if let Err(why) = self.try_row(cells) {
            self.bad(line, &why);
        }
    }

    fn try_row(&mut self, [user, item, rating, time]: [Option<&[u8]>; 4]) -> Result<(), String> {
        let (user, item) = (id(user, "user")?, id(item, "item")?);
        let rating = rating.map(|cell| number(cell, "rating")).transpose()?;
        let time = time.map(|cell| number(cell, "timestamp")).transpose()?;
        self.num_rows += 1;
        let min = self.options.min_rating.unwrap_or(f64::NEG_INFINITY);
        if rating.is_some_and(|rating| rating < min) {
            return Ok(());
        }
        self.users.push(self.ids.users.add(user));
        self.items.push(self.ids.items.add(item));
        if let (Some(column), Some(rating)) = (&mut self.ratings, rating) {
            column.push(rating as f32);
        }
        if let (Some(column), Some(time)) = (&mut self.timestamps, time) {
            column.push(time);
        }
        Ok(())
    }

    /// A user and all of the user's items.
    fn sequence(&mut self, line: u64, record: &csv::ByteRecord) {
        let mut cells = record.iter().filter(|cell| !cell.trim_ascii().is_empty());
        let user = cells.next();
        for item in cells {
            self.row(line, [user, Some(item), None, None]);
        }
    }

    fn finish(self) -> Result<(Interactions, Ids)> {
        let Self {
            location,
            options,
            bad,
            ..
        } = self;
        let share = bad.count as f64 / self.num_rows.max(1) as f64;
        if bad.count > 0 && share > options.max_bad_rows {
            let what = format!(
                "{} of {} rows do not parse ({})",
                bad.count,
                self.num_rows,
                bad.examples.join("; ")
            );
            let expected = format!("at most {} of them (max_bad_rows)", options.max_bad_rows);
            return Err(Error::input(location, what, expected));
        }
        if self.users.is_empty() {
            let what = match self.num_rows {
                0 => "no interactions".to_string(),
                rows => format!("none of {rows} interactions is kept"),
            };
            return Err(Error::input(location, what, "at least one interaction"));
        }
        let mut ids = self.ids;
        let read = Interactions {
            location: location.into(),
            ids: Arc::default(),
            users: self.users,
            items: self.items,
            ratings: self.ratings,
            timestamps: self.timestamps,
            bad,
            num_duplicates: 0,
        };
        let mut read = read.settle_duplicates(options.duplicates);
        let (min_user, min_item) = (options.min_user_interactions, options.min_item_interactions);
        if min_user > 1 || min_item > 1 {
            read.ids = Arc::new(ids);
            read = read.k_core(min_user, min_item)?;
            ids = Arc::unwrap_or_clone(std::mem::take(&mut read.ids));
        }
        Ok((read, ids))
    }
}

fn id<'c>(cell: Option<&'c [u8]>, what: &str) -> Result<&'c str, String> {
    let cell = cell.unwrap_or_default().trim_ascii();
    if cell.is_empty() {
        return Err(format!("no {what}"));
    }
    std::str::from_utf8(cell).map_err(|_invalid| format!("a {what} that is not UTF-8"))
}

fn number(cell: &[u8], what: &str) -> Result<f64, String> {
    let text = String::from_utf8_lossy(cell);
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && (value as f32).is_finite() => Ok(value),
        _ => {
            let shown: String = text.chars().take(40).collect();
            Err(format!("the {what} '{shown}' is no finite number"))
        }
    }
}
