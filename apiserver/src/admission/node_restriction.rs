//! A node agent changes its own node and the pods that run there, and nothing of others.

use api_types::catalog;
use api_types::meta::{self, str_at};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::registry::{Registry, parse_stored};

pub struct NodeRestriction;

const MIRROR: &str = "kubernetes.io/config.mirror";

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(node) = a.user.node().map(str::to_owned) else { return Ok(()) };
        if !a.kind.group.is_empty() {
            return Ok(());
        }
        match a.kind.plural {
            "nodes" => own_node(a, &node),
            "pods" => own_pod(a, &node),
            "serviceaccounts" if a.subresource == "token" => token_for_own_pod(registry, a, &node),
            _ => Ok(()),
        }
    }
}

fn own_node(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    if a.name != node {
        let verb = match a.operation {
            Operation::Create => "create",
            Operation::Update => "modify",
            Operation::Delete => "delete",
        };
        return Err(a.forbidden(&format!("node {node:?} is not allowed to {verb} node {:?}", a.name)));
    }
    if a.operation == Operation::Update && a.subresource.is_empty() {
        // A node must not free itself of taints that keep work away from it.
        let taints = |o: &Value| meta::at(o, &["spec", "taints"]).cloned();
        if a.old.is_some_and(|old| taints(old) != taints(a.object)) {
            return Err(a.forbidden(&format!("node {node:?} is not allowed to modify taints")));
        }
    }
    Ok(())
}

fn own_pod(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    let bound_here = |pod: &Value| str_at(pod, &["spec", "nodeName"]) == node;
    match (a.operation, a.subresource) {
        (Operation::Create, "") => {
            let mirror = !str_at(a.object, &["metadata", "annotations", MIRROR]).is_empty();
            if !mirror {
                return Err(a.forbidden(&format!(
                    "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
                )));
            }
            if bound_here(a.object) {
                return Ok(());
            }
            Err(a.forbidden(&format!("node {node:?} can only create pods with spec.nodeName set to itself")))
        }
        (Operation::Delete, _) if a.old.is_some_and(bound_here) => Ok(()),
        (Operation::Delete, _) => {
            Err(a.forbidden(&format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
        }
        (Operation::Update, "status") if a.old.is_some_and(bound_here) => Ok(()),
        (Operation::Update, "status") => Err(a.forbidden(&format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ))),
        _ => Err(a.forbidden(&format!("unexpected operation by node {node:?}"))),
    }
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
