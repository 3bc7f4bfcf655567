//! Namespaces: they end in two steps, the finalizer `kubernetes` of their spec standing between.

use serde_json::{Value, json};

use super::keep_status;
use crate::catalog::Strategy;
use crate::meta::{self, object_mut};
use crate::{names, table};

/// The strategy of namespaces.
pub struct Namespace;

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
        object["spec"] = json!({"finalizers": ["kubernetes"]});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        // Its finalizers change through the subresource only.
        if let Value::Object(root) = new {
            root.insert("spec".into(), old.get("spec").cloned().unwrap_or_else(|| json!({})));
        }
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        names::dns1123_label(name)
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::name(o).into(), meta::str_at(o, &["status", "phase"]).into(), table::age(o, now).into()]
    }
}
