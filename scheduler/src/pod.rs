//! A pod as scheduling sees it: parsed once when it is first seen, shared from then on.

mod requests;

use std::{collections::BTreeMap, sync::Arc};

use api_types::quantity::Quantity as Amount;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Affinity, Container, NodeSelectorRequirement, Pod, PodAffinityTerm, Toleration,
        TopologySpreadConstraint,
    },
    apimachinery::pkg::api::resource::Quantity,
};

/// What a container counts as asking for when it does not say, for spreading only.
const DEFAULT_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

type Requests = BTreeMap<String, Quantity>;

/// Amounts of resources: processor time in thousandths, the rest in units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of local storage.
    pub storage: i64,
    /// All others by name.
    pub others: BTreeMap<Arc<str>, i64>,
}

impl Resources {
    /// Reads a resource list.
    pub fn parse(list: &Requests) -> Self {
        let mut resources = Resources::default();
        for (name, quantity) in list {
            // The API server lets no other text in; what cannot be read counts as nothing.
            let amount: Amount = quantity.0.parse().unwrap_or_default();
            match name.as_str() {
                "cpu" => resources.cpu = amount.milli_value(),
                "memory" => resources.memory = amount.value(),
                "ephemeral-storage" => resources.storage = amount.value(),
                "pods" => {}
                name => {
                    resources.others.insert(name.into(), amount.value());
                }
            }
        }
        resources
    }

    pub(crate) fn add(&mut self, other: &Resources) {
        self.cpu = self.cpu.saturating_add(other.cpu);
        self.memory = self.memory.saturating_add(other.memory);
        self.storage = self.storage.saturating_add(other.storage);
        for (name, amount) in &other.others {
            *self.others.entry(name.clone()).or_default() += amount;
        }
    }

    pub(crate) fn sub(&mut self, other: &Resources) {
        self.cpu -= other.cpu;
        self.memory -= other.memory;
        self.storage -= other.storage;
        for (name, amount) in &other.others {
            if let Some(known) = self.others.get_mut(name) {
                *known -= amount;
            }
        }
    }

    pub(crate) fn max(&mut self, other: &Resources) {
        self.cpu = self.cpu.max(other.cpu);
        self.memory = self.memory.max(other.memory);
        self.storage = self.storage.max(other.storage);
        for (name, amount) in &other.others {
            let known = self.others.entry(name.clone()).or_default();
            *known = (*known).max(*amount);
        }
    }
}

/// A port of the machine that a pod wants for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Address, `0.0.0.0` for all.
    pub address: Box<str>,
    /// Protocol.
    pub protocol: Box<str>,
    /// Number.
    pub port: i32,
}

impl HostPort {
    /// Whether two pods with these ports cannot share a machine.
    pub fn conflicts(&self, other: &HostPort) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || &*self.address == "0.0.0.0" || &*other.address == "0.0.0.0")
    }
}

/// A term of a node selector: all of its requirements have to hold.
#[derive(Debug, Clone, Default)]
pub struct NodeTerm {
    /// Requirements on labels.
    pub labels: Vec<NodeSelectorRequirement>,
    /// Requirements on fields (`metadata.name`).
    pub fields: Vec<NodeSelectorRequirement>,
}

