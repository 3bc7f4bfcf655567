//! Runtime classes: which handler of the container runtime runs a pod.

use std::collections::HashSet;

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::fields::{self, below, set, text};
use super::{node_labels, object_meta, pod_spec, typed};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, names, table};

/// The strategy of runtime classes.
pub struct RuntimeClass;

impl Strategy for RuntimeClass {
    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let handler = text(object, "handler");
        errors.invalid_all(&Path::new("handler"), handler, names::dns1123_label(handler));
        if let Some(overhead) = set(object, "overhead") {
            let limits: core::ResourceRequirements =
                typed(Some(&json!({"limits": below(overhead, "podFixed")})));
            pod_spec::resources(&limits, &Path::new("overhead"), errors);
        }
        if let Some(s) = set(object, "scheduling") {
            scheduling(s, &Path::new("scheduling"), errors);
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        fields::unchanged(new, old, "handler", &Path::new("handler"), errors);
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        fields::entries(below(object, "scheduling"), "nodeSelector")
            .filter_map(|(key, _)| node_labels::deprecated(key))
            .map(|why| format!("scheduling.nodeSelector: {why}"))
            .collect()
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::name(o).into(), text(o, "handler").into(), table::age(o, now).into()]
    }
}

fn scheduling(s: &Value, path: &Path, errors: &mut ErrorList) {
    object_meta::labels(s.get("nodeSelector"), &path.child("nodeSelector"), errors);
    let path = path.child("tolerations");
    let tolerations: Vec<core::Toleration> = typed(s.get("tolerations"));
    pod_spec::tolerations(&tolerations, &path, errors);
    let mut seen = HashSet::new();
    for (i, t) in tolerations.iter().enumerate() {
        if !seen.insert((&t.key, &t.operator, &t.value, &t.effect)) {
            errors.duplicate(&path.index(i), fields::list(s, "tolerations")[i].clone());
        }
    }
}
