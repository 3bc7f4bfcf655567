//! The core group.

use crate::catalog::Subresource::{
    Attach, Binding, EphemeralContainers, Eviction, Exec, Finalize, Log, PortForward, Proxy, Resize, Scale,
    Status, Token,
};
use crate::catalog::{Kind, Scope, SelectableField};
use crate::kinds;
use crate::table::{AGE, NAME, integer, text, wide};

use super::{EVENT_COLUMNS, EVENT_FIELDS, EVENT_TTL_SECONDS, NO_COLLECTION, core, field};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        short_names: &["cs"],
        scope: Scope::Cluster,
        verbs: &["get", "list"],
        columns: &[NAME, text("Status"), text("Message"), text("Error")],
        computed: true,
        ..core(
            "ComponentStatus",
            "componentstatuses",
            "componentstatus",
            "core.v1.ComponentStatus",
            &kinds::componentstatus::ComponentStatus,
        )
    },
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
        short_names: &["limits"],
        ..core(
            "LimitRange",
            "limitranges",
            "limitrange",
            "core.v1.LimitRange",
            &kinds::limitrange::LimitRange,
        )
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
        subresources: &[Proxy, Status],
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
        short_names: &["pvc"],
        subresources: &[Status],
        columns: &[
            NAME,
            text("Status"),
            text("Volume"),
            text("Capacity"),
            text("Access Modes"),
            text("StorageClass"),
            text("VolumeAttributesClass"),
            AGE,
            wide("VolumeMode"),
        ],
        ..core(
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
            "persistentvolumeclaim",
            "core.v1.PersistentVolumeClaim",
            &kinds::persistentvolumeclaim::PersistentVolumeClaim,
        )
    },
    Kind {
        short_names: &["pv"],
        scope: Scope::Cluster,
        subresources: &[Status],
        columns: &[
            NAME,
            text("Capacity"),
            text("Access Modes"),
            text("Reclaim Policy"),
            text("Status"),
            text("Claim"),
            text("StorageClass"),
            text("VolumeAttributesClass"),
            text("Reason"),
            AGE,
            wide("VolumeMode"),
        ],
        ..core(
            "PersistentVolume",
            "persistentvolumes",
            "persistentvolume",
            "core.v1.PersistentVolume",
            &kinds::persistentvolume::PersistentVolume,
        )
    },
    Kind {
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            Attach,
            Binding,
            EphemeralContainers,
            Eviction,
            Exec,
            Log,
            PortForward,
            Proxy,
            Resize,
            Status,
        ],
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
        columns: &[NAME, text("Containers"), text("Images"), text("Pod Labels")],
        ..core(
            "PodTemplate",
            "podtemplates",
            "podtemplate",
            "core.v1.PodTemplate",
            &kinds::podtemplate::PodTemplate,
        )
    },
    Kind {
        short_names: &["rc"],
        categories: &["all"],
        subresources: &[Scale, Status],
        storage: "controllers",
        fields: &[SelectableField { name: "status.replicas", path: &["status", "replicas"], default: "0" }],
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
            "ReplicationController",
            "replicationcontrollers",
            "replicationcontroller",
            "core.v1.ReplicationController",
            &kinds::replicationcontroller::ReplicationController,
        )
    },
    Kind {
        short_names: &["quota"],
        subresources: &[Status],
        columns: &[NAME, text("Request"), text("Limit"), AGE],
        ..core(
            "ResourceQuota",
            "resourcequotas",
            "resourcequota",
            "core.v1.ResourceQuota",
            &kinds::resourcequota::ResourceQuota,
        )
    },
    Kind {
        fields: &[field("type", &["type"])],
        columns: &[NAME, text("Type"), integer("Data"), AGE],
        ..core("Secret", "secrets", "secret", "core.v1.Secret", &kinds::secret::Secret)
    },
    Kind {
        short_names: &["sa"],
        subresources: &[Token],
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
        subresources: &[Proxy, Status],
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
];
