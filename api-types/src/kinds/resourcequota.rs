//! ResourceQuotas.

use serde_json::{Value, json};

use super::check::{list, part, text};
use super::{drop_status, keep_status, resource_names};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};
use crate::table;

/// The strategy of resource quotas.
pub struct ResourceQuota;

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];
/// Scopes that nothing can be both in.
const CONFLICTS: [(&str, &str); 2] = [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];
/// What a quota for some of the pods can limit.
const OF_PODS: [&str; 7] =
    ["pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const OF_CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];

impl Strategy for ResourceQuota {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            object_mut(root, "spec");
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let spec = part(object, "spec");
        let path = Path::new("spec");
        resource_names::quota(part(spec, "hard"), &path.child("hard"), errors);
        scopes(spec, &path.child("scopes"), errors);
        scope_selector(spec, &path.child("scopeSelector").child("matchExpressions"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let set = |o: &Value| {
            let mut s: Vec<String> = list(part(o, "spec"), "scopes").iter().map(Value::to_string).collect();
            s.sort();
            s.dedup();
            s
        };
        if set(new) != set(old) {
            let shown = part(part(new, "spec"), "scopes").clone();
            errors.invalid(&Path::new("spec").child("scopes"), shown, "field is immutable");
        }
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        for field in ["hard", "used"] {
            let path = Path::new("status").child(field);
            resource_names::quota(part(part(new, "status"), field), &path, errors);
        }
    }

    /// Only a new quota is warned of.
    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some() {
            return Vec::new();
        }
        let hard = part(part(object, "spec"), "hard");
        let amount = |name: &str| resource_names::quantity(part(hard, name));
        let mut all = Vec::new();
        for resource in ["cpu", "memory", "storage", "ephemeral-storage"] {
            let mut requested = format!("requests.{resource}");
            if amount(&requested).is_none() && ["cpu", "memory"].contains(&resource) {
                requested = resource.to_owned();
            }
            let limited = format!("limits.{resource}");
            if let (Some(request), Some(limit)) = (amount(&requested), amount(&limited))
                && request > limit
            {
                all.push(format!(
                    "ResourceQuota {requested} ({request}) should be less than {limited} ({limit})"
                ));
            }
        }
        all
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let status = part(o, "status");
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        // A map of serde_json is sorted by its keys, as the printer sorts them.
        for (name, hard) in part(status, "hard").as_object().into_iter().flatten() {
            let used = text(part(status, "used"), name).unwrap_or("0");
            let column = if name.starts_with("limits.") { &mut limits } else { &mut requests };
            column.push(format!("{name}: {used}/{}", hard.as_str().unwrap_or("")));
        }
        vec![
            meta::name(o).into(),
            requests.join(", ").into(),
            limits.join(", ").into(),
            table::age(o, now).into(),
        ]
    }
}

/// Whether a scope can limit a resource.
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => OF_PODS.contains(&resource),
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => OF_CLAIMS.contains(&resource),
        _ => true,
    }
}

/// How many standard resources of the quota a scope cannot limit: each is an error of its own.
fn misfits(spec: &Value, scope: &str) -> usize {
    let hard = part(spec, "hard").as_object();
    let names = hard.into_iter().flatten().map(|(name, _)| name);
    names.filter(|n| resource_names::is_standard_for_quota(n) && !fits(scope, n)).count()
}

/// A selector as upstream's messages show it: by the names of Go's fields, in their order.
fn internal(selector: &Value) -> String {
    let shown = |e: &Value| {
        let (scope, operator) = (part(e, "scopeName"), part(e, "operator"));
        format!("{{\"ScopeName\":{scope},\"Operator\":{operator},\"Values\":{}}}", part(e, "values"))
    };
    let all: Vec<String> = list(selector, "matchExpressions").iter().map(shown).collect();
    format!("{{\"MatchExpressions\":[{}]}}", all.join(","))
}

fn conflicts(names: &[&str], shown: &Value, path: &Path, errors: &mut ErrorList) {
    for (a, b) in CONFLICTS {
        if names.contains(&a) && names.contains(&b) {
            errors.invalid(path, shown.clone(), "conflicting scopes");
        }
    }
}

fn scopes(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let shown = part(spec, "scopes");
    let names: Vec<&str> = list(spec, "scopes").iter().filter_map(Value::as_str).collect();
    for scope in &names {
        if !SCOPES.contains(scope) {
            errors.invalid(path, shown.clone(), "unsupported scope");
        }
        for _ in 0..misfits(spec, scope) {
            errors.invalid(path, shown.clone(), "unsupported scope applied to resource");
        }
    }
    conflicts(&names, shown, path, errors);
}

fn scope_selector(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let selector = part(spec, "scopeSelector");
    let mut names = Vec::new();
    for e in list(selector, "matchExpressions") {
        let scope = text(e, "scopeName").unwrap_or("");
        let operator = text(e, "operator").unwrap_or("");
        if !SCOPES.contains(&scope) {
            errors.invalid(&path.child("scopeName"), scope, "unsupported scope");
        }
        for _ in 0..misfits(spec, scope) {
            let text = "unsupported scope applied to resource";
            errors.invalid_unshown(path, format!("{}: {text}", internal(selector)));
        }
        let valueless =
            SCOPES.contains(&scope) && !["PriorityClass", "VolumeAttributesClass"].contains(&scope);
        if valueless && operator != "Exists" {
            errors.invalid(
                &path.child("operator"),
                operator,
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            );
        }
        let values = list(e, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.required(
                &path.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.invalid(
                &path.child("values"),
                part(e, "values").clone(),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        names.push(scope);
    }
    conflicts(&names, part(spec, "scopes"), path, errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_beyond_limits_are_warned_of() {
        for (hard, want) in [
            (
                json!({"requests.cpu": "2", "limits.cpu": "1"}),
                vec!["ResourceQuota requests.cpu (2) should be less than limits.cpu (1)"],
            ),
            (
                json!({"memory": "2Gi", "limits.memory": "1Gi"}),
                vec!["ResourceQuota memory (2Gi) should be less than limits.memory (1Gi)"],
            ),
            (json!({"requests.cpu": "1", "cpu": "3", "limits.cpu": "2"}), vec![]),
            (json!({"ephemeral-storage": "2", "limits.ephemeral-storage": "1"}), vec![]),
        ] {
            let quota = json!({"spec": {"hard": hard}});
            assert_eq!(ResourceQuota.warnings(&quota, None), want, "{hard}");
            assert!(ResourceQuota.warnings(&quota, Some(&quota)).is_empty());
        }
    }

    #[test]
    fn a_selector_is_shown_by_the_names_of_gos_fields() {
        let mut errors = ErrorList::new();
        let quota = json!({"spec": {"hard": {"services": "1"}, "scopeSelector": {"matchExpressions": [
            {"scopeName": "BestEffort", "operator": "Exists"}]}}});
        ResourceQuota.validate(&quota, &mut errors);
        assert_eq!(
            errors.0[0].to_string(),
            "spec.scopeSelector.matchExpressions: Invalid value: {\"MatchExpressions\":[{\"ScopeName\":\"BestEffort\",\"Operator\":\"Exists\",\"Values\":null}]}: unsupported scope applied to resource"
        );
    }
}
