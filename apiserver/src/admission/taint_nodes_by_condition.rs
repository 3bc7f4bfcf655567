//! A new node gets no work before the node lifecycle controller has seen it ready.

use api_types::meta::{object_mut, str_at};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin, Rounds};
use crate::registry::Registry;

pub struct TaintNodesByCondition;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Admit
    }

    async fn admit(&self, _registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.operation != Operation::Create || !a.is_core("nodes") {
            return Ok(());
        }
        let Value::Object(root) = &mut *a.object else { return Ok(()) };
        let taints = object_mut(root, "spec").entry("taints").or_insert(Value::Null);
        if taints.is_null() {
            *taints = json!([]);
        }
        let Value::Array(taints) = taints else { return Ok(()) };
        if !taints.iter().any(|t| str_at(t, &["key"]) == NOT_READY && str_at(t, &["effect"]) == "NoSchedule")
        {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}
