//! Validation of metadata, the same for every kind (`apimachinery/pkg/api/validation/objectmeta.go`).

use serde_json::Value;

use crate::catalog::Kind;
use crate::field::{ErrorList, Path};
use crate::{meta, names};

/// All annotations of an object together may have this many bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The longest name of a manager of fields, in bytes.
pub const MAX_MANAGER: usize = 128;

const MAX_SUBRESOURCE: usize = 256;

/// The groups whose finalizers need no domain: upstream checks their metadata by the plainer of its two functions.
const PLAIN_FINALIZERS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
];

const IMMUTABLE: &[&str] =
    &["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// Reasons to refuse the metadata of `object`.
pub fn validate(object: &Value, kind: &Kind, errors: &mut ErrorList) {
    let path = Path::new("metadata");
    let generate_name = meta::field(object, "generateName");
    if !generate_name.is_empty() {
        let reasons = kind.strategy.validate_name(&without_dash(generate_name));
        errors.invalid_all(&path.child("generateName"), generate_name, reasons);
    }
    let name = meta::name(object);
    if name.is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    } else {
        errors.invalid_all(&path.child("name"), name, kind.strategy.validate_name(name));
    }
    let namespace = meta::namespace(object);
    if kind.namespaced() {
        if namespace.is_empty() {
            errors.required(&path.child("namespace"), "");
        } else {
            errors.invalid_all(&path.child("namespace"), namespace, names::dns1123_label(namespace));
        }
    } else if !namespace.is_empty() {
        errors.forbidden(&path.child("namespace"), "not allowed on this type");
    }
    if meta::generation(object) < 0 {
        errors.invalid(
            &path.child("generation"),
            meta::generation(object),
            "must be greater than or equal to 0",
        );
    }
    labels(meta::at(object, &["metadata", "labels"]), &path.child("labels"), errors);
    annotations(meta::at(object, &["metadata", "annotations"]), &path.child("annotations"), errors);
    owner_references(object, &path.child("ownerReferences"), errors);
    finalizers(object, kind, &path.child("finalizers"), errors);
}

/// The stem of a generated name, whose last dash is fine before the suffix; upstream drops what is before it, too.
fn without_dash(stem: &str) -> String {
    let mut rest = stem.strip_suffix('-').unwrap_or("").chars();
    if rest.next_back().is_some() { format!("{}a", rest.as_str()) } else { stem.to_owned() }
}

fn finalizers(object: &Value, kind: &Kind, path: &Path, errors: &mut ErrorList) {
    let all = meta::finalizers(object);
    for f in &all {
        errors.invalid_all(path, f, names::qualified_name(f));
    }
    let has = |name: &str| all.iter().any(|f| f == name);
    if has("orphan") && has("foregroundDeletion") {
        let text = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid(path, Value::from(all.clone()), text);
    }
    managed_fields(meta::at(object, &["metadata", "managedFields"]), errors);
    if PLAIN_FINALIZERS.contains(&kind.group) {
        return;
    }
    for (i, f) in all.iter().enumerate() {
        standard_finalizer(f, &path.index(i), errors);
    }
}

