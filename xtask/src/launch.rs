//! From `cargo xtask <verb> <pipeline> …` to the binary that has just that pipeline in it.

use crate::{unknown, usage};
use anyhow::{Context, Result};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Verbs that make no sense without a pipeline.
const NEED_PIPELINE: [&str; 5] = ["info", "run", "train", "eval", "explain"];

/// Launches the `panoply` binary with `verb` and `args`; only returns where it cannot replace this
/// process.
pub(crate) fn panoply(root: &Path, verb: &str, args: &[OsString]) -> Result<u8> {
    let features = features(&pipelines(root)?, verb, args)?;
    if !is_built(&features) {
        let what = features.replace(',', " with ");
        eprintln!("panoply: compiling the engine for '{what}'; the first time takes minutes");
        let status = runner(root, "build", &features, false)
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            return Ok(exit_code(status));
        }
        mark_built(&features);
    }
    let mut command = runner(root, "run", &features, true);
    command.arg("--").arg(verb).args(args);
    replace(command)
}

/// What `bench --against` takes; the workers in `benches/peers` know the same.
const ENGINES: [&str; 3] = ["pytorch", "onnxruntime", "tract"];

/// `bench <pipeline>`: Criterion, or the side-by-side with another engine.
pub(crate) fn bench(root: &Path, args: &[OsString]) -> Result<u8> {
    let (pipeline, against, rest) = bench_args(&pipelines(root)?, args)?;
    let mut command = cargo(root, if against.is_some() { "run" } else { "bench" });
    command.args(["--package", "panoply-benches"]);
    if let Some(engines) = against {
        command.args(["--release", "--bin", "side_by_side", "--", &pipeline]);
        command.args(["--against", &engines]);
    } else {
        command.args(["--bench", &pipeline, "--"]);
    }
    command.args(rest);
    replace(command)
}

/// Folders under `pipelines/`, sorted.
pub(crate) fn pipelines(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("pipelines");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("{}: cannot read", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort();
    Ok(names)
}

/// `name` if it is a pipeline, else a usage error with the nearest one.
pub(crate) fn pipeline<'p>(known: &'p [String], name: &str) -> Result<&'p str> {
    let found = known.iter().find(|pipeline| *pipeline == name);
    found.map(String::as_str).ok_or_else(|| {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        usage(unknown("pipeline", name, &known))
    })
}

/// Cargo features that a command line needs: its pipeline or `all`, and its accelerator.
fn features(known: &[String], verb: &str, args: &[OsString]) -> Result<String> {
    let word = |index: usize| args.get(index).and_then(|arg| arg.to_str());
    let pipeline = if NEED_PIPELINE.contains(&verb) {
        let Some(name) = word(0) else {
            let known = known.join(", ");
            return Err(usage(format!("'{verb}' needs a pipeline; known: {known}")));
        };
        pipeline(known, name)?
    } else {
        // `data check vision …` needs only vision; `model import …` may need any.
        let named = (0..2)
            .filter_map(word)
            .find_map(|w| known.iter().find(|name| *name == w));
        named.map_or("all", String::as_str)
    };
    Ok(match accelerator(args) {
        Some(feature) => format!("{pipeline},{feature}"),
        None => pipeline.into(),
    })
}

/// The feature behind `--device cuda[:n]` or `--device wgpu`. `auto` takes what is compiled in.
fn accelerator(args: &[OsString]) -> Option<&'static str> {
    let mut words = args
        .iter()
        .map(|arg| arg.to_str().unwrap_or_default())
        .take_while(|w| *w != "--");
    let mut device = None;
    while let Some(word) = words.next() {
        device = match word.strip_prefix("--device=") {
            Some(name) => Some(name),
            None if word == "--device" => words.next(),
            None => device,
        };
    }
    match device?.split(':').next()? {
        "cuda" => Some("cuda"),
        "wgpu" => Some("wgpu"),
        _ => None,
    }
}

/// Splits the arguments of `bench` into the pipeline, whether it is against PyTorch, and the rest.
fn bench_args(
    known: &[String],
    args: &[OsString],
) -> Result<(String, Option<String>, Vec<OsString>)> {
    let Some((name, rest)) = args.split_first() else {
        return Err(usage(format!(
            "'bench' needs a pipeline; known: {}",
            known.join(", ")
        )));
    };
    let name = pipeline(known, name.to_str().unwrap_or_default())?;
    let (mut against, mut others) = (None, Vec::new());
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        match arg.to_str() {
            Some("--against") => {
                against = Some(rest.next().and_then(|v| v.to_str()).unwrap_or_default());
            }
            Some(word) if word.starts_with("--against=") => {
                against = word.strip_prefix("--against=");
            }
            _ => others.push(arg.clone()),
        }
    }
    if let Some(engines) = against {
        for engine in engines.split(',') {
            if !ENGINES.contains(&engine) {
                return Err(usage(unknown("engine", engine, &ENGINES)));
            }
        }
    }
    Ok((name.into(), against.map(String::from), others))
}

