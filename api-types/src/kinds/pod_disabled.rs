//! Fields of pods that belong to features which 1.36 has switched off unless it is told otherwise.
//!
//! As by upstream they are dropped as if they had not been sent, also from templates; where an object has one already,
//! it keeps it, so that what was made elsewhere can still be changed here.

use serde_json::Value;

use super::fields::{below, list, set};
use crate::meta;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
/// Sources of projected volumes: ClusterTrustBundleProjection, PodCertificateRequest.
const SOURCES: [&str; 2] = ["clusterTrustBundle", "podCertificate"];

/// Drops them from the spec of a pod at `path`, which a template's spec is too; `old` is null for a new object.
pub fn drop(new: &mut Value, old: &Value, path: &[&str]) {
    let before = meta::at(old, path).unwrap_or(&Value::Null);
    let Some(spec) = path.iter().try_fold(new, |v, field| v.get_mut(field)) else { return };
    // ContainerStopSignals
    if !has_stop_signal(before) {
        CONTAINERS.iter().for_each(|field| drop_stop_signals(spec, field));
    }
    // GenericWorkload
    if set(before, "schedulingGroup").is_none() {
        remove(spec, "schedulingGroup");
    }
    for source in SOURCES.into_iter().filter(|s| !projects(before, s)) {
        for volume in elements(spec, "volumes") {
            let Some(projected) = volume.get_mut("projected") else { continue };
            elements(projected, "sources").for_each(|s| remove(s, source));
        }
    }
}

fn has_stop_signal(spec: &Value) -> bool {
    let mut containers = CONTAINERS.iter().flat_map(|field| list(spec, field));
    containers.any(|c| set(below(c, "lifecycle"), "stopSignal").is_some())
}

fn drop_stop_signals(spec: &mut Value, field: &str) {
    for container in elements(spec, field) {
        let Some(lifecycle) = container.get_mut("lifecycle") else { continue };
        remove(lifecycle, "stopSignal");
        if lifecycle.as_object().is_some_and(serde_json::Map::is_empty) {
            remove(container, "lifecycle");
        }
    }
}

fn projects(spec: &Value, source: &str) -> bool {
    let mut all = list(spec, "volumes").iter().flat_map(|v| list(below(v, "projected"), "sources"));
    all.any(|s| set(s, source).is_some())
}

fn elements<'a>(of: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    of.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

fn remove(from: &mut Value, field: &str) {
    if let Value::Object(map) = from {
        map.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn disabled_fields_are_dropped_unless_they_are_there_already() {
        let spec = json!({
            "schedulingGroup": {"podGroupName": "g"},
            "containers": [{"name": "a", "lifecycle": {"stopSignal": "SIGINT"}}],
            "initContainers": [{"name": "b", "lifecycle": {"stopSignal": "SIGINT", "preStop": {"sleep": {"seconds": 1}}}}],
            "volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}, {"podCertificate": {"keyPath": "k"}}]}}],
        });
        let plain = json!({
            "containers": [{"name": "a"}],
            "initContainers": [{"name": "b", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}],
            "volumes": [{"name": "v", "projected": {"sources": [{}, {}]}}],
        });
        for (old, want) in [(Value::Null, &plain), (plain.clone(), &plain), (spec.clone(), &spec)] {
            let mut pod = json!({"spec": spec});
            drop(&mut pod, &json!({"spec": old}), &["spec"]);
            assert_eq!(pod, json!({"spec": want}));
            let mut deployment = json!({"spec": {"template": {"spec": spec}}});
            let before = json!({"spec": {"template": {"spec": old}}});
            drop(&mut deployment, &before, &["spec", "template", "spec"]);
            assert_eq!(deployment, json!({"spec": {"template": {"spec": want}}}));
        }
    }
}
