//! Namespaces: they end in two steps, the finalizer `kubernetes` of their spec standing between.

use serde_json::{Value, json};

use super::{keep_status, object_meta};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};
use crate::{names, table};

/// The strategy of namespaces.
pub struct Namespace;

/// What keeps a namespace until all in it is gone.
const KUBERNETES: &str = "kubernetes";

fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let all = meta::at(object, &["spec", "finalizers"]).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str)
}

/// Reasons to refuse the finalizers that `namespaces/finalize` leaves.
pub fn validate_finalize(object: &Value, errors: &mut ErrorList) {
    for (i, finalizer) in finalizers(object).enumerate() {
        finalizer_name(finalizer, &Path::new("spec").child("finalizers").index(i), errors);
    }
}

fn finalizer_name(name: &str, path: &Path, errors: &mut ErrorList) {
    errors.invalid_all(path, name, names::qualified_name(name));
    object_meta::standard_finalizer(name, path, errors);
}

impl Strategy for Namespace {
    fn default(&self, object: &mut Value) {
        // Every namespace carries its own name as a label, so that selectors can name it.
        let name = meta::name(object).to_owned();
        if !name.is_empty() {
            let labels = object_mut(meta::metadata_mut(object), "labels");
            labels.insert("kubernetes.io/metadata.name".into(), name.into());
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"phase": "Active"});
        let Value::Object(root) = object else { return };
        let finalizers = object_mut(root, "spec").entry("finalizers").or_insert_with(|| json!([]));
        if let Value::Array(all) = finalizers
            && !all.iter().any(|f| f == KUBERNETES)
        {
            all.push(KUBERNETES.into());
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        // Its finalizers change through the subresource only.
        if let Value::Object(root) = new {
            root.insert("spec".into(), old.get("spec").cloned().unwrap_or_else(|| json!({})));
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        for finalizer in finalizers(object) {
            finalizer_name(finalizer, &Path::new("spec").child("finalizers"), errors);
        }
    }

    fn validate_status_update(&self, new: &Value, _old: &Value, errors: &mut ErrorList) {
        let phase = meta::str_at(new, &["status", "phase"]);
        let (wanted, text) = if meta::field(new, "deletionTimestamp").is_empty() {
            ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
        } else {
            ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
        };
        if phase != wanted {
            errors.invalid(&Path::new("status").child("Phase"), phase, text);
        }
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::dns1123_label(name)
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::name(o).into(), meta::str_at(o, &["status", "phase"]).into(), table::age(o, now).into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubernetes_finalizer_is_always_there() {
        for (sent, kept) in [
            (json!({}), json!(["kubernetes"])),
            (json!({"spec": {"finalizers": ["a.b/c"]}}), json!(["a.b/c", "kubernetes"])),
            (json!({"spec": {"finalizers": ["kubernetes"]}}), json!(["kubernetes"])),
        ] {
            let mut namespace = sent;
            Namespace.prepare_for_create(&mut namespace);
            assert_eq!(namespace, json!({"spec": {"finalizers": kept}, "status": {"phase": "Active"}}));
        }
    }

    #[test]
    fn finalizers_and_phases_are_known_ones() {
        let told = |check: &dyn Fn(&mut ErrorList)| {
            let mut errors = ErrorList::new();
            check(&mut errors);
            errors.0.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let odd = json!({"spec": {"finalizers": ["kubernetes", "mine"]}, "status": {"phase": "Terminating"}});
        let text =
            "Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified";
        assert_eq!(told(&|e| Namespace.validate(&odd, e)), [format!("spec.finalizers: {text}")]);
        assert_eq!(told(&|e| validate_finalize(&odd, e)), [format!("spec.finalizers[1]: {text}")]);
        assert_eq!(
            told(&|e| Namespace.validate_status_update(&odd, &odd, e)),
            [
                "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
            ]
        );
    }
}
