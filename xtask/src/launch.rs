//! From a verb over a pipeline to the `panoply` binary with just that pipeline in it.

use crate::{chores::names_in, usage};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Verbs that the `panoply` binary answers.
pub(crate) const VERBS: [&str; 8] = ["list", "info", "run", "train", "eval", "explain", "data", "model"];

/// `unknown verb 'rnu' (did you mean 'run'?); known: …`
pub(crate) fn unknown(kind: &str, name: &str, known: &[String]) -> anyhow::Error {
    let near = known.iter().map(|k| (distance(name, k), k)).min().filter(|(d, _)| *d <= 2);
    let hint = near.map_or_else(String::new, |(_, k)| format!(" (did you mean '{k}'?)"));
    usage(format!("unknown {kind} '{name}'{hint}; known: {}", known.join(", ")))
}

/// Edit distance with transpositions of neighbours (Damerau-Levenshtein, restricted).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                table[i][j] = i + j;
                continue;
            }
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (table[i - 1][j] + 1).min(table[i][j - 1] + 1).min(table[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(table[i - 2][j - 2] + 1);
            }
            table[i][j] = best;
        }
    }
    table[a.len()][b.len()]
}

/// Runs the binary with `args`, compiling what they need first.
pub(crate) fn panoply(root: &Path, args: &[String]) -> anyhow::Result<ExitCode> {
    let pipelines = names_in(&root.join("pipelines"))?;
    let features = features(args, &pipelines)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("run").arg("--release");
    if binary(root).is_file() {
        cargo.arg("--quiet");
    } else {
        eprintln!("compiling the engine ({features}); once, this takes minutes");
    }
    cargo.arg("--manifest-path").arg(root.join("Cargo.toml"));
    cargo.args(["-p", "panoply-runner", "--no-default-features", "--features", &features, "--"]);
    exec(cargo.args(args))
}

/// `bench <pipeline>`: Criterion, or side by side with another framework.
pub(crate) fn bench(root: &Path, args: &[&str]) -> anyhow::Result<ExitCode> {
    let known = names_in(&root.join("pipelines"))?;
    let [pipeline, rest @ ..] = args else { return Err(usage("bench: expected a pipeline")) };
    if !known.iter().any(|name| name == pipeline) {
        return Err(unknown("pipeline", pipeline, &known));
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    match rest {
        ["--against", "pytorch", rest @ ..] => {
            cargo.args(["run", "--release", "-p", "panoply-benches", "--bin", "side_by_side", "--", pipeline]).args(rest);
        }
        ["--against", other, ..] => return Err(unknown("peer", other, &["pytorch".into()])),
        rest => {
            cargo.args(["bench", "-p", "panoply-benches", "--bench", pipeline, "--"]).args(rest);
        }
    }
    exec(&mut cargo)
}

/// The pipeline that `args` name, or all of them, and the backend that `--device` asks for.
fn features(args: &[String], pipelines: &[String]) -> anyhow::Result<String> {
    let named = args.get(1).filter(|word| !word.starts_with('-'));
    let mut features = match (args[0].as_str(), named) {
        ("list" | "data" | "model", _) | (_, None) => "all".to_string(),
        (_, Some(name)) if pipelines.contains(name) => name.clone(),
        (_, Some(name)) => return Err(unknown("pipeline", name, pipelines)),
    };
    let after = |flag: &str| args.iter().position(|arg| arg == flag).and_then(|at| args.get(at + 1)).cloned();
    let joined = args.iter().find_map(|arg| arg.strip_prefix("--device=")).map(String::from);
    let device = joined.or_else(|| after("--device")).unwrap_or_default();
    if device.starts_with("cuda") {
        features += ",cuda";
    } else if device == "wgpu" {
        features += ",wgpu";
    }
    Ok(features)
}

fn binary(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("release").join(format!("panoply{}", std::env::consts::EXE_SUFFIX))
}

/// Becomes `command`: signals and the exit code go straight through.
#[cfg(unix)]
fn exec(command: &mut Command) -> anyhow::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn exec(command: &mut Command) -> anyhow::Result<ExitCode> {
    let status = command.status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> anyhow::Result<String> {
        let args: Vec<String> = line.split(' ').map(String::from).collect();
        features(&args, &["nlp".into(), "vision".into()])
    }

    #[test]
    fn only_the_pipeline_asked_for_is_compiled() {
        assert_eq!(ask("run vision classify").unwrap(), "vision");
        assert_eq!(ask("run vision classify --device cuda:1").unwrap(), "vision,cuda");
        assert_eq!(ask("run vision classify --device=wgpu").unwrap(), "vision,wgpu");
        assert_eq!(ask("list").unwrap(), "all");
        assert_eq!(ask("run --help").unwrap(), "all");
        assert_eq!(ask("model info x").unwrap(), "all");
    }

    #[test]
    fn a_near_miss_is_suggested() {
        let message = ask("run visoin classify").unwrap_err().to_string();
        assert!(message.contains("did you mean 'vision'"), "{message}");
        assert!(!ask("run biology x").unwrap_err().to_string().contains("did you mean"));
    }
}
