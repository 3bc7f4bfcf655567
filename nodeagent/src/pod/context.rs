//! What every worker shares: the boundaries, the writers and the node's facts.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fields::Facts;
use super::registry::Registry;
use super::resize::node::NodeAllocations;
use super::service_env::ServiceEnv;
use super::status::Host;
use super::status_writer::StatusWriter;
use crate::cgroups::PodCgroups;
use crate::config::Config;
use crate::events::{EventType, Recorder, container_reference, pod_reference};
use crate::images::pull::ImagePuller;
use crate::metrics::Metrics;
use crate::network::host_ports::HostPorts;
use crate::objects::Objects;
use crate::pod::spec::Kind;
use crate::runtime::ContainerRuntime;
use crate::volumes::PodVolumes;

/// Shared by all workers.
pub struct PodContext {
    /// The agent's configuration.
    pub config: Config,
    /// The container runtime.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Events.
    pub recorder: Recorder,
    /// ConfigMaps and Secrets.
    pub objects: Arc<Objects>,
    /// Volumes.
    pub volumes: Arc<dyn PodVolumes>,
    /// Cgroups.
    pub cgroups: Arc<dyn PodCgroups>,
    /// Host ports, where they are ours and not an external runtime's.
    pub host_ports: Option<Arc<HostPorts>>,
    /// Images.
    pub puller: ImagePuller,
    /// Status writes.
    pub status: Arc<StatusWriter>,
    /// Service variables.
    pub services: Arc<ServiceEnv>,
    /// Pods as the server sees them.
    pub registry: Arc<Registry>,
    /// What the pods hold of the node.
    pub allocations: Arc<NodeAllocations>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Node facts in statuses.
    pub host: Host,
    /// CPUs of the node, in thousandths.
    pub cpu_milli: i64,
    /// Memory of the node.
    pub memory: i64,
    /// Whether files are made on this machine (not on hollow nodes).
    pub files: bool,
    /// Owner of all worker tasks.
    pub tasks: TaskTracker,
    /// Ends all workers; containers go on.
    pub stop: CancellationToken,
}

impl PodContext {
    /// Facts for the downward API.
    pub fn facts(&self, pod_ips: Vec<String>) -> Facts {
        Facts {
            pod_ips,
            host_ip: self.host.ip.clone(),
            node_name: self.config.node_name.clone(),
            cpu_milli: self.cpu_milli,
            memory: self.memory,
        }
    }

    /// Reports an event about a pod.
    pub fn pod_event(&self, pod: &Pod, type_: EventType, reason: &str, message: impl Into<String>) {
        self.recorder.event(pod_reference(pod), type_, reason, message);
    }

    /// Reports an event about a container.
    pub fn container_event(
        &self,
        pod: &Pod,
        kind: Kind,
        container: &str,
        type_: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.recorder.event(container_reference(pod, kind.list(), container), type_, reason, message);
    }
}
