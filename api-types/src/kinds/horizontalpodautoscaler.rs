//! HorizontalPodAutoscalers; `autoscaling/v2` is stored, and [`super::hpa_conversion`] makes v1 of it.

use serde_json::{Map, Value, json};

use super::check::{int, list, non_negative, part, text};
use super::workload::count;
use super::{drop_status, fields, hpa_metrics, keep_status};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of horizontal pod autoscalers, for both versions.
pub struct HorizontalPodAutoscaler;

const MAX_PERIOD: i64 = 1800;
const MAX_WINDOW: i64 = 3600;
const SELECT_POLICIES: [&str; 3] = ["Disabled", "Max", "Min"];

/// What is aimed at where nothing else is: most of the CPU that is requested.
pub(super) fn cpu_utilization(percent: i64) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": percent}}})
}

/// The default of [`cpu_utilization`].
pub(super) const DEFAULT_CPU: i64 = 80;

impl Strategy for HorizontalPodAutoscaler {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        default_to(spec, "minReplicas", 1);
        if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            spec.insert("metrics".into(), json!([cpu_utilization(DEFAULT_CPU)]));
        }
        if let Some(Value::Object(behavior)) = spec.get_mut("behavior") {
            let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15}]);
            let up = scaling_defaults(object_mut(behavior, "scaleUp"), up);
            default_to(up, "stabilizationWindowSeconds", 0);
            let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
            scaling_defaults(object_mut(behavior, "scaleDown"), down);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({"desiredReplicas": 0});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let spec = part(object, "spec");
        let path = Path::new("spec");
        let (min, max) = (int(spec, "minReplicas"), int(spec, "maxReplicas").unwrap_or(0));
        if let Some(min) = min.filter(|n| *n < 1) {
            // Scaling to nothing is an alpha feature of 1.36.
            errors.invalid(&path.child("minReplicas"), min, "must be greater than or equal to 1");
        }
        if max == 0 {
            errors.required(&path.child("maxReplicas"), "must be set and greater than 0");
        } else if max < 0 {
            errors.invalid(&path.child("maxReplicas"), max, "must be greater than or equal to 1");
        }
        if min.is_some_and(|min| max < min) {
            let why = "must be greater than or equal to `minReplicas`";
            errors.invalid(&path.child("maxReplicas"), max, why);
        }
        reference(part(spec, "scaleTargetRef"), &path.child("scaleTargetRef"), errors);
        let metrics = list(spec, "metrics");
        for (i, metric) in metrics.iter().enumerate() {
            hpa_metrics::validate(metric, &path.child("metrics").index(i), errors);
        }
        let outside = metrics.iter().any(|m| matches!(text(m, "type"), Some("Object" | "External")));
        if min == Some(0) && !outside {
            errors.forbidden(
                &path.child("metrics"),
                "must specify at least one Object or External metric to support scaling to zero replicas",
            );
        }
        for direction in ["scaleUp", "scaleDown"] {
            if let Some(rules) = fields::set(part(spec, "behavior"), direction) {
                scaling_rules(rules, &path.child("behavior").child(direction), errors);
            }
        }
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let counts = ["currentReplicas", "desiredReplicas"];
        non_negative(part(new, "status"), &counts, &Path::new("status"), errors);
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = part(o, "spec");
        let target = part(spec, "scaleTargetRef");
        let field = |f: &str| text(target, f).unwrap_or("");
        vec![
            meta::name(o).into(),
            format!("{}/{}", field("kind"), field("name")).into(),
            hpa_metrics::targets(list(spec, "metrics"), list(part(o, "status"), "currentMetrics")).into(),
            int(spec, "minReplicas").map_or("<unset>".into(), |n| n.to_string()).into(),
            count(o, &["spec", "maxReplicas"]).into(),
            count(o, &["status", "currentReplicas"]).into(),
            table::age(o, now).into(),
        ]
    }
}

fn scaling_defaults(rules: &mut Map<String, Value>, policies: Value) -> &mut Map<String, Value> {
    default_to(rules, "selectPolicy", "Max");
    default_to(rules, "policies", policies);
    rules
}

/// Reasons to refuse a reference to an object of any kind.
pub(super) fn reference(reference: &Value, path: &Path, errors: &mut ErrorList) {
    for f in ["kind", "name"] {
        if let Some(t) = fields::required(reference, f, path, errors) {
            errors.invalid_all(&path.child(f), t, names::path_segment(t));
        }
    }
}

fn scaling_rules(rules: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(n) = int(rules, "stabilizationWindowSeconds") {
        let path = path.child("stabilizationWindowSeconds");
        if n < 0 {
            errors.invalid(&path, n, "must be greater than or equal to zero");
        }
        if n > MAX_WINDOW {
            errors.invalid(&path, n, format!("must be less than or equal to {MAX_WINDOW}"));
        }
    }
    fields::word(rules, "selectPolicy", &SELECT_POLICIES, path, errors);
    let policies = path.child("policies");
    if list(rules, "policies").is_empty() {
        errors.required(&policies, "must specify at least one Policy");
    }
    for (i, p) in list(rules, "policies").iter().enumerate() {
        let path = policies.index(i);
        let kind = text(p, "type").unwrap_or("");
        if !["Percent", "Pods"].contains(&kind) {
            errors.not_supported(&path.child("type"), kind, &["Percent", "Pods"]);
        }
        for f in ["value", "periodSeconds"] {
            let n = int(p, f).unwrap_or(0);
            if n <= 0 {
                errors.invalid(&path.child(f), n, "must be greater than zero");
            }
        }
        if let Some(n) = int(p, "periodSeconds").filter(|n| *n > MAX_PERIOD) {
            let why = format!("must be less than or equal to {MAX_PERIOD}");
            errors.invalid(&path.child("periodSeconds"), n, why);
        }
    }
    let tolerance = part(rules, "tolerance");
    if super::resource_names::quantity(tolerance).is_some_and(|q| q.is_negative()) {
        let why = "must be greater than or equal to zero";
        errors.invalid(&path.child("tolerance"), tolerance.clone(), why);
    }
}
