//! What a worker knows of its pod beyond the API object: the runtime's records, probe results, waiting reasons.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::resize::condition::Resize;
use crate::runtime::{ContainerRecord, RunState, SandboxRecord};

/// Containers of a pod by name, newest first.
pub type Containers = BTreeMap<String, Vec<ContainerRecord>>;

/// Results of one container's probes; `None` while there is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProbeResults {
    /// The startup probe succeeded.
    pub started: bool,
    /// Latest readiness.
    pub ready: Option<bool>,
    /// The liveness or startup probe failed: the container has to be restarted.
    pub failed: Option<ProbeFailure>,
}

/// Why a probe demands a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeFailure {
    /// `liveness` or `startup`.
    pub probe: &'static str,
    /// The probe's own grace period.
    pub grace: Option<u64>,
}

/// Why a container does not run.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// `ErrImagePull`, `CreateContainerError`, ...
    pub reason: String,
    /// Text.
    pub message: String,
}

impl Waiting {
    /// A reason with its text.
    pub fn new(reason: &str, message: impl Into<String>) -> Waiting {
        Waiting { reason: reason.to_owned(), message: message.into() }
    }
}

/// Why a pod was ended by the node rather than by its containers.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// `DeadlineExceeded`, `Evicted`, ...
    pub reason: String,
    /// Text.
    pub message: String,
}

/// A worker's knowledge.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodState {
    /// Newest sandbox.
    pub sandbox: Option<SandboxRecord>,
    /// Older sandboxes still known to the runtime.
    pub old_sandboxes: Vec<String>,
    /// Containers.
    pub containers: Containers,
    /// Probe results by container id.
    pub probes: HashMap<String, ProbeResults>,
    /// Reasons of containers that could not be started.
    pub waiting: BTreeMap<String, Waiting>,
    /// Failed starts are not repeated before this time.
    pub retry_at: BTreeMap<String, Timestamp>,
    /// The pod is ended by the node.
    pub failure: Option<Failure>,
    /// When the agent first saw the pod.
    pub start_time: Option<Timestamp>,
    /// Its resize.
    pub resize: Resize,
    /// Every container has ended and the sandbox is stopped.
    pub terminated: bool,
}

impl PodState {
    /// The newest record of a container.
    pub fn latest(&self, name: &str) -> Option<&ContainerRecord> {
        self.containers.get(name).and_then(|records| records.first())
    }

    /// The newest record of a container, if it was made in the present sandbox.
    pub fn current(&self, name: &str) -> Option<&ContainerRecord> {
        let sandbox = self.sandbox.as_ref()?;
        self.latest(name).filter(|record| record.created_at >= sandbox.created_at)
    }

    /// A container by its runtime id.
    pub fn by_id(&self, id: &str) -> Option<&ContainerRecord> {
        self.containers.values().flatten().find(|record| record.id == id)
    }

    /// Whether a container has started: it runs and its startup probe, if any, has succeeded.
    pub fn started(&self, record: &ContainerRecord, has_startup_probe: bool) -> bool {
        record.state == RunState::Running
            && (!has_startup_probe || self.probes.get(&record.id).is_some_and(|probes| probes.started))
    }

    /// Whether anything is running.
    pub fn any_running(&self) -> bool {
        self.containers.values().flatten().any(|record| record.state == RunState::Running)
    }

    /// Forgets what was noted of containers that are not known any more.
    pub fn forget_gone(&mut self) {
        let PodState { containers, resize, .. } = self;
        let known = |id: &String| containers.values().flatten().any(|record| record.id == *id);
        resize.given.retain(|id, _| known(id));
        resize.restarting.retain(known);
    }

    /// Takes in a new or changed record.
    pub fn put(&mut self, record: ContainerRecord) {
        let records = self.containers.entry(record.name.clone()).or_default();
        match records.iter_mut().find(|known| known.id == record.id) {
            Some(known) => *known = record,
            None => {
                records.push(record);
                records.sort_by_key(|record| std::cmp::Reverse(record.created_at));
            }
        }
    }
}
