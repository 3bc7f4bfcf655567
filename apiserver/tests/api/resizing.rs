//! `pods/resize`: CPU and memory of a pod that is there already, and nothing else of it.

use serde_json::{Value, json};

use crate::common::{Api, MERGE, STRATEGIC};

const PODS: &str = "/api/v1/namespaces/n/pods";

async fn with_pod(resources: Value) -> Api {
    let api = Api::start().await;
    api.namespace("n").await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "initContainers": [{"name": "first", "image": "demo", "resources": {"requests": {"cpu": "1m"}}}],
        "containers": [{"name": "main", "image": "demo", "resources": resources}]}});
    api.post(PODS, &pod).await.created();
    api
}

fn to(resources: Value) -> Value {
    json!({"spec": {"containers": [{"name": "main", "resources": resources}]}})
}

#[tokio::test]
async fn amounts_change_and_count() {
    let api = with_pod(json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1"}})).await;
    let path = format!("{PODS}/p/resize");
    let mut change = to(json!({"requests": {"cpu": "200m"}, "limits": {"cpu": "2"}}));
    change["metadata"] = json!({"labels": {"a": "b"}});
    change["spec"]["containers"][0]["image"] = "other".into();
    change["spec"]["nodeSelector"] = json!({"x": "y"});
    let resized = api.patch(&path, STRATEGIC, &change).await.ok();
    let main = &resized["spec"]["containers"][0];
    assert_eq!(
        main["resources"],
        json!({"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "2"}})
    );
    assert_eq!(main["image"], "demo", "only resources change here");
    assert!(resized["metadata"].get("labels").is_none() && resized["spec"].get("nodeSelector").is_none());
    assert_eq!(resized["metadata"]["generation"], 2);
    assert_eq!(api.get(&path).await.ok(), resized);
    let mut whole = resized.clone();
    whole["spec"]["containers"][0]["resources"]["requests"]["memory"] = "32Mi".into();
    let put = api.put(&path, &whole).await.ok();
    assert_eq!(put["spec"]["containers"][0]["resources"]["requests"]["memory"], "32Mi");
    assert!(api.put(&path, &whole).await.refused(409, "Conflict").contains("has been modified"));
    // The pod itself is as closed as before.
    api.patch(&format!("{PODS}/p"), STRATEGIC, &to(json!({"requests": {"cpu": "300m"}})))
        .await
        .refused(422, "Invalid");
}

#[tokio::test]
async fn what_a_resize_may_not_do() {
    let api = with_pod(json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}})).await;
    let path = format!("{PODS}/p/resize");
    let resources = |r: Value| json!([{"name": "main", "image": "demo", "resources": r}]);
    let same = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}});
    for (spec, message) in [
        (
            json!({"containers": resources(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}})),
                "initContainers": [{"name": "first", "image": "demo", "resources": {"requests": {"cpu": "1m"}}}]}),
            "",
        ),
        (
            json!({"containers": resources(json!({"requests": {"cpu": "100m"}}))}),
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        (
            json!({"containers": resources(json!({"requests": {"cpu": "100m", "ephemeral-storage": "1Gi"}, "limits": {"cpu": "1"}}))}),
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
        (
            json!({"containers": resources(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}))}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            json!({"initContainers": [{"name": "first", "image": "demo", "resources": {"requests": {"cpu": "2m"}}}]}),
            "",
        ),
        (
            json!({"initContainers": [{"name": "first", "image": "demo",
                "resources": {"requests": {"cpu": "1m", "ephemeral-storage": "1Gi"}}}]}),
            "spec.initContainers[0]: Forbidden: only cpu and memory resources for init or sidecar containers are mutable",
        ),
        (
            json!({"containers": resources(json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}, "claims": [{"name": "x"}]}))}),
            "[spec.containers[0].resources.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims which is empty, spec: Forbidden: only cpu and memory resources are mutable]",
        ),
        (
            json!({"resources": {"requests": {"cpu": "1", "hugepages-2Mi": "2Mi"}, "limits": {"hugepages-2Mi": "2Mi"}}}),
            "spec: Forbidden: only cpu and memory resources are mutable at pod-level",
        ),
        (
            json!({"containers": [{"name": "main", "image": "demo", "resources": same},
                {"name": "more", "image": "demo"}]}),
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ),
        (
            json!({"containers": [{"name": "renamed", "image": "demo", "resources": same}]}),
            "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
        ),
    ] {
        let reply = api.patch(&format!("{path}?dryRun=All"), MERGE, &json!({"spec": spec})).await;
        if message.is_empty() {
            // An init container with requests only keeps the pod Burstable.
            reply.ok();
            continue;
        }
        assert_eq!(reply.refused(422, "Invalid"), format!("Pod \"p\" is invalid: {message}"), "{spec}");
    }
}

