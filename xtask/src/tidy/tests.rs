//! Every rule passes a tidy tree and catches what it is there for.

use super::*;
use rules::RULES;

fn package(folder: &str, dependencies: &[(&str, bool)]) -> Package {
    let name = match folder.rsplit('/').next() {
        Some("xtask") => "xtask".into(),
        last => format!("panoply-{}", last.unwrap()),
    };
    let dependencies = dependencies
        .iter()
        .map(|(name, dev)| (name.to_string(), *dev))
        .collect();
    Package {
        name,
        folder: folder.into(),
        dependencies,
        features: Vec::new(),
    }
}

/// A small workspace that keeps every rule.
fn tidy_tree() -> Tree {
    let mut tree = Tree {
        packages: vec![
            package("crates/core", &[("burn", false), ("panoply-testkit", true)]),
            package("crates/metrics", &[("serde", false)]),
            package("crates/testkit", &[("panoply-core", false)]),
            package("datasets", &[("panoply-core", false)]),
            package(
                "pipelines/vision",
                &[("panoply-datasets", false), ("panoply-testkit", true)],
            ),
            package("crates/runner", &[("panoply-vision", false)]),
            package("benches", &[("panoply-vision", false)]),
            package("xtask", &[("anyhow", false)]),
        ],
        ..Tree::default()
    };
    for folder in tree
        .packages
        .iter()
        .map(|p| p.folder.clone())
        .collect::<Vec<_>>()
    {
        add(
            &mut tree,
            &format!("{folder}/src/lib.rs"),
            "//! What it is.\nfn f() {}\n",
        );
        let manifest = "[package]\nversion.workspace = true\n\n[lints]\nworkspace = true\n\n\
                        [dependencies]\nserde.workspace = true\nburn = { workspace = true }\n";
        add(&mut tree, &format!("{folder}/Cargo.toml"), manifest);
    }
    add(&mut tree, "pipelines/vision/README.md", "# Vision\n");
    add(
        &mut tree,
        "pipelines/vision/src/tasks/classify.rs",
        "//! Classify.\n",
    );
    add(
        &mut tree,
        "pipelines/vision/src/models/resnet.rs",
        "//! ResNet.\n",
    );
    add(&mut tree, "crates/core/tests/fixtures/a/golden.json", "[1]");
    add(
        &mut tree,
        "crates/core/tests/fixtures/a/reference.py",
        "# torch==2.15.0\n",
    );
    add(&mut tree, "CHANGELOG.md", "# Changelog\n\n## Unreleased\n");
    let units = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    tree.builds = vec![
        ("all".into(), units(&["a v1 std", "b v1"])),
        ("vision".into(), units(&["a v1 std"])),
    ];
    tree
}

fn add(tree: &mut Tree, path: &str, text: &str) {
    let file = File {
        size: text.len() as u64,
        text: text.into(),
    };
    tree.files.insert(path.into(), file);
}

fn breaches(tree: &Tree, rule: &str) -> Vec<String> {
    let rule = RULES
        .iter()
        .find(|r| r.name == rule)
        .expect("the rule exists");
    (rule.check)(tree)
}

/// The rule finds one breach that contains `what` after `change`.
fn catches(rule: &str, what: &str, change: impl FnOnce(&mut Tree)) {
    let mut tree = tidy_tree();
    change(&mut tree);
    let found = breaches(&tree, rule);
    assert!(
        found.len() == 1 && found[0].contains(what),
        "{rule}: {found:?}"
    );
}

/// [`catches`] for a file of the given text.
fn catches_file(rule: &str, what: &str, path: &str, text: &str) {
    catches(rule, what, |tree| add(tree, path, text));
}

#[test]
fn a_tidy_tree_passes_every_rule() {
    let tree = tidy_tree();
    for rule in RULES {
        assert_eq!(
            breaches(&tree, rule.name),
            Vec::<String>::new(),
            "{}",
            rule.name
        );
    }
}

