//! A containerd of our own: started detached, adopted after an agent restart, restarted when it dies.
//!
//! It runs in a session of its own, so neither a `kill -9` of skiff nor the end of its terminal touches it or the
//! containers. What wakes the supervisor: the end of a connection it holds to containerd's ttrpc socket, which
//! works for a child and for an adopted process alike.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::ContainerRuntime;
use super::containerd_config::{self, ConfigInput, MissingProgram, Programs};
use super::cri::CriRuntime;
use crate::config::Config;
use crate::images::pause;
use crate::process::ProcessId;

/// Why containerd is not there.
#[derive(Debug, thiserror::Error)]
pub enum ContainerdError {
    /// A program is not installed.
    #[error(transparent)]
    Missing(#[from] MissingProgram),
    /// A file of its configuration or state cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It cannot be executed.
    #[error("cannot start {program}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It did not answer in time.
    #[error("containerd did not answer on {socket} within {seconds} s; its log is {log}")]
    NotReady {
        /// Its socket.
        socket: PathBuf,
        /// How long was waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
}

const READY_WITHIN: Duration = Duration::from_secs(30);
const LOG_LIMIT: u64 = 10 << 20;
/// How often what is left is looked for; each time there is less of it that could start anything.
const ROUNDS: usize = 10;

/// Paths and programs of our containerd.
#[derive(Debug, Clone)]
pub struct Containerd {
    programs: Programs,
    root: PathBuf,
    state: PathBuf,
    cni_conf: PathBuf,
}

impl Containerd {
    /// Finds the programs; fails with what to install.
    pub fn find(config: &Config) -> Result<Containerd, ContainerdError> {
        Ok(Containerd {
            programs: containerd_config::find_programs()?,
            root: config.data_dir.join("containerd"),
            state: config.run_dir.join("containerd"),
            cni_conf: config.data_dir.join("cni/net.d"),
        })
    }

    /// Its gRPC socket.
    pub fn socket(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.root.join("containerd.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.state.join("containerd.pid")
    }

    fn config_file(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Starts containerd, or adopts the one that runs already with the same configuration; returns once it answers.
    pub async fn start(&self) -> Result<(), ContainerdError> {
        for dir in [&self.root, &self.state, &self.cni_conf] {
            create_dir(dir)?;
        }
        let text = containerd_config::render(&ConfigInput {
            programs: &self.programs,
            root: &self.root,
            state: &self.state,
            cni_conf: &self.cni_conf,
            pause_image: &pause::image_name(),
            restrict_oom: !containerd_config::may_lower_oom_score(),
            snapshotter: containerd_config::snapshotter_for(&self.root),
        });
        let unchanged = std::fs::read_to_string(self.config_file()).is_ok_and(|old| old == text);
        if let Some(process) = self.running() {
            if unchanged {
                tracing::debug!(pid = process.pid, "adopted the running containerd");
                return self.wait_ready().await;
            }
            tracing::info!(pid = process.pid, "containerd's configuration changed, restarting it");
            process.end(Duration::from_secs(10)).await;
        }
        write(&self.config_file(), &text)?;
        self.spawn()?;
        self.wait_ready().await
    }

    fn spawn(&self) -> Result<(), ContainerdError> {
        let log = self.log();
        if std::fs::metadata(&log).is_ok_and(|meta| meta.len() > LOG_LIMIT) {
            let old = log.with_extension("log.1");
            std::fs::rename(&log, &old).map_err(|source| ContainerdError::Write { path: old, source })?;
        }
        let open = || std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let out = open().map_err(|source| ContainerdError::Write { path: log.clone(), source })?;
        let err = open().map_err(|source| ContainerdError::Write { path: log.clone(), source })?;
        let failed = |source| ContainerdError::Spawn { program: self.programs.containerd.clone(), source };
        // setsid(1) makes the session and then becomes containerd: the pid stays the same.
        let mut child = tokio::process::Command::new("setsid")
            .arg(&self.programs.containerd)
            .arg("--config")
            .arg(self.config_file())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(failed)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        if let Some(process) = ProcessId::of(pid) {
            write(&self.pid_file(), &format!("{} {}\n", process.pid, process.start))?;
        }
        // Reaps it when it ends; it is deliberately not killed when this task is dropped.
        tokio::spawn(async move {
            match child.wait().await {
                Ok(status) => tracing::debug!(%status, "containerd ended"),
                Err(error) => tracing::debug!(%error, "cannot wait for containerd"),
            }
        });
        Ok(())
    }

    /// The containerd of the pid file, if it still runs.
    fn running(&self) -> Option<ProcessId> {
        let text = std::fs::read_to_string(self.pid_file()).ok()?;
        let (pid, start) = text.trim().split_once(' ')?;
        let process = ProcessId { pid: pid.parse().ok()?, start: start.parse().ok()? };
        process.alive().then_some(process)
    }

    async fn wait_ready(&self) -> Result<(), ContainerdError> {
        let runtime = CriRuntime::new(&self.socket());
        let ready = async {
            let mut delay = Duration::from_millis(5);
            // There is no event for "the socket answers", hence short retries. Lists answer only once what ran
            // before has been recovered; Version does so earlier.
            loop {
                if UnixStream::connect(self.socket()).await.is_ok()
                    && runtime.list_sandboxes(None).await.is_ok()
                {
                    return;
                }
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(Duration::from_millis(25));
            }
        };
        tokio::time::timeout(READY_WITHIN, ready).await.map_err(|_| ContainerdError::NotReady {
            socket: self.socket(),
            seconds: READY_WITHIN.as_secs(),
            log: self.log(),
        })
    }

    /// Restarts containerd whenever it dies, until cancelled; leaves it running then.
    pub async fn supervise(self: Arc<Self>, stop: CancellationToken) {
        let mut delay = Duration::from_millis(200);
        loop {
            let since = tokio::time::Instant::now();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.ended() => {}
            }
            if since.elapsed() > Duration::from_secs(60) {
                delay = Duration::from_millis(200);
            }
            tracing::warn!(log = %self.log().display(), "containerd ended, starting it again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(delay) => delay = (delay * 2).min(Duration::from_secs(30)),
            }
            if let Err(error) = self.start().await {
                tracing::error!(error = &error as &dyn std::error::Error, "containerd does not start");
            }
        }
    }

    /// Returns when containerd's end of a connection closes, that is when its process is gone.
    async fn ended(&self) {
        let Ok(mut stream) = UnixStream::connect(self.state.join("containerd.sock.ttrpc")).await else {
            return;
        };
        let mut byte = [0u8; 1];
        match stream.read(&mut byte).await {
            Ok(_) | Err(_) => {}
        }
    }

    /// Ends containerd and whatever it has started that is no container: shims, runc, plugins. What it was starting
    /// does not get any further.
    pub async fn stop(&self) {
        let containerd = self.running();
        if let Some(process) = containerd {
            process.end(Duration::from_secs(10)).await;
        }
        // What one of them has started before it was ended is found in the next round.
        for _ in 0..ROUNDS {
            let left = self.left_overs(containerd);
            if left.is_empty() {
                break;
            }
            for process in left {
                tracing::debug!(pid = process.pid, "ending what containerd has left");
                process.kill().await;
            }
        }
        match std::fs::remove_file(self.pid_file()) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, path = %self.pid_file().display(), "cannot remove"),
        }
    }

    /// What runs of a containerd that has ended: all of its session, which containers are not in, and from sessions
    /// before it the shims and runcs that work on our state.
    fn left_overs(&self, containerd: Option<ProcessId>) -> Vec<ProcessId> {
        let ours = |process: &ProcessId| {
            if containerd.is_some_and(|leader| process.session() == Some(leader.pid)) {
                return true;
            }
            let arguments = process.arguments();
            let program = arguments.first().and_then(|program| Path::new(program).file_name());
            let known = program.is_some_and(|name| {
                Some(name) == self.programs.runc.file_name()
                    || name.to_string_lossy().starts_with("containerd-shim")
            });
            known && arguments.iter().skip(1).any(|argument| Path::new(argument).starts_with(&self.state))
        };
        ProcessId::all().into_iter().filter(ours).collect()
    }

    /// Whether a containerd of ours runs.
    pub fn is_running(&self) -> bool {
        self.running().is_some()
    }
}

fn create_dir(path: &Path) -> Result<(), ContainerdError> {
    std::fs::create_dir_all(path).map_err(|source| ContainerdError::Write { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str) -> Result<(), ContainerdError> {
    std::fs::write(path, text).map_err(|source| ContainerdError::Write { path: path.to_owned(), source })
}