/// A finalizer without a domain must be one of Kubernetes' own.
pub fn standard_finalizer(name: &str, path: &Path, errors: &mut ErrorList) {
    if !name.contains('/') && !["orphan", "foregroundDeletion", "kubernetes"].contains(&name) {
        errors.invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

fn managed_fields(list: Option<&Value>, errors: &mut ErrorList) {
    let path = Path::new("metadata").child("managedFields");
    for (i, m) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let path = path.index(i);
        let operation = meta::str_at(m, &["operation"]);
        if !["Apply", "Update"].contains(&operation) {
            errors.invalid(&path.child("operation"), operation, "must be `Apply` or `Update`");
        }
        let form = meta::str_at(m, &["fieldsType"]);
        if !["", "FieldsV1"].contains(&form) {
            errors.invalid(&path.child("fieldsType"), form, "must be `FieldsV1`");
        }
        manager(meta::str_at(m, &["manager"]), &path.child("manager"), errors);
        if meta::str_at(m, &["subresource"]).len() > MAX_SUBRESOURCE {
            errors.too_long(&path.child("subresource"), MAX_SUBRESOURCE);
        }
    }
}

/// Reasons to refuse the name of a manager of fields.
pub fn manager(name: &str, path: &Path, errors: &mut ErrorList) {
    if name.len() > MAX_MANAGER {
        errors.too_long(path, MAX_MANAGER);
    }
    for (at, c) in name.char_indices().filter(|(_, c)| !is_print(*c)) {
        errors.invalid(path, name, format!("invalid character U+{:04X} (at position {at})", u32::from(c)));
    }
}

/// As Go's `unicode.IsPrint`.
pub fn is_print(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().count() == 1
}

/// Reasons to refuse a change of metadata.
pub fn validate_update(new: &Value, old: &Value, errors: &mut ErrorList) {
    let path = Path::new("metadata");
    if meta::is_deleting(old) {
        let before = meta::finalizers(old);
        let added: Vec<String> = meta::finalizers(new).into_iter().filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|a| format!("{a:?}")).collect();
            errors.forbidden(
                &path.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    list.join(", ")
                ),
            );
        }
    }
    for f in IMMUTABLE {
        let p = ["metadata", f];
        errors.immutable(&path.child(f), meta::at(new, &p), meta::at(old, &p));
    }
}

/// Reasons to refuse labels.
pub fn labels(map: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    for (k, v) in map.and_then(Value::as_object).into_iter().flatten() {
        errors.invalid_all(path, k, names::qualified_name(k));
        let v = v.as_str().unwrap_or("");
        errors.invalid_all(path, v, names::label_value(v));
    }
}

/// Reasons to refuse annotations.
pub fn annotations(map: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    let mut total = 0;
    for (k, v) in map.and_then(Value::as_object).into_iter().flatten() {
        errors.invalid_all(path, k, names::qualified_name(&k.to_lowercase()));
        total += k.len() + v.as_str().unwrap_or("").len();
    }
    if total > MAX_ANNOTATIONS {
        errors.too_long(path, MAX_ANNOTATIONS);
    }
}