/// A pod as scheduling sees it.
#[derive(Debug, Clone, Default)]
pub struct PodInfo {
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// Uid.
    pub uid: Box<str>,
    /// Generation.
    pub generation: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Uid of the managing controller.
    pub controller: Option<Box<str>>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Node it is bound to or has to run on.
    pub node_name: Box<str>,
    /// Who shall schedule it.
    pub scheduler_name: Box<str>,
    /// Priority.
    pub priority: i32,
    /// Whether it never preempts.
    pub never_preempts: bool,
    /// What it asks for.
    pub requests: Resources,
    /// Processor time and memory it counts as asking for when pods are spread.
    pub spread_requests: (i64, i64),
    /// Ports of the machine it wants.
    pub host_ports: Vec<HostPort>,
    /// Node selector.
    pub node_selector: BTreeMap<String, String>,
    /// Required node affinity; one term has to hold.
    pub required_nodes: Option<Vec<NodeTerm>>,
    /// Preferred node affinity with weights.
    pub preferred_nodes: Vec<(i64, NodeTerm)>,
    /// Required pod affinity.
    pub pod_affinity: Vec<PodAffinityTerm>,
    /// Required pod anti-affinity.
    pub pod_anti_affinity: Vec<PodAffinityTerm>,
    /// Preferred pod affinity (positive) and anti-affinity (negative).
    pub preferred_pods: Vec<(i64, PodAffinityTerm)>,
    /// Topology spread constraints.
    pub spread: Vec<TopologySpreadConstraint>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Names of its scheduling gates.
    pub gates: Vec<Box<str>>,
    /// Images it runs.
    pub images: Vec<Box<str>>,
    /// Status, reason and message of its condition PodScheduled.
    pub scheduled: Option<(Box<str>, Box<str>, Box<str>)>,
    /// When that condition's status changed.
    pub scheduled_since: Option<Timestamp>,
}

impl PodInfo {
    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether nothing changed that a decision depends on: our own status updates come back as changes.
    pub(crate) fn decides_like(&self, other: &PodInfo) -> bool {
        self.labels == other.labels
            && self.gates == other.gates
            && self.tolerations == other.tolerations
            && self.requests == other.requests
            && self.priority == other.priority
            && self.node_selector == other.node_selector
    }

    /// Takes over what matters of `pod`.
    pub fn new(pod: Pod) -> Self {
        let metadata = pod.metadata;
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let requests = requests::of_pod(&spec, &status);
        let spread_requests = spread_requests(&spec, &requests);
        let host_ports = host_ports(&spec);
        let images =
            spec.containers.iter().filter_map(|container| container.image.as_deref()).map(Into::into);
        let images = images.collect();
        let affinity = spec.affinity.unwrap_or_default();
        let condition =
            status.conditions.into_iter().flatten().find(|condition| condition.type_ == "PodScheduled");
        let scheduled_since =
            condition.as_ref().and_then(|c| c.last_transition_time.as_ref()).map(|time| time.0);
        let text = |text: Option<String>| text.unwrap_or_default().into_boxed_str();
        let mut info = PodInfo {
            namespace: text(metadata.namespace),
            name: text(metadata.name),
            uid: text(metadata.uid),
            generation: metadata.generation,
            labels: metadata.labels.unwrap_or_default(),
            controller: metadata
                .owner_references
                .into_iter()
                .flatten()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid.into_boxed_str()),
            created: metadata.creation_timestamp.map(|time| time.0),
            deleting: metadata.deletion_timestamp.is_some(),
            node_name: text(spec.node_name),
            scheduler_name: text(spec.scheduler_name),
            priority: spec.priority.unwrap_or(0),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
            requests,
            spread_requests,
            host_ports,
            node_selector: spec.node_selector.unwrap_or_default(),
            spread: spec.topology_spread_constraints.unwrap_or_default(),
            tolerations: spec.tolerations.unwrap_or_default(),
            gates: spec.scheduling_gates.into_iter().flatten().map(|gate| gate.name.into()).collect(),
            images,
            scheduled: condition.map(|c| (c.status.into(), text(c.reason), text(c.message))),
            scheduled_since,
            ..PodInfo::default()
        };
        info.take_affinity(affinity);
        info
    }

    fn take_affinity(&mut self, affinity: Affinity) {
        let node = affinity.node_affinity.unwrap_or_default();
        let term = |term: k8s_openapi::api::core::v1::NodeSelectorTerm| NodeTerm {
            labels: term.match_expressions.unwrap_or_default(),
            fields: term.match_fields.unwrap_or_default(),
        };
        self.required_nodes = node
            .required_during_scheduling_ignored_during_execution
            .map(|selector| selector.node_selector_terms.into_iter().map(term).collect());
        self.preferred_nodes = node
            .preferred_during_scheduling_ignored_during_execution
            .into_iter()
            .flatten()
            .map(|preferred| (i64::from(preferred.weight), term(preferred.preference)))
            .collect();
        let with = affinity.pod_affinity.unwrap_or_default();
        let without = affinity.pod_anti_affinity.unwrap_or_default();
        self.pod_affinity = with.required_during_scheduling_ignored_during_execution.unwrap_or_default();
        self.pod_anti_affinity =
            without.required_during_scheduling_ignored_during_execution.unwrap_or_default();
        let prefer = with.preferred_during_scheduling_ignored_during_execution.into_iter().flatten();
        let avoid = without.preferred_during_scheduling_ignored_during_execution.into_iter().flatten();
        self.preferred_pods = prefer
            .map(|weighted| (i64::from(weighted.weight), weighted.pod_affinity_term))
            .chain(avoid.map(|weighted| (-i64::from(weighted.weight), weighted.pod_affinity_term)))
            .collect();
    }
}

