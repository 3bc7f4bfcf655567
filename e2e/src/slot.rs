//! What keeps clusters on one machine apart: ports, networks, names, a directory. A slot is taken with a file lock
//! that the kernel releases however the test ends; what a killed test has left is cleaned by the next owner.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// How many clusters of tests fit on a machine.
const SLOTS: u16 = 8;

/// Slots this process owns, for whoever cleans after a signal.
static OWNED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

fn owned() -> MutexGuard<'static, BTreeSet<u16>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Twins of all slots this process owns.
pub fn all_owned() -> Vec<Slot> {
    let dir = |n: u16| std::env::temp_dir().join(format!("skiff-e2e-{n}"));
    owned().iter().map(|&number| Slot { number, dir: dir(number), _lock: None }).collect()
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self._lock.is_some() {
            owned().remove(&self.number);
        }
    }
}

/// One cluster's place on the machine.
pub struct Slot {
    number: u16,
    dir: PathBuf,
    _lock: Option<Flock<File>>,
}

impl Slot {
    /// Takes a free slot.
    pub fn take() -> Result<Self> {
        let base = std::env::temp_dir();
        for number in 0..SLOTS {
            let path = base.join(format!("skiff-e2e-{number}.lock"));
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .with_context(|| format!("opening {}", path.display()))?;
            if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                owned().insert(number);
                return Ok(Self { number, dir: base.join(format!("skiff-e2e-{number}")), _lock: Some(lock) });
            }
        }
        bail!("{SLOTS} clusters of tests run on this machine already")
    }

    /// Everything of the cluster is below this directory.
    pub fn dir(&self) -> PathBuf {
        self.dir.clone()
    }
    /// Port of the API server.
    pub fn api_port(&self) -> u16 {
        17443 + self.number
    }
    /// Port of the node agent.
    pub fn agent_port(&self) -> u16 {
        17250 + self.number
    }
    /// Ports for whatever else a test starts, 20 of them.
    pub fn spare_port(&self, n: u16) -> u16 {
        17500 + self.number * 20 + n
    }
    /// A node port of the slot's range.
    pub fn node_port(&self, n: u16) -> u16 {
        31000 + self.number * 100 + n
    }
    /// The range, as the option takes it.
    pub fn node_ports(&self) -> String {
        format!("{}-{}", self.node_port(0), self.node_port(99))
    }
    /// Network of services.
    pub fn service_cidr(&self) -> String {
        format!("10.{}.0.0/16", 112 + self.number)
    }
    /// Address of the name server.
    pub fn cluster_dns(&self) -> String {
        format!("10.{}.0.10", 112 + self.number)
    }
    /// Network of pods.
    pub fn cluster_cidr(&self) -> String {
        format!("10.{}.0.0/16", 232 + self.number)
    }
    /// Name of the bridge.
    pub fn bridge(&self) -> String {
        format!("ske2e{}", self.number)
    }
    /// Name of the control group and of the table of services.
    pub fn name(&self) -> String {
        format!("skiff-e2e-{}", self.number)
    }
}
