//! PodTemplates.

use serde_json::Value;

use super::check::part;
use super::{pod_warnings, workload};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, table};

/// The strategy of pod templates.
pub struct PodTemplate;

impl Strategy for PodTemplate {
    fn default(&self, object: &mut Value) {
        if let Value::Object(root) = object {
            workload::template_defaults(root);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        super::pod_disabled::drop(object, &Value::Null, &["template", "spec"]);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        super::pod_disabled::drop(new, old, &["template", "spec"]);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        workload::pod_template(part(object, "template"), &Path::new("template"), errors);
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some_and(|o| meta::generation(o) == meta::generation(object)) {
            return Vec::new();
        }
        pod_warnings::of_template(part(object, "template"), &Path::new("template"))
    }

    fn row(&self, o: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        let spec = meta::at(o, &["template", "spec"]);
        vec![
            meta::name(o).into(),
            table::containers(spec, "name").into(),
            table::containers(spec, "image").into(),
            table::label_map(meta::at(o, &["template", "metadata", "labels"])).into(),
        ]
    }
}
