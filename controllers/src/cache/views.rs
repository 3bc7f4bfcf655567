//! The trimmed forms of the watched kinds.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{Endpoints, Taint, Toleration},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use serde::Deserialize;

use super::{
    meta::{Meta, null_default},
    store::{Index, Object},
};

macro_rules! view_object {
    ($view:ty $(, $self:ident, $add:ident => $index:block)?) => {
        impl Object for $view {
            fn namespace(&self) -> &str {
                &self.metadata.namespace
            }
            fn name(&self) -> &str {
                &self.metadata.name
            }
            fn uid(&self) -> &str {
                &self.metadata.uid
            }
            fn resource_version(&self) -> &str {
                &self.metadata.resource_version
            }
            fn controller_uid(&self) -> Option<&str> {
                self.metadata.controller().map(|owner| &*owner.uid)
            }
            $(fn index(&$self, $add: &mut dyn FnMut(Index, &str)) $index)?
        }
    };
}

pub(crate) use view_object;

macro_rules! whole_object {
    ($kind:ty $(, $self:ident, $add:ident => $index:block)?) => {
        impl Object for $kind {
            fn namespace(&self) -> &str {
                self.metadata.namespace.as_deref().unwrap_or_default()
            }
            fn name(&self) -> &str {
                self.metadata.name.as_deref().unwrap_or_default()
            }
            fn uid(&self) -> &str {
                self.metadata.uid.as_deref().unwrap_or_default()
            }
            fn resource_version(&self) -> &str {
                self.metadata.resource_version.as_deref().unwrap_or_default()
            }
            fn controller_uid(&self) -> Option<&str> {
                controller_uid(&self.metadata)
            }
            fn trim(&mut self) {
                self.metadata.managed_fields = None;
            }
            $(fn index(&$self, $add: &mut dyn FnMut(Index, &str)) $index)?
        }
    };
}

fn controller_uid(metadata: &ObjectMeta) -> Option<&str> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

// Workload objects are written back whole, so they are kept whole but for managed fields.
whole_object!(Deployment);
whole_object!(ReplicaSet);
whole_object!(Endpoints);
whole_object!(EndpointSlice, self, add => {
    if let Some(service) =
        self.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name"))
    {
        add(Index::Service, &format!("{}/{service}", self.namespace()));
    }
});

/// A condition of a pod or a node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Type.
    #[serde(rename = "type")]
    pub type_: Box<str>,
    /// `True`, `False` or `Unknown`.
    pub status: Box<str>,
    /// Reason.
    #[serde(deserialize_with = "null_default")]
    pub reason: Box<str>,
    /// When it was last heard of (nodes).
    pub last_heartbeat_time: Option<Timestamp>,
    /// When the status changed.
    pub last_transition_time: Option<Timestamp>,
}

/// A pod as the controllers see it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Metadata.
    pub metadata: Meta,
    /// Specification.
    pub spec: PodSpec,
    /// Status.
    pub status: PodStatus,
}

/// What is used of a pod's specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Node it is bound to.
    #[serde(deserialize_with = "null_default")]
    pub node_name: Box<str>,
    /// Host name.
    #[serde(deserialize_with = "null_default")]
    pub hostname: Box<str>,
    /// Subdomain.
    #[serde(deserialize_with = "null_default")]
    pub subdomain: Box<str>,
    /// Tolerations.
    #[serde(deserialize_with = "null_default")]
    pub tolerations: Vec<Toleration>,
    /// Containers.
    #[serde(deserialize_with = "null_default")]
    pub containers: Vec<Container>,
    /// Restart policy.
    #[serde(deserialize_with = "null_default")]
    pub restart_policy: Box<str>,
    /// Init containers (named ports of sidecars count).
    #[serde(deserialize_with = "null_default")]
    pub init_containers: Vec<Container>,
}

/// What is used of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// `Always` for a sidecar.
    #[serde(deserialize_with = "null_default")]
    pub restart_policy: Box<str>,
    /// Ports.
    #[serde(deserialize_with = "null_default")]
    pub ports: Vec<ContainerPort>,
}

/// A port of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Name.
    #[serde(deserialize_with = "null_default")]
    pub name: Box<str>,
    /// Number.
    pub container_port: i32,
    /// Protocol, `TCP` when empty.
    #[serde(deserialize_with = "null_default")]
    pub protocol: Box<str>,
}

/// What is used of a pod's status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Phase.
    #[serde(deserialize_with = "null_default")]
    pub phase: Box<str>,
    /// First address.
    #[serde(rename = "podIP", deserialize_with = "null_default")]
    pub pod_ip: Box<str>,
    /// All addresses.
    #[serde(rename = "podIPs", deserialize_with = "null_default")]
    pub pod_ips: Vec<PodIp>,
    /// Conditions.
    #[serde(deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
    /// Container statuses.
    #[serde(deserialize_with = "null_default")]
    pub container_statuses: Vec<ContainerStatus>,
}

/// An address of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodIp {
    /// The address.
    pub ip: Box<str>,
}

/// What is used of a container's status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Restarts so far.
    pub restart_count: i32,
}

