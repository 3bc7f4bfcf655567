//! `resource.k8s.io`: classes, claims, templates and slices of devices.

use serde_json::{Value, json};

use crate::common::kind::Kind;
use crate::common::{Api, MERGE, names};

const ROOT: &str = "/apis/resource.k8s.io/v1";

fn request(change: Value) -> Value {
    let mut request = json!({"name": "gpu", "exactly": {"deviceClassName": "gpus"}});
    crate::common::kind::merge(&mut request, &change);
    request
}

/// A claim's spec with this request.
fn with(change: Value) -> Value {
    json!({"spec": {"devices": {"requests": [request(change)]}}})
}

#[tokio::test]
async fn claims() {
    let api = Api::start().await;
    const NAME: &str = "ResourceClaim.resource.k8s.io \"c\" is invalid: ";
    let texts: Vec<(Value, String)> = [
        (with(json!({"name": "A"})), "spec.devices.requests[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"),
        (with(json!({"exactly": null})), "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"),
        (with(json!({"exactly": {"deviceClassName": ""}})), "spec.devices.requests[0].exactly.deviceClassName: Required value"),
        (with(json!({"exactly": {"allocationMode": "All", "count": 2}})), "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"),
        (with(json!({"exactly": {"allocationMode": "Some"}})), "spec.devices.requests[0].exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\""),
        (with(json!({"exactly": {"selectors": [{}]}})), "spec.devices.requests[0].exactly.selectors[0].cel: Required value"),
        (json!({"spec": {"devices": {"constraints": [{"requests": ["x"], "matchAttribute": "a.example/b"}]}}}), "spec.devices.constraints[0].requests[0]: Invalid value: \"x\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"),
        (json!({"spec": {"devices": {"constraints": [{"matchAttribute": "b"}]}}}), "spec.devices.constraints[0].matchAttribute: Invalid value: \"b\": a fully qualified name must be a domain and a name separated by a slash"),
        (json!({"spec": {"devices": {"config": [{}]}}}), "spec.devices.config[0].opaque: Required value"),
        (json!({"spec": {"devices": {"requests": vec![request(json!({})); 33]}}}), "spec.devices.requests: Too many: 33: must have at most 32 items"),
    ]
    .into_iter()
    .map(|(o, t)| (o, format!("{NAME}{t}")))
    .collect();
    let kind = Kind {
        path: &format!("{ROOT}/namespaces/default/resourceclaims"),
        object: json!({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [request(json!({}))]}}}),
        becomes: json!({"spec": {"devices": {"requests": [{"name": "gpu", "exactly":
            {"deviceClassName": "gpus", "allocationMode": "ExactCount", "count": 1}}]}}, "status": {}}),
        row: json!(["c", "pending"]),
        refused: texts.iter().map(|(o, t)| (o.clone(), t.as_str())).collect(),
        sealed: vec![(
            json!({"spec": {"devices": {"requests": null}}}),
            "ResourceClaim.resource.k8s.io \"c\" is invalid: spec: Invalid value: null: field is immutable",
        )],
        status: None,
    };
    kind.check(&api).await;
    let status = format!("{}/c/status", kind.path);
    let allocation = |pool: &str| json!({"devices": {"results": [{"request": "gpu", "driver": "d.example", "pool": pool, "device": "g0"}]}});
    let reserved = json!([{"resource": "pods", "name": "p", "uid": "u"}]);
    for (change, text) in [
        (
            json!({"reservedFor": reserved}),
            "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
        ),
        (
            json!({"allocation": {"devices": {"results": [{"request": "cpu", "driver": "d.example", "pool": "p", "device": "g0"}]}}}),
            "status.allocation.devices.results[0].request: Invalid value: \"cpu\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
        ),
        (
            json!({"allocation": {"nodeSelector": {}, "devices": {"results": [{"request": "gpu", "driver": "d.example", "pool": "p", "device": "g0", "shareID": "x"}]}}}),
            "[status.allocation.devices.results[0].shareID: Invalid value: \"x\": error validating uid: invalid UUID length: 1, status.allocation.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term]",
        ),
        (
            json!({"devices": [{"driver": "d.example", "pool": "p", "device": "g1"}]}),
            "status.devices[0]: Invalid value: \"d.example/p/g1\": must be an allocated device in the claim",
        ),
    ] {
        let told = api.patch(&status, MERGE, &json!({"status": change})).await.refused(422, "Invalid");
        assert_eq!(told, format!("{NAME}{text}"));
    }
    let good = json!({"status": {"allocation": allocation("p"), "reservedFor": reserved}});
    let good = api.patch(&status, MERGE, &good).await.ok();
    assert_eq!(good["status"]["reservedFor"], reserved);
    let moved = json!({"status": {"allocation": allocation("q")}});
    let told = api.patch(&status, MERGE, &moved).await.refused(422, "Invalid");
    assert!(told.starts_with(&format!("{NAME}status.allocation: Invalid value: ")), "{told}");
    assert!(told.ends_with("field is immutable"), "{told}");
}