fn runner(root: &Path, verb: &str, features: &str, quiet: bool) -> Command {
    let mut command = cargo(root, verb);
    if quiet {
        command.arg("--quiet");
    }
    command.args([
        "--release",
        "--package",
        "panoply-runner",
        "--bin",
        "panoply",
    ]);
    command.args(["--no-default-features", "--features", features]);
    command
}

/// The cargo that runs us, on this repository, in the folder in which the user stands.
///
/// `cargo run` describes the package that it runs, xtask, to it in the environment. Build scripts
/// below would see that (ring asks to be built anew when `CARGO_MANIFEST_DIR` changes), and a launch
/// after a plain `cargo test` would compile the engine again; so it ends here.
pub(crate) fn cargo(root: &Path, verb: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_about_xtask) {
            command.env_remove(name);
        }
    }
    command
        .arg(verb)
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"));
    command
}

/// Whether cargo sets this variable for the package that it runs.
fn is_about_xtask(name: &str) -> bool {
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

/// A file beside the binary that says: these features were built here once, so cargo may be quiet.
fn stamp(features: &str) -> Option<PathBuf> {
    let folder = env::current_exe().ok()?.parent()?.to_path_buf();
    Some(folder.join(format!(".panoply-{}", features.replace(',', "-"))))
}

fn is_built(features: &str) -> bool {
    let binary = format!("panoply{}", env::consts::EXE_SUFFIX);
    stamp(features).is_some_and(|stamp| stamp.exists() && stamp.with_file_name(binary).exists())
}

/// Without the stamp cargo only talks more, so a failure to write it is no failure.
fn mark_built(features: &str) {
    if let Some(path) = stamp(features) {
        let _ = fs::write(path, "");
    }
}

#[cfg(unix)]
fn replace(mut command: Command) -> Result<u8> {
    use std::os::unix::process::CommandExt;
    Err(command.exec()).context("cannot start cargo")
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> Result<u8> {
    Ok(exit_code(command.status().context("cannot start cargo")?))
}

/// The child's exit code; 1 if a signal ended it.
pub(crate) fn exit_code(status: std::process::ExitStatus) -> u8 {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Usage;

    fn known() -> Vec<String> {
        ["face", "vision"].map(String::from).into()
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn features_of(line: &str) -> Result<String> {
        let words = words(line);
        features(&known(), words[0].to_str().unwrap(), &words[1..])
    }

    #[test]
    fn only_what_is_asked_for_is_compiled() {
        for (line, expected) in [
            ("run vision classify a.jpg", "vision"),
            ("run vision classify --device cuda:1", "vision,cuda"),
            ("train vision classify --device=wgpu", "vision,wgpu"),
            ("run vision classify --device cuda --device cpu", "vision"),
            ("run vision classify --device auto", "vision"),
            ("run vision classify -- --device cuda", "vision"),
            ("info face", "face"),
            ("list", "all"),
            ("data list", "all"),
            ("data check vision classify photos", "vision"),
            ("model import vision.pth --arch resnet18", "all"),
        ] {
            assert_eq!(features_of(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_wrong_pipeline_is_a_usage_error_with_a_suggestion() {
        let error = features_of("run visoin classify").unwrap_err();
        assert!(
            error.is::<Usage>() && error.to_string().contains("did you mean 'vision'?"),
            "{error}"
        );
        assert!(
            features_of("run")
                .unwrap_err()
                .to_string()
                .contains("face, vision")
        );
        assert!(features_of("run --help").is_err());
    }

    #[test]
    fn the_launched_cargo_does_not_hear_of_xtask() {
        // cargo sets this one for tests as well, so the check below sees it removed.
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some());
        let command = cargo(Path::new("/r"), "run");
        let removed: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|e| e.0)
            .collect();
        assert!(
            removed.contains(&"CARGO_MANIFEST_DIR".as_ref())
                && removed.contains(&"CARGO_PKG_NAME".as_ref())
        );
        for kept in [
            "CARGO",
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "RUSTUP_TOOLCHAIN",
            "CARGO_TERM_COLOR",
        ] {
            assert!(!is_about_xtask(kept), "{kept}");
        }
    }

    #[test]
    fn bench_goes_to_criterion_or_to_other_engines() {
        let bench = |line: &str| bench_args(&known(), &words(line));
        assert_eq!(
            bench("vision forward").unwrap(),
            ("vision".into(), None, words("forward"))
        );
        assert_eq!(
            bench("vision --against pytorch,tract").unwrap(),
            ("vision".into(), Some("pytorch,tract".into()), vec![])
        );
        assert_eq!(
            bench("face --against=pytorch -x").unwrap(),
            ("face".into(), Some("pytorch".into()), words("-x"))
        );
        for wrong in [
            "",
            "visio",
            "vision --against",
            "vision --against torch",
            "vision --against pytorch,",
        ] {
            assert!(bench(wrong).unwrap_err().is::<Usage>(), "{wrong}");
        }
    }
}
