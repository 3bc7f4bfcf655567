//! Cgroups of pods (`<root>/burstable/pod<uid>`), on cgroup v1 (also hybrid) and v2, by writing to cgroupfs.
//!
//! The runtime makes the containers' cgroups below; what it leaves is removed with the pod.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::pod::resources::{self, PodLimits, Qos};
use crate::pod::spec;

/// A cgroup that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to ensure that the cgroup {path} of the pod exists")]
pub struct CgroupError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl CgroupError {
    /// Text of the cause.
    pub fn cause(&self) -> String {
        self.source.to_string()
    }
}

/// What pod workers need of cgroups.
pub trait PodCgroups: Send + Sync + 'static {
    /// Makes the pod's cgroup and gives the parent path the runtime is told; may be repeated.
    fn create(&self, pod: &Pod) -> Result<String, CgroupError>;
    /// Removes the pod's cgroup.
    fn remove(&self, pod: &Pod) {
        self.remove_uid(spec::uid(pod));
    }
    /// Removes the cgroup of a pod of which only the uid is known.
    fn remove_uid(&self, uid: &str);
}

/// No cgroups: hollow nodes and tests.
#[derive(Debug, Default)]
pub struct NoCgroups;

impl PodCgroups for NoCgroups {
    fn create(&self, _pod: &Pod) -> Result<String, CgroupError> {
        Ok(String::new())
    }

    fn remove_uid(&self, _uid: &str) {}
}

/// Cgroups of this machine.
#[derive(Debug)]
pub struct Cgroupfs {
    mount: PathBuf,
    root: String,
    unified: bool,
}

impl Cgroupfs {
    /// The hierarchy mounted at /sys/fs/cgroup; pods go below `root`.
    pub fn new(root: &str) -> Cgroupfs {
        Cgroupfs::at(Path::new("/sys/fs/cgroup"), root)
    }

    fn at(mount: &Path, root: &str) -> Cgroupfs {
        let unified = mount.join("cgroup.controllers").exists();
        Cgroupfs { mount: mount.to_owned(), root: root.trim_matches('/').to_owned(), unified }
    }

    /// Whether this machine has cgroup v2 only.
    pub fn is_unified(&self) -> bool {
        self.unified
    }

    fn path(&self, qos: Qos, uid: &str) -> String {
        match qos.cgroup() {
            Some(class) => format!("{}/{class}/pod{uid}", self.root),
            None => format!("{}/pod{uid}", self.root),
        }
    }

    /// All hierarchies a cgroup may be in.
    fn hierarchies(&self) -> Vec<PathBuf> {
        if self.unified {
            return vec![self.mount.clone()];
        }
        let Ok(entries) = std::fs::read_dir(&self.mount) else { return Vec::new() };
        entries
            .filter_map(Result::ok)
            // `cpu,cpuacct` and its like have symbolic links under each name.
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect()
    }

    fn create_v2(&self, path: &str, limits: &PodLimits) -> io::Result<()> {
        let mut dir = self.mount.clone();
        for part in path.split('/') {
            for controller in ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"] {
                // A controller this kernel or parent does not have is not an error.
                if let Err(error) =
                    std::fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"))
                {
                    tracing::trace!(%error, controller, dir = %dir.display(), "controller not enabled");
                }
            }
            dir.push(part);
            make_dir(&dir)?;
        }
        let weight = 1 + (limits.shares - 2).max(0) * 9999 / 262_142;
        set(&dir, "cpu.weight", &weight.to_string());
        if let Some(quota) = limits.quota {
            set(&dir, "cpu.max", &format!("{quota} {}", resources::CPU_PERIOD));
        }
        if let Some(memory) = limits.memory {
            set(&dir, "memory.max", &memory.to_string());
        }
        Ok(())
    }

    fn create_v1(&self, path: &str, limits: &PodLimits) -> io::Result<()> {
        let cpu = self.mount.join("cpu").join(path);
        std::fs::create_dir_all(&cpu)?;
        set(&cpu, "cpu.shares", &limits.shares.to_string());
        if let Some(quota) = limits.quota {
            set(&cpu, "cpu.cfs_period_us", &resources::CPU_PERIOD.to_string());
            set(&cpu, "cpu.cfs_quota_us", &quota.to_string());
        }
        let memory = self.mount.join("memory").join(path);
        std::fs::create_dir_all(&memory)?;
        if let Some(limit) = limits.memory {
            set(&memory, "memory.limit_in_bytes", &limit.to_string());
        }
        Ok(())
    }

    /// Removes everything below our root: nothing of ours may run any more.
    pub fn remove_all(&self) {
        for hierarchy in self.hierarchies() {
            remove_tree(&hierarchy.join(&self.root));
        }
    }
}

impl PodCgroups for Cgroupfs {
    fn create(&self, pod: &Pod) -> Result<String, CgroupError> {
        let spec = spec::spec(pod);
        let path = self.path(resources::qos_class(&spec), spec::uid(pod));
        let limits = resources::pod_limits(&spec);
        let made = if self.unified { self.create_v2(&path, &limits) } else { self.create_v1(&path, &limits) };
        made.map_err(|source| CgroupError { path: self.mount.join(&path), source })?;
        Ok(format!("/{path}"))
    }

    fn remove_uid(&self, uid: &str) {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let path = self.path(qos, uid);
            for hierarchy in self.hierarchies() {
                remove_tree(&hierarchy.join(&path));
            }
        }
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// A limit this kernel does not take leaves the pod without it; the containers' own limits still hold.
fn set(dir: &Path, file: &str, value: &str) {
    if let Err(error) = std::fs::write(dir.join(file), value) {
        tracing::debug!(%error, dir = %dir.display(), file, value, "cgroup value not set");
    }
}

fn remove_tree(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    if let Err(error) = std::fs::remove_dir(dir) {
        tracing::debug!(%error, dir = %dir.display(), "cgroup not removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told_apart_and_limited() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("cpu")).unwrap();
        std::fs::create_dir_all(dir.path().join("memory")).unwrap();
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"uid": "u"},
            "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Mi"}}}]},
        }))
        .unwrap();
        let v1 = Cgroupfs::at(dir.path(), "kubepods");
        assert_eq!(v1.create(&pod).unwrap(), "/kubepods/podu");
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
        assert_eq!(read("cpu/kubepods/podu/cpu.cfs_quota_us"), "100000");
        assert_eq!(read("memory/kubepods/podu/memory.limit_in_bytes"), "1048576");
        std::fs::write(dir.path().join("cgroup.controllers"), "").unwrap();
        let v2 = Cgroupfs::at(dir.path(), "kubepods");
        v2.create(&pod).unwrap();
        assert_eq!(read("kubepods/podu/cpu.max"), "100000 100000");
        assert_eq!(read("kubepods/podu/cpu.weight"), "39");
    }
}
