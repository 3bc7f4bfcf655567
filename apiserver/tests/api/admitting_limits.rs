//! Limit ranges: what they fill in and what they refuse, in upstream's words.

use serde_json::{Value, json};

use crate::common::{Api, JSON_PATCH, MERGE, STRATEGIC};

const PODS: &str = "/api/v1/namespaces/n/pods";
const RANGES: &str = "/api/v1/namespaces/n/limitranges";

async fn with_ranges(ranges: &[Value]) -> Api {
    let api = Api::start().await;
    api.namespace("n").await;
    let mut last = Value::Null;
    for (i, limits) in ranges.iter().enumerate() {
        let range = json!({"metadata": {"name": format!("r{i}")}, "spec": {"limits": limits}});
        last = api.post(RANGES, &range).await.created();
    }
    if let Some(name) = last.pointer("/metadata/name").and_then(Value::as_str) {
        // A consistent read: from here on the cache has them.
        api.get(&format!("{RANGES}/{name}")).await.ok();
    }
    api
}

fn pod(containers: Value) -> Value {
    let mut containers = containers;
    for (i, c) in containers.as_array_mut().unwrap().iter_mut().enumerate() {
        c["name"] = format!("c{i}").into();
        c["image"] = "demo".into();
    }
    json!({"metadata": {"name": "p"}, "spec": {"containers": containers}})
}

fn asks(requests: Value, limits: Value) -> Value {
    json!({"resources": {"requests": requests, "limits": limits}})
}

#[tokio::test]
async fn containers_get_what_they_leave_open() {
    let api = with_ranges(&[json!([{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"},
        "defaultRequest": {"cpu": "100m"}}])])
    .await;
    let mut sent = pod(json!([{}, asks(json!({"cpu": "1m"}), json!({"memory": "2Gi"}))]));
    sent["spec"]["initContainers"] = json!([{"name": "i", "image": "demo"}]);
    let made = api.post(PODS, &sent).await.created();
    let open = json!({"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    assert_eq!(made["spec"]["containers"][0]["resources"], open);
    assert_eq!(
        made["spec"]["containers"][1]["resources"],
        json!({"requests": {"cpu": "1m", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}})
    );
    assert_eq!(made["spec"]["initContainers"][0]["resources"], open);
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, memory request for container c0; cpu, memory limit for container c0; cpu limit for container c1; cpu, memory request for init container i; cpu, memory limit for init container i"
    );
    assert_eq!(made["status"]["qosClass"], "Burstable", "the class follows from what was filled in");
}

#[tokio::test]
async fn containers_and_pods_are_held_to_limits() {
    let api = with_ranges(&[json!([
        {"type": "Container", "max": {"memory": "1Gi"}, "min": {"memory": "64Mi"}},
        {"type": "Pod", "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "4"}},
    ])])
    .await;
    let whole = |memory: &str, request: &str, cpu: &str, cpu_request: &str| {
        asks(json!({"memory": request, "cpu": cpu_request}), json!({"memory": memory, "cpu": cpu}))
    };
    let fine = whole("1Gi", "64Mi", "1", "500m");
    for (containers, why) in [
        (
            json!([whole("2Gi", "64Mi", "1", "500m")]),
            "maximum memory usage per Container is 1Gi, but limit is 2Gi",
        ),
        (
            json!([whole("32Mi", "32Mi", "1", "500m")]),
            "minimum memory usage per Container is 64Mi, but request is 32Mi",
        ),
        (json!([fine, whole("1Gi", "1Gi", "2", "1")]), "maximum cpu usage per Pod is 2, but limit is 3"),
        (
            json!([whole("1Gi", "1Gi", "1", "200m")]),
            "cpu max limit to request ratio per Pod is 4, but provided ratio is 5.000000",
        ),
        (
            json!([asks(json!({"memory": "64Mi"}), json!({}))]),
            "[maximum cpu usage per Pod is 2.  No limit is specified, cpu max limit to request ratio per Pod is 4, but no request is specified or request is 0]",
        ),
        (
            json!([whole("2Gi", "2Gi", "1", "500m"), whole("2Gi", "2Gi", "1", "500m")]),
            "maximum memory usage per Container is 1Gi, but limit is 2Gi",
        ),
    ] {
        let told = api.post(PODS, &pod(containers)).await.refused(403, "Forbidden");
        assert_eq!(told, format!("pods \"p\" is forbidden: {why}"));
    }
    api.post(PODS, &pod(json!([fine]))).await.created();
    // Only what changes is judged again.
    let resized = |limit: &str| json!({"spec": {"containers": [{"name": "c0", "resources": {"limits": {"cpu": limit}}}]}});
    api.patch(&format!("{PODS}/p/resize"), STRATEGIC, &resized("2")).await.ok();
    assert_eq!(
        api.patch(&format!("{PODS}/p/resize"), STRATEGIC, &resized("2500m")).await.refused(403, "Forbidden"),
        "pods \"p\" is forbidden: [maximum cpu usage per Pod is 2, but limit is 2500m, cpu max limit to request ratio per Pod is 4, but provided ratio is 5.000000]"
    );
    let raised = json!([{"op": "replace", "path": "/spec/limits/0/min/memory", "value": "128Mi"}]);
    api.patch(&format!("{RANGES}/r0"), JSON_PATCH, &raised).await.ok();
    api.get(&format!("{RANGES}/r0")).await.ok();
    api.patch(&format!("{PODS}/p/resize"), STRATEGIC, &resized("1")).await.ok();
}

#[tokio::test]
async fn claims_are_held_to_limits() {
    let api = with_ranges(&[
        json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}}]),
    ])
    .await;
    let path = "/api/v1/namespaces/n/persistentvolumeclaims";
    let claim = |storage: &str| {
        json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}}}})
    };
    for (storage, why) in [
        ("512Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi"),
        ("6Gi", "maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi"),
    ] {
        let told = api.post(path, &claim(storage)).await.refused(403, "Forbidden");
        assert_eq!(told, format!("persistentvolumeclaims \"c\" is forbidden: {why}"));
    }
    api.post(path, &claim("2Gi")).await.created();
    api.patch(&format!("{path}/c"), MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
}

#[tokio::test]
async fn names_still_to_be_made_are_told_by_their_stem_while_objects_are_put_together() {
    let api = Api::start().await;
    api.namespace("n").await;
    let mut sent = pod(json!([{}]));
    sent["metadata"] = json!({"generateName": "web-"});
    sent["spec"]["priorityClassName"] = "none".into();
    let told = api.post(PODS, &sent).await.refused(403, "Forbidden");
    assert_eq!(told, "pods \"web-\" is forbidden: no PriorityClass with name none was found");
}
