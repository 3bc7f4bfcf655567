//! The table of served kinds, in discovery order.

use super::Subresource::{
    Attach, Binding, EphemeralContainers, Eviction, Exec, Finalize, Log, PortForward, Scale, Status,
};
use super::{Kind, Scope, SelectableField};
use crate::kinds;
use crate::table::{AGE, Column, NAME, integer, text, wide};

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Namespaces end one at a time.
const NO_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

const fn field(name: &'static str, path: &'static [&'static str]) -> SelectableField {
    SelectableField { name, path, default: "" }
}

/// Starting point of an entry: a namespaced kind of the core group without anything special.
const fn core(
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    type_name: &'static str,
    strategy: &'static dyn super::Strategy,
) -> Kind {
    Kind {
        group: "",
        version: "v1",
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        verbs: ALL,
        subresources: &[],
        storage: plural,
        stored_version: "v1",
        conversion: None,
        type_name,
        fields: &[],
        columns: &[NAME, AGE],
        strategy,
        ttl_seconds: None,
    }
}

const fn grouped(group: &'static str, api_version: &'static str, kind: Kind) -> Kind {
    Kind { group, stored_version: api_version, ..kind }
}

const EVENT_COLUMNS: &[Column] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    Column { name: "Count", kind: "integer", format: "", priority: 1 },
    Column { name: "Name", kind: "string", format: "name", priority: 1 },
];

const EVENT_FIELDS: &[SelectableField] = &[
    field("involvedObject.kind", &["involvedObject", "kind"]),
    field("involvedObject.namespace", &["involvedObject", "namespace"]),
    field("involvedObject.name", &["involvedObject", "name"]),
    field("involvedObject.uid", &["involvedObject", "uid"]),
    field("involvedObject.apiVersion", &["involvedObject", "apiVersion"]),
    field("involvedObject.resourceVersion", &["involvedObject", "resourceVersion"]),
    field("involvedObject.fieldPath", &["involvedObject", "fieldPath"]),
    field("reason", &["reason"]),
    field("reportingComponent", &["reportingComponent"]),
    field("source", &["source", "component"]),
    field("type", &["type"]),
];

