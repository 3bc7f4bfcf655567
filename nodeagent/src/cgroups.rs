//! Cgroups of pods (`<root>/burstable/pod<uid>`), on cgroup v1 (also hybrid) and v2, by writing to cgroupfs.
//!
//! The runtime makes the containers' cgroups below; what it leaves is removed with the pod.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::resources::{self, PodLimits, Qos};
use crate::pod::spec;
use crate::process::ProcessId;

/// How often processes that are left are looked for.
const ROUNDS: usize = 10;
/// How long the kernel may take to free a cgroup of which the last process was killed.
const FREE_WITHIN: Duration = Duration::from_secs(5);
/// The longest pause between looks whether it is free.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A cgroup that could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// It could not be made.
    #[error("failed to ensure that the cgroup {path} of the pod exists")]
    Create {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A value could not be set.
    #[error("failed to set {path} of the pod's cgroup to {value}")]
    Change {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// Why.
        source: io::Error,
    },
}

impl CgroupError {
    /// Text of the cause.
    pub fn cause(&self) -> String {
        match self {
            CgroupError::Create { source, .. } | CgroupError::Change { source, .. } => source.to_string(),
        }
    }
}

/// New values of a pod's cgroup; what is none stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// CPU shares.
    pub shares: Option<i64>,
    /// CFS quota.
    pub quota: Option<i64>,
    /// Memory.
    pub memory: Option<i64>,
}

/// What pod workers need of cgroups.
pub trait PodCgroups: Send + Sync + 'static {
    /// Makes the pod's cgroup with these limits and gives the parent path the runtime is told; may be repeated.
    fn create(&self, pod: &Pod, limits: &PodLimits) -> Result<String, CgroupError>;
    /// Changes values of the pod's cgroup.
    fn change(&self, pod: &Pod, change: &Change) -> Result<(), CgroupError>;
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
    fn create(&self, _pod: &Pod, _limits: &PodLimits) -> Result<String, CgroupError> {
        Ok(String::new())
    }

    fn change(&self, _pod: &Pod, _change: &Change) -> Result<(), CgroupError> {
        Ok(())
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

    fn create_v2(&self, path: &str) -> io::Result<()> {
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
        Ok(())
    }

    fn create_v1(&self, path: &str) -> io::Result<()> {
        for controller in ["cpu", "memory"] {
            std::fs::create_dir_all(self.mount.join(controller).join(path))?;
        }
        Ok(())
    }

    /// The files that hold these values, in the order they have to be written.
    fn values(&self, path: &str, change: &Change) -> Vec<(PathBuf, String)> {
        let period = resources::CPU_PERIOD;
        let mut values = Vec::new();
        if self.unified {
            let dir = self.mount.join(path);
            let mut add = |file: &str, value: Option<String>| {
                values.extend(value.map(|value| (dir.join(file), value)));
            };
            let weight = |shares: i64| 1 + (shares - 2).max(0) * 9999 / 262_142;
            add("cpu.weight", change.shares.map(|shares| weight(shares).to_string()));
            add("cpu.max", change.quota.map(|quota| format!("{quota} {period}")));
            add("memory.max", change.memory.map(|memory| memory.to_string()));
        } else {
            let mut add = |controller: &str, file: &str, value: Option<i64>| {
                let file = self.mount.join(controller).join(path).join(file);
                values.extend(value.map(|value| (file, value.to_string())));
            };
            add("cpu", "cpu.shares", change.shares);
            add("cpu", "cpu.cfs_period_us", change.quota.map(|_| period));
            add("cpu", "cpu.cfs_quota_us", change.quota);
            add("memory", "memory.limit_in_bytes", change.memory);
        }
        values
    }

    fn path_of(&self, pod: &Pod) -> String {
        self.path(resources::qos_class(&spec::spec(pod)), spec::uid(pod))
    }

    /// Ends what still runs below our root and removes it. A runtime that is stopped while it starts something knows
    /// nothing of it afterwards: what it was starting is found here only.
    pub async fn remove_all(&self) {
        let roots: Vec<_> =
            self.hierarchies().into_iter().map(|hierarchy| hierarchy.join(&self.root)).collect();
        // What one has started before it was ended is found in the next round.
        for _ in 0..ROUNDS {
            let left: Vec<_> = roots.iter().flat_map(|root| processes_below(root)).collect();
            if left.is_empty() {
                break;
            }
            for process in left {
                tracing::debug!(pid = process.pid, "ending a left-over process");
                process.kill().await;
            }
        }
        for root in roots {
            if let Err(error) = remove_when_free(&root).await {
                tracing::warn!(%error, dir = %root.display(), "cgroup not removed");
            }
        }
    }
}

impl PodCgroups for Cgroupfs {
    fn create(&self, pod: &Pod, limits: &PodLimits) -> Result<String, CgroupError> {
        let path = self.path_of(pod);
        let PodLimits { shares, quota, memory } = *limits;
        let made = if self.unified { self.create_v2(&path) } else { self.create_v1(&path) };
        made.map_err(|source| CgroupError::Create { path: self.mount.join(&path), source })?;
        for (file, value) in self.values(&path, &Change { shares: Some(shares), quota, memory }) {
            // A limit this kernel does not take leaves the pod without it; the containers' own limits still hold.
            if let Err(error) = std::fs::write(&file, &value) {
                tracing::debug!(%error, file = %file.display(), value, "cgroup value not set");
            }
        }
        Ok(format!("/{path}"))
    }