#[tokio::test]
async fn templates_and_classes() {
    let api = Api::start().await;
    let template = Kind {
        path: &format!("{ROOT}/namespaces/default/resourceclaimtemplates"),
        object: json!({"metadata": {"name": "t"}, "spec": {"spec": {"devices": {"requests": [request(json!({}))]}}}}),
        becomes: json!({"metadata": {"name": "t"}}),
        row: json!(["t"]),
        refused: vec![(
            json!({"spec": {"spec": {"devices": {"requests": [{"name": "gpu"}]}}}}),
            "ResourceClaimTemplate.resource.k8s.io \"t\" is invalid: spec.spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
        )],
        sealed: vec![(
            json!({"spec": {"spec": {"devices": {"requests": null}}}}),
            "ResourceClaimTemplate.resource.k8s.io \"t\" is invalid: spec: Invalid value: null: field is immutable",
        )],
        status: None,
    };
    template.check(&api).await;
    let class = Kind {
        path: &format!("{ROOT}/deviceclasses"),
        object: json!({"metadata": {"name": "gpus"}, "spec": {"selectors": [{"cel": {"expression": "true"}}]}}),
        becomes: json!({"metadata": {"generation": 1}}),
        row: json!(["gpus"]),
        refused: vec![
            (
                json!({"spec": {"extendedResourceName": "cpu"}}),
                "DeviceClass.resource.k8s.io \"gpus\" is invalid: spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
            ),
            (
                json!({"spec": {"config": [{"opaque": {"driver": "d.example"}}]}}),
                "DeviceClass.resource.k8s.io \"gpus\" is invalid: spec.config[0].opaque.parameters: Required value",
            ),
        ],
        sealed: vec![],
        status: None,
    };
    class.check(&api).await;
}

#[tokio::test]
async fn slices() {
    let api = Api::start().await;
    let device = |change: Value| {
        let mut device = json!({"name": "g0", "attributes": {"model": {"string": "x"}}, "capacity": {"memory": {"value": "1Gi"}}});
        crate::common::kind::merge(&mut device, &change);
        json!({"spec": {"devices": [device]}})
    };
    const NAME: &str = "ResourceSlice.resource.k8s.io \"s\" is invalid: ";
    let texts: Vec<(Value, String)> = [
        (json!({"spec": {"nodeName": null}}), "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"),
        (json!({"spec": {"allNodes": true}}), "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set"),
        (json!({"spec": {"pool": {"resourceSliceCount": 0}}}), "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero"),
        (device(json!({"attributes": {"model": {"int": 1}}})), "spec.devices[0].attributes[model]: Invalid value: {\"int\":1,\"string\":\"x\"}: exactly one value must be specified"),
        (device(json!({"attributes": {"v": {"version": "1.x"}}})), "spec.devices[0].attributes[v].version: Invalid value: \"1.x\": must be a string compatible with semver.org spec 2.0.0"),
        (device(json!({"taints": [{"key": "a", "effect": "Other"}]})), "spec.devices[0].taints[0].effect: Unsupported value: \"Other\": supported values: \"NoExecute\", \"NoSchedule\", \"None\""),
        (device(json!({"attributes": {"v": {"versions": ["1.x"]}}})), "spec.devices[0].attributes[v].versions[0]: Invalid value: \"1.x\": must be a string compatible with semver.org spec 2.0.0"),
        (device(json!({"attributes": {"v": {"ints": vec![1; 48]}}})), "spec.devices[0]: Invalid value: 49: the total number of attribute values must not exceed 48"),
        (device(json!({"capacity": {"memory": {"requestPolicy": {"default": "1"}}}})), "spec.devices[0].capacity[memory].requestPolicy: Forbidden: allowMultipleAllocations must be true"),
        (device(json!({"allowMultipleAllocations": true, "capacity": {"memory": {"requestPolicy": {"validRange": {"min": "1"}}}}})), "spec.devices[0].capacity[memory].requestPolicy.default: Required value: required when validRange is defined"),
        (device(json!({"bindingConditions": ["a"], "bindingFailureConditions": ["b", "b"]})), "spec.devices[0].bindingFailureConditions[1]: Duplicate value: \"b\""),
        (json!({"spec": {"nodeName": null, "nodeSelector": {"nodeSelectorTerms": []}}}), "[spec.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term, spec.nodeSelector.nodeSelectorTerms: Invalid value: []: must have exactly one node selector term]"),
        (device(json!({"allNodes": true})), "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"),
        (json!({"spec": {"driver": "D_"}}), "spec.driver: Invalid value: \"D_\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"),
    ]
    .into_iter()
    .map(|(o, t)| (o, format!("{NAME}{t}")))
    .collect();
    let mut object = json!({"metadata": {"name": "s"}, "spec": {"driver": "d.example", "nodeName": "n1",
        "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 1}}});
    crate::common::kind::merge(&mut object, &device(json!({})));
    let kind = Kind {
        path: &format!("{ROOT}/resourceslices"),
        object,
        becomes: json!({"metadata": {"generation": 1}}),
        row: json!(["s", "n1", "d.example", "n1"]),
        refused: texts.iter().map(|(o, t)| (o.clone(), t.as_str())).collect(),
        sealed: vec![(
            json!({"spec": {"driver": "e.example"}}),
            "ResourceSlice.resource.k8s.io \"s\" is invalid: spec.driver: Invalid value: \"e.example\": field is immutable",
        )],
        status: None,
    };
    kind.check(&api).await;
    for (selector, count) in [("spec.nodeName=n1", 1), ("spec.nodeName=n2", 0), ("spec.driver=d.example", 1)]
    {
        let found = api.get(&format!("{}?fieldSelector={selector}", kind.path)).await.ok();
        assert_eq!(names(&found).len(), count, "{selector}");
    }
}
