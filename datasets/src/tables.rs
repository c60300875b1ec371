//! CSV and Parquet files as columns of text (polars).
//!
//! Known limit: a Parquet data page that claims a negative number of values makes polars 0.55 ask for
//! 2^61 bytes, which ends the process; no `catch_unwind` sees it. Other damage gives an `Err`.

use crate::{Error, Result};
use panoply_core::guard;
use polars::prelude::{
    Column, CsvReadOptions, DataFrame, DataType, ParquetReader, PolarsError, PolarsResult,
    SerReader,
};
use std::{io::Cursor, path::Path};

/// One column as text; `None` for an empty cell.
type Cells = Vec<Option<String>>;

/// Positions of the wanted columns in a header.
type Choose<'a, const N: usize> = &'a dyn Fn(&[String]) -> Result<[Option<usize>; N]>;

/// Reads the columns of `file` that `choose` picks from the header, as text: what a CSV file spells,
/// and numbers, truth values and strings of a Parquet file. An empty cell is `None`.
///
/// # Errors
/// A file that cannot be read or is no such table, and columns that cannot be shown as text.
pub(crate) fn read_text<const N: usize>(
    file: &Path,
    choose: Choose<'_, N>,
) -> Result<[Option<Cells>; N]> {
    let damaged = |what: String| {
        let location = file.display().to_string();
        Error::input(
            location,
            what.replace('\n', " "),
            "an intact CSV or Parquet table",
        )
    };
    let broken = |e: PolarsError| damaged(e.to_string());
    let bytes = std::fs::read(file).map_err(|e| Error::io("read", file, e))?;
    let is_parquet = file
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
    let read = || {
        let mut columns = [const { None }; N];
        let table = if is_parquet {
            Table::Parquet(&bytes)
        } else {
            read_csv(&bytes).map_err(broken)?
        };
        let header = table.header().map_err(broken)?;
        for (slot, position) in columns.iter_mut().zip(choose(&header)?) {
            *slot = position
                .map(|at| table.column(at))
                .transpose()
                .map_err(broken)?;
        }
        // Damage can shorten one column of a Parquet file and leave the others.
        let mut lengths = columns.iter().flatten().map(Vec::len);
        let first = lengths.next();
        if let Some(other) = lengths.find(|&length| Some(length) != first) {
            let rows = first.unwrap_or(0);
            return Err(damaged(format!(
                "a column of {rows} rows and one of {other}"
            )));
        }
        Ok(columns)
    };
    // polars panics on some damaged files instead of returning an error.
    guard("reading a table", read).map_err(|e| match e {
        Error::Internal { message, .. } => damaged(message),
        other => other,
    })
}

/// Reads the columns of a Parquet file that `choose` picks from the header, as text, `rows` rows at a time:
/// `each` sees the number of the first of them.
///
/// # Errors
/// As [`read_text`], and what `each` answers.
pub(crate) fn read_slices<const N: usize>(
    file: &Path,
    rows: usize,
    choose: Choose<'_, N>,
    mut each: impl FnMut(usize, [Option<Cells>; N]) -> Result<()>,
) -> Result<()> {
    let damaged = |what: String| {
        let location = file.display().to_string();
        Error::input(location, what.replace('\n', " "), "an intact Parquet table")
    };
    let broken = |e: PolarsError| damaged(e.to_string());
    let open = || std::fs::File::open(file).map_err(|e| Error::io("read", file, e));
    let read = || {
        let mut reader = ParquetReader::new(open()?);
        let schema = reader.schema().map_err(broken)?;
        let header: Vec<String> = schema.iter_names().map(ToString::to_string).collect();
        let wanted = choose(&header)?;
        let total = reader.num_rows().map_err(broken)?;
        for start in (0..total).step_by(rows.max(1)) {
            let mut columns = [const { None }; N];
            let length = rows.min(total - start);
            for (slot, at) in columns.iter_mut().zip(wanted) {
                let Some(at) = at else { continue };
                let reader = ParquetReader::new(open()?).with_slice(Some((start, length)));
                let frame = reader.with_projection(Some(vec![at])).finish();
                let frame = frame.map_err(broken)?;
                let cells = frame.columns().first().map_or(Ok(Vec::new()), text);
                let cells = cells.map_err(broken)?;
                if cells.len() != length {
                    let what = format!("a column of {} rows where {length} stand", cells.len());
                    return Err(damaged(what));
                }
                *slot = Some(cells);
            }
            each(start, columns)?;
        }
        Ok(())
    };
    // polars panics on some damaged files instead of returning an error.
    guard("reading a table", read).map_err(|e| match e {
        Error::Internal { message, .. } => damaged(message),
        other => other,
    })
}

