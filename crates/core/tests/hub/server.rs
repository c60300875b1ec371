//! A small stand-in for the hub: enough of its API for hf-hub, and every way to misbehave.

use panoply_core::hub::Hub;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};
use tempfile::TempDir;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const REPO: &str = "some-owner/tiny.model_v1";

/// What the server does; tests change it while it runs.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Sent instead of the file's own hash.
    pub(crate) etags: BTreeMap<String, String>,
    /// Sent instead of the commit.
    pub(crate) commit: Option<String>,
    /// Listed, but answered with this status.
    pub(crate) refused: BTreeMap<String, u16>,
    /// Close the connection after so many bytes of this file's body, once.
    pub(crate) cut: Option<(String, usize)>,
    /// `PATH RANGE` of each request.
    pub(crate) log: Vec<String>,
}

pub(crate) struct Server {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files = files
            .iter()
            .map(|(name, bytes)| (name.to_string(), bytes.to_vec()))
            .collect();
        let state = Arc::new(Mutex::new(State {
            files,
            ..State::default()
        }));
        let (shared, base) = (state.clone(), endpoint.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, base) = (shared.clone(), base.clone());
                // A client that hangs up is part of the tests.
                thread::spawn(move || drop(answer(stream, &state, &base)));
            }
        });
        Self { endpoint, state }
    }

    pub(crate) fn good() -> Self {
        Self::start(&[
            ("config.json", b"{\"hidden\": 3}"),
            ("model.safetensors", &weights()),
            ("preprocessor_config.json", b"{\"mean\": [0.5]}"),
            ("README.md", b"never fetched"),
        ])
    }

    pub(crate) fn hub(&self, cache: &TempDir) -> Hub {
        Hub::new(cache.path().join("hub"))
            .with_endpoint(&self.endpoint)
            .with_progress(false)
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

pub(crate) fn weights() -> Vec<u8> {
    (0..3_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Large files are known by their SHA-256, small ones by a git hash that nobody here checks.
fn etag_of(name: &str, bytes: &[u8]) -> String {
    let sha256 = sha256(bytes);
    let large = !name.contains(".json");
    if large {
        sha256
    } else {
        sha256[..40].to_string()
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, base: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut range = String::new();
    for line in lines {
        let line = line?;
        if let Some(value) = line.to_lowercase().strip_prefix("range: ") {
            range = value.to_string();
        }
        if line.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_string();
    let mut state = state.lock().unwrap();
    state.log.push(format!("{path} {range}").trim().to_string());
    let plain = |status: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let commit = state.commit.clone().unwrap_or(COMMIT.into());

    if path.starts_with(&format!("/api/models/{REPO}/revision/")) {
        let siblings: Vec<_> = state
            .files
            .keys()
            .map(|n| format!("{{\"rfilename\": {n:?}}}"))
            .collect();
        let body = format!(
            "{{\"sha\": {commit:?}, \"siblings\": [{}]}}",
            siblings.join(", ")
        );
        let len = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
        );
        return stream.write_all((head + &body).as_bytes());
    }
    let linked = path.strip_prefix(&format!("/{REPO}/resolve/{COMMIT}/"));
    let Some(name) = linked.or(path.strip_prefix("/cdn/")).map(String::from) else {
        return stream.write_all(plain("404 Not Found").as_bytes());
    };
    if let Some(status) = state.refused.get(&name) {
        return stream.write_all(plain(&format!("{status} Refused")).as_bytes());
    }
    let Some(bytes) = state.files.get(&name).cloned() else {
        return stream.write_all(plain("404 Not Found").as_bytes());
    };
    let etag = state
        .etags
        .get(&name)
        .cloned()
        .unwrap_or_else(|| etag_of(&name, &bytes));
    let described =
        format!("X-Repo-Commit: {COMMIT}\r\nAccept-Ranges: bytes\r\nConnection: close\r\n");
    if linked.is_some() && name.ends_with(".safetensors") {
        // Large files live elsewhere.
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: {base}/cdn/{name}\r\nX-Linked-Etag: \"{etag}\"\r\nETag: \"other\"\r\nContent-Length: 0\r\n{described}\r\n"
        );
        return stream.write_all(head.as_bytes());
    }
    let (from, to) = range
        .strip_prefix("bytes=")
        .and_then(|r| r.split_once('-'))
        .unwrap_or(("0", ""));
    let from: usize = from.parse().unwrap();
    let to = to.parse().unwrap_or(bytes.len() - 1);
    if from >= bytes.len() {
        return stream.write_all(plain("416 Range Not Satisfiable").as_bytes());
    }
    let (len, total) = (to + 1 - from, bytes.len());
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nETag: \"{etag}\"\r\nContent-Range: bytes {from}-{to}/{total}\r\nContent-Length: {len}\r\n{described}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut body = &bytes[from..=to];
    if let Some((_, at)) = state.cut.take_if(|(cut, _)| *cut == name && len > 1) {
        body = &body[..at];
    }
    drop(state);
    stream.write_all(body)
}
