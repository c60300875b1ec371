//! The hub against a server in this process: good, interrupted, damaged, missing, offline.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod server;

use panoply_core::hub::Hub;
use server::{COMMIT, REPO, Server, sha256, weights};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const COMPANIONS: &[&str] = &["preprocessor_config.json", "vocab.txt"];

fn repo_folder(cache: &TempDir) -> PathBuf {
    cache.path().join("hub/models--some-owner--tiny.model_v1")
}

fn part_len(cache: &TempDir) -> u64 {
    let blobs = cache
        .path()
        .join("hub/.panoply-staging/models--some-owner--tiny.model_v1/blobs");
    let parts = fs::read_dir(blobs).into_iter().flatten().flatten();
    parts
        .filter(|f| f.path().extension().is_some_and(|e| e == "part"))
        .map(|f| f.metadata().unwrap().len())
        .sum()
}

#[track_caller]
fn refused(hub: &Hub, name: &str, parts: &[&str]) -> String {
    let text = hub.resolve(name, COMPANIONS).unwrap_err().to_string();
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
    assert!(!text.contains("internal error"), "{text}");
    text
}

#[test]
fn a_download_lands_in_the_shared_layout_and_is_asked_for_once() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    let folder = server.hub(&cache).resolve(REPO, COMPANIONS).unwrap();
    assert_eq!(folder, repo_folder(&cache).join("snapshots").join(COMMIT));
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert_eq!(
        fs::read(folder.join("config.json")).unwrap(),
        b"{\"hidden\": 3}"
    );
    assert!(folder.join("preprocessor_config.json").is_file());
    assert!(!folder.join("README.md").exists() && !folder.join("vocab.txt").exists());
    assert_eq!(
        fs::read_to_string(repo_folder(&cache).join("refs/main")).unwrap(),
        COMMIT
    );
    #[cfg(unix)]
    {
        let link = fs::read_link(folder.join("model.safetensors")).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(sha256(&weights())));
    }
    // hf-hub itself finds it there.
    let theirs = hf_hub::Cache::new(cache.path().join("hub")).model(REPO.into());
    assert_eq!(
        theirs.get("model.safetensors").unwrap(),
        folder.join("model.safetensors")
    );

    assert!(!server.take_log().is_empty());
    assert_eq!(
        server.hub(&cache).resolve(REPO, COMPANIONS).unwrap(),
        folder
    );
    assert_eq!(
        server
            .hub(&cache)
            .with_offline(true)
            .resolve(REPO, COMPANIONS)
            .unwrap(),
        folder
    );
    let at_commit = format!("{REPO}@{COMMIT}");
    assert_eq!(
        server.hub(&cache).resolve(&at_commit, COMPANIONS).unwrap(),
        folder
    );
    assert_eq!(server.take_log(), [""; 0]);
}