#[test]
fn direction_goes_one_way() {
    let depend = |index: usize, name: &'static str, dev: bool| {
        move |tree: &mut Tree| tree.packages[index].dependencies.push((name.into(), dev))
    };
    catches(
        "direction",
        "core/Cargo.toml: depends on panoply-datasets",
        depend(0, "panoply-datasets", false),
    );
    catches(
        "direction",
        "core/Cargo.toml: depends on panoply-vision",
        depend(0, "panoply-vision", true),
    );
    catches(
        "direction",
        "metrics/Cargo.toml",
        depend(1, "panoply-core", false),
    );
    catches(
        "direction",
        "metrics/Cargo.toml",
        depend(1, "panoply-testkit", true),
    );
    catches(
        "direction",
        "datasets/Cargo.toml",
        depend(3, "panoply-testkit", false),
    );
    catches(
        "direction",
        "datasets/Cargo.toml",
        depend(3, "panoply-vision", false),
    );
    catches(
        "direction",
        "vision/Cargo.toml: depends on panoply-runner",
        depend(4, "panoply-runner", false),
    );
    catches(
        "direction",
        "xtask/Cargo.toml",
        depend(7, "panoply-core", false),
    );
    catches(
        "direction",
        "nlp/Cargo.toml: depends on panoply-vision",
        |tree| {
            tree.packages
                .push(package("pipelines/nlp", &[("panoply-vision", false)]));
        },
    );
    catches(
        "direction",
        "crates/new: a folder without a layer",
        |tree| {
            tree.packages.push(package("crates/new", &[]));
        },
    );
}

#[test]
fn metrics_know_no_tensors() {
    catches("no-tensors", "metrics", |t| {
        t.packages[1]
            .dependencies
            .push(("burn-tensor".into(), false));
    });
    catches("no-tensors", "xtask", |t| {
        t.packages[7].dependencies.push(("burn".into(), true));
    });
}

#[test]
fn libraries_choose_no_backend() {
    let text = concat!("fn f() { g(&Device::", "default()) }\n");
    catches_file("backends", "x.rs:1", "crates/core/src/x.rs", text);
    catches("backends", "vision/Cargo.toml: has the feature cuda", |t| {
        t.packages[4].features.push("cuda".into());
    });
    let mut tree = tidy_tree();
    tree.packages[5].features.push("cuda".into());
    assert!(breaches(&tree, "backends").is_empty());
}

#[test]
fn every_command_shares_one_build() {
    catches("one-build", "vision: only here builds b v1 extra", |t| {
        t.builds[1].1.insert("b v1 extra".into());
    });
    catches("one-build", "vision: builds b v2 without serde", |t| {
        t.builds[0].1.insert("b v2 | ".into());
        t.builds[0].1.insert("b v2 | serde,std".into());
        t.builds[1].1.insert("b v2 | ".into());
    });
}

#[test]
fn core_is_blind_to_what_stands_on_it() {
    let path = "crates/core/src/x.rs";
    let text = "fn f(n: &str) -> u8 { match n {\n    \"classify\" => 1,\n    _ => 0 } }\n";
    catches_file("core-names-nothing", "x.rs:2: \"classify\"", path, text);
    catches_file(
        "core-names-nothing",
        "\"resnet\"",
        path,
        "const A: &str = \"resnet\";",
    );
    catches_file(
        "core-names-nothing",
        "\"nlp\"",
        path,
        "const A: &str = \"nlp\";",
    );
    let mut tree = tidy_tree();
    let fine = "// \"vision\"\nconst A: &str = \"a vision of\";\n#[cfg(test)]\nmod tests { const B: &str = \"vision\"; }\n";
    add(&mut tree, path, fine);
    assert!(breaches(&tree, "core-names-nothing").is_empty());
}

#[test]
fn models_compute_and_nothing_else() {
    let model = "pipelines/vision/src/models/resnet.rs";
    catches_file("models-are-pure", "resnet.rs:1", model, "use std::fs;\n");
    catches_file(
        "models-are-pure",
        "outside core::hub",
        "datasets/src/lib.rs",
        "use hf_hub::api;\n",
    );
    let mut tree = tidy_tree();
    add(
        &mut tree,
        "crates/core/src/hub/mod.rs",
        "use hf_hub::api;\n",
    );
    add(
        &mut tree,
        model,
        "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n",
    );
    assert!(breaches(&tree, "models-are-pure").is_empty());
}

