//! House rules as checks. Each rule is a name, a sentence and a function over a [`Tree`]; each has
//! a test below that shows what it catches.

mod rules;

use crate::launch::cargo;
use anyhow::{Context, Result, ensure};
use rules::RULES;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

/// A rule of the house.
struct Rule {
    name: &'static str,
    about: &'static str,
    /// One line a breach, beginning with the path.
    check: fn(&Tree) -> Vec<String>,
}

/// What the rules look at.
#[derive(Default)]
struct Tree {
    /// By path from the root, with `/`.
    files: BTreeMap<String, File>,
    packages: Vec<Package>,
    /// burn and its dependencies with their features, as each kind of command builds them; the
    /// first builds all.
    builds: Vec<(String, BTreeSet<String>)>,
}

/// A tracked file.
#[derive(Default)]
struct File {
    size: u64,
    /// Empty if it is not UTF-8.
    text: String,
}

/// A workspace member.
#[derive(Default)]
struct Package {
    name: String,
    /// Its folder from the root.
    folder: String,
    /// Names of all direct dependencies, each with whether it is a dev-dependency.
    dependencies: Vec<(String, bool)>,
    features: Vec<String>,
}

/// Checks every rule, prints the breaches, and gives the exit code.
pub(crate) fn main(root: &Path) -> Result<u8> {
    let tree = Tree::read(root)?;
    let mut num_breaches = 0;
    for rule in RULES {
        let breaches = (rule.check)(&tree);
        for breach in &breaches {
            println!("tidy: {breach}\n      rule {}: {}", rule.name, rule.about);
        }
        num_breaches += breaches.len();
    }
    let (num_rules, num_files) = (RULES.len(), tree.files.len());
    println!("tidy: {num_rules} rules, {num_files} files, {num_breaches} breaches");
    Ok(u8::from(num_breaches > 0))
}

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for path in tracked(root)? {
            let full = root.join(&path);
            // Deleted but not yet committed.
            let Ok(meta) = fs::metadata(&full) else {
                continue;
            };
            let text = fs::read(&full)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            files.insert(
                path,
                File {
                    size: meta.len(),
                    text: text.unwrap_or_default(),
                },
            );
        }
        let packages = packages(root)?;
        let builds = builds(root, &packages)?;
        Ok(Self {
            files,
            packages,
            builds,
        })
    }

    /// Files whose path ends in `suffix`.
    fn ending<'t>(&'t self, suffix: &'t str) -> impl Iterator<Item = (&'t str, &'t File)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.ends_with(suffix))
            .map(|(path, file)| (path.as_str(), file))
    }
}

/// Files that git tracks or would track; every file where there is no git (a source archive).
fn tracked(root: &Path) -> Result<Vec<String>> {
    let args = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let listed = Command::new("git").args(args).current_dir(root).output();
    if let Ok(out) = listed
        && out.status.success()
    {
        let text = String::from_utf8_lossy(&out.stdout);
        return Ok(text
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(String::from)
            .collect());
    }
    let mut found = Vec::new();
    walk(root, "", &mut found)?;
    Ok(found)
}

fn walk(root: &Path, below: &str, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(below)).with_context(|| format!("{below}: cannot read"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() {
            name.clone()
        } else {
            format!("{below}/{name}")
        };
        if entry.file_type()?.is_file() {
            found.push(path);
        } else if entry.file_type()?.is_dir()
            && !matches!(path.as_str(), "target" | "runs" | ".git")
        {
            walk(root, &path, found)?;
        }
    }
    Ok(())
}

/// Standard output of a cargo command.
fn output(root: &Path, verb: &str, args: &[&str]) -> Result<String> {
    let out = cargo(root, verb)
        .args(args)
        .output()
        .context("cannot start cargo")?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.success(),
        "cargo {verb} {}: {errors}",
        args.join(" ")
    );
    String::from_utf8(out.stdout).context("cargo's output")
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    let text = output(root, "metadata", &["--format-version", "1", "--no-deps"])?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
    let base = metadata["workspace_root"].as_str().unwrap_or_default();
    let list = metadata["packages"]
        .as_array()
        .context("cargo metadata: no packages")?;
    Ok(list
        .iter()
        .map(|package| read_package(base, package))
        .collect())
}

fn read_package(base: &str, package: &Value) -> Package {
    let word = |value: &Value| value.as_str().unwrap_or_default().replace('\\', "/");
    let manifest = word(&package["manifest_path"]);
    let folder = manifest
        .trim_end_matches("/Cargo.toml")
        .trim_start_matches(&base.replace('\\', "/"));
    let dependency = |d: &Value| (word(&d["name"]), d["kind"].as_str() == Some("dev"));
    let dependencies = package["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .map(dependency);
    let features = package["features"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys().cloned());
    Package {
        name: word(&package["name"]),
        folder: folder.trim_start_matches('/').into(),
        dependencies: dependencies.collect(),
        features: features.collect(),
    }
}

/// What the whole-workspace test, each pipeline's launch and the benches build of burn and of all
/// that it stands on: the long part of a cold build.
fn builds(root: &Path, packages: &[Package]) -> Result<Vec<(String, BTreeSet<String>)>> {
    let below_burn = tree(
        root,
        &["-p", "panoply-core", "-e", "normal,build", "-f", "{p}"],
    )?;
    let mut commands = vec![vec!["--workspace", "--features", "panoply-datasets/tables"]];
    let pipelines = packages
        .iter()
        .filter_map(|p| p.folder.strip_prefix("pipelines/"));
    commands.extend(pipelines.map(|pipeline| {
        vec![
            "-p",
            "panoply-runner",
            "--no-default-features",
            "--features",
            pipeline,
        ]
    }));
    commands.push(vec!["-p", "panoply-benches"]);
    let read = |args: Vec<&str>| {
        let edges = if args[1] == "panoply-runner" {
            "normal,build"
        } else {
            "normal,build,dev"
        };
        let units = tree(
            root,
            &[&args[..], &["-e", edges, "-f", "{p} | {f}"]].concat(),
        )?;
        let package = |unit: &str| {
            unit.split(" | ")
                .next()
                .is_some_and(|p| below_burn.contains(p))
        };
        Ok((
            args.join(" "),
            units.into_iter().filter(|unit| package(unit)).collect(),
        ))
    };
    commands.into_iter().map(read).collect()
}

/// The lines of `cargo tree`, each once.
fn tree(root: &Path, args: &[&str]) -> Result<BTreeSet<String>> {
    let text = output(root, "tree", &[&["--prefix", "none"], args].concat())?;
    let lines = text
        .lines()
        .map(|line| line.trim_end_matches(" (*)").trim().to_string());
    Ok(lines.filter(|line| !line.is_empty()).collect())
}

#[cfg(test)]
mod tests;
