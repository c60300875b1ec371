//! Measures the same work here and in other engines, interleaved in one run, and prints ratios of
//! medians.
//!
//! Each engine runs in a process of its own (peak memory is a process's), all stay alive, and rounds
//! alternate between them, so that a noisy neighbour hits each.
//! `cargo xtask bench <pipeline> --against pytorch,onnxruntime,tract`.

// The binary that users run allocates through mimalloc too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use anyhow::{Context, Result, bail, ensure};
use panoply_benches::{Domain, Workload, domain};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

/// The workers of other engines, one script a pipeline.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

const USAGE: &str =
    "usage: side_by_side PIPELINE --against ENGINE[,ENGINE…] [--rounds N] [WORKLOAD…]";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--worker", pipeline, name] => worker(found(pipeline)?, name),
        [pipeline, options @ ..] => compare(&Options::parse(found(pipeline)?, options)?),
        _ => bail!(USAGE),
    }
}

fn found(pipeline: &str) -> Result<&'static Domain> {
    domain(pipeline).with_context(|| format!("no benches for '{pipeline}'; {USAGE}"))
}

/// What to compare with, how often, and on which workloads.
struct Options<'a> {
    domain: &'static Domain,
    engines: Vec<&'a str>,
    rounds: usize,
    workloads: Vec<&'static str>,
}

impl<'a> Options<'a> {
    fn parse(domain: &'static Domain, words: &[&'a str]) -> Result<Self> {
        let (mut engines, mut rounds, mut parts) = (Vec::new(), 10, Vec::new());
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--against" => engines = words.next().context(USAGE)?.split(',').collect(),
                "--rounds" => rounds = words.next().context(USAGE)?.parse::<usize>()?.max(1),
                option if option.starts_with('-') => bail!("unknown option {option}; {USAGE}"),
                part => parts.push(part),
            }
        }
        ensure!(!engines.is_empty(), USAGE);
        let wanted = |name: &&str| parts.is_empty() || parts.iter().any(|part| name.contains(part));
        let workloads: Vec<_> = domain.workloads.iter().copied().filter(wanted).collect();
        ensure!(
            !workloads.is_empty(),
            "no workload matches {parts:?}; known: {}",
            domain.workloads.join(", ")
        );
        Ok(Self {
            domain,
            engines,
            rounds,
            workloads,
        })
    }
}

/// Serves one workload over stdin/stdout: `go` → milliseconds of one call, `mem` → peak MiB.
fn worker(domain: &Domain, name: &str) -> Result<()> {
    let mut workload =
        (domain.workload)(name).with_context(|| format!("unknown workload {name}"))?;
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

fn compare(options: &Options<'_>) -> Result<()> {
    let python =
        std::env::var_os("PANOPLY_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let own = std::env::current_exe()?;
    let domain = options.domain.name;
    let script = format!("{PEERS}/{domain}.py");
    let mut out = std::io::stdout();
    write!(out, "{:<30} {:>10} {:>6}", "workload", "panoply ms", "MiB")?;
    for engine in &options.engines {
        write!(
            out,
            " | {:>14} {:>6} {:>6} {:>6}",
            format!("{engine} ms"),
            "time",
            "MiB",
            "memory"
        )?;
    }
    writeln!(out)?;
    for name in &options.workloads {
        let mut ours = Peer::start(&own, &["--worker", domain, name])?
            .context("our own worker did not start")?;
        let mut peers = Vec::new();
        for engine in &options.engines {
            peers.push(Peer::start(&python, &[&script, engine, name])?);
        }
        if peers.iter().all(Option::is_none) && *name == options.workloads[0] {
            writeln!(
                out,
                "skipped: {} cannot run {script} {} (set PANOPLY_PYTHON to a Python that has these engines)",
                python.display(),
                options.engines.join(", ")
            )?;
            return Ok(());
        }
        row(name, &mut ours, &mut peers, options.rounds, &mut out)?;
    }
    writeln!(
        out,
        "time, memory: the other engine's median over ours, > 1: panoply is faster (smaller); {} interleaved rounds; -: the engine cannot run it",
        options.rounds
    )?;
    Ok(())
}

/// Measures one workload everywhere and prints its line.
fn row(
    name: &str,
    ours: &mut Peer,
    peers: &mut [Option<Peer>],
    rounds: usize,
    out: &mut impl Write,
) -> Result<()> {
    let mut own_ms = Vec::new();
    let mut peer_ms = vec![Vec::new(); peers.len()];
    for round in 0..rounds + 2 {
        let mut times = vec![ours.ask("go")?];
        for peer in peers.iter_mut() {
            times.push(peer.as_mut().map_or(Ok(f64::NAN), |peer| peer.ask("go"))?);
        }
        // Two rounds of warm-up.
        if round >= 2 {
            own_ms.push(times[0]);
            for (all, ms) in peer_ms.iter_mut().zip(&times[1..]) {
                all.push(*ms);
            }
        }
    }
    let (own_ms, own_mib) = (median(&mut own_ms), ours.ask("mem")?);
    write!(out, "{name:<30} {own_ms:>10.2} {own_mib:>6.0}")?;
    for (peer, times) in peers.iter_mut().zip(&mut peer_ms) {
        match peer {
            Some(peer) => {
                let (ms, mib) = (median(times), peer.ask("mem")?);
                write!(
                    out,
                    " | {ms:>14.2} {:>5.2}x {mib:>6.0} {:>5.2}x",
                    ms / own_ms,
                    mib / own_mib
                )?;
            }
            None => write!(out, " | {:>14} {:>6} {:>6} {:>6}", "-", "", "", "")?,
        }
    }
    writeln!(out)?;
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
