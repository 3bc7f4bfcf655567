//! A pod's priority class becomes a number. Without PriorityClass objects only the built-in classes are known.

use api_types::meta::{default_to, object_mut};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::registry::Registry;

pub struct Priority;

/// Classes every cluster has.
const SYSTEM: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn admit(&self, _registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.operation != Operation::Create || !a.is_core("pods") {
            return Ok(());
        }
        let refused = a.name.clone();
        let Value::Object(root) = &mut *a.object else { return Ok(()) };
        let spec = object_mut(root, "spec");
        let class = spec.get("priorityClassName").and_then(Value::as_str).unwrap_or("").to_owned();
        let value = match class.as_str() {
            "" => 0,
            name => match SYSTEM.iter().find(|(n, _)| *n == name) {
                Some((_, v)) => *v,
                None => {
                    let why = format!("no PriorityClass with name {name} was found");
                    return Err(Status::forbidden("", "pods", &refused, &why));
                }
            },
        };
        if let Some(asked) = spec.get("priority").and_then(Value::as_i64)
            && asked != value
        {
            let why = format!(
                "the integer value of priority ({asked}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            );
            return Err(Status::forbidden("", "pods", &refused, &why));
        }
        spec.insert("priority".into(), value.into());
        default_to(spec, "preemptionPolicy", "PreemptLowerPriority");
        Ok(())
    }
}
