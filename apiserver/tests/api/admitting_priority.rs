//! Priority classes and the pods that name them.

use serde_json::{Value, json};

use crate::common::{Api, MERGE, objects};

const PODS: &str = "/api/v1/namespaces/n/pods";
const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = objects::pod(name);
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

fn class(name: &str, value: i64, default: bool, policy: &str) -> Value {
    json!({"metadata": {"name": name}, "value": value, "globalDefault": default, "preemptionPolicy": policy})
}

#[tokio::test]
async fn pods_get_the_number_and_the_policy_of_their_class() {
    let api = Api::start().await;
    api.namespace("n").await;
    let decided = |pod: &Value| {
        json!([pod["spec"]["priorityClassName"], pod["spec"]["priority"], pod["spec"]["preemptionPolicy"]])
    };
    let none = api.post(PODS, &pod("none", json!({}))).await.created();
    assert_eq!(decided(&none), json!([null, 0, "PreemptLowerPriority"]));
    api.post(CLASSES, &class("high", 1000, false, "Never")).await.created();
    let high = api.post(PODS, &pod("high", json!({"priorityClassName": "high"}))).await.created();
    assert_eq!(decided(&high), json!(["high", 1000, "Never"]));
    let system = json!({"priorityClassName": "system-node-critical", "priority": 2_000_001_000});
    let system = api.post(PODS, &pod("system", system)).await.created();
    assert_eq!(system["spec"]["priority"], 2_000_001_000);
    for (spec, why) in [
        (json!({"priorityClassName": "low"}), "no PriorityClass with name low was found"),
        (
            json!({"priorityClassName": "high", "priority": 5}),
            "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name",
        ),
        (
            json!({"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"}),
            "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name",
        ),
    ] {
        let told = api.post(PODS, &pod("p", spec)).await.refused(403, "Forbidden");
        assert_eq!(told, format!("pods \"p\" is forbidden: {why}"));
    }
    // An update may leave out what was decided.
    let mut sent = api.get(&format!("{PODS}/high")).await.ok();
    sent["spec"].as_object_mut().unwrap().remove("priority");
    sent["spec"].as_object_mut().unwrap().remove("preemptionPolicy");
    assert_eq!(decided(&api.put(&format!("{PODS}/high"), &sent).await.ok()), json!(["high", 1000, "Never"]));
}

#[tokio::test]
async fn there_is_one_default_class() {
    let api = Api::start().await;
    api.namespace("n").await;
    api.post(CLASSES, &class("usual", 7, true, "PreemptLowerPriority")).await.created();
    api.get(&format!("{CLASSES}/usual")).await.ok();
    let made = api.post(PODS, &pod("p", json!({}))).await.created();
    assert_eq!((&made["spec"]["priorityClassName"], &made["spec"]["priority"]), (&json!("usual"), &json!(7)));
    let why = "is forbidden: PriorityClass usual is already marked as default. Only one default can exist";
    let second = class("other", 8, true, "PreemptLowerPriority");
    assert_eq!(
        api.post(CLASSES, &second).await.refused(403, "Forbidden"),
        format!("priorityclasses.scheduling.k8s.io \"other\" {why}")
    );
    api.post(CLASSES, &class("other", 8, false, "PreemptLowerPriority")).await.created();
    let told = api.patch(&format!("{CLASSES}/other"), MERGE, &json!({"globalDefault": true})).await;
    assert_eq!(told.refused(403, "Forbidden"), format!("priorityclasses.scheduling.k8s.io \"other\" {why}"));
    api.patch(&format!("{CLASSES}/usual"), MERGE, &json!({"description": "x"})).await.ok();
}
