//! A pod's priority class becomes a number and a policy; and only one class is the default.

use std::sync::Arc;

use api_types::catalog;
use api_types::meta::{self, object_mut, str_at};
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, Rounds, cached};
use crate::cache::CachedObject;
use crate::registry::read::Freshness;
use crate::registry::{Registry, parsed};

pub struct Priority;

const GROUP: &str = "scheduling.k8s.io";

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Both
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !a.is_core("pods") {
            return Ok(());
        }
        match (a.operation, a.old) {
            (Operation::Create, _) => decide(registry, a).await,
            (Operation::Update, Some(old)) => {
                keep(a.object, old);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn validate(&self, registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        let is_default = || a.object.get("globalDefault") == Some(&Value::Bool(true));
        if a.kind.group != GROUP || a.kind.plural != "priorityclasses" || !is_default() {
            return Ok(());
        }
        match default_class(registry)? {
            Some(class) if a.operation == Operation::Create || class.name() != a.name => {
                Err(a.forbidden(&format!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    class.name()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// What an update leaves out stays as it was decided.
fn keep(pod: &mut Value, old: &Value) {
    let Some(Value::Object(spec)) = pod.get_mut("spec") else { return };
    for field in ["priority", "preemptionPolicy"] {
        if let (None, Some(before)) = (spec.get(field), meta::at(old, &["spec", field])) {
            spec.insert(field.into(), before.clone());
        }
    }
}

async fn decide(registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
    let name = str_at(a.object, &["spec", "priorityClassName"]);
    let class =
        if name.is_empty() { default_class(registry)? } else { Some(named(registry, a, name).await?) };
    let (name, value, policy) = match class.as_deref().map(parsed).transpose()? {
        Some(c) => (
            meta::name(c),
            c.get("value").and_then(Value::as_i64).unwrap_or(0),
            c.get("preemptionPolicy").and_then(Value::as_str),
        ),
        None => ("", 0, Some("PreemptLowerPriority")),
    };
    let asked = meta::at(a.object, &["spec", "priority"]).and_then(Value::as_i64);
    if let Some(asked) = asked.filter(|asked| *asked != value) {
        return Err(a.forbidden(&format!(
            "the integer value of priority ({asked}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        )));
    }
    let asked = meta::at(a.object, &["spec", "preemptionPolicy"]).and_then(Value::as_str);
    if let (Some(asked), Some(policy)) = (asked, policy)
        && asked != policy
    {
        return Err(a.forbidden(&format!(
            "the string value of PreemptionPolicy ({asked}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        )));
    }
    let Value::Object(root) = &mut *a.object else { return Ok(()) };
    let spec = object_mut(root, "spec");
    if !name.is_empty() {
        spec.insert("priorityClassName".into(), name.into());
    }
    spec.insert("priority".into(), value.into());
    if let Some(policy) = policy {
        spec.insert("preemptionPolicy".into(), policy.into());
    }
    Ok(())
}

async fn named(registry: &Registry, a: &Attributes<'_>, name: &str) -> Result<Arc<CachedObject>, Status> {
    let kind = catalog::by_resource(GROUP, "v1", "priorityclasses");
    let kind = kind.ok_or_else(|| Status::internal("priority classes are not served"))?;
    match registry.peek(kind, "", name) {
        Some(class) => Ok(class),
        // It may have been created a moment ago elsewhere.
        None => registry.get(kind, "", name, Freshness::Consistent).await.map_err(|e| match e.reason {
            "NotFound" => a.forbidden(&format!("no PriorityClass with name {name} was found")),
            _ => e,
        }),
    }
}

/// The class of pods that name none: of several (made at the same moment) the one with the lowest value.
fn default_class(registry: &Registry) -> Result<Option<Arc<CachedObject>>, Status> {
    let Some(kind) = catalog::by_resource(GROUP, "v1", "priorityclasses") else { return Ok(None) };
    let mut found: Option<(i64, Arc<CachedObject>)> = None;
    for class in cached(registry, kind, "")? {
        let object = parsed(&class)?;
        let value = object.get("value").and_then(Value::as_i64).unwrap_or(0);
        let is_default = object.get("globalDefault") == Some(&Value::Bool(true));
        if is_default && found.as_ref().is_none_or(|(known, _)| value < *known) {
            found = Some((value, class));
        }
    }
    Ok(found.map(|(_, class)| class))
}
