//! PATCH in three languages.

use serde_json::{Value, json};

use crate::common::objects::{configmap, deployment, pod};
use crate::common::{Api, JSON_PATCH, MERGE, STRATEGIC};

const MAP: &str = "/api/v1/namespaces/default/configmaps/a";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";

async fn with_map() -> Api {
    let api = Api::start().await;
    api.post("/api/v1/namespaces/default/configmaps", &configmap("a")).await.created();
    api
}

#[tokio::test]
async fn documents_that_apply() {
    let api = with_map().await;
    for (language, patch, data) in [
        (MERGE, json!({"data": {"b": "c"}}), json!({"a": "b", "b": "c"})),
        (MERGE, json!({"data": {"b": null}}), json!({"a": "b"})),
        (STRATEGIC, json!({"data": {"x": "y"}}), json!({"a": "b", "x": "y"})),
        (STRATEGIC, json!({"data": {"$patch": "replace", "z": "1"}}), json!({"z": "1"})),
        (
            JSON_PATCH,
            json!([{"op": "test", "path": "/data/z", "value": "1"}, {"op": "add", "path": "/data/q~1r", "value": "2"}]),
            json!({"z": "1", "q/r": "2"}),
        ),
    ] {
        let reply = api.patch(MAP, language, &patch).await;
        if data.get("q/r").is_some() {
            // A key with a slash is no key of a ConfigMap: the result is checked as any object is.
            reply.refused(422, "Invalid");
            continue;
        }
        assert_eq!(reply.ok()["data"], data, "{patch}");
    }
}

#[tokio::test]
async fn documents_that_do_not() {
    let api = with_map().await;
    for (language, patch, code, reason) in [
        (JSON_PATCH, json!([{"op": "test", "path": "/data/a", "value": "zzz"}]), 422, "Invalid"),
        (JSON_PATCH, json!([{"op": "replace", "path": "/data/nope/x", "value": "zzz"}]), 422, "Invalid"),
        (JSON_PATCH, json!([{"op": "remove", "path": "/data/nope"}]), 422, "Invalid"),
        (JSON_PATCH, json!({"op": "x"}), 400, "BadRequest"),
        (MERGE, json!(5), 400, "BadRequest"),
        (STRATEGIC, json!([]), 400, "BadRequest"),
        (MERGE, json!({"data": {"b": 5}}), 422, "Invalid"),
        (MERGE, json!({"metadata": {"name": "other"}}), 400, "BadRequest"),
        (MERGE, json!({"metadata": {"namespace": "other"}}), 400, "BadRequest"),
        (MERGE, json!({"metadata": {"resourceVersion": "1"}}), 409, "Conflict"),
        (STRATEGIC, json!({"metadata": {"resourceVersion": "1"}}), 409, "Conflict"),
        (
            JSON_PATCH,
            json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}]),
            409,
            "Conflict",
        ),
        (MERGE, json!({"metadata": {"uid": "other"}}), 409, "Conflict"),
        (STRATEGIC, json!({"metadata": {"uid": "other"}}), 409, "Conflict"),
        ("application/json", json!({}), 415, "UnsupportedMediaType"),
        ("text/plain", json!({}), 415, "UnsupportedMediaType"),
    ] {
        api.patch(MAP, language, &patch).await.refused(code, reason);
    }
    api.patch("/api/v1/namespaces/default/configmaps/none", MERGE, &json!({})).await.refused(404, "NotFound");
    assert_eq!(api.get(MAP).await.ok()["data"], json!({"a": "b"}));
}

#[tokio::test]
async fn a_patch_may_name_what_is_there() {
    let api = with_map().await;
    let stored = api.get(MAP).await.ok();
    let m = &stored["metadata"];
    let patch =
        json!({"metadata": {"uid": m["uid"], "resourceVersion": m["resourceVersion"]}, "data": {"n": "1"}});
    assert_eq!(api.patch(MAP, MERGE, &patch).await.ok()["data"]["n"], "1");
    // The version it names is old now.
    let again = json!({"metadata": {"resourceVersion": m["resourceVersion"]}, "data": {"n": "2"}});
    api.patch(MAP, MERGE, &again).await.refused(409, "Conflict");
    let removed = json!([{"op": "remove", "path": "/metadata/resourceVersion"}, {"op": "add", "path": "/data/n", "value": "3"}]);
    assert_eq!(api.patch(MAP, JSON_PATCH, &removed).await.ok()["data"]["n"], "3");
}

