//! Objects that another server has stored in an older version of their kind: brought to the version that is stored
//! now, as upstream's codec does when it reads. Only versions that were stored at some time since 1.16 are known.

use serde_json::{Map, Value, json};

use super::{Kind, by_kind};
use crate::meta;

/// Brings an object to the version its kind is stored in. Gives whether it was in another.
pub fn upgrade(kind: &Kind, object: &mut Value) -> bool {
    let version = meta::str_at(object, &["apiVersion"]).to_owned();
    if version == kind.stored_version || version.is_empty() {
        return false;
    }
    let (group, v) = version.split_once('/').unwrap_or(("", &version));
    match (kind.kind, v) {
        // A version that is served still, and knows the way itself.
        _ if by_kind(group, v, kind.kind).is_some_and(|k| k.storage == kind.storage) => {
            if let Some(conversion) = by_kind(group, v, kind.kind).and_then(|k| k.conversion) {
                (conversion.to_stored)(object);
            }
        }
        ("HorizontalPodAutoscaler", "v2beta1") => each(object, &["spec", "metrics"], metric),
        ("EndpointSlice", "v1beta1") => each(object, &["endpoints"], endpoint),
        ("Ingress", "v1beta1") => ingress(object),
        ("PriorityLevelConfiguration", _) => {
            if let Some(limited) = object_at(object, &["spec", "limited"])
                && let Some(shares) = limited.remove("assuredConcurrencyShares")
            {
                limited.insert("nominalConcurrencyShares".into(), shares);
            }
        }
        // The other kinds have the same fields in all their versions.
        _ => {}
    }
    object["apiVersion"] = kind.stored_version.into();
    true
}

fn object_at<'a>(object: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    path.iter().try_fold(object, |at, field| at.get_mut(*field))?.as_object_mut()
}

fn each(object: &mut Value, path: &[&str], change: impl Fn(&mut Map<String, Value>)) {
    let list = path.iter().try_fold(object, |at, field| at.get_mut(*field)).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut).for_each(change);
}

/// `autoscaling/v2beta1` has its targets beside the metric's name.
fn metric(metric: &mut Map<String, Value>) {
    let Some(resource) = metric.get_mut("resource").and_then(Value::as_object_mut) else { return };
    if let Some(utilization) = resource.remove("targetAverageUtilization") {
        resource.insert("target".into(), json!({"type": "Utilization", "averageUtilization": utilization}));
    }
    if let Some(value) = resource.remove("targetAverageValue") {
        resource.insert("target".into(), json!({"type": "AverageValue", "averageValue": value}));
    }
}

/// `discovery.k8s.io/v1beta1` has node and zone in a map.
fn endpoint(endpoint: &mut Map<String, Value>) {
    let Some(Value::Object(mut topology)) = endpoint.remove("topology") else { return };
    for (label, field) in [("kubernetes.io/hostname", "nodeName"), ("topology.kubernetes.io/zone", "zone")] {
        if let Some(value) = topology.remove(label) {
            endpoint.entry(field).or_insert(value);
        }
    }
    if !topology.is_empty() {
        endpoint.insert("deprecatedTopology".into(), Value::Object(topology));
    }
}

/// `extensions/v1beta1` and `networking.k8s.io/v1beta1` name a backend's service in two flat fields.
fn ingress(object: &mut Value) {
    fn backend(value: Value) -> Value {
        let Value::Object(mut flat) = value else { return value };
        let name = flat.remove("serviceName");
        let port = flat.remove("servicePort");
        if let Some(name) = name {
            let port = match port {
                Some(Value::String(name)) => json!({"name": name}),
                Some(number) => json!({"number": number}),
                None => json!({}),
            };
            flat.insert("service".into(), json!({"name": name, "port": port}));
        }
        Value::Object(flat)
    }
    let Some(spec) = object_at(object, &["spec"]) else { return };
    if let Some(old) = spec.remove("backend") {
        spec.insert("defaultBackend".into(), backend(old));
    }
    each(object, &["spec", "rules"], |rule| {
        let Some(paths) = rule.get_mut("http").and_then(|h| h.get_mut("paths")?.as_array_mut()) else {
            return;
        };
        for path in paths.iter_mut().filter_map(Value::as_object_mut) {
            path.entry("pathType").or_insert_with(|| "ImplementationSpecific".into());
            if let Some(old) = path.remove("backend") {
                path.insert("backend".into(), backend(old));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_become_the_stored_one() {
        for (kind, old, new) in [
            (
                ("batch", "v1", "CronJob"),
                json!({"apiVersion": "batch/v1beta1", "spec": {"schedule": "@daily"}}),
                json!({"apiVersion": "batch/v1", "spec": {"schedule": "@daily"}}),
            ),
            (
                ("autoscaling", "v2", "HorizontalPodAutoscaler"),
                json!({"apiVersion": "autoscaling/v1", "metadata": {}, "spec": {"targetCPUUtilizationPercentage": 50}}),
                json!({"apiVersion": "autoscaling/v2", "metadata": {}, "spec": {"metrics": [{"type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
            ),
            (
                ("autoscaling", "v2", "HorizontalPodAutoscaler"),
                json!({"apiVersion": "autoscaling/v2beta1", "spec": {"metrics": [{"type": "Resource",
                    "resource": {"name": "cpu", "targetAverageUtilization": 50}}]}}),
                json!({"apiVersion": "autoscaling/v2", "spec": {"metrics": [{"type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
            ),
            (
                ("discovery.k8s.io", "v1", "EndpointSlice"),
                json!({"apiVersion": "discovery.k8s.io/v1beta1", "endpoints": [
                    {"addresses": ["10.0.0.1"], "topology": {"kubernetes.io/hostname": "n", "a": "b"}}]}),
                json!({"apiVersion": "discovery.k8s.io/v1", "endpoints": [
                    {"addresses": ["10.0.0.1"], "nodeName": "n", "deprecatedTopology": {"a": "b"}}]}),
            ),
            (
                ("networking.k8s.io", "v1", "Ingress"),
                json!({"apiVersion": "extensions/v1beta1", "spec": {"backend": {"serviceName": "s", "servicePort": 80},
                    "rules": [{"http": {"paths": [{"backend": {"serviceName": "t", "servicePort": "web"}}]}}]}}),
                json!({"apiVersion": "networking.k8s.io/v1", "spec": {
                    "defaultBackend": {"service": {"name": "s", "port": {"number": 80}}},
                    "rules": [{"http": {"paths": [{"pathType": "ImplementationSpecific",
                        "backend": {"service": {"name": "t", "port": {"name": "web"}}}}]}}]}}),
            ),
            (
                ("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration"),
                json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1beta1",
                    "spec": {"limited": {"assuredConcurrencyShares": 7}}}),
                json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1",
                    "spec": {"limited": {"nominalConcurrencyShares": 7}}}),
            ),
        ] {
            let kind = by_kind(kind.0, kind.1, kind.2).unwrap();
            let mut object = old.clone();
            assert!(upgrade(kind, &mut object), "{old}");
            assert_eq!(object, new);
            assert!(!upgrade(kind, &mut object), "it is done once");
        }
    }
}
