//! Custom resource definitions and API services as stored kinds, flow schemas and priority levels.

use serde_json::{Value, json};

use crate::common::kind::Kind;
use crate::common::{Api, MERGE, names};

fn version(schema: Value) -> Value {
    json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}})
}

/// A change of the definition's schema.
fn schema(schema: Value) -> Value {
    json!({"spec": {"versions": [version(schema)]}})
}

/// A version that differs by a merge patch.
fn with(change: Value) -> Value {
    let mut v = version(json!({"type": "object"}));
    crate::common::kind::merge(&mut v, &change);
    v
}

const LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

#[tokio::test]
async fn definitions() {
    let api = Api::start().await;
    const NAME: &str = "CustomResourceDefinition.apiextensions.k8s.io \"things.example.com\" is invalid: ";
    let of = |text: &str| format!("{NAME}{text}");
    let no_storage = {
        let mut v = version(json!({"type": "object"}));
        v["storage"] = false.into();
        v
    };
    let texts = [
        (
            json!({"spec": {"scope": "World"}}),
            of("spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\""),
        ),
        (
            json!({"spec": {"names": {"kind": ""}}}),
            of(
                "[spec.names.singular: Required value, spec.names.kind: Required value, spec.names.listKind: Required value]",
            ),
        ),
        (
            json!({"spec": {"names": {"listKind": "Thing"}}}),
            of("spec.names.listKind: Invalid value: \"Thing\": kind and listKind may not be the same"),
        ),
        (
            json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "x.com"}}),
            of(
                "metadata.name: Invalid value: \"things.example.com\": must be spec.names.plural+\".\"+spec.group",
            ),
        ),
        (
            json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": true}]}}),
            of("spec.versions[0].schema.openAPIV3Schema: Required value"),
        ),
        (
            json!({"spec": {"versions": [no_storage]}}),
            of(
                "[spec.versions: Invalid value: [{\"name\":\"v1\",\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}},\"served\":true}]: must have exactly one version marked as storage version, status.storedVersions: Invalid value: null: must have at least one stored version]",
            ),
        ),
        (
            schema(json!({"type": "string"})),
            of("spec.validation.openAPIV3Schema.type: Invalid value: \"string\": must be object at the root"),
        ),
        (
            schema(
                json!({"type": "object", "properties": {"spec": {"properties": {"a": {"type": "array"}}}}}),
            ),
            of(
                "[spec.validation.openAPIV3Schema.properties[spec].properties[a].items: Required value: must be specified, spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields]",
            ),
        ),
        (
            schema(
                json!({"type": "object", "properties": {"a": {"type": "object", "allOf": [{"type": "string"}]}}}),
            ),
            of(
                "spec.validation.openAPIV3Schema.properties[a].allOf[0].type: Forbidden: must be empty to be structural",
            ),
        ),
        (
            schema(json!({"type": "object", "properties": {"a": {"type": "wrong"}}})),
            of(
                "spec.validation.openAPIV3Schema.properties[a].type: Unsupported value: \"wrong\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
            ),
        ),
        (
            json!({"spec": {"names": {"listKind": "Thing", "categories": ["A"]}, "versions": [{"name": "V1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
            of(&format!(
                "[spec.versions[0].name: Invalid value: \"V1\": {LABEL}, spec.version: Invalid value: \"V1\": {LABEL}, spec.names.listKind: Invalid value: \"Thing\": kind and listKind may not be the same, spec.names.categories[0]: Invalid value: \"A\": {LABEL}]"
            )),
        ),
        (
            json!({"spec": {"versions": []}}),
            of(
                "[spec.versions: Invalid value: []: must have exactly one version marked as storage version, status.storedVersions: Invalid value: null: must have at least one stored version]",
            ),
        ),
        (
            json!({"spec": {"preserveUnknownFields": true}}),
            of(
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            ),
        ),
        (
            schema(json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}})),
            of(
                "spec.validation.openAPIV3Schema.properties[a].default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
            ),
        ),
        (
            schema(json!({"type": "object", "$schema": "x"})),
            of(
                "spec.validation.openAPIV3Schema: Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported",
            ),
        ),
        (
            json!({"spec": {"versions": [with(json!({"subresources": {"status": {}, "scale": {"specReplicasPath": ".a", "statusReplicasPath": ".status.n"}}, "schema": {"openAPIV3Schema": {"nullable": true}}}))]}}),
            of(
                "[spec.validation.openAPIV3Schema: Invalid value: {\"nullable\":true,\"type\":\"object\"}: only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status subresource is enabled, spec.validation.openAPIV3Schema.nullable: Forbidden: nullable cannot be true at the root, spec.subresources.scale.specReplicasPath: Invalid value: \".a\": should be a json path under .spec]",
            ),
        ),
        (
            json!({"spec": {"versions": [with(json!({"selectableFields": [{"jsonPath": ".a"}, {"jsonPath": ".a"}, {"jsonPath": ".b"}, {"jsonPath": ""}], "schema": {"openAPIV3Schema": {"properties": {"a": {"type": "string"}}}}}))]}}),
            of(
                "[spec.selectableFields[1].jsonPath: Duplicate value: \".a\", spec.selectableFields[2].jsonPath: Invalid value: \".b\": is an invalid path: does not refer to a valid field, spec.selectableFields[3].jsonPath: Required value]",
            ),
        ),
        (
            json!({"spec": {"versions": [with(json!({"deprecationWarning": "x"}))]}}),
            of(
                "spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions",
            ),
        ),
        (
            schema(
                json!({"type": "object", "properties": {"l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "k", "o"],
                "items": {"type": "object", "nullable": true, "required": ["k"], "properties": {"k": {"type": "string"}}}}}}),
            ),
            of(
                "[spec.validation.openAPIV3Schema.properties[l].x-kubernetes-list-map-keys: Invalid value: [\"k\",\"k\",\"o\"]: must not contain duplicate entries, spec.validation.openAPIV3Schema.properties[l].x-kubernetes-list-map-keys: Invalid value: [\"k\",\"k\",\"o\"]: entries must all be names of item properties, spec.validation.openAPIV3Schema.properties[l].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is map]",
            ),
        ),
        (
            schema(
                json!({"type": "object", "properties": {"l": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}}}),
            ),
            of(
                "spec.validation.openAPIV3Schema.properties[l].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set",
            ),
        ),
        (
            schema(
                json!({"type": "object", "properties": {"a": {"type": "string", "x-kubernetes-map-type": "odd",
                "x-kubernetes-validations": [{"rule": " "}, {"rule": "a\nb"}, {"rule": "true", "message": "a\nb", "reason": "x", "fieldPath": ".b"}]}}}),
            ),
            of(
                "[spec.validation.openAPIV3Schema.properties[a].type: Invalid value: \"string\": must be object if x-kubernetes-map-type is specified, spec.validation.openAPIV3Schema.properties[a].x-kubernetes-map-type: Unsupported value: \"odd\": supported values: \"atomic\", \"granular\", spec.validation.openAPIV3Schema.properties[a].x-kubernetes-validations[0].rule: Required value: rule is not specified, spec.validation.openAPIV3Schema.properties[a].x-kubernetes-validations[1].message: Required value: message must be specified if rule contains line breaks, spec.validation.openAPIV3Schema.properties[a].x-kubernetes-validations[2].message: Invalid value: \"a\\nb\": must not contain line breaks, spec.validation.openAPIV3Schema.properties[a].x-kubernetes-validations[2].reason: Unsupported value: \"x\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\", spec.validation.openAPIV3Schema.properties[a].x-kubernetes-validations[2].fieldPath: Invalid value: \".b\": must be a valid path]",
            ),
        ),
        (
            json!({"spec": {"conversion": {"strategy": "Webhook"}}}),
            of(
                "[spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook, spec.conversion.conversionReviewVersions: Required value]",
            ),
        ),
    ];
    let kind = Kind {
        path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        object: json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com",
            "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [version(json!({"type": "object", "properties": {"port": {"x-kubernetes-int-or-string": true,
                "anyOf": [{"type": "integer"}, {"type": "string"}]}}}))]}}),
        becomes: json!({"metadata": {"generation": 1}, "spec": {"conversion": {"strategy": "None"},
            "names": {"singular": "thing", "listKind": "ThingList"}},
            "status": {"storedVersions": ["v1"], "acceptedNames": {"kind": "", "plural": ""}}}),
        row: Value::Null,
        refused: texts.iter().map(|(o, t)| (o.clone(), t.as_str())).collect(),
        sealed: vec![
            (
                json!({"spec": {"names": {"plural": "others"}}}),
                "CustomResourceDefinition.apiextensions.k8s.io \"things.example.com\" is invalid: spec.names.plural: Invalid value: \"others\": field is immutable",
            ),
            (
                json!({"spec": {"versions": [{"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
                "CustomResourceDefinition.apiextensions.k8s.io \"things.example.com\" is invalid: status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions",
            ),
        ],
        status: None,
    };
    let made = kind.check(&api).await;
    // The status is written alone, but with the metadata.
    let one = format!("{}/things.example.com", kind.path);
    let status = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"scope": "Cluster"}, "status": {"storedVersions": null,
        "acceptedNames": {"kind": "Thing", "plural": "things"},
        "conditions": [{"type": "Established", "status": "True"}]}});
    let written = api.patch(&format!("{one}/status"), MERGE, &status).await.ok();
    assert_eq!(written["spec"], made["spec"]);
    assert_eq!(written["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(written["metadata"]["generation"], 1);
    assert_eq!(written["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(
        api.patch(&one, MERGE, &json!({"spec": {"scope": "Cluster", "names": {"kind": "Other"}}}))
            .await
            .refused(422, "Invalid"),
        of(
            "[spec.scope: Invalid value: \"Cluster\": field is immutable, spec.names.kind: Invalid value: \"Other\": field is immutable]"
        )
    );
    assert_eq!(
        api.patch(&format!("{one}/status"), MERGE, &json!({"status": {"acceptedNames": {"plural": "X"}}}))
            .await
            .refused(422, "Invalid"),
        of(
            "status.acceptedNames.plural: Invalid value: \"X\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    );
    // Formats that nothing checks are told about once.
    let odd = schema(
        json!({"type": "object", "properties": {"a": {"type": "string", "format": "odd"}, "b": {"type": "string", "format": "date-time"}}}),
    );
    let reply = api.patch(&one, MERGE, &odd).await;
    assert_eq!(reply.warnings(), ["299 - \"unrecognized format \\\"odd\\\"\""]);
    reply.ok();
    let reply = api.patch(&one, MERGE, &json!({"metadata": {"labels": {"c": "d"}}})).await;
    assert_eq!(reply.warnings(), [""; 0]);
    reply.ok();
    let mut ours = kind.object.clone();
    ours["metadata"]["name"] = "things.a.k8s.io".into();
    ours["spec"]["group"] = "a.k8s.io".into();
    assert_eq!(
        api.post(kind.path, &ours).await.refused(422, "Invalid"),
        "CustomResourceDefinition.apiextensions.k8s.io \"things.a.k8s.io\" is invalid: metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111"
    );
}

#[tokio::test]
async fn api_services() {
    let api = Api::start().await;
    let kind = Kind {
        path: "/apis/apiregistration.k8s.io/v1/apiservices",
        object: json!({"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": {"group": "metrics.k8s.io",
            "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"namespace": "kube-system", "name": "metrics"}}}),
        becomes: json!({"spec": {"service": {"port": 443}}, "status": {}}),
        row: json!(["v1beta1.metrics.k8s.io", "kube-system/metrics", "Unknown"]),
        refused: vec![
            (
                json!({"spec": {"version": "v1"}}),
                "APIService.apiregistration.k8s.io \"v1beta1.metrics.k8s.io\" is invalid: metadata.name: Invalid value: \"v1beta1.metrics.k8s.io\": must be `spec.version+\".\"+spec.group`: \"v1.metrics.k8s.io\"",
            ),
            (
                json!({"spec": {"groupPriorityMinimum": 0, "versionPriority": 1001}}),
                "APIService.apiregistration.k8s.io \"v1beta1.metrics.k8s.io\" is invalid: [spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000, spec.versionPriority: Invalid value: 1001: must be positive and less than 1000]",
            ),
            (
                json!({"spec": {"service": null, "insecureSkipTLSVerify": true}}),
                "APIService.apiregistration.k8s.io \"v1beta1.metrics.k8s.io\" is invalid: spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ),
        ],
        sealed: vec![],
        status: Some(json!({"conditions": [{"type": "Available", "status": "False", "reason": "Gone"}]})),
    };
    kind.check(&api).await;
    // One for each served version, available at once.
    for name in ["v1.", "v1.apps", "v1.storage.k8s.io", "v1.authentication.k8s.io"] {
        let own = api.get(&format!("{}/{name}", kind.path)).await.ok();
        assert_eq!(own["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
        assert_eq!(own["status"]["conditions"][0]["type"], "Available");
        assert_eq!(own["status"]["conditions"][0]["status"], "True");
    }
    let all = names(&api.get(kind.path).await.ok());
    assert!(!all.contains(&"v1.apiregistration.k8s.io".to_owned()), "{all:?}");
}

#[tokio::test]
async fn flows() {
    let api = Api::start().await;
    const ROOT: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let levels = Kind {
        path: &format!("{ROOT}/prioritylevelconfigurations"),
        object: json!({"metadata": {"name": "l"}, "spec": {"type": "Limited",
            "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}}),
        becomes: json!({"metadata": {"generation": 1}, "spec": {"limited": {"nominalConcurrencyShares": 30,
            "lendablePercent": 0, "limitResponse": {"queuing": {"handSize": 8, "queues": 64, "queueLengthLimit": 50}}}}}),
        row: json!(["l", "Limited", 30, 64, 8, 50]),
        refused: vec![
            (
                json!({"spec": {"type": "Exempt", "limited": null}}),
                "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io \"l\" is invalid: spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
            ),
            (
                json!({"metadata": {"annotations": {"flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares": ""}}}),
                "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io \"l\" is invalid: metadata.annotations: Forbidden: annotation 'flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares' is forbidden",
            ),
            (
                json!({"spec": {"limited": {"nominalConcurrencyShares": -1, "lendablePercent": 101, "limitResponse": {"type": "Reject"}}}}),
                "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io \"l\" is invalid: [spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer, spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited, spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive]",
            ),
            (
                json!({"spec": {"limited": {"limitResponse": {"type": "Reject"}}}}),
                "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io \"l\" is invalid: spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
            ),
            (
                json!({"spec": {"limited": {"limitResponse": {"queuing": {"queues": 4, "handSize": 5}}}}}),
                "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io \"l\" is invalid: spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4)",
            ),
            (
                json!({"spec": {"limited": {"limitResponse": {"queuing": {"queues": 512, "handSize": 8}}}}}),
                "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io \"l\" is invalid: spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60",
            ),
        ],
        sealed: vec![],
        status: Some(json!({"conditions": [{"type": "x", "status": "True"}]})),
    };
    levels.check(&api).await;
    let rule = json!({"subjects": [{"kind": "User", "user": {"name": "jane"}}],
        "resourceRules": [{"verbs": ["get"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]});
    let with = |change: Value| {
        let mut rule = rule.clone();
        crate::common::kind::merge(&mut rule, &change);
        json!({"spec": {"rules": [rule]}})
    };
    let schemas = Kind {
        path: &format!("{ROOT}/flowschemas"),
        object: json!({"metadata": {"name": "s"}, "spec": {"priorityLevelConfiguration": {"name": "l"}, "rules": [rule]}}),
        becomes: json!({"metadata": {"generation": 1}, "spec": {"matchingPrecedence": 1000}}),
        row: json!(["s", "l", 1000, "<none>", "?"]),
        refused: vec![
            (
                json!({"spec": {"matchingPrecedence": 1}}),
                "FlowSchema.flowcontrol.apiserver.k8s.io \"s\" is invalid: spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ),
            (
                json!({"spec": {"priorityLevelConfiguration": {"name": ""}}}),
                "FlowSchema.flowcontrol.apiserver.k8s.io \"s\" is invalid: spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            ),
            (
                with(json!({"subjects": [{"kind": "Group", "user": {"name": "x"}}]})),
                "FlowSchema.flowcontrol.apiserver.k8s.io \"s\" is invalid: [spec.rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group', spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User']",
            ),
            (
                with(json!({"resourceRules": null})),
                "FlowSchema.flowcontrol.apiserver.k8s.io \"s\" is invalid: spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ),
            (
                with(json!({"nonResourceRules": [{"verbs": ["fly"], "nonResourceURLs": ["a"]}]})),
                "FlowSchema.flowcontrol.apiserver.k8s.io \"s\" is invalid: [spec.rules[0].nonResourceRules[0].verbs: Unsupported value: [\"fly\"]: supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\", spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"a\": must start with slash]",
            ),
        ],
        sealed: vec![],
        status: Some(json!({"conditions": [{"type": "Dangling", "status": "False"}]})),
    };
    schemas.check(&api).await;
    // Upstream's own are there, and the mandatory ones stay as they are.
    assert_eq!(names(&api.get(levels.path).await.ok()).len(), 8 + 1);
    assert_eq!(names(&api.get(schemas.path).await.ok()).len(), 11 + 1);
    let change = json!({"spec": {"limited": {"nominalConcurrencyShares": 6}}});
    let told = api.patch(&format!("{}/catch-all", levels.path), MERGE, &change).await.refused(422, "Invalid");
    assert!(told.ends_with("spec of 'catch-all' must equal the fixed value"), "{told}");
    let change = json!({"spec": {"exempt": {"lendablePercent": 10}}});
    api.patch(&format!("{}/exempt", levels.path), MERGE, &change).await.ok();
}
