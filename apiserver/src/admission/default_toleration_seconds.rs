//! Pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise.

use api_types::meta::{self, object_mut, str_at};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin, Rounds};
use crate::registry::Registry;

pub struct DefaultTolerationSeconds;

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Admit
    }

    async fn admit(&self, _registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.operation == Operation::Delete || !a.is_core("pods") {
            return Ok(());
        }
        let existing = meta::at(a.object, &["spec", "tolerations"])
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let tolerates = |taint: &str| {
            existing.iter().any(|t| {
                let (key, effect) = (str_at(t, &["key"]), str_at(t, &["effect"]));
                (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
            })
        };
        let missing: Vec<Value> = TAINTS
            .iter()
            .filter(|t| !tolerates(t))
            .map(|t| json!({"key": t, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}))
            .collect();
        if !missing.is_empty()
            && let Value::Object(root) = &mut *a.object
        {
            let all: Vec<Value> = existing.into_iter().chain(missing).collect();
            object_mut(root, "spec").insert("tolerations".into(), all.into());
        }
        Ok(())
    }
}
