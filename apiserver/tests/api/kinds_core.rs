//! Volumes and their claims, quotas, limits: core kinds that are mostly data.

use serde_json::{Value, json};

use crate::common::kind::{Kind, assert_contains};
use crate::common::{Api, MERGE};

const CORE: &str = "/api/v1/namespaces/default";

fn claim(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
        "resources": {"requests": {"storage": "5Gi"}}}})
}

#[tokio::test]
async fn claims() {
    let api = Api::start().await;
    let path = format!("{CORE}/persistentvolumeclaims");
    let fixed = "PersistentVolumeClaim \"c\" is invalid: spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    let kind = Kind {
        path: &path,
        object: claim("c"),
        becomes: json!({"spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}),
        row: json!(["c", "Pending", "", "", "", "fast", "<unset>", "Filesystem"]),
        refused: vec![
            (
                json!({"spec": {"accessModes": null}}),
                "PersistentVolumeClaim \"c\" is invalid: spec.accessModes: Required value: at least 1 access mode is required",
            ),
            (
                json!({"spec": {"accessModes": ["Some"]}}),
                "PersistentVolumeClaim \"c\" is invalid: spec.accessModes: Unsupported value: \"Some\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            ),
            (
                json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]}}),
                "PersistentVolumeClaim \"c\" is invalid: spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ),
            (
                json!({"spec": {"resources": {"requests": null}}}),
                "PersistentVolumeClaim \"c\" is invalid: spec.resources[storage]: Required value",
            ),
            (
                json!({"spec": {"resources": {"requests": {"storage": "0"}}}}),
                "PersistentVolumeClaim \"c\" is invalid: spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                json!({"spec": {"volumeMode": "Tape"}}),
                "PersistentVolumeClaim \"c\" is invalid: spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\"",
            ),
            (
                json!({"spec": {"dataSourceRef": {"kind": "Some", "name": "x"}}}),
                "PersistentVolumeClaim \"c\" is invalid: [spec.dataSource: Invalid value: \"Some\": must be 'PersistentVolumeClaim' when referencing the default apiGroup, spec.dataSourceRef: Invalid value: \"Some\": must be 'PersistentVolumeClaim' when referencing the default apiGroup]",
            ),
        ],
        sealed: vec![
            (json!({"spec": {"accessModes": ["ReadWriteMany"]}}), fixed),
            (json!({"spec": {"resources": {"requests": {"storage": "6Gi"}}}}), fixed),
            (json!({"spec": {"storageClassName": "slow"}}), fixed),
        ],
        status: Some(
            json!({"phase": "Bound", "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"]}),
        ),
    };
    kind.check(&api).await;
    let class =
        json!({"metadata": {"name": "fast"}, "provisioner": "a.example.com", "allowVolumeExpansion": true});
    api.post("/apis/storage.k8s.io/v1/storageclasses", &class).await.created();
    let one = format!("{path}/c");
    // Bound now: the volume once, more storage, and no less than there is.
    api.patch(&one, MERGE, &json!({"spec": {"volumeName": "v"}})).await.ok();
    api.patch(&one, MERGE, &json!({"spec": {"resources": {"requests": {"storage": "8Gi"}}}})).await.ok();
    let less =
        api.patch(&one, MERGE, &json!({"spec": {"resources": {"requests": {"storage": "4Gi"}}}})).await;
    assert_eq!(
        less.refused(422, "Invalid"),
        "PersistentVolumeClaim \"c\" is invalid: spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    );
    let other = api.patch(&one, MERGE, &json!({"spec": {"volumeName": "w"}})).await;
    assert_eq!(other.refused(422, "Invalid"), fixed);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let row = api.ask(http::Method::GET, &one).accept(table).send().await.ok();
    let cells = row["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[1..5], [json!("Bound"), json!("v"), json!("5Gi"), json!("RWO")]);
    let negative = json!({"status": {"capacity": {"storage": "-1"}}});
    assert_eq!(
        api.patch(&format!("{one}/status"), MERGE, &negative).await.refused(422, "Invalid"),
        "PersistentVolumeClaim \"c\" is invalid: status.capacity[storage]: Invalid value: -1: must be a valid resource quantity"
    );
    let mut snapshot = claim("s");
    snapshot["spec"]["dataSource"] =
        json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "x"});
    let made = api.post(&path, &snapshot).await.created();
    assert_eq!(made["spec"]["dataSourceRef"], snapshot["spec"]["dataSource"]);
    let mut divided = claim("d");
    divided["spec"]["resources"]["requests"]["storage"] = "1500m".into();
    assert_eq!(
        api.post(&path, &divided).await.warnings(),
        [
            "299 - \"spec.resources.requests[storage]: fractional byte value \\\"1500m\\\" is invalid, must be an integer\""
        ]
    );
}

