//! Runs programs with a deadline and keeps what they say.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program about to be run.
pub struct Run {
    command: Command,
    shown: String,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

/// What a program has said.
#[derive(Clone, Debug)]
pub struct Said {
    /// The command line, for messages.
    pub shown: String,
    /// Its exit code; -1 when it was ended by a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// A program with its arguments.
    pub fn new(program: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut command = Command::new(program);
        let mut shown = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for arg in args {
            shown.push(' ');
            shown.push_str(&arg.as_ref().to_string_lossy());
            command.arg(arg);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, shown, stdin: None, limit: Duration::from_secs(60) }
    }

    /// One more argument, such as one with blanks.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }
    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }
    /// What it reads.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self.command.stdin(Stdio::piped());
        self
    }
    /// How long it may take; a minute when nothing is said.
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Result<Said> {
        let mut child = self.command.spawn().with_context(|| format!("starting {}", self.shown))?;
        if let (Some(input), Some(mut pipe)) = (self.stdin.take(), child.stdin.take()) {
            // A program that does not read to the end closes the pipe: its exit code says why.
            thread::spawn(move || drop(pipe.write_all(&input)));
        }
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let deadline = Instant::now() + self.limit;
        let status = loop {
            if let Some(status) = child.try_wait().context("waiting")? {
                break Some(status);
            }
            if Instant::now() >= deadline {
                child.kill().context("killing")?;
                child.wait().context("waiting")?;
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let said = Said {
            shown: self.shown,
            code: status.and_then(|s| s.code()).unwrap_or(-1),
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
        };
        if status.is_none() {
            bail!("{said} did not end within {} s", self.limit.as_secs());
        }
        Ok(said)
    }

    /// Runs it; its output when it succeeds.
    pub fn ok(self) -> Result<String> {
        let said = self.run()?;
        if said.code != 0 {
            bail!("{said}");
        }
        Ok(said.stdout)
    }

    /// Runs it; its errors when it fails, as it should.
    pub fn fails(self) -> Result<String> {
        let said = self.run()?;
        if said.code == 0 {
            bail!("expected to fail: {said}");
        }
        Ok(said.stderr)
    }

    /// Starts it and reads its output line by line.
    pub fn start(mut self) -> Result<Background> {
        let mut child = self.command.spawn().with_context(|| format!("starting {}", self.shown))?;
        running().insert(child.id());
        let lines = Arc::new(Mutex::new(Vec::new()));
        for pipe in [
            child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>),
            child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>),
        ] {
            let (Some(pipe), lines) = (pipe, lines.clone()) else { continue };
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            });
        }
        Ok(Background { child, lines, shown: self.shown })
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error is what there is to see.
            let _seen = pipe.read_to_end(&mut all);
        }
        String::from_utf8_lossy(&all).into_owned()
    })
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` exit {}\n--- stdout\n{}\n--- stderr\n{}",
            self.shown, self.code, self.stdout, self.stderr
        )
    }
}

/// Programs that run beside the tests.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends all programs that run beside the tests, after a signal.
pub fn end_all() {
    for &pid in running().iter() {
        // It may have ended by itself; its number is not used again before its owner has waited for it.
        let _gone = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

/// A program that runs beside the test; killed when dropped.
pub struct Background {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    shown: String,
}

impl Background {
    /// What it has printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Waits until a line contains a text.
    pub fn wait_line(&self, text: &str, limit: Duration) -> Result<String> {
        crate::eventually(&format!("`{}` prints {text:?}", self.shown), limit, || {
            let lines = self.lines();
            lines.iter().find(|l| l.contains(text)).cloned().with_context(|| lines.join("\n"))
        })
    }
    /// Waits until it ends by itself.
    pub fn wait_end(&mut self, limit: Duration) -> Result<i32> {
        let shown = self.shown.clone();
        crate::eventually(&format!("`{shown}` ends"), limit, || {
            let status = self.child.try_wait()?.context("it runs")?;
            running().remove(&self.child.id());
            Ok(status.code().unwrap_or(-1))
        })
    }
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        running().remove(&self.child.id());
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
