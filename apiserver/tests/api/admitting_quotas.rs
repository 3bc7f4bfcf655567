//! Quotas: charged exactly, whoever writes at the same time, and refused in upstream's words.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::{Api, MERGE, objects};

const PODS: &str = "/api/v1/namespaces/n/pods";
const QUOTAS: &str = "/api/v1/namespaces/n/resourcequotas";

/// A quota as its controller leaves it: nothing used yet.
async fn quota(api: &Api, name: &str, spec: Value) {
    let hard = spec["hard"].clone();
    let sent = json!({"metadata": {"name": name}, "spec": spec});
    api.post(QUOTAS, &sent).await.created();
    let used: BTreeMap<String, &str> = hard.as_object().unwrap().keys().map(|k| (k.clone(), "0")).collect();
    let status = json!({"status": {"hard": hard, "used": used}});
    api.patch(&format!("{QUOTAS}/{name}/status"), MERGE, &status).await.ok();
    // A consistent read: from here on the cache has it.
    api.get(&format!("{QUOTAS}/{name}")).await.ok();
}

async fn used(api: &Api, name: &str) -> Value {
    api.get(&format!("{QUOTAS}/{name}")).await.ok()["status"]["used"].clone()
}

async fn start() -> Api {
    let api = Api::start().await;
    api.namespace("n").await;
    api
}

fn pod(name: &str, requests: Value) -> Value {
    let mut pod = objects::pod(name);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": requests});
    pod
}

#[tokio::test]
async fn what_is_created_is_charged_until_nothing_is_left() {
    let api = start().await;
    quota(&api, "q", json!({"hard": {"pods": "2", "requests.cpu": "1", "count/configmaps": "1"}})).await;
    api.post(PODS, &pod("a", json!({"cpu": "600m"}))).await.created();
    assert_eq!(used(&api, "q").await, json!({"pods": "1", "requests.cpu": "600m", "count/configmaps": "0"}));
    for (sent, why) in [
        (pod("b", json!({})), "failed quota: q: must specify requests.cpu for: main"),
        (
            pod("b", json!({"cpu": "500m"})),
            "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1",
        ),
    ] {
        let told = api.post(PODS, &sent).await.refused(403, "Forbidden");
        assert_eq!(told, format!("pods \"b\" is forbidden: {why}"));
    }
    api.post(PODS, &pod("b", json!({"cpu": "100m"}))).await.created();
    assert_eq!(
        api.post(PODS, &pod("c", json!({"cpu": "400m"}))).await.refused(403, "Forbidden"),
        "pods \"c\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=400m, used: pods=2,requests.cpu=700m, limited: pods=2,requests.cpu=1"
    );
    let maps = "/api/v1/namespaces/n/configmaps";
    api.post(maps, &objects::configmap("a")).await.created();
    assert_eq!(
        api.post(maps, &objects::configmap("b")).await.refused(403, "Forbidden"),
        "configmaps \"b\" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1"
    );
    // Other namespaces have no such quota.
    api.post("/api/v1/namespaces/default/configmaps", &objects::configmap("b")).await.created();
}

#[tokio::test]
async fn tries_and_failures_are_not_charged() {
    let api = start().await;
    quota(&api, "q", json!({"hard": {"pods": "1"}})).await;
    api.post(&format!("{PODS}?dryRun=All"), &objects::pod("a")).await.created();
    assert_eq!(used(&api, "q").await, json!({"pods": "0"}));
    let mut invalid = objects::pod("a");
    invalid["spec"]["containers"] = json!([]);
    api.post(PODS, &invalid).await.refused(422, "Invalid");
    assert_eq!(used(&api, "q").await, json!({"pods": "0"}));
    quota(&api, "wide", json!({"hard": {"pods": "5"}})).await;
    api.post(PODS, &objects::pod("a")).await.created();
    api.patch(&format!("{QUOTAS}/q/status"), MERGE, &json!({"status": {"hard": {"pods": "3"}}})).await.ok();
    api.get(&format!("{QUOTAS}/q")).await.ok();
    api.post(PODS, &objects::pod("a")).await.refused(409, "AlreadyExists");
    assert_eq!(
        (used(&api, "q").await, used(&api, "wide").await),
        (json!({"pods": "1"}), json!({"pods": "1"}))
    );
    // A refusal by one quota takes nothing from the other.
    api.patch(&format!("{QUOTAS}/wide/status"), MERGE, &json!({"status": {"used": {"pods": "5"}}}))
        .await
        .ok();
    api.get(&format!("{QUOTAS}/wide")).await.ok();
    assert_eq!(
        api.post(PODS, &objects::pod("b")).await.refused(403, "Forbidden"),
        "pods \"b\" is forbidden: exceeded quota: wide, requested: pods=1, used: pods=5, limited: pods=5"
    );
    assert_eq!(used(&api, "q").await, json!({"pods": "1"}));
}