#[test]
fn files_stay_short() {
    catches_file(
        "length",
        "601 lines",
        "crates/core/src/long.rs",
        &"//\n".repeat(601),
    );
    catches_file("length", "301 lines", "ARCHITECTURE.md", &"x\n".repeat(301));
    let mut tree = tidy_tree();
    add(&mut tree, "crates/core/src/long.rs", &"//\n".repeat(600));
    assert!(breaches(&tree, "length").is_empty());
}

#[test]
fn nothing_pretends() {
    let path = "crates/core/src/x.rs";
    for text in [
        concat!("#[test]\n#[ign", "ore]\nfn f() {}"),
        concat!("#[cfg_attr(not(unix), ign", "ore)]"),
        concat!("fn f() { todo", "!() }"),
        concat!("fn f() { unimplemented", "!(\"later\") }"),
        concat!("//! St", "ub."),
    ] {
        catches_file("no-stubs", "x.rs", path, text);
    }
    let mut tree = tidy_tree();
    add(&mut tree, path, concat!("/// Never todo", "!() here."));
    assert!(breaches(&tree, "no-stubs").is_empty());
}

#[test]
fn crates_say_what_they_are() {
    catches_file(
        "docs",
        "core: neither",
        "crates/core/src/lib.rs",
        "fn f() {}\n",
    );
    catches("docs", "vision: no README.md", |t| {
        t.files.remove("pipelines/vision/README.md");
    });
}

#[test]
fn versions_live_in_one_place() {
    let path = "datasets/Cargo.toml";
    let linted = "[lints]\nworkspace = true\n";
    for bad in [
        "[dependencies]\nserde = \"1.0\"\n",
        "[dev-dependencies]\nserde = { version = \"1\" }\n",
        "[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n",
        "[dependencies.serde]\nversion = \"1\"\nfeatures = [\"derive\"]\n",
        "[package]\nversion = \"0.1.0\"\n",
        "[dependencies]\ncore = { path = \"../core\" }\n",
    ] {
        catches_file(
            "manifests",
            "datasets/Cargo.toml:2",
            path,
            &format!("{bad}\n{linted}"),
        );
    }
    catches_file(
        "manifests",
        "no [lints]",
        path,
        "[dependencies]\nserde.workspace = true\n",
    );
}

#[test]
fn numbers_come_with_their_script() {
    catches_file(
        "fixtures",
        "no reference.py",
        "crates/core/tests/fixtures/b/x.safetensors",
        "",
    );
    let script = "crates/core/tests/fixtures/a/reference.py";
    catches_file("fixtures", "no pinned version", script, "import torch\n");
    let mut tree = tidy_tree();
    add(&mut tree, "crates/core/tests/fixtures/a/deep/x.bin", "");
    add(&mut tree, "crates/metrics/tests/fixtures/x.json", "");
    add(
        &mut tree,
        "crates/metrics/tests/fixtures/make.py",
        "# scikit-learn==1.9.1\n",
    );
    assert!(breaches(&tree, "fixtures").is_empty());
}

#[test]
fn large_files_need_a_reason() {
    let large = || File {
        size: 1_500_000,
        text: String::new(),
    };
    catches("large-files", "b.bin: 1.5 MB", |t| {
        t.files.insert("datasets/data/b.bin".into(), large());
    });
    let mut tree = tidy_tree();
    tree.files.insert(
        "pipelines/vision/weights/a/model.safetensors".into(),
        large(),
    );
    assert!(breaches(&tree, "large-files").is_empty());
}

#[test]
fn the_changelog_is_kept() {
    catches_file(
        "changelog",
        "Unreleased",
        "CHANGELOG.md",
        "# Changelog\n\n## 0.1.0\n",
    );
}

#[test]
fn cargo_metadata_is_read_as_it_is() {
    let metadata = serde_json::json!({
        "name": "panoply-vision", "manifest_path": "/r/pipelines/vision/Cargo.toml",
        "features": { "tables": [] },
        "dependencies": [
            { "name": "burn", "kind": null }, { "name": "tempfile", "kind": "dev" },
        ],
    });
    let package = read_package("/r", &metadata);
    assert_eq!(
        (package.name.as_str(), package.folder.as_str()),
        ("panoply-vision", "pipelines/vision")
    );
    assert_eq!(
        package.dependencies,
        [("burn".to_string(), false), ("tempfile".to_string(), true)]
    );
    assert_eq!(package.features, ["tables"]);
}
