//! Deployments and replica sets: generations, status apart from spec, scale.

use serde_json::json;

use crate::common::objects::{deployment, named};
use crate::common::{Api, JSON_PATCH, MERGE, version};

const ALL: &str = "/apis/apps/v1/namespaces/default/deployments";
const ONE: &str = "/apis/apps/v1/namespaces/default/deployments/web";

async fn with_deployment() -> Api {
    let api = Api::start().await;
    api.post(ALL, &deployment("web")).await.created();
    api
}

#[tokio::test]
async fn generations_count_changes_of_the_spec() {
    let api = with_deployment().await;
    for (path, patch, generation) in [
        (ONE.to_owned(), json!({"metadata": {"labels": {"a": "b"}}}), 1),
        (format!("{ONE}/status"), json!({"status": {"replicas": 3}}), 1),
        (ONE.to_owned(), json!({"spec": {"replicas": 2}}), 2),
        (ONE.to_owned(), json!({"spec": {"replicas": 2}}), 2),
        (ONE.to_owned(), json!({"metadata": {"generation": 77}}), 2),
        (format!("{ONE}/scale"), json!({"spec": {"replicas": 5}}), 2),
    ] {
        let answer = api.patch(&path, MERGE, &patch).await.ok();
        if answer["kind"] == "Deployment" {
            assert_eq!(answer["metadata"]["generation"], generation, "{patch}");
        }
    }
    assert_eq!(api.get(ONE).await.ok()["metadata"]["generation"], 3);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let api = with_deployment().await;
    let both =
        json!({"spec": {"replicas": 9}, "status": {"replicas": 4}, "metadata": {"labels": {"x": "y"}}});
    let by_status = api.patch(&format!("{ONE}/status"), MERGE, &both).await.ok();
    assert_eq!(by_status["spec"]["replicas"], 1);
    assert_eq!(by_status["status"]["replicas"], 4);
    let by_spec =
        api.patch(ONE, MERGE, &json!({"spec": {"replicas": 9}, "status": {"replicas": 8}})).await.ok();
    assert_eq!(by_spec["spec"]["replicas"], 9);
    assert_eq!(by_spec["status"]["replicas"], 4);
    let mut made = deployment("fresh");
    made["status"] = json!({"replicas": 7});
    let fresh = api.post(ALL, &made).await.created();
    assert!(fresh["status"].get("replicas").is_none(), "{fresh}");
    assert_eq!(api.get(&format!("{ONE}/status")).await.ok(), api.get(ONE).await.ok());
    let mut stale = by_status;
    stale["status"]["replicas"] = 1.into();
    api.put(&format!("{ONE}/status"), &stale).await.refused(409, "Conflict");
}

#[tokio::test]
async fn scale() {
    let api = with_deployment().await;
    let path = format!("{ONE}/scale");
    let scale = api.get(&path).await.ok();
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["apiVersion"], "autoscaling/v1");
    assert_eq!(scale["status"]["selector"], "app=web");
    let mut new = scale.clone();
    new["spec"]["replicas"] = 3.into();
    assert_eq!(api.put(&path, &new).await.ok()["spec"]["replicas"], 3);
    // The version it was read at is past.
    api.put(&path, &new).await.refused(409, "Conflict");
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": 7}]);
    assert_eq!(api.patch(&path, JSON_PATCH, &patch).await.ok()["spec"]["replicas"], 7);
    assert_eq!(api.get(ONE).await.ok()["spec"]["replicas"], 7);
    api.patch(&path, MERGE, &json!({"spec": {"replicas": -1}})).await.refused(422, "Invalid");
    api.patch(&path, MERGE, &json!({"spec": {"replicas": "x"}})).await.refused(422, "Invalid");
    let other = json!({"metadata": {"name": "zz"}, "spec": {"replicas": 1}});
    api.put(&path, &other).await.refused(400, "BadRequest");
    let message = api.get(&format!("{ALL}/none/scale")).await.refused(404, "NotFound");
    assert_eq!(message, "deployments/scale.apps \"none\" not found");
    api.delete(&path).await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn what_may_not_be() {
    let api = with_deployment().await;
    let selector = json!({"spec": {"selector": {"matchLabels": {"x": "y"}}}});
    let message = api.patch(ONE, MERGE, &selector).await.refused(422, "Invalid");
    assert!(
        message.contains("spec.selector: Invalid value: ") && message.contains("field is immutable"),
        "{message}"
    );
    for (field, value) in [
        ("replicas", json!(-1)),
        ("minReadySeconds", json!(-1)),
        ("progressDeadlineSeconds", json!(0)),
        ("strategy", json!({"type": "x"})),
        ("strategy", json!({"type": "Recreate", "rollingUpdate": {}})),
        ("strategy", json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}})),
        ("selector", json!({})),
    ] {
        let mut d = deployment("bad");
        d["spec"][field] = value;
        let message = api.post(ALL, &d).await.refused(422, "Invalid");
        assert!(message.starts_with("Deployment.apps \"bad\" is invalid: "), "{message}");
    }
    let message = api.post(ALL, &named("apps/v1", "Deployment", "empty")).await.refused(422, "Invalid");
    for part in ["spec.selector: Required value", "spec.template.spec.containers: Required value"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn replica_sets_scale_too() {
    let api = Api::start().await;
    let mut rs = deployment("web");
    rs["kind"] = "ReplicaSet".into();
    let made = api.post("/apis/apps/v1/namespaces/default/replicasets", &rs).await.created();
    let scale = api.get("/apis/apps/v1/namespaces/default/replicasets/web/scale").await.ok();
    assert_eq!(version(&scale), version(&made));
    assert_eq!(scale["spec"]["replicas"], 1);
}