#[tokio::test]
async fn a_quota_nobody_has_counted_for_yet() {
    let api = start().await;
    api.post(QUOTAS, &json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}})).await.created();
    api.post(PODS, &objects::pod("a")).await.created();
    let hard = json!({"status": {"hard": {"pods": "1", "cpu": "1"}}});
    api.patch(&format!("{QUOTAS}/q/status"), MERGE, &hard).await.ok();
    api.get(&format!("{QUOTAS}/q")).await.ok();
    assert_eq!(
        api.post(PODS, &pod("b", json!({"cpu": "1"}))).await.refused(403, "Forbidden"),
        "pods \"b\" is forbidden: status unknown for quota: q, resources: cpu,pods"
    );
}

#[tokio::test]
async fn scopes_choose_the_pods() {
    let api = start().await;
    quota(&api, "best", json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]})).await;
    let high = json!({"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]});
    quota(&api, "high", json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [high]}})).await;
    api.post(PODS, &objects::pod("a")).await.created();
    let told = api.post(PODS, &objects::pod("b")).await.refused(403, "Forbidden");
    assert!(
        told.ends_with("exceeded quota: best, requested: pods=1, used: pods=1, limited: pods=1"),
        "{told}"
    );
    let mut critical = pod("c", json!({"cpu": "1"}));
    critical["spec"]["priorityClassName"] = "system-node-critical".into();
    api.post(PODS, &critical).await.created();
    api.post(PODS, &pod("d", json!({"cpu": "1"}))).await.created();
    assert_eq!(
        (used(&api, "best").await, used(&api, "high").await),
        (json!({"pods": "1"}), json!({"pods": "1"}))
    );
}

#[tokio::test]
async fn changes_are_charged_by_what_they_add() {
    let api = start().await;
    let hard = json!({"services.loadbalancers": "1", "services.nodeports": "2", "requests.storage": "3Gi",
        "gold.storageclass.storage.k8s.io/requests.storage": "2Gi"});
    quota(&api, "q", json!({"hard": hard})).await;
    let services = "/api/v1/namespaces/n/services";
    api.post(services, &objects::service("s")).await.created();
    let to = |kind: &str| json!({"spec": {"type": kind}});
    api.patch(&format!("{services}/s"), MERGE, &to("NodePort")).await.ok();
    assert_eq!(used(&api, "q").await["services.nodeports"], "1");
    api.patch(&format!("{services}/s"), MERGE, &to("LoadBalancer")).await.ok();
    let after = used(&api, "q").await;
    assert_eq!((&after["services.nodeports"], &after["services.loadbalancers"]), (&json!("1"), &json!("1")));
    let mut second = objects::service("t");
    second["spec"]["type"] = "LoadBalancer".into();
    assert_eq!(
        api.post(services, &second).await.refused(403, "Forbidden"),
        "services \"t\" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=1, limited: services.loadbalancers=1"
    );
    let claims = "/api/v1/namespaces/n/persistentvolumeclaims";
    let claim = |name: &str, class: Option<&str>, storage: &str| {
        json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": class, "resources": {"requests": {"storage": storage}}}})
    };
    api.post(claims, &claim("a", Some("gold"), "1Gi")).await.created();
    assert_eq!(
        api.post(claims, &claim("b", Some("gold"), "1536Mi")).await.refused(403, "Forbidden"),
        "persistentvolumeclaims \"b\" is forbidden: exceeded quota: q, requested: gold.storageclass.storage.k8s.io/requests.storage=1536Mi, used: gold.storageclass.storage.k8s.io/requests.storage=1Gi, limited: gold.storageclass.storage.k8s.io/requests.storage=2Gi"
    );
    api.post(claims, &claim("b", None, "2Gi")).await.created();
    assert_eq!(used(&api, "q").await["requests.storage"], "3Gi");
}

#[tokio::test]
async fn many_at_once_never_exceed() {
    let api = start().await;
    quota(&api, "q", json!({"hard": {"pods": "10", "requests.cpu": "7"}})).await;
    let mut creators = tokio::task::JoinSet::new();
    for i in 0..32 {
        let api = api.clone();
        creators.spawn(async move {
            let sent = pod(&format!("p{i}"), json!({"cpu": if i % 2 == 0 { "1" } else { "500m" }}));
            let reply = api.post(PODS, &sent).await;
            match reply.code.as_u16() {
                201 => {
                    if i % 2 == 0 {
                        1000
                    } else {
                        500
                    }
                }
                _ => {
                    let told = reply.refused(403, "Forbidden");
                    assert!(told.contains("exceeded quota: q, requested: "), "{told}");
                    0
                }
            }
        });
    }
    let milli = creators.join_all().await;
    let made = milli.iter().filter(|m| **m > 0).count();
    let sum: i64 = milli.iter().sum();
    let list = api.get(PODS).await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), made);
    assert!(made <= 10 && sum <= 7000, "{made} pods of {sum}m");
    assert!(made == 10 || sum > 6000, "{made} pods of {sum}m: there was room for another");
    let after = used(&api, "q").await;
    let cpu: api_types::quantity::Quantity = after["requests.cpu"].as_str().unwrap().parse().unwrap();
    assert_eq!((after["pods"].as_str().unwrap(), cpu.milli_value()), (&*made.to_string(), sum));
}
