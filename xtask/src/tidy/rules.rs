//! The rules, as data.

use super::{Package, Rule, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// In the order of their output. ARCHITECTURE.md names them where it states an invariant.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "direction",
        about: "metrics | core <- datasets <- pipelines/* <- runner; testkit only for tests",
        check: direction,
    },
    Rule {
        name: "no-tensors",
        about: "metrics and xtask know no tensor library",
        check: no_tensors,
    },
    Rule {
        name: "backends",
        about: "a device is an argument; only runner and benches choose backends",
        check: backends,
    },
    Rule {
        name: "one-build",
        about: "run, bench and test build burn, and all that it stands on, with the same features",
        check: one_build,
    },
    Rule {
        name: "core-names-nothing",
        about: "core names no pipeline, task, model or data set",
        check: core_names_nothing,
    },
    Rule {
        name: "models-are-pure",
        about: "a model reads no file; only core::hub opens a connection",
        check: models_are_pure,
    },
    Rule {
        name: "length",
        about: "a source file has at most 600 lines, ARCHITECTURE.md 300",
        check: length,
    },
    Rule {
        name: "no-stubs",
        about: "no ignored test and nothing that pretends to be there",
        check: no_stubs,
    },
    Rule {
        name: "docs",
        about: "every crate says what it is, every pipeline has a README.md",
        check: docs,
    },
    Rule {
        name: "manifests",
        about: "versions and lints live in the workspace's Cargo.toml alone",
        check: manifests,
    },
    Rule {
        name: "fixtures",
        about: "reference numbers stand beside the script, with pinned versions, that made them",
        check: fixtures,
    },
    Rule {
        name: "large-files",
        about: "what is over 1 MB is listed with a reason",
        check: large_files,
    },
    Rule {
        name: "changelog",
        about: "CHANGELOG.md has a section 'Unreleased'",
        check: changelog,
    },
];

/// Layer of a member, and the layers it may depend on.
const LAYERS: [(&str, &[&str]); 8] = [
    ("crates/core", &[]),
    ("crates/metrics", &[]),
    ("crates/testkit", &["crates/core"]),
    ("datasets", &["crates/core"]),
    ("pipelines", &["crates/core", "crates/metrics", "datasets"]),
    (
        "crates/runner",
        &["crates/core", "crates/metrics", "datasets", "pipelines"],
    ),
    (
        "benches",
        &["crates/core", "crates/metrics", "datasets", "pipelines"],
    ),
    ("xtask", &[]),
];

/// Members that take no other member, not even for tests.
const ALONE: [&str; 2] = ["crates/metrics", "xtask"];

/// Words for modalities; a pipeline need not exist to be kept out of core.
const DOMAINS: [&str; 6] = [
    "nlp",
    "vision",
    "face",
    "speech",
    "recommendation",
    "anomaly",
];

const MAX_LINES: usize = 600;
const MAX_MAP_LINES: usize = 300;
const MAX_BYTES: u64 = 1_000_000;

/// Beginnings of paths that may be large, and why.
const LARGE: [(&str, &str); 2] = [
    (
        "pipelines/vision/weights/",
        "published weights: the first command of the README answers without a network",
    ),
    (
        "pipelines/nlp/weights/shakespeare-char/",
        "a small language model: `run nlp generate` answers without a network",
    ),
];

fn layer(package: &Package) -> &str {
    match package.folder.split_once('/') {
        Some(("pipelines", _)) => "pipelines",
        _ => &package.folder,
    }
}

fn direction(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in &tree.packages {
        let from = layer(package);
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == from) else {
            breaches.push(format!("{}: a folder without a layer", package.folder));
            continue;
        };
        for (name, is_dev) in &package.dependencies {
            let Some(to) = tree.packages.iter().find(|p| p.name == *name).map(layer) else {
                continue;
            };
            let for_tests = *is_dev && to == "crates/testkit" && !ALONE.contains(&from);
            if !allowed.contains(&to) && !for_tests {
                breaches.push(format!("{}/Cargo.toml: depends on {name}", package.folder));
            }
        }
    }
    breaches
}

fn no_tensors(tree: &Tree) -> Vec<String> {
    let alone = tree.packages.iter().filter(|p| ALONE.contains(&layer(p)));
    alone
        .flat_map(|p| p.dependencies.iter().map(move |d| (p, &d.0)))
        .filter(|(_, name)| name.as_str() == "burn" || name.starts_with("burn-"))
        .map(|(p, name)| format!("{}/Cargo.toml: depends on {name}", p.folder))
        .collect()
}

