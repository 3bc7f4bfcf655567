//! Services: addresses and ports are given out once.

use std::collections::HashSet;

use serde_json::json;

use crate::common::objects::service;
use crate::common::{Api, MERGE};

const ALL: &str = "/api/v1/namespaces/default/services";

#[tokio::test]
async fn two_hundred_at_once_share_nothing() {
    let api = Api::start_with(|c| c.max_in_flight = (400, 400)).await;
    let many = (0..200).map(|i| {
        let api = api.clone();
        async move {
            let mut s = service(&format!("s{i}"));
            s["spec"]["type"] = "NodePort".into();
            let made = api.post(ALL, &s).await.created();
            (
                made["spec"]["clusterIP"].as_str().unwrap().to_owned(),
                made["spec"]["ports"][0]["nodePort"].as_u64().unwrap(),
            )
        }
    });
    let got = futures::future::join_all(many).await;
    let ips: HashSet<&str> = got.iter().map(|(ip, _)| ip.as_str()).collect();
    let ports: HashSet<u64> = got.iter().map(|(_, p)| *p).collect();
    assert_eq!((ips.len(), ports.len()), (200, 200));
    assert!(
        ips.iter().all(|ip| ip.starts_with("10.96.")) && ports.iter().all(|p| (30000..=32767).contains(p))
    );
}

#[tokio::test]
async fn a_freed_address_can_be_asked_for() {
    let api = Api::start().await;
    let mut fixed = service("a");
    fixed["spec"]["clusterIP"] = "10.96.7.7".into();
    api.post(ALL, &fixed).await.created();
    fixed["metadata"]["name"] = "b".into();
    let message = api.post(ALL, &fixed).await.refused(422, "Invalid");
    assert!(
        message.contains("failed to allocate IP 10.96.7.7: provided IP is already allocated"),
        "{message}"
    );
    // A dry run and a refused write hold nothing.
    let mut other = fixed.clone();
    other["spec"]["clusterIP"] = "10.96.8.8".into();
    api.post(&format!("{ALL}?dryRun=All"), &other).await.created();
    other["metadata"]["name"] = "a".into();
    api.post(ALL, &other).await.refused(409, "AlreadyExists");
    other["metadata"]["name"] = "c".into();
    api.post(ALL, &other).await.created();
    api.delete(&format!("{ALL}/a")).await.ok();
    api.post(ALL, &fixed).await.created();
    fixed["metadata"]["name"] = "d".into();
    fixed["spec"]["clusterIP"] = "1.2.3.4".into();
    let message = api.post(ALL, &fixed).await.refused(422, "Invalid");
    assert!(message.contains("the provided network does not match the current range"), "{message}");
}

#[tokio::test]
async fn a_type_can_change() {
    let api = Api::start().await;
    let made = api.post(ALL, &service("a")).await.created();
    assert!(made["spec"]["ports"][0].get("nodePort").is_none());
    let one = format!("{ALL}/a");
    let exposed = api.patch(&one, MERGE, &json!({"spec": {"type": "NodePort"}})).await.ok();
    assert_eq!(exposed["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    assert!(exposed["spec"]["ports"][0]["nodePort"].is_u64());
    let hidden = api.patch(&one, MERGE, &json!({"spec": {"type": "ClusterIP"}})).await.ok();
    assert!(hidden["spec"]["ports"][0].get("nodePort").is_none(), "{hidden}");
    let external = json!({"spec": {"type": "ExternalName", "externalName": "a.example", "clusterIP": null, "clusterIPs": null}});
    let external = api.patch(&one, MERGE, &external).await.ok();
    assert!(external["spec"].get("clusterIP").is_none(), "{external}");
}

#[tokio::test]
async fn what_may_not_be() {
    let api = Api::start().await;
    for (spec, part) in [
        (json!({}), "spec.ports: Required value"),
        (json!({"type": "x", "ports": [{"port": 80}]}), "spec.type: Unsupported value: \"x\""),
        (json!({"ports": [{"port": 80}, {"port": 81}]}), "spec.ports[0].name: Required value"),
        (json!({"ports": [{"port": 0}]}), "spec.ports[0].port: Invalid value: 0"),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}),
            "The range of valid ports is 30000-32767",
        ),
        (json!({"type": "ExternalName"}), "spec.externalName"),
    ] {
        let mut s = service("bad");
        s["spec"] = spec;
        let message = api.post(ALL, &s).await.refused(422, "Invalid");
        assert!(message.contains(part), "{message}");
    }
    let mut headless = service("headless");
    headless["spec"]["clusterIP"] = "None".into();
    assert_eq!(api.post(ALL, &headless).await.created()["spec"]["clusterIPs"], json!(["None"]));
}

#[tokio::test]
async fn the_api_is_a_service() {
    let api = Api::start().await;
    let own = api.get(&format!("{ALL}/kubernetes")).await.ok();
    assert_eq!(own["spec"]["clusterIP"], "10.96.0.1");
    let endpoints = api.get("/api/v1/namespaces/default/endpoints/kubernetes").await.ok();
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "127.0.0.1");
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 6443);
    api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await.ok();
}
