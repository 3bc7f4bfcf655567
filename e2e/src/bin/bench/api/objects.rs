//! The objects of the benchmark.

use serde_json::{Value, json};

/// A config map of a hundred bytes of data.
pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "x".repeat(100)}})
}

/// A service account without tokens, so that pods can be made where no controller runs.
pub fn service_account() -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
        "automountServiceAccountToken": false})
}

/// Bytes that bring a pod to 2.7 KB as the server answers it, with defaults, status and owners.
const FILL: usize = 200;

/// A pod of about 2.7 KB as it is stored.
pub fn pod(name: &str, node: Option<&str>) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench"}, "annotations": {"note": "n".repeat(FILL)}},
        "spec": {"containers": [
            {"name": "app", "image": "registry.example.com/team/application:v1.24.3", "args": ["--listen=:8080"],
                "env": [{"name": "SETTING", "value": "a value of an ordinary length"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}}}]}});
    if let Some(node) = node {
        pod["spec"]["nodeName"] = node.into();
    }
    pod
}
