//! DELETE: at once, with finalizers, with propagation, of collections.

use serde_json::{Value, json};

use crate::common::objects::{configmap, labelled, pod};
use crate::common::{Api, MERGE, names};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MAP: &str = "/api/v1/namespaces/default/configmaps/a";

async fn with_map() -> (Api, Value) {
    let api = Api::start().await;
    let made = api.post(MAPS, &configmap("a")).await.created();
    (api, made)
}

#[tokio::test]
async fn at_once() {
    let (api, made) = with_map().await;
    let status = api.delete(MAP).await.ok();
    assert_eq!(status["status"], "Success");
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}));
    api.get(MAP).await.refused(404, "NotFound");
    assert_eq!(api.delete(MAP).await.refused(404, "NotFound"), "configmaps \"a\" not found");
}

#[tokio::test]
async fn preconditions() {
    let (api, made) = with_map().await;
    let m = &made["metadata"];
    for options in
        [json!({"preconditions": {"uid": "x"}}), json!({"preconditions": {"resourceVersion": "1"}})]
    {
        api.delete_with(MAP, &options).await.refused(409, "Conflict");
    }
    let both = json!({"preconditions": {"uid": m["uid"], "resourceVersion": m["resourceVersion"]}});
    api.delete_with(MAP, &both).await.ok();
}

#[tokio::test]
async fn options_are_checked() {
    let (api, _) = with_map().await;
    for (options, code) in [
        (json!({"propagationPolicy": "x"}), 422),
        (json!({"propagationPolicy": "Orphan", "orphanDependents": true}), 422),
        (json!({"kind": "Pod", "apiVersion": "v1"}), 400),
        (json!({"gracePeriodSeconds": "x"}), 400),
        (json!({"dryRun": ["Some"]}), 422),
        (json!([]), 400),
    ] {
        assert_eq!(api.delete_with(MAP, &options).await.code, code, "{options}");
    }
    api.get(MAP).await.ok();
}

#[tokio::test]
async fn a_dry_run_deletes_nothing() {
    let (api, _) = with_map().await;
    api.delete(&format!("{MAP}?dryRun=All")).await.ok();
    api.delete_with(MAP, &json!({"dryRun": ["All"]})).await.ok();
    api.get(MAP).await.ok();
}

#[tokio::test]
async fn finalizers_keep_an_object() {
    let (api, _) = with_map().await;
    api.patch(MAP, MERGE, &json!({"metadata": {"finalizers": ["x/y"]}})).await.ok();
    let marked = api.delete(MAP).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    // The mark stays whatever is written, and no finalizer can be added any more.
    let kept = api.patch(MAP, MERGE, &json!({"metadata": {"deletionTimestamp": null}})).await.ok();
    assert!(kept["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"finalizers": ["x/y", "x/z"]}});
    let message = api.patch(MAP, MERGE, &more).await.refused(422, "Invalid");
    assert!(message.contains("no new finalizers can be added if the object is being deleted"), "{message}");
    api.post(MAPS, &configmap("a")).await.refused(409, "AlreadyExists");
    api.patch(MAP, MERGE, &json!({"metadata": {"finalizers": []}})).await.ok();
    api.get(MAP).await.refused(404, "NotFound");
}

#[tokio::test]
async fn propagation_becomes_a_finalizer() {
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let (api, _) = with_map().await;
        let marked = api.delete_with(MAP, &json!({"propagationPolicy": policy})).await.ok();
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        // Asking again in another way replaces it.
        api.delete_with(MAP, &json!({"propagationPolicy": "Background"})).await.ok();
        api.get(MAP).await.refused(404, "NotFound");
    }
}

#[tokio::test]
async fn collections() {
    let api = Api::start().await;
    for (name, label) in [("a", "x"), ("b", "x"), ("c", "y")] {
        api.post(MAPS, &labelled(name, &json!({"app": label}))).await.created();
    }
    api.delete(&format!("{MAPS}?labelSelector=app=x&dryRun=All")).await.ok();
    assert_eq!(names(&api.get(MAPS).await.ok()), ["a", "b", "c"]);
    let gone = api.delete(&format!("{MAPS}?labelSelector=app=x")).await.ok();
    assert_eq!(gone["kind"], "ConfigMapList");
    assert_eq!(names(&gone).len(), 2);
    assert_eq!(names(&api.get(MAPS).await.ok()), ["c"]);
    api.delete(&format!("{MAPS}?fieldSelector=metadata.name=c")).await.ok();
    assert!(names(&api.get(MAPS).await.ok()).is_empty());
    api.delete("/api/v1/configmaps").await.refused(405, "MethodNotAllowed");
    api.delete("/api/v1/namespaces").await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn pods_end_with_grace() {
    let api = Api::start().await;
    api.namespace("a").await;
    let path = "/api/v1/namespaces/a/pods/p";
    let pods = "/api/v1/namespaces/a/pods";
    // Nobody runs it: it goes at once.
    api.post(pods, &pod("p")).await.created();
    assert_eq!(api.delete(path).await.ok()["kind"], "Pod");
    api.get(path).await.refused(404, "NotFound");
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n".into();
    api.post(pods, &bound).await.created();
    let marked = api.delete(path).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let sooner = api.delete_with(path, &json!({"gracePeriodSeconds": 5})).await.ok();
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    let not_later = api.delete_with(path, &json!({"gracePeriodSeconds": 60})).await.ok();
    assert_eq!(not_later["metadata"]["deletionGracePeriodSeconds"], 5);
    api.delete_with(path, &json!({"gracePeriodSeconds": 0})).await.ok();
    api.get(path).await.refused(404, "NotFound");
}
