//! `new task`: a task's file from the template, and its line in `tasks/mod.rs`.

use crate::{launch, usage};
use anyhow::{Context, Result, ensure};
use std::{ffi::OsString, fs, path::Path};

/// Compiles as it stands: `panoply-core` has it as a test module.
const TEMPLATE: &str = include_str!("../templates/task.rs");

/// Words that cannot name a module, or would be one too many.
const RESERVED: [&str; 44] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "self", "static", "struct", "super", "trait", "true", "try", "type", "use", "where",
];

/// `new task <pipeline> <name>`.
pub(crate) fn main(root: &Path, args: &[OsString]) -> Result<()> {
    let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let ["task", pipeline, name] = words[..] else {
        return Err(usage("expected: cargo xtask new task <pipeline> <name>"));
    };
    let known = launch::pipelines(root)?;
    let pipeline = launch::pipeline(&known, pipeline)?;
    let file = module(name)?;
    task(root, pipeline, &file)?;
    println!(
        "pipelines/{pipeline}/src/tasks/{file}.rs is written; its doc comments say what to fill in"
    );
    Ok(())
}

/// The module for a task called `name` (`keyword-spotting` → `keyword_spotting`).
fn module(name: &str) -> Result<String> {
    let module = name.replace('-', "_");
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let fits = module.len() <= 40
        && module.starts_with(|c: char| c.is_ascii_lowercase())
        && !module.ends_with('_')
        && !module.contains("__")
        && module.chars().all(is_word)
        && !RESERVED.contains(&module.as_str());
    if fits {
        return Ok(module);
    }
    Err(usage(format!(
        "'{name}' cannot name a task; expected lower-case words such as 'keyword-spotting'"
    )))
}

fn task(root: &Path, pipeline: &str, module: &str) -> Result<()> {
    let folder = root.join("pipelines").join(pipeline).join("src/tasks");
    let (file, list) = (folder.join(format!("{module}.rs")), folder.join("mod.rs"));
    let text =
        fs::read_to_string(&list).with_context(|| format!("{}: cannot read", list.display()))?;
    for taken in [file.clone(), folder.join(module)] {
        ensure!(!taken.exists(), "{}: exists already", taken.display());
    }
    let listed = with_module(&text, module);
    fs::write(&file, fill(pipeline, module))
        .with_context(|| format!("{}: cannot write", file.display()))?;
    fs::write(&list, listed).with_context(|| format!("{}: cannot write", list.display()))
}

/// The template with its three names replaced.
fn fill(pipeline: &str, module: &str) -> String {
    let type_name: String = module
        .split('_')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect();
    TEMPLATE
        .replace("pipeline-name", pipeline)
        .replace("task-name", &module.replace('_', "-"))
        .replace("TaskName", &type_name)
}

/// `text` with `pub mod <module>;` among its module lines, in alphabetical order.
fn with_module(text: &str, module: &str) -> String {
    let new = format!("pub mod {module};");
    let name = |line: &str| {
        line.strip_suffix(';')
            .and_then(|l| l.rsplit_once("mod ").map(|m| m.1.to_string()))
    };
    let is_mod = |line: &str| line.starts_with("mod ") || line.starts_with("pub mod ");
    let mut lines: Vec<&str> = text.lines().collect();
    let mods: Vec<usize> = (0..lines.len())
        .filter(|&i| is_mod(lines[i]) && name(lines[i]).is_some())
        .collect();
    let later = mods
        .iter()
        .find(|&&i| name(lines[i]).is_some_and(|n| n.as_str() > module));
    let at = match (later, mods.last()) {
        (Some(&i), _) => i,
        (None, Some(&i)) => i + 1,
        // No module yet: below the `//!` lines.
        (None, None) => lines
            .iter()
            .take_while(|line| line.starts_with("//!"))
            .count(),
    };
    lines.insert(at, &new);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Usage;

    #[test]
    fn names_are_words() {
        assert_eq!(module("keyword-spotting").unwrap(), "keyword_spotting");
        assert_eq!(module("top5").unwrap(), "top5");
        for wrong in [
            "",
            "Classify",
            "5top",
            "a b",
            "../x",
            "match",
            "a--b",
            "a-",
            "é",
            &"x".repeat(41),
        ] {
            assert!(module(wrong).unwrap_err().is::<Usage>(), "{wrong}");
        }
    }

    #[test]
    fn the_line_goes_where_the_alphabet_wants_it() {
        let text = "//! Tasks.\n\npub mod classify;\nmod helpers;\npub mod segment;\n\npub const ALL: u8 = 0;\n";
        let lines = |module: &str| -> Vec<usize> {
            let new = with_module(text, module);
            assert_eq!(new.lines().count(), text.lines().count() + 1);
            new.lines()
                .enumerate()
                .filter(|(_, l)| *l == format!("pub mod {module};"))
                .map(|(i, _)| i)
                .collect()
        };
        assert_eq!(
            (lines("detect"), lines("zoom"), lines("ask")),
            (vec![3], vec![5], vec![2])
        );
        assert_eq!(with_module("//! Tasks.\n", "a"), "//! Tasks.\npub mod a;\n");
    }

    #[test]
    fn no_placeholder_is_left() {
        let text = fill("speech", "keyword_spotting");
        assert!(
            text.contains("pub struct KeywordSpotting;") && text.contains("\"keyword-spotting\"")
        );
        assert!(text.contains("cargo xtask run speech keyword-spotting"));
        for left in ["TaskName", "task-name", "pipeline-name"] {
            assert!(!text.contains(left), "{left}");
        }
    }

    #[test]
    fn an_existing_task_is_never_overwritten() {
        let root = std::env::temp_dir().join(format!("xtask-new-{}", std::process::id()));
        let tasks = root.join("pipelines/vision/src/tasks");
        fs::create_dir_all(&tasks).unwrap();
        fs::write(root.join("pipelines/vision/Cargo.toml"), "").unwrap();
        fs::write(tasks.join("mod.rs"), "//! Tasks.\n").unwrap();
        let args = ["task", "vision", "detect"].map(OsString::from);
        main(&root, &args).unwrap();
        fs::write(tasks.join("detect.rs"), "mine").unwrap();
        let error = main(&root, &args).unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        assert_eq!(fs::read_to_string(tasks.join("detect.rs")).unwrap(), "mine");
        assert_eq!(
            fs::read_to_string(tasks.join("mod.rs")).unwrap(),
            "//! Tasks.\npub mod detect;\n"
        );
        assert!(main(&root, &args[..2]).unwrap_err().is::<Usage>());
        fs::remove_dir_all(&root).unwrap();
    }
}
