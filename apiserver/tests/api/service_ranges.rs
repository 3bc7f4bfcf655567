//! The ServiceCIDR `kubernetes` stays in place, and nothing is given out of one that goes.

use std::sync::Arc;

use apiserver::storage::Storage;
use apiserver::storage::embedded::{EmbeddedOptions, EmbeddedStorage};
use apiserver::{Config, Datastore, OpenedStore};
use serde_json::json;

use crate::common::{Api, MERGE};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn service(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
}

#[tokio::test]
async fn one_that_goes_gives_nothing_more() {
    let api = Api::start().await;
    // As its controller does, which is not part of the API server.
    let held = json!({"metadata": {"finalizers": ["networking.k8s.io/service-cidr-finalizer"]}});
    api.patch(&format!("{CIDRS}/kubernetes"), MERGE, &held).await.ok();
    api.post(SERVICES, &service("before")).await.created();
    let going = api.delete(&format!("{CIDRS}/kubernetes")).await.ok();
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    // A consistent read: afterwards the server has heard of it.
    api.get(&format!("{CIDRS}/kubernetes")).await.ok();
    let message = api.post(SERVICES, &service("after")).await.refused(422, "Invalid");
    assert_eq!(
        message,
        "Service \"after\" is invalid: spec.clusterIPs: Invalid value: []: failed to allocate a serviceIP: range is full"
    );
    let mut asks = service("asks");
    asks["spec"]["clusterIP"] = "10.96.0.77".into();
    let message = api.post(SERVICES, &asks).await.refused(422, "Invalid");
    assert!(
        message.ends_with(
            "failed to allocate IP 10.96.0.77: the provided network does not match the current range"
        ),
        "{message}"
    );
    // Another one with room lets the cluster go on.
    let more = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}});
    api.post(CIDRS, &more).await.created();
    let made = api.post(SERVICES, &service("after")).await.created();
    assert!(made["spec"]["clusterIP"].as_str().unwrap().starts_with("10.97.0."), "{made}");
    // What is there goes on and comes back.
    api.delete(&format!("{SERVICES}/before")).await.ok();
}

#[tokio::test]
async fn the_first_one_comes_again() {
    let api = Api::start().await;
    let before = api.get(&format!("{CIDRS}/kubernetes")).await.ok();
    let from = before["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = api.watch(&format!("{CIDRS}?watch=1&resourceVersion={from}")).await;
    // Nobody holds it here.
    api.delete(&format!("{CIDRS}/kubernetes")).await.ok();
    assert_eq!(watch.short().await, "DELETED kubernetes");
    assert_eq!(watch.short().await, "ADDED kubernetes");
    assert_eq!(watch.short().await, "MODIFIED kubernetes");
    let after = api.get(&format!("{CIDRS}/kubernetes")).await.ok();
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    let ready = &after["status"]["conditions"][0];
    assert_eq!(ready["status"], "True", "{after}");
    assert_eq!(ready["message"], "Kubernetes default Service CIDR is ready");
}

#[tokio::test]
async fn another_range_on_the_command_line_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap();
    let store: Arc<dyn Storage> = Arc::new(store);
    let opened = |network: [u8; 4]| {
        let store = OpenedStore(store.clone());
        move |c: &mut Config| {
            c.datastore = Datastore::Opened(store);
            c.service_network = (network.into(), 16);
        }
    };
    let before = Api::start_with(opened([10, 96, 0, 0])).await;
    before.delete(&format!("{SERVICES}/kubernetes")).await.ok();
    drop(before);
    // Its own service cannot be made, and a person who wants to change that needs the server.
    let after = Api::start_with(opened([10, 50, 0, 0])).await;
    after.get(&format!("{SERVICES}/kubernetes")).await.refused(404, "NotFound");
    let mut events = after.watch("/api/v1/namespaces/default/events?watch=1").await;
    let (_, event) = events.event().await;
    assert_eq!(event["reason"], "KubernetesDefaultServiceCIDRInconsistent");
    assert_eq!(
        event["message"],
        "The default ServiceCIDR [10.96.0.0/16] does not match the controller flag configurations [10.50.0.0/16]"
    );
    let made = after.post(SERVICES, &service("s")).await.created();
    assert!(made["spec"]["clusterIP"].as_str().unwrap().starts_with("10.96."), "{made}");
}

#[tokio::test]
async fn one_that_is_not_ready_is_told_and_left() {
    let api = Api::start().await;
    let mut events = api.watch("/api/v1/namespaces/default/events?watch=1").await;
    let condition = |status: &str| {
        json!({"status": {"conditions": [{"type": "Ready", "status": status, "reason": "Broken",
            "message": "somebody says so", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    };
    let path = format!("{CIDRS}/kubernetes/status");
    api.patch(&path, MERGE, &condition("False")).await.ok();
    let (_, event) = events.event().await;
    assert_eq!(event["reason"], "Broken");
    assert_eq!(event["message"], "Configuration matches, but somebody says so");
    assert_eq!(event["source"]["component"], "kubernetes-service-cidr-controller");
    assert_eq!(event["involvedObject"]["kind"], "ServiceCIDR");
    let there = api.get(&format!("{CIDRS}/kubernetes")).await.ok();
    assert_eq!(there["status"]["conditions"][0]["status"], "False");
    // What nobody is sure of is said to be ready.
    let from = there["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = api.watch(&format!("{CIDRS}?watch=1&resourceVersion={from}")).await;
    api.patch(&path, MERGE, &condition("Unknown")).await.ok();
    watch.event().await;
    let (_, last) = watch.event().await;
    assert_eq!(last["status"]["conditions"][0]["status"], "True");
}
