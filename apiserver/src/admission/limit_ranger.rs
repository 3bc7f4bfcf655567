//! The limit ranges of a namespace: what containers get that ask for nothing, and what pods, containers and claims
//! may ask for at least and at most.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_types::amounts::{self, Amounts};
use api_types::catalog;
use api_types::meta::{self, object_mut, str_at};
use api_types::quantity::Quantity;
use api_types::status::Status;
use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Attributes, Operation, Plugin, Rounds, cached};
use crate::cache::CachedObject;
use crate::registry::{Registry, parsed};

pub struct LimitRanger;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn rounds(&self) -> Rounds {
        Rounds::Both
    }

    async fn admit(&self, registry: &Registry, a: &mut Attributes<'_>) -> Result<(), Status> {
        if a.operation != Operation::Create || !a.is_core("pods") {
            return Ok(());
        }
        for range in ranges(registry, &a.namespace)? {
            fill(a.object, parsed(&range)?);
        }
        Ok(())
    }

    async fn validate(&self, registry: &Registry, a: &Attributes<'_>) -> Result<(), Status> {
        // Containers of a pod change by a resize only.
        let pod = a.kind.group.is_empty()
            && a.kind.plural == "pods"
            && matches!(
                (a.operation, a.subresource),
                (Operation::Create, "") | (Operation::Update, "resize")
            );
        if !pod && !a.is_core("persistentvolumeclaims") || a.old.is_some_and(meta::is_deleting) {
            return Ok(());
        }
        for range in ranges(registry, &a.namespace)? {
            let mut errors = Vec::new();
            for item in items(parsed(&range)?) {
                if pod {
                    judge_pod(item, a.object, a.old, &mut errors);
                } else {
                    judge_claim(item, a.object, a.old, &mut errors);
                }
            }
            if !errors.is_empty() {
                return Err(a.forbidden(&aggregate(errors)));
            }
        }
        Ok(())
    }
}

fn ranges(registry: &Registry, namespace: &str) -> Result<Vec<Arc<CachedObject>>, Status> {
    let Some(kind) = catalog::by_resource("", "v1", "limitranges") else { return Ok(Vec::new()) };
    cached(registry, kind, namespace)
}

fn items(range: &Value) -> impl Iterator<Item = &Value> {
    meta::at(range, &["spec", "limits"]).and_then(Value::as_array).into_iter().flatten()
}

/// Errors as upstream joins them: each once, in brackets when there are several.
fn aggregate(mut errors: Vec<String>) -> String {
    let mut seen = BTreeSet::new();
    errors.retain(|e| seen.insert(e.clone()));
    if errors.len() == 1 { errors.remove(0) } else { format!("[{}]", errors.join(", ")) }
}

