//! What is measured: our API server alone, on either store, or upstream's beside it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::kubectl::{Background, Run};
use e2e::needs;
use e2e::slot::Slot;
use tokio::runtime::Runtime;

use super::wire::{Call, Wire};

/// How long a server may take to start on much data.
const READY: Duration = Duration::from_secs(120);

/// Which server on which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Embedded,
    Etcd,
    Upstream,
}

/// What a client is known by.
pub struct Files {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A running server with its store.
pub struct Target {
    pub kind: Kind,
    pub wire: Wire,
    slot: Slot,
    // Ended in this order: the server before its store.
    server: Option<Background>,
    _etcd: Option<Background>,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Etcd => "etcd",
            Self::Upstream => "upstream",
        }
    }
}

/// Where upstream's server is, when it was built.
pub fn upstream() -> Option<PathBuf> {
    let path = std::env::var_os("UPSTREAM_APISERVER").map(PathBuf::from)?;
    path.is_file().then_some(path)
}

impl Target {
    /// Starts one on empty data.
    pub fn start(kind: Kind, runtime: &Runtime) -> Result<Self> {
        let slot = Slot::take()?;
        let dir = slot.dir();
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        if kind == Kind::Upstream {
            // Its certificates are those that our server makes for itself.
            let mut ours = Run::new(&needs::skiff()?, skiff_options(&slot, Kind::Embedded)).start()?;
            let made = dir.join("data/admin.kubeconfig");
            e2e::eventually("certificates are made", Duration::from_secs(20), || {
                ensure!(made.exists(), "not yet");
                Ok(())
            })?;
            end(&mut ours)?;
        }
        let etcd = (kind != Kind::Embedded).then(|| start_etcd(&slot)).transpose()?;
        let server = start_server(kind, &slot)?;
        // Certificates come with the first start.
        let pki = dir.join("data/pki");
        let files = Files { ca: pki.join("ca.crt"), cert: pki.join("admin.crt"), key: pki.join("admin.key") };
        let port = slot.api_port();
        let wire = e2e::eventually("certificates are there", Duration::from_secs(20), || {
            Wire::new(&files, port).with_context(|| server.lines().join("\n"))
        })?;
        let mut target = Self { kind, wire, slot, server: Some(server), _etcd: etcd };
        target.ready(runtime)?;
        // Upstream is ready before it has made them.
        for space in ["default", "kube-public", "kube-node-lease"] {
            e2e::eventually(&format!("namespace {space} is there"), Duration::from_secs(30), || {
                let path = format!("/api/v1/namespaces/{space}");
                runtime.block_on(target.wire.once(Call::get(path)))?.success().map(|_| ())
            })?;
        }
        Ok(target)
    }

    /// Waits until it says that it is ready.
    fn ready(&mut self, runtime: &Runtime) -> Result<()> {
        let server = self.server.as_mut().context("no server runs")?;
        let began = Instant::now();
        loop {
            let last = match runtime.block_on(self.wire.once(Call::get("/readyz"))) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
                Err(e) => format!("{e:#}"),
            };
            if let Ok(code) = server.wait_end(Duration::ZERO) {
                bail!("the server has ended with {code}: {}", server.lines().join("\n"));
            }
            let said = || server.lines().join("\n");
            ensure!(began.elapsed() < READY, "the server is not ready: {last}\n{}", said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the server and starts it again on its data: how long until it is ready.
    pub fn restart(&mut self, runtime: &Runtime) -> Result<Duration> {
        if let Some(mut server) = self.server.take() {
            end(&mut server)?;
        }
        let began = Instant::now();
        self.server = Some(start_server(self.kind, &self.slot)?);
        self.ready(runtime)?;
        Ok(began.elapsed())
    }

    /// The server's process.
    pub fn pid(&self) -> Result<i32> {
        let pid = self.server.as_ref().map(Background::pid).context("no server runs")?;
        i32::try_from(pid).context("no process number")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(self.server.take());
        drop(self._etcd.take());
        if let Err(e) = std::fs::remove_dir_all(self.slot.dir()) {
            eprintln!("removing {}: {e}", self.slot.dir().display());
        }
    }
}

/// Ends a program politely.
fn end(program: &mut Background) -> Result<()> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(program.pid())?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).context("ending a server")?;
    program.wait_end(Duration::from_secs(60)).map(|_| ())
}

fn url(slot: &Slot, n: u16) -> String {
    format!("http://127.0.0.1:{}", slot.spare_port(n))
}

fn start_etcd(slot: &Slot) -> Result<Background> {
    let Some(program) = needs::program("etcd") else { bail!("etcd is not installed") };
    let (client, peer) = (url(slot, 0), url(slot, 1));
    let args = [
        ("--data-dir", slot.dir().join("etcd").display().to_string()),
        ("--listen-client-urls", client.clone()),
        ("--advertise-client-urls", client),
        ("--listen-peer-urls", peer.clone()),
        ("--initial-advertise-peer-urls", peer.clone()),
        ("--initial-cluster", format!("default={peer}")),
        ("--quota-backend-bytes", (8u64 << 30).to_string()),
    ];
    Run::new(&program, pairs(&args)).start()
}

fn start_server(kind: Kind, slot: &Slot) -> Result<Background> {
    if kind != Kind::Upstream {
        return Run::new(&needs::skiff()?, skiff_options(slot, kind)).start();
    }
    let program = upstream().context("UPSTREAM_APISERVER names no program")?;
    Run::new(&program, upstream_options(slot)).start()
}

fn pairs(args: &[(&str, String)]) -> Vec<String> {
    args.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn skiff_options(slot: &Slot, kind: Kind) -> Vec<String> {
    let dir = slot.dir();
    let mut args = vec!["apiserver".to_owned()];
    args.extend(pairs(&[
        ("--data-dir", dir.join("data").display().to_string()),
        ("--run-dir", dir.join("run").display().to_string()),
        ("--bind-address", "127.0.0.1".into()),
        ("--advertise-address", "127.0.0.1".into()),
        ("--port", slot.api_port().to_string()),
        ("--service-cidr", slot.service_cidr()),
    ]));
    if kind == Kind::Etcd {
        args.extend(pairs(&[("--etcd-endpoints", url(slot, 0))]));
    }
    args
}

/// As upstream's are run: RBAC, TLS, its default admission.
fn upstream_options(slot: &Slot) -> Vec<String> {
    let pki = slot.dir().join("data/pki");
    let file = |name: &str| shown(&pki.join(name));
    pairs(&[
        ("--etcd-servers", url(slot, 0)),
        ("--secure-port", slot.api_port().to_string()),
        ("--bind-address", "127.0.0.1".into()),
        ("--advertise-address", "127.0.0.1".into()),
        ("--tls-cert-file", file("apiserver.crt")),
        ("--tls-private-key-file", file("apiserver.key")),
        ("--client-ca-file", file("ca.crt")),
        // Our key of service accounts has a form that 1.20 does not read; no token is made here.
        ("--service-account-key-file", file("apiserver.crt")),
        ("--service-account-signing-key-file", file("apiserver.key")),
        ("--service-account-issuer", "https://kubernetes.default.svc.cluster.local".into()),
        ("--service-cluster-ip-range", slot.service_cidr()),
        ("--authorization-mode", "Node,RBAC".into()),
        ("--cert-dir", shown(&slot.dir().join("upstream"))),
    ])
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
