//! An etcd of one member or several, each of which can be killed, started again, and have its disk stall.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::kubectl::{Background, Run};
use crate::needs::{self, Skip};
use crate::slot::Slot;
use crate::wait::seconds;

/// A running etcd; its members are killed and what they have written is removed when it is dropped.
pub struct Etcd {
    program: PathBuf,
    members: Vec<Member>,
    slot: Slot,
}

struct Member {
    dir: PathBuf,
    client: u16,
    peer: u16,
    process: Option<Background>,
    disk: Option<Disk>,
}

/// The etcd on PATH (3.4 on Debian 12), or a pinned one such as "3.5".
pub fn program(version: Option<&str>) -> Result<PathBuf, Skip> {
    let Some(version) = version else {
        return needs::program("etcd").ok_or_else(|| Skip("etcd is not installed (etcd-server)".into()));
    };
    needs::pinned("etcd", version)
}

impl Etcd {
    /// Starts so many members of `version` (see [`program`]).
    pub fn up(version: Option<&str>, members: u16) -> Result<Self> {
        Self::with_disks(version, members, false)
    }

    /// The same, each on a file system of its own that can be frozen.
    pub fn with_disks(version: Option<&str>, members: u16, disks: bool) -> Result<Self> {
        let program = program(version)?;
        let slot = Slot::take()?;
        if slot.dir().exists() {
            Disk::release_below(&slot.dir())?;
            std::fs::remove_dir_all(slot.dir())?;
        }
        let mut etcd = Self { program, members: Vec::new(), slot };
        for n in 0..members {
            let dir = etcd.slot.dir().join(format!("m{n}"));
            std::fs::create_dir_all(&dir)?;
            let disk = if disks { Some(Disk::make(&dir)?) } else { None };
            let (client, peer) = (etcd.slot.spare_port(2 * n), etcd.slot.spare_port(2 * n + 1));
            etcd.members.push(Member { dir, client, peer, process: None, disk });
        }
        for n in 0..etcd.members.len() {
            etcd.spawn(n)?;
        }
        for n in 0..etcd.members.len() {
            etcd.wait_healthy(n)?;
        }
        Ok(etcd)
    }

    /// What `--etcd-endpoints` takes.
    pub fn endpoints(&self) -> String {
        let urls: Vec<String> =
            self.members.iter().map(|m| format!("http://127.0.0.1:{}", m.client)).collect();
        urls.join(",")
    }