const ROLE: &[Column] = &[NAME, text("Created At")];
const BINDING: &[Column] = &[NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")];

/// An hour, as upstream keeps events.
const EVENT_TTL_SECONDS: u64 = 3600;

/// Every served kind.
pub static KINDS: &[Kind] = &[
    Kind {
        short_names: &["cm"],
        columns: &[NAME, integer("Data"), AGE],
        ..core("ConfigMap", "configmaps", "configmap", "core.v1.ConfigMap", &kinds::configmap::ConfigMap)
    },
    Kind {
        short_names: &["ep"],
        storage: "services/endpoints",
        columns: &[NAME, text("Endpoints"), AGE],
        ..core("Endpoints", "endpoints", "endpoints", "core.v1.Endpoints", &kinds::endpoints::Endpoints)
    },
    Kind {
        short_names: &["ev"],
        fields: EVENT_FIELDS,
        columns: EVENT_COLUMNS,
        ttl_seconds: Some(EVENT_TTL_SECONDS),
        ..core("Event", "events", "event", "core.v1.Event", &kinds::event::Event)
    },
    Kind {
        short_names: &["ns"],
        scope: Scope::Cluster,
        verbs: NO_COLLECTION,
        subresources: &[Finalize, Status],
        fields: &[field("status.phase", &["status", "phase"])],
        columns: &[NAME, text("Status"), AGE],
        ..core("Namespace", "namespaces", "namespace", "core.v1.Namespace", &kinds::namespace::Namespace)
    },
    Kind {
        short_names: &["no"],
        scope: Scope::Cluster,
        subresources: &[Status],
        storage: "minions",
        fields: &[SelectableField {
            name: "spec.unschedulable",
            path: &["spec", "unschedulable"],
            default: "false",
        }],
        columns: &[
            NAME,
            text("Status"),
            text("Roles"),
            AGE,
            text("Version"),
            wide("Internal-IP"),
            wide("External-IP"),
            wide("OS-Image"),
            wide("Kernel-Version"),
            wide("Container-Runtime"),
        ],
        ..core("Node", "nodes", "node", "core.v1.Node", &kinds::node::Node)
    },
    Kind {
        short_names: &["po"],
        categories: &["all"],
        subresources: &[Attach, Binding, EphemeralContainers, Eviction, Exec, Log, PortForward, Status],
        fields: &[
            field("spec.nodeName", &["spec", "nodeName"]),
            field("spec.restartPolicy", &["spec", "restartPolicy"]),
            field("spec.schedulerName", &["spec", "schedulerName"]),
            field("spec.serviceAccountName", &["spec", "serviceAccountName"]),
            SelectableField { name: "spec.hostNetwork", path: &["spec", "hostNetwork"], default: "false" },
            field("status.phase", &["status", "phase"]),
            field("status.podIP", &["status", "podIP"]),
            field("status.nominatedNodeName", &["status", "nominatedNodeName"]),
        ],
        columns: &[
            NAME,
            text("Ready"),
            text("Status"),
            text("Restarts"),
            AGE,
            wide("IP"),
            wide("Node"),
            wide("Nominated Node"),
            wide("Readiness Gates"),
        ],
        ..core("Pod", "pods", "pod", "core.v1.Pod", &kinds::pod::Pod)
    },
    Kind {
        fields: &[field("type", &["type"])],
        columns: &[NAME, text("Type"), integer("Data"), AGE],
        ..core("Secret", "secrets", "secret", "core.v1.Secret", &kinds::secret::Secret)
    },
    Kind {
        short_names: &["sa"],
        columns: &[NAME, integer("Secrets"), AGE],
        ..core(
            "ServiceAccount",
            "serviceaccounts",
            "serviceaccount",
            "core.v1.ServiceAccount",
            &kinds::serviceaccount::ServiceAccount,
        )
    },
    Kind {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[Status],
        storage: "services/specs",
        fields: &[field("spec.clusterIP", &["spec", "clusterIP"]), field("spec.type", &["spec", "type"])],
        columns: &[
            NAME,
            text("Type"),
            text("Cluster-IP"),
            text("External-IP"),
            text("Port(s)"),
            AGE,
            wide("Selector"),
        ],
        ..core("Service", "services", "service", "core.v1.Service", &kinds::service::Service)
    },
    grouped(
        "apps",
        "apps/v1",
        Kind {
            short_names: &["deploy"],
            categories: &["all"],
            subresources: &[Scale, Status],
            columns: &[
                NAME,
                text("Ready"),
                integer("Up-to-date"),
                integer("Available"),
                AGE,
                wide("Containers"),
                wide("Images"),
                wide("Selector"),
            ],
            ..core(
                "Deployment",
                "deployments",
                "deployment",
                "apps.v1.Deployment",
                &kinds::deployment::Deployment,
            )
        },
    ),
    grouped(
        "apps",
        "apps/v1",
        Kind {
            short_names: &["rs"],
            categories: &["all"],
            subresources: &[Scale, Status],
            fields: &[SelectableField {
                name: "status.replicas",
                path: &["status", "replicas"],
                default: "0",
            }],
            columns: &[
                NAME,
                integer("Desired"),
                integer("Current"),
                integer("Ready"),
                AGE,
                wide("Containers"),
                wide("Images"),
                wide("Selector"),
            ],
            ..core(
                "ReplicaSet",
                "replicasets",
                "replicaset",
                "apps.v1.ReplicaSet",
                &kinds::replicaset::ReplicaSet,
            )
        },
    ),
    grouped(
        "coordination.k8s.io",
        "coordination.k8s.io/v1",
        Kind {
            columns: &[NAME, text("Holder"), AGE],
            ..core("Lease", "leases", "lease", "coordination.v1.Lease", &kinds::lease::Lease)
        },
    ),
    grouped(
        "discovery.k8s.io",
        "discovery.k8s.io/v1",
        Kind {
            columns: &[NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE],
            ..core(
                "EndpointSlice",
                "endpointslices",
                "endpointslice",
                "discovery.v1.EndpointSlice",
                &kinds::endpointslice::EndpointSlice,
            )
        },
    ),
    Kind {
        group: "events.k8s.io",
        short_names: &["ev"],
        stored_version: "v1",
        conversion: Some(kinds::event::EVENTS_V1),
        fields: EVENT_FIELDS,
        columns: EVENT_COLUMNS,
        ttl_seconds: Some(EVENT_TTL_SECONDS),
        ..core("Event", "events", "event", "events.v1.Event", &kinds::event::Event)
    },
    grouped(
        "rbac.authorization.k8s.io",
        "rbac.authorization.k8s.io/v1",
        Kind {
            scope: Scope::Cluster,
            columns: BINDING,
            ..core(
                "ClusterRoleBinding",
                "clusterrolebindings",
                "clusterrolebinding",
                "rbac.v1.ClusterRoleBinding",
                &kinds::rbac::RoleBinding { cluster: true },
            )
        },
    ),
    grouped(
        "rbac.authorization.k8s.io",
        "rbac.authorization.k8s.io/v1",
        Kind {
            scope: Scope::Cluster,
            columns: ROLE,
            ..core(
                "ClusterRole",
                "clusterroles",
                "clusterrole",
                "rbac.v1.ClusterRole",
                &kinds::rbac::Role { cluster: true },
            )
        },
    ),
    grouped(
        "rbac.authorization.k8s.io",
        "rbac.authorization.k8s.io/v1",
        Kind {
            columns: BINDING,
            ..core(
                "RoleBinding",
                "rolebindings",
                "rolebinding",
                "rbac.v1.RoleBinding",
                &kinds::rbac::RoleBinding { cluster: false },
            )
        },
    ),
    grouped(
        "rbac.authorization.k8s.io",
        "rbac.authorization.k8s.io/v1",
        Kind {
            columns: ROLE,
            ..core("Role", "roles", "role", "rbac.v1.Role", &kinds::rbac::Role { cluster: false })
        },
    ),
];
