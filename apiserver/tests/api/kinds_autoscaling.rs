//! `autoscaling`: one kind in two versions.

use serde_json::{Value, json};

use crate::common::kind::{Kind, assert_contains};
use crate::common::{Api, MERGE};

const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

fn autoscaler(name: &str) -> Value {
    json!({"metadata": {"name": name},
        "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}})
}

#[tokio::test]
async fn autoscalers() {
    let api = Api::start().await;
    let bad = |rest: &str| format!("HorizontalPodAutoscaler.autoscaling \"h\" is invalid: {rest}");
    let metric = |m: Value| json!({"spec": {"metrics": [m]}});
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let cases = [
        (
            json!({"spec": {"minReplicas": 0}}),
            bad(
                "[spec.minReplicas: Invalid value: 0: must be greater than or equal to 1, spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas]",
            ),
        ),
        (
            json!({"spec": {"minReplicas": 6}}),
            bad("spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`"),
        ),
        (
            json!({"spec": {"minReplicas": null, "maxReplicas": -1}}),
            bad(
                "[spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1, spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`]",
            ),
        ),
        (
            json!({"spec": {"maxReplicas": 0}}),
            bad(
                "[spec.maxReplicas: Required value: must be set and greater than 0, spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`]",
            ),
        ),
        (json!({"spec": {"scaleTargetRef": {"name": ""}}}), bad("spec.scaleTargetRef.name: Required value")),
        (
            json!({"spec": {"scaleTargetRef": {"kind": "a/b"}}}),
            bad("spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/'"),
        ),
        (
            metric(
                json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue"}}}),
            ),
            bad(
                "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
            ),
        ),
        (
            metric(json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Some", "averageUtilization": 0}}})),
            bad(
                "[spec.metrics[0].resource.target.type: Invalid value: \"Some\": must be either Utilization, Value, or AverageValue, spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0]",
            ),
        ),
        (
            metric(json!({"type": "Pods", "resource": {"name": "cpu", "target": target}})),
            bad(
                "spec.metrics[0].pods: Required value: must populate information for the given metric source",
            ),
        ),
        (
            json!({"spec": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}}}),
            bad(
                "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
            ),
        ),
        (
            json!({"spec": {"behavior": {"scaleDown": {"selectPolicy": "Some", "policies": [
                {"type": "Pods", "value": 0, "periodSeconds": 1801}]}}}}),
            bad(
                "[spec.behavior.scaleDown.selectPolicy: Unsupported value: \"Some\": supported values: \"Disabled\", \"Max\", \"Min\", spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero, spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800]",
            ),
        ),
    ];
    let kind = Kind {
        path: V2,
        object: autoscaler("h"),
        becomes: json!({"spec": {"minReplicas": 1, "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 80}}}]}, "status": {"desiredReplicas": 0}}),
        row: json!(["h", "Deployment/d", "cpu: <unknown>/80%", "1", 5, 0]),
        refused: cases.iter().map(|(c, m)| (c.clone(), m.as_str())).collect(),
        sealed: vec![],
        status: Some(json!({"currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 30, "averageValue": "3m"}}}]})),
    };
    kind.check(&api).await;
    let told = api.patch(&format!("{V2}/h/status"), MERGE, &json!({"status": {"desiredReplicas": -1}})).await;
    assert_eq!(
        told.refused(422, "Invalid"),
        bad("status.desiredReplicas: Invalid value: -1: must be greater than or equal to 0")
    );
    let old = api.get(&format!("{V1}/h")).await.ok();
    assert_eq!(old["apiVersion"], "autoscaling/v1");
    assert_contains(
        &old,
        &json!({"spec": {"targetCPUUtilizationPercentage": 80},
            "status": {"currentCPUUtilizationPercentage": 30, "currentReplicas": 2, "desiredReplicas": 3}}),
        "v1",
    );
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let row = api.ask(http::Method::GET, &format!("{V1}/h")).accept(table).send().await.ok();
    assert_eq!(row["rows"][0]["cells"][2], "cpu: 30%/80%");
    assert!(old["spec"].get("metrics").is_none() && old["status"].get("currentMetrics").is_none(), "{old}");
}

#[tokio::test]
async fn the_first_version_carries_the_second() {
    let api = Api::start().await;
    let mut body = autoscaler("w");
    body["spec"]["metrics"] = json!([{"type": "Pods", "pods": {"metric": {"name": "m"},
        "target": {"type": "AverageValue", "averageValue": "5"}}}]);
    body["spec"]["behavior"] =
        json!({"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}});
    let made = api.post(V2, &body).await.created();
    assert_eq!(
        made["spec"]["behavior"]["scaleUp"],
        json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]})
    );
    let mut old = api.get(&format!("{V1}/w")).await.ok();
    assert_eq!(
        old["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"],
        "[{\"type\":\"Pods\",\"pods\":{\"metricName\":\"m\",\"targetAverageValue\":\"5\"}}]"
    );
    old["spec"]["maxReplicas"] = 9.into();
    api.put(&format!("{V1}/w"), &old).await.ok();
    let new = api.get(&format!("{V2}/w")).await.ok();
    assert_eq!(new["spec"]["maxReplicas"], 9);
    assert_eq!(new["spec"]["metrics"], made["spec"]["metrics"], "other metrics came back");
    assert_eq!(new["spec"]["behavior"], made["spec"]["behavior"], "and so did the behaviour");
    assert!(new["metadata"].get("annotations").is_none(), "{new}");
    let listed = api.get(V1).await.ok();
    assert_eq!(listed["apiVersion"], "autoscaling/v1");
    assert_eq!(listed["items"][0].get("apiVersion"), None, "the list says it");
    assert!(listed["items"][0]["metadata"]["annotations"].is_object(), "{listed}");
    let plain = json!({"metadata": {"name": "p"}, "spec": {"maxReplicas": 2,
        "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "targetCPUUtilizationPercentage": 40}});
    api.post(V1, &plain).await.created();
    let patched = json!({"spec": {"targetCPUUtilizationPercentage": 45}});
    assert_eq!(
        api.patch(&format!("{V1}/p"), MERGE, &patched).await.ok()["spec"]["targetCPUUtilizationPercentage"],
        45
    );
    let stored = api.get(&format!("{V2}/p")).await.ok();
    assert_eq!(stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 45);
}
