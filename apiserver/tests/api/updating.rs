//! PUT: versions, identity, what only the system writes.

use serde_json::json;

use crate::common::objects::{configmap, pod, service};
use crate::common::{Api, MERGE, version};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn versions_guard_writes() {
    let api = Api::start().await;
    let first = api.post(MAPS, &configmap("a")).await.created();
    let path = format!("{MAPS}/a");
    let mut new = first.clone();
    new["data"]["a"] = "c".into();
    let second = api.put(&path, &new).await.ok();
    assert!(version(&second) > version(&first));
    new["data"]["a"] = "d".into();
    assert_eq!(
        api.put(&path, &new).await.refused(409, "Conflict"),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    // Without a version the last writer wins.
    new["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(api.put(&path, &new).await.ok()["data"]["a"], "d");
}

#[tokio::test]
async fn writing_the_same_again_costs_no_revision() {
    let api = Api::start().await;
    let first = api.post(MAPS, &configmap("a")).await.created();
    assert_eq!(version(&api.put(&format!("{MAPS}/a"), &first).await.ok()), version(&first));
}

#[tokio::test]
async fn identity_is_kept() {
    let api = Api::start().await;
    let first = api.post(MAPS, &configmap("a")).await.created();
    let path = format!("{MAPS}/a");
    let mut new = configmap("a");
    new["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    let second = api.put(&path, &new).await.ok();
    for f in ["uid", "creationTimestamp"] {
        assert_eq!(second["metadata"][f], first["metadata"][f]);
    }
    new["metadata"]["uid"] = "other".into();
    let message = api.put(&path, &new).await.refused(409, "Conflict");
    assert!(message.contains("Precondition failed: UID in precondition: other"), "{message}");
    let message = api.put(&path, &configmap("b")).await.refused(400, "BadRequest");
    assert_eq!(message, "the name of the object (b) does not match the name on the URL (a)");
    api.put(&format!("{MAPS}/none"), &configmap("none")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn sealed_fields() {
    let api = Api::start().await;
    let mut sealed = configmap("a");
    sealed["immutable"] = true.into();
    let mut made = api.post(MAPS, &sealed).await.created();
    made["data"]["a"] = "c".into();
    let message = api.put(&format!("{MAPS}/a"), &made).await.refused(422, "Invalid");
    assert!(message.contains("data: Forbidden: field is immutable when `immutable` is set"), "{message}");
    let made = api.post("/api/v1/namespaces/default/services", &service("s")).await.created();
    let mut moved = made.clone();
    moved["spec"]["clusterIP"] = "10.96.9.9".into();
    moved["spec"]["clusterIPs"] = json!(["10.96.9.9"]);
    let message = api.put("/api/v1/namespaces/default/services/s", &moved).await.refused(422, "Invalid");
    assert!(message.contains("may not change once set"), "{message}");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let api = Api::start().await;
    let first = api.post(MAPS, &configmap("a")).await.created();
    let mut new = first.clone();
    new["data"]["a"] = "c".into();
    assert_eq!(api.put(&format!("{MAPS}/a?dryRun=All"), &new).await.ok()["data"]["a"], "c");
    assert_eq!(api.get(&format!("{MAPS}/a")).await.ok(), first);
}

#[tokio::test]
async fn some_kinds_are_made_by_put() {
    let api = Api::start().await;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "namespace": "default"},
        "spec": {"holderIdentity": "me"}});
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let made = api.put(path, &lease).await.created();
    assert!(made["metadata"]["uid"].is_string());
    api.put(path, &lease).await.refused(422, "Invalid");
}

#[tokio::test]
async fn parallel_updates_lose_nothing() {
    let api = Api::start().await;
    api.post(MAPS, &configmap("a")).await.created();
    let many = (0..30).map(|i| {
        let api = api.clone();
        async move {
            let patch = json!({"data": {format!("k{i}"): "v"}});
            api.patch(&format!("{MAPS}/a"), crate::common::MERGE, &patch).await.code.as_u16()
        }
    });
    let codes = futures::future::join_all(many).await;
    let done = codes.iter().filter(|c| **c == 200).count();
    assert!(codes.iter().all(|c| *c == 200 || *c == 409), "{codes:?}");
    let stored = api.get(&format!("{MAPS}/a")).await.ok();
    assert_eq!(stored["data"].as_object().unwrap().len(), done + 1);
}

/// Metadata goes through the status, but for what a kind keeps from it.
#[tokio::test]
async fn a_status_is_written_with_its_metadata() {
    let api = Api::start().await;
    let account = json!({"metadata": {"name": "default"}});
    api.post("/api/v1/namespaces/default/serviceaccounts", &account).await.created();
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let deployment = json!({"metadata": {"name": "o"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "n", "uid": "u"}]);
    let written = json!({"metadata": {"labels": {"l": "m"}, "annotations": {"n": "o"}, "ownerReferences": owner},
        "spec": {"paused": true, "unschedulable": true, "nodeName": "n"}, "status": {}});
    for (path, object, labels, owned) in [
        ("/api/v1/nodes", json!({"metadata": {"name": "o"}}), true, true),
        ("/apis/apps/v1/namespaces/default/deployments", deployment, false, true),
        ("/api/v1/namespaces/default/pods", pod("o"), true, false),
    ] {
        api.post(path, &object).await.created();
        let patched = api.patch(&format!("{path}/o/status"), MERGE, &written).await.ok();
        let metadata = &patched["metadata"];
        assert_eq!(metadata["annotations"]["n"], "o", "{path}");
        assert_eq!(metadata["labels"].get("l").is_some(), labels, "{path}: labels");
        assert_eq!(metadata.get("ownerReferences").is_some(), owned, "{path}: owners");
        for field in ["paused", "unschedulable", "nodeName"] {
            assert!(patched["spec"].get(field).is_none(), "{path}: {field}");
        }
    }
}
