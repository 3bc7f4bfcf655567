//! Resizes of pods that are bound: never more than their node has, and only what their node can resize.

use api_types::amounts::{self, Amounts};
use api_types::catalog;
use api_types::meta::{self, str_at};
use api_types::quantity::Quantity;
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin, Rounds};
use crate::registry::{Registry, parse_stored};

/// What a node must declare to resize init containers that are no sidecars.
const INIT_CONTAINERS: &str = "InPlacePodVerticalScalingInitContainers";
/// What a node must declare to resize what is asked for the pod as a whole.
const POD_LEVEL: &str = "InPlacePodLevelResourcesVerticalScaling";

pub struct NodeDeclaredFeatureValidator;

#[async_trait]
impl Plugin for NodeDeclaredFeatureValidator {
    fn name(&self) -> &'static str {
        "NodeDeclaredFeatureValidator"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Validate
    }

    async fn validate(&self, registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        let Some(old) = a.old.filter(|_| is_resize(a)) else { return Ok(()) };
        let mut needed = needed(a.object, old);
        if needed.is_empty() {
            return Ok(());
        }
        let node = node(registry, a)?;
        let declared = meta::at(&node, &["status", "declaredFeatures"]).and_then(Value::as_array);
        needed.retain(|f| !declared.is_some_and(|known| known.iter().any(|k| k == f)));
        if needed.is_empty() {
            return Ok(());
        }
        Err(a.forbidden(&format!(
            "pod update requires features {} which are not available on node {:?}",
            needed.join(", "),
            meta::name(&node)
        )))
    }
}

pub struct PodResizeValidator;

#[async_trait]
impl Plugin for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Validate
    }

    async fn validate(&self, registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        if !is_resize(a) {
            return Ok(());
        }
        let node = node(registry, a)?;
        let os = str_at(&node, &["metadata", "labels", "kubernetes.io/os"]);
        if !matches!(os, "" | "linux") {
            let why = format!(
                "pod resize is only supported on linux nodes, node {:?} is {os:?}",
                meta::name(&node)
            );
            return Err(refused(a, &why, "UnsupportedPlatform"));
        }
        let allocatable = amounts::read(meta::at(&node, &["status", "allocatable"]));
        match too_much(&amounts::of_pod(a.object, "requests", true), &allocatable) {
            Some(why) => Err(refused(a, &why, "NodeCapacity")),
            None => Ok(()),
        }
    }
}

/// Whether a bound pod's resources change: the generation counts changes of its spec.
fn is_resize(a: &Attributes<'_>) -> bool {
    let generation = |pod: &Value| meta::at(pod, &["metadata", "generation"]).cloned();
    a.operation == Operation::Update
        && a.kind.group.is_empty()
        && a.kind.plural == "pods"
        && a.subresource == "resize"
        && !str_at(a.object, &["spec", "nodeName"]).is_empty()
        && a.old.is_some_and(|old| generation(old) != generation(a.object))
}

fn node(registry: &Registry, a: &Attributes<'_>) -> Result<Value, Status> {
    let name = str_at(a.object, &["spec", "nodeName"]);
    let kind = catalog::by_resource("", "v1", "nodes");
    let kind = kind.ok_or_else(|| Status::internal("nodes are not served"))?;
    let found = registry.peek(kind, "", name);
    let found = found.ok_or_else(|| a.forbidden(&format!("node {name:?} not found")))?;
    parse_stored(&found.bytes)
}

fn needed(new: &Value, old: &Value) -> Vec<&'static str> {
    let all =
        |pod| meta::at(pod, &["spec", "initContainers"]).and_then(Value::as_array).into_iter().flatten();
    let init = all(new).zip(all(old)).any(|(new, old)| {
        str_at(old, &["restartPolicy"]) != "Always" && new.get("resources") != old.get("resources")
    });
    let own = |pod| meta::at(pod, &["spec", "resources"]).filter(|r| !r.is_null());
    let mut needed = Vec::new();
    if own(new) != own(old) {
        needed.push(POD_LEVEL);
    }
    if init {
        needed.push(INIT_CONTAINERS);
    }
    needed
}

fn too_much(requests: &Amounts, allocatable: &Amounts) -> Option<String> {
    let lacking: Vec<String> = ["cpu", "memory"]
        .into_iter()
        .filter_map(|name| {
            let amount = |of: &Amounts| of.get(name).copied().unwrap_or_default();
            let (asked, there) = (amount(requests), amount(allocatable));
            let units = |q: Quantity| if name == "cpu" { q.milli_value() } else { q.value() };
            let text = || format!("{name}, requested: {}, allocatable: {}", units(asked), units(there));
            (asked > there).then(text)
        })
        .collect();
    let all = || format!("node didn't have enough allocatable resources: {}", lacking.join("; "));
    (!lacking.is_empty()).then(all)
}

fn refused(a: &Attributes<'_>, why: &str, cause: &str) -> Status {
    let mut status = a.forbidden(why);
    if let Value::Object(details) = &mut status.details {
        details.insert("causes".into(), json!([{"reason": cause}]));
    }
    status
}
