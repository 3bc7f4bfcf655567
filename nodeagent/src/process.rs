//! Processes that are not children of this one.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long the kernel may take to end a killed process.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// A process known by pid and start time, so that a reused pid is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it was started, in clock ticks since boot.
    pub start: u64,
}

impl ProcessId {
    /// The process with this number, unless it has ended.
    pub fn of(pid: i32) -> Option<ProcessId> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let rest = stat.rsplit_once(')')?.1;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let start = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(ProcessId { pid, start })
    }

    /// All processes that this one can see.
    pub fn all() -> Vec<ProcessId> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(ProcessId::of).collect()
    }

    /// The process that began the session it is in.
    pub fn session(self) -> Option<i32> {
        nix::unistd::getsid(Some(Pid::from_raw(self.pid))).ok().map(Pid::as_raw)
    }

    /// What it was started with, its program first; nothing where it cannot be seen.
    pub fn arguments(self) -> Vec<String> {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let line = line.strip_suffix(&[0]).unwrap_or(&line);
        line.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    }

    /// Whether it still runs.
    pub fn alive(self) -> bool {
        ProcessId::of(self.pid) == Some(self)
    }

    /// SIGTERM, after `grace` SIGKILL; returns when the process is gone.
    pub async fn end(self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if !self.gone_within(grace).await {
            self.kill().await;
        }
    }

    /// SIGKILL; returns when the process is gone.
    pub async fn kill(self) {
        self.signal(Signal::SIGKILL);
        if !self.gone_within(KILLED_WITHIN).await {
            tracing::warn!(pid = self.pid, "the killed process does not end");
        }
    }

    fn signal(self, signal: Signal) {
        if self.alive()
            && let Err(error) = kill(Pid::from_raw(self.pid), signal)
        {
            tracing::debug!(pid = self.pid, %error, "cannot signal");
        }
    }

    // Only a parent is told of an end, hence short looks.
    async fn gone_within(self, limit: Duration) -> bool {
        let gone = async {
            while self.alive() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(limit, gone).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start_time() {
        let me = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(me.alive());
        assert!(!ProcessId { start: me.start + 1, ..me }.alive());
        assert!(ProcessId::all().contains(&me));
        assert!(me.session().is_some());
        let arguments: Vec<String> = std::env::args().collect();
        assert_eq!(me.arguments(), arguments);
    }
}
