//! ReplicationControllers: ReplicaSets with a plain map as their selector.

use serde_json::{Value, json};

use super::check::{non_negative, part};
use super::workload::{self, count};
use super::{check, drop_status, keep_status, pod_warnings};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};
use crate::selector::Selector;
use crate::table;

/// The strategy of replication controllers.
pub struct ReplicationController;

impl Strategy for ReplicationController {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        // There is none to fill in where none is given, which is refused.
        if spec.contains_key("template") {
            workload::template_defaults(spec);
        }
        meta::default_to(spec, "replicas", 1);
        let labels = part(part(part(&json!(spec), "template"), "metadata"), "labels").clone();
        if labels.as_object().is_none_or(serde_json::Map::is_empty) {
            return;
        }
        let empty = |v: Option<&Value>| v.and_then(Value::as_object).is_none_or(serde_json::Map::is_empty);
        if empty(spec.get("selector")) {
            spec.insert("selector".into(), labels.clone());
        }
        let metadata = object_mut(root, "metadata");
        if empty(metadata.get("labels")) {
            metadata.insert("labels".into(), labels);
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
        let spec = part(object, "spec");
        let path = Path::new("spec");
        non_negative(spec, &["minReadySeconds"], &path, errors);
        let pairs: Vec<(String, String)> = part(spec, "selector")
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").to_owned()))
            .collect();
        let selector = Selector::from_map(pairs.iter().map(|(k, v)| (k, v)));
        if selector.is_everything() {
            errors.required(&path.child("selector"), "");
        }
        non_negative(spec, &["replicas"], &path, errors);
        let template = part(spec, "template");
        let path = path.child("template");
        if template.is_null() {
            errors.required(&path, "");
            return;
        }
        workload::selects_template(Some(&selector), template, &path, errors);
        workload::pod_template(template, &path, errors);
        workload::always_running(template, "ReplicationController", &path, errors);
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let counts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
        workload::validate_status(new, &counts, errors);
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn orphans_by_default(&self) -> bool {
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
            table::label_map(meta::at(o, &["spec", "selector"])).into(),
        ]
    }
}
