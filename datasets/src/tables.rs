//! CSV and Parquet files as columns of text (polars).

use crate::{Error, Result};
use panoply_core::guard;
use polars::prelude::{
    Column, CsvReadOptions, DataType, ParquetReader, PolarsError, PolarsResult, SerReader,
};
use std::{io::Cursor, path::Path};

/// Reads the columns of `file` that `choose` picks from the header, as text: what a CSV file spells,
/// and numbers, truth values and strings of a Parquet file. An empty cell is `None`.
///
/// # Errors
/// A file that cannot be read or is no such table, and columns that cannot be shown as text.
pub(crate) fn read_text<const N: usize>(
    file: &Path,
    choose: &dyn Fn(&[String]) -> Result<[Option<usize>; N]>,
) -> Result<[Option<Vec<Option<String>>>; N]> {
    let damaged = |what: String| {
        let location = file.display().to_string();
        Error::input(
            location,
            what.replace('\n', " "),
            "an intact CSV or Parquet table",
        )
    };
    let bytes = std::fs::read(file).map_err(|e| Error::io("read", file, e))?;
    let is_parquet = file
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
    let read = || {
        let broken = |e: PolarsError| damaged(e.to_string());
        let mut columns = [const { None }; N];
        if is_parquet {
            let header: Vec<String> = {
                let schema = ParquetReader::new(Cursor::new(&bytes[..]))
                    .schema()
                    .map_err(broken)?;
                schema.iter_names().map(ToString::to_string).collect()
            };
            for (slot, position) in columns.iter_mut().zip(choose(&header)?) {
                let Some(position) = position else { continue };
                // Only what is asked for: another column may hold the images themselves.
                let reader = ParquetReader::new(Cursor::new(&bytes[..]));
                let frame = reader
                    .with_projection(Some(vec![position]))
                    .finish()
                    .map_err(broken)?;
                *slot = frame
                    .columns()
                    .first()
                    .map(text)
                    .transpose()
                    .map_err(broken)?;
            }
        } else {
            // With no row to guess types from, every column stays as it is written: "007" is not 7.
            let options = CsvReadOptions::default().with_infer_schema_length(Some(0));
            let reader = options.into_reader_with_file_handle(Cursor::new(&bytes[..]));
            let frame = reader.finish().map_err(broken)?;
            let header: Vec<String> = frame
                .columns()
                .iter()
                .map(|c| c.name().to_string())
                .collect();
            for (slot, position) in columns.iter_mut().zip(choose(&header)?) {
                *slot = position
                    .map(|at| text(&frame.columns()[at]))
                    .transpose()
                    .map_err(broken)?;
            }
        }
        Ok(columns)
    };
    // polars panics on some damaged files instead of returning an error.
    guard("reading a table", read).map_err(|e| match e {
        Error::Internal { message, .. } => damaged(message),
        other => other,
    })
}

/// The cells of a column as text.
fn text(column: &Column) -> PolarsResult<Vec<Option<String>>> {
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