fn backends(tree: &Tree) -> Vec<String> {
    let names = ["cuda", "wgpu", "flex", "rocm", "vulkan", "metal", "tch"];
    let choosers = ["crates/core", "crates/runner", "benches"];
    let libraries = tree
        .packages
        .iter()
        .filter(|p| !choosers.contains(&layer(p)));
    let mut breaches: Vec<String> = libraries
        .flat_map(|p| p.features.iter().map(move |f| (p, f)))
        .filter(|(_, feature)| names.contains(&feature.as_str()))
        .map(|(p, feature)| format!("{}/Cargo.toml: has the feature {feature}", p.folder))
        .collect();
    let default = concat!("Device::", "default()");
    for (path, file) in tree.ending(".rs") {
        let lines = code_lines(&file.text).filter(|(_, content)| content.contains(default));
        breaches.extend(lines.map(|(line, _)| format!("{path}:{line}: {default}")));
    }
    breaches
}

fn one_build(tree: &Tree) -> Vec<String> {
    let Some(((_, whole), parts)) = tree.builds.split_first() else {
        return Vec::new();
    };
    let mut breaches = Vec::new();
    for (command, units) in parts {
        for unit in units.difference(whole) {
            breaches.push(format!("cargo … {command}: only here builds {unit}"));
        }
        // A package may be built twice, for the host too: a part may share the host's build alone.
        let (part, whole) = (features(units), features(whole));
        for (package, part) in part {
            let known = whole.get(package).into_iter().flatten();
            let missing: Vec<&str> = known.copied().filter(|f| !part.contains(f)).collect();
            if !missing.is_empty() {
                let missing = missing.join(",");
                breaches.push(format!(
                    "cargo … {command}: builds {package} without {missing}"
                ));
            }
        }
    }
    breaches
}

/// Of each package the features that any of its builds has.
fn features(units: &BTreeSet<String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for unit in units {
        let (package, features) = unit.split_once(" | ").unwrap_or((unit, ""));
        let features = features.split(',').filter(|feature| !feature.is_empty());
        all.entry(package).or_default().extend(features);
    }
    all
}

fn core_names_nothing(tree: &Tree) -> Vec<String> {
    let names = foreign_names(tree);
    let mut breaches = Vec::new();
    for (path, file) in tree
        .ending(".rs")
        .filter(|(path, _)| path.starts_with("crates/core/src/"))
    {
        if path.ends_with("tests.rs") {
            continue;
        }
        // Tests may use a name as an example.
        let code = file
            .text
            .split(concat!("#[cfg(", "test)]"))
            .next()
            .unwrap_or_default();
        for (line, content) in code_lines(code) {
            for literal in content
                .split('"')
                .skip(1)
                .step_by(2)
                .filter(|l| names.contains(*l))
            {
                breaches.push(format!("{path}:{line}: \"{literal}\""));
            }
        }
    }
    breaches
}

/// Names of domains, pipelines, tasks, model families and bundled data sets.
fn foreign_names(tree: &Tree) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = DOMAINS.map(String::from).into();
    for path in tree.files.keys() {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["pipelines", pipeline, "src", "tasks" | "models", name, ..] => {
                names.insert(pipeline.into());
                let name = name.trim_end_matches(".rs");
                names.extend((name != "mod").then(|| name.replace('_', "-")));
            }
            ["datasets", "data", name, _, ..] => {
                names.insert(name.into());
            }
            _ => {}
        }
    }
    names
}

fn models_are_pure(tree: &Tree) -> Vec<String> {
    let in_models = |path: &str| path.starts_with("pipelines/") && path.contains("/src/models/");
    let in_hub = |path: &str| path.starts_with("crates/core/src/hub");
    let in_tests = |path: &str| path.contains("/tests/") || path.ends_with("tests.rs");
    let mut breaches = Vec::new();
    for (path, file) in tree
        .ending(".rs")
        .filter(|(path, _)| !in_tests(path) && !path.starts_with("xtask/"))
    {
        let code = file
            .text
            .split(concat!("#[cfg(", "test)]"))
            .next()
            .unwrap_or_default();
        for (line, content) in code_lines(code) {
            let has = |words: &[&str]| words.iter().any(|word| content.contains(word));
            if in_models(path) && has(&["std::fs", "File::open", "std::net"]) {
                breaches.push(format!("{path}:{line}: input or output in a model"));
            }
            if !in_hub(path) && has(&["hf_hub", "ureq::", "reqwest::", "TcpStream::connect"]) {
                breaches.push(format!(
                    "{path}:{line}: a network connection outside core::hub"
                ));
            }
        }
    }
    breaches
}

fn length(tree: &Tree) -> Vec<String> {
    let limit = |path: &str| match path {
        "ARCHITECTURE.md" => Some(MAX_MAP_LINES),
        path if extension(path) == "rs" => Some(MAX_LINES),
        _ => None,
    };
    let mut breaches = Vec::new();
    for (path, file) in &tree.files {
        let lines = file.text.lines().count();
        if let Some(max) = limit(path).filter(|max| lines > *max) {
            breaches.push(format!("{path}: {lines} lines, at most {max}"));
        }
    }
    breaches
}

