//! Runtime classes: which handler of the container runtime runs a pod.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::fields::{self, below, set, text};
use super::{node_labels, object_meta, pod_resources, pod_tolerations};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, names, table};

/// The strategy of runtime classes.
pub struct RuntimeClass;

impl Strategy for RuntimeClass {
    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        fields::required_name(object, "handler", names::dns1123_label, &Path::new(""), errors);
        if let Some(overhead) = set(object, "overhead") {
            let fixed = json!({"overhead": below(overhead, "podFixed")});
            pod_resources::overhead(&fixed, &Path::new(""), errors);
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
    let (path, tolerations) = (path.child("tolerations"), fields::list(s, "tolerations"));
    pod_tolerations::validate(tolerations, &path, errors);
    let mut seen = HashSet::new();
    for (i, t) in tolerations.iter().enumerate() {
        if !seen.insert(["key", "operator", "value", "effect"].map(|f| text(t, f))) {
            errors.duplicate(&path.index(i), t.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_named() {
        let mut e = ErrorList::new();
        RuntimeClass.validate(&json!({}), &mut e);
        assert_eq!(e.0.iter().map(ToString::to_string).collect::<Vec<_>>(), ["handler: Required value"]);
    }
}