#[tokio::test]
async fn the_class_of_service_stays() {
    let api = Api::start().await;
    api.namespace("n").await;
    let pod = json!({"metadata": {"name": "g"}, "spec": {"containers": [
        {"name": "main", "image": "demo", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]}});
    api.post(PODS, &pod).await.created();
    let told = api.patch(&format!("{PODS}/g/resize"), STRATEGIC, &to(json!({"limits": {"cpu": "2"}}))).await;
    assert_eq!(
        told.refused(422, "Invalid"),
        "Pod \"g\" is invalid: spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of resizing"
    );
    let both = to(json!({"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}));
    api.patch(&format!("{PODS}/g/resize"), STRATEGIC, &both).await.ok();
    api.get(&format!("{PODS}/none/resize")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_node_that_cannot() {
    let api = with_pod(json!({"requests": {"cpu": "100m"}})).await;
    let running = json!({"status": {"phase": "Running", "containerStatuses": [{"name": "main", "image": "demo",
        "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]}});
    api.patch(&format!("{PODS}/p/status"), MERGE, &running).await.ok();
    let more = to(json!({"requests": {"cpu": "200m"}}));
    assert_eq!(
        api.patch(&format!("{PODS}/p/resize"), STRATEGIC, &more).await.refused(422, "Invalid"),
        "Pod \"p\" is invalid: spec: Forbidden: Pod running on node without support for resize"
    );
}

/// A pod on the node `big` of 4 CPUs and 8 GiB that declares `features`, as its agent tells of it.
async fn on_a_node(features: Value) -> Api {
    let api = Api::start().await;
    api.namespace("n").await;
    api.post("/api/v1/nodes", &json!({"metadata": {"name": "big"}})).await.created();
    let status = json!({"status": {"declaredFeatures": features,
        "allocatable": {"cpu": "4", "memory": "8Gi"}, "capacity": {"cpu": "4", "memory": "8Gi"}}});
    api.patch("/api/v1/nodes/big/status", MERGE, &status).await.ok();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "big",
        "initContainers": [{"name": "first", "image": "demo", "resources": {"requests": {"cpu": "1m"}}}],
        "containers": [{"name": "main", "image": "demo", "resources": {"requests": {"cpu": "1"}}}]}});
    api.post(PODS, &pod).await.created();
    let running = json!({"status": {"phase": "Running", "containerStatuses": [{"name": "main", "image": "demo",
        "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}},
        "allocatedResources": {"cpu": "1"}, "resources": {"requests": {"cpu": "1"}}}]}});
    api.patch(&format!("{PODS}/p/status"), MERGE, &running).await.ok();
    api
}

#[tokio::test]
async fn never_more_than_the_node_has() {
    let api = on_a_node(json!([])).await;
    let path = format!("{PODS}/p/resize");
    let told = api.patch(&path, STRATEGIC, &to(json!({"requests": {"cpu": "5", "memory": "9Gi"}}))).await;
    let body = told.body.clone();
    assert_eq!(
        told.refused(403, "Forbidden"),
        "pods \"p\" is forbidden: node didn't have enough allocatable resources: \
         cpu, requested: 5000, allocatable: 4000; memory, requested: 9663676416, allocatable: 8589934592"
    );
    assert_eq!(body["details"]["causes"], json!([{"reason": "NodeCapacity"}]));
    api.patch(&path, STRATEGIC, &to(json!({"requests": {"cpu": "4"}}))).await.ok();
    let other = json!({"metadata": {"labels": {"kubernetes.io/os": "plan9"}}});
    api.patch("/api/v1/nodes/big", MERGE, &other).await.ok();
    assert_eq!(
        api.patch(&path, STRATEGIC, &to(json!({"requests": {"cpu": "3"}}))).await.refused(403, "Forbidden"),
        "pods \"p\" is forbidden: pod resize is only supported on linux nodes, node \"big\" is \"plan9\""
    );
}

#[tokio::test]
async fn nodes_declare_what_else_they_resize() {
    let init =
        json!({"spec": {"initContainers": [{"name": "first", "resources": {"requests": {"cpu": "2m"}}}]}});
    let whole = json!({"spec": {"resources": {"requests": {"cpu": "3"}}}});
    let path = format!("{PODS}/p/resize");
    let api = on_a_node(json!([])).await;
    for (change, feature) in [
        (&init, "InPlacePodVerticalScalingInitContainers"),
        (&whole, "InPlacePodLevelResourcesVerticalScaling"),
    ] {
        assert_eq!(
            api.patch(&path, STRATEGIC, change).await.refused(403, "Forbidden"),
            format!(
                "pods \"p\" is forbidden: pod update requires features {feature} which are not available on node \"big\""
            )
        );
    }
    let api = on_a_node(json!(["InPlacePodVerticalScalingInitContainers"])).await;
    api.patch(&path, STRATEGIC, &init).await.ok();
}
