//! Services. Their cluster IPs and node ports are given out by the API server, which owns the allocators.

use std::collections::HashSet;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::pod_spec::one_of;
use super::{addresses, drop_status, keep_status, pod_defaults, service_warnings, typed};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
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
        if kind == "NodePort" || kind == "LoadBalancer" {
            default_to(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind != "ExternalName" {
            default_to(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            default_to(spec, "allocateLoadBalancerNodePorts", true);
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({"loadBalancer": {}});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        super::service_type::drop_dependent(new, old);
        // A client that does not name them keeps the addresses and ports that were given out.
        let same_kind = str_at(new, &["spec", "type"]) != "ExternalName"
            && str_at(old, &["spec", "type"]) != "ExternalName";
        if !same_kind {
            return;
        }
        let (Some(Value::Object(spec)), Some(before)) = (new.get_mut("spec"), old.get("spec")) else {
            return;
        };
        let health = spec.get("type") == before.get("type");
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
        validate(&typed(object.get("spec")), &Path::new("spec"), errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let external = |o: &Value| str_at(o, &["spec", "type"]) == "ExternalName";
        let ip = ["spec", "clusterIP"];
        if !external(new)
            && !external(old)
            && !str_at(old, &ip).is_empty()
            && str_at(new, &ip) != str_at(old, &ip)
        {
            errors.invalid(
                &Path::new("spec").child("clusterIPs").index(0),
                json!([str_at(new, &ip)]),
                "may not change once set",
            );
        }
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

fn validate(spec: &core::ServiceSpec, path: &Path, errors: &mut ErrorList) {
    let kind = spec.type_.as_deref().unwrap_or("");
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let none = spec.ports.as_ref().is_none_or(Vec::is_empty);
    if none && !headless && kind != "ExternalName" {
        errors.required(&path.child("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let text = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&path.child("clusterIPs").index(0), "None", text);
        }
        "ExternalName" => {
            let name = spec.external_name.as_deref().unwrap_or("").trim_end_matches('.');
            if name.is_empty() {
                errors.required(&path.child("externalName"), "");
            } else {
                errors.invalid_all(&path.child("externalName"), name, names::dns1123_subdomain(name));
            }
            if spec.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
                errors.forbidden(&path.child("clusterIPs"), "may not be set when `type` is 'ExternalName'");
            }
        }
        _ => {}
    }
    one_of(
        spec.type_.as_deref(),
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        &path.child("type"),
        errors,
    );
    one_of(spec.session_affinity.as_deref(), &["ClientIP", "None"], &path.child("sessionAffinity"), errors);
    let timeout = spec
        .session_affinity_config
        .as_ref()
        .and_then(|c| c.client_ip.as_ref())
        .and_then(|c| c.timeout_seconds);
    if let Some(t) = timeout.filter(|t| !(1..=86_400).contains(t)) {
        errors.invalid(
            &path.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds"),
            t,
            "must be greater than 0 and less than 86400",
        );
    }
    for (k, v) in spec.selector.iter().flatten() {
        errors.invalid_all(&path.child("selector"), k, names::qualified_name(k));
        errors.invalid_all(&path.child("selector"), v, names::label_value(v));
    }
    if let Some(p) = spec.external_traffic_policy.as_deref() {
        one_of(Some(p), &["Cluster", "Local"], &path.child("externalTrafficPolicy"), errors);
        if kind == "ClusterIP" || kind == "ExternalName" {
            errors.invalid(
                &path.child("externalTrafficPolicy"),
                p,
                "may only be set for externally-accessible services",
            );
        }
    }
    if let Some(p) = spec.internal_traffic_policy.as_deref() {
        one_of(Some(p), &["Cluster", "Local"], &path.child("internalTrafficPolicy"), errors);
    }
    for (i, ip) in spec.external_ips.iter().flatten().enumerate() {
        if ip.parse::<std::net::IpAddr>().is_err() {
            errors.invalid(
                &path.child("externalIPs").index(i),
                ip.as_str(),
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
    }
    service_ports(spec, kind, &path.child("ports"), errors);
}

fn service_ports(spec: &core::ServiceSpec, kind: &str, path: &Path, errors: &mut ErrorList) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let (mut seen_names, mut seen_ports, mut seen_node_ports) =
        (HashSet::new(), HashSet::new(), HashSet::new());
    for (i, p) in ports.iter().enumerate() {
        let path = path.index(i);
        let name = p.name.as_deref().unwrap_or("");
        if name.is_empty() && ports.len() > 1 {
            errors.required(&path.child("name"), "");
        } else if !name.is_empty() {
            errors.invalid_all(&path.child("name"), name, names::dns1123_label(name));
            if !seen_names.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        for e in names::port_number(p.port.into()) {
            errors.invalid(&path.child("port"), p.port, e);
        }
        one_of(p.protocol.as_deref(), &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
        match &p.target_port {
            Some(IntOrString::Int(n)) => {
                for e in names::port_number((*n).into()) {
                    errors.invalid(&path.child("targetPort"), *n, e);
                }
            }
            Some(IntOrString::String(s)) => {
                errors.invalid_all(&path.child("targetPort"), s, names::port_name(s))
            }
            None => {}
        }
        let protocol = p.protocol.as_deref().unwrap_or("");
        if !seen_ports.insert((protocol, p.port)) {
            errors.duplicate(&path, json!({"port": p.port, "protocol": protocol}));
        }
        let node_port = p.node_port.unwrap_or(0);
        if node_port != 0 {
            if kind == "ClusterIP" || kind == "ExternalName" {
                errors.forbidden(&path.child("nodePort"), format!("may not be used when `type` is '{kind}'"));
            }
            if !seen_node_ports.insert((protocol, node_port)) {
                errors.duplicate(&path.child("nodePort"), json!(node_port));
            }
        }
    }
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
