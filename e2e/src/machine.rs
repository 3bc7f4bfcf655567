//! What is on the machine, to see that a test leaves it as it was.
//!
//! Links, network namespaces, mounts, tables of nftables, addresses and control groups are compared as a whole.
//! Processes come and go on every machine: of these only those that belong to a test's slot count. Where others
//! change the machine at the same time, `SKIFF_E2E_SHARED_MACHINE=1` makes everything not named after the slot a
//! warning.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::kubectl::Run;
use crate::needs;
use crate::slot::Slot;

/// A picture of the machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    things: BTreeSet<String>,
}

fn output(program: &str, args: &[&str]) -> String {
    let Some(path) = needs::program(program) else { return String::new() };
    Run::new(&path, args).ok().unwrap_or_default()
}

fn entries(dir: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

impl Machine {
    /// Looks.
    pub fn look(slot: &Slot) -> Self {
        let mut things = BTreeSet::new();
        things.extend(entries("/sys/class/net").into_iter().map(|n| format!("link {n}")));
        things.extend(entries("/run/netns").into_iter().map(|n| format!("netns {n}")));
        things.extend(output("nft", &["list", "tables"]).lines().map(|l| format!("nft {l}")));
        for line in output("ip", &["-o", "addr", "show", "dev", "lo"]).lines() {
            things.extend(line.split_whitespace().nth(3).map(|a| format!("address {a} on lo")));
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        things.extend(mounts.lines().filter_map(|l| l.split(' ').nth(1)).map(|m| format!("mount {m}")));
        groups(Path::new("/sys/fs/cgroup"), 0, &mut things);
        for directory in ["/var/lib/cni", "/var/log/pods", "/var/log/containers", "/opt/cni", "/etc/cni"] {
            things.extend(entries(directory).into_iter().map(|n| format!("file {directory}/{n}")));
        }
        processes(slot, &mut things);
        if slot.dir().exists() {
            things.insert(format!("directory {}", slot.dir().display()));
        }
        Self { things }
    }

    /// Waits a moment until the machine is as it was in this picture.
    pub fn check(&self, slot: &Slot) -> Result<()> {
        let shared = std::env::var_os("SKIFF_E2E_SHARED_MACHINE").is_some();
        let (name, bridge, dir) = (slot.name(), slot.bridge(), slot.dir().display().to_string());
        let mut foreign = Vec::new();
        let result = crate::eventually("the machine is as it was found", Duration::from_secs(10), || {
            let now = Self::look(slot);
            let (ours, others): (Vec<_>, Vec<_>) = now
                .things
                .difference(&self.things)
                .cloned()
                .partition(|t| !shared || [&name, &bridge, &dir].iter().any(|n| t.contains(n.as_str())));
            foreign = others;
            if ours.is_empty() {
                return Ok(());
            }
            bail!("left behind: {}", ours.join("; "))
        });
        if !foreign.is_empty() {
            println!("left by somebody, on a shared machine: {}", foreign.join("; "));
        }
        result
    }
}

/// Control groups of the first two levels.
fn groups(dir: &Path, depth: usize, things: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let path = entry.path();
        // System services come and go.
        if path.components().any(|c| c.as_os_str().to_string_lossy().ends_with(".slice")) {
            continue;
        }
        things.insert(format!("cgroup {}", path.display()));
        if depth < 1 {
            groups(&path, depth + 1, things);
        }
    }
}

/// Processes that mention the slot in their command line or run in its control groups.
fn processes(slot: &Slot, things: &mut BTreeSet<String>) {
    let own = std::process::id().to_string();
    let (name, dir) = (slot.name(), slot.dir().display().to_string());
    for pid in entries("/proc").into_iter().filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && *n != own) {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if line.contains(&dir) || group.contains(&name) {
            things.insert(format!("process {pid} {line}in {name}"));
        }
    }
}
