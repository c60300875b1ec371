//! `cargo xtask`: the launcher of the `panoply` binary, and the chores of the repository.
//!
//! No burn and no workspace dependency, so that it builds in seconds. Exit codes: what the launched
//! program answered; 2 for wrong usage; 1 for a chore that failed.
#![expect(clippy::print_stdout, reason = "this is the command line")]

mod chores;
mod launch;
mod new;
mod tidy;

use anyhow::Result;
use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Verbs of the `panoply` binary, then the chores: word, arguments, one line.
const VERBS: [(&str, &str, &str); 14] = [
    ("list", "", "Pipelines and tasks."),
    (
        "info",
        "<pipeline> [task]",
        "Recipes, models, parameter counts, size classes.",
    ),
    (
        "run",
        "<pipeline> <task> [INPUT…]",
        "Predict on files, folders, globs or -; bundled examples if none.",
    ),
    (
        "train",
        "<pipeline> <task>",
        "Train by a recipe: --recipe --data --out --resume --set a.b=v.",
    ),
    (
        "eval",
        "<pipeline> <task>",
        "Score a model on labelled data: --model --data --json.",
    ),
    (
        "explain",
        "<pipeline> <task> [INPUT…]",
        "Draw why a model answered as it did: --method --target --out.",
    ),
    (
        "bench",
        "<pipeline> [FILTER] [--against pytorch,onnxruntime,tract]",
        "Criterion benches, or side by side with PyTorch.",
    ),
    (
        "data",
        "list | check <pipeline> <task> PATH",
        "Bundled data, and the data gate.",
    ),
    (
        "model",
        "import | export | pull | info",
        "Model folders and checkpoint files.",
    ),
    ("test", "[CARGO TEST ARGS…]", "All tests of the workspace."),
    ("ci", "", "What CI runs: fmt, tidy, clippy, doc, test."),
    (
        "tidy",
        "",
        "House rules as checks: dependency direction, file length, and so on.",
    ),
    (
        "new",
        "task <pipeline> <name>",
        "Write a task's file from the template.",
    ),
    ("help", "[verb]", "This text, or one verb's."),
];

/// How many of [`VERBS`] the `panoply` binary answers; `bench` goes to Criterion instead.
const NUM_LAUNCHED: usize = 9;

/// A mistake in what was typed: one line on stderr, exit code 2.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A usage error.
fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    match dispatch(&root(), &args) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(if e.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn dispatch(root: &Path, args: &[OsString]) -> Result<u8> {
    let Some((verb, rest)) = args.split_first() else {
        print!("{}", help());
        return Ok(2);
    };
    let verb = verb.to_str().unwrap_or_default();
    let asks_help = rest
        .first()
        .is_some_and(|arg| arg == "--help" || arg == "-h");
    match verb {
        "-h" | "--help" => print!("{}", help()),
        "help" => match rest.first().and_then(|v| v.to_str()) {
            Some(word) => print!("{}", help_of(word)?),
            None => print!("{}", help()),
        },
        // The binary's own help would have to be compiled first.
        _ if asks_help => print!("{}", help_of(verb)?),
        "test" => return chores::test(root, rest),
        "ci" => return chores::ci(root),
        "tidy" => return tidy::main(root),
        "new" => new::main(root, rest)?,
        "bench" => return launch::bench(root, rest),
        _ => {
            let (word, ..) = find(verb)?;
            return launch::panoply(root, word, rest);
        }
    }
    Ok(0)
}

/// The repository: cargo says where when it runs us, and knew when it built us.
fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest)
        .parent()
        .map_or(PathBuf::from("."), Path::to_path_buf)
}

fn find(word: &str) -> Result<(&'static str, &'static str, &'static str)> {
    VERBS
        .into_iter()
        .find(|verb| verb.0 == word)
        .ok_or_else(|| {
            let known: Vec<&str> = VERBS.iter().map(|verb| verb.0).collect();
            usage(unknown("verb", word, &known))
        })
}

fn help() -> String {
    let line = |(word, args, about): &(&str, &str, &str)| {
        let left = format!("{word} {args}");
        format!("  {left:<48}{about}\n")
    };
    let (launched, chores) = VERBS.split_at(NUM_LAUNCHED);
    format!(
        "cargo xtask <verb> …\n\nWork (compiles only the pipeline asked for):\n{}\nChores:\n{}\n\
         A verb's own options: cargo xtask <verb> <pipeline> <task> --help\n",
        launched.iter().map(line).collect::<String>(),
        chores.iter().map(line).collect::<String>(),
    )
}

fn help_of(word: &str) -> Result<String> {
    let (word, args, about) = find(word)?;
    let launched = VERBS.iter().take(NUM_LAUNCHED).any(|verb| verb.0 == word);
    let more = match word {
        "data" | "model" => format!("\nEvery option: cargo xtask {word} help\n"),
        "list" | "bench" => String::new(),
        _ if launched => format!("\nEvery option: cargo xtask {word} <pipeline> <task> --help\n"),
        _ => String::new(),
    };
    Ok(format!("cargo xtask {word} {args}\n\n{about}\n{more}"))
}

/// "unknown verb 'rnu' (did you mean 'run'?); known: …".
fn unknown(kind: &str, word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|k| (distance(word, k), k)).min();
    let hint = match near {
        Some((d, name)) if d <= 1 + word.len() / 4 => format!(" (did you mean '{name}'?)"),
        _ => String::new(),
    };
    format!("unknown {kind} '{word}'{hint}; known: {}", known.join(", "))
}

/// Edits between two words: insert, delete, replace, swap neighbours (Damerau-Levenshtein,
/// optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut cost = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                cost[i][j] = i + j;
                continue;
            }
            let replaced = cost[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            cost[i][j] = replaced.min(cost[i - 1][j] + 1).min(cost[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost[i][j] = cost[i][j].min(cost[i - 2][j - 2] + 1);
            }
        }
    }
    cost[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested_and_nonsense_is_not() {
        let known = ["run", "train", "vision"];
        assert!(unknown("verb", "rnu", &known).contains("did you mean 'run'?"));
        assert!(unknown("verb", "trian", &known).contains("'train'?"));
        assert!(unknown("verb", "visoin", &known).contains("'vision'?"));
        assert!(!unknown("verb", "xylophone", &known).contains("did you mean"));
        assert_eq!(
            [
                distance("abc", "abc"),
                distance("", "ab"),
                distance("kitten", "sitting")
            ],
            [0, 2, 3]
        );
    }

    #[test]
    fn an_unknown_verb_is_a_usage_error() {
        let error = dispatch(Path::new("/nowhere"), &["rnu".into()]).unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("did you mean 'run'?"));
    }

    #[test]
    fn help_lists_every_verb() {
        let text = help();
        for (word, ..) in VERBS {
            assert!(text.contains(&format!("\n  {word} ")), "{word}");
            assert!(
                help_of(word)
                    .unwrap()
                    .starts_with(&format!("cargo xtask {word}"))
            );
        }
        assert_eq!(VERBS[NUM_LAUNCHED - 1].0, "model");
    }
}
