//! `test` and `ci`.

use crate::{
    launch::{cargo, exit_code},
    tidy,
};
use anyhow::{Context, Result};
use std::{ffi::OsString, path::Path, time::Instant};

/// Everything, with what only pipelines over tables turn on.
const WHOLE: [&str; 3] = ["--workspace", "--features", "panoply-datasets/tables"];

/// All tests, or those of the packages that `args` names; `args` go to `cargo test`.
pub(crate) fn test(root: &Path, args: &[OsString]) -> Result<u8> {
    let mut command = cargo(root, "test");
    command.arg("--release");
    if !picks_packages(args) {
        command.args(WHOLE);
    }
    command.args(args);
    Ok(exit_code(command.status().context("cannot start cargo")?))
}

/// Whether there is a `-p NAME`, which cargo would ignore beside `--workspace`.
fn picks_packages(args: &[OsString]) -> bool {
    let ours = args
        .iter()
        .filter_map(|arg| arg.to_str())
        .take_while(|arg| *arg != "--");
    ours.into_iter()
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
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
        run: |root| call(root, "fmt", &["--all", "--check"], &[]),
    },
    Step {
        name: "tidy",
        run: tidy::main,
    },
    Step {
        name: "clippy",
        run: |root| {
            let args = [&["--release", "--all-targets"], &WHOLE[..]].concat();
            call(root, "clippy", &args, &["--", "-D", "warnings"])
        },
    },
    Step {
        name: "doc",
        run: |root| {
            call(
                root,
                "doc",
                &[&["--release", "--no-deps"], &WHOLE[..]].concat(),
                &[],
            )
        },
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

fn call(root: &Path, verb: &str, args: &[&str], rest: &[&str]) -> Result<u8> {
    let mut command = cargo(root, verb);
    command.args(args).args(rest);
    if verb == "doc" {
        command.env("RUSTDOCFLAGS", "-D warnings");
    }
    Ok(exit_code(command.status().context("cannot start cargo")?))
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
    fn naming_a_package_leaves_the_workspace_out() {
        let picks =
            |line: &str| picks_packages(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(
            picks("-p panoply-metrics top_k")
                && picks("--package=panoply-core")
                && picks("x -pxtask")
        );
        assert!(!picks("top_k") && !picks("--lib -- -p"));
    }

    #[test]
    fn cheap_steps_come_first() {
        let names = STEPS.map(|step| step.name);
        assert_eq!(names, ["fmt", "tidy", "clippy", "doc", "test"]);
    }
}
