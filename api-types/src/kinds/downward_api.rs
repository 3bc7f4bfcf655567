//! Fields and resources of a pod that its own containers may read, in variables and files
//! (`pkg/apis/core/validation/validation.go`, `pkg/apis/core/pods/helpers.go`).

use serde_json::Value;

use super::fields::{self, required, text};
use crate::field::{ErrorList, Path};
use crate::names;

/// Fields for variables.
pub const OF_VARIABLES: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields for files.
pub const OF_FILES: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Fields that exist; which of them may be read is another matter.
const KNOWN: [&str; 15] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.host",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const CPU_DIVISORS: [&str; 2] = ["1m", "1"];
const BYTE_DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Reasons to refuse a reference to a field.
pub fn field(reference: &Value, supported: &[&str], path: &Path, errors: &mut ErrorList) {
    if required(reference, "apiVersion", path, errors).is_none() {
        return;
    }
    let Some(label) = required(reference, "fieldPath", path, errors) else { return };
    let at = path.child("fieldPath");
    let version = text(reference, "apiVersion");
    let subscripted = label.strip_suffix("']").and_then(|l| l.split_once("['"));
    let why = match subscripted {
        _ if version != "v1" => Some(format!("unsupported pod version: {version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {label}")),
        None if KNOWN.contains(&label) => None,
        None => Some(format!("field label not supported: {label}")),
    };
    if let Some(why) = why {
        errors.invalid(&at, label, format!("error converting fieldPath: {why}"));
        return;
    }
    match subscripted {
        Some(("metadata.annotations", key)) => {
            errors.invalid_all(path, key, names::qualified_name(&key.to_lowercase()));
        }
        Some((_, key)) => errors.invalid_all(path, key, names::qualified_name(key)),
        None => {
            let label = if label == "spec.host" { "spec.nodeName" } else { label };
            if !supported.contains(&label) {
                errors.not_supported(&at, label, supported);
            }
        }
    }
}

/// Reasons to refuse a reference to a resource; a file must say of which container.
pub fn resource(reference: &Value, of_file: bool, path: &Path, errors: &mut ErrorList) {
    let name = text(reference, "resource");
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|p| name.starts_with(p));
    if of_file && text(reference, "containerName").is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if name.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !huge {
        fields::word(reference, "resource", RESOURCES, path, errors);
    }
    divisor(reference, name, huge, path, errors);
}

fn divisor(reference: &Value, name: &str, huge: bool, path: &Path, errors: &mut ErrorList) {
    let given = text(reference, "divisor");
    if given.is_empty() || given == "0" {
        return;
    }
    let what = match name.split_once('.').map(|(_, resource)| resource) {
        Some("cpu") if CPU_DIVISORS.contains(&given) => return,
        Some("cpu") => {
            let why = "only divisor's values 1m and 1 are supported with the cpu resource";
            errors.invalid(&path.child("divisor"), name, why);
            return;
        }
        Some("memory") => "memory",
        Some("ephemeral-storage") => "local ephemeral storage",
        _ if huge => "hugepages",
        _ => return,
    };
    if !BYTE_DIVISORS.contains(&given) {
        let all = BYTE_DIVISORS.join(", ");
        let why = format!("only divisor's values {all} are supported with the {what} resource");
        errors.invalid(&path.child("divisor"), name, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_to_fields() {
        for (label, want) in [
            ("metadata.name", None),
            ("metadata.labels['a']", None),
            ("spec.host", None),
            ("", Some("p.fieldPath: Required value")),
            (
                "spec.x",
                Some(
                    "p.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
                ),
            ),
            (
                "spec.nodeName['a']",
                Some(
                    "p.fieldPath: Invalid value: \"spec.nodeName['a']\": error converting fieldPath: field label does not support subscript: spec.nodeName['a']",
                ),
            ),
            (
                "status.phase",
                Some(
                    "p.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
                ),
            ),
        ] {
            let mut e = ErrorList::new();
            field(&json!({"apiVersion": "v1", "fieldPath": label}), OF_VARIABLES, &Path::new("p"), &mut e);
            assert_eq!(e.0.first().map(ToString::to_string).as_deref(), want, "{label}");
        }
    }

    #[test]
    fn references_to_resources() {
        for (reference, of_file, want) in [
            (json!({"resource": "limits.cpu", "divisor": "1m"}), false, None),
            (json!({"resource": "requests.hugepages-2Mi"}), false, None),
            (json!({"resource": "limits.cpu"}), true, Some("p.containerName: Required value")),
            (json!({}), false, Some("p.resource: Required value")),
            (
                json!({"resource": "limits.cpu", "divisor": "2"}),
                false,
                Some(
                    "p.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
                ),
            ),
            (
                json!({"resource": "limits.memory", "divisor": "2"}),
                false,
                Some(
                    "p.divisor: Invalid value: \"limits.memory\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
                ),
            ),
            (
                json!({"resource": "x"}),
                false,
                Some(
                    "p.resource: Unsupported value: \"x\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
                ),
            ),
        ] {
            let mut e = ErrorList::new();
            resource(&reference, of_file, &Path::new("p"), &mut e);
            assert_eq!(e.0.first().map(ToString::to_string).as_deref(), want, "{reference}");
        }
    }
}
