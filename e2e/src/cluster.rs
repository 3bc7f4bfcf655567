//! A whole cluster of one node, started with `skiff up`, taken down when dropped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Api;
use crate::kubectl::Run;
use crate::needs;
use crate::slot::Slot;

/// A running cluster.
pub struct Cluster {
    slot: Slot,
    skiff: PathBuf,
    kubectl: PathBuf,
    extra: Vec<String>,
    down: AtomicBool,
    /// How long `skiff up` took.
    pub took: Duration,
    /// What it said.
    said: String,
}

impl Cluster {
    /// A cluster that may or may not run.
    fn at(slot: Slot, extra: &[&str]) -> Result<Self> {
        Ok(Self {
            slot,
            skiff: needs::skiff()?,
            kubectl: needs::kubectl()?,
            extra: extra.iter().map(|&s| s.to_owned()).collect(),
            down: AtomicBool::new(false),
            took: Duration::ZERO,
            said: String::new(),
        })
    }

    /// Cleans a place whose owner was interrupted while starting.
    pub fn abandon(slot: Slot) -> Result<()> {
        Self::at(slot, &[])?.take_down()
    }

    /// Starts a cluster; `extra` are further options of `skiff up`.
    pub fn up(slot: Slot, extra: &[&str]) -> Result<Self> {
        let mut cluster = Self::at(slot, extra)?;
        if cluster.dir().exists() {
            // A killed test has left it.
            cluster.take_down().context("cleaning what an earlier run has left")?;
            cluster.down.store(false, Ordering::SeqCst);
        }
        std::fs::create_dir_all(cluster.dir())
            .with_context(|| format!("making {}", cluster.dir().display()))?;
        let started = Instant::now();
        cluster.said = cluster.start()?;
        cluster.took = started.elapsed();
        Ok(cluster)
    }

    /// Seconds after which `skiff up` told a step.
    pub fn step(&self, name: &str) -> Option<f64> {
        let line = self.said.lines().find(|l| l.trim_end().ends_with(name))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Runs `skiff up`, first or again.
    pub fn start(&self) -> Result<String> {
        let slot = &self.slot;
        let mut args = vec!["up".to_owned()];
        args.extend(self.node_options());
        args.extend(
            [
                ("--port", slot.api_port().to_string()),
                ("--service-cidr", slot.service_cidr()),
                ("--cluster-cidr", slot.cluster_cidr()),
                ("--node-ports", slot.node_ports()),
            ]
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]),
        );
        args.push("--no-kubeconfig".into());
        args.extend(self.extra.iter().cloned());
        self.skiff(args).limit(90).ok()
    }

    /// Options that `up`, `down` and others share.
    fn node_options(&self) -> Vec<String> {
        let (slot, dir) = (&self.slot, self.dir());
        let path = |name: &str| dir.join(name).display().to_string();
        [
            ("--data-dir", path("data")),
            ("--run-dir", path("run")),
            ("--pod-log-dir", path("logs")),
            ("--agent-port", slot.agent_port().to_string()),
            ("--bridge", slot.bridge()),
            ("--cgroup-root", slot.name()),
            ("--service-table", slot.name()),
            ("--cluster-dns", slot.cluster_dns()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }

    fn skiff(&self, args: Vec<String>) -> Run {
        // Nothing of the user's is touched.
        Run::new(&self.skiff, args).env("HOME", self.dir())
    }

    /// Imports the archives of the demo image.
    pub fn import_images(&self) -> Result<()> {
        for archive in needs::images()? {
            let dir = self.dir();
            Run::new(&self.skiff, ["image", "import", "--data-dir"])
                .arg(dir.join("data"))
                .arg("--run-dir")
                .arg(dir.join("run"))
                .arg(archive)
                .ok()?;
        }
        Ok(())
    }

    /// Directory of everything.
    pub fn dir(&self) -> PathBuf {
        self.slot.dir()
    }
    /// The slot on this machine.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("data/admin.kubeconfig")
    }
    /// The log of the detached process.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("data/skiff.log")).unwrap_or_default()
    }
    /// The runtime's socket.
    pub fn runtime_socket(&self) -> PathBuf {
        self.dir().join("run/containerd/containerd.sock")
    }
    /// An API client with the administrator's identity.
    pub fn api(&self) -> Result<Api> {
        Api::from_kubeconfig(&self.kubeconfig())
    }

    /// kubectl with blank-separated arguments.
    pub fn k(&self, args: &str) -> Run {
        self.kubectl_of(&self.kubectl, args)
    }
    /// A certain kubectl.
    pub fn kubectl_of(&self, program: &Path, args: &str) -> Run {
        Run::new(program, args.split_whitespace())
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.dir())
    }
    /// A namespace for one test; deleted when dropped.
    pub fn namespace(&self, name: &str) -> Result<Namespace<'_>> {
        self.k(&format!("create namespace {name}")).ok()?;
        Ok(Namespace { cluster: self, name: name.to_owned() })
    }
    /// The same cluster seen through another kubectl.
    pub fn program(&self) -> &Path {
        &self.kubectl
    }

    /// The detached process.
    pub fn pid(&self) -> Result<i32> {
        let data = self.dir().join("data");
        let needle = format!("--data-dir\0{}\0", data.display());
        for entry in std::fs::read_dir("/proc").context("listing processes")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            if line.contains(&needle) && line.contains("\0run\0") {
                return Ok(pid);
            }
        }
        bail!("no process runs on {}", data.display())
    }

    /// `kill -9` of the whole process; returns when it is gone.
    pub fn kill(&self) -> Result<()> {
        let pid = self.pid()?;
        kill(Pid::from_raw(pid), Signal::SIGKILL).context("killing skiff")?;
        crate::eventually("the killed process is gone", Duration::from_secs(10), || match self.pid() {
            Ok(pid) => bail!("process {pid} runs"),
            Err(_) => Ok(()),
        })
    }

    /// Takes everything down; safe to call again.
    pub fn take_down(&self) -> Result<()> {
        if self.down.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let keep = std::env::var_os("SKIFF_E2E_KEEP_LOG");
        if let Some(to) = keep {
            std::fs::write(&to, self.log()).with_context(|| format!("keeping the log in {to:?}"))?;
        }
        let mut args = vec!["down".to_owned(), "--purge".to_owned()];
        args.extend(self.node_options());
        let down = self.skiff(args).limit(90).ok();
        let removed = match std::fs::remove_dir_all(self.dir()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", self.dir().display()))
            }
            _ => Ok(()),
        };
        down.and(removed.map(|()| String::new())).map(|_| ())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(e) = self.take_down() {
            eprintln!("taking the cluster down: {e:#}");
        }
    }
}

