//! The life of a namespace.

use serde_json::json;

use crate::common::objects::{configmap, namespace};
use crate::common::{Api, MERGE, names};

#[tokio::test]
async fn every_cluster_has_some() {
    let api = Api::start().await;
    assert_eq!(
        names(&api.get("/api/v1/namespaces").await.ok()),
        ["default", "kube-node-lease", "kube-public", "kube-system"]
    );
    for name in ["default", "kube-public", "kube-system"] {
        let message = api.delete(&format!("/api/v1/namespaces/{name}")).await.refused(403, "Forbidden");
        assert_eq!(message, format!("namespaces {name:?} is forbidden: this namespace may not be deleted"));
    }
}

#[tokio::test]
async fn it_ends_when_its_finalizers_are_gone() {
    let api = Api::start().await;
    let made = api.post("/api/v1/namespaces", &namespace("a")).await.created();
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "a");
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(made["status"]["phase"], "Active");
    let maps = "/api/v1/namespaces/a/configmaps";
    api.post(maps, &configmap("m")).await.created();
    let ending = api.delete("/api/v1/namespaces/a").await.ok();
    assert_eq!(ending["status"]["phase"], "Terminating");
    assert!(ending["metadata"].get("deletionGracePeriodSeconds").is_none());
    let refused = api.post(maps, &configmap("late")).await;
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    refused.refused(403, "Forbidden");
    // What is there can still be changed and taken away.
    api.patch(&format!("{maps}/m"), MERGE, &json!({"data": {"x": "y"}})).await.ok();
    // Its spec cannot be emptied by an ordinary update.
    let kept = api.patch("/api/v1/namespaces/a", MERGE, &json!({"spec": {"finalizers": null}})).await.ok();
    assert_eq!(kept["spec"]["finalizers"], json!(["kubernetes"]));
    api.delete(&format!("{maps}/m")).await.ok();
    api.put("/api/v1/namespaces/a/finalize", &namespace("other")).await.refused(400, "BadRequest");
    api.put("/api/v1/namespaces/a/finalize", &namespace("a")).await.ok();
    api.get("/api/v1/namespaces/a").await.refused(404, "NotFound");
    api.post("/api/v1/namespaces", &namespace("a")).await.created();
}

#[tokio::test]
async fn deleting_twice_is_the_same() {
    let api = Api::start().await;
    api.post("/api/v1/namespaces", &namespace("a")).await.created();
    let first = api.delete("/api/v1/namespaces/a").await.ok();
    let again = api.delete("/api/v1/namespaces/a").await.ok();
    assert_eq!(first["metadata"]["deletionTimestamp"], again["metadata"]["deletionTimestamp"]);
    api.put("/api/v1/namespaces", &namespace("a")).await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn a_namespace_is_posted_to_its_collection() {
    let api = Api::start().await;
    let body = json!({"metadata": {"name": "x"}});
    api.post("/api/v1/namespaces/x", &body).await.refused(405, "MethodNotAllowed");
    let refused = json!({"metadata": {"name": "x"}, "spec": {"finalizers": ["mine"]}});
    let message = api.post("/api/v1/namespaces", &refused).await.refused(422, "Invalid");
    assert!(message.contains("spec.finalizers: Invalid value: \"mine\""), "{message}");
    let own = json!({"metadata": {"name": "x"}, "spec": {"finalizers": ["a.b/c"]}});
    let made = api.post("/api/v1/namespaces", &own).await.created();
    assert_eq!(made["spec"]["finalizers"], json!(["a.b/c", "kubernetes"]));
    let finalize = json!({"metadata": {"name": "x"}, "spec": {"finalizers": ["mine"]}});
    let message = api.put("/api/v1/namespaces/x/finalize", &finalize).await.refused(422, "Invalid");
    assert!(message.contains("spec.finalizers[0]: Invalid value: \"mine\""), "{message}");
}
