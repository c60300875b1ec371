//! Progress of long work, and Ctrl-C.
//!
//! On a terminal an indicatif bar with ETA and the running metric; elsewhere (a log file, CI) a
//! plain line every few seconds, so that logs stay readable.

use crate::{Error, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Seconds between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// A flag that Ctrl-C sets. Clones share it; `default()` is one that only code sets.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs the process's SIGINT/SIGTERM handler: the first signal sets the flag, a second one
    /// ends the process at once.
    pub fn on_ctrl_c() -> Result<Self> {
        let flag = Self::default();
        let shared = flag.0.clone();
        ctrlc::set_handler(move || {
            if shared.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        })
        .map_err(|e| Error::Internal {
            context: "Ctrl-C handler".into(),
            message: e.to_string(),
        })?;
        Ok(flag)
    }

    /// Asks to stop, as Ctrl-C does.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked to stop.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A progress display on stderr; it counts steps and shows a message (the running metric).
pub struct Progress {
    bar: ProgressBar,
    label: String,
    plain: bool,
    started: Instant,
    last_line: Option<Instant>,
}

impl Progress {
    /// `total` steps of `label`.
    pub fn new(label: &str, total: u64) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if plain {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style =
            ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {elapsed}<{eta} {msg}");
        bar.set_style(style.unwrap_or_else(|_bad_template| ProgressStyle::default_bar()));
        bar.set_prefix(label.to_string());
        Self {
            bar,
            label: label.into(),
            plain,
            started: Instant::now(),
            last_line: None,
        }
    }

    /// Steps of `label`, nobody knows how many.
    pub fn counting(label: &str) -> Self {
        let progress = Self::new(label, 0);
        progress.bar.unset_length();
        let style = ProgressStyle::with_template("{prefix} {pos} {elapsed} {per_sec} {msg}");
        progress
            .bar
            .set_style(style.unwrap_or_else(|_bad_template| ProgressStyle::default_spinner()));
        progress
    }

    /// No output at all.
    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            label: String::new(),
            plain: false,
            started: Instant::now(),
            last_line: None,
        }
    }

    /// Jumps to `position` (resuming) without counting it as work done now.
    pub fn start_at(&self, position: u64) {
        self.bar.set_position(position);
        self.bar.reset_eta();
    }

    /// `n` more steps done; `message` is the running metric.
    pub fn advance(&mut self, n: u64, message: &str) {
        self.bar.inc(n);
        self.bar.set_message(message.to_string());
        let due = self.last_line.is_none_or(|at| at.elapsed() >= PLAIN_EVERY);
        if self.plain && due && self.started.elapsed() >= PLAIN_EVERY {
            self.last_line = Some(Instant::now());
            let (label, done) = (&self.label, self.bar.position());
            let line = match self.bar.length() {
                Some(total) => {
                    let eta = self.bar.eta().as_secs();
                    format!("{label} {done}/{total} eta {eta}s {message}")
                }
                None => format!("{label} {done} {message}"),
            };
            self.note(line.trim_end());
        }
    }

    /// Prints a line without breaking the bar.
    pub fn note(&self, line: &str) {
        if self.plain {
            // A closed stderr must not end the work.
            let _ = writeln!(std::io::stderr(), "{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
