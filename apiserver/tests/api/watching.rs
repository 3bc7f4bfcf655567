//! WATCH: from where, what is shown, how it ends.

use http::Method;
use serde_json::json;

use crate::common::objects::{configmap, labelled};
use crate::common::{Api, MERGE, version};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn from_a_revision_nothing_is_missed() {
    let api = Api::start().await;
    let a = api.post(MAPS, &configmap("a")).await.created();
    api.patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"x": "1"}})).await.ok();
    api.post("/api/v1/namespaces/kube-system/configmaps", &configmap("elsewhere")).await.created();
    api.delete(&format!("{MAPS}/a")).await.ok();
    let mut w = api.watch(&format!("{MAPS}?watch=1&resourceVersion={}", version(&a))).await;
    assert_eq!(w.shorts(2).await, ["MODIFIED a", "DELETED a"]);
    let made = api.post(MAPS, &configmap("b")).await.created();
    let (kind, object) = w.event().await;
    assert_eq!((kind.as_str(), object), ("ADDED", made));
}

#[tokio::test]
async fn without_a_revision_the_state_comes_first() {
    let api = Api::start().await;
    api.post(MAPS, &configmap("a")).await.created();
    for query in ["watch=true", "watch=1&resourceVersion=0"] {
        let mut w = api.watch(&format!("{MAPS}?{query}")).await;
        assert_eq!(w.short().await, "ADDED a", "{query}");
    }
    let mut old = api.watch("/api/v1/watch/namespaces/default/configmaps").await;
    assert_eq!(old.short().await, "ADDED a");
    let mut one = api.watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name=a")).await;
    assert_eq!(one.short().await, "ADDED a");
}

#[tokio::test]
async fn selectors_turn_changes_into_comings_and_goings() {
    let api = Api::start().await;
    let mut w = api.watch(&format!("{MAPS}?watch=1&labelSelector=app=web")).await;
    api.post(MAPS, &labelled("a", &json!({"app": "db"}))).await.created();
    for app in ["web", "web2", "web"] {
        api.patch(&format!("{MAPS}/a"), MERGE, &json!({"metadata": {"labels": {"app": app}}})).await.ok();
    }
    api.patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"n": "1"}})).await.ok();
    api.delete(&format!("{MAPS}/a")).await.ok();
    assert_eq!(w.shorts(5).await, ["ADDED a", "DELETED a", "ADDED a", "MODIFIED a", "DELETED a"]);
}

#[tokio::test]
async fn streaming_lists() {
    let api = Api::start().await;
    api.post(MAPS, &configmap("a")).await.created();
    let query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut w = api.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(w.short().await, "ADDED a");
    let (kind, mark) = w.event().await;
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(mark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    api.post(MAPS, &configmap("b")).await.created();
    assert_eq!(w.short().await, "ADDED b");
    // Who wants no bookmarks gets none, here either.
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut w = api.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!((w.short().await, w.short().await), ("ADDED a".into(), "ADDED b".into()));
    api.post(MAPS, &configmap("c")).await.created();
    assert_eq!(w.short().await, "ADDED c");
    for query in [
        "watch=1&sendInitialEvents=true",
        "watch=1&sendInitialEvents=false&resourceVersionMatch=Exact",
        "watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1",
    ] {
        api.get(&format!("{MAPS}?{query}")).await.refused(422, "Invalid");
    }
}

#[tokio::test]
async fn a_watch_ends_with_its_time_and_a_bookmark() {
    let api = Api::start().await;
    let mut w = api.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true")).await;
    let (kind, mark) = w.event().await;
    assert_eq!(kind, "BOOKMARK");
    assert!(version(&mark) > 0);
    assert!(w.next().await.is_none());
    let mut plain = api.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1")).await;
    assert!(plain.next().await.is_none());
}

#[tokio::test]
async fn other_forms() {
    let api = Api::start().await;
    api.post(MAPS, &configmap("a")).await.created();
    api.post(MAPS, &configmap("b")).await.created();
    let path = format!("{MAPS}?watch=1");
    let mut table =
        api.ask(Method::GET, &path).accept("application/json;as=Table;v=v1;g=meta.k8s.io").watch().await;
    let (_, first) = table.event().await;
    assert_eq!(first["kind"], "Table");
    assert!(first["columnDefinitions"].is_array());
    assert_eq!(first["rows"][0]["cells"][0], "a");
    // The columns are told once.
    let (_, second) = table.event().await;
    assert!(second["columnDefinitions"].is_null());
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut meta = api.ask(Method::GET, &path).accept(partial).watch().await;
    let (_, object) = meta.event().await;
    assert_eq!(object["kind"], "PartialObjectMetadata");
    assert!(object.get("data").is_none());
}

#[tokio::test]
async fn a_future_revision_waits_for_it_or_ends() {
    let api = Api::start().await;
    api.get(&format!("{MAPS}?watch=1&resourceVersion=x")).await.refused(400, "BadRequest");
    let a = api.post(MAPS, &configmap("a")).await.created();
    let b = api.post(MAPS, &configmap("b")).await.created();
    assert!(version(&b) > version(&a));
    let mut w = api.watch(&format!("{MAPS}?watch=1&resourceVersion={}", version(&b))).await;
    api.delete(&format!("{MAPS}/a")).await.ok();
    let (kind, gone) = w.event().await;
    assert_eq!(kind, "DELETED");
    assert!(version(&gone) > version(&b), "a deletion carries its own revision");
}

#[tokio::test]
async fn many_watchers_see_the_same() {
    let api = Api::start().await;
    let mut watchers = Vec::new();
    for _ in 0..50 {
        watchers.push(api.watch(&format!("{MAPS}?watch=1")).await);
    }
    let names: Vec<String> = (0..20).map(|i| format!("m{i}")).collect();
    for n in &names {
        api.post(MAPS, &configmap(n)).await.created();
    }
    let want: Vec<String> = names.iter().map(|n| format!("ADDED {n}")).collect();
    for w in &mut watchers {
        assert_eq!(w.shorts(20).await, want);
    }
}

#[tokio::test]
async fn the_old_path_of_a_watch_is_for_reading() {
    let api = Api::start().await;
    let path = "/api/v1/watch/namespaces/default/configmaps";
    for method in [Method::PUT, Method::POST, Method::DELETE] {
        let reply = api.ask(method, path).json(&json!({})).send().await;
        reply.refused(405, "MethodNotAllowed");
    }
}
