//! `apps` and its neighbours: StatefulSets, DaemonSets, revisions, ReplicationControllers, templates, budgets.

use serde_json::{Value, json};

use crate::common::kind::Kind;
use crate::common::{Api, MERGE};

const APPS: &str = "/apis/apps/v1/namespaces/default";
const CORE: &str = "/api/v1/namespaces/default";

fn template(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "main", "image": "demo:1"}]}})
}

fn workload(name: &str) -> Value {
    json!({"metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name)}})
}

#[tokio::test]
async fn stateful_sets() {
    let api = Api::start().await;
    let mut object = workload("s");
    object["spec"]["serviceName"] = "s".into();
    object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    let invalid = |rest: &str| format!("StatefulSet.apps \"s\" is invalid: {rest}");
    let messages: Vec<String> = [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        "spec.podManagementPolicy: Invalid value: \"Some\": must be 'OrderedReady' or 'Parallel'",
        "spec.updateStrategy: Invalid value: {\"type\":\"Some\"}: must be 'RollingUpdate' or 'OnDelete'",
        "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
        "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
        "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`",
        "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"other\"",
        "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
        "spec.serviceName: Invalid value: \"a.b\": must not contain dots",
        "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported values: \"Retain\", \"Delete\"",
        "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0",
    ]
    .into_iter()
    .map(invalid)
    .collect();
    let changes = [
        json!({"spec": {"replicas": -1}}),
        json!({"spec": {"podManagementPolicy": "Some"}}),
        json!({"spec": {"updateStrategy": {"type": "Some"}}}),
        json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}}),
        json!({"spec": {"selector": {"matchLabels": null}}}),
        json!({"spec": {"template": {"metadata": {"labels": {"app": "x"}}}}}),
        json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "demo:1",
            "volumeMounts": [{"name": "other", "mountPath": "/data"}]}]}}}}),
        json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"},
            "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]}}),
        json!({"spec": {"serviceName": "a.b"}}),
        json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"}}}),
        json!({"spec": {"ordinals": {"start": -1}}}),
    ];
    let sealed = invalid(
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    );
    let kind = Kind {
        path: &format!("{APPS}/statefulsets"),
        object,
        becomes: json!({"metadata": {"generation": 1}, "status": {"replicas": 0, "availableReplicas": 0},
            "spec": {"replicas": 1, "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10,
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                "volumeClaimTemplates": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "data"}, "status": {"phase": "Pending"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
                        "resources": {"requests": {"storage": "1Gi"}}}}]}}),
        row: json!(["s", "0/1", "main", "demo:1"]),
        refused: changes.into_iter().zip(messages.iter().map(String::as_str)).collect(),
        sealed: vec![
            (json!({"spec": {"serviceName": "t"}}), sealed.as_str()),
            (json!({"spec": {"podManagementPolicy": "Parallel"}}), sealed.as_str()),
        ],
        status: Some(json!({"replicas": 1, "readyReplicas": 1, "availableReplicas": 1})),
    };
    kind.check(&api).await;
    let one = format!("{APPS}/statefulsets/s");
    let told = api.patch(&format!("{one}/status"), MERGE, &json!({"status": {"readyReplicas": 2}})).await;
    assert_eq!(
        told.refused(422, "Invalid"),
        invalid("status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas")
    );
    let free = json!({"spec": {"minReadySeconds": 3, "revisionHistoryLimit": 4,
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}});
    let changed = api.patch(&one, MERGE, &free).await.ok();
    assert_eq!(changed["spec"]["updateStrategy"]["rollingUpdate"], json!({"partition": 0}), "off in 1.36");
    assert_eq!(changed["metadata"]["generation"], 2);
    let dotted = api.post(&format!("{APPS}/statefulsets"), &workload("a.b")).await.refused(422, "Invalid");
    assert_eq!(
        dotted,
        "StatefulSet.apps \"a.b\" is invalid: metadata.name: Invalid value: \"a.b\": must not contain dots"
    );
}

