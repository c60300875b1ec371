//! Measures the same work here and in PyTorch, interleaved in one run, and prints ratios of medians.
//!
//! Each side runs in a process of its own (peak memory is a process's), both stay alive, and rounds
//! alternate between them, so that a noisy neighbour hits both. `cargo xtask bench vision --against pytorch`.

// The binary that users run allocates through mimalloc too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use anyhow::{Context, Result, bail, ensure};
use panoply_benches::{Workload, vision};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pytorch/vision.py");

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--worker", name] => worker(name),
        ["vision", options @ ..] => compare(rounds(options)?),
        _ => bail!("usage: side_by_side vision [--rounds N]"),
    }
}

fn rounds(options: &[&str]) -> Result<usize> {
    match options {
        [] => Ok(10),
        ["--rounds", n] => Ok(n
            .parse::<usize>()
            .with_context(|| format!("--rounds {n}"))?
            .max(1)),
        _ => bail!("unknown options {options:?}; expected [--rounds N]"),
    }
}

/// Serves one workload over stdin/stdout: `go` → milliseconds of one call, `mem` → peak MiB.
fn worker(name: &str) -> Result<()> {
    let mut workload =
        vision::workload(name).with_context(|| format!("unknown workload {name}"))?;
    let out = std::io::stdout();
    writeln!(out.lock(), "ready")?;
    for line in std::io::stdin().lock().lines() {
        let reply = match line?.as_str() {
            "go" => format!("{}", milliseconds(&mut workload)),
            "mem" => format!("{}", peak_mib()?),
            other => bail!("unknown request {other}"),
        };
        writeln!(out.lock(), "{reply}")?;
    }
    Ok(())
}

fn milliseconds(workload: &mut Workload) -> f64 {
    let start = Instant::now();
    (workload.run)();
    start.elapsed().as_secs_f64() * 1e3
}

fn peak_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("peak memory is read from /proc (Linux)")?;
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM:"))
        .context("VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).context("VmHWM")?.parse()?;
    Ok(kib / 1024.0)
}

/// A worker process.
struct Peer {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Peer {
    /// `None` if the program is absent or cannot serve (no torch); its stderr says why.
    fn start(program: &Path, args: &[&str]) -> Result<Option<Self>> {
        let spawned = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            return Ok(None);
        };
        let requests = child.stdin.take().context("stdin")?;
        let mut peer = Self {
            requests,
            replies: BufReader::new(child.stdout.take().context("stdout")?),
            child,
        };
        Ok((peer.reply()? == "ready").then_some(peer))
    }

    fn reply(&mut self) -> Result<String> {
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        Ok(line.trim().into())
    }

    fn ask(&mut self, request: &str) -> Result<f64> {
        writeln!(self.requests, "{request}")?;
        let reply = self.reply()?;
        reply
            .parse()
            .with_context(|| format!("reply '{reply}' to {request}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn compare(rounds: usize) -> Result<()> {
    let python =
        std::env::var_os("PANOPLY_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let own = std::env::current_exe()?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<26} {:>12} {:>12} {:>8} {:>9} {:>9} {:>8}",
        "workload", "panoply ms", "pytorch ms", "ratio", "MiB", "MiB", "ratio"
    )?;
    for name in vision::NAMES {
        let mut ours =
            Peer::start(&own, &["--worker", name])?.context("our own worker did not start")?;
        let Some(mut theirs) = Peer::start(&python, &[WORKER, name])? else {
            writeln!(
                out,
                "skipped: {} cannot run {WORKER} (Python with torch and torchvision; set PANOPLY_PYTHON)",
                python.display()
            )?;
            return Ok(());
        };
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for round in 0..rounds + 2 {
            let (ours_ms, theirs_ms) = (ours.ask("go")?, theirs.ask("go")?);
            // Two rounds of warm-up.
            if round >= 2 {
                a.push(ours_ms);
                b.push(theirs_ms);
            }
        }
        ensure!(!a.is_empty(), "no rounds");
        let (ms_a, ms_b) = (median(&mut a), median(&mut b));
        let (mem_a, mem_b) = (ours.ask("mem")?, theirs.ask("mem")?);
        writeln!(
            out,
            "{name:<26} {ms_a:>12.2} {ms_b:>12.2} {:>7.2}x {mem_a:>9.0} {mem_b:>9.0} {:>7.2}x",
            ms_b / ms_a,
            mem_b / mem_a
        )?;
    }
    writeln!(
        out,
        "ratio > 1: panoply is faster (or smaller); medians of {rounds} interleaved rounds"
    )?;
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
