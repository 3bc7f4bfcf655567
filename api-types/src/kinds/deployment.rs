//! Deployments.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::workload::{self, count};
use super::{check, drop_status, keep_status, pod_warnings};
use crate::catalog::{Strategy, keep_spec};
use crate::field::{ErrorList, Path};
use crate::intstr;
use crate::meta::{self, default_to, object_mut};
use crate::table;

/// The strategy of deployments.
pub struct Deployment;

impl Strategy for Deployment {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        workload::defaults(spec);
        default_to(spec, "revisionHistoryLimit", 10);
        default_to(spec, "progressDeadlineSeconds", 600);
        let strategy = object_mut(spec, "strategy");
        default_to(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
            let rolling = object_mut(strategy, "rollingUpdate");
            default_to(rolling, "maxUnavailable", "25%");
            default_to(rolling, "maxSurge", "25%");
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        super::pod_disabled::drop(object, &Value::Null, &["spec", "template", "spec"]);
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        super::pod_disabled::drop(new, old, &["spec", "template", "spec"]);
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_spec(new, old);
        super::keep_metadata(new, old, "labels");
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let empty = Value::Null;
        let spec = object.get("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        workload::validate(spec, &path, errors);
        rolling(spec, &path.child("strategy"), errors);
        for f in ["revisionHistoryLimit", "progressDeadlineSeconds"] {
            errors.non_negative(&path.child(f), spec.get(f).and_then(Value::as_i64).unwrap_or(0));
        }
        let deadline = count(spec, &["progressDeadlineSeconds"]);
        if spec.get("progressDeadlineSeconds").is_some() && deadline <= count(spec, &["minReadySeconds"]) {
            errors.invalid(
                &path.child("progressDeadlineSeconds"),
                deadline,
                "must be greater than minReadySeconds",
            );
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        workload::selector_is_immutable(new, old, errors);
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        workload::validate_status(new, &["updatedReplicas", "readyReplicas", "availableReplicas"], errors);
        check::non_negative(
            new.get("status").unwrap_or(&Value::Null),
            &["unavailableReplicas", "terminatingReplicas"],
            &Path::new("status"),
            errors,
        );
        check::collisions_only_grow(new, old, errors);
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut all = if old.is_none() { check::name_makes_hostnames(object) } else { Vec::new() };
        all.extend(pod_warnings::of_workload(object, old));
        all
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let template = meta::at(o, &["spec", "template", "spec"]);
        vec![
            meta::name(o).into(),
            format!("{}/{}", count(o, &["status", "readyReplicas"]), count(o, &["spec", "replicas"])).into(),
            count(o, &["status", "updatedReplicas"]).into(),
            count(o, &["status", "availableReplicas"]).into(),
            table::age(o, now).into(),
            table::containers(template, "name").into(),
            table::containers(template, "image").into(),
            table::label_selector(meta::at(o, &["spec", "selector"])).into(),
        ]
    }
}

fn rolling(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let kind = meta::str_at(spec, &["strategy", "type"]);
    let rolling = meta::at(spec, &["strategy", "rollingUpdate"]);
    match kind {
        "Recreate" => {
            if rolling.is_some() {
                errors.forbidden(
                    &path.child("rollingUpdate"),
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            let path = path.child("rollingUpdate");
            let mut zero = true;
            for field in ["maxUnavailable", "maxSurge"] {
                let Some(raw) = rolling.and_then(|r| r.get(field)) else { continue };
                let value: IntOrString = super::typed(Some(raw));
                let path = path.child(field);
                match &value {
                    IntOrString::Int(n) => {
                        errors.non_negative(&path, (*n).into());
                        zero &= *n == 0;
                    }
                    IntOrString::String(s) => match intstr::percent(s) {
                        None => errors.invalid(
                            &path,
                            s.as_str(),
                            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                        ),
                        Some(p) => {
                            if field == "maxUnavailable" && p > 100 {
                                errors.invalid(&path, s.as_str(), "must not be greater than 100%");
                            }
                            zero &= p == 0;
                        }
                    },
                }
            }
            if zero && rolling.is_some() {
                let shown = rolling.and_then(|r| r.get("maxUnavailable")).cloned().unwrap_or_default();
                errors.invalid(&path.child("maxUnavailable"), shown, "may not be 0 when `maxSurge` is 0");
            }
        }
        // Upstream shows the whole strategy.
        _ => {
            let shown = spec.get("strategy").cloned().unwrap_or_default();
            errors.not_supported(path, shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(spec: Value) -> Value {
        let mut o = json!({"metadata": {"name": "d"}, "spec": spec});
        Deployment.default(&mut o);
        o
    }

    fn errors(o: &Value) -> Vec<String> {
        let mut e = ErrorList::new();
        Deployment.validate(o, &mut e);
        e.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_and_selector() {
        let o = deployment(json!({"selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}));
        assert_eq!(o["spec"]["replicas"], 1);
        assert_eq!(
            o["spec"]["strategy"]["rollingUpdate"],
            json!({"maxSurge": "25%", "maxUnavailable": "25%"})
        );
        assert_eq!(errors(&o), Vec::<String>::new());
        let mut bad = o.clone();
        bad["spec"]["selector"]["matchLabels"]["a"] = "c".into();
        assert_eq!(
            errors(&bad),
            vec![
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"
            ]
        );
        let mut e = ErrorList::new();
        Deployment.validate_update(&bad, &o, &mut e);
        assert_eq!(
            e.0[0].to_string(),
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable"
        );
    }

    #[test]
    fn strategies_and_statuses() {
        let mut o = deployment(
            json!({"selector": {"matchLabels": {"a": "b"}}, "strategy": {"type": "Other"},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}),
        );
        let want = "spec.strategy: Unsupported value: {\"type\":\"Other\"}: supported values: \"Recreate\", \"RollingUpdate\"";
        assert_eq!(errors(&o), [want]);
        o["status"] = json!({"terminatingReplicas": -1});
        let mut e = ErrorList::new();
        Deployment.validate_status_update(&o, &o, &mut e);
        let want = "status.terminatingReplicas: Invalid value: -1: must be greater than or equal to 0";
        assert_eq!(e.0.iter().map(ToString::to_string).collect::<Vec<_>>(), [want]);
    }

    #[test]
    fn some_pod_must_be_allowed_to_move() {
        let o = deployment(json!({"selector": {"matchLabels": {"a": "b"}},
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}));
        assert_eq!(
            errors(&o),
            vec![
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
            ]
        );
    }
}
