//! `pods/eviction`: a deletion that asks the pod's disruption budget first. Rules and words: upstream's
//! `pkg/registry/core/pod/storage/eviction.go`.

use api_types::catalog::{self, Kind};
use api_types::meta::{self, at, str_at};
use api_types::selector::Selector;
use api_types::status::Status;
use bytes::Bytes;
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, json};

use super::respond::{self, Answer};
use super::{Call, delete};
use crate::admission::{Attributes, Operation};
use crate::registry::read::Freshness;
use crate::registry::{Part, Registry, UpdateOptions, Write, parse_stored};
use crate::request::body;
use crate::request::query::Query;

/// Evictions a budget keeps in mind until its controller has seen them.
const MAX_DISRUPTED_PODS: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

pub async fn evict(call: Call<'_>) -> Answer {
    let media = body::media(call.content_type())?;
    let bytes = body::read(call.take_body()).await?;
    let mut sent = body::parse(&bytes, media)
        .map_err(|e| {
            Status::bad_request(format!(
                "the object provided is unrecognized (must be of type Eviction): {e}"
            ))
        })?
        .value;
    let name = meta::name(&sent);
    if !name.is_empty() && name != call.info.name {
        return Err(Status::bad_request(format!(
            "name in URL does not match name in Eviction object: {name} != {}",
            call.info.name
        )));
    }
    let inner = sent.get("deleteOptions").map(Value::to_string).unwrap_or_default();
    let (options, dry_run) = delete::read_options(&Query::default(), &Bytes::from(inner), None)?;
    let base = call.write()?;
    let write = Write { dry_run: dry_run || base.dry_run, ..base };
    let (registry, namespace, name) = (call.registry(), &call.info.namespace, &call.info.name);
    let pod = registry.get(call.kind, namespace, name, Freshness::Consistent).await?;
    let pod = parse_stored(&pod.bytes)?;
    let mut attributes =
        Attributes::new(Operation::Create, call.kind, namespace, &write, &mut sent, Some(&pod));
    attributes.name = name.clone();
    registry.admission().admit(registry, &mut attributes).await?;
    // A pod that would not be deleted takes nothing from its budget.
    if options.uid.as_deref().is_none_or(|uid| uid == meta::uid(&pod)) && !is_beyond_budgets(&pod) {
        ask_budget(registry, namespace, &pod, &write).await?;
    }
    registry.delete(call.kind, namespace, name, &options, &write).await?;
    let answer =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::json(StatusCode::CREATED, &answer))
}

/// Pods that have ended, have not begun, or are going already serve nobody.
fn is_beyond_budgets(pod: &Value) -> bool {
    meta::is_deleting(pod)
        || matches!(str_at(pod, &["status", "phase"]), "Succeeded" | "Failed" | "Pending" | "")
}

fn is_ready(pod: &Value) -> bool {
    let conditions = at(pod, &["status", "conditions"]).and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|c| str_at(c, &["type"]) == "Ready" && str_at(c, &["status"]) == "True")
}

/// Takes the eviction from the budget the pod is under, if it is under one.
async fn ask_budget(
    registry: &Registry,
    namespace: &str,
    pod: &Value,
    write: &Write<'_>,
) -> Result<(), Status> {
    let Some(kind) = catalog::by_resource("policy", "v1", "poddisruptionbudgets") else { return Ok(()) };
    let budgets = budgets_of(registry, kind, namespace, pod)?;
    let budget = match budgets.as_slice() {
        [] => return Ok(()),
        [one] => one,
        _ => {
            return Err(Status::new(
                500,
                "InternalError",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    if !is_ready(pod) && lets_unhealthy_go(budget) {
        return Ok(());
    }
    let status = Write { subresource: "status", ..write.clone() };
    let options = UpdateOptions { create: false, retry: true, part: Part::Status };
    let name = meta::name(budget);
    registry
        .update(kind, namespace, name, options, &status, |current| {
            let current = current.ok_or_else(|| Status::not_found(kind.group, kind.plural, name))?;
            taken(kind, current, meta::name(pod))
        })
        .await?;
    Ok(())
}

/// The budgets whose selector takes the pod in.
fn budgets_of(registry: &Registry, kind: &Kind, namespace: &str, pod: &Value) -> Result<Vec<Value>, Status> {
    let labels = meta::labels(pod);
    let mut found = Vec::new();
    let prefix = kind.key(namespace, "");
    for object in registry.resource(kind)?.snapshot().range(&prefix, None) {
        let budget = parse_stored(&object.bytes)?;
        let Some(selector) = at(&budget, &["spec", "selector"]) else { continue };
        let selector = LabelSelector::deserialize(selector).unwrap_or_default();
        if Selector::from_label_selector(&selector).is_ok_and(|s| s.matches(&labels)) {
            found.push(budget);
        }
    }
    Ok(found)
}

fn number(budget: &Value, field: &str) -> i64 {
    at(budget, &["status", field]).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether a pod that is not ready may go without being counted.
fn lets_unhealthy_go(budget: &Value) -> bool {
    if str_at(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow" {
        return true;
    }
    let (current, desired) = (number(budget, "currentHealthy"), number(budget, "desiredHealthy"));
    desired > 0 && current >= desired
}

/// The budget with one disruption less, or why there is none left.
fn taken(kind: &Kind, budget: &Value, pod: &str) -> Result<Value, Status> {
    let name = meta::name(budget);
    let refuse = |why: String, retry_after: Option<u32>| {
        let mut s = Status::too_many_requests(REFUSED, retry_after.unwrap_or(0));
        s.details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
        if let Some(seconds) = retry_after {
            s.details["retryAfterSeconds"] = seconds.into();
        }
        s
    };
    if number(budget, "observedGeneration") < meta::generation(budget) {
        return Err(refuse(
            format!("The disruption budget {name} is still being processed by the server."),
            Some(10),
        ));
    }
    let allowed = number(budget, "disruptionsAllowed");
    let forbidden = |why: &str| Status::forbidden(kind.group, kind.plural, name, why);
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let disrupted = at(budget, &["status", "disruptedPods"]).and_then(Value::as_object);
    if disrupted.is_some_and(|d| d.len() > MAX_DISRUPTED_PODS) {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        let (desired, current) = (number(budget, "desiredHealthy"), number(budget, "currentHealthy"));
        return Err(refuse(
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently"),
            None,
        ));
    }
    let mut new = budget.clone();
    let status = &mut new["status"];
    status["disruptionsAllowed"] = (allowed - 1).into();
    let mut disrupted = disrupted.cloned().unwrap_or_default();
    disrupted.insert(pod.to_owned(), meta::now().into());
    status["disruptedPods"] = disrupted.into();
    if allowed == 1 {
        status["conditions"] = exhausted(status.get("conditions"), meta::generation(budget));
    }
    Ok(new)
}

/// The conditions of a budget that allows no more.
fn exhausted(conditions: Option<&Value>, generation: i64) -> Value {
    let mut all = conditions.and_then(Value::as_array).cloned().unwrap_or_default();
    let before = all.iter().position(|c| str_at(c, &["type"]) == "DisruptionAllowed").map(|i| all.remove(i));
    let since = before
        .filter(|c| str_at(c, &["status"]) == "False")
        .map_or_else(meta::now, |c| str_at(&c, &["lastTransitionTime"]).to_owned());
    all.push(json!({"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
        "message": "", "observedGeneration": generation, "lastTransitionTime": since}));
    all.into()
}
