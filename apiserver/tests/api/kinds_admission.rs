//! `admissionregistration.k8s.io`: stored kinds; expressions are not compiled.

use serde_json::{Value, json};

use crate::common::kind::Kind;
use crate::common::{Api, MERGE};

const ROOT: &str = "/apis/admissionregistration.k8s.io/v1";

fn rules() -> Value {
    json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}])
}

fn hook() -> Value {
    json!({"name": "a.example.com", "rules": rules(), "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": "default", "name": "s"}}})
}

/// A configuration whose only webhook differs by a merge patch.
fn with(change: Value) -> Value {
    let mut hook = hook();
    crate::common::kind::merge(&mut hook, &change);
    json!({"webhooks": [hook]})
}

#[tokio::test]
async fn webhooks() {
    let api = Api::start().await;
    for (kind, plural) in [
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    ] {
        let mutating = kind.starts_with('M');
        let texts: Vec<(Value, String)> = [
            (
                with(json!({"name": "a.b"})),
                "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
            ),
            (
                with(json!({"sideEffects": null})),
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
            ),
            (
                with(json!({"sideEffects": "Some"})),
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            ),
            (
                with(json!({"timeoutSeconds": 31})),
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ),
            (
                with(json!({"admissionReviewVersions": ["v9"]})),
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1",
            ),
            (
                with(json!({"clientConfig": {"url": "https://a"}})),
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
            (
                with(json!({"clientConfig": {"service": null, "url": "http://u@a?q"}})),
                "[webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path], webhooks[0].clientConfig.url: Invalid value: \"u\": user information is not permitted in the URL, webhooks[0].clientConfig.url: Invalid value: \"q\": query parameters are not permitted in the URL]",
            ),
            (
                with(json!({"clientConfig": {"service": null, "url": "https://a:b"}})),
                "webhooks[0].clientConfig.url: Required value: url must be a valid URL: parse \"https://a:b\": invalid port \":b\" after host; desired format: https://host[/path]",
            ),
            (
                with(json!({"clientConfig": {"service": {"path": "/a//b"}}})),
                "webhooks[0].clientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty",
            ),
            (
                with(json!({"rules": [{"operations": ["*", "CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*", "pods/log"]}]})),
                "[webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations, webhooks[0].rules[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log]",
            ),
            (
                with(json!({"matchConditions": [{"name": "", "expression": " "}]})),
                "[webhooks[0].matchConditions[0].expression: Required value, webhooks[0].matchConditions[0].name: Required value]",
            ),
        ]
        .into_iter()
        .map(|(o, t)| (o, format!("{kind}.admissionregistration.k8s.io \"h\" is invalid: {t}")))
        .collect();
        let mut becomes = json!({"failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {},
            "objectSelector": {}, "timeoutSeconds": 10});
        crate::common::kind::merge(&mut becomes, &hook());
        becomes["rules"][0]["scope"] = "*".into();
        becomes["clientConfig"]["service"]["port"] = 443.into();
        if mutating {
            becomes["reinvocationPolicy"] = "Never".into();
        }
        let test = Kind {
            path: &format!("{ROOT}/{plural}"),
            object: json!({"metadata": {"name": "h"}, "webhooks": [hook()]}),
            becomes: json!({"metadata": {"generation": 1}, "webhooks": [becomes]}),
            row: json!(["h", 1]),
            refused: texts.iter().map(|(o, t)| (o.clone(), t.as_str())).collect(),
            sealed: vec![],
            status: None,
        };
        test.check(&api).await;
    }
}

#[tokio::test]
async fn policies() {
    let api = Api::start().await;
    let validating = Kind {
        path: &format!("{ROOT}/validatingadmissionpolicies"),
        object: json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": rules()},
            "validations": [{"expression": "true"}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}}),
        becomes: json!({"metadata": {"generation": 1}, "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}}}),
        row: json!(["p", 1, "v1/ConfigMap"]),
        refused: vec![
            (
                json!({"spec": {"validations": null}}),
                "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: [spec.validations: Required value: validations or auditAnnotations must contain at least one item, spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item]",
            ),
            (
                json!({"spec": {"matchConstraints": null}}),
                "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: spec.matchConstraints: Required value",
            ),
            (
                json!({"spec": {"paramKind": {"apiVersion": "a/b/c"}}}),
                "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            ),
            (
                json!({"spec": {"variables": [{"name": "in", "expression": "1"}]}}),
                "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: spec.variables[0].name: Invalid value: \"in\": must be a valid CEL identifier",
            ),
            (
                json!({"spec": {"validations": [{"expression": "true", "message": "a\nb", "reason": "Other"}]}}),
                "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: [spec.validations[0].message: Invalid value: \"a\\nb\": must not contain line breaks, spec.validations[0].reason: Unsupported value: \"Other\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"]",
            ),
        ],
        sealed: vec![],
        status: Some(json!({"observedGeneration": 1})),
    };
    validating.check(&api).await;
    let warned = json!({"status": {"typeChecking": {"expressionWarnings": [{"fieldRef": "spec.validations[0", "warning": ""}]}}});
    assert_eq!(
        api.patch(&format!("{}/p/status", validating.path), MERGE, &warned).await.refused(422, "Invalid"),
        "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: [status.typeChecking.expressionWarnings[0].warning: Required value, status.typeChecking.expressionWarnings[0].fieldRef: Invalid value: \"spec.validations[0\": invalid JSONPath: unterminated array]"
    );
    let mutating = Kind {
        path: &format!("{ROOT}/mutatingadmissionpolicies"),
        object: json!({"metadata": {"name": "m"}, "spec": {"matchConstraints": {"resourceRules": rules()},
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]}}),
        becomes: json!({"spec": {"failurePolicy": "Fail"}}),
        row: json!(["m", 1, "<unset>"]),
        refused: vec![
            (
                json!({"spec": {"mutations": [{"patchType": "Other"}]}}),
                "MutatingAdmissionPolicy.admissionregistration.k8s.io \"m\" is invalid: spec.mutations[0].patchType: Unsupported value: \"Other\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
            ),
            (
                json!({"spec": {"matchConstraints": {"resourceRules": [{"operations": ["CREATE", "DELETE"],
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}}}),
                "MutatingAdmissionPolicy.admissionregistration.k8s.io \"m\" is invalid: spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
            ),
            (
                json!({"spec": {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": " "},
                    "applyConfiguration": {"expression": "Object{}"}}]}}),
                "MutatingAdmissionPolicy.admissionregistration.k8s.io \"m\" is invalid: [spec.mutations[0].jsonPatch.expression: Required value, spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch]",
            ),
            (
                json!({"spec": {"reinvocationPolicy": null}}),
                "MutatingAdmissionPolicy.admissionregistration.k8s.io \"m\" is invalid: spec.reinvocationPolicy: Required value",
            ),
        ],
        sealed: vec![],
        status: None,
    };
    mutating.check(&api).await;
}

