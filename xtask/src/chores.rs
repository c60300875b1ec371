//! `test` and `ci`.

use crate::{launch::exit_code, tidy};
use anyhow::{Context, Result};
use std::{env, ffi::OsString, path::Path, process::Command, time::Instant};

/// Everything, with what only pipelines over tables turn on.
const WHOLE: [&str; 3] = ["--workspace", "--features", "panoply-datasets/tables"];

/// All tests; `args` go to `cargo test`.
pub(crate) fn test(root: &Path, args: &[OsString]) -> Result<u8> {
    let mut command = cargo(root);
    command.args(["test", "--release"]).args(WHOLE).args(args);
    Ok(exit_code(command.status().context("cannot start cargo")?))
}

/// One step of `ci`.
struct Step {
    name: &'static str,
    run: fn(&Path) -> Result<u8>,
}

/// Cheap ones first: what a typo breaks should not take an hour to learn.
const STEPS: [Step; 5] = [
    Step {
        name: "fmt",
        run: |root| call(root, &["fmt", "--all", "--check"], &[], &[]),
    },
    Step {
        name: "tidy",
        run: tidy::main,
    },
    Step {
        name: "clippy",
        run: |root| {
            call(
                root,
                &["clippy", "--release", "--all-targets"],
                &WHOLE,
                &["--", "-D", "warnings"],
            )
        },
    },
    Step {
        name: "doc",
        run: |root| call(root, &["doc", "--release", "--no-deps"], &WHOLE, &[]),
    },
    Step {
        name: "test",
        run: |root| test(root, &[]),
    },
];

/// Runs every step until one fails; its exit code is ours.
pub(crate) fn ci(root: &Path) -> Result<u8> {
    run_steps(root, &STEPS)
}

fn run_steps(root: &Path, steps: &[Step]) -> Result<u8> {
    let (start, mut took) = (Instant::now(), Vec::new());
    for step in steps {
        println!("ci: {}", step.name);
        let began = Instant::now();
        let code = (step.run)(root).with_context(|| format!("ci step {}", step.name))?;
        took.push(format!(
            "{} {:.0} s",
            step.name,
            began.elapsed().as_secs_f64()
        ));
        if code != 0 {
            println!(
                "ci: FAILED at {} (exit code {code}): {}",
                step.name,
                took.join(", ")
            );
            return Ok(code);
        }
    }
    println!(
        "ci: passed in {:.0} s: {}",
        start.elapsed().as_secs_f64(),
        took.join(", ")
    );
    Ok(0)
}

fn call(root: &Path, verb: &[&str], what: &[&str], rest: &[&str]) -> Result<u8> {
    let mut command = cargo(root);
    command.args(verb).args(what).args(rest);
    if verb[0] == "doc" {
        command.env("RUSTDOCFLAGS", "-D warnings");
    }
    Ok(exit_code(command.status().context("cannot start cargo")?))
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_ends_ci_with_its_code() {
        let never = Step {
            name: "never",
            run: |_| panic!("ran after a failure"),
        };
        let steps = [
            Step {
                name: "good",
                run: |_| Ok(0),
            },
            Step {
                name: "bad",
                run: |_| Ok(7),
            },
            never,
        ];
        assert_eq!(run_steps(Path::new("."), &steps).unwrap(), 7);
        assert_eq!(run_steps(Path::new("."), &steps[..1]).unwrap(), 0);
        let error = Step {
            name: "odd",
            run: |_| anyhow::bail!("no cargo"),
        };
        assert!(
            format!("{:#}", run_steps(Path::new("."), &[error]).unwrap_err())
                .contains("ci step odd: no cargo")
        );
    }

    #[test]
    fn cheap_steps_come_first() {
        let names = STEPS.map(|step| step.name);
        assert_eq!(names, ["fmt", "tidy", "clippy", "doc", "test"]);
    }
}
