//! What the workers remember of sandboxes and containers: the runtime's answer without the parts nobody reads.

use jiff::Timestamp;
use k8s_cri::v1;

use super::labels;
use crate::pod::resize::amounts::Amounts;
use crate::pod::resources;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Made, not started.
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// One container as the runtime reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerRecord {
    /// Runtime id.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Restart count it was made with.
    pub attempt: u32,
    /// State.
    pub state: RunState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Exit code once ended.
    pub exit_code: i32,
    /// The runtime's reason (`OOMKilled`, `Error`, `Completed`, `StartError`).
    pub reason: String,
    /// The runtime's message, replaced by the termination message where there is one.
    pub message: String,
    /// Image as it was asked for.
    pub image: String,
    /// Image as the runtime identifies it.
    pub image_id: String,
    /// Hash of the specification it was made from.
    pub hash: String,
    /// Host path of the termination message file.
    pub termination_file: Option<String>,
    /// Whether an empty message falls back to the log.
    pub message_from_logs: bool,
    /// Host path of the log.
    pub log_path: String,
    /// The resources it was made with; containers made before the agent noted it have none.
    pub made_with: Option<Amounts>,
    /// The resources it has, as far as the runtime tells.
    pub actual: Actual,
}

/// The resources of a container as the runtime reports them; what it does not limit or tell is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Actual {
    /// Thousandths of a CPU, of its shares.
    pub cpu_request: Option<i64>,
    /// Thousandths of a CPU, of its quota.
    pub cpu_limit: Option<i64>,
    /// Bytes.
    pub memory_limit: Option<i64>,
}

impl Actual {
    fn of(linux: &v1::LinuxContainerResources) -> Actual {
        Actual {
            cpu_request: resources::milli_of_shares(linux.cpu_shares),
            cpu_limit: resources::milli_of_quota(linux.cpu_quota, linux.cpu_period),
            memory_limit: Some(linux.memory_limit_in_bytes).filter(|bytes| *bytes > 0),
        }
    }
}

/// One sandbox as the runtime reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxRecord {
    /// Runtime id.
    pub id: String,
    /// Attempt number.
    pub attempt: u32,
    /// Whether it is up.
    pub ready: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Addresses, the first is the pod's.
    pub ips: Vec<String>,
}

fn time(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds > 0).then(|| Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default())
}

impl ContainerRecord {
    /// From the runtime's answer; `runtime_name` (containerd) prefixes nothing here, ids stay bare.
    pub fn from_status(status: v1::ContainerStatus) -> ContainerRecord {
        let state = match status.state() {
            v1::ContainerState::ContainerCreated => RunState::Created,
            v1::ContainerState::ContainerRunning => RunState::Running,
            v1::ContainerState::ContainerExited => RunState::Exited,
            v1::ContainerState::ContainerUnknown => RunState::Unknown,
        };
        let metadata = status.metadata.unwrap_or_default();
        let annotation = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
        let path = annotation(labels::TERMINATION_PATH);
        let termination_file = status
            .mounts
            .iter()
            .find(|mount| !path.is_empty() && mount.container_path == path)
            .map(|mount| mount.host_path.clone());
        ContainerRecord {
            name: status.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or(metadata.name),
            attempt: annotation(labels::RESTART_COUNT).parse().unwrap_or(metadata.attempt),
            state,
            created_at: time(status.created_at).unwrap_or_default(),
            started_at: time(status.started_at),
            finished_at: time(status.finished_at),
            exit_code: status.exit_code,
            image: status.image.map(|image| image.image).unwrap_or_default(),
            image_id: status.image_ref,
            hash: annotation(labels::HASH),
            made_with: serde_json::from_str(&annotation(labels::RESOURCES)).ok(),
            actual: status
                .resources
                .as_ref()
                .and_then(|resources| resources.linux.as_ref())
                .map(Actual::of)
                .unwrap_or_default(),
            termination_file,
            message_from_logs: annotation(labels::TERMINATION_POLICY) == "FallbackToLogsOnError",
            log_path: status.log_path,
            id: status.id,
            reason: status.reason,
            message: status.message,
        }
    }
}

impl SandboxRecord {
    /// From the runtime's answer.
    pub fn from_status(status: v1::PodSandboxStatus) -> SandboxRecord {
        let ready = status.state() == v1::PodSandboxState::SandboxReady;
        let mut ips = Vec::new();
        if let Some(network) = status.network {
            if !network.ip.is_empty() {
                ips.push(network.ip);
            }
            ips.extend(network.additional_ips.into_iter().map(|ip| ip.ip));
        }
        SandboxRecord {
            id: status.id,
            attempt: status.metadata.map(|metadata| metadata.attempt).unwrap_or_default(),
            ready,
            created_at: time(status.created_at).unwrap_or_default(),
            ips,
        }
    }
}