    fn spawn(&mut self, n: usize) -> Result<()> {
        let peers: Vec<String> = (self.members.iter().enumerate())
            .map(|(i, m)| format!("m{i}=http://127.0.0.1:{}", m.peer))
            .collect();
        let member = &mut self.members[n];
        let (client, peer) =
            (format!("http://127.0.0.1:{}", member.client), format!("http://127.0.0.1:{}", member.peer));
        let (name, cluster) = (format!("m{n}"), peers.join(","));
        let args = ["--name", &name, "--listen-client-urls", &client, "--advertise-client-urls", &client];
        let args =
            args.into_iter().chain(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        let args = args.chain(["--initial-cluster", &cluster, "--data-dir"]);
        member.process = Some(Run::new(&self.program, args).arg(member.dir.join("data")).start()?);
        Ok(())
    }

    fn wait_healthy(&self, n: usize) -> Result<()> {
        let healthy = crate::eventually("etcd answers", seconds(30), || {
            let health = crate::load::get(self.address(n), "/health")?;
            ensure!(health.contains("true"), "{health}");
            Ok(())
        });
        let process = self.members[n].process.as_ref();
        healthy.with_context(|| process.map(|p| p.lines().join("\n")).unwrap_or_default())
    }

    /// Starts a member that was killed.
    pub fn start(&mut self, n: usize) -> Result<()> {
        self.spawn(n)?;
        self.wait_healthy(n)
    }

    /// `kill -9`, at once.
    pub fn kill(&mut self, n: usize) {
        self.members[n].process = None;
    }

    /// Which member leads, as another than `but` knows it.
    pub fn leader(&self, but: Option<usize>) -> Result<usize> {
        crate::eventually("a member leads", seconds(30), || {
            let known: Vec<(usize, String, String)> = (0..self.members.len())
                .filter(|n| Some(*n) != but && self.members[*n].process.is_some())
                .map(|n| self.status(n).map(|(own, leader)| (n, own, leader)))
                .collect::<Result<_>>()?;
            let leaders: Vec<usize> =
                known.iter().filter(|(_, own, leader)| own == leader).map(|(n, ..)| *n).collect();
            let agreed = known.windows(2).all(|w| w[0].2 == w[1].2);
            ensure!(agreed && leaders.len() == 1, "{known:?}");
            Ok(leaders[0])
        })
    }

    /// Makes another member lead, in an orderly way; gives the new leader.
    pub fn move_leader(&self) -> Result<usize> {
        let old = self.leader(None)?;
        let new = (old + 1) % self.members.len();
        let body = format!("{{\"targetID\":\"{}\"}}", self.status(new)?.0);
        crate::load::post(self.address(old), "/v3/maintenance/transfer-leadership", &body)?;
        crate::eventually("another member leads", seconds(30), || {
            let now = self.leader(None)?;
            ensure!(now == new, "it is {now}");
            Ok(now)
        })
    }

    fn address(&self, n: usize) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.members[n].client).into()
    }

    /// A member's own number and that of the one it believes to lead.
    fn status(&self, n: usize) -> Result<(String, String)> {
        let answer = crate::load::post(self.address(n), "/v3/maintenance/status", "{}")?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let text = |at: &str| answer.pointer(at).and_then(serde_json::Value::as_str).unwrap_or("").to_owned();
        let (own, leader) = (text("/header/member_id"), text("/leader"));
        ensure!(!own.is_empty() && !leader.is_empty() && leader != "0", "{answer}");
        Ok((own, leader))
    }

    /// Lets nothing be written to a member's disk any more.
    pub fn freeze(&self, n: usize) -> Result<()> {
        self.members[n].disk.as_ref().context("the member has no disk of its own")?.set("--freeze")
    }

    /// Lets it be written again.
    pub fn thaw(&self, n: usize) -> Result<()> {
        self.members[n].disk.as_ref().context("the member has no disk of its own")?.set("--unfreeze")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // A process that waits for a frozen disk cannot be ended.
            if let Some(disk) = &member.disk {
                disk.melt();
            }
            member.process = None;
            member.disk = None;
        }
        if let Err(e) = std::fs::remove_dir_all(self.slot.dir()) {
            eprintln!("removing {}: {e}", self.slot.dir().display());
        }
    }
}

/// A file system in a file.
struct Disk {
    mount: PathBuf,
}

impl Disk {
    /// Why there can be none.
    fn possible() -> Result<(), Skip> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Skip("mounting a file system needs root".into()));
        }
        for name in ["mkfs.ext4", "fsfreeze", "mount", "umount"] {
            if needs::program(name).is_none() {
                return Err(Skip(format!("{name} is not installed (e2fsprogs, util-linux)")));
            }
        }
        Ok(())
    }

    fn make(mount: &Path) -> Result<Self> {
        Self::possible()?;
        let file = mount.with_extension("img");
        std::fs::File::create(&file)?.set_len(256 << 20)?;
        run("mkfs.ext4", &["-q", "-F", &file.display().to_string()])?;
        run("mount", &["-o", "loop", &file.display().to_string(), &mount.display().to_string()])?;
        Ok(Self { mount: mount.to_owned() })
    }

    fn set(&self, how: &str) -> Result<()> {
        run("fsfreeze", &[how, &self.mount.display().to_string()])
    }

    /// Thaws it if it is frozen; an error says that it is not.
    fn melt(&self) {
        drop(self.set("--unfreeze"));
    }

    /// What a killed test has left mounted.
    fn release_below(dir: &Path) -> Result<()> {
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        for mount in mounts.lines().filter_map(|l| l.split(' ').nth(1)).map(Path::new) {
            if mount.starts_with(dir) {
                drop(Self { mount: mount.to_owned() });
            }
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.melt();
        // The process that had it open may be ending still.
        let gone = crate::eventually("the disk is unmounted", seconds(20), || {
            run("umount", &[&self.mount.display().to_string()])
        });
        if let Err(e) = gone {
            eprintln!("{e:#}");
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let path = needs::program(program).with_context(|| format!("{program} is not installed"))?;
    Run::new(&path, args).ok().map(drop)
}
