//! A service that changes its type: what the old type brought and the client has not touched goes with it.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::fields::{below, list};
use super::pod_defaults::objects;
use crate::meta::str_at;

fn kind(service: &Value) -> &str {
    str_at(service, &["spec", "type"])
}

fn has_node_ports(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

/// Whether it has a port by which its health is asked for.
pub fn has_health_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && str_at(service, &["spec", "externalTrafficPolicy"]) == "Local"
}

/// Whether it can be reached from outside of the cluster.
fn is_external(service: &Value) -> bool {
    let given = !list(below(service, "spec"), "externalIPs").is_empty();
    has_node_ports(service) || (kind(service) == "ClusterIP" && given)
}

/// Drops what depends on the old type only. Values that differ from the old ones stay and are validated.
pub fn drop_dependent(new: &mut Value, old: &Value) {
    let ports = has_node_ports(old) && !has_node_ports(new);
    let address = kind(old) != "ExternalName" && kind(new) == "ExternalName";
    let health = has_health_port(old) && !has_health_port(new);
    let external = is_external(old) && !is_external(new);
    let balancer = kind(old) == "LoadBalancer" && kind(new) != "LoadBalancer";
    let (Some(Value::Object(spec)), Some(Value::Object(before))) = (new.get_mut("spec"), old.get("spec"))
    else {
        return;
    };
    if address {
        if ["clusterIP", "clusterIPs"].iter().all(|f| spec.get(*f) == before.get(*f)) {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        for f in ["ipFamilies", "ipFamilyPolicy"] {
            drop_same(spec, before, f);
        }
    }
    if ports && node_ports(spec).is_subset(&node_ports(before)) {
        for p in objects(spec.get_mut("ports")) {
            p.remove("nodePort");
        }
    }
    if external {
        drop_same(spec, before, "externalTrafficPolicy");
    }
    if health {
        drop_same(spec, before, "healthCheckNodePort");
    }
    if balancer {
        for f in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            drop_same(spec, before, f);
        }
    }
}

fn drop_same(spec: &mut Map<String, Value>, before: &Map<String, Value>, field: &str) {
    if spec.get(field) == before.get(field) {
        spec.remove(field);
    }
}

fn node_ports(spec: &Map<String, Value>) -> HashSet<i64> {
    let ports = spec.get("ports").and_then(Value::as_array);
    ports.into_iter().flatten().filter_map(|p| p.get("nodePort")?.as_i64()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn untouched_fields_go_with_the_type() {
        let old = json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001,
            "allocateLoadBalancerNodePorts": true, "ports": [{"port": 80, "nodePort": 30000}]}});
        let mut new = old.clone();
        new["spec"]["type"] = "ClusterIP".into();
        drop_dependent(&mut new, &old);
        assert_eq!(new["spec"], json!({"type": "ClusterIP", "ports": [{"port": 80}]}));
        let mut changed = old.clone();
        changed["spec"]["type"] = "ClusterIP".into();
        changed["spec"]["ports"][0]["nodePort"] = 31000.into();
        drop_dependent(&mut changed, &old);
        assert_eq!(changed["spec"]["ports"][0]["nodePort"], 31000);
        let old = json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}});
        let mut new = old.clone();
        new["spec"]["type"] = "ExternalName".into();
        new["spec"]["ipFamilyPolicy"] = "PreferDualStack".into();
        drop_dependent(&mut new, &old);
        assert_eq!(new["spec"], json!({"type": "ExternalName", "ipFamilyPolicy": "PreferDualStack"}));
        let old = json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001}});
        let mut new = old.clone();
        new["spec"]["externalTrafficPolicy"] = "Cluster".into();
        drop_dependent(&mut new, &old);
        assert_eq!(new["spec"], json!({"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"}));
        let mut same = old.clone();
        drop_dependent(&mut same, &old);
        assert_eq!(same, old);
    }
}
