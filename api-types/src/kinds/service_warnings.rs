//! What the author of a service should know although it is accepted (`pkg/api/service/warnings.go`).

use serde_json::Value;

use super::addresses::{cidr_warnings, ip_warnings};
use super::fields::{below, list, text, texts};
use crate::field::Path;
use crate::meta;

const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

/// What to say of a service.
pub fn of(service: &Value) -> Vec<String> {
    let (spec, path) = (below(service, "spec"), Path::new("spec"));
    let kind = text(spec, "type");
    let headless = kind == "ClusterIP" && text(spec, "clusterIP") == "None";
    let external = kind == "ExternalName";
    let mut all = Vec::new();
    if meta::at(service, &["metadata", "annotations", TOPOLOGY_HINTS]).is_some() {
        all.push(format!("annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    let addresses = |field: &str| -> Vec<String> {
        let ips = texts(spec, field).into_iter().enumerate();
        ips.flat_map(|(i, ip)| ip_warnings(&path.child(field).index(i), ip)).collect()
    };
    if text(spec, "clusterIP") != "None" {
        all.extend(addresses("clusterIPs"));
    }
    let has_external_ips = !list(spec, "externalIPs").is_empty();
    if headless {
        if !text(spec, "loadBalancerIP").is_empty() {
            all.push("spec.loadBalancerIP is ignored for headless services".into());
        }
        if has_external_ips {
            all.push("spec.externalIPs is ignored for headless services".into());
        }
        if text(spec, "sessionAffinity") != "None" {
            all.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    all.extend(addresses("externalIPs"));
    if has_external_ips && !headless && !external {
        all.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    all.extend(ip_warnings(&path.child("loadBalancerIP"), text(spec, "loadBalancerIP")));
    for (i, range) in texts(spec, "loadBalancerSourceRanges").into_iter().enumerate() {
        all.extend(cidr_warnings(&path.child("loadBalancerSourceRanges").index(i), range));
    }
    if external && has_external_ips {
        all.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !external && !text(spec, "externalName").is_empty() {
        all.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if text(spec, "trafficDistribution") == "PreferClose" {
        all.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_service_is_told() {
        let external_ips = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
        for (spec, want) in [
            (
                json!({"type": "ClusterIP", "sessionAffinity": "None", "clusterIP": "None", "clusterIPs": ["None"]}),
                vec![],
            ),
            (
                json!({"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "ClientIP",
                    "externalIPs": ["1.1.1.1"], "loadBalancerIP": "1.1.1.1"}),
                vec![
                    "spec.loadBalancerIP is ignored for headless services",
                    "spec.externalIPs is ignored for headless services",
                    "spec.SessionAffinity is ignored for headless services",
                ],
            ),
            (json!({"type": "ClusterIP", "externalIPs": ["1.1.1.1"]}), vec![external_ips]),
            (
                json!({"type": "LoadBalancer", "clusterIP": "10.0.0.01", "clusterIPs": ["10.0.0.01"],
                    "loadBalancerIP": "2001:db8:0::1", "loadBalancerSourceRanges": ["10.0.0.1/8"]}),
                vec![
                    "spec.clusterIPs[0]: non-standard IP address \"10.0.0.01\" is invalid: use \"10.0.0.1\"",
                    "spec.loadBalancerIP: IPv6 address \"2001:db8:0::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
                    "spec.loadBalancerSourceRanges[0]: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)",
                ],
            ),
            (
                json!({"type": "ExternalName", "externalName": "x", "externalIPs": ["1.1.1.1"]}),
                vec!["spec.externalIPs is ignored when spec.type is \"ExternalName\""],
            ),
            (
                json!({"type": "ClusterIP", "externalName": "x", "trafficDistribution": "PreferClose"}),
                vec![
                    "spec.externalName is ignored when spec.type is not \"ExternalName\"",
                    "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
                ],
            ),
        ] {
            assert_eq!(of(&json!({"spec": spec})), want, "{spec}");
        }
        let annotated =
            json!({"metadata": {"annotations": {TOPOLOGY_HINTS: "auto"}}, "spec": {"clusterIP": ""}});
        assert_eq!(
            of(&annotated),
            [format!("annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead")]
        );
    }
}
