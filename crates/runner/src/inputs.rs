//! From command-line arguments to inputs: files, folders, globs, standard input.

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
        InputKind::Row => &["jsonl", "ndjson"],
        InputKind::Audio => &["wav", "flac", "mp3", "ogg"],
    }
}

/// Expands arguments in the order given; files of a folder come sorted by path.
pub(crate) fn expand(kind: InputKind, args: &[String], text: &[String]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    if !text.is_empty() {
        if kind != InputKind::Text {
            return Err(Error::input(
                "--text",
                "this task does not read text",
                "files, folders, globs or -",
            ));
        }
        sources.extend(
            text.iter()
                .enumerate()
                .map(|(i, t)| line(&format!("--text {}", i + 1), t)),
        );
    }
    for arg in args {
        if arg == "-" {
            sources.extend(stdin(kind)?);
            continue;
        }
        for path in paths(kind, arg)? {
            match kind {
                InputKind::Image | InputKind::Audio => sources.push(Source::File(path)),
                InputKind::Text | InputKind::Row => {
                    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
                    sources.extend(lines(kind, &path.display().to_string(), &bytes)?);
                }
            }
        }
    }
    Ok(sources)
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

fn stdin(kind: InputKind) -> Result<Vec<Source>> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("read", "-", e))?;
    match kind {
        InputKind::Image | InputKind::Audio => Ok(vec![Source::Ready(Input::bytes("-", bytes))]),
        InputKind::Text | InputKind::Row => lines(kind, "-", &bytes),
    }
}

fn line(name: &str, text: &str) -> Source {
    Source::Ready(Input {
        name: name.into(),
        payload: Payload::Text(text.into()),
    })
}

/// One input a line; empty lines are kept for text (the answer's line number must match) and skipped for rows.
fn lines(kind: InputKind, name: &str, bytes: &[u8]) -> Result<Vec<Source>> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        Error::input(
            name,
            format!("byte {} is not UTF-8", e.valid_up_to()),
            "UTF-8 text",
        )
    })?;
    let mut sources = Vec::new();
    for (number, content) in text.lines().enumerate() {
        let name = format!("{name}:{}", number + 1);
        if kind == InputKind::Text {
            sources.push(line(&name, content));
        } else if !content.trim().is_empty() {
            let row = serde_json::from_str(content)
                .map_err(|e| Error::input(&name, e.to_string(), "a JSON object"))?;
            sources.push(Source::Ready(Input {
                name,
                payload: Payload::Row(row),
            }));
        }
    }
    Ok(sources)
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
        let names: Vec<_> = found
            .iter()
            .map(|s| s.name().rsplit('/').next().unwrap().to_string())
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
