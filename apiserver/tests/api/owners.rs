//! `metadata.managedFields`: who owns what after which write.

use http::Method;
use serde_json::json;

use crate::common::objects::{configmap, deployment, pod};
use crate::common::owners::{DEPLOYMENT, DEPLOYMENTS, MAP, MAPS, apply, map, owned_by, owners};
use crate::common::{Api, MERGE, STRATEGIC, version};

#[tokio::test]
async fn every_write_is_recorded() {
    let api = Api::start().await;
    let made = api
        .ask(Method::POST, MAPS)
        .json(&configmap("a"))
        .header("user-agent", "prog/v1 (linux)")
        .send()
        .await
        .created();
    assert_eq!(owners(&made), vec![("prog Update".into(), json!({"f:data": {".": {}, "f:a": {}}}))]);
    assert_eq!(made["metadata"]["managedFields"][0]["apiVersion"], "v1");
    assert!(made["metadata"]["managedFields"][0]["time"].is_string());
    let patched =
        api.patch(&format!("{MAP}?fieldManager=p"), MERGE, &json!({"data": {"a": "2", "b": "3"}})).await.ok();
    assert_eq!(owned_by(&owners(&patched), "p Update"), &json!({"f:data": {"f:a": {}, "f:b": {}}}));
    assert_eq!(owned_by(&owners(&patched), "prog Update"), &json!({"f:data": {}}));
    // A client that does not send the owners back does not lose them.
    let mut put = configmap("a");
    put["data"] = json!({"a": "2", "b": "4"});
    let after = api.put(&format!("{MAP}?fieldManager=q"), &put).await.ok();
    assert_eq!(owned_by(&owners(&after), "q Update"), &json!({"f:data": {"f:b": {}}}));
    // Nothing new: no owner, no revision.
    let same =
        api.patch(&format!("{MAP}?fieldManager=r"), STRATEGIC, &json!({"data": {"b": "4"}})).await.ok();
    assert_eq!((version(&same), owners(&same)), (version(&after), owners(&after)));
    let long = "x".repeat(200);
    api.put(&format!("{MAP}?fieldManager={long}"), &put).await.refused(422, "Invalid");
    // Whoever asks for it makes the server forget.
    put["metadata"]["managedFields"] = json!([{}]);
    assert_eq!(owners(&api.put(MAP, &put).await.ok()), Vec::new());
}

#[tokio::test]
async fn what_was_there_before_the_first_apply_has_an_owner() {
    let api = Api::start().await;
    let mut made = api.post(MAPS, &configmap("a")).await.created();
    made["metadata"]["managedFields"] = json!([]);
    let bare = api.put(MAP, &made).await.ok();
    assert_eq!(owners(&bare), Vec::new());
    let message = apply(&api, MAP, "me", &map(json!({"a": "other"}))).await.refused(409, "Conflict");
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a"
    );
    let all = owners(&apply(&api, MAP, "me", &map(json!({"z": "1"}))).await.ok());
    assert_eq!(owned_by(&all, "before-first-apply Update"), &json!({"f:data": {".": {}, "f:a": {}}}));
}

#[tokio::test]
async fn status_and_spec_have_their_own_owners() {
    let api = Api::start().await;
    let mut sent = deployment("web");
    sent["status"] = json!({"replicas": 7});
    let made = api.post(&format!("{DEPLOYMENTS}?fieldManager=k"), &sent).await.created();
    assert!(owned_by(&owners(&made), "k Update").get("f:status").is_none(), "{made}");
    let mut status = made.clone();
    status["status"] = json!({"replicas": 1, "observedGeneration": 1,
        "conditions": [{"type": "Available", "status": "True"}]});
    status["spec"]["replicas"] = 9.into();
    let after = api.put(&format!("{DEPLOYMENT}/status?fieldManager=c"), &status).await.ok();
    let mine = owned_by(&owners(&after), "c Update status").clone();
    assert!(mine.get("f:spec").is_none(), "{mine}");
    assert_eq!(mine["f:status"]["f:conditions"]["k:{\"type\":\"Available\"}"]["f:status"], json!({}));
    assert_eq!(owned_by(&owners(&after), "k Update"), owned_by(&owners(&made), "k Update"));
    // An apply of the status.
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": {"readyReplicas": 1}});
    let applied = apply(&api, &format!("{DEPLOYMENT}/status"), "s", &config).await.ok();
    assert_eq!(applied["status"]["readyReplicas"], 1);
    assert_eq!(owned_by(&owners(&applied), "s Apply status"), &json!({"f:status": {"f:readyReplicas": {}}}));
    let gone = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
    let removed = apply(&api, &format!("{DEPLOYMENT}/status"), "s", &gone).await.ok();
    assert_eq!(removed["status"].get("readyReplicas"), None);
}

#[tokio::test]
async fn the_scale_shares_its_owners_with_the_workload() {
    let api = Api::start().await;
    let mut config = deployment("web");
    config["spec"]["replicas"] = 1.into();
    apply(&api, DEPLOYMENT, "me", &config).await.created();
    let scale = format!("{DEPLOYMENT}/scale");
    api.patch(&format!("{scale}?fieldManager=h"), MERGE, &json!({"spec": {"replicas": 3}})).await.ok();
    let stored = api.get(DEPLOYMENT).await.ok();
    assert_eq!(stored["spec"]["replicas"], 3);
    let all = owners(&stored);
    assert_eq!(owned_by(&all, "h Update scale"), &json!({"f:spec": {"f:replicas": {}}}));
    assert!(owned_by(&all, "me Apply")["f:spec"].get("f:replicas").is_none());
    let message = apply(&api, DEPLOYMENT, "me", &config).await.refused(409, "Conflict");
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"h\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    let wanted = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 4}});
    let message = apply(&api, &scale, "s", &wanted).await.refused(409, "Conflict");
    assert!(message.starts_with("Apply failed with 1 conflict: conflict with \"h\""), "{message}");
    let forced = apply(&api, &format!("{scale}?force=true"), "s", &wanted).await.ok();
    assert_eq!(forced["spec"]["replicas"], 4);
    let all = owners(&api.get(DEPLOYMENT).await.ok());
    assert_eq!(owned_by(&all, "s Apply scale"), &json!({"f:spec": {"f:replicas": {}}}));
    assert!(!all.iter().any(|(n, _)| n == "h Update scale"), "{all:?}");
}

