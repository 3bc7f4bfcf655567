//! Defaults of a pod's spec, also inside templates (`pkg/apis/core/v1/defaults.go`).

use serde_json::{Map, Value, json};

use crate::meta::{default_to, object_mut};

/// The mode of files in configuration volumes: 0644.
const DEFAULT_MODE: i64 = 0o644;

/// Fills in a pod's spec; a template's spec is one too.
pub fn pod_spec(spec: &mut Map<String, Value>) {
    default_to(spec, "dnsPolicy", "ClusterFirst");
    default_to(spec, "restartPolicy", "Always");
    default_to(spec, "terminationGracePeriodSeconds", 30);
    default_to(spec, "schedulerName", "default-scheduler");
    default_to(spec, "securityContext", json!({}));
    mirror_service_account(spec);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for c in objects(spec.get_mut(list)) {
            container(c);
            if host_network {
                for p in objects(c.get_mut("ports")) {
                    if let Some(port) = p.get("containerPort").cloned() {
                        default_to(p, "hostPort", port);
                    }
                }
            }
        }
    }
    for v in objects(spec.get_mut("volumes")) {
        volume(v);
    }
}

/// Fills in what only pods, not templates, get.
pub fn pod_only(spec: &mut Map<String, Value>) {
    default_to(spec, "enableServiceLinks", true);
    for list in ["initContainers", "containers"] {
        for c in objects(spec.get_mut(list)) {
            requests_from_limits(object_mut(c, "resources"));
        }
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are kept equal.
fn mirror_service_account(spec: &mut Map<String, Value>) {
    let text =
        |spec: &Map<String, Value>, k: &str| spec.get(k).and_then(Value::as_str).unwrap_or("").to_owned();
    let (new, old) = (text(spec, "serviceAccountName"), text(spec, "serviceAccount"));
    let name = if new.is_empty() { old } else { new };
    if !name.is_empty() {
        spec.insert("serviceAccountName".into(), name.clone().into());
        spec.insert("serviceAccount".into(), name.into());
    }
}

/// A limit without a request is also the request.
fn requests_from_limits(resources: &mut Map<String, Value>) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = object_mut(resources, "requests");
    for (name, limit) in limits {
        default_to(requests, &name, limit);
    }
}

fn container(c: &mut Map<String, Value>) {
    default_to(c, "terminationMessagePath", "/dev/termination-log");
    default_to(c, "terminationMessagePolicy", "File");
    default_to(c, "resources", json!({}));
    let image = c.get("image").and_then(Value::as_str).unwrap_or("").to_owned();
    default_to(c, "imagePullPolicy", if image_is_latest(&image) { "Always" } else { "IfNotPresent" });
    for p in objects(c.get_mut("ports")) {
        default_to(p, "protocol", "TCP");
    }
    for e in objects(c.get_mut("env")) {
        if let Some(Value::Object(source)) = e.get_mut("valueFrom") {
            if let Some(Value::Object(f)) = source.get_mut("fieldRef") {
                default_to(f, "apiVersion", "v1");
            }
            if let Some(Value::Object(f)) = source.get_mut("resourceFieldRef") {
                default_to(f, "divisor", "0");
            }
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(p)) = c.get_mut(name) {
            probe(p);
        }
    }
    if let Some(Value::Object(lifecycle)) = c.get_mut("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(Value::Object(h)) = lifecycle.get_mut(hook) {
                http_get(h);
            }
        }
    }
}

/// Whether an image name has no tag and no digest, or the tag `latest`.
pub fn image_is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(p: &mut Map<String, Value>) {
    default_to(p, "timeoutSeconds", 1);
    default_to(p, "periodSeconds", 10);
    default_to(p, "successThreshold", 1);
    default_to(p, "failureThreshold", 3);
    http_get(p);
    if let Some(Value::Object(g)) = p.get_mut("grpc") {
        default_to(g, "service", "");
    }
}

fn http_get(handler: &mut Map<String, Value>) {
    if let Some(Value::Object(h)) = handler.get_mut("httpGet") {
        default_to(h, "path", "/");
        default_to(h, "scheme", "HTTP");
    }
}

fn volume(v: &mut Map<String, Value>) {
    if v.keys().all(|k| k == "name") {
        v.insert("emptyDir".into(), json!({}));
    }
    for (name, source) in v.iter_mut() {
        let Value::Object(source) = source else { continue };
        match name.as_str() {
            "secret" | "configMap" => default_to(source, "defaultMode", DEFAULT_MODE),
            "downwardAPI" => {
                default_to(source, "defaultMode", DEFAULT_MODE);
                downward_items(source);
            }
            "projected" => {
                default_to(source, "defaultMode", DEFAULT_MODE);
                for s in objects(source.get_mut("sources")) {
                    if let Some(Value::Object(token)) = s.get_mut("serviceAccountToken") {
                        default_to(token, "expirationSeconds", 3600);
                    }
                    if let Some(Value::Object(d)) = s.get_mut("downwardAPI") {
                        downward_items(d);
                    }
                }
            }
            "image" => {
                let reference = source.get("reference").and_then(Value::as_str).unwrap_or("");
                let latest = image_is_latest(reference);
                default_to(source, "pullPolicy", if latest { "Always" } else { "IfNotPresent" });
            }
            "ephemeral" => {
                if let Some(Value::Object(claim)) = source.get_mut("volumeClaimTemplate") {
                    default_to(object_mut(claim, "spec"), "volumeMode", "Filesystem");
                }
            }
            _ => {}
        }
    }
    super::persistentvolume_sources::defaults(v);
}

fn downward_items(source: &mut Map<String, Value>) {
    for item in objects(source.get_mut("items")) {
        if let Some(Value::Object(f)) = item.get_mut("fieldRef") {
            default_to(f, "apiVersion", "v1");
        }
    }
}

/// The elements of a list that are objects.
pub(crate) fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_container_gets_upstreams_defaults() {
        let mut spec = json!({"containers": [{"name": "a", "image": "busybox",
            "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"port": 80}},
            "resources": {"limits": {"cpu": "1"}}}],
            "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}]});
        let map = spec.as_object_mut().unwrap();
        pod_spec(map);
        pod_only(map);
        assert_eq!(
            spec,
            json!({"containers": [{"name": "a", "image": "busybox", "imagePullPolicy": "Always",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                    "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}}],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                "schedulerName": "default-scheduler", "securityContext": {}, "enableServiceLinks": true})
        );
    }

    #[test]
    fn latest_is_a_missing_tag() {
        for (image, latest) in [
            ("a", true),
            ("a:latest", true),
            ("a:1", false),
            ("host:5000/a", true),
            ("host:5000/a:1", false),
            ("a@sha256:00", false),
        ] {
            assert_eq!(image_is_latest(image), latest, "{image}");
        }
    }
}