/// Reads every column of a Parquet file as text, with its name. An empty cell is `None`.
///
/// # Errors
/// As [`read_text`].
pub(crate) fn read_all_text(file: &Path) -> Result<(Vec<String>, Vec<Cells>)> {
    let damaged = |what: String| {
        let location = file.display().to_string();
        let what = what.replace('\n', " ");
        Error::input(
            location,
            what,
            "an intact Parquet table of numbers and text",
        )
    };
    let bytes = std::fs::read(file).map_err(|e| Error::io("read", file, e))?;
    let read = || {
        let table = Table::Parquet(&bytes);
        let header = table.header().map_err(|e| damaged(e.to_string()))?;
        let columns = (0..header.len()).map(|at| table.column(at));
        let columns: PolarsResult<Vec<Cells>> = columns.collect();
        let columns = columns.map_err(|e| damaged(e.to_string()))?;
        if columns
            .windows(2)
            .any(|pair| pair[0].len() != pair[1].len())
        {
            return Err(damaged("columns of different lengths".into()));
        }
        Ok((header, columns))
    };
    guard("reading a table", read).map_err(|e| match e {
        Error::Internal { message, .. } => damaged(message),
        other => other,
    })
}

/// A table whose columns can be read one by one.
enum Table<'a> {
    Csv(DataFrame),
    Parquet(&'a [u8]),
}

fn read_csv(bytes: &[u8]) -> PolarsResult<Table<'_>> {
    // With no row to guess types from, every column stays as it is written: "007" is not 7.
    let options = CsvReadOptions::default().with_infer_schema_length(Some(0));
    options
        .into_reader_with_file_handle(Cursor::new(bytes))
        .finish()
        .map(Table::Csv)
}

impl Table<'_> {
    fn header(&self) -> PolarsResult<Vec<String>> {
        Ok(match self {
            Self::Csv(frame) => frame
                .columns()
                .iter()
                .map(|c| c.name().to_string())
                .collect(),
            Self::Parquet(bytes) => {
                let schema = ParquetReader::new(Cursor::new(*bytes)).schema()?;
                schema.iter_names().map(ToString::to_string).collect()
            }
        })
    }

    fn column(&self, at: usize) -> PolarsResult<Cells> {
        match self {
            Self::Csv(frame) => text(&frame.columns()[at]),
            Self::Parquet(bytes) => {
                // Only what is asked for: another column may hold the images themselves.
                let reader = ParquetReader::new(Cursor::new(*bytes));
                let frame = reader.with_projection(Some(vec![at])).finish()?;
                frame.columns().first().map_or(Ok(Vec::new()), text)
            }
        }
    }
}

/// The cells of a column as text.
fn text(column: &Column) -> PolarsResult<Cells> {
    let kind = column.dtype();
    if !(kind.is_primitive_numeric() || kind.is_string() || kind.is_bool() || kind.is_null()) {
        let message = format!(
            "column '{}' holds {kind}, not text or numbers",
            column.name()
        );
        return Err(PolarsError::SchemaMismatch(message.into()));
    }
    let cast = column.cast(&DataType::String)?;
    Ok(cast
        .str()?
        .iter()
        .map(|cell| cell.map(String::from))
        .collect())
}