#[test]
fn companions_may_lie_in_folders_of_the_model() {
    let files: [(&str, &[u8]); 3] = [
        ("config.json", b"{}"),
        ("model.safetensors", b"x"),
        ("1_Pooling/config.json", b"{\"a\": 1}"),
    ];
    let (server, cache) = (Server::start(&files), TempDir::new().unwrap());
    let wanted = ["1_Pooling/config.json", "2_Normalize/config.json", "../out"];
    let folder = server.hub(&cache).resolve(REPO, &wanted).unwrap();
    let nested = folder.join("1_Pooling/config.json");
    assert_eq!(fs::read(&nested).unwrap(), b"{\"a\": 1}");
    #[cfg(unix)]
    assert!(
        fs::read_link(&nested)
            .unwrap()
            .starts_with("../../../blobs")
    );
    let theirs = hf_hub::Cache::new(cache.path().join("hub")).model(REPO.into());
    assert_eq!(theirs.get("1_Pooling/config.json").unwrap(), nested);
    server.take_log();
    let offline = server.hub(&cache).with_offline(true);
    assert_eq!(offline.resolve(REPO, &wanted[..2]).unwrap(), folder);
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    server.set(|s| s.cut = Some(("model.safetensors".into(), 1_234_567)));
    let once = server.hub(&cache).with_attempts(1);
    refused(
        &once,
        REPO,
        &[REPO, "model.safetensors", "cannot download", "run again"],
    );
    let kept = part_len(&cache);
    assert!(kept > 0 && kept <= 1_234_567, "{kept}");
    let snapshot = repo_folder(&cache).join("snapshots").join(COMMIT);
    assert!(fs::symlink_metadata(snapshot.join("model.safetensors")).is_err());
    assert!(!repo_folder(&cache).join("refs/main").exists());
    refused(
        &once.clone().with_offline(true),
        REPO,
        &["model.safetensors"],
    );

    server.take_log();
    let folder = once.resolve(REPO, COMPANIONS).unwrap();
    let log = server.take_log();
    assert!(
        log.contains(&format!("/cdn/model.safetensors bytes={kept}-")),
        "{log:?}"
    );
    assert!(
        !log.iter()
            .any(|l| l.ends_with("model.safetensors bytes=0-")),
        "{log:?}"
    );
    assert!(!log.iter().any(|l| l.contains("/config.json")), "{log:?}");
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert_eq!(part_len(&cache), 0);
}

#[test]
fn a_broken_connection_is_retried_in_the_same_call() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    server.set(|s| s.cut = Some(("model.safetensors".into(), 2_000_000)));
    let folder = server.hub(&cache).resolve(REPO, COMPANIONS).unwrap();
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    let log = server.take_log();
    let resumed =
        |l: &&String| l.starts_with("/cdn/model.safetensors bytes=") && !l.contains("=0-");
    assert_eq!(log.iter().filter(resumed).count(), 1, "{log:?}");
}

#[test]
fn a_damaged_download_leaves_nothing_behind() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    let promised = sha256(b"something else");
    server.set(|s| _ = s.etags.insert("model.safetensors".into(), promised.clone()));
    let hub = server.hub(&cache);
    let found = sha256(&weights());
    refused(
        &hub,
        REPO,
        &[
            "tiny.model_v1/model.safetensors",
            "damaged",
            &found,
            &promised,
        ],
    );
    let snapshot = repo_folder(&cache).join("snapshots").join(COMMIT);
    assert!(fs::symlink_metadata(snapshot.join("model.safetensors")).is_err());
    assert!(!repo_folder(&cache).join("blobs").join(&promised).exists());
    assert!(!repo_folder(&cache).join("refs/main").exists());
    let everything = walk(cache.path());
    assert!(
        !everything
            .iter()
            .any(|f| f.metadata().is_ok_and(|m| m.len() > 1000)),
        "{everything:?}"
    );

    server.set(|s| s.etags.clear());
    let folder = hub.resolve(REPO, COMPANIONS).unwrap();
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
}

#[test]
fn a_part_of_other_content_is_found_out() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    server.set(|s| s.cut = Some(("model.safetensors".into(), 1_000_000)));
    let hub = server.hub(&cache).with_attempts(1);
    refused(&hub, REPO, &["cannot download"]);
    let staging = walk(&cache.path().join("hub/.panoply-staging"));
    let part = staging
        .iter()
        .find(|f| f.extension().is_some_and(|e| e == "part"))
        .unwrap();
    let spoilt = vec![0; fs::metadata(part).unwrap().len() as usize];
    fs::write(part, spoilt).unwrap();
    refused(&hub, REPO, &["damaged"]);
    hub.resolve(REPO, COMPANIONS).unwrap();

    // A part that is longer than the file is dropped.
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    server.set(|s| s.cut = Some(("model.safetensors".into(), 1_000_000)));
    let hub = server.hub(&cache).with_attempts(1);
    refused(&hub, REPO, &["cannot download"]);
    let staging = walk(&cache.path().join("hub/.panoply-staging"));
    let part = staging
        .iter()
        .find(|f| f.extension().is_some_and(|e| e == "part"))
        .unwrap();
    fs::write(part, vec![0; 3_000_001]).unwrap();
    hub.resolve(REPO, COMPANIONS).unwrap();
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path());
    entries
        .flat_map(|p| {
            if p.is_dir() && !p.is_symlink() {
                walk(&p)
            } else {
                vec![p]
            }
        })
        .collect()
}

