//! The one error type of the workspace, and the guard that turns a panic into one.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, Once},
};

/// Shorthand for results of this workspace.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Each message says what was wrong, where, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, value or tensor from outside is not what it should be.
    #[error("{location}: {what}; expected {expected}")]
    Input {
        /// What is wrong, with the offending value.
        what: String,
        /// Where: a path, a line, a field.
        location: String,
        /// What would have been right.
        expected: String,
    },
    /// A name that is in none of our lists.
    #[error("unknown {kind} '{name}'{}; known: {}", near(.name, .known), .known.join(", "))]
    Unknown {
        /// What kind of name it is ("recipe", "key", "architecture").
        kind: &'static str,
        /// The name as given.
        name: String,
        /// Every name that would have been right.
        known: Vec<String>,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// A verb: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// A verb that this task does not have.
    #[error("task '{task}' has no {verb}; see `info` for what it offers")]
    Unsupported {
        /// The task.
        task: String,
        /// The verb.
        verb: &'static str,
    },
    /// A checkpoint does not fit its model.
    #[error("{}: {report}", path.display())]
    Weights {
        /// The checkpoint.
        path: PathBuf,
        /// Readable list of missing, unexpected and mis-shaped keys.
        report: String,
    },
    /// The data gate refused a data set.
    #[error(
        "{location}: the data gate found {count} error(s): {report}; fix them or pass --accept-data-issues"
    )]
    Data {
        /// The data set.
        location: String,
        /// Number of findings at level "error".
        count: usize,
        /// The findings, shortened.
        report: String,
    },
    /// Training cannot go on.
    #[error("training stopped at step {step}: {what}; last good checkpoint: {}", checkpoint.as_ref().map_or("none".into(), |p| p.display().to_string()))]
    Training {
        /// Optimiser step, from 1.
        step: u64,
        /// What happened.
        what: String,
        /// Where to resume from.
        checkpoint: Option<PathBuf>,
    },
    /// The user pressed Ctrl-C.
    #[error("interrupted; {resume}")]
    Interrupted {
        /// How to go on ("resume with --resume runs/a").
        resume: String,
    },
    /// A defect of ours: a panic below a task, or a broken invariant.
    #[error("internal error in {context}: {message}")]
    Internal {
        /// What was being done.
        context: String,
        /// The panic's message and place.
        message: String,
    },
}

impl Error {
    /// A wrong value from outside.
    pub fn input(
        location: impl Into<String>,
        what: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Input {
            what: what.into(),
            location: location.into(),
            expected: expected.into(),
        }
    }

    /// An operating-system error at `path`; `action` is a verb ("read").
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    /// A name outside a closed list; the message suggests the nearest one.
    pub fn unknown<S: Into<String>>(
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::Unknown {
            kind,
            name: name.into(),
            known: known.into_iter().map(Into::into).collect(),
        }
    }

    /// Process exit code: 2 for wrong usage or input, 130 after Ctrl-C, 1 for a failure of ours.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Internal { .. } | Self::Training { .. } => 1,
            Self::Interrupted { .. } => 130,
            _ => 2,
        }
    }
}

/// `" (did you mean 'x'?)"`, or nothing if no known name is near.
fn near(name: &str, known: &[String]) -> String {
    known
        .iter()
        .map(|k| (strsim::jaro_winkler(name, k), k))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, k)| format!(" (did you mean '{k}'?)"))
}

/// The last panic of a thread outside a guard, with its place: a worker thread hands its panic on to
/// the guarded thread that waits for it, but without the place.
static WORKER_PANIC: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static GUARDED: RefCell<usize> = const { RefCell::new(0) };
}

/// Runs `f`; a panic inside it becomes [`Error::Internal`] with its message and source line.
///
/// burn panics on shape slips (it has no fallible forward), so every edge that outside input
/// crosses goes through here. Threads outside the guard keep the panic output of the process.
pub fn guard<T>(context: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.with(|g| *g.borrow()) > 0 {
                LAST_PANIC.with(|p| *p.borrow_mut() = Some(info.to_string().replace('\n', " ")));
            } else {
                if let Ok(mut last) = WORKER_PANIC.lock() {
                    *last = Some(info.to_string().replace('\n', " "));
                }
                default(info);
            }
        }));
    });
    GUARDED.with(|g| *g.borrow_mut() += 1);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    GUARDED.with(|g| *g.borrow_mut() -= 1);
    outcome.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        let in_worker = || {
            let worker = WORKER_PANIC.lock().ok()?.take()?;
            let same = text
                .as_ref()
                .is_some_and(|text| worker.contains(text.as_str()));
            same.then_some(worker)
        };
        let message = LAST_PANIC
            .with(|p| p.borrow_mut().take())
            .or_else(in_worker)
            .or_else(|| text.clone())
            .unwrap_or_else(|| "panic without a message".into());
        Err(Error::Internal {
            context: context.into(),
            message,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let e = guard("unit test", || -> Result<()> {
            panic!("shape {} != {}", 2, 3)
        })
        .unwrap_err();
        let text = e.to_string();
        assert!(
            text.contains("unit test") && text.contains("shape 2 != 3"),
            "{text}"
        );
        assert_eq!(e.exit_code(), 1);
    }

    #[test]
    fn a_panic_of_a_worker_thread_keeps_its_place() {
        let e = guard("unit test", || -> Result<()> {
            let worker = std::thread::spawn(|| panic!("pixel {} of {}", 3, 2));
            std::panic::resume_unwind(worker.join().unwrap_err())
        });
        let text = e.unwrap_err().to_string();
        assert!(
            text.contains("pixel 3 of 2") && text.contains("error.rs"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let e = Error::unknown("recipe", "debgu", ["debug", "base"]);
        assert_eq!(
            e.to_string(),
            "unknown recipe 'debgu' (did you mean 'debug'?); known: debug, base"
        );
        assert_eq!(e.exit_code(), 2);
    }
}
