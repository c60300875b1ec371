//! Tables for people, JSON lines for programs, artefacts to a folder.

use panoply_core::{Artefact, Error, Result, Shade, model_folder::write_atomic};
use std::{
    fmt::Write as _,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
};

/// A line on stdout; a closed pipe ends the program quietly (see `cli::fail`).
pub(crate) fn line(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").map_err(|e| Error::io("write", "stdout", e))
}

/// A part of a line on stdout, seen at once.
pub(crate) fn piece(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|e| Error::io("write", "stdout", e))
}

/// Rows under their header, columns aligned: numbers right, text left.
pub(crate) fn table(rows: &[Vec<String>]) -> Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter()
            .filter_map(|r| r.get(c))
            .map(|s| s.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let numeric = |c: usize| {
        rows.iter()
            .skip(1)
            .filter_map(|r| r.get(c))
            .all(|s| s.trim_end_matches('%').parse::<f64>().is_ok())
    };
    let right: Vec<bool> = (0..columns).map(|c| rows.len() > 1 && numeric(c)).collect();
    for row in rows {
        let mut text = String::from(" ");
        for (c, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[c] - cell.chars().count());
            let (before, after) = if right[c] {
                (&pad[..], "")
            } else {
                ("", &pad[..])
            };
            for part in [" ", before, cell, after, " "] {
                text.push_str(part);
            }
        }
        line(text.trim_end())?;
    }
    Ok(())
}

/// A text on coloured ground, on a terminal alone: green for, red against.
pub(crate) fn shades(pieces: &[Shade]) -> Result<()> {
    if pieces.is_empty() || !std::io::stdout().is_terminal() {
        return Ok(());
    }
    line(&format!("  {}", coloured(pieces)))
}

fn coloured(pieces: &[Shade]) -> String {
    /// Of the 256 colours, from faint to full, in the order of the weight.
    const FOR: [u8; 4] = [22, 28, 34, 40];
    const AGAINST: [u8; 4] = [52, 88, 124, 160];
    let mut text = String::new();
    for piece in pieces {
        let level = (piece.weight.abs() * 4.999) as usize; // 0 to 4
        let colours = if piece.weight > 0.0 { FOR } else { AGAINST };
        // Writing to a String cannot fail.
        let _ = match level.checked_sub(1).and_then(|level| colours.get(level)) {
            Some(colour) => write!(text, "\x1b[97;48;5;{colour}m{}\x1b[0m", piece.text),
            None => write!(text, "{}", piece.text),
        };
    }
    text
}

/// Refuses a folder for files that is a file, before the work whose results it would take.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    if folder.exists() && !folder.is_dir() {
        let location = format!("--out {}", folder.display());
        return Err(Error::input(
            location,
            "a file",
            "a folder, or a new name for one",
        ));
    }
    Ok(())
}

/// Writes artefacts into `folder`; an existing name gets a number, nothing is overwritten within one call.
pub(crate) fn artefacts(
    folder: &Path,
    artefacts: &[Artefact],
    taken: &mut Vec<PathBuf>,
) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for artefact in artefacts {
        let mut path = folder.join(&artefact.file_name);
        let mut number = 2;
        while taken.contains(&path) {
            let (stem, rest) = artefact
                .file_name
                .split_once('.')
                .unwrap_or((&artefact.file_name, ""));
            path = folder.join(format!("{stem}-{number}.{rest}"));
            number += 1;
        }
        write_atomic(&path, &artefact.bytes)?;
        taken.push(path.clone());
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_weighs_little_stays_plain() {
        let shade = |text: &str, weight| Shade {
            text: text.into(),
            weight,
        };
        let pieces = [shade("a", 1.0), shade(" b ", 0.1), shade("c", -0.5)];
        assert_eq!(
            coloured(&pieces),
            "\x1b[97;48;5;40ma\x1b[0m b \x1b[97;48;5;88mc\x1b[0m"
        );
    }
}