#[tokio::test]
async fn a_binding_and_a_deletion_mark_have_no_owner() {
    let api = Api::start().await;
    api.namespace("a").await;
    let mut sent = pod("p");
    sent["metadata"]["finalizers"] = json!(["x/y"]);
    let made = api.post("/api/v1/namespaces/a/pods?fieldManager=k", &sent).await.created();
    let path = "/api/v1/namespaces/a/pods/p";
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    api.post(&format!("{path}/binding"), &binding).await.created();
    let bound = api.get(path).await.ok();
    assert_eq!((bound["spec"]["nodeName"].as_str(), owners(&bound)), (Some("n"), owners(&made)));
    let mine = owned_by(&owners(&made), "k Update").clone();
    assert_eq!(mine["f:metadata"]["f:finalizers"], json!({".": {}, "v:\"x/y\"": {}}));
    let container = &mine["f:spec"]["f:containers"]["k:{\"name\":\"main\"}"];
    assert_eq!(container["f:imagePullPolicy"], json!({}), "defaults belong to who creates: {mine}");
    assert!(mine["f:spec"].get("f:tolerations").is_none(), "admission owns nothing: {mine}");
    let marked = api.delete(path).await.ok();
    assert_eq!(owners(&marked), owners(&made));
    // Containers that debug it.
    let debug = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"ephemeralContainers": [{"name": "d", "image": "busybox"}]}});
    let debugged = apply(&api, &format!("{path}/ephemeralcontainers"), "dbg", &debug).await.ok();
    assert_eq!(
        owned_by(&owners(&debugged), "dbg Apply ephemeralcontainers"),
        &json!({"f:spec": {"f:ephemeralContainers": {"k:{\"name\":\"d\"}": {".": {}, "f:image": {}, "f:name": {}}}}})
    );
}

#[tokio::test]
async fn each_version_names_its_own_fields() {
    let api = Api::start().await;
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i", "action": "a",
        "reason": "r", "type": "Normal", "note": "n"});
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let made = api.post(&format!("{path}?fieldManager=new"), &event).await.created();
    assert_eq!(made["metadata"]["managedFields"][0]["apiVersion"], "events.k8s.io/v1");
    assert_eq!(owned_by(&owners(&made), "new Update")["f:note"], json!({}));
    let core = "/api/v1/namespaces/default/events/e?fieldManager=old";
    let changed = api.patch(core, MERGE, &json!({"message": "m"})).await.ok();
    let all = owners(&changed);
    assert_eq!(owned_by(&all, "old Update"), &json!({"f:message": {}}));
    assert!(owned_by(&all, "new Update").get("f:note").is_none(), "{all:?}");
}

#[tokio::test]
async fn components_in_the_process_have_upstreams_names() {
    use apiserver::UserInfo;
    use k8s_openapi::api::core::v1::ConfigMap;
    let api = Api::start().await;
    for (user, name) in [
        ("system:kube-scheduler", "kube-scheduler"),
        ("system:serviceaccount:kube-system:deployment-controller", "kube-controller-manager"),
        ("system:node:n", "kubelet"),
        ("somebody", "skiff"),
    ] {
        let client = api.server.client(UserInfo::authenticated(user, vec!["system:masters".into()]));
        let maps: kube::Api<ConfigMap> = kube::Api::namespaced(client, "default");
        let sent: ConfigMap = serde_json::from_value(configmap(name)).unwrap();
        let made = maps.create(&kube::api::PostParams::default(), &sent).await.unwrap();
        assert_eq!(made.metadata.managed_fields.unwrap()[0].manager.as_deref(), Some(name), "{user}");
    }
}

#[tokio::test]
async fn documents_say_that_a_configuration_can_be_applied() {
    let api = Api::start().await;
    let v3 = api.get("/openapi/v3/apis/apps/v1").await.ok();
    let patch = &v3["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert!(patch["requestBody"]["content"].get("application/apply-patch+yaml").is_some(), "{patch}");
}

#[tokio::test]
async fn an_object_too_large_with_its_owners_is_stored_without() {
    let api = Api::start().await;
    let data: serde_json::Map<_, _> =
        (0..5000).map(|i| (format!("{}{i}", "k".repeat(120)), "v".into())).collect();
    let mut large = configmap("a");
    large["data"] = data.into();
    let made = api.post(MAPS, &large).await.created();
    assert!(made["metadata"].get("managedFields").is_some(), "it fits so far");
    let more: serde_json::Map<_, _> =
        (0..3000).map(|i| (format!("{}{i}", "m".repeat(120)), "v".into())).collect();
    let grown = api.patch(MAP, MERGE, &json!({"data": more})).await.ok();
    assert_eq!(grown["data"].as_object().unwrap().len(), 8000);
    assert!(grown["metadata"].get("managedFields").is_none());
}
