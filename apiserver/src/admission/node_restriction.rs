//! A node agent changes its own node and the pods that run there, and nothing of others.

use api_types::meta::{self, str_at};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::registry::Registry;

pub struct NodeRestriction;

const MIRROR: &str = "kubernetes.io/config.mirror";

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn admit(&self, _registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(node) = a.user.node().map(str::to_owned) else { return Ok(()) };
        if !a.kind.group.is_empty() {
            return Ok(());
        }
        match a.kind.plural {
            "nodes" => own_node(a, &node),
            "pods" => own_pod(a, &node),
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