impl Pod {
    /// The condition of that type.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| &*condition.type_ == type_)
    }

    /// Whether the Ready condition is true.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|condition| &*condition.status == "True")
    }

    /// Since when it is ready.
    pub fn ready_since(&self) -> Option<Timestamp> {
        let condition = self.condition("Ready").filter(|condition| &*condition.status == "True")?;
        condition.last_transition_time
    }

    /// How dear it is when its set is scaled down.
    pub fn deletion_cost(&self) -> i32 {
        self.metadata.annotations.deletion_cost.as_deref().and_then(|cost| cost.parse().ok()).unwrap_or(0)
    }

    /// The most often any of its containers was restarted.
    pub fn restarts(&self) -> i32 {
        self.status.container_statuses.iter().map(|status| status.restart_count).max().unwrap_or(0)
    }

    /// Whether it ended, well or not.
    pub fn is_terminal(&self) -> bool {
        matches!(&*self.status.phase, "Succeeded" | "Failed")
    }

    /// Whether it counts for a controller: neither ended nor being deleted.
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && self.metadata.deletion_timestamp.is_none()
    }

    /// Whether it has been ready for `min_ready_seconds`.
    pub fn is_available(&self, min_ready_seconds: i32, now: Timestamp) -> bool {
        if !self.is_ready() {
            return false;
        }
        min_ready_seconds == 0
            || self
                .ready_since()
                .is_some_and(|since| now.duration_since(since).as_secs() >= i64::from(min_ready_seconds))
    }
}

view_object!(Pod, self, add => {
    if !self.spec.node_name.is_empty() {
        add(Index::Node, &self.spec.node_name);
    }
});

/// A node as the controllers see it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Metadata.
    pub metadata: Meta,
    /// Specification.
    pub spec: NodeSpec,
    /// Status.
    pub status: NodeStatus,
}

/// What is used of a node's specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// Pod network of the node.
    #[serde(rename = "podCIDR", deserialize_with = "null_default")]
    pub pod_cidr: Box<str>,
    /// Pod networks of the node.
    #[serde(rename = "podCIDRs", deserialize_with = "null_default")]
    pub pod_cidrs: Vec<Box<str>>,
    /// Taints.
    #[serde(deserialize_with = "null_default")]
    pub taints: Vec<Taint>,
    /// Whether new pods are kept away.
    #[serde(deserialize_with = "null_default")]
    pub unschedulable: bool,
}

/// What is used of a node's status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Conditions.
    #[serde(deserialize_with = "null_default")]
    pub conditions: Vec<Condition>,
}

impl Node {
    /// The condition of that type.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| &*condition.type_ == type_)
    }
}

view_object!(Node);

/// A service as the controllers see it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Metadata.
    pub metadata: Meta,
    /// Specification.
    pub spec: ServiceSpec,
}

/// What is used of a service's specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Which pods; `None` when somebody else writes the endpoints.
    pub selector: Option<BTreeMap<String, String>>,
    /// Type.
    #[serde(rename = "type", deserialize_with = "null_default")]
    pub type_: Box<str>,
    /// Cluster address, `None` for headless.
    #[serde(rename = "clusterIP", deserialize_with = "null_default")]
    pub cluster_ip: Box<str>,
    /// Address families.
    #[serde(deserialize_with = "null_default")]
    pub ip_families: Vec<Box<str>>,
    /// Whether pods that are not ready count as ready.
    #[serde(deserialize_with = "null_default")]
    pub publish_not_ready_addresses: bool,
    /// Ports.
    #[serde(deserialize_with = "null_default")]
    pub ports: Vec<ServicePort>,
}

/// A port of a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name.
    #[serde(deserialize_with = "null_default")]
    pub name: String,
    /// Protocol, `TCP` when empty.
    #[serde(deserialize_with = "null_default")]
    pub protocol: String,
    /// Number at the service.
    pub port: i32,
    /// Number or name at the pod.
    pub target_port: Option<IntOrString>,
    /// Application protocol.
    pub app_protocol: Option<String>,
}

view_object!(Service);

/// A namespace as the controllers see it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Metadata.
    pub metadata: Meta,
    /// Specification.
    pub spec: NamespaceSpec,
    /// Status.
    pub status: NamespaceStatus,
}

/// What is used of a namespace's specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceSpec {
    /// Who must let go before it may vanish.
    #[serde(deserialize_with = "null_default")]
    pub finalizers: Vec<Box<str>>,
}

/// What is used of a namespace's status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    #[serde(deserialize_with = "null_default")]
    pub phase: Box<str>,
}

impl Namespace {
    /// Whether things may still be made in it.
    pub fn is_active(&self) -> bool {
        self.metadata.deletion_timestamp.is_none() && &*self.status.phase != "Terminating"
    }
}

view_object!(Namespace);

/// Any object of which only metadata matters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MetaOnly {
    /// Metadata.
    pub metadata: Meta,
}

view_object!(MetaOnly);

/// A config map that holds certificates of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ConfigMap {
    /// Metadata.
    pub metadata: Meta,
    /// Contents.
    #[serde(deserialize_with = "null_default")]
    pub data: BTreeMap<String, String>,
}

view_object!(ConfigMap);

/// A node's lease.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// Metadata.
    pub metadata: Meta,
    /// Specification.
    pub spec: LeaseSpec,
}

/// What is used of a lease's specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// When it was last renewed.
    pub renew_time: Option<Timestamp>,
}

view_object!(Lease);
