//! Who has the cluster roles by default. A subject is `user:<name>`, `group:<name>` or
//! `sa:<namespace>/<name>`.

use serde_json::{Value, json};

use super::API_GROUP;

/// Roles and their subjects. `system:node` is bound to nobody: nodes are authorized by themselves.
pub(super) const CLUSTER: &[(&str, &[&str])] = &[
    ("cluster-admin", &["group:system:masters"]),
    ("system:basic-user", &["group:system:authenticated"]),
    ("system:discovery", &["group:system:authenticated"]),
    ("system:kube-controller-manager", &["user:system:kube-controller-manager"]),
    ("system:kube-dns", &["sa:kube-system/kube-dns"]),
    ("system:kube-scheduler", &["user:system:kube-scheduler"]),
    ("system:monitoring", &["group:system:monitoring"]),
    ("system:node", &[]),
    ("system:node-proxier", &["user:system:kube-proxy"]),
    ("system:public-info-viewer", &["group:system:authenticated", "group:system:unauthenticated"]),
    ("system:service-account-issuer-discovery", &["group:system:serviceaccounts"]),
    ("system:volume-scheduler", &["user:system:kube-scheduler"]),
];

/// The subject of a table's entry.
pub(super) fn subject(entry: &str) -> Value {
    let (kind, name) = entry.split_once(':').unwrap_or(("", entry));
    match kind {
        "sa" => {
            let (namespace, name) = name.split_once('/').unwrap_or(("", name));
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
        "group" => json!({"apiGroup": API_GROUP, "kind": "Group", "name": name}),
        _ => json!({"apiGroup": API_GROUP, "kind": "User", "name": name}),
    }
}
