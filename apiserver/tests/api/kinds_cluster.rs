//! What a cluster is made of: nodes, services and where services end.

use serde_json::{Value, json};

use crate::common::kind::Kind;
use crate::common::{Api, MERGE};

const SET_ONCE: &str = "node updates may not change podCIDR except from \"\" to valid";

#[tokio::test]
async fn nodes() {
    let api = Api::start().await;
    let taint = |effect: &str| json!({"key": "a", "effect": effect});
    let ranges = format!("Node \"n\" is invalid: spec.podCIDRs: Forbidden: {SET_ONCE}");
    let kind = Kind {
        path: "/api/v1/nodes",
        object: json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24", "providerID": "p"}}),
        becomes: json!({"spec": {"podCIDRs": ["10.0.0.0/24"]}}),
        row: Value::Null,
        refused: vec![
            (
                json!({"spec": {"taints": [{"key": "a"}]}}),
                "Node \"n\" is invalid: metadata.taints[0].effect: Required value",
            ),
            (
                json!({"spec": {"taints": [taint("NoExecute"), taint("NoExecute")]}}),
                "Node \"n\" is invalid: metadata.taints[1]: Duplicate value: {\"effect\":\"NoExecute\",\"key\":\"a\"}: taints must be unique by key and effect pair",
            ),
            (
                json!({"spec": {"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}}),
                "Node \"n\" is invalid: spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR for each IP family",
            ),
        ],
        sealed: vec![
            (json!({"spec": {"podCIDR": "10.0.1.0/24"}}), &ranges),
            (json!({"spec": {"podCIDR": null, "podCIDRs": null}}), &ranges),
            (
                json!({"spec": {"providerID": "q"}}),
                "Node \"n\" is invalid: spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
            ),
            (
                json!({"spec": {"externalID": "e"}}),
                "Node \"n\" is invalid: spec.externalID: Forbidden: may not be updated",
            ),
        ],
        status: Some(
            json!({"capacity": {"cpu": "2", "pods": "110"}, "addresses": [{"type": "InternalIP", "address": "10.1.0.1"}]}),
        ),
    };
    kind.check(&api).await;
    for (status, message) in [
        (
            json!({"capacity": {"cpu": "-1"}}),
            "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            json!({"addresses": [{"type": "a", "address": "b"}, {"type": "a", "address": "b"}]}),
            "status.addresses[1]: Duplicate value: {\"address\":\"b\",\"type\":\"a\"}",
        ),
    ] {
        let told = api.patch("/api/v1/nodes/n/status", MERGE, &json!({"status": status})).await;
        assert_eq!(told.refused(422, "Invalid"), format!("Node \"n\" is invalid: {message}"));
    }
}

#[tokio::test]
async fn endpoint_slices() {
    let api = Api::start().await;
    let kind = Kind {
        path: "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        object: json!({"metadata": {"name": "e"}, "addressType": "IPv4", "ports": [{"port": 80}],
            "endpoints": [{"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "z"}]}}]}),
        becomes: json!({"ports": [{"name": "", "protocol": "TCP", "port": 80}]}),
        row: json!(["e", "IPv4", "80", "10.0.0.1"]),
        refused: vec![
            (
                json!({"addressType": ""}),
                "EndpointSlice.discovery.k8s.io \"e\" is invalid: addressType: Required value",
            ),
            (
                json!({"endpoints": [{"addresses": ["2001:db8::1"]}]}),
                "EndpointSlice.discovery.k8s.io \"e\" is invalid: endpoints[0].addresses: Invalid value: \"2001:db8::1\": must be an IPv4 address",
            ),
            (
                json!({"ports": [{"name": "a"}, {"name": "a"}]}),
                "EndpointSlice.discovery.k8s.io \"e\" is invalid: ports[1].name: Duplicate value: \"a\"",
            ),
        ],
        sealed: vec![(
            json!({"addressType": "FQDN", "endpoints": []}),
            "EndpointSlice.discovery.k8s.io \"e\" is invalid: addressType: Invalid value: \"FQDN\": field is immutable",
        )],
        status: None,
    };
    kind.check(&api).await;
}

#[tokio::test]
async fn services() {
    let api = Api::start().await;
    let kind = Kind {
        path: "/api/v1/namespaces/default/services",
        object: json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "loadBalancerClass": "a.b/c",
            "externalTrafficPolicy": "Local", "ports": [{"port": 80}]}}),
        becomes: json!({"spec": {"internalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true}}),
        row: Value::Null,
        refused: vec![
            (
                json!({"spec": {"type": "ClusterIP"}}),
                "Service \"s\" is invalid: [spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer', spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services]",
            ),
            (
                json!({"spec": {"trafficDistribution": "Far"}}),
                "Service \"s\" is invalid: spec.trafficDistribution: Unsupported value: \"Far\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\"",
            ),
            (
                json!({"spec": {"loadBalancerSourceRanges": ["10.0.0.0"]}}),
                "Service \"s\" is invalid: spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
        ],
        sealed: vec![(
            json!({"spec": {"loadBalancerClass": "d.e/f"}}),
            "Service \"s\" is invalid: spec.loadBalancerClass: Invalid value: \"d.e/f\": may not change once set",
        )],
        status: Some(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}})),
    };
    kind.check(&api).await;
    let one = "/api/v1/namespaces/default/services/s";
    // The port for its health goes when nothing asks there.
    let global = json!({"spec": {"externalTrafficPolicy": "Cluster"}});
    let global = api.patch(one, MERGE, &global).await.ok();
    assert!(global["spec"].get("healthCheckNodePort").is_none(), "{global}");
}