#[tokio::test]
async fn volumes() {
    let api = Api::start().await;
    let path = "/api/v1/persistentvolumes";
    let kind = Kind {
        path,
        object: json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "hostPath": {"path": "/data"},
            "claimRef": {"namespace": "n", "name": "c"}, "storageClassName": "fast"}}),
        becomes: json!({"spec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem",
            "hostPath": {"type": ""}}, "status": {"phase": "Pending"}}),
        row: json!(["v", "10Gi", "RWO,ROX", "Retain", "Pending", "n/c", "fast", "<unset>", "", "Filesystem"]),
        refused: vec![
            (
                json!({"spec": {"accessModes": null}}),
                "PersistentVolume \"v\" is invalid: spec.accessModes: Required value",
            ),
            (
                json!({"spec": {"capacity": {"storage": null, "cpu": "1"}}}),
                "PersistentVolume \"v\" is invalid: spec.capacity: Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\"",
            ),
            (
                json!({"spec": {"capacity": {"storage": "-5"}}}),
                "PersistentVolume \"v\" is invalid: [spec.capacity[storage]: Invalid value: -5: must be a valid resource quantity, spec.capacity[storage]: Invalid value: \"-5\": must be greater than zero]",
            ),
            (
                json!({"spec": {"persistentVolumeReclaimPolicy": "Keep"}}),
                "PersistentVolume \"v\" is invalid: spec.persistentVolumeReclaimPolicy: Unsupported value: \"Keep\": supported values: \"Delete\", \"Recycle\", \"Retain\"",
            ),
            (
                json!({"spec": {"hostPath": null}}),
                "PersistentVolume \"v\" is invalid: spec: Required value: must specify a volume type",
            ),
            (
                json!({"spec": {"nfs": {"server": "s", "path": "/x"}}}),
                "PersistentVolume \"v\" is invalid: spec.nfs: Forbidden: may not specify more than 1 volume type",
            ),
            (
                json!({"spec": {"hostPath": {"path": "/a/../b"}}}),
                "PersistentVolume \"v\" is invalid: spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            ),
            (
                json!({"spec": {"hostPath": null, "local": {"path": "/x"}}}),
                "PersistentVolume \"v\" is invalid: spec.nodeAffinity: Required value: Local volume requires node affinity",
            ),
            (
                json!({"spec": {"hostPath": null, "csi": {"driver": "d.example.com", "volumeHandle": ""}}}),
                "PersistentVolume \"v\" is invalid: spec.csi.volumeHandle: Required value",
            ),
            (
                json!({"spec": {"nodeAffinity": {}}}),
                "PersistentVolume \"v\" is invalid: spec.nodeAffinity.required: Required value: must specify required node constraints",
            ),
            (
                json!({"spec": {"volumeAttributesClassName": "gold"}}),
                "PersistentVolume \"v\" is invalid: spec.csi: Required value: has to be specified when using volumeAttributesClassName",
            ),
        ],
        sealed: vec![
            (
                json!({"spec": {"hostPath": {"path": "/other"}}}),
                "PersistentVolume \"v\" is invalid: spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
            ),
            (
                json!({"spec": {"volumeMode": "Block"}}),
                "PersistentVolume \"v\" is invalid: volumeMode: Invalid value: \"Block\": field is immutable",
            ),
        ],
        status: Some(json!({"phase": "Bound"})),
    };
    let made = kind.check(&api).await;
    assert!(made["status"]["lastPhaseTransitionTime"].is_string(), "{made}");
    let recycled = json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle"}});
    let reply = api.ask(http::Method::PUT, &format!("{path}/v")).json(&{
        let mut o = api.get(&format!("{path}/v")).await.ok();
        crate::common::kind::merge(&mut o, &recycled);
        o
    });
    assert_eq!(
        reply.send().await.warnings(),
        [
            "299 - \"spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.\""
        ]
    );
}