fn no_stubs(tree: &Tree) -> Vec<String> {
    // In pieces, so that this file does not hold what it forbids.
    let words = [
        concat!("#[ign", "ore"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let mut breaches = Vec::new();
    for (path, file) in tree.ending(".rs") {
        if file.text.starts_with(concat!("//! St", "ub")) {
            breaches.push(format!("{path}: a stub"));
        }
        for (line, content) in code_lines(&file.text) {
            let conditional =
                content.contains("cfg_attr") && content.contains(concat!("ign", "ore"));
            if conditional || words.iter().any(|word| content.contains(word)) {
                breaches.push(format!("{path}:{line}: {}", content.trim()));
            }
        }
    }
    breaches
}

fn docs(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in &tree.packages {
        let has_readme = tree
            .files
            .contains_key(&format!("{}/README.md", package.folder));
        if layer(package) == "pipelines" && !has_readme {
            breaches.push(format!("{}: no README.md", package.folder));
        }
        let roots = ["lib.rs", "main.rs"].map(|file| format!("{}/src/{file}", package.folder));
        let has_docs = roots
            .iter()
            .filter_map(|path| tree.files.get(path))
            .any(|f| f.text.starts_with("//!"));
        if !has_readme && !has_docs {
            breaches.push(format!(
                "{}: neither README.md nor //! docs",
                package.folder
            ));
        }
    }
    breaches
}

fn manifests(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for (path, file) in tree.ending("/Cargo.toml") {
        let mut section = String::new();
        let mut linted = false;
        for (number, line) in (1..).zip(file.text.lines().map(str::trim)) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').into();
                continue;
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let inherits = line.contains("workspace = true");
            linted |= section == "lints" && inherits;
            // `[dependencies.name]` spreads one dependency over lines: only its version matters.
            let spread = section.contains("dependencies.");
            let is_version = match section.as_str() {
                "package" => line.starts_with("version =") || line.starts_with("edition ="),
                _ if spread => {
                    line.starts_with("version")
                        || line.starts_with("git")
                        || line.starts_with("path")
                }
                name => name.ends_with("dependencies") && !inherits,
            };
            if is_version {
                breaches.push(format!("{path}:{number}: {line}"));
            }
        }
        if !linted {
            breaches.push(format!("{path}: no [lints] workspace = true"));
        }
    }
    breaches
}

fn fixtures(tree: &Tree) -> Vec<String> {
    let is_script = |path: &str| ["py", "sh"].contains(&extension(path));
    let mut breaches = BTreeSet::new();
    for (path, file) in &tree.files {
        let Some((above, below)) = path.split_once("/fixtures/") else {
            continue;
        };
        let root = format!("{above}/fixtures");
        if extension(path) == "py" && !file.text.contains("==") {
            breaches.insert(format!("{path}: names no pinned version (package==1.2.3)"));
        }
        if is_script(path) || extension(path) == "md" {
            continue;
        }
        let subfolder = below.rsplit_once('/').map_or("", |(folder, _)| folder);
        let made_by = |script: &str| {
            let folder = script.rsplit_once('/').map_or("", |(folder, _)| folder);
            let within = folder
                .strip_prefix(&root)
                .map(|rest| rest.trim_start_matches('/'));
            is_script(script)
                && within.is_some_and(|w| {
                    w.is_empty() || subfolder == w || subfolder.starts_with(&format!("{w}/"))
                })
        };
        if !tree.files.keys().any(|script| made_by(script)) {
            breaches.insert(format!(
                "{root}/{subfolder}: no reference.py that makes {below}"
            ));
        }
    }
    breaches.into_iter().collect()
}

fn large_files(tree: &Tree) -> Vec<String> {
    let listed = |path: &str| LARGE.iter().any(|(start, _reason)| path.starts_with(start));
    let large = tree
        .files
        .iter()
        .filter(|(path, file)| file.size > MAX_BYTES && !listed(path));
    large
        .map(|(path, file)| format!("{path}: {:.1} MB", file.size as f64 / 1e6))
        .collect()
}

fn changelog(tree: &Tree) -> Vec<String> {
    let text = tree.files.get("CHANGELOG.md").map_or("", |file| &file.text);
    let found = text
        .lines()
        .any(|line| line.starts_with("## ") && line.contains("Unreleased"));
    if found {
        Vec::new()
    } else {
        vec!["CHANGELOG.md: no section '## Unreleased'".into()]
    }
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Lines that are not comments, numbered from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}
