//! Services. Their cluster IPs and node ports are given out by the API server, which owns the allocators.

use serde_json::{Value, json};

use super::{
    addresses, drop_status, keep_status, pod_defaults, service_spec, service_type, service_warnings,
};
use crate::catalog::Strategy;
use crate::field::ErrorList;
use crate::meta::{self, default_to, object_mut, str_at};
use crate::{names, table};

/// The strategy of services.
pub struct Service;

impl Strategy for Service {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        default_to(spec, "sessionAffinity", "None");
        default_to(spec, "type", "ClusterIP");
        if spec["sessionAffinity"] == "ClientIP" {
            let config = object_mut(spec, "sessionAffinityConfig");
            default_to(object_mut(config, "clientIP"), "timeoutSeconds", 10_800);
        } else {
            spec.remove("sessionAffinityConfig");
        }
        for p in pod_defaults::objects(spec.get_mut("ports")) {
            default_to(p, "protocol", "TCP");
            let target = p.get("targetPort");
            if target.is_none_or(|t| t.is_null() || *t == json!(0) || *t == json!("")) {
                let port = p.get("port").cloned().unwrap_or_default();
                p.insert("targetPort".into(), port);
            }
        }
        let kind = spec["type"].as_str().unwrap_or("").to_owned();
        let addressed = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|l| !l.is_empty());
        if kind == "NodePort" || kind == "LoadBalancer" || (kind == "ClusterIP" && addressed) {
            default_to(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind != "ExternalName" {
            default_to(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind != "LoadBalancer" {
            return;
        }
        default_to(spec, "allocateLoadBalancerNodePorts", true);
        if let Some(Value::Object(balancer)) = root.get_mut("status").and_then(|s| s.get_mut("loadBalancer"))
        {
            for end in pod_defaults::objects(balancer.get_mut("ingress")) {
                if end.get("ip").and_then(Value::as_str).is_some_and(|ip| !ip.is_empty()) {
                    default_to(end, "ipMode", "VIP");
                }
            }
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({"loadBalancer": {}});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        service_type::drop_dependent(new, old);
        // A client that does not name them keeps the addresses and ports that were given out.
        let same_kind = str_at(new, &["spec", "type"]) != "ExternalName"
            && str_at(old, &["spec", "type"]) != "ExternalName";
        if !same_kind {
            return;
        }
        let health = service_type::has_health_port(old) && service_type::has_health_port(new);
        let (Some(Value::Object(spec)), Some(before)) = (new.get_mut("spec"), old.get("spec")) else {
            return;
        };
        let kept = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];
        for f in kept.into_iter().chain(health.then_some("healthCheckNodePort")) {
            if let Some(v) = before.get(f) {
                default_to(spec, f, v.clone());
            }
        }
        if spec.get("type").and_then(Value::as_str) == Some("ClusterIP") {
            return;
        }
        let ports = before.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
        for p in pod_defaults::objects(spec.get_mut("ports")) {
            let same = ports.iter().find(|o| {
                o.get("port") == p.get("port")
                    && o.get("protocol") == p.get("protocol")
                    && o.get("name") == p.get("name")
            });
            if let Some(n) = same.and_then(|o| o.get("nodePort")) {
                default_to(p, "nodePort", n.clone());
            }
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        service_spec::validate(object, errors);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        service_spec::new_addresses(object, &Value::Null, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        service_spec::update(new, old, errors);
        service_spec::new_addresses(new, old, errors);
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        service_spec::status(new, old, errors);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        // 1.34 relaxed service names to RFC 1123 labels.
        names::dns1123_label(name)
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        service_warnings::of(object)
    }

    fn status_warnings(&self, new: &Value, _old: &Value) -> Vec<String> {
        addresses::load_balancer_warnings(new)
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let ip = str_at(o, &["spec", "clusterIP"]);
        vec![
            meta::name(o).into(),
            str_at(o, &["spec", "type"]).into(),
            if ip.is_empty() { "<none>".into() } else { ip.into() },
            external_ip(o).into(),
            ports(o).into(),
            table::age(o, now).into(),
            table::label_map(meta::at(o, &["spec", "selector"])).into(),
        ]
    }
}

fn texts<'a>(v: Option<&'a Value>, field: &str) -> Vec<&'a str> {
    let list = v.and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|e| if field.is_empty() { e.as_str() } else { e.get(field)?.as_str() })
        .collect()
}

fn external_ip(o: &Value) -> String {
    let external = texts(meta::at(o, &["spec", "externalIPs"]), "");
    match str_at(o, &["spec", "type"]) {
        "ExternalName" => str_at(o, &["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let ingress = meta::at(o, &["status", "loadBalancer", "ingress"]);
            let mut all = texts(ingress, "ip");
            all.extend(texts(ingress, "hostname"));
            all.extend(external);
            if all.is_empty() { "<pending>".into() } else { all.join(",") }
        }
        _ if external.is_empty() => "<none>".into(),
        _ => external.join(","),
    }
}

fn ports(o: &Value) -> String {
    let list = meta::at(o, &["spec", "ports"]).and_then(Value::as_array);
    let parts: Vec<String> = list
        .into_iter()
        .flatten()
        .map(|p| {
            let n = |k: &str| p.get(k).and_then(Value::as_i64).unwrap_or(0);
            let protocol = str_at(p, &["protocol"]);
            if n("nodePort") > 0 {
                format!("{}:{}/{protocol}", n("port"), n("nodePort"))
            } else {
                format!("{}/{protocol}", n("port"))
            }
        })
        .collect();
    if parts.is_empty() { "<none>".into() } else { parts.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(spec: Value) -> Vec<String> {
        let mut o = json!({"metadata": {"name": "s"}, "spec": spec});
        Service.default(&mut o);
        let mut e = ErrorList::new();
        Service.validate(&o, &mut e);
        e.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ports_are_checked() {
        assert!(errors(json!({"ports": [{"port": 80}]})).is_empty());
        assert_eq!(errors(json!({})), vec!["spec.ports: Required value"]);
        assert!(errors(json!({"clusterIP": "None"})).is_empty());
        assert_eq!(
            errors(json!({"ports": [{"port": 0, "targetPort": 1}]})),
            vec!["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]
        );
        assert_eq!(
            errors(json!({"ports": [{"port": 80, "nodePort": 30000}]})),
            vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]
        );
    }

    #[test]
    fn an_update_keeps_what_was_given_out() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        Service.prepare_for_update(&mut new, &old);
        assert_eq!(new["spec"]["clusterIP"], "10.0.0.1");
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30001);
    }
}
