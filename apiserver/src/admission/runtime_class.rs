//! What a runtime class costs, and where its pods may run.

use std::sync::Arc;

use api_types::amounts;
use api_types::catalog;
use api_types::meta::{self, object_mut, str_at};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Attributes, Operation, Plugin, Rounds};
use crate::cache::CachedObject;
use crate::registry::read::Freshness;
use crate::registry::{Registry, parsed};

pub struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Both
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(class) = class(registry, a).await? else { return Ok(()) };
        let class = parsed(&class)?;
        if let Some(fixed) = overhead(class) {
            let own = meta::at(a.object, &["spec", "overhead"]).filter(|o| !o.is_null());
            if own.is_some_and(|own| amounts::read(Some(own)) != amounts::read(Some(fixed))) {
                return Err(a.forbidden(MISMATCH));
            }
            if let Value::Object(root) = &mut *a.object {
                object_mut(root, "spec").insert("overhead".into(), fixed.clone());
            }
        }
        schedule(a, class)
    }

    async fn validate(&self, registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        if !concerns(a) {
            return Ok(());
        }
        let class = class(registry, a).await?;
        let own = meta::at(a.object, &["spec", "overhead"]).filter(|o| !o.is_null());
        let class = class.as_deref().map(parsed).transpose()?;
        match (class.and_then(overhead), own) {
            (Some(fixed), own) if amounts::read(Some(fixed)) != amounts::read(own) => {
                Err(a.forbidden(MISMATCH))
            }
            (None, Some(_)) => Err(a.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            )),
            _ => Ok(()),
        }
    }
}

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

fn concerns(a: &Attributes<'_>) -> bool {
    a.operation == Operation::Create && a.is_core("pods")
}

fn overhead(class: &Value) -> Option<&Value> {
    // An overhead without amounts is one of nothing.
    class.get("overhead").filter(|o| !o.is_null()).map(|o| o.get("podFixed").unwrap_or(&Value::Null))
}

/// The class that a new pod names.
async fn class(registry: &Registry, a: &Attributes<'_>) -> Result<Option<Arc<CachedObject>>, Status> {
    let name = meta::at(a.object, &["spec", "runtimeClassName"]).and_then(Value::as_str);
    let Some(name) = name.filter(|_| concerns(a)) else { return Ok(None) };
    let kind = catalog::by_resource("node.k8s.io", "v1", "runtimeclasses");
    let kind = kind.ok_or_else(|| Status::internal("runtime classes are not served"))?;
    match registry.peek(kind, "", name) {
        Some(class) => Ok(Some(class)),
        // It may have been created a moment ago elsewhere.
        None => {
            let found = registry.get(kind, "", name, Freshness::Consistent).await;
            found.map(Some).map_err(|e| match e.reason {
                "NotFound" => a.forbidden(&format!("pod rejected: RuntimeClass {name:?} not found")),
                _ => e,
            })
        }
    }
}

/// The pod goes where both it and its class want it, and tolerates what its class tolerates.
fn schedule(a: &mut Attributes<'_>, class: &Value) -> Result<(), Status> {
    let Some(scheduling) = class.get("scheduling").filter(|s| !s.is_null()) else { return Ok(()) };
    let wanted = scheduling.get("nodeSelector").and_then(Value::as_object).cloned().unwrap_or_default();
    let own = meta::at(a.object, &["spec", "nodeSelector"]).and_then(Value::as_object);
    for (key, value) in &wanted {
        if let Some(other) = own.and_then(|own| own.get(key)).filter(|other| *other != value) {
            let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(other)
            );
            return Err(a.forbidden(&why));
        }
    }
    let Value::Object(root) = &mut *a.object else { return Ok(()) };
    let spec = object_mut(root, "spec");
    if !wanted.is_empty() {
        object_mut(spec, "nodeSelector").extend(wanted);
    }
    let tolerations = scheduling.get("tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    if !tolerations.is_empty() {
        tolerate(spec, tolerations);
    }
    Ok(())
}

/// Adds tolerations that are not among those of the pod, or part of one of them; and drops those that are part of an
/// added one.
fn tolerate(spec: &mut Map<String, Value>, added: Vec<Value>) {
    let own = spec.get("tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let all: Vec<Value> = own.into_iter().chain(added).collect();
    let mut kept: Vec<Value> = Vec::new();
    for (i, t) in all.iter().enumerate() {
        let covered =
            kept.iter().any(|k| covers(k, t)) || all[i + 1..].iter().any(|l| l != t && covers(l, t));
        if !covered {
            kept.push(t.clone());
        }
    }
    spec.insert("tolerations".into(), kept.into());
}

/// Whether whatever `b` tolerates `a` tolerates too.
fn covers(a: &Value, b: &Value) -> bool {
    if a == b {
        return true;
    }
    let text = |t: &Value, f: &str| str_at(t, &[f]).to_owned();
    let seconds = |t: &Value| t.get("tolerationSeconds").and_then(Value::as_i64);
    if text(a, "key") != text(b, "key") && !text(a, "key").is_empty()
        || text(a, "effect") != text(b, "effect") && !text(a, "effect").is_empty()
    {
        return false;
    }
    if let Some(most) = seconds(a)
        && seconds(b).is_none_or(|s| s > most)
    {
        return false;
    }
    match str_at(a, &["operator"]) {
        "Exists" => true,
        "" | "Equal" => {
            ["", "Equal"].contains(&str_at(b, &["operator"])) && text(a, "value") == text(b, "value")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tolerations_are_merged_without_what_is_covered() {
        let t = |key: &str, operator: &str, value: &str| json!({"key": key, "operator": operator, "value": value});
        for (own, added, merged) in [
            (vec![], vec![t("a", "Exists", "")], vec![t("a", "Exists", "")]),
            (vec![t("a", "Exists", "")], vec![t("a", "Equal", "x")], vec![t("a", "Exists", "")]),
            (vec![t("a", "Equal", "x")], vec![t("a", "Exists", "")], vec![t("a", "Exists", "")]),
            (vec![t("a", "Equal", "x")], vec![t("a", "Equal", "x")], vec![t("a", "Equal", "x")]),
            (
                vec![t("a", "Equal", "x")],
                vec![t("a", "Equal", "y")],
                vec![t("a", "Equal", "x"), t("a", "Equal", "y")],
            ),
        ] {
            let mut spec = Map::from_iter([("tolerations".to_owned(), Value::from(own))]);
            tolerate(&mut spec, added);
            assert_eq!(spec["tolerations"], Value::from(merged));
        }
    }
}
