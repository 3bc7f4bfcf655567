//! A claim grows only when it is bound, and only in a class that lets its volumes grow.

use api_types::catalog;
use api_types::meta::{self, str_at};
use api_types::quantity::Quantity;
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, Rounds};
use crate::registry::{Registry, parse_stored};

pub struct PersistentVolumeClaimResize;

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Validate
    }

    async fn validate(&self, registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        let Some(old) = a.old.filter(|_| a.operation == Operation::Update) else { return Ok(()) };
        if !a.is_core("persistentvolumeclaims") || size(a.object) <= size(old) {
            return Ok(());
        }
        if str_at(old, &["status", "phase"]) != "Bound" {
            return Err(a.forbidden("Only bound persistent volume claims can be expanded"));
        }
        if class(a.object) == class(old) && may_grow(registry, class(a.object))? {
            return Ok(());
        }
        Err(a.forbidden(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ))
    }
}

/// What the claim asks for; nothing when it cannot be read, which validation has refused.
fn size(claim: &Value) -> Option<Quantity> {
    str_at(claim, &["spec", "resources", "requests", "storage"]).parse().ok()
}

fn class(claim: &Value) -> &str {
    match meta::at(claim, &["metadata", "annotations", CLASS]).and_then(Value::as_str) {
        Some(class) => class,
        None => str_at(claim, &["spec", "storageClassName"]),
    }
}

fn may_grow(registry: &Registry, class: &str) -> Result<bool, Status> {
    if class.is_empty() {
        return Ok(false);
    }
    let kind = catalog::by_resource("storage.k8s.io", "v1", "storageclasses");
    let Some(found) = kind.and_then(|kind| registry.peek(kind, "", class)) else { return Ok(false) };
    let class = parse_stored(&found.bytes)?;
    Ok(class.get("allowVolumeExpansion") == Some(&Value::Bool(true)))
}
