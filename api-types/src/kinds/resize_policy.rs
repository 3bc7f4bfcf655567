//! How containers say they are resized (`validateResizePolicy`): in place, or by a restart.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::field::{ErrorList, Path};

const RESOURCES: [&str; 2] = ["cpu", "memory"];
const POLICIES: [&str; 2] = ["NotRequired", "RestartContainer"];

/// Reasons to refuse the resize policies of a container in a pod of this spec.
pub fn validate(container: &Container, spec: &PodSpec, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    let path = path.child("resizePolicy");
    for (i, policy) in container.resize_policy.iter().flatten().enumerate() {
        let (resource, restart) = (policy.resource_name.as_str(), policy.restart_policy.as_str());
        if !seen.insert(resource) {
            errors.duplicate(&path.index(i), resource);
        }
        for (value, known) in [(resource, &RESOURCES), (restart, &POLICIES)] {
            if value.is_empty() {
                errors.required(&path, "");
            } else if !known.contains(&value) {
                errors.not_supported(&path, value, known);
            }
        }
        if spec.restart_policy.as_deref() == Some("Never") && restart != "NotRequired" {
            errors.invalid(&path, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}

/// Reasons to refuse those of an init container that is no sidecar: it cannot be restarted.
pub fn validate_init(container: &Container, path: &Path, errors: &mut ErrorList) {
    for (i, policy) in container.resize_policy.iter().flatten().enumerate() {
        if policy.restart_policy == "RestartContainer" {
            errors.invalid(
                &path.child("resizePolicy").index(i).child("restartPolicy"),
                "RestartContainer",
                "must not be set to 'RestartContainer' for non-sidecar initContainers",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policies_are_few_and_said_once() {
        let one = |resource: &str, restart: &str| json!({"resourceName": resource, "restartPolicy": restart});
        for (pod_policy, policies, expected) in [
            ("Always", json!([one("cpu", "NotRequired"), one("memory", "RestartContainer")]), vec![]),
            (
                "Always",
                json!([one("cpu", "NotRequired"), one("cpu", "NotRequired")]),
                vec!["c.resizePolicy[1]: Duplicate value: \"cpu\""],
            ),
            (
                "Always",
                json!([one("disk", "Sometimes")]),
                vec![
                    "c.resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"",
                    "c.resizePolicy: Unsupported value: \"Sometimes\": supported values: \"NotRequired\", \"RestartContainer\"",
                ],
            ),
            ("Always", json!([one("cpu", "")]), vec!["c.resizePolicy: Required value"]),
            (
                "Never",
                json!([one("cpu", "RestartContainer")]),
                vec![
                    "c.resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is 'Never'",
                ],
            ),
        ] {
            let container = serde_json::from_value(json!({"name": "a", "resizePolicy": policies})).unwrap();
            let spec =
                serde_json::from_value(json!({"containers": [], "restartPolicy": pod_policy})).unwrap();
            let mut errors = ErrorList::new();
            validate(&container, &spec, &Path::new("c"), &mut errors);
            let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(told, expected, "{policies}");
        }
    }
}
