//! PodDisruptionBudgets.

use serde_json::{Value, json};

use super::check::{at_most_all, int_or_percent, non_negative, part, text};
use super::workload::{self, count};
use super::{drop_status, fields, keep_status, typed};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, names, table};

/// The strategy of pod disruption budgets.
pub struct PodDisruptionBudget;

impl Strategy for PodDisruptionBudget {
    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] =
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let spec = part(object, "spec");
        let path = Path::new("spec");
        let bounds = ["minAvailable", "maxUnavailable"];
        if bounds.iter().all(|f| !part(spec, f).is_null()) {
            errors.invalid(&path, spec.clone(), "minAvailable and maxUnavailable cannot be both set");
        }
        for f in bounds {
            int_or_percent(part(spec, f), &path.child(f), errors);
            at_most_all(part(spec, f), &path.child(f), errors);
        }
        if spec.get("selector").is_some() {
            workload::label_selector(&typed(spec.get("selector")), &path.child("selector"), errors);
        }
        let supported = ["AlwaysAllow", "IfHealthyBudget"];
        if let Some(p) = text(spec, "unhealthyPodEvictionPolicy").filter(|p| !supported.contains(p)) {
            errors.not_supported(&path.child("unhealthyPodEvictionPolicy"), p, &supported);
        }
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let status = part(new, "status");
        let path = Path::new("status");
        fields::conditions(status, &path, errors);
        let counts = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
        non_negative(status, &counts, &path, errors);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        // Upstream looks at nothing else of its metadata.
        names::path_segment(name)
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let bound = |f: &str| match meta::at(o, &["spec", f]) {
            Some(Value::String(s)) => s.clone(),
            Some(Value::Number(n)) => n.to_string(),
            _ => "N/A".into(),
        };
        vec![
            meta::name(o).into(),
            bound("minAvailable").into(),
            bound("maxUnavailable").into(),
            count(o, &["status", "disruptionsAllowed"]).into(),
            table::age(o, now).into(),
        ]
    }
}