#[tokio::test]
async fn daemon_sets() {
    let api = Api::start().await;
    let kind = Kind {
        path: &format!("{APPS}/daemonsets"),
        object: workload("d"),
        becomes: json!({"metadata": {"generation": 1,
                "annotations": {"deprecated.daemonset.template.generation": "1"}},
            "status": {"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0},
            "spec": {"revisionHistoryLimit": 10,
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}}),
        row: json!(["d", 0, 0, 0, 0, 0, "<none>", "main", "demo:1", "app=d"]),
        refused: vec![
            (
                json!({"spec": {"selector": {"matchLabels": null}}}),
                "DaemonSet.apps \"d\" is invalid: spec.selector: Invalid value: {}: empty selector is invalid for daemonset",
            ),
            (
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}}),
                "DaemonSet.apps \"d\" is invalid: spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
            ),
            (
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxSurge": "10%"}}}}),
                "DaemonSet.apps \"d\" is invalid: spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"10%\": may not be set when maxUnavailable is non-zero",
            ),
            (
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}}),
                "DaemonSet.apps \"d\" is invalid: spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!({"spec": {"updateStrategy": {"type": "Some"}}}),
                "DaemonSet.apps \"d\" is invalid: spec.updateStrategy: Unsupported value: {\"type\":\"Some\"}: supported values: \"RollingUpdate\", \"OnDelete\"",
            ),
            (
                json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}),
                "DaemonSet.apps \"d\" is invalid: spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported",
            ),
            (
                json!({"spec": {"minReadySeconds": -1}}),
                "DaemonSet.apps \"d\" is invalid: spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
        sealed: vec![(
            json!({"spec": {"selector": {"matchLabels": {"b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}}}),
            "DaemonSet.apps \"d\" is invalid: spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"d\",\"b\":\"c\"}}: field is immutable",
        )],
        status: Some(json!({"numberReady": 3})),
    };
    kind.check(&api).await;
    let image = json!({"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}});
    let changed = api.patch(&format!("{APPS}/daemonsets/d"), MERGE, &image).await.ok();
    assert_eq!(changed["metadata"]["annotations"]["deprecated.daemonset.template.generation"], "2");
    assert_eq!(changed["metadata"]["generation"], 2);
}

#[tokio::test]
async fn revisions_and_templates() {
    let api = Api::start().await;
    let kind = Kind {
        path: &format!("{APPS}/controllerrevisions"),
        object: json!({"metadata": {"name": "r", "ownerReferences": [{"apiVersion": "apps/v1",
                "kind": "StatefulSet", "name": "web", "uid": "1", "controller": true}]},
            "data": {"spec": {"any": ["thing"]}}, "revision": 3}),
        becomes: json!({"data": {"spec": {"any": ["thing"]}}, "revision": 3}),
        row: json!(["r", "statefulset.apps/web", 3]),
        refused: vec![
            (
                json!({"data": null}),
                "ControllerRevision.apps \"r\" is invalid: data: Required value: data is mandatory",
            ),
            (
                json!({"revision": -1}),
                "ControllerRevision.apps \"r\" is invalid: revision: Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
        sealed: vec![(
            json!({"data": {"spec": {"any": ["other"]}}}),
            "ControllerRevision.apps \"r\" is invalid: data: Invalid value: {\"spec\":{\"any\":[\"other\"]}}: field is immutable",
        )],
        status: None,
    };
    kind.check(&api).await;
    let kind = Kind {
        path: &format!("{CORE}/podtemplates"),
        object: json!({"metadata": {"name": "t"}, "template": template("t")}),
        becomes: json!({"metadata": {"generation": 1}, "template": {"spec": {"dnsPolicy": "ClusterFirst"}}}),
        row: json!(["t", "main", "demo:1", "app=t"]),
        refused: vec![(
            json!({"template": {"spec": {"containers": null}}}),
            "PodTemplate \"t\" is invalid: template.spec.containers: Required value",
        )],
        sealed: vec![],
        status: None,
    };
    kind.check(&api).await;
}

#[tokio::test]
async fn replication_controllers() {
    let api = Api::start().await;
    let path = format!("{CORE}/replicationcontrollers");
    let kind = Kind {
        path: &path,
        object: json!({"metadata": {"name": "rc"}, "spec": {"template": template("rc")}}),
        becomes: json!({"metadata": {"generation": 1, "labels": {"app": "rc"}}, "status": {"replicas": 0},
            "spec": {"replicas": 1, "selector": {"app": "rc"}}}),
        row: json!(["rc", 1, 0, 0, "main", "demo:1", "app=rc"]),
        refused: vec![
            (
                json!({"spec": {"template": null}}),
                "ReplicationController \"rc\" is invalid: [spec.selector: Required value, spec.template: Required value]",
            ),
            (
                json!({"spec": {"selector": {"a": "b"}}}),
                "ReplicationController \"rc\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"rc\"}: `selector` does not match template `labels`",
            ),
            (
                json!({"spec": {"replicas": -1}}),
                "ReplicationController \"rc\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
                "ReplicationController \"rc\" is invalid: spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
        ],
        sealed: vec![],
        status: Some(json!({"replicas": 1})),
    };
    kind.check(&api).await;
    let told = api.patch(&format!("{path}/rc/status"), MERGE, &json!({"status": {"readyReplicas": 2}})).await;
    assert_eq!(
        told.refused(422, "Invalid"),
        "ReplicationController \"rc\" is invalid: status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
    );
    let left = api.delete(&format!("{path}/rc")).await.ok();
    assert_eq!(left["metadata"]["finalizers"], json!(["orphan"]), "its pods stay, as ever");
}

#[tokio::test]
async fn scales() {
    let api = Api::start().await;
    api.post(&format!("{APPS}/statefulsets"), &workload("a")).await.created();
    let rc = json!({"metadata": {"name": "a"}, "spec": {"template": template("a")}});
    api.post(&format!("{CORE}/replicationcontrollers"), &rc).await.created();
    for path in [format!("{APPS}/statefulsets/a"), format!("{CORE}/replicationcontrollers/a")] {
        let scale = api.get(&format!("{path}/scale")).await.ok();
        assert_eq!(scale["kind"], "Scale");
        assert_eq!(scale["spec"], json!({"replicas": 1}), "{path}");
        assert_eq!(scale["status"], json!({"replicas": 0, "selector": "app=a"}), "{path}");
        let more = api.patch(&format!("{path}/scale"), MERGE, &json!({"spec": {"replicas": 3}})).await.ok();
        assert_eq!(more["spec"]["replicas"], 3);
        let object = api.get(&path).await.ok();
        assert_eq!(object["spec"]["replicas"], 3);
        assert_eq!(object["metadata"]["generation"], 2);
        let less = api.patch(&format!("{path}/scale"), MERGE, &json!({"spec": {"replicas": -3}})).await;
        assert_eq!(
            less.refused(422, "Invalid"),
            "Scale.autoscaling \"a\" is invalid: spec.replicas: Invalid value: -3: must be greater than or equal to 0"
        );
    }
    api.get(&format!("{APPS}/daemonsets/a/scale")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn the_status_of_what_was_served_before() {
    let api = Api::start().await;
    for (plural, kind) in [("deployments", "Deployment"), ("replicasets", "ReplicaSet")] {
        api.post(&format!("{APPS}/{plural}"), &workload("a")).await.created();
        let path = format!("{APPS}/{plural}/a/status");
        for (status, message) in [
            (
                json!({"replicas": 1, "readyReplicas": 2}),
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
            ),
            (
                json!({"replicas": 1, "availableReplicas": 1}),
                "status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas",
            ),
            (
                json!({"replicas": -1}),
                "status.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
        ] {
            let told = api.patch(&path, MERGE, &json!({"status": status})).await.refused(422, "Invalid");
            assert!(
                told.starts_with(&format!("{kind}.apps \"a\" is invalid: ")) && told.contains(message),
                "{told}"
            );
        }
        let fine = json!({"status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 1}});
        api.patch(&path, MERGE, &fine).await.ok();
    }
    let path = format!("{APPS}/deployments/a/status");
    api.patch(&path, MERGE, &json!({"status": {"collisionCount": 2}})).await.ok();
    let told =
        api.patch(&path, MERGE, &json!({"status": {"collisionCount": 1}})).await.refused(422, "Invalid");
    assert_eq!(
        told,
        "Deployment.apps \"a\" is invalid: status.collisionCount: Invalid value: 1: cannot be decremented"
    );
}

#[tokio::test]
async fn disruption_budgets() {
    let api = Api::start().await;
    let path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let kind = Kind {
        path,
        object: json!({"metadata": {"name": "b"},
            "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}}),
        becomes: json!({"metadata": {"generation": 1},
            "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}}),
        row: json!(["b", "50%", "N/A", 0]),
        refused: vec![
            (
                json!({"spec": {"maxUnavailable": 1, "selector": null}}),
                "PodDisruptionBudget.policy \"b\" is invalid: spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":\"50%\"}: minAvailable and maxUnavailable cannot be both set",
            ),
            (
                json!({"spec": {"minAvailable": -1}}),
                "PodDisruptionBudget.policy \"b\" is invalid: spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"spec": {"minAvailable": "many"}}),
                "PodDisruptionBudget.policy \"b\" is invalid: spec.minAvailable: Invalid value: \"many\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ),
            (
                json!({"spec": {"minAvailable": "101%"}}),
                "PodDisruptionBudget.policy \"b\" is invalid: spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!({"spec": {"unhealthyPodEvictionPolicy": "Some"}}),
                "PodDisruptionBudget.policy \"b\" is invalid: spec.unhealthyPodEvictionPolicy: Unsupported value: \"Some\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
            ),
        ],
        sealed: vec![],
        status: Some(json!({"currentHealthy": 2, "disruptionsAllowed": 1})),
    };
    let made = kind.check(&api).await;
    let mut blind = made.clone();
    blind["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let told = api.put(&format!("{path}/b"), &blind).await.refused(422, "Invalid");
    assert!(
        told.contains("metadata.resourceVersion: Invalid value: 0: must be specified for an update"),
        "{told}"
    );
    let told = api.patch(&format!("{path}/b/status"), MERGE, &json!({"status": {"expectedPods": -1}})).await;
    assert_eq!(
        told.refused(422, "Invalid"),
        "PodDisruptionBudget.policy \"b\" is invalid: status.expectedPods: Invalid value: -1: must be greater than or equal to 0"
    );
}

#[tokio::test]
async fn priority_classes() {
    let api = Api::start().await;
    let kind = Kind {
        path: "/apis/scheduling.k8s.io/v1/priorityclasses",
        object: json!({"metadata": {"name": "high"}, "value": 1000, "description": "urgent"}),
        becomes: json!({"metadata": {"generation": 1}, "preemptionPolicy": "PreemptLowerPriority"}),
        row: json!(["high", 1000, false, "PreemptLowerPriority"]),
        refused: vec![
            (
                json!({"value": 1_000_000_001}),
                "PriorityClass.scheduling.k8s.io \"high\" is invalid: value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
            ),
            (
                json!({"metadata": {"name": "system-high"}}),
                "PriorityClass.scheduling.k8s.io \"system-high\" is invalid: metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-high is not a known system priority class",
            ),
            (
                json!({"metadata": {"name": "system-node-critical"}}),
                "PriorityClass.scheduling.k8s.io \"system-node-critical\" is invalid: metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000",
            ),
            (
                json!({"preemptionPolicy": "Some"}),
                "PriorityClass.scheduling.k8s.io \"high\" is invalid: preemptionPolicy: Unsupported value: \"Some\": supported values: \"PreemptLowerPriority\", \"Never\"",
            ),
        ],
        sealed: vec![
            (
                json!({"value": 5}),
                "PriorityClass.scheduling.k8s.io \"high\" is invalid: value: Forbidden: may not be changed in an update.",
            ),
            (
                json!({"preemptionPolicy": "Never"}),
                "PriorityClass.scheduling.k8s.io \"high\" is invalid: preemptionPolicy: Invalid value: \"Never\": field is immutable",
            ),
        ],
        status: None,
    };
    kind.check(&api).await;
    for (name, value) in [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)]
    {
        let class = api.get(&format!("{}/{name}", kind.path)).await.ok();
        assert_eq!(class["value"], value, "there from the start");
        assert_eq!(class["preemptionPolicy"], "PreemptLowerPriority");
    }
}
