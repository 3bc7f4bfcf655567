//! ReplicaSets.

use serde_json::{Value, json};

use super::workload::{self, count};
use super::{check, drop_status, keep_status, pod_warnings};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};
use crate::table;

/// The strategy of replica sets.
pub struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            workload::defaults(object_mut(root, "spec"));
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        super::pod_disabled::drop(object, &Value::Null, &["spec", "template", "spec"]);
        object["status"] = json!({"replicas": 0});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        super::pod_disabled::drop(new, old, &["spec", "template", "spec"]);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        workload::validate(object.get("spec").unwrap_or(&Value::Null), &Path::new("spec"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        workload::selector_is_immutable(new, old, errors);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let counts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
        workload::validate_status(new, &counts, errors);
        let status = new.get("status").unwrap_or(&Value::Null);
        check::non_negative(status, &["terminatingReplicas"], &Path::new("status"), errors);
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
            count(o, &["spec", "replicas"]).into(),
            count(o, &["status", "replicas"]).into(),
            count(o, &["status", "readyReplicas"]).into(),
            table::age(o, now).into(),
            table::containers(template, "name").into(),
            table::containers(template, "image").into(),
            table::label_selector(meta::at(o, &["spec", "selector"])).into(),
        ]
    }
}
