//! Tests, CI and small helpers.

use anyhow::{Context, bail};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

/// The whole workspace with every format that the data sets read.
const ALL: [&str; 4] = ["--release", "--workspace", "--features", "panoply-datasets/tables"];

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Names of the folders in `folder`, sorted.
pub(crate) fn names_in(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// `cargo` in the workspace's root.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}

/// All tests; `rest` goes to `cargo test`.
pub(crate) fn test(root: &Path, rest: &[&str]) -> anyhow::Result<ExitCode> {
    let status = cargo(root).arg("test").args(ALL).args(rest).status()?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// Everything that CI runs, the cheap steps first.
pub(crate) fn ci(root: &Path) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let step = |name: &str, command: &mut Command| -> anyhow::Result<()> {
        let start = Instant::now();
        eprintln!("== {name}");
        if !command.status().with_context(|| format!("starting {name}"))?.success() {
            bail!("{name} failed after {} s", start.elapsed().as_secs());
        }
        eprintln!("== {name}: {} s", start.elapsed().as_secs());
        Ok(())
    };
    step("fmt", cargo(root).args(["fmt", "--all", "--check"]))?;
    step("tidy", Command::new(std::env::current_exe()?).arg("tidy"))?;
    step("test", cargo(root).arg("test").args(ALL))?;
    step("clippy", cargo(root).arg("clippy").args(ALL).args(["--all-targets", "--", "-D", "warnings"]))?;
    step("doc", cargo(root).args(["doc", "--no-deps"]).args(ALL).env("RUSTDOCFLAGS", "-D warnings"))?;
    eprintln!("== ci: {} s", started.elapsed().as_secs());
    Ok(ExitCode::SUCCESS)
}