#[test]
fn what_the_hub_lacks_is_named() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    let hub = server.hub(&cache);
    refused(
        &hub,
        "some-owner/other",
        &["some-owner/other", "no such model or revision (404)"],
    );
    server.set(|s| _ = s.refused.insert("model.safetensors".into(), 404));
    refused(
        &hub,
        REPO,
        &["tiny.model_v1/model.safetensors", "no such file (404)"],
    );
    server.set(|s| _ = s.refused.insert("model.safetensors".into(), 403));
    refused(&hub, REPO, &["denies access (403)", "HF_TOKEN"]);
    server.set(|s| _ = s.files.remove("model.safetensors"));
    refused(
        &hub,
        REPO,
        &[
            REPO,
            "no model.safetensors or model.safetensors.index.json or pytorch_model.bin",
        ],
    );
    server.set(|s| _ = s.files.remove("config.json"));
    refused(
        &Server::start(&[("model.safetensors", b"x")]).hub(&TempDir::new().unwrap()),
        REPO,
        &["no config.json"],
    );
    assert_eq!(walk(&repo_folder(&cache).join("blobs")).len(), 1);
}

#[test]
fn offline_says_what_is_missing_and_asks_nobody() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    let offline = server.hub(&cache).with_offline(true);
    refused(
        &offline,
        REPO,
        &[
            REPO,
            "config.json, model.safetensors",
            "--offline",
            "HF_HUB_OFFLINE",
        ],
    );
    assert_eq!(server.take_log(), [""; 0]);
    assert!(walk(cache.path()).is_empty());

    let folder = server.hub(&cache).resolve(REPO, COMPANIONS).unwrap();
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    server.take_log();
    let text = refused(&offline, REPO, &["model.safetensors"]);
    assert!(!text.contains("config.json"), "{text}");
    assert_eq!(server.take_log(), [""; 0]);
    // The content is still there, so that no body is asked for again.
    server.hub(&cache).resolve(REPO, COMPANIONS).unwrap();
    assert!(!server.take_log().iter().any(|l| l.ends_with("bytes=0-")));
}

#[test]
fn paths_and_malformed_names_need_no_network() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    let hub = server.hub(&cache);
    let here = cache.path().to_str().unwrap();
    assert_eq!(hub.resolve(here, COMPANIONS).unwrap(), cache.path());
    let file = cache.path().join("model.pt");
    fs::write(&file, "x").unwrap();
    assert_eq!(
        hub.resolve(file.to_str().unwrap(), COMPANIONS).unwrap(),
        file
    );
    refused(
        &hub,
        "resnet18",
        &[
            "'resnet18' is neither a path nor the name of a model",
            "owner/name",
        ],
    );
    refused(
        &hub,
        "./nowhere/model",
        &["'./nowhere/model'", "no such path"],
    );
    refused(&hub, "a/b@../../x", &["malformed revision"]);
    assert_eq!(server.take_log(), [""; 0]);
}