/// Gives containers the amounts they leave open.
fn fill(pod: &mut Value, range: &Value) {
    let (mut limits, mut requests) = (Map::new(), Map::new());
    for item in items(range).filter(|i| str_at(i, &["type"]) == "Container") {
        for (field, into) in [("default", &mut limits), ("defaultRequest", &mut requests)] {
            into.extend(item.get(field).and_then(Value::as_object).cloned().unwrap_or_default());
        }
    }
    if limits.is_empty() && requests.is_empty() {
        return;
    }
    let mut told = Vec::new();
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = str_at(container, &["name"]).to_owned();
            let Value::Object(container) = container else { continue };
            let resources = object_mut(container, "resources");
            for (field, defaults, noun) in [("requests", &requests, "request"), ("limits", &limits, "limit")]
            {
                let set = fill_amounts(resources, field, defaults);
                if !set.is_empty() {
                    told.push(format!("{} {noun} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !told.is_empty() {
        let annotations = object_mut(meta::metadata_mut(pod), "annotations");
        annotations.insert(ANNOTATION.into(), format!("LimitRanger plugin set: {}", told.join("; ")).into());
    }
}

/// Which amounts were missing, sorted.
fn fill_amounts(
    resources: &mut Map<String, Value>,
    field: &str,
    defaults: &Map<String, Value>,
) -> Vec<String> {
    let has = |name: &str| resources.get(field).is_some_and(|amounts| amounts.get(name).is_some());
    let mut missing: Vec<String> = defaults.keys().filter(|name| !has(name)).cloned().collect();
    missing.sort_unstable();
    if !missing.is_empty() {
        let amounts = object_mut(resources, field);
        for name in &missing {
            amounts.insert(name.clone(), defaults[name].clone());
        }
    }
    missing
}

/// Requests and limits of a container, a pod or a claim.
#[derive(Default)]
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

impl Asked {
    fn by(container: &Value) -> Self {
        let side = |field: &str| amounts::read(meta::at(container, &["resources", field]));
        Self { requests: side("requests"), limits: side("limits") }
    }

    fn by_pod(pod: &Value) -> Self {
        let side = |field: &str| amounts::of_pod(pod, field, false);
        Self { requests: side("requests"), limits: side("limits") }
    }

    fn same(&self, other: &Self, name: &str) -> bool {
        self.requests.get(name) == other.requests.get(name) && self.limits.get(name) == other.limits.get(name)
    }
}

fn judge_pod(item: &Value, pod: &Value, old: Option<&Value>, errors: &mut Vec<String>) {
    match str_at(item, &["type"]) {
        "Pod" => judge(item, "Pod", &Asked::by_pod(pod), old.map(Asked::by_pod).as_ref(), errors),
        "Container" => {
            for list in ["containers", "initContainers"] {
                let all =
                    |pod| meta::at(pod, &["spec", list]).and_then(Value::as_array).into_iter().flatten();
                for container in all(pod) {
                    let name = str_at(container, &["name"]);
                    let before = old.and_then(|o| all(o).find(|c| str_at(c, &["name"]) == name));
                    judge(item, "Container", &Asked::by(container), before.map(Asked::by).as_ref(), errors);
                }
            }
        }
        _ => {}
    }
}

/// Judges by minimum, maximum and ratio. What is as it was has been judged before.
fn judge(item: &Value, kind: &str, asked: &Asked, before: Option<&Asked>, errors: &mut Vec<String>) {
    type Rule = fn(&str, &str, Quantity, &Asked) -> Option<String>;
    let rules: [(&str, Rule); 3] = [("min", minimum), ("max", maximum), ("maxLimitRequestRatio", ratio)];
    for (field, rule) in rules {
        for (name, enforced) in amounts::read(item.get(field)) {
            if before.is_none_or(|b| !b.same(asked, &name)) {
                errors.extend(rule(kind, &name, enforced, asked));
            }
        }
    }
}

/// Claims ask by their requests only.
fn judge_claim(item: &Value, claim: &Value, old: Option<&Value>, errors: &mut Vec<String>) {
    const KIND: &str = "PersistentVolumeClaim";
    if str_at(item, &["type"]) != KIND {
        return;
    }
    let requests = |claim| amounts::read(meta::at(claim, &["spec", "resources", "requests"]));
    let asked = Asked { requests: requests(claim), limits: Amounts::new() };
    let before = old.map(requests).unwrap_or_default();
    for field in ["min", "max"] {
        for (name, enforced) in amounts::read(item.get(field)) {
            let request = asked.requests.get(&name);
            if request.is_some() && request == before.get(&name) {
                continue;
            }
            errors.extend(match (field, request) {
                ("min", _) => minimum(KIND, &name, enforced, &asked),
                (_, None) => {
                    Some(format!("maximum {name} usage per {KIND} is {enforced}.  No request is specified"))
                }
                (_, Some(r)) if *r > enforced => {
                    Some(format!("maximum {name} usage per {KIND} is {enforced}, but request is {r}"))
                }
                _ => None,
            });
        }
    }
}

fn minimum(kind: &str, name: &str, enforced: Quantity, asked: &Asked) -> Option<String> {
    let rule = format!("minimum {name} usage per {kind} is {enforced}");
    match (asked.requests.get(name), asked.limits.get(name)) {
        (None, _) => Some(format!("{rule}.  No request is specified")),
        (Some(request), _) if *request < enforced => Some(format!("{rule}, but request is {request}")),
        (_, Some(limit)) if *limit < enforced => Some(format!("{rule}, but limit is {limit}")),
        _ => None,
    }
}

fn maximum(kind: &str, name: &str, enforced: Quantity, asked: &Asked) -> Option<String> {
    let rule = format!("maximum {name} usage per {kind} is {enforced}");
    match (asked.requests.get(name), asked.limits.get(name)) {
        (_, None) => Some(format!("{rule}.  No limit is specified")),
        (_, Some(limit)) if *limit > enforced => Some(format!("{rule}, but limit is {limit}")),
        (Some(request), _) if *request > enforced => Some(format!("{rule}, but request is {request}")),
        _ => None,
    }
}

fn ratio(kind: &str, name: &str, enforced: Quantity, asked: &Asked) -> Option<String> {
    const BILLION: i128 = 1_000_000_000;
    let rule = format!("{name} max limit to request ratio per {kind} is {enforced}");
    let some = |amounts: &Amounts| amounts.get(name).map_or(0, |q| q.nano_value().abs());
    let (request, limit) = (some(&asked.requests), some(&asked.limits));
    if request == 0 {
        return Some(format!("{rule}, but no request is specified or request is 0"));
    }
    if limit == 0 {
        return Some(format!("{rule}, but no limit is specified or limit is 0"));
    }
    // A product too large for its type is larger than any limit.
    let allowed = request.checked_mul(enforced.nano_value()).unwrap_or(i128::MAX);
    if limit * BILLION <= allowed {
        return None;
    }
    let millionths = half_even(limit * 1_000_000, request);
    let (whole, rest) = (millionths / 1_000_000, millionths % 1_000_000);
    Some(format!("{rule}, but provided ratio is {whole}.{rest:06}"))
}

/// A quotient of positive numbers, rounded to the nearest, and to the even one of two.
fn half_even(n: i128, d: i128) -> i128 {
    let (q, rest) = (n / d, n % d);
    let up = rest * 2 > d || (rest * 2 == d && q % 2 == 1);
    q + i128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_compared_exactly_and_told_to_six_digits() {
        let asked = |request: &str, limit: &str| {
            let one = |q: &str| Amounts::from([("cpu".to_owned(), q.parse().unwrap())]);
            Asked { requests: one(request), limits: one(limit) }
        };
        let told = |request, limit, enforced: &str| {
            ratio("Pod", "cpu", enforced.parse().unwrap(), &asked(request, limit))
        };
        assert_eq!(told("1", "3", "3"), None);
        assert_eq!(
            told("1", "3001m", "3").unwrap(),
            "cpu max limit to request ratio per Pod is 3, but provided ratio is 3.001000"
        );
        assert!(told("3", "11", "3").unwrap().ends_with("is 3.666667"));
        assert!(told("0", "1", "3").unwrap().ends_with("but no request is specified or request is 0"));
        assert!(told("1", "0", "3").unwrap().ends_with("but no limit is specified or limit is 0"));
        assert_eq!(told("9E", "9E", "9E"), None);
    }
}
