//! A node agent changes its own node and the pods that run there, and nothing of others.

mod audience;
mod claims;
mod pods;

pub(super) use pods::refers_to_secrets;

use std::sync::Arc;

use api_types::catalog;
use api_types::meta::{self, str_at};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use super::certificate_signers::{self, is_request};
use super::{Attributes, Operation, Plugin, Rounds};
use crate::authz::Authorization;
use crate::registry::{Registry, parse_stored};

pub struct NodeRestriction(pub Arc<Authorization>);

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

    fn rounds(&self) -> Rounds {
        Rounds::Admit
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(node) = a.user.node().map(str::to_owned) else { return Ok(()) };
        if node.is_empty() {
            return Err(a.forbidden(&format!("could not determine node from user {:?}", a.user.name)));
        }
        match (a.kind.group, a.kind.plural) {
            ("", "nodes") => own_node(a, &node),
            ("", "pods") => pods::own_pod(registry, a, &node),
            ("", "serviceaccounts") if a.subresource == "token" => {
                token_for_own_pod(registry, &self.0, a, &node)
            }
            ("", "persistentvolumeclaims") => claims::own_status(a, &node),
            ("coordination.k8s.io", "leases") if a.namespace != LEASES => {
                Err(a.forbidden(&format!("can only access leases in the {LEASES:?} system namespace")))
            }
            ("coordination.k8s.io", "leases") if a.name != node => {
                Err(a.forbidden("can only access node lease with the same name as the requesting node"))
            }
            ("storage.k8s.io", "csinodes") if a.name != node => {
                Err(a.forbidden("can only access CSINode with the same name as the requesting node"))
            }
            ("resource.k8s.io", "resourceslices") => own_slice(a, &node),
            ("certificates.k8s.io", "certificatesigningrequests") => own_certificate(a, &node),
            _ => Ok(()),
        }
    }
}

/// Which slices are a node's is known to the node authorizer, but for what is new and for each of a collection.
fn own_slice(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let (verb, slice) = match a.operation {
        Operation::Create => ("create", Some(&*a.object)),
        Operation::Delete => ("delete", a.old),
        Operation::Update => return Ok(()),
    };
    if slice.is_some_and(|s| str_at(s, &["spec", "nodeName"]) == node) {
        return Ok(());
    }
    Err(a.forbidden(&format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")))
}

/// A node asks for certificates in its own name only; the rest is the signer's to judge.
fn own_certificate(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    const SIGNERS: [&str; 2] =
        ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];
    if !is_request(a, Operation::Create, "") || !SIGNERS.contains(&str_at(a.object, &["spec", "signerName"]))
    {
        return Ok(());
    }
    let subject = certificate_signers::subject(str_at(a.object, &["spec", "request"]))
        .map_err(|why| a.forbidden(&format!("unable to parse csr: {why}")))?;
    if subject.common_name == format!("system:node:{node}") {
        return Ok(());
    }
    Err(a.forbidden(&format!("can only create a node CSR with CN=system:node:{node}")))
}

fn own_node(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    if a.name != node {
        return Err(a.forbidden(&format!("node {node:?} is not allowed to modify node {:?}", a.name)));
    }
    let part = |o: &Value, path: &[&str]| meta::at(o, path).filter(|v| !v.is_null()).cloned();
    let config = part(a.object, &["spec", "configSource"]);
    if a.operation == Operation::Create && config.is_some() {
        return Err(
            a.forbidden(&format!("node {node:?} is not allowed to create pods with a non-nil configSource"))
        );
    }
    if a.operation == Operation::Update {
        if config.is_some() && config != a.old.and_then(|old| part(old, &["spec", "configSource"])) {
            return Err(a.forbidden(&format!(
                "node {node:?} is not allowed to update configSource to a new non-nil configSource"
            )));
        }
        // A node must not free itself of taints that keep work away from it.
        for (path, name) in
            [(&["spec", "taints"], "taints"), (&["metadata", "ownerReferences"], "ownerReferences")]
        {
            let list = |o: &Value| part(o, path).filter(|v| v.as_array().is_none_or(|l| !l.is_empty()));
            if a.old.is_some_and(|old| list(old) != list(a.object)) {
                return Err(a.forbidden(&format!("node {node:?} is not allowed to modify {name}")));
            }
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

/// A node gets tokens for pods that run there, and for the audiences their volumes need.
fn token_for_own_pod(
    registry: &Registry,
    authorization: &Authorization,
    a: &Attributes<'_>,
    node: &str,
) -> Result<(), Status> {
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
    // Upstream's lister names its kind in the singular.
    let Some(found) = found else { return Err(Status::not_found("", "pod", name)) };
    let pod = parse_stored(&found.bytes)?;
    if meta::uid(&pod) != uid {
        return refuse(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    if str_at(&pod, &["spec", "nodeName"]) != node {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    audience::judge(registry, authorization, a, &pod).map_err(|why| a.forbidden(&why))
}