#[tokio::test]
async fn quotas() {
    let api = Api::start().await;
    let path = format!("{CORE}/resourcequotas");
    let bad = |rest: &str| format!("ResourceQuota \"q\" is invalid: {rest}");
    let cases = [
        (
            json!({"spec": {"hard": {"bananas": "1"}}}),
            bad(
                "[spec.hard[bananas]: Invalid value: \"bananas\": must be a standard resource type or fully qualified, spec.hard[bananas]: Invalid value: \"bananas\": must be a standard resource for quota]",
            ),
        ),
        (
            json!({"spec": {"hard": {"pods": "1500m"}}}),
            bad("spec.hard[pods]: Invalid value: \"1500m\": must be an integer"),
        ),
        (
            json!({"spec": {"hard": {"memory": "-1"}}}),
            bad("spec.hard[memory]: Invalid value: \"-1\": must be greater than or equal to 0"),
        ),
        (
            json!({"spec": {"scopes": ["Some"]}}),
            bad("spec.scopes: Invalid value: [\"Some\"]: unsupported scope"),
        ),
        (
            json!({"spec": {"hard": {"limits.cpu": null, "services": "3"}, "scopes": ["NotTerminating"]}}),
            bad("spec.scopes: Invalid value: [\"NotTerminating\"]: unsupported scope applied to resource"),
        ),
        (
            json!({"spec": {"hard": {"limits.cpu": null}, "scopes": ["BestEffort", "NotBestEffort"]}}),
            bad("spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"),
        ),
        (
            json!({"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}}),
            bad(
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
        ),
        (
            json!({"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "Terminating", "operator": "DoesNotExist"}]}}}),
            bad(
                "spec.scopeSelector.matchExpressions.operator: Invalid value: \"DoesNotExist\": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            ),
        ),
    ];
    let kind = Kind {
        path: &path,
        object: json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "10", "limits.cpu": "4"}}}),
        becomes: json!({"status": {}, "spec": {"hard": {"pods": "10", "limits.cpu": "4"}}}),
        row: json!(["q", "", ""]),
        refused: cases.iter().map(|(c, m)| (c.clone(), m.as_str())).collect(),
        sealed: vec![(
            json!({"spec": {"scopes": ["NotBestEffort"]}}),
            "ResourceQuota \"q\" is invalid: spec.scopes: Invalid value: [\"NotBestEffort\"]: field is immutable",
        )],
        status: Some(
            json!({"hard": {"pods": "10", "limits.cpu": "4"}, "used": {"pods": "2", "limits.cpu": "500m"}}),
        ),
    };
    kind.check(&api).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let row = api.ask(http::Method::GET, &format!("{path}/q")).accept(table).send().await.ok();
    let cells = row["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..3], [json!("q"), json!("pods: 2/10"), json!("limits.cpu: 500m/4")]);
}

#[tokio::test]
async fn limit_ranges() {
    let api = Api::start().await;
    let limits = |item: Value| json!({"spec": {"limits": [item]}});
    let kind = Kind {
        path: &format!("{CORE}/limitranges"),
        object: json!({"metadata": {"name": "l"}, "spec": {"limits": [
            {"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}, "min": {"cpu": "100m"}}]}}),
        becomes: json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2", "memory": "1Gi"},
            "min": {"cpu": "100m"}, "default": {"cpu": "2", "memory": "1Gi"},
            "defaultRequest": {"cpu": "2", "memory": "1Gi"}}]}}),
        row: json!(["l"]),
        refused: vec![
            (
                limits(json!({"type": "Disk"})),
                "LimitRange \"l\" is invalid: spec.limits[0].type: Invalid value: \"Disk\": must be a standard limit type or fully qualified",
            ),
            (
                limits(json!({"type": "Pod", "default": {"cpu": "1"}})),
                "LimitRange \"l\" is invalid: spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                limits(json!({"type": "Container", "max": {"storage": "1"}})),
                "LimitRange \"l\" is invalid: [spec.limits[0].max[storage]: Invalid value: \"storage\": must be a standard resource for containers, spec.limits[0].default[storage]: Invalid value: \"storage\": must be a standard resource for containers, spec.limits[0].defaultRequest[storage]: Invalid value: \"storage\": must be a standard resource for containers]",
            ),
            (
                limits(json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}})),
                "LimitRange \"l\" is invalid: spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                limits(json!({"type": "Container", "defaultRequest": {"cpu": "2"}, "default": {"cpu": "1"}})),
                "LimitRange \"l\" is invalid: spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1",
            ),
            (
                limits(json!({"type": "PersistentVolumeClaim", "max": {"cpu": "1"}})),
                "LimitRange \"l\" is invalid: spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ),
            (
                limits(json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}})),
                "LimitRange \"l\" is invalid: spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
            ),
            (
                limits(
                    json!({"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "3"}, "maxLimitRequestRatio": {"cpu": "4"}}),
                ),
                "LimitRange \"l\" is invalid: spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"4\": ratio 4 is greater than max/min = 3.000000",
            ),
            (
                limits(
                    json!({"type": "Container", "default": {"a.com/gpu": "2"}, "defaultRequest": {"a.com/gpu": "1"}}),
                ),
                "LimitRange \"l\" is invalid: spec.limits[0].defaultRequest[a.com/gpu]: Invalid value: \"1\": default value 2 must equal to defaultRequest value 1 in a.com/gpu",
            ),
        ],
        sealed: vec![],
        status: None,
    };
    let made = kind.check(&api).await;
    let changed = json!({"spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}});
    let changed = api.patch(&format!("{CORE}/limitranges/l"), MERGE, &changed).await.ok();
    assert_contains(&changed["metadata"], &json!({"uid": made["metadata"]["uid"]}), "limits may change");
}
