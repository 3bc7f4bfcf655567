//! Selectors of nodes, of pods, persistent volumes and devices alike (`pkg/apis/core/validation/validation.go`).

use serde_json::Value;

use super::fields::{label_name, list, text, texts};
use crate::field::{ErrorList, Path};
use crate::names;

const NO_OPERATOR: &str = "not a valid selector operator";

/// Reasons to refuse a selector that must be met.
pub fn required(selector: &Value, path: &Path, errors: &mut ErrorList) {
    let path = path.child("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (i, t) in terms.iter().enumerate() {
        term(t, true, &path.index(i), errors);
    }
}

/// Reasons to refuse a term. Where it is only preferred, values may be anything.
pub fn term(term: &Value, values: bool, path: &Path, errors: &mut ErrorList) {
    for (i, e) in list(term, "matchExpressions").iter().enumerate() {
        expression(e, values, &path.child("matchExpressions").index(i), errors);
    }
    for (i, f) in list(term, "matchFields").iter().enumerate() {
        field(f, &path.child("matchFields").index(i), errors);
    }
}

fn expression(e: &Value, values: bool, path: &Path, errors: &mut ErrorList) {
    let (at, given) = (path.child("values"), texts(e, "values"));
    match text(e, "operator") {
        "In" | "NotIn" if given.is_empty() => {
            errors.required(&at, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !given.is_empty() => {
            errors.forbidden(&at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if given.len() != 1 => {
            errors.required(&at, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&path.child("operator"), other, NO_OPERATOR),
    }
    label_name(text(e, "key"), &path.child("key"), errors);
    for (i, v) in given.into_iter().enumerate().filter(|_| values) {
        errors.invalid_all(&at.index(i), v, names::label_value(v));
    }
}

fn field(f: &Value, path: &Path, errors: &mut ErrorList) {
    let (at, given) = (path.child("values"), texts(f, "values"));
    match text(f, "operator") {
        "In" | "NotIn" if given.len() != 1 => {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&at, why);
        }
        "In" | "NotIn" => {}
        other => errors.invalid(&path.child("operator"), other, NO_OPERATOR),
    }
    match text(f, "key") {
        "metadata.name" => {
            for (i, v) in given.into_iter().enumerate() {
                errors.invalid_all(&at.index(i), v, names::dns1123_subdomain(v));
            }
        }
        other => errors.invalid(&path.child("key"), other, "not a valid field selector key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn terms() {
        let expression = |e: Value| json!({"nodeSelectorTerms": [{"matchExpressions": [e]}]});
        let field = |f: Value| json!({"nodeSelectorTerms": [{"matchFields": [f]}]});
        for (selector, want) in [
            (expression(json!({"key": "a", "operator": "In", "values": ["b"]})), None),
            (field(json!({"key": "metadata.name", "operator": "In", "values": ["n"]})), None),
            (
                json!({}),
                Some("s.nodeSelectorTerms: Required value: must have at least one node selector term"),
            ),
            (
                expression(json!({"key": "a", "operator": "In"})),
                Some(
                    "s.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                ),
            ),
            (
                expression(json!({"key": "a", "operator": "Gt", "values": ["1", "2"]})),
                Some(
                    "s.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
                ),
            ),
            (
                expression(json!({"key": "a", "operator": "In", "values": ["-"]})),
                Some(
                    "s.nodeSelectorTerms[0].matchExpressions[0].values[0]: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                ),
            ),
            (
                field(json!({"key": "metadata.name", "operator": "In"})),
                Some(
                    "s.nodeSelectorTerms[0].matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                ),
            ),
            (
                field(json!({"key": "spec.x", "operator": "In", "values": ["a"]})),
                Some(
                    "s.nodeSelectorTerms[0].matchFields[0].key: Invalid value: \"spec.x\": not a valid field selector key",
                ),
            ),
        ] {
            let mut e = ErrorList::new();
            required(&selector, &Path::new("s"), &mut e);
            assert_eq!(e.0.first().map(ToString::to_string).as_deref(), want, "{selector}");
        }
    }
}