#[tokio::test]
async fn bindings() {
    let api = Api::start().await;
    let param = json!({"name": "c", "namespace": "default", "parameterNotFoundAction": "Deny"});
    let validating = Kind {
        path: &format!("{ROOT}/validatingadmissionpolicybindings"),
        object: json!({"metadata": {"name": "b"},
            "spec": {"policyName": "p", "validationActions": ["Deny"], "paramRef": param}}),
        becomes: json!({"metadata": {"generation": 1}}),
        row: json!(["b", "p", "default/c"]),
        refused: vec![
            (
                json!({"spec": {"validationActions": ["Deny", "Warn"]}}),
                "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"b\" is invalid: spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
            ),
            (
                json!({"spec": {"validationActions": null, "policyName": ""}}),
                "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"b\" is invalid: [spec.policyName: Required value, spec.validationActions: Required value: at least one validation action is required]",
            ),
            (
                json!({"spec": {"paramRef": {"selector": {}, "parameterNotFoundAction": null}}}),
                "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"b\" is invalid: [spec.paramRef.name: Forbidden: name and selector are mutually exclusive, spec.paramRef.selector: Forbidden: name and selector are mutually exclusive, spec.paramRef.parameterNotFoundAction: Required value]",
            ),
        ],
        sealed: vec![],
        status: None,
    };
    validating.check(&api).await;
    let mutating = Kind {
        path: &format!("{ROOT}/mutatingadmissionpolicybindings"),
        object: json!({"metadata": {"name": "b"}, "spec": {"policyName": "p"}}),
        becomes: json!({"metadata": {"generation": 1}}),
        row: json!(["b", "p", "<unset>"]),
        refused: vec![
            (
                json!({"spec": {"matchResources": {"resourceRules": [{"operations": ["DELETE"], "apiGroups": [""],
                "apiVersions": ["v1"], "resources": ["pods"]}]}}}),
                "MutatingAdmissionPolicyBinding.admissionregistration.k8s.io \"b\" is invalid: spec.matchResources.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
            ),
            (
                json!({"spec": {"policyName": "P"}}),
                "MutatingAdmissionPolicyBinding.admissionregistration.k8s.io \"b\" is invalid: spec.policyName: Invalid value: \"P\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
        ],
        sealed: vec![],
        status: None,
    };
    mutating.check(&api).await;
}