fn spread_requests(spec: &k8s_openapi::api::core::v1::PodSpec, total: &Resources) -> (i64, i64) {
    let has = |container: &Container, name: &str| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        requests.is_some_and(|requests| requests.contains_key(name))
    };
    let silent = |name| {
        let count = spec.containers.iter().filter(|container| !has(container, name)).count();
        i64::try_from(count).unwrap_or(0)
    };
    (total.cpu + silent("cpu") * DEFAULT_CPU, total.memory + silent("memory") * DEFAULT_MEMORY)
}

fn host_ports(spec: &k8s_openapi::api::core::v1::PodSpec) -> Vec<HostPort> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port.host_ip.as_deref().filter(|address| !address.is_empty()).unwrap_or("0.0.0.0");
            Some(HostPort {
                address: address.into(),
                protocol: port.protocol.as_deref().unwrap_or("TCP").into(),
                port: number,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> PodInfo {
        PodInfo::new(serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod"))
    }

    fn container(cpu: &str, extra: serde_json::Value) -> serde_json::Value {
        let mut value = json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        value.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
        value
    }

    #[test]
    fn init_containers_count_as_a_peak_and_sidecars_stay() {
        let plain = json!({});
        let sidecar = json!({"restartPolicy": "Always"});
        // containers, init containers, expected
        let cases = [
            (vec![container("1", plain.clone()), container("500m", plain.clone())], vec![], 1500),
            (vec![container("1", plain.clone())], vec![container("3", plain.clone())], 3000),
            (vec![container("1", plain.clone())], vec![container("1", sidecar.clone())], 2000),
            (
                vec![container("1", plain.clone())],
                vec![container("1", sidecar.clone()), container("3", plain.clone())],
                4000,
            ),
            (
                vec![container("1", plain.clone())],
                vec![container("3", plain.clone()), container("1", sidecar)],
                3000,
            ),
        ];
        for (containers, init, expected) in cases {
            let pod =
                pod(json!({"containers": containers, "initContainers": init, "overhead": {"cpu": "10m"}}));
            assert_eq!(pod.requests.cpu, expected + 10);
        }
        let whole =
            pod(json!({"containers": [container("1", plain)], "resources": {"requests": {"cpu": "2"}}}));
        assert_eq!(whole.requests.cpu, 2000);
    }

    #[test]
    fn silent_containers_count_when_spreading() {
        let pod = pod(json!({"containers": [{"name": "a"}, container("250m", json!({}))]}));
        assert_eq!(pod.requests.cpu, 250);
        assert_eq!(pod.spread_requests, (350, 2 * DEFAULT_MEMORY));
    }

    #[test]
    fn host_ports_conflict_by_address() {
        let port = |address: &str| HostPort { address: address.into(), protocol: "TCP".into(), port: 80 };
        assert!(port("0.0.0.0").conflicts(&port("10.0.0.1")));
        assert!(port("10.0.0.1").conflicts(&port("10.0.0.1")));
        assert!(!port("10.0.0.1").conflicts(&port("10.0.0.2")));
    }
}
