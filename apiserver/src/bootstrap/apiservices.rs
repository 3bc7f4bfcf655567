//! An APIService for each version of a group that this server serves itself.

use std::sync::Arc;

use api_types::status::Status;
use serde_json::{Value, json};

use super::{ensure, kind};
use crate::discovery;
use crate::registry::Write;
use crate::server::Server;

/// Tells that the object is kept by the API server, here: put in place at start.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Groups with the priority of the group; upstream's order of discovery.
const GROUPS: [(&str, i64); 20] = [
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("resource.k8s.io", 15_900),
];

/// Puts them in place.
pub async fn run(server: &Arc<Server>, write: &Write<'_>) -> Result<(), Status> {
    let kind = kind("apiregistration.k8s.io", "apiservices")?;
    let services = discovery::group_versions().filter_map(|(group, version)| local(group, version));
    // Small writes share the store's commits.
    futures::future::try_join_all(services.map(|s| ensure(server, kind, "", s, write))).await.map(drop)
}

fn local(group: &str, version: &str) -> Option<Value> {
    let (_, priority) = GROUPS.iter().find(|(g, _)| *g == group)?;
    let version_priority = match (group, version) {
        ("", _) => 1,
        ("flowcontrol.apiserver.k8s.io", _) => 21,
        ("autoscaling", "v2") => 30,
        _ => 15,
    };
    let mut spec =
        json!({"version": version, "groupPriorityMinimum": priority, "versionPriority": version_priority});
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    Some(json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {MANAGED: "onstart"}}, "spec": spec}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_version_has_one() {
        for (group, version) in discovery::group_versions() {
            // The group of API services is not aggregated itself.
            assert_eq!(
                local(group, version).is_none(),
                group == "apiregistration.k8s.io",
                "{group}/{version}"
            );
        }
    }
}
