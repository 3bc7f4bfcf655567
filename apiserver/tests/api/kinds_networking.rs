//! `networking.k8s.io`: defaults, refusals, what is sealed, tables.

use serde_json::json;

use crate::common::Api;
use crate::common::kind::Kind;

const ROOT: &str = "/apis/networking.k8s.io/v1";

#[tokio::test]
async fn ingresses() {
    let api = Api::start().await;
    let path = |kind: &str, path: &str, backend: serde_json::Value| json!({"spec": {"rules": [{"http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}]}});
    let service = json!({"service": {"name": "web", "port": {"number": 80}}});
    let kind = Kind {
        path: &format!("{ROOT}/namespaces/default/ingresses"),
        object: json!({"metadata": {"name": "i"}, "spec": {"ingressClassName": "nginx",
            "tls": [{"hosts": ["a.example"], "secretName": "s"}],
            "rules": [{"host": "a.example", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": service}]}}]}}),
        becomes: json!({"metadata": {"generation": 1}, "status": {"loadBalancer": {}}}),
        row: json!(["i", "nginx", "a.example", "", "80, 443"]),
        refused: vec![
            (
                json!({"spec": {"rules": null}}),
                "Ingress.networking.k8s.io \"i\" is invalid: spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
            ),
            (
                path("Prefix", "a", service.clone()),
                "Ingress.networking.k8s.io \"i\" is invalid: spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path",
            ),
            (
                path("Exact", "/a//b", service.clone()),
                "Ingress.networking.k8s.io \"i\" is invalid: spec.rules[0].http.paths[0].path: Invalid value: \"/a//b\": must not contain '//'",
            ),
            (
                path("Other", "/", service.clone()),
                "Ingress.networking.k8s.io \"i\" is invalid: spec.rules[0].http.paths[0].pathType: Unsupported value: \"Other\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
            ),
            (
                path("Exact", "/", json!({})),
                "Ingress.networking.k8s.io \"i\" is invalid: spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
            ),
            (
                path("Exact", "/", json!({"service": {"name": "web"}})),
                "Ingress.networking.k8s.io \"i\" is invalid: spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
            ),
            (
                json!({"spec": {"rules": [{"host": "10.0.0.1"}]}}),
                "Ingress.networking.k8s.io \"i\" is invalid: spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
            ),
            (
                json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "other"}}}),
                "Ingress.networking.k8s.io \"i\" is invalid: annotations.kubernetes.io/ingress.class: Invalid value: \"other\": must match `ingressClassName` when both are specified",
            ),
        ],
        sealed: vec![],
        status: Some(json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}})),
    };
    kind.check(&api).await;
    let old = json!({"metadata": {"name": "old", "annotations": {"kubernetes.io/ingress.class": "x"}},
        "spec": {"defaultBackend": service}});
    let reply = api.post(kind.path, &old).await;
    assert_eq!(
        reply.warnings(),
        [
            "299 - \"annotation \\\"kubernetes.io/ingress.class\\\" is deprecated, please use 'spec.ingressClassName' instead\""
        ]
    );
    reply.created();
}

#[tokio::test]
async fn ingress_classes() {
    let api = Api::start().await;
    let kind = Kind {
        path: &format!("{ROOT}/ingressclasses"),
        object: json!({"metadata": {"name": "nginx",
                "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}, "spec": {"controller": "k8s.io/nginx",
            "parameters": {"apiGroup": "example.com", "kind": "Config", "name": "c"}}}),
        becomes: json!({"metadata": {"generation": 1}, "spec": {"parameters": {"scope": "Cluster"}}}),
        row: json!(["nginx (default)", "k8s.io/nginx", "Config.example.com/c"]),
        refused: vec![
            (
                json!({"spec": {"controller": ""}}),
                "IngressClass.networking.k8s.io \"nginx\" is invalid: spec.controller: Required value",
            ),
            (
                json!({"spec": {"controller": "nginx"}}),
                "IngressClass.networking.k8s.io \"nginx\" is invalid: spec.controller: Invalid value: \"nginx\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
            (
                json!({"spec": {"parameters": {"scope": "Namespace"}}}),
                "IngressClass.networking.k8s.io \"nginx\" is invalid: spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ),
        ],
        sealed: vec![
            (
                json!({"spec": {"controller": "k8s.io/other"}}),
                "IngressClass.networking.k8s.io \"nginx\" is invalid: spec.controller: Invalid value: \"k8s.io/other\": field is immutable",
            ),
            (
                json!({"spec": {"controller": "other"}}),
                "IngressClass.networking.k8s.io \"nginx\" is invalid: [spec.controller: Invalid value: \"other\": field is immutable, spec.controller: Invalid value: \"other\": must be a domain-prefixed path (such as \"acme.io/foo\")]",
            ),
        ],
        status: None,
    };
    kind.check(&api).await;
}

#[tokio::test]
async fn network_policies() {
    let api = Api::start().await;
    let from = |peer: serde_json::Value| json!({"spec": {"ingress": [{"from": [peer]}]}});
    let kind = Kind {
        path: &format!("{ROOT}/namespaces/default/networkpolicies"),
        object: json!({"metadata": {"name": "p"}, "spec": {"podSelector": {"matchLabels": {"a": "b"}},
            "egress": [{"ports": [{"port": 80}]}]}}),
        becomes: json!({"metadata": {"generation": 1}, "spec": {"policyTypes": ["Ingress", "Egress"],
            "egress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]}}),
        row: json!(["p", "a=b"]),
        refused: vec![
            (
                from(json!({})),
                "NetworkPolicy.networking.k8s.io \"p\" is invalid: spec.ingress[0].from[0]: Required value: must specify a peer",
            ),
            (
                from(json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}})),
                "NetworkPolicy.networking.k8s.io \"p\" is invalid: spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
            ),
            (
                from(json!({"ipBlock": {"cidr": "10.0.0.0"}})),
                "NetworkPolicy.networking.k8s.io \"p\" is invalid: spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
            (
                from(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}})),
                "NetworkPolicy.networking.k8s.io \"p\" is invalid: spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
            ),
            (
                json!({"spec": {"egress": [{"ports": [{"port": 80, "endPort": 79}]}]}}),
                "NetworkPolicy.networking.k8s.io \"p\" is invalid: spec.egress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
            ),
            (
                json!({"spec": {"policyTypes": ["Other"]}}),
                "NetworkPolicy.networking.k8s.io \"p\" is invalid: spec.policyTypes[0]: Unsupported value: \"Other\": supported values: \"Ingress\", \"Egress\"",
            ),
        ],
        sealed: vec![],
        status: None,
    };
    kind.check(&api).await;
    let vague = json!({"metadata": {"name": "vague"}, "spec": {"ingress": [
        {"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]}});
    assert_eq!(
        api.post(kind.path, &vague).await.refused(422, "Invalid"),
        "NetworkPolicy.networking.k8s.io \"vague\" is invalid: spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length"
    );
    let long = json!({"metadata": {"name": "long"}, "spec": {"ingress": [
        {"from": [{"ipBlock": {"cidr": "2001:DB8::/64"}}]}]}});
    let reply = api.post(kind.path, &long).await;
    assert_eq!(
        reply.warnings(),
        [
            "299 - \"spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value \\\"2001:DB8::/64\\\" should be in RFC 5952 canonical format (\\\"2001:db8::/64\\\")\""
        ]
    );
    reply.created();
}
