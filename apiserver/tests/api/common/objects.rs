//! Small objects to send.

use serde_json::{Value, json};

pub fn named(version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
}

pub fn namespace(name: &str) -> Value {
    named("v1", "Namespace", name)
}

pub fn configmap(name: &str) -> Value {
    let mut o = named("v1", "ConfigMap", name);
    o["data"] = json!({"a": "b"});
    o
}

pub fn labelled(name: &str, labels: &Value) -> Value {
    let mut o = configmap(name);
    o["metadata"]["labels"] = labels.clone();
    o
}

pub fn pod(name: &str) -> Value {
    let mut o = named("v1", "Pod", name);
    o["spec"] = json!({"containers": [{"name": "main", "image": "demo"}]});
    o
}

pub fn service(name: &str) -> Value {
    let mut o = named("v1", "Service", name);
    o["spec"] = json!({"selector": {"app": name}, "ports": [{"port": 80}]});
    o
}

pub fn deployment(name: &str) -> Value {
    let mut o = named("apps/v1", "Deployment", name);
    o["spec"] = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "demo:1"}]}},
    });
    o
}
