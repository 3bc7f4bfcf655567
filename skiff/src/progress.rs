//! Steps of a start, with their times: from the detached process to the terminal.

use std::io::Write;
use std::time::Instant;

/// Reports steps on standard output; nobody may be listening any more.
pub struct Progress {
    started: Instant,
    enabled: bool,
}

/// A line of progress.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Step {
    /// What is done.
    pub name: String,
    /// Milliseconds since the process started.
    pub at_ms: u64,
    /// Whether this was the last step.
    pub last: bool,
    /// Why it failed.
    pub error: Option<String>,
}

impl Progress {
    /// Starts the clock.
    pub fn new(enabled: bool) -> Self {
        Self { started: Instant::now(), enabled }
    }

    /// A step is done.
    pub fn step(&self, name: &str) {
        self.send(name, false, None);
    }

    /// Everything is done.
    pub fn done(&self, name: &str) {
        self.send(name, true, None);
    }

    /// It does not work.
    pub fn failed(&self, error: &str) {
        self.send("failed", true, Some(error.to_owned()));
    }

    fn send(&self, name: &str, last: bool, error: Option<String>) {
        let at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(step = name, at_ms, "start");
        if !self.enabled {
            return;
        }
        let step = Step { name: name.to_owned(), at_ms, last, error };
        if let Ok(line) = serde_json::to_string(&step) {
            let mut out = std::io::stdout().lock();
            // The parent may be gone: the start goes on without an audience.
            writeln!(out, "{line}").and_then(|()| out.flush()).unwrap_or_default();
        }
    }
}
