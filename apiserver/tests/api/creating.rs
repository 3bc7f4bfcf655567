//! POST: what is filled in, what is refused, what a dry run leaves.

use http::Method;
use serde_json::json;

use crate::common::objects::{configmap, deployment, named, pod};
use crate::common::{Api, version};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn the_system_fills_in_metadata() {
    let api = Api::start().await;
    let mut sent = configmap("a");
    sent["metadata"]["uid"] = "mine".into();
    sent["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    sent["metadata"]["generation"] = 7.into();
    sent["metadata"]["deletionTimestamp"] = "2001-01-01T00:00:00Z".into();
    let made = api.post(MAPS, &sent).await.created();
    let m = &made["metadata"];
    assert_eq!(m["namespace"], "default");
    assert_eq!(m["uid"].as_str().unwrap().len(), 36);
    assert_ne!(m["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert!(m.get("deletionTimestamp").is_none() && m.get("generation").is_none(), "{m}");
    assert!(version(&made) > 0);
    assert_eq!(api.get(&format!("{MAPS}/a")).await.ok(), made);
}

#[tokio::test]
async fn names_are_generated() {
    let api = Api::start().await;
    let made = api.post(MAPS, &json!({"metadata": {"generateName": "web-"}})).await.created();
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == "web-".len() + 5, "{name}");
    let long = "x".repeat(300);
    let reply = api.post(MAPS, &json!({"metadata": {"generateName": long}})).await;
    assert_eq!(reply.code, 422, "{reply:?}");
}

#[tokio::test]
async fn refusals() {
    let api = Api::start().await;
    api.post(MAPS, &configmap("a")).await.created();
    let in_other = |o: &mut serde_json::Value| o["metadata"]["namespace"] = "other".into();
    let mut elsewhere = configmap("b");
    in_other(&mut elsewhere);
    let mut versioned = configmap("b");
    versioned["metadata"]["resourceVersion"] = "5".into();
    for (path, body, code, reason, message) in [
        (MAPS, configmap("a"), 409, "AlreadyExists", "configmaps \"a\" already exists"),
        (
            MAPS,
            elsewhere,
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (MAPS, versioned, 500, "", "resourceVersion should not be set on objects to be created"),
        (
            MAPS,
            json!({"metadata": {}}),
            422,
            "Invalid",
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            MAPS,
            pod("x"),
            400,
            "BadRequest",
            "Pod in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion",
        ),
        (
            "/api/v1/namespaces/none/configmaps",
            configmap("a"),
            404,
            "NotFound",
            "namespaces \"none\" not found",
        ),
        (
            "/api/v1/configmaps",
            configmap("a"),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
    ] {
        assert_eq!(api.post(path, &body).await.refused(code, reason), message, "{body}");
    }
    let invalid = api.post(MAPS, &configmap("Bad_Name")).await;
    assert_eq!(invalid.body["details"]["causes"][0]["field"], "metadata.name");
    assert!(
        invalid
            .refused(422, "Invalid")
            .starts_with("ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\":")
    );
}

#[tokio::test]
async fn a_dry_run_leaves_nothing() {
    let api = Api::start().await;
    let made = api.post(&format!("{MAPS}?dryRun=All"), &configmap("a")).await.created();
    assert!(made["metadata"]["uid"].is_string());
    assert!(made["metadata"].get("resourceVersion").is_none(), "{made}");
    api.get(&format!("{MAPS}/a")).await.refused(404, "NotFound");
    api.post(MAPS, &configmap("a")).await.created();
    api.post(&format!("{MAPS}?dryRun=All"), &configmap("a")).await.refused(409, "AlreadyExists");
    api.post(&format!("{MAPS}?dryRun=Some"), &configmap("b")).await.with(422);
}

#[tokio::test]
async fn defaults_are_stored() {
    let api = Api::start().await;
    let made = api.post("/apis/apps/v1/namespaces/default/deployments", &deployment("web")).await.created();
    let spec = &made["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    let container = &spec["template"]["spec"]["containers"][0];
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(container["terminationMessagePath"], "/dev/termination-log");
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
    assert_eq!(made["metadata"]["generation"], 1);
}

#[tokio::test]
async fn parallel_creates_of_one_name_make_one_object() {
    let api = Api::start().await;
    let many = (0..20).map(|_| {
        let api = api.clone();
        async move { api.post(MAPS, &configmap("a")).await.code.as_u16() }
    });
    let mut codes = futures::future::join_all(many).await;
    codes.sort_unstable();
    assert_eq!(codes[0], 201);
    assert!(codes[1..].iter().all(|c| *c == 409), "{codes:?}");
}

#[tokio::test]
async fn a_named_path_takes_no_post() {
    let api = Api::start().await;
    api.post(&format!("{MAPS}/a"), &configmap("a")).await.refused(405, "MethodNotAllowed");
    let reply = api
        .ask(Method::POST, MAPS)
        .json(&named("v1", "ConfigMap", "n"))
        .accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .send()
        .await;
    let table = reply.created();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"][0], "n");
}
