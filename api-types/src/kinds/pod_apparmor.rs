//! Profiles of AppArmor that a new pod names in annotations, as before there were fields for them
//! (`pkg/registry/core/pod/strategy.go`).

use serde_json::{Value, json};

use super::fields::{below, text};
use super::pod_defaults::objects;
use super::pod_warnings::{APPARMOR_CONTAINER, USE_APPARMOR, containers};
use crate::field::Path;
use crate::meta::{self, object_mut};

/// The field for an annotation; nothing where it names no profile.
fn profile(annotation: &str) -> Option<Value> {
    match annotation {
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        "unconfined" => Some(json!({"type": "Unconfined"})),
        other => {
            let file = other.strip_prefix("localhost/").filter(|f| !f.is_empty() && f.trim() == *f)?;
            Some(json!({"type": "Localhost", "localhostProfile": file}))
        }
    }
}

fn is_windows(pod: &Value) -> bool {
    meta::str_at(pod, &["spec", "os", "name"]) == "windows"
}

/// Fills in the fields of containers that are only annotated.
pub fn fill_in(pod: &mut Value) {
    let Some(annotations) = meta::at(pod, &["metadata", "annotations"]).and_then(Value::as_object).cloned()
    else {
        return;
    };
    if is_windows(pod) || !annotations.keys().any(|k| k.starts_with(APPARMOR_CONTAINER)) {
        return;
    }
    let of_pod = meta::at(pod, &["spec", "securityContext", "appArmorProfile"]).cloned();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for c in objects(pod.get_mut("spec").and_then(|s| s.get_mut(list))) {
            let name = c.get("name").and_then(Value::as_str).unwrap_or("");
            let annotation = annotations.get(&format!("{APPARMOR_CONTAINER}{name}")).and_then(Value::as_str);
            let Some(profile) = annotation.and_then(profile) else { continue };
            let has = c.get("securityContext").is_some_and(|s| !below(s, "appArmorProfile").is_null());
            if !has && Some(&profile) != of_pod.as_ref() {
                object_mut(c, "securityContext").insert("appArmorProfile".into(), profile);
            }
        }
    }
}

/// What to say of annotations that fields were filled in from, or could not be.
pub fn warnings(pod: &Value) -> Vec<String> {
    let annotations = below(below(pod, "metadata"), "annotations");
    if annotations.is_null() || is_windows(pod) {
        return Vec::new();
    }
    let path = Path::new("metadata").child("annotations");
    let mut all = Vec::new();
    for (c, _) in containers(below(pod, "spec"), &Path::new("spec")) {
        let key = format!("{APPARMOR_CONTAINER}{}", text(c, "name"));
        let Some(annotation) = annotations.get(&key).and_then(Value::as_str) else { continue };
        let own = below(below(c, "securityContext"), "appArmorProfile");
        let wanted = profile(annotation);
        if (own.is_null() && wanted.is_none()) || wanted.as_ref() == Some(own) {
            all.push(format!("{}: {USE_APPARMOR}", path.key(&key)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_become_fields() {
        let key = format!("{APPARMOR_CONTAINER}a");
        for (annotation, of_pod, want, told) in [
            ("unconfined", Value::Null, json!({"type": "Unconfined"}), 1),
            ("localhost/x", Value::Null, json!({"type": "Localhost", "localhostProfile": "x"}), 1),
            ("runtime/default", json!({"type": "RuntimeDefault"}), Value::Null, 0),
            ("what", Value::Null, Value::Null, 1),
        ] {
            let mut pod = json!({"metadata": {"annotations": {&key: annotation}},
                "spec": {"securityContext": {"appArmorProfile": of_pod}, "containers": [{"name": "a"}]}});
            fill_in(&mut pod);
            let got = below(below(&pod["spec"]["containers"][0], "securityContext"), "appArmorProfile");
            assert_eq!(*got, want, "{annotation}");
            assert_eq!(warnings(&pod).len(), told, "{annotation}");
        }
    }
}
