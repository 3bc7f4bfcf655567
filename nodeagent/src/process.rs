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
    /// The process with this number, unless it has ended: with all its threads, of which the first may be the first to
    /// go and is a zombie until the last has gone.
    pub fn of(pid: i32) -> Option<ProcessId> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let rest = stat.rsplit_once(')')?.1;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let threads: u32 = fields.nth(16)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        (state != "Z" || threads > 1).then_some(ProcessId { pid, start })
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
pub(crate) mod tests {
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process of which the first thread has ended, after it wrote its pid to the file, and another goes on; none
    /// without a whole python3.
    pub(crate) fn without_its_first_thread(pid_file: &Path) -> Option<Child> {
        let program = r#"
import ctypes, os, platform, sys, threading, time
open(sys.argv[1], "w").write(str(os.getpid()))
def report_and_sleep():
    while "State:\tZ" not in open("/proc/self/status").read():
        time.sleep(0.001)
    print("ready", flush=True)
    time.sleep(600)
threading.Thread(target=report_and_sleep).start()
exit_of_a_thread = {"x86_64": 60, "aarch64": 93}[platform.machine()]
ctypes.CDLL(None).syscall(exit_of_a_thread, 0)
"#;
        let mut command = Command::new("python3");
        command.args(["-c", program]).arg(pid_file);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).unwrap();
        if line.trim() != "ready" {
            // A python3 without its standard library.
            child.wait().unwrap();
            return None;
        }
        Some(child)
    }

    #[tokio::test]
    async fn a_process_lives_as_long_as_its_last_thread() {
        let Some(mut child) = without_its_first_thread(Path::new("/dev/null")) else {
            api_types::testing::skipped("there is no whole python3 to start one with");
            return;
        };
        let process = ProcessId::of(child.id() as i32).expect("it still runs");
        process.kill().await;
        assert!(!process.alive(), "a zombie is no process any more");
        assert!(!child.wait().unwrap().success());
    }

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