/// A namespace of one test.
pub struct Namespace<'a> {
    /// The cluster it is in.
    pub cluster: &'a Cluster,
    /// Its name.
    pub name: String,
}

impl Namespace<'_> {
    /// kubectl in this namespace.
    pub fn k(&self, args: &str) -> Run {
        self.k_of(self.cluster.program(), args)
    }
    /// A certain kubectl in this namespace.
    pub fn k_of(&self, program: &Path, args: &str) -> Run {
        Run::new(program, ["-n", &self.name].into_iter().chain(args.split_whitespace()))
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("HOME", self.cluster.dir())
    }
    /// Applies a manifest.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.k("apply -f -").stdin(yaml).ok()
    }
    /// One field of an object.
    pub fn field(&self, what: &str, path: &str) -> Result<String> {
        self.k(&format!("get {what}")).arg("-o").arg(format!("jsonpath={path}")).ok()
    }
    /// Waits until a field has a value.
    pub fn wait_field(&self, what: &str, path: &str, value: &str, limit: u64) -> Result<()> {
        crate::eventually(&format!("{what} {path} is {value:?}"), Duration::from_secs(limit), || {
            let now = self.field(what, path)?;
            anyhow::ensure!(now == value, "it is {now:?}");
            Ok(())
        })
        .with_context(|| self.state())
    }
    /// Everything worth knowing when something went wrong.
    pub fn state(&self) -> String {
        let pods = self.k("get all,endpointslices -o wide").run().map(|s| s.stdout).unwrap_or_default();
        let events = self.k("get events --sort-by=.metadata.creationTimestamp").run();
        let events = events.map(|s| s.stdout).unwrap_or_default();
        let tail: Vec<_> = events.lines().rev().take(15).collect();
        format!(
            "state of namespace {}:\n{pods}\n{}",
            self.name,
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        )
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if self.cluster.down.load(Ordering::SeqCst) {
            return;
        }
        if let Err(e) =
            self.cluster.k(&format!("delete namespace {} --wait=false --ignore-not-found", self.name)).ok()
        {
            eprintln!("deleting namespace {}: {e:#}", self.name);
        }
    }
}