#[tokio::test]
async fn lists_merge_by_key() {
    let api = Api::start().await;
    api.post("/apis/apps/v1/namespaces/default/deployments", &deployment("web")).await.created();
    let containers = |c: Value| json!({"spec": {"template": {"spec": {"containers": c}}}});
    let images = |o: &Value| -> Vec<String> {
        let list = o["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        list.iter()
            .map(|c| format!("{}={}", c["name"].as_str().unwrap(), c["image"].as_str().unwrap()))
            .collect()
    };
    for (patch, want) in [
        (containers(json!([{"name": "main", "image": "demo:2"}])), vec!["main=demo:2"]),
        (containers(json!([{"name": "side", "image": "s"}])), vec!["side=s", "main=demo:2"]),
        (
            json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "main"}, {"name": "side"}],
            "containers": [{"name": "side", "image": "s2"}]}}}}),
            vec!["main=demo:2", "side=s2"],
        ),
        (containers(json!([{"name": "side", "$patch": "delete"}])), vec!["main=demo:2"]),
        (containers(json!([{"$patch": "replace"}, {"name": "only", "image": "o"}])), vec!["only=o"]),
    ] {
        let mut got = images(&api.patch(DEPLOYMENT, STRATEGIC, &patch).await.ok());
        let mut want: Vec<String> = want.into_iter().map(str::to_owned).collect();
        got.sort();
        want.sort();
        assert_eq!(got, want, "{patch}");
    }
    let merged = api.patch(DEPLOYMENT, MERGE, &containers(json!([{"name": "m", "image": "i"}]))).await.ok();
    assert_eq!(images(&merged), vec!["m=i"]);
}

#[tokio::test]
async fn finalizers_and_strings_merge_as_sets() {
    let api = with_map().await;
    let f = |list: Value| json!({"metadata": {"finalizers": list}});
    api.patch(MAP, STRATEGIC, &f(json!(["x/a"]))).await.ok();
    let both = api.patch(MAP, STRATEGIC, &f(json!(["x/b"]))).await.ok();
    assert_eq!(both["metadata"]["finalizers"].as_array().unwrap().len(), 2, "{both}");
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"]}});
    assert_eq!(api.patch(MAP, STRATEGIC, &patch).await.ok()["metadata"]["finalizers"], json!(["x/b"]));
}

#[tokio::test]
async fn status_patches_of_a_node_agent() {
    let api = Api::start().await;
    api.namespace("a").await;
    api.post("/api/v1/namespaces/a/pods", &pod("p")).await.created();
    let path = "/api/v1/namespaces/a/pods/p/status";
    let status = |s: Value| json!({"status": s});
    let first = status(json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
        "hostIP": "1.1.1.1", "hostIPs": [{"ip": "1.1.1.1"}],
        "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "m"},
                       {"type": "Initialized", "status": "True"}]}));
    api.patch(path, STRATEGIC, &first).await.ok();
    let second = status(json!({"podIP": "10.0.0.2",
        "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.2"}],
        "hostIP": "2.2.2.2", "hostIPs": [{"$patch": "replace"}, {"ip": "2.2.2.2"}],
        "$setElementOrder/conditions": [{"type": "Ready"}, {"type": "Initialized"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": null, "message": null}]}));
    let pod = api.patch(path, STRATEGIC, &second).await.ok();
    let s = &pod["status"];
    assert_eq!(s["podIPs"], json!([{"ip": "10.0.0.2"}]));
    assert_eq!(s["hostIPs"], json!([{"ip": "2.2.2.2"}]));
    let ready = s["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
    assert_eq!(ready["status"], "True");
    assert!(ready.get("reason").is_none() && ready.get("message").is_none(), "{ready}");
    assert_eq!(s["conditions"].as_array().unwrap().len(), 2);
    let wrong = json!({"metadata": {"uid": "another"}, "status": {"phase": "Failed"}});
    api.patch(path, STRATEGIC, &wrong).await.refused(409, "Conflict");
}

#[tokio::test]
async fn a_patch_finds_what_upstream_would_show() {
    let api = Api::start().await;
    api.namespace("a").await;
    let path = "/api/v1/namespaces/a/pods";
    let mut sent = pod("a");
    sent["spec"]["hostNetwork"] = false.into();
    sent["spec"]["hostUsers"] = true.into();
    let made = api.post(path, &sent).await.created();
    assert_eq!(made["spec"].get("hostNetwork"), None, "what Go leaves out when it is zero");
    assert_eq!(made["spec"]["hostUsers"], true, "a pointer");
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({}),
        "no pointer, and no omitempty for a struct"
    );
    assert_eq!(api.get(&format!("{path}/a")).await.ok(), made);
    let generation = &made["metadata"]["generation"];
    let put = api.put(&format!("{path}/a"), &made).await.ok();
    assert_eq!((&put, &put["metadata"]["generation"]), (&made, generation), "written back, nothing changes");

    let made = api.post("/apis/apps/v1/namespaces/default/deployments", &deployment("web")).await.created();
    let at = "/spec/template/spec/containers/0/resources/limits";
    let patch = json!([{"op": "test", "path": "/spec/template/spec/containers/0/resources", "value": {}},
        {"op": "add", "path": at, "value": {"cpu": "1"}}]);
    let patched = api.patch(DEPLOYMENT, JSON_PATCH, &patch).await.ok();
    assert_eq!(patched.pointer(at), Some(&json!({"cpu": "1"})));
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(made["status"], json!({}));
}
