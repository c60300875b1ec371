//! `cargo xtask`: launches pipelines and does the workspace's chores.
//!
//! It depends on no workspace crate and not on burn, so that it builds in seconds; a verb over a
//! pipeline compiles that pipeline alone and hands over to the `panoply` binary.

mod chores;
mod launch;
mod new;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <verb> …

pipelines (the same grammar for each; --help after a verb shows its options)
  list                                 pipelines and tasks
  info <pipeline> [task]               recipes, models, parameter counts, size classes
  run <pipeline> <task> [INPUT…]       predict on files, folders, globs, - or the bundled examples
  train <pipeline> <task>              train by a recipe
  eval <pipeline> <task> --data PATH   score a model
  explain <pipeline> <task> [INPUT…]   draw why a model answered so
  bench <pipeline> [--against pytorch] measure
  data list|check                      bundled data; the data gate
  model import|export|pull|info        models

chores
  test [ARGS…]                         all tests (ARGS go to cargo test)
  ci                                   fmt, clippy, tidy, test, doc: what CI runs
  tidy                                 the house rules that no compiler checks
  new task <pipeline> <name>           a new task's file and its line in the list
";

/// A wrong command line: exit code 2.
#[derive(Debug)]
pub struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error that ends with exit code 2.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn dispatch(args: &[String]) -> anyhow::Result<ExitCode> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = chores::root();
    match words.as_slice() {
        [] => {
            eprint!("{HELP}");
            Ok(ExitCode::from(2))
        }
        ["-h" | "--help" | "help", ..] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        ["test", rest @ ..] => chores::test(&root, rest),
        ["ci"] => chores::ci(&root),
        ["tidy"] => tidy::main(&root),
        ["new", "task", pipeline, name] => new::task(&root, pipeline, name),
        ["new", ..] => Err(usage("new: expected `new task <pipeline> <name>`")),
        ["bench", rest @ ..] => launch::bench(&root, rest),
        [verb, ..] if launch::VERBS.contains(verb) => launch::panoply(&root, args),
        [verb, ..] => Err(launch::unknown("verb", verb, &verbs())),
    }
}

fn verbs() -> Vec<String> {
    let chores = ["bench", "test", "ci", "tidy", "new"];
    launch::VERBS.iter().chain(&chores).map(ToString::to_string).collect()
}
