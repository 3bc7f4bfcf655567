//! What an access review must say (upstream's `pkg/apis/authorization/validation`).

use api_types::field::{ErrorList, Path};
use api_types::kinds::workload;
use api_types::meta::{self, str_at};
use api_types::names;
use api_types::status::Status;
use serde_json::Value;

use super::Review;

/// Refuses a review that cannot be answered, with all reasons.
pub(super) fn access(review: Review, object: &Value, namespace: &str) -> Result<(), Status> {
    let spec = Path::new("spec");
    let (resource, path) = (asked(object, "resourceAttributes"), asked(object, "nonResourceAttributes"));
    let mut errors = ErrorList::new();
    match (resource, path) {
        (Some(_), Some(path)) => errors.invalid(
            &spec.child("nonResourceAttributes"),
            path.clone(),
            "cannot be specified in combination with resourceAttributes",
        ),
        (None, None) => errors.invalid(
            &spec.child("resourceAttributes"),
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => {}
    }
    if review != Review::SelfSubjectAccess {
        let groups = meta::at(object, &["spec", "groups"]).and_then(Value::as_array);
        if str_at(object, &["spec", "user"]).is_empty() && groups.is_none_or(Vec::is_empty) {
            errors.invalid(&spec.child("user"), "", "at least one of user or group must be specified");
        }
    }
    if let Some(resource) = resource {
        for (field, labels) in [("fieldSelector", false), ("labelSelector", true)] {
            selector(resource, labels, &spec.child("resourceAttributes").child(field), field, &mut errors);
        }
    }
    metadata(review, object, &mut errors);
    if review == Review::LocalSubjectAccess {
        local(resource, path, namespace, &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("authorization.k8s.io", "", "", &errors)) }
}

fn asked<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    meta::at(object, &["spec", field]).filter(|v| !v.is_null())
}

/// A review is no object: it has no name.
fn metadata(review: Review, object: &Value, errors: &mut ErrorList) {
    let local = review == Review::LocalSubjectAccess;
    let spoken = |(field, value): (&String, &Value)| {
        field != "managedFields" && !(local && field == "namespace") && !value.is_null()
    };
    let Some(metadata) = object.get("metadata").and_then(Value::as_object) else { return };
    if metadata.iter().any(spoken) {
        let text = if local { "must be empty except for namespace" } else { "must be empty" };
        errors.invalid(&Path::new("metadata"), metadata.clone(), text);
    }
}

fn local(resource: Option<&Value>, path: Option<&Value>, namespace: &str, errors: &mut ErrorList) {
    if let Some(resource) = resource {
        let asked = str_at(resource, &["namespace"]);
        if asked != namespace {
            let at = Path::new("spec").child("resourceAttributes").child("namespace");
            errors.invalid(&at, asked, "must match metadata.namespace");
        }
    }
    if let Some(path) = path {
        let at = Path::new("spec").child("nonResourceAttributes");
        errors.invalid(&at, path.clone(), "disallowed on this kind of request");
    }
}

/// Operators that are not known are passed on: a newer server may ask on behalf of a newer client.
fn selector(resource: &Value, labels: bool, path: &Path, field: &str, errors: &mut ErrorList) {
    let Some(selector) = resource.get(field).filter(|v| !v.is_null()) else { return };
    let raw = str_at(selector, &["rawSelector"]);
    let requirements = meta::at(selector, &["requirements"]).and_then(Value::as_array);
    let requirements = requirements.map_or(&[][..], Vec::as_slice);
    if !raw.is_empty() && !requirements.is_empty() {
        let text = "may not specified at the same time as requirements";
        errors.invalid(&path.child("rawSelector"), raw, text);
    }
    if raw.is_empty() && requirements.is_empty() {
        let text = format!("when {path} is specified, requirements or rawSelector is required");
        errors.required(&path.child("requirements"), &text);
    }
    for (i, requirement) in requirements.iter().enumerate() {
        one_requirement(requirement, labels, &path.child("requirements").index(i), errors);
    }
}

fn one_requirement(requirement: &Value, labels: bool, path: &Path, errors: &mut ErrorList) {
    let key = str_at(requirement, &["key"]);
    let values = requirement.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !labels && key.is_empty() {
        errors.required(&path.child("key"), "must be specified");
    }
    // One that is not known is passed on.
    workload::values_fit(str_at(requirement, &["operator"]), values.len(), path, errors);
    if labels {
        errors.invalid_all(&path.child("key"), key, names::qualified_name(key));
        for (i, value) in values.iter().filter_map(Value::as_str).enumerate() {
            errors.invalid_all(&path.child("values").index(i), value, names::label_value(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(review: Review, object: &Value) -> String {
        match access(review, object, "ns") {
            Ok(()) => String::new(),
            Err(status) => status.message,
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let get = json!({"verb": "get"});
        for (review, object, wanted) in [
            (Review::SubjectAccess, json!({"spec": {"user": "u", "resourceAttributes": get}}), &[][..]),
            (Review::SelfSubjectAccess, json!({"spec": {"nonResourceAttributes": get}, "metadata": {}}), &[]),
            (
                Review::SubjectAccess,
                json!({"metadata": {"name": "x"}}),
                &[
                    "spec.resourceAttributes: Invalid value: null: exactly one of",
                    "spec.user: Invalid value: \"\": at least one of user or group must be specified",
                    "metadata: Invalid value: {\"name\":\"x\"}: must be empty",
                ],
            ),
            (
                Review::LocalSubjectAccess,
                json!({"metadata": {"namespace": "ns"}, "spec": {"groups": ["g"], "resourceAttributes": get,
                    "nonResourceAttributes": get}}),
                &[
                    "cannot be specified in combination with resourceAttributes",
                    "spec.resourceAttributes.namespace: Invalid value: \"\": must match metadata.namespace",
                    "disallowed on this kind of request",
                ],
            ),
            (
                Review::SelfSubjectAccess,
                json!({"spec": {"resourceAttributes": {"fieldSelector": {}, "labelSelector": {"rawSelector": "a",
                    "requirements": [{"key": "", "operator": "In"}, {"key": "a", "operator": "New", "values": ["-"]}]}}}}),
                &[
                    "spec.resourceAttributes.fieldSelector.requirements: Required value: when",
                    "labelSelector.rawSelector: Invalid value: \"a\": may not specified",
                    "labelSelector.requirements[0].values: Required value",
                    "labelSelector.requirements[0].key: Invalid value",
                    "labelSelector.requirements[1].values[0]: Invalid value: \"-\"",
                ],
            ),
        ] {
            let message = refused(review, &object);
            assert_eq!(message.is_empty(), wanted.is_empty(), "{message}");
            for part in wanted {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
    }
}
