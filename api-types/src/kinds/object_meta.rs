//! Validation of metadata, the same for every kind (`apimachinery/pkg/api/validation/objectmeta.go`).

use serde_json::Value;

use crate::catalog::Kind;
use crate::field::{ErrorList, Path};
use crate::{meta, names};

/// All annotations of an object together may have this many bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Reasons to refuse the metadata of `object`.
pub fn validate(object: &Value, kind: &Kind, errors: &mut ErrorList) {
    let path = Path::new("metadata");
    let generate_name = meta::field(object, "generateName");
    if !generate_name.is_empty() {
        // The generated suffix makes a trailing dash fine.
        let stem =
            generate_name.strip_suffix('-').map(|s| format!("{s}a")).unwrap_or(generate_name.to_owned());
        errors.invalid_all(&path.child("generateName"), generate_name, kind.strategy.validate_name(&stem));
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
    for (i, f) in meta::finalizers(object).into_iter().enumerate() {
        errors.invalid_all(&path.child("finalizers").index(i), &f, names::qualified_name(&f));
        if !f.contains('/') && !["orphan", "foregroundDeletion", "kubernetes"].contains(&f.as_str()) {
            errors.invalid(
                &path.child("finalizers").index(i),
                f.as_str(),
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
    if meta::finalizers(object).iter().any(|f| f == "orphan")
        && meta::finalizers(object).iter().any(|f| f == "foregroundDeletion")
    {
        errors.invalid(
            &path.child("finalizers"),
            Value::from(meta::finalizers(object)),
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

/// Reasons to refuse a change of metadata.
pub fn validate_update(new: &Value, old: &Value, errors: &mut ErrorList) {
    let path = Path::new("metadata");
    for f in ["name", "namespace", "uid", "creationTimestamp"] {
        let p = ["metadata", f];
        errors.immutable(&path.child(f), meta::at(new, &p), meta::at(old, &p));
    }
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
    let mut controllers = 0;
    for (i, r) in list.into_iter().flatten().enumerate() {
        let path = path.index(i);
        for f in ["apiVersion", "kind", "name", "uid"] {
            if meta::str_at(r, &[f]).is_empty() {
                let text = if f == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                errors.invalid(&path.child(f), "", text);
            }
        }
        if r.get("controller").and_then(Value::as_bool) == Some(true) {
            controllers += 1;
        }
    }
    if controllers > 1 {
        errors.invalid(
            path,
            meta::at(object, &["metadata", "ownerReferences"]).cloned().unwrap_or_default(),
            "Only one reference can have Controller set to true.",
        );
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
}
