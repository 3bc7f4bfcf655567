//! Classes of runtimes, storage and ingresses, and what else is put into new objects or refused.

use serde_json::{Value, json};

use crate::common::{Api, MERGE, objects};

const PODS: &str = "/api/v1/namespaces/n/pods";
const CLAIMS: &str = "/api/v1/namespaces/n/persistentvolumeclaims";

async fn start() -> Api {
    let api = Api::start().await;
    api.namespace("n").await;
    api
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = objects::pod(name);
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

#[tokio::test]
async fn runtime_classes_cost_and_place() {
    let api = start().await;
    let class = json!({"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}});
    api.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await.created();
    let made = pod("a", json!({"runtimeClassName": "vm", "nodeSelector": {"disk": "ssd"}}));
    let made = api.post(PODS, &made).await.created();
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "250m"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"disk": "ssd", "vm": "yes"}));
    let tolerations = made["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&json!({"key": "vm", "operator": "Exists"})), "{tolerations:?}");
    api.post(PODS, &pod("b", json!({"runtimeClassName": "vm", "overhead": {"cpu": "0.25"}}))).await.created();
    for (spec, why) in [
        (json!({"runtimeClassName": "none"}), "pod rejected: RuntimeClass \"none\" not found"),
        (
            json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}}),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            json!({"overhead": {"cpu": "1"}}),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
        ),
    ] {
        let told = api.post(PODS, &pod("p", spec)).await.refused(403, "Forbidden");
        assert_eq!(told, format!("pods \"p\" is forbidden: {why}"));
    }
}

fn claim(name: &str, class: Value) -> Value {
    let mut claim = json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    if !class.is_null() {
        claim["spec"]["storageClassName"] = class;
    }
    claim
}

#[tokio::test]
async fn claims_get_the_default_class_and_are_protected() {
    let api = start().await;
    let without = api.post(CLAIMS, &claim("without", Value::Null)).await.created();
    assert!(without["spec"].get("storageClassName").is_none());
    let class = |name: &str, default: &str| {
        json!({"metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}},
            "provisioner": "example.com/none"})
    };
    for (name, default) in [("other", "false"), ("usual", "true")] {
        api.post("/apis/storage.k8s.io/v1/storageclasses", &class(name, default)).await.created();
        api.get(&format!("/apis/storage.k8s.io/v1/storageclasses/{name}")).await.ok();
    }
    for (name, sent, got) in
        [("a", Value::Null, "usual"), ("b", json!("other"), "other"), ("c", json!(""), "")]
    {
        let made = api.post(CLAIMS, &claim(name, sent)).await.created();
        assert_eq!(made["spec"]["storageClassName"], got);
        assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    }
    api.delete(&format!("{CLAIMS}/a")).await.ok();
    assert!(api.get(&format!("{CLAIMS}/a")).await.ok()["metadata"]["deletionTimestamp"].is_string());
    let free = json!({"metadata": {"finalizers": null}});
    api.patch(&format!("{CLAIMS}/a"), MERGE, &free).await.ok();
    api.get(&format!("{CLAIMS}/a")).await.refused(404, "NotFound");
    let volume = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/v"}}});
    let made = api.post("/api/v1/persistentvolumes", &volume).await.created();
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pv-protection"]));
}

#[tokio::test]
async fn ingresses_get_the_default_class() {
    let api = start().await;
    let class = json!({"metadata": {"name": "usual",
        "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "example.com/none"}});
    let classes = "/apis/networking.k8s.io/v1/ingressclasses";
    api.post(classes, &class).await.created();
    api.get(&format!("{classes}/usual")).await.ok();
    let ingress = |name: &str, annotations: Value| {
        json!({"metadata": {"name": name, "annotations": annotations},
            "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}})
    };
    let path = "/apis/networking.k8s.io/v1/namespaces/n/ingresses";
    let made = api.post(path, &ingress("a", json!({}))).await.created();
    assert_eq!(made["spec"]["ingressClassName"], "usual");
    let old = ingress("b", json!({"kubernetes.io/ingress.class": "older"}));
    assert!(api.post(path, &old).await.created()["spec"].get("ingressClassName").is_none());
}

#[tokio::test]
async fn services_take_no_foreign_addresses() {
    let api = start().await;
    let path = "/api/v1/namespaces/n/services";
    let why = "services \"s\" is forbidden: Use of external IPs is denied by admission control";
    let mut service = objects::service("s");
    service["spec"]["externalIPs"] = json!(["192.0.2.1"]);
    assert_eq!(api.post(path, &service).await.refused(403, "Forbidden"), why);
    api.post(path, &objects::service("s")).await.created();
    let more = json!({"spec": {"externalIPs": ["192.0.2.1"]}});
    assert_eq!(api.patch(&format!("{path}/s"), MERGE, &more).await.refused(403, "Forbidden"), why);
    api.patch(&format!("{path}/s"), MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
}

#[tokio::test]
async fn new_nodes_are_kept_from_work() {
    let api = start().await;
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let own = json!({"key": "own", "effect": "NoExecute"});
    for (name, taints, got) in [
        ("a", Value::Null, json!([taint])),
        ("b", json!([own]), json!([own, taint])),
        ("c", json!([taint]), json!([taint])),
    ] {
        let mut node = objects::named("v1", "Node", name);
        node["spec"] = json!({"taints": taints});
        assert_eq!(api.post("/api/v1/nodes", &node).await.created()["spec"]["taints"], got);
    }
}