#[test]
fn other_kinds_of_weights() {
    let server = Server::start(&[("config.json", b"{}"), ("pytorch_model.bin", b"pickle")]);
    let cache = TempDir::new().unwrap();
    let folder = server.hub(&cache).resolve(REPO, &[]).unwrap();
    assert_eq!(
        fs::read(folder.join("pytorch_model.bin")).unwrap(),
        b"pickle"
    );
    server.take_log();
    server.hub(&cache).resolve(REPO, &[]).unwrap();
    assert_eq!(server.take_log(), [""; 0]);

    let index = br#"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-1.safetensors"}}"#;
    let shards: [(&str, &[u8]); 2] = [("m-1.safetensors", b"one"), ("m-2.safetensors", b"two")];
    let common: [(&str, &[u8]); 2] = [
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index),
    ];
    let server = Server::start(&[&common[..], &shards[..]].concat());
    let cache = TempDir::new().unwrap();
    let folder = server.hub(&cache).resolve(REPO, &[]).unwrap();
    assert_eq!(fs::read(folder.join("m-2.safetensors")).unwrap(), b"two");
    // A shard that was lost is fetched again.
    fs::remove_file(folder.join("m-1.safetensors")).unwrap();
    refused(
        &server.hub(&cache).with_offline(true),
        REPO,
        &["m-1.safetensors"],
    );
    server.hub(&cache).resolve(REPO, &[]).unwrap();
    assert_eq!(fs::read(folder.join("m-1.safetensors")).unwrap(), b"one");

    let evil = br#"{"weight_map": {"a": "../../../x.safetensors"}}"#;
    let server = Server::start(&[
        ("config.json", b"{}"),
        ("model.safetensors.index.json", evil),
    ]);
    refused(
        &server.hub(&TempDir::new().unwrap()),
        REPO,
        &["../../../x.safetensors", "no plain file name"],
    );
}

#[test]
fn companions_that_were_never_looked_for_are_asked_for_once() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    let folder = server.hub(&cache).resolve(REPO, &[]).unwrap();
    assert!(!folder.join("preprocessor_config.json").exists());
    server.take_log();
    // The server is away: what is cached is used all the same.
    let away = server
        .hub(&cache)
        .with_endpoint("http://127.0.0.1:1")
        .with_attempts(1);
    assert_eq!(away.resolve(REPO, COMPANIONS).unwrap(), folder);
    assert_eq!(
        server
            .hub(&cache)
            .with_offline(true)
            .resolve(REPO, COMPANIONS)
            .unwrap(),
        folder
    );
    assert_eq!(server.take_log(), [""; 0]);

    server.hub(&cache).resolve(REPO, COMPANIONS).unwrap();
    assert!(folder.join("preprocessor_config.json").is_file());
    assert!(
        repo_folder(&cache)
            .join(".no_exist")
            .join(COMMIT)
            .join("vocab.txt")
            .exists()
    );
    assert!(
        !server
            .take_log()
            .iter()
            .any(|l| l.contains("model.safetensors"))
    );
    server.hub(&cache).resolve(REPO, COMPANIONS).unwrap();
    assert_eq!(server.take_log(), [""; 0]);
}

#[test]
fn revisions_have_their_own_reference() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    let hub = server.hub(&cache);
    hub.resolve(&format!("{REPO}@refs/pr/1"), COMPANIONS)
        .unwrap();
    assert!(
        server.take_log()[0].starts_with(&format!("/api/models/{REPO}/revision/refs%2Fpr%2F1"))
    );
    assert!(!repo_folder(&cache).join("refs/main").exists());
    assert_eq!(
        fs::read_to_string(repo_folder(&cache).join("refs/refs/pr/1")).unwrap(),
        COMMIT
    );
    // The same commit under another name: one question, no body.
    hub.resolve(REPO, COMPANIONS).unwrap();
    assert_eq!(
        server.take_log(),
        [format!("/api/models/{REPO}/revision/main")]
    );
}

#[test]
fn a_hostile_server_cannot_leave_the_cache() {
    let (server, cache) = (Server::good(), TempDir::new().unwrap());
    for etag in ["../../../../escaped", "..", "a/b"] {
        server.set(|s| _ = s.etags.insert("config.json".into(), etag.into()));
        refused(
            &server.hub(&cache),
            REPO,
            &["config.json", "names its content"],
        );
    }
    server.set(|s| s.etags.clear());
    server.set(|s| s.commit = Some("../../escaped".into()));
    refused(
        &server.hub(&cache),
        REPO,
        &["names the commit '../../escaped'"],
    );
    assert!(walk(cache.path()).is_empty());
}
