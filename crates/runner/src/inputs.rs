//! From command-line arguments to inputs: files, folders, globs, standard input.

use crate::lines::Lines;
use panoply_core::{Error, Input, InputKind, Payload, Result};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// One input that has not been read yet: a folder of 100,000 photos must not sit in memory.
pub(crate) enum Source {
    File(PathBuf),
    Ready(Input),
}

impl Source {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Ready(input) => input.name.clone(),
        }
    }

    pub(crate) fn read(&self) -> Result<Input> {
        match self {
            Self::File(path) => Input::read(path),
            Self::Ready(input) => Ok(input.clone()),
        }
    }
}

/// Extensions that a folder or a glob is searched for.
fn extensions(kind: InputKind) -> &'static [&'static str] {
    match kind {
        InputKind::Image => &["jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff"],
        InputKind::Text => &["txt"],
        InputKind::Row | InputKind::Table => &["jsonl", "ndjson", "csv", "tsv"],
        InputKind::Audio => &["wav", "flac", "mp3", "ogg"],
    }
}

/// Inputs one after the other: names of files, and the lines of texts and tables, which are read when it is
/// their turn. What cannot be read is an `Err` in its place.
pub(crate) struct Sources {
    parts: std::vec::IntoIter<Part>,
    lines: Option<Lines>,
    known: Option<usize>,
    kind: InputKind,
}

/// What an argument stands for.
enum Part {
    One(Source),
    Lines(PathBuf),
    Stdin,
}

impl Sources {
    /// Inputs that are there already.
    pub(crate) fn ready(kind: InputKind, inputs: impl IntoIterator<Item = Input>) -> Self {
        let parts = inputs
            .into_iter()
            .map(|input| Part::One(Source::Ready(input)));
        Self::of(kind, parts.collect())
    }

    fn of(kind: InputKind, parts: Vec<Part>) -> Self {
        let single = |part: &Part| matches!(part, Part::One(_));
        Self {
            known: parts.iter().all(single).then_some(parts.len()),
            parts: parts.into_iter(),
            lines: None,
            kind,
        }
    }

    /// How many they are, where that is known before they are read.
    pub(crate) fn known_len(&self) -> Option<usize> {
        self.known
    }
}

impl Iterator for Sources {
    type Item = Result<Source>;

    fn next(&mut self) -> Option<Result<Source>> {
        loop {
            if let Some(lines) = &mut self.lines {
                match lines.next() {
                    Some(line) => return Some(line.map(Source::Ready)),
                    None => self.lines = None,
                }
            }
            let opened = match self.parts.next()? {
                Part::One(source) => return Some(Ok(source)),
                Part::Lines(path) => Lines::of_file(self.kind, &path),
                Part::Stdin => Lines::of_stdin(self.kind),
            };
            match opened {
                Ok(lines) => self.lines = Some(lines),
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

/// Expands arguments in the order given; files of a folder come sorted by path.
pub(crate) fn expand(kind: InputKind, args: &[String], text: &[String]) -> Result<Sources> {
    let mut parts = Vec::new();
    if !text.is_empty() {
        if kind != InputKind::Text {
            return Err(Error::input(
                "--text",
                "this task does not read text",
                "files, folders, globs or -",
            ));
        }
        let named = text.iter().enumerate().map(|(at, content)| Input {
            name: format!("--text {}", at + 1),
            payload: Payload::Text(content.clone()),
        });
        parts.extend(named.map(|input| Part::One(Source::Ready(input))));
    }
    let whole = matches!(kind, InputKind::Image | InputKind::Audio | InputKind::Table);
    for arg in args {
        match (arg.as_str(), whole) {
            ("-", true) => parts.push(Part::One(Source::Ready(stdin()?))),
            ("-", false) => parts.push(Part::Stdin),
            (arg, true) => {
                let files = paths(kind, arg)?.into_iter().map(Source::File);
                parts.extend(files.map(Part::One));
            }
            (arg, false) => parts.extend(paths(kind, arg)?.into_iter().map(Part::Lines)),
        }
    }
    Ok(Sources::of(kind, parts))
}

fn paths(kind: InputKind, arg: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(arg);
    if path.is_dir() {
        let mut found = Vec::new();
        walk(path, extensions(kind), &mut found)?;
        found.sort();
        return nonempty(
            found,
            arg,
            &format!("a folder with .{} files", extensions(kind).join(", .")),
        );
    }
    if path.exists() {
        return Ok(vec![path.into()]);
    }
    if arg.contains(['*', '?', '[']) {
        let matches = glob::glob(arg)
            .map_err(|e| Error::input(arg, e.to_string(), "a glob such as 'photos/*.jpg'"))?;
        let found = matches
            .filter_map(std::result::Result::ok)
            .filter(|p| p.is_file())
            .collect();
        return nonempty(found, arg, "a glob that matches files");
    }
    Err(Error::input(
        arg,
        "no such file or folder",
        "a file, a folder, a glob or -",
    ))
}

fn nonempty(found: Vec<PathBuf>, arg: &str, expected: &str) -> Result<Vec<PathBuf>> {
    if found.is_empty() {
        Err(Error::input(arg, "nothing found", expected))
    } else {
        Ok(found)
    }
}

fn walk(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read", folder, e))?;
        let (path, kind) = (
            entry.path(),
            entry
                .file_type()
                .map_err(|e| Error::io("read", entry.path(), e))?,
        );
        if kind.is_dir() {
            walk(&path, extensions, found)?;
        } else if path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| extensions.contains(&e.to_lowercase().as_str()))
        {
            found.push(path);
        }
    }
    Ok(())
}

fn stdin() -> Result<Input> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("read", "-", e))?;
    Ok(Input::bytes("-", bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_sorted_and_filtered() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.jpg", "a.PNG", "notes.txt"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        let found = expand(InputKind::Image, &[dir.path().display().to_string()], &[]).unwrap();
        assert_eq!(found.known_len(), Some(2));
        let names: Vec<_> = found
            .map(|s| s.unwrap().name().rsplit('/').next().unwrap().to_string())
            .collect();
        assert_eq!(names, ["a.PNG", "b.jpg"]);
    }

    #[test]
    fn what_is_not_there_is_an_error_that_says_so() {
        let message = |arg: &str| {
            expand(InputKind::Image, &[arg.into()], &[])
                .err()
                .unwrap()
                .to_string()
        };
        assert!(message("/nowhere/x.jpg").contains("no such file"));
        assert!(message("/nowhere/*.jpg").contains("nothing found"));
        let dir = tempfile::tempdir().unwrap();
        assert!(message(dir.path().to_str().unwrap()).contains("nothing found"));
        assert!(expand(InputKind::Image, &[], &["hello".into()]).is_err());
    }
}
