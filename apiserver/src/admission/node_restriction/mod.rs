//! A node agent changes its own node and the pods that run there, and nothing of others.

mod pods;

pub(super) use pods::refers_to_secrets;

use api_types::catalog;
use api_types::meta::{self, str_at};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::registry::{Registry, parse_stored};

pub struct NodeRestriction;

const LEASES: &str = "kube-node-lease";
/// Labels of Kubernetes' own domains that a node gives itself.
const OWN_LABELS: [&str; 14] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/windows-build",
];

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(node) = a.user.node().map(str::to_owned) else { return Ok(()) };
        match (a.kind.group, a.kind.plural) {
            ("", "nodes") => own_node(a, &node),
            ("", "pods") => pods::own_pod(registry, a, &node),
            ("", "serviceaccounts") if a.subresource == "token" => token_for_own_pod(registry, a, &node),
            ("coordination.k8s.io", "leases") if a.namespace != LEASES => {
                Err(a.forbidden(&format!("can only access leases in the {LEASES:?} system namespace")))
            }
            ("coordination.k8s.io", "leases") if a.name != node => {
                Err(a.forbidden("can only access node lease with the same name as the requesting node"))
            }
            ("storage.k8s.io", "csinodes") if a.name != node => {
                Err(a.forbidden("can only access CSINode with the same name as the requesting node"))
            }
            _ => Ok(()),
        }
    }
}

fn own_node(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    if a.name != node {
        return Err(a.forbidden(&format!("node {node:?} is not allowed to modify node {:?}", a.name)));
    }
    if a.operation == Operation::Update {
        // A node must not free itself of taints that keep work away from it.
        let taints = |o: &Value| meta::at(o, &["spec", "taints"]).cloned();
        if a.old.is_some_and(|old| taints(old) != taints(a.object)) {
            return Err(a.forbidden(&format!("node {node:?} is not allowed to modify taints")));
        }
    }
    let labels = foreign_labels(a);
    if a.operation == Operation::Delete || labels.is_empty() {
        return Ok(());
    }
    Err(a.forbidden(&match a.operation {
        Operation::Create => {
            format!("node {node:?} is not allowed to set the following labels: {}", labels.join(", "))
        }
        _ => format!("is not allowed to modify labels: {}", labels.join(", ")),
    }))
}

/// The labels that differ and are not the node's to set: by some of them work is steered to nodes.
fn foreign_labels(a: &Attributes<'_>) -> Vec<String> {
    let (new, old) = (meta::labels(a.object), a.old.map(meta::labels).unwrap_or_default());
    let mut changed: Vec<String> = new.keys().chain(old.keys()).cloned().collect();
    changed.sort_unstable();
    changed.dedup();
    changed.retain(|key| new.get(key) != old.get(key) && is_foreign(key));
    changed
}

fn is_foreign(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else { return false };
    let within =
        |of: &str| domain.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    (within("kubernetes.io") || within("k8s.io"))
        && !OWN_LABELS.contains(&label)
        && !within("kubelet.kubernetes.io")
        && !within("node.kubernetes.io")
}

/// A node gets tokens for pods that run there, and for the audiences their volumes name.
fn token_for_own_pod(registry: &Registry, a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let refuse = |why: &str| Err(a.forbidden(why));
    let reference = meta::at(a.object, &["spec", "boundObjectRef"]).unwrap_or(&Value::Null);
    let is_pod = str_at(reference, &["apiVersion"]) == "v1" && str_at(reference, &["kind"]) == "Pod";
    let (name, uid) = (str_at(reference, &["name"]), str_at(reference, &["uid"]));
    if !is_pod || name.is_empty() {
        return refuse("node requested token not bound to a pod");
    }
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let found = catalog::by_resource("", "v1", "pods").and_then(|k| registry.peek(k, &a.namespace, name));
    let Some(found) = found else { return refuse(&format!("pod {name:?} not found")) };
    let pod = parse_stored(&found.bytes)?;
    if meta::uid(&pod) != uid {
        return refuse(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    if str_at(&pod, &["spec", "nodeName"]) != node {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    let audiences = meta::at(a.object, &["spec", "audiences"]).and_then(Value::as_array);
    for audience in audiences.into_iter().flatten().filter_map(Value::as_str) {
        if !names_audience(&pod, audience) {
            return refuse(&format!(
                "audience {audience:?} not found in pod spec volume, system:node:{node} is not authorized to request tokens for this audience"
            ));
        }
    }
    Ok(())
}

/// Whether a projected volume of the pod asks for tokens for an audience.
fn names_audience(pod: &Value, audience: &str) -> bool {
    let list = |v: &'_ Value, path: &[&str]| meta::at(v, path).and_then(Value::as_array).cloned();
    list(pod, &["spec", "volumes"]).into_iter().flatten().any(|v| {
        let sources = list(&v, &["projected", "sources"]).into_iter().flatten();
        sources.into_iter().any(|s| str_at(&s, &["serviceAccountToken", "audience"]) == audience)
    })
}
