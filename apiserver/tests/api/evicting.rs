//! Evictions and the budgets they are taken from.

use serde_json::{Value, json};

use crate::common::objects::pod;
use crate::common::{Api, MERGE};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A server with pods `a`, `b`, `c` labelled `app=x`, running and ready, and one not ready named `sick`.
async fn start() -> Api {
    let api = Api::start().await;
    api.post("/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "default"}})).await;
    for name in ["a", "b", "c", "sick"] {
        let mut object = pod(name);
        object["metadata"]["labels"] = json!({"app": "x"});
        api.post(PODS, &object).await.created();
        let ready = if name == "sick" { "False" } else { "True" };
        let status =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
        api.patch(&format!("{PODS}/{name}/status"), MERGE, &status).await.ok();
    }
    api
}

async fn budget(api: &Api, name: &str, status: Value) {
    let object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "x"}}}});
    api.post(BUDGETS, &object).await.created();
    api.patch(&format!("{BUDGETS}/{name}/status"), MERGE, &json!({"status": status})).await.ok();
}

fn eviction(name: &str) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
}

async fn evict(api: &Api, name: &str) -> crate::common::Reply {
    api.post(&format!("{PODS}/{name}/eviction"), &eviction(name)).await
}

#[tokio::test]
async fn a_budget_is_used_up() {
    let api = start().await;
    let status = json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 3,
        "desiredHealthy": 2, "expectedPods": 3});
    budget(&api, "b", status).await;
    let mut dry = eviction("a");
    dry["deleteOptions"] = json!({"dryRun": ["All"]});
    api.post(&format!("{PODS}/a/eviction"), &dry).await.created();
    assert_eq!(api.get(&format!("{BUDGETS}/b")).await.ok()["status"]["disruptionsAllowed"], 1);

    evict(&api, "a").await.created();
    let after = api.get(&format!("{BUDGETS}/b")).await.ok()["status"].clone();
    assert_eq!(after["disruptionsAllowed"], 0);
    assert!(after["disruptedPods"]["a"].is_string(), "{after}");
    assert_eq!(after["conditions"][0]["reason"], "InsufficientPods");
    let reply = evict(&api, "b").await;
    let details = reply.body["details"].clone();
    let message = reply.refused(429, "TooManyRequests");
    assert_eq!(message, "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        details["causes"],
        json!([{"reason": "DisruptionBudget",
            "message": "The disruption budget b needs 2 healthy pods and has 3 currently"}])
    );
    api.get(&format!("{PODS}/b")).await.ok();
    // What is not ready is not counted while enough others are.
    evict(&api, "sick").await.created();
}

#[tokio::test]
async fn what_no_budget_lets_go() {
    let api = start().await;
    budget(&api, "late", json!({"observedGeneration": 0, "disruptionsAllowed": 5})).await;
    let reply = evict(&api, "a").await;
    assert_eq!(reply.headers["retry-after"], "10");
    assert_eq!(
        reply.body["details"]["causes"][0]["message"],
        "The disruption budget late is still being processed by the server."
    );
    reply.refused(429, "TooManyRequests");
    budget(&api, "second", json!({})).await;
    let message = evict(&api, "a").await.refused(500, "InternalError");
    assert!(message.starts_with("This pod has more than one PodDisruptionBudget"), "{message}");
    // Nobody counts on a pod that has ended.
    api.patch(&format!("{PODS}/c/status"), MERGE, &json!({"status": {"phase": "Succeeded"}})).await.ok();
    evict(&api, "c").await.created();
    api.post(&format!("{PODS}/a/eviction"), &eviction("b")).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn rivals_share_a_budget() {
    let api = start().await;
    let status =
        json!({"observedGeneration": 1, "disruptionsAllowed": 2, "currentHealthy": 3, "desiredHealthy": 1});
    budget(&api, "b", status).await;
    let (a, b, c) = tokio::join!(evict(&api, "a"), evict(&api, "b"), evict(&api, "c"));
    let mut codes = [a.code.as_u16(), b.code.as_u16(), c.code.as_u16()];
    codes.sort_unstable();
    assert_eq!(codes, [201, 201, 429]);
}
