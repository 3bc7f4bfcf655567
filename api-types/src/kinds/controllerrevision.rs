//! ControllerRevisions: what a controller has made of its object's template before.

use serde_json::Value;

use super::check::{list, non_negative, part, text};
use super::workload::count;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, table};

/// The strategy of controller revisions.
pub struct ControllerRevision;

impl Strategy for ControllerRevision {
    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        non_negative(object, &["revision"], &Path::new(""), errors);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        match part(object, "data") {
            Value::Object(_) => {}
            Value::Null => errors.required(&Path::new("data"), "data is mandatory"),
            _ => errors.required(&Path::new("data"), "data must be a valid JSON object"),
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        errors.immutable(&Path::new("data"), new.get("data"), old.get("data"));
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![
            meta::name(o).into(),
            controller(o).into(),
            count(o, &["revision"]).into(),
            table::age(o, now).into(),
        ]
    }
}

/// `statefulset.apps/web`, or `<none>`.
fn controller(o: &Value) -> String {
    let owners = list(part(o, "metadata"), "ownerReferences");
    let Some(owner) = owners.iter().find(|r| part(r, "controller").as_bool() == Some(true)) else {
        return "<none>".into();
    };
    let field = |f: &str| text(owner, f).unwrap_or("");
    let kind = field("kind").to_lowercase();
    match field("apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", field("name")),
        None => format!("{kind}/{}", field("name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_an_object() {
        for (data, want) in [
            (json!({}), None),
            (Value::Null, Some("data: Required value: data is mandatory")),
            (json!([1]), Some("data: Required value: data must be a valid JSON object")),
        ] {
            let mut e = ErrorList::new();
            ControllerRevision.validate_create(&json!({"data": data}), &mut e);
            assert_eq!(e.0.first().map(ToString::to_string).as_deref(), want, "{data}");
        }
    }
}
