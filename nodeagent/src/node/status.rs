//! Registers the node and keeps its status: what the machine has, its addresses, conditions, versions.
//!
//! Woken by changes of its health and by a slow timer (upstream's five minutes); a status is patched only when
//! something other than the heartbeat differs, or the timer says so.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeDaemonEndpoints, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::conditions::{Health, conditions};
use super::machine::{Machine, meminfo};
use crate::config::Config;
use crate::images::oci_archive::architecture;
use crate::pod::resize::amounts::Totals;

const REPORT: Duration = Duration::from_secs(300);
/// Upstream's eviction default: memory below this is pressure, and is kept out of allocatable.
const MEMORY_RESERVE: i64 = 100 << 20;

/// What upstream has nodes declare that resize init containers too.
const INIT_CONTAINER_RESIZE: &str = "InPlacePodVerticalScalingInitContainers";

/// Everything a node status is made from.
pub struct Reporter {
    /// The agent's configuration.
    pub config: Config,
    /// The machine.
    pub machine: Machine,
    /// `containerd://1.6.20` and its like.
    pub runtime_version: String,
}

/// Labels of the node.
pub fn labels(config: &Config) -> BTreeMap<String, String> {
    let arch = architecture();
    let mut labels = BTreeMap::new();
    for (key, value) in [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels.extend(config.node_labels.iter().cloned());
    labels
}

/// Memory that pods may use.
fn allocatable_memory(machine: &Machine) -> i64 {
    machine.memory - MEMORY_RESERVE
}

impl Reporter {
    /// CPU and memory that pods may use.
    pub fn allocatable(&self) -> Totals {
        // As the node's status says it, in whole KiB.
        let memory = allocatable_memory(&self.machine) / 1024 * 1024;
        Totals { cpu: self.machine.cpus * 1000, memory }
    }

    /// Capacity or, with the reserves taken off, what pods may use.
    fn resources(&self, allocatable: bool) -> BTreeMap<String, Quantity> {
        let machine = &self.machine;
        let memory = if allocatable { allocatable_memory(machine) } else { machine.memory };
        let mut resources: BTreeMap<String, Quantity> = [
            ("cpu", machine.cpus.to_string()),
            ("memory", format!("{}Ki", memory / 1024)),
            ("pods", self.config.max_pods.to_string()),
            (
                "ephemeral-storage",
                if allocatable {
                    (machine.storage / 10 * 9).to_string()
                } else {
                    format!("{}Ki", machine.storage / 1024)
                },
            ),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Quantity(value)))
        .collect();
        for (size, bytes) in &machine.hugepages {
            let value = if *bytes == 0 { "0".to_owned() } else { format!("{}Ki", bytes / 1024) };
            resources.insert(format!("hugepages-{size}"), Quantity(value));
        }
        resources
    }

    fn status(&self, health: &Health, old: Option<&NodeStatus>) -> NodeStatus {
        let config = &self.config;
        let machine = &self.machine;
        let known = old.and_then(|old| old.conditions.as_deref()).unwrap_or(&[]);
        let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
        NodeStatus {
            capacity: Some(self.resources(false)),
            allocatable: Some(self.resources(true)),
            declared_features: Some(vec![INIT_CONTAINER_RESIZE.to_owned()]),
            addresses: Some(vec![
                address("InternalIP", config.node_ip.to_string()),
                address("Hostname", config.node_name.clone()),
            ]),
            conditions: Some(conditions(health, known, Timestamp::now())),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.port) }),
            }),
            node_info: Some(NodeSystemInfo {
                architecture: architecture().to_owned(),
                boot_id: machine.boot_id.clone(),
                container_runtime_version: self.runtime_version.clone(),
                kernel_version: machine.kernel.clone(),
                kube_proxy_version: String::new(),
                kubelet_version: crate::KUBELET_VERSION.to_owned(),
                machine_id: machine.machine_id.clone(),
                operating_system: "linux".to_owned(),
                os_image: machine.os_image.clone(),
                swap: None,
                system_uuid: machine.system_uuid.clone(),
            }),
            ..NodeStatus::default()
        }
    }

    /// Makes the Node object, or brings its labels up to date; gives it as the API has it.
    pub async fn register(&self, health: &Health) -> Result<Node, kube::Error> {
        let api: Api<Node> = Api::all(self.config.client.clone());
        let name = &self.config.node_name;
        let labels = labels(&self.config);
        let node = Node {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels.clone()),
                annotations: Some(BTreeMap::from([(
                    "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
                    "true".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec { pod_cidr: None, ..NodeSpec::default() }),
            status: Some(self.status(health, None)),
        };
        match api.create(&PostParams::default(), &node).await {
            Ok(node) => return Ok(node),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        let known = api.get(name).await?;
        let present = known.metadata.labels.clone().unwrap_or_default();
        if labels.iter().all(|(key, value)| present.get(key) == Some(value)) {
            return Ok(known);
        }
        let patch = serde_json::json!({ "metadata": { "labels": labels } });
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await
    }

    /// Reports the health whenever it changes and every five minutes; `reported` says what has been written.
    pub async fn run(
        self,
        mut node: Node,
        mut health: watch::Receiver<Health>,
        reported: watch::Sender<Option<Health>>,
        stop: CancellationToken,
    ) {
        let api: Api<Node> = Api::all(self.config.client.clone());
        let mut retry = Duration::from_millis(100);
        loop {
            let current = health.borrow_and_update().clone();
            let wait = match self.write(&api, &mut node, &current).await {
                Ok(()) => {
                    reported.send_replace(Some(current));
                    retry = Duration::from_millis(100);
                    REPORT
                }
                Err(error) => {
                    tracing::debug!(%error, "node status not written");
                    retry = (retry * 2).min(Duration::from_secs(10));
                    retry
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = health.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn write(&self, api: &Api<Node>, node: &mut Node, health: &Health) -> Result<(), kube::Error> {
        let status = self.status(health, node.status.as_ref());
        let patch = serde_json::json!({ "status": status });
        let name = &self.config.node_name;
        match api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
            Ok(written) => *node = written,
            // Somebody deleted the node: it registers again.
            Err(kube::Error::Api(answer)) if answer.code == 404 => *node = self.register(health).await?,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What can be told of pressure from this machine.
pub fn pressure(health: &mut Health, data_dir: &std::path::Path) {
    health.memory_pressure = meminfo("MemAvailable").is_some_and(|available| available < MEMORY_RESERVE);
    if let Ok(stat) = nix::sys::statvfs::statvfs(data_dir) {
        let free = u128::from(stat.blocks_available());
        let inodes = u128::from(stat.files_available());
        health.disk_pressure = free * 100 < u128::from(stat.blocks()) * 10
            && free * u128::from(stat.fragment_size()) < (5 << 30)
            || (stat.files() > 0 && inodes * 100 < u128::from(stat.files()) * 5);
    }
}