fn owner_references(object: &Value, path: &Path, errors: &mut ErrorList) {
    let list = meta::at(object, &["metadata", "ownerReferences"]).and_then(Value::as_array);
    let mut controller: Option<String> = None;
    for r in list.into_iter().flatten() {
        let at = |f: &str| meta::str_at(r, &[f]);
        let version = at("apiVersion");
        if version.is_empty() || version.ends_with('/') || version.matches('/').count() > 1 {
            errors.invalid(&path.child("apiVersion"), version, "version must not be empty");
        }
        for f in ["kind", "name", "uid"].into_iter().filter(|f| at(f).is_empty()) {
            errors.invalid(&path.child(f), "", "must not be empty");
        }
        if version == "v1" && at("kind") == "Event" {
            errors.invalid(path, r.clone(), "/v1, Kind=Event is disallowed from being an owner");
        }
        if r.get("controller").and_then(Value::as_bool) != Some(true) {
            continue;
        }
        let name = format!("{}/{}", at("kind"), at("name"));
        let Some(first) = &controller else {
            controller = Some(name);
            continue;
        };
        let text = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
        );
        let all = meta::at(object, &["metadata", "ownerReferences"]).cloned().unwrap_or_default();
        errors.invalid(path, all, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use serde_json::json;

    fn errors(object: Value) -> Vec<String> {
        let mut e = ErrorList::new();
        validate(&object, catalog::by_kind("", "v1", "ConfigMap").unwrap(), &mut e);
        e.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_and_labels_are_checked() {
        assert!(errors(json!({"metadata": {"name": "a", "namespace": "b"}})).is_empty());
        assert_eq!(
            errors(json!({"metadata": {"namespace": "b"}})),
            vec!["metadata.name: Required value: name or generateName is required"]
        );
        let e = errors(json!({"metadata": {"name": "A", "namespace": "b", "labels": {"x y": "z"}}}));
        assert!(
            e[0].starts_with("metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must"),
            "{e:?}"
        );
        assert!(
            e[1].starts_with("metadata.labels: Invalid value: \"x y\": name part must consist of"),
            "{e:?}"
        );
    }

    #[test]
    fn identity_never_changes() {
        let mut e = ErrorList::new();
        validate_update(
            &json!({"metadata": {"name": "a", "uid": "2"}}),
            &json!({"metadata": {"name": "a", "uid": "1"}}),
            &mut e,
        );
        assert_eq!(e.0[0].to_string(), "metadata.uid: Invalid value: \"2\": field is immutable");
    }

    #[test]
    fn owners_finalizers_and_managers() {
        let owner = |api: &str, kind: &str| json!({"apiVersion": api, "kind": kind, "name": "n", "uid": "u"});
        let controller =
            json!({"apiVersion": "v1", "kind": "Pod", "name": "n", "uid": "u", "controller": true});
        let long = "m".repeat(129);
        for (field, value, want) in [
            (
                "ownerReferences",
                json!([owner("v1", "Event")]),
                vec![
                    "metadata.ownerReferences: Invalid value: {\"apiVersion\":\"v1\",\"kind\":\"Event\",\"name\":\"n\",\"uid\":\"u\"}: /v1, Kind=Event is disallowed from being an owner",
                ],
            ),
            (
                "ownerReferences",
                json!([owner("apps/", "Deployment"), {"apiVersion": "v1", "name": "n"}]),
                vec![
                    "metadata.ownerReferences.apiVersion: Invalid value: \"apps/\": version must not be empty",
                    "metadata.ownerReferences.kind: Invalid value: \"\": must not be empty",
                    "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
                ],
            ),
            (
                "ownerReferences",
                json!([controller, controller]),
                vec![
                    "Only one reference can have Controller set to true. Found \"true\" in references for Pod/n and Pod/n",
                ],
            ),
            (
                "finalizers",
                json!(["mine"]),
                vec![
                    "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified",
                ],
            ),
            (
                "finalizers",
                json!(["a/b/c", "x y"]),
                vec![
                    "metadata.finalizers: Invalid value: \"a/b/c\": a valid label key must consist of",
                    "metadata.finalizers: Invalid value: \"x y\": name part must consist of",
                    "metadata.finalizers[1]: Invalid value: \"x y\": name is neither",
                ],
            ),
            (
                "managedFields",
                json!([{"operation": "Other", "fieldsType": "V2", "manager": "a\tb"}, {"operation": "Apply", "manager": long}]),
                vec![
                    "metadata.managedFields[0].operation: Invalid value: \"Other\": must be `Apply` or `Update`",
                    "metadata.managedFields[0].fieldsType: Invalid value: \"V2\": must be `FieldsV1`",
                    "metadata.managedFields[0].manager: Invalid value: \"a\\tb\": invalid character U+0009 (at position 1)",
                    "metadata.managedFields[1].manager: Too long: may not be more than 128 bytes",
                ],
            ),
        ] {
            let got = errors(json!({"metadata": {"name": "a", "namespace": "b", field: value}}));
            assert_eq!(got.len(), want.len(), "{got:#?}");
            for (g, w) in got.iter().zip(want) {
                assert!(g.contains(w), "{g}\n{w}");
            }
        }
    }

    #[test]
    fn finalizers_of_some_groups_need_no_domain() {
        let mut e = ErrorList::new();
        let lease = json!({"metadata": {"name": "a", "namespace": "b", "finalizers": ["mine"]}});
        validate(&lease, catalog::by_kind("coordination.k8s.io", "v1", "Lease").unwrap(), &mut e);
        assert_eq!(e, ErrorList::new());
    }

    #[test]
    fn deletions_are_not_made_by_updates() {
        let mut e = ErrorList::new();
        let new = json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        validate_update(&new, &json!({"metadata": {"name": "a"}}), &mut e);
        let want = "metadata.deletionTimestamp: Invalid value: \"2026-01-01T00:00:00Z\": field is immutable";
        assert_eq!(e.0[0].to_string(), want);
        assert_eq!([without_dash("ab-"), without_dash("A-"), without_dash("-")], ["aa", "a", "-"]);
    }
}