    fn change(&self, pod: &Pod, change: &Change) -> Result<(), CgroupError> {
        for (path, value) in self.values(&self.path_of(pod), change) {
            if let Err(source) = std::fs::write(&path, &value) {
                return Err(CgroupError::Change { path, value, source });
            }
        }
        Ok(())
    }

    fn remove_uid(&self, uid: &str) {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let path = self.path(qos, uid);
            for dir in self.hierarchies().into_iter().map(|hierarchy| hierarchy.join(&path)) {
                // Pods are cleaned up when they have ended and again when their sandbox is removed, which the runtime does
                // after it has waited for its own cgroups below.
                if let Err(error) = remove_tree(&dir) {
                    tracing::debug!(%error, dir = %dir.display(), "cgroup not removed");
                }
            }
        }
    }
}

/// Processes of a cgroup and of those below it.
fn processes_below(dir: &Path) -> Vec<ProcessId> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let below =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut processes: Vec<_> = below.flat_map(|entry| processes_below(&entry.path())).collect();
    let own = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    processes.extend(own.lines().filter_map(|pid| ProcessId::of(pid.parse().ok()?)));
    processes
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Removes a cgroup and those below it. One is busy for a moment after its last process was listed: that still gives
/// back its memory then. The first version of cgroups tells nobody when it is free, hence short looks.
async fn remove_when_free(dir: &Path) -> io::Result<()> {
    let deadline = tokio::time::Instant::now() + FREE_WITHIN;
    let mut pause = Duration::from_millis(1);
    loop {
        match remove_tree(dir) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}

/// Removes a cgroup and those below it; the first error, after all that could be removed was.
fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut result = Ok(());
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            result = result.and(remove_tree(&entry.path()));
        }
    }
    result?;
    match std::fs::remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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
        let limits = resources::pod_limits(&spec::spec(&pod));
        assert_eq!(v1.create(&pod, &limits).unwrap(), "/kubepods/podu");
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
        assert_eq!(read("cpu/kubepods/podu/cpu.cfs_quota_us"), "100000");
        assert_eq!(read("memory/kubepods/podu/memory.limit_in_bytes"), "1048576");
        let more = Change { shares: Some(2048), quota: Some(200_000), memory: Some(2 << 20) };
        v1.change(&pod, &more).unwrap();
        assert_eq!(read("cpu/kubepods/podu/cpu.shares"), "2048");
        assert_eq!(read("cpu/kubepods/podu/cpu.cfs_quota_us"), "200000");
        assert_eq!(read("memory/kubepods/podu/memory.limit_in_bytes"), "2097152");
        std::fs::write(dir.path().join("cgroup.controllers"), "").unwrap();
        let v2 = Cgroupfs::at(dir.path(), "kubepods");
        v2.create(&pod, &limits).unwrap();
        assert_eq!(read("kubepods/podu/cpu.max"), "100000 100000");
        assert_eq!(read("kubepods/podu/cpu.weight"), "39");
        v2.change(&pod, &Change { memory: Some(2 << 20), ..Change::default() }).unwrap();
        assert_eq!(read("kubepods/podu/memory.max"), "2097152");
        assert_eq!(read("kubepods/podu/cpu.max"), "100000 100000", "what is not said stays");
        v2.remove_uid("u");
        std::fs::remove_dir_all(dir.path().join("kubepods")).unwrap();
        let failed = v2.change(&pod, &more).unwrap_err().to_string();
        assert!(failed.contains("failed to set") && failed.contains("cpu.weight"), "{failed}");
    }

    #[tokio::test]
    async fn what_still_runs_is_ended() {
        let cgroups = Cgroupfs::new(&format!("skiff-test-{}", std::process::id()));
        let Some(dir) = make_cgroup(&cgroups) else { return };
        let mut sleeper = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        std::fs::write(dir.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        cgroups.remove_all().await;
        assert!(!dir.exists(), "{} is left", dir.display());
        assert!(!sleeper.wait().unwrap().success());
    }

    /// A new cgroup below the root; none where cgroups cannot be made.
    fn make_cgroup(cgroups: &Cgroupfs) -> Option<PathBuf> {
        let hierarchy = cgroups.hierarchies().into_iter().next()?;
        let dir = hierarchy.join(&cgroups.root).join("besteffort");
        let made = std::fs::create_dir_all(&dir);
        if let Err(error) = &made {
            api_types::testing::skipped(format_args!("{} cannot be made: {error}", dir.display()));
        }
        made.ok().map(|()| dir)
    }

    #[tokio::test]
    async fn a_process_that_has_lost_its_first_thread_is_ended() {
        let cgroups = Cgroupfs::new(&format!("skiff-test-threads-{}", std::process::id()));
        let Some(dir) = make_cgroup(&cgroups) else { return };
        let process = crate::process::tests::without_its_first_thread(&dir.join("cgroup.procs"));
        cgroups.remove_all().await;
        assert!(!dir.exists(), "{} is left", dir.display());
        match process {
            Some(mut process) => assert!(!process.wait().unwrap().success()),
            None => api_types::testing::skipped("there is no whole python3 to start one with"),
        }
    }

    #[tokio::test]
    async fn a_busy_cgroup_is_waited_for() {
        let cgroups = Cgroupfs::new(&format!("skiff-test-busy-{}", std::process::id()));
        let Some(dir) = make_cgroup(&cgroups) else { return };
        let mut sleeper = std::process::Command::new("sleep").arg("0.3").spawn().unwrap();
        std::fs::write(dir.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        assert_eq!(remove_tree(&dir).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        remove_when_free(dir.parent().unwrap()).await.unwrap();
        assert!(!dir.exists(), "{} is left", dir.display());
        assert!(sleeper.wait().unwrap().success());
    }
}
