//! `/skiff/snapshot`: who may have it, and a server on what was restored from it.

use apiserver::storage::embedded;
use apiserver::{Datastore, UserInfo};
use serde_json::json;

use crate::common::{Api, names, node, objects, version};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn only_who_may_do_everything_gets_a_copy() {
    let api = Api::start().await;
    let path = "/skiff/snapshot";
    let reply = api.get(path).await;
    assert_eq!(reply.headers["content-type"], "application/octet-stream");
    assert!(reply.raw.starts_with(b"SKIFFSNP"));
    reply.ok();
    let all = vec!["system:authenticated".to_owned()];
    for (user, name) in [
        (UserInfo::authenticated("jane", all.clone()), "jane"),
        (node("n1"), "system:node:n1"),
        (UserInfo::authenticated("system:kube-controller-manager", all), "system:kube-controller-manager"),
    ] {
        let message = api.acting(user).get(path).await.refused(403, "Forbidden");
        assert_eq!(message, format!("forbidden: User {name:?} cannot get path {path:?}"));
    }
    api.delete(path).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_server_goes_on_where_the_snapshot_was_made() {
    let api = Api::start().await;
    let kept = api.post(MAPS, &objects::named("v1", "ConfigMap", "kept")).await.created();
    let raw = api.get("/skiff/snapshot").await.raw;
    let lost = api.post(MAPS, &objects::named("v1", "ConfigMap", "lost")).await.created();

    let dir = tempfile::tempdir().unwrap();
    let (file, store) = (dir.path().join("file"), dir.path().join("store"));
    std::fs::write(&file, raw).unwrap();
    embedded::restore(&store, &file, 1_000, false).unwrap();
    let again = Api::start_with(|config| config.datastore = Datastore::Embedded(store)).await;
    let list = again.get(MAPS).await.ok();
    assert!(names(&list).contains(&"kept".to_owned()) && !names(&list).contains(&"lost".to_owned()));
    let now = again.get(&format!("{MAPS}/kept")).await.ok();
    assert_eq!(now["metadata"]["uid"], kept["metadata"]["uid"]);
    assert!(version(&now) > version(&lost), "a resource version is never given out twice");
    // A client that held on to what it knew before: it has to list again.
    let path = format!("{MAPS}?watch=true&resourceVersion={}", version(&lost));
    let mut watch = again.watch(&path).await;
    let event = watch.next().await.expect("an answer");
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
    again.put(&format!("{MAPS}/kept"), &kept).await.refused(409, "Conflict");
    again.put(&format!("{MAPS}/kept"), &now).await.ok();
}
