//! What Deployments and ReplicaSets share: a selector, replicas and a pod template.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Map, Value};

use super::check::non_negative;
use super::fields::{below, list};
use super::{object_meta, pod_defaults, pod_spec, typed};
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::names;
use crate::selector::Selector;

/// Fills in replicas and the template.
pub fn defaults(spec: &mut Map<String, Value>) {
    default_to(spec, "replicas", 1);
    template_defaults(spec);
}

/// Fills in the template.
pub fn template_defaults(spec: &mut Map<String, Value>) {
    let template = object_mut(spec, "template");
    object_mut(template, "metadata");
    pod_defaults::pod_spec(object_mut(template, "spec"));
}

/// Reasons to refuse the selector and the template, which must fit each other.
pub fn validate(spec: &Value, path: &Path, errors: &mut ErrorList) {
    non_negative(spec, &["replicas", "minReadySeconds"], path, errors);
    let parsed = required_selector(spec, "deployment", path, errors);
    template(spec.get("template"), parsed.as_ref(), &path.child("template"), errors);
}

/// The selector that a workload must have, and that must select something; `kind` as upstream spells it there.
/// Nothing where it cannot be read.
pub fn required_selector(spec: &Value, kind: &str, path: &Path, errors: &mut ErrorList) -> Option<Selector> {
    let path = path.child("selector");
    let Some(value) = spec.get("selector").filter(|s| !s.is_null()) else {
        errors.required(&path, "");
        // A missing selector selects nothing, the template's labels included.
        return Some(Selector::nothing());
    };
    let typed: LabelSelector = typed(Some(value));
    label_selector(&typed, &path, errors);
    let parsed = Selector::from_label_selector(&typed).ok();
    if parsed.as_ref().is_some_and(Selector::is_everything) {
        errors.invalid(&path, value.clone(), format!("empty selector is invalid for {kind}"));
    }
    parsed
}

/// Reasons to refuse the status of pods that are alike; `counts` are those of them beside `replicas`.
pub fn validate_status(new: &Value, counts: &[&str], errors: &mut ErrorList) {
    let status = super::check::part(new, "status");
    let path = Path::new("status");
    non_negative(status, &["observedGeneration", "replicas", "collisionCount"], &path, errors);
    non_negative(status, counts, &path, errors);
    at_most_replicas(status, counts, &path, errors);
    let available = count(status, &["availableReplicas"]);
    if available > count(status, &["readyReplicas"]) {
        errors.invalid(&path.child("availableReplicas"), available, "cannot be greater than readyReplicas");
    }
}

/// Counts of a status that are part of its `replicas`.
pub fn at_most_replicas(status: &Value, fields: &[&str], path: &Path, errors: &mut ErrorList) {
    let replicas = count(status, &["replicas"]);
    for f in fields {
        let n = count(status, &[f]);
        if n > replicas {
            errors.invalid(&path.child(f), n, "cannot be greater than status.replicas");
        }
    }
}

fn template(template: Option<&Value>, selector: Option<&Selector>, path: &Path, errors: &mut ErrorList) {
    let Some(template) = template else {
        errors.required(path, "");
        return;
    };
    selects_template(selector, template, path, errors);
    pod_template(template, path, errors);
    always_running(template, "ReplicaSet", path, errors);
}

/// Reasons to refuse the template of any pods.
pub fn pod_template(template: &Value, path: &Path, errors: &mut ErrorList) {
    let metadata = |field: &str| meta::at(template, &["metadata", field]);
    object_meta::labels(metadata("labels"), &path.child("labels"), errors);
    object_meta::annotations(metadata("annotations"), &path.child("annotations"), errors);
    let spec = below(template, "spec");
    pod_spec::validate(spec, &path.child("spec"), errors);
    if !list(spec, "ephemeralContainers").is_empty() {
        errors.forbidden(
            &path.child("spec").child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// Pods that a controller of this kind keeps running may not end by themselves.
pub fn always_running(template: &Value, kind: &str, path: &Path, errors: &mut ErrorList) {
    let path = path.child("spec");
    let policy = meta::str_at(template, &["spec", "restartPolicy"]);
    // Also one that the pod's own rules refuse.
    if policy != "Always" {
        errors.not_supported(&path.child("restartPolicy"), policy, &["Always"]);
    }
    if meta::at(template, &["spec", "activeDeadlineSeconds"]).is_some() {
        errors.forbidden(
            &path.child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

/// The template's labels must be selected.
pub fn selects_template(selector: Option<&Selector>, template: &Value, path: &Path, errors: &mut ErrorList) {
    if selector.is_some_and(|s| !s.matches(&meta::labels(template))) {
        errors.invalid(
            &path.child("metadata").child("labels"),
            meta::at(template, &["metadata", "labels"]).cloned().unwrap_or_default(),
            "`selector` does not match template `labels`",
        );
    }
}

/// Reasons to refuse a label selector.
pub fn label_selector(s: &LabelSelector, path: &Path, errors: &mut ErrorList) {
    label_selector_of(s, false, path, errors);
}

/// The same; with `any_value` expressions may ask for values that no label has.
pub fn label_selector_of(s: &LabelSelector, any_value: bool, path: &Path, errors: &mut ErrorList) {
    for (k, v) in s.match_labels.iter().flatten() {
        let path = path.child("matchLabels");
        errors.invalid_all(&path, k, names::qualified_name(k));
        errors.invalid_all(&path, v, names::label_value(v));
    }
    for (i, e) in s.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(i);
        if !values_fit(&e.operator, e.values.as_ref().map_or(0, Vec::len), &path, errors) {
            errors.invalid(&path.child("operator"), e.operator.as_str(), "not a valid selector operator");
        }
        errors.invalid_all(&path.child("key"), &e.key, names::qualified_name(&e.key));
        for (i, value) in e.values.iter().flatten().enumerate().filter(|_| !any_value) {
            errors.invalid_all(&path.child("values").index(i), value, names::label_value(value));
        }
    }
}

/// Reasons to refuse so many values with the operator of a requirement; whether the operator is known.
pub fn values_fit(operator: &str, values: usize, path: &Path, errors: &mut ErrorList) -> bool {
    match operator {
        "In" | "NotIn" if values == 0 => {
            errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if values > 0 => errors.forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => return false,
    }
    true
}

/// The selector may never change.
pub fn selector_is_immutable(new: &Value, old: &Value, errors: &mut ErrorList) {
    let p = ["spec", "selector"];
    errors.immutable(&Path::new("spec").child("selector"), meta::at(new, &p), meta::at(old, &p));
}

/// A whole number of the status, 0 when absent.
pub fn count(object: &Value, path: &[&str]) -> i64 {
    meta::at(object, path).and_then(Value::as_i64).unwrap_or(0)
}
