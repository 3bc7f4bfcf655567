//! Pods: binding, eviction, what may change, what admission adds.

use serde_json::json;

use crate::common::objects::pod;
use crate::common::{Api, MERGE, STRATEGIC};

const ALL: &str = "/api/v1/namespaces/a/pods";
const ONE: &str = "/api/v1/namespaces/a/pods/p";

async fn with_pod() -> Api {
    let api = Api::start().await;
    api.namespace("a").await;
    api.post(ALL, &pod("p")).await.created();
    api
}

fn binding(node: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}})
}

#[tokio::test]
async fn admission_completes_a_pod() {
    let api = with_pod().await;
    let spec = &api.get(ONE).await.ok()["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["priority"], 0);
    assert_eq!(spec["preemptionPolicy"], "PreemptLowerPriority");
    let keys: Vec<&str> =
        spec["tolerations"].as_array().unwrap().iter().map(|t| t["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    let mut stranger = pod("q");
    stranger["spec"]["serviceAccountName"] = "none".into();
    assert_eq!(
        api.post(ALL, &stranger).await.refused(403, "Forbidden"),
        "pods \"q\" is forbidden: error looking up service account a/none: serviceaccount \"none\" not found"
    );
    let mut important = pod("q");
    important["spec"]["priorityClassName"] = "none".into();
    assert_eq!(
        api.post(ALL, &important).await.refused(403, "Forbidden"),
        "pods \"q\" is forbidden: no PriorityClass with name none was found"
    );
    important["spec"]["priorityClassName"] = "system-node-critical".into();
    assert_eq!(api.post(ALL, &important).await.created()["spec"]["priority"], 2_000_001_000);
}

#[tokio::test]
async fn binding_happens_once() {
    let api = with_pod().await;
    let path = format!("{ONE}/binding");
    let wrong = json!({"metadata": {"name": "p", "uid": "other"}, "target": {"name": "n1"}});
    api.post(&path, &wrong).await.refused(409, "Conflict");
    api.post(&path, &json!({"metadata": {"name": "p"}, "target": {"kind": "Pod", "name": "x"}}))
        .await
        .refused(422, "Invalid");
    assert_eq!(api.post(&path, &binding("n1")).await.created()["status"], "Success");
    let p = api.get(ONE).await.ok();
    assert_eq!(p["spec"]["nodeName"], "n1");
    assert_eq!(p["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(p["status"]["conditions"][0]["status"], "True");
    assert_eq!(
        api.post(&path, &binding("n2")).await.refused(409, "Conflict"),
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
    );
    api.get(&path).await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn a_race_of_bindings_has_one_winner() {
    let api = with_pod().await;
    let many = (0..10).map(|i| {
        let api = api.clone();
        async move { api.post(&format!("{ONE}/binding"), &binding(&format!("n{i}"))).await.code.as_u16() }
    });
    let codes = futures::future::join_all(many).await;
    assert_eq!(codes.iter().filter(|c| **c == 201).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|c| [201, 409].contains(c)), "{codes:?}");
}

#[tokio::test]
async fn eviction_deletes() {
    let api = with_pod().await;
    let path = format!("{ONE}/eviction");
    let other = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "other"}});
    api.post(&path, &other).await.refused(400, "BadRequest");
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    api.post(&format!("{path}?dryRun=All"), &eviction).await.created();
    api.get(ONE).await.ok();
    api.post(&path, &eviction).await.created();
    api.get(ONE).await.refused(404, "NotFound");
    api.post(&path, &eviction).await.refused(404, "NotFound");
}

#[tokio::test]
async fn little_of_a_pod_may_change() {
    let api = with_pod().await;
    for patch in [
        json!({"spec": {"nodeName": "n"}}),
        json!({"spec": {"restartPolicy": "Never"}}),
        json!({"spec": {"hostname": "h"}}),
    ] {
        let message = api.patch(ONE, MERGE, &patch).await.refused(422, "Invalid");
        assert!(
            message.contains("spec: Forbidden: pod updates may not change fields other than"),
            "{message}"
        );
    }
    let image = json!({"spec": {"containers": [{"name": "main", "image": "demo:2"}]}});
    assert_eq!(api.patch(ONE, STRATEGIC, &image).await.ok()["spec"]["containers"][0]["image"], "demo:2");
    let status = json!({"status": {"phase": "Running"}});
    assert_eq!(api.patch(ONE, MERGE, &status).await.ok()["status"]["phase"], "Pending");
    assert_eq!(api.patch(&format!("{ONE}/status"), MERGE, &status).await.ok()["status"]["phase"], "Running");
}

#[tokio::test]
async fn specs_are_validated() {
    let api = with_pod().await;
    for (field, value, part) in [
        ("containers", json!([]), "spec.containers: Required value"),
        (
            "containers",
            json!([{"name": "A B", "image": "x"}]),
            "spec.containers[0].name: Invalid value: \"A B\"",
        ),
        (
            "containers",
            json!([{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]),
            "spec.containers[1].name: Duplicate value: \"a\"",
        ),
        (
            "containers",
            json!([{"name": "a", "image": "x", "ports": [{"containerPort": 99999}]}]),
            "spec.containers[0].ports[0].containerPort",
        ),
        (
            "containers",
            json!([{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/x"}]}]),
            "volumeMounts[0].name: Not found: \"v\"",
        ),
        ("restartPolicy", json!("Sometimes"), "spec.restartPolicy: Unsupported value: \"Sometimes\""),
        (
            "securityContext",
            json!({"runAsUser": -5}),
            "spec.securityContext.runAsUser: Invalid value: -5: must be between 0 and 2147483647, inclusive",
        ),
        (
            "topologySpreadConstraints",
            json!([{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "x"}]),
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            "volumes",
            json!([{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]),
            "may not specify more than 1 volume type",
        ),
    ] {
        let mut p = pod("q");
        p["spec"][field] = value;
        let message = api.post(ALL, &p).await.refused(422, "Invalid");
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn streams_need_a_node() {
    let api = with_pod().await;
    assert_eq!(api.get(&format!("{ONE}/log")).await.code, 204);
    api.get(&format!("{ONE}/log?container=none")).await.refused(400, "BadRequest");
    api.get(&format!("{ONE}/log?tailLines=-1")).await;
    api.post(&format!("{ONE}/exec?command=ls"), &json!({})).await.refused(400, "BadRequest");
    api.get(&format!("{ONE}/nosuch")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_binding_in_its_older_place() {
    let api = with_pod().await;
    let place = "/api/v1/namespaces/a/bindings";
    let of = |pod: &str| {
        let mut body = binding("n");
        body["metadata"]["name"] = pod.into();
        body
    };
    assert_eq!(api.post(place, &of("p")).await.created()["status"], "Success");
    assert_eq!(api.get(ONE).await.ok()["spec"]["nodeName"], "n");
    api.post(place, &of("q")).await.refused(404, "NotFound");
    api.post(place, &of("")).await.refused(422, "Invalid");
    api.post(place, &of("p")).await.refused(409, "Conflict");
    assert_eq!(api.get(place).await.code, 405);
    let core = api.get("/api/v1").await.ok();
    let listed = core["resources"].as_array().unwrap().iter().find(|r| r["name"] == "bindings").unwrap();
    assert_eq!(listed["verbs"], json!(["create"]));
}
