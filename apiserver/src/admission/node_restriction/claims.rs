//! Claims: a node tells how far an expansion is, and nothing else.

use api_types::status::Status;
use serde_json::Value;

use super::{Attributes, Operation};

/// Parts of the status that are a node's to write.
const OWN: [&str; 4] = ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"];

pub(super) fn own_status(a: &Attributes<'_>, node: &str) -> Result<(), Status> {
    match (a.subresource, a.operation, a.old) {
        ("status", Operation::Update, Some(old)) if others(a.object) == others(old) => Ok(()),
        ("status", Operation::Update, _) => Err(a.forbidden(&format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        ))),
        ("status", operation, _) => Err(a.forbidden(&format!("unexpected operation {:?}", operation.name()))),
        _ => Err(a.forbidden("may only update PVC status")),
    }
}

/// All but what a node may write, without what means nothing.
fn others(claim: &Value) -> Value {
    let mut claim = claim.clone();
    if let Some(metadata) = claim.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    if let Some(status) = claim.get_mut("status").and_then(Value::as_object_mut) {
        OWN.iter().for_each(|field| drop(status.remove(*field)));
    }
    pruned(&mut claim);
    claim
}

/// Takes away what is empty: for Go it is as good as not there.
fn pruned(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(pruned);
            fields.retain(|_, v| !is_empty(v));
        }
        Value::Array(items) => items.iter_mut().for_each(pruned),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
