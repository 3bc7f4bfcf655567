//! Validation of services (`pkg/apis/core/validation/validation.go`). Addresses and node ports are given out after it,
//! so that what must be there afterwards is not asked for here.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::fields::{self, below, int, label_name, list, required, set, set_text, text, texts};
use super::pod_spec::one_of;
use super::service_ips::{self, cluster_ips, is_headless};
use super::{addresses, object_meta, pod_handlers};
use crate::field::{ErrorList, Path};
use crate::{meta, names};

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const ONLY_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const NOT_EXTERNAL: &str = "may not be set for ExternalName services";
const MAX_AFFINITY_SECONDS: i64 = 86_400;

/// Whether it can be reached from outside the cluster.
fn is_exposed(spec: &Value) -> bool {
    match text(spec, "type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list(spec, "externalIPs").is_empty(),
        _ => false,
    }
}

/// Reasons to refuse a service.
pub fn validate(service: &Value, errors: &mut ErrorList) {
    let (spec, path) = (below(service, "spec"), Path::new("spec"));
    let annotations = below(below(service, "metadata"), "annotations");
    if let (Some(mode), Some(hints)) = (set_text(annotations, MODE), set_text(annotations, HINTS))
        && mode != hints
    {
        let at = Path::new("metadata").child("annotations").key(MODE);
        errors.invalid(&at, mode, format!("must match annotations[{HINTS}] when both are specified"));
    }
    let kind = text(spec, "type");
    if list(spec, "ports").is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.required(&path.child("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&path.child("clusterIPs").index(0), "None", why);
        }
        "ExternalName" => external_name(spec, &path, errors),
        _ => {}
    }
    ports(spec, &path.child("ports"), errors);
    object_meta::labels(spec.get("selector"), &path.child("selector"), errors);
    affinity(spec, &path, errors);
    if kind != "ExternalName" {
        service_ips::validate(spec, &path, errors);
    }
    for (i, ip) in texts(spec, "externalIPs").into_iter().enumerate() {
        let at = path.child("externalIPs").index(i);
        errors.invalid_all(&at, ip, addresses::readable_ip(ip));
        errors.invalid_all(&at, ip, addresses::reserved(ip));
    }
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    one_of(set_text(spec, "type"), &kinds, &path.child("type"), errors);
    node_ports(spec, kind, &path.child("ports"), errors);
    source_ranges(spec, annotations, &path, errors);
    if kind != "LoadBalancer" && set(spec, "allocateLoadBalancerNodePorts").is_some() {
        errors.forbidden(&path.child("allocateLoadBalancerNodePorts"), ONLY_BALANCERS);
    }
    if let Some(class) = set_text(spec, "loadBalancerClass") {
        let at = path.child("loadBalancerClass");
        if kind == "LoadBalancer" {
            label_name(class, &at, errors);
        } else {
            errors.forbidden(&at, ONLY_BALANCERS);
        }
    }
    traffic(spec, &path, errors);
}

fn external_name(spec: &Value, path: &Path, errors: &mut ErrorList) {
    if !cluster_ips(spec).is_empty() {
        errors.forbidden(&path.child("clusterIPs"), NOT_EXTERNAL);
    }
    if !list(spec, "ipFamilies").is_empty() {
        errors.forbidden(&path.child("ipFamilies"), NOT_EXTERNAL);
    }
    if set(spec, "ipFamilyPolicy").is_some() {
        errors.forbidden(&path.child("ipFamilyPolicy"), NOT_EXTERNAL);
    }
    // A dot at its end says that it is whole.
    let name = text(spec, "externalName");
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        errors.required(&path.child("externalName"), "");
    } else {
        errors.invalid_all(&path.child("externalName"), name, names::dns1123_subdomain(name));
    }
}

fn ports(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let ports = list(spec, "ports");
    let mut seen = HashSet::new();
    for (i, p) in ports.iter().enumerate() {
        let path = path.index(i);
        let name = text(p, "name");
        if name.is_empty() && ports.len() > 1 {
            errors.required(&path.child("name"), "");
        } else if !name.is_empty() {
            errors.invalid_all(&path.child("name"), name, names::dns1123_label(name));
            if !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        for why in names::port_number(int(p, "port")) {
            errors.invalid(&path.child("port"), int(p, "port"), why);
        }
        one_of(set_text(p, "protocol"), &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
        pod_handlers::port(below(p, "targetPort"), &path.child("targetPort"), errors);
        if let Some(protocol) = set_text(p, "appProtocol") {
            label_name(protocol, &path.child("appProtocol"), errors);
        }
    }
}

fn affinity(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let kind = text(spec, "sessionAffinity");
    one_of(Some(kind), &["ClientIP", "None"], &path.child("sessionAffinity"), errors);
    let (config, path) = (set(spec, "sessionAffinityConfig"), path.child("sessionAffinityConfig"));
    if kind == "None" && config.is_some() {
        errors.forbidden(&path, "must not be set when session affinity is None");
    }
    if kind != "ClientIP" {
        return;
    }
    let why = "when session affinity type is ClientIP";
    let Some(client) = config.map(|c| below(c, "clientIP")) else {
        errors.required(&path, why);
        return;
    };
    let path = path.child("clientIP");
    if client.is_null() {
        errors.required(&path, why);
    } else if set(client, "timeoutSeconds").is_none() {
        errors.required(&path.child("timeoutSeconds"), why);
    } else if !(1..=MAX_AFFINITY_SECONDS).contains(&int(client, "timeoutSeconds")) {
        let why = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
        errors.invalid(&path.child("timeoutSeconds"), int(client, "timeoutSeconds"), why);
    }
}

fn node_ports(spec: &Value, kind: &str, path: &Path, errors: &mut ErrorList) {
    let (mut seen, mut on_nodes) = (HashSet::new(), HashSet::new());
    for (i, p) in list(spec, "ports").iter().enumerate() {
        let (at, protocol, node) = (path.index(i), text(p, "protocol"), int(p, "nodePort"));
        if node != 0 && kind == "ClusterIP" {
            errors.forbidden(&at.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        if node != 0 && !on_nodes.insert((protocol, node)) {
            errors.duplicate(&at.child("nodePort"), node);
        }
        if !seen.insert((protocol, int(p, "port"))) {
            errors.duplicate(&at, json!({"port": int(p, "port"), "protocol": protocol}));
        }
    }
}

fn source_ranges(spec: &Value, annotations: &Value, path: &Path, errors: &mut ErrorList) {
    let balances = text(spec, "type") == "LoadBalancer";
    let ranges = texts(spec, "loadBalancerSourceRanges");
    // Upstream's own spelling.
    let (at, ranges) = match set_text(annotations, SOURCE_RANGES) {
        _ if !ranges.is_empty() => (path.child("LoadBalancerSourceRanges"), ranges),
        Some(all) => {
            let at = Path::new("metadata").child("annotations").key(SOURCE_RANGES);
            (at, all.split(',').filter(|_| !all.trim().is_empty()).collect())
        }
        None => return,
    };
    if !balances {
        errors.forbidden(&at, ONLY_BALANCERS);
    }
    let annotated = texts(spec, "loadBalancerSourceRanges").is_empty();
    for (i, range) in ranges.into_iter().map(str::trim).enumerate() {
        let at = if annotated { at.clone() } else { at.index(i) };
        let rule = if annotated { addresses::cidr } else { addresses::readable_cidr };
        errors.invalid_all(&at, range, rule(range));
    }
}

/// Reasons to refuse addresses and ranges that were not there before.
pub fn new_addresses(new: &Value, old: &Value, errors: &mut ErrorList) {
    let (spec, before, path) = (below(new, "spec"), below(old, "spec"), Path::new("spec"));
    let of = |field| (texts(spec, field), texts(before, field));
    let (ips, had) = of("externalIPs");
    addresses::new_ips(&ips, &had, &path.child("externalIPs"), errors);
    if text(spec, "type") != "ExternalName" {
        let ips = cluster_ips(spec);
        let ips: &[&str] = if is_headless(spec) { &[] } else { &ips };
        addresses::new_ips(ips, &cluster_ips(before), &path.child("clusterIPs"), errors);
    }
    let (ranges, had) = of("loadBalancerSourceRanges");
    let ranges: Vec<&str> = ranges.into_iter().map(str::trim).collect();
    addresses::new_cidrs(&ranges, &had, &path.child("LoadBalancerSourceRanges"), errors);
}

fn traffic(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let (external, at) = (text(spec, "externalTrafficPolicy"), path.child("externalTrafficPolicy"));
    if !is_exposed(spec) {
        if !external.is_empty() {
            errors.invalid(&at, external, "may only be set for externally-accessible services");
        }
    } else {
        one_of(Some(external), &["Cluster", "Local"], &at, errors);
    }
    let (health, at) = (int(spec, "healthCheckNodePort"), path.child("healthCheckNodePort"));
    if health != 0 {
        if text(spec, "type") != "LoadBalancer" || external != "Local" {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(&at, health, why);
        } else {
            for why in names::port_number(health) {
                errors.invalid(&at, health, why);
            }
        }
    }
    if text(spec, "type") != "ExternalName" {
        required(spec, "internalTrafficPolicy", path, errors);
    }
    if !text(spec, "internalTrafficPolicy").is_empty() {
        fields::word(spec, "internalTrafficPolicy", &["Cluster", "Local"], path, errors);
    }
    let near = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    fields::word(spec, "trafficDistribution", &near, path, errors);
}

/// Reasons to refuse a change.
pub fn update(new: &Value, old: &Value, errors: &mut ErrorList) {
    let (spec, before, path) = (below(new, "spec"), below(old, "spec"), Path::new("spec"));
    let balances = |s| text(s, "type") == "LoadBalancer";
    if balances(spec)
        && balances(before)
        && set(spec, "loadBalancerClass") != set(before, "loadBalancerClass")
    {
        let shown = fields::shown(spec, "loadBalancerClass");
        errors.invalid(&path.child("loadBalancerClass"), shown, "may not change once set");
    }
    let checked = |s| balances(s) && text(s, "externalTrafficPolicy") == "Local";
    let health = |s| int(s, "healthCheckNodePort");
    if checked(spec) && checked(before) && health(spec) != 0 && health(spec) != health(before) {
        errors.forbidden(&path.child("healthCheckNodePort"), "field is immutable");
    }
    let external = |s| text(s, "type") == "ExternalName";
    if external(spec) || external(before) || (is_headless(spec) && is_headless(before)) {
        return;
    }
    let (ips, was) = (cluster_ips(spec), cluster_ips(before));
    if let Some(first) = was.first()
        && ips.first() != Some(first)
    {
        errors.invalid(&path.child("clusterIPs").index(0), json!(ips), "may not change once set");
    }
    if is_headless(spec) != is_headless(before) {
        return;
    }
    let (families, was) = (texts(spec, "ipFamilies"), texts(before, "ipFamilies"));
    if let (Some(first), Some(now)) = (was.first(), families.first())
        && first != now
    {
        errors.invalid(&path.child("ipFamilies").index(0), json!(families), "may not change once set");
    }
}

/// Reasons to refuse what a load balancer is said to listen at.
pub fn status(new: &Value, old: &Value, errors: &mut ErrorList) {
    let had = addresses::of_load_balancer(old);
    let at = Path::new("status").child("loadBalancer").child("ingress");
    let ingress = meta::at(new, &["status", "loadBalancer"]).map_or(&[][..], |l| list(l, "ingress"));
    if !ingress.is_empty() && meta::str_at(new, &["spec", "type"]) != "LoadBalancer" {
        errors.forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    for (i, e) in ingress.iter().enumerate() {
        let (at, ip, host) = (at.index(i), text(e, "ip"), text(e, "hostname"));
        if !ip.is_empty() && !had.contains(&ip) {
            errors.invalid_all(&at.child("ip"), ip, addresses::ip(ip));
        }
        match set_text(e, "ipMode") {
            None if !ip.is_empty() => {
                errors.required(&at.child("ipMode"), "must be specified when `ip` is set");
            }
            Some(_) if ip.is_empty() => {
                errors.forbidden(&at.child("ipMode"), "may not be specified when `ip` is not set");
            }
            _ => fields::word(e, "ipMode", &["Proxy", "VIP"], &at, errors),
        }
        if !host.is_empty() {
            errors.invalid_all(&at.child("hostname"), host, names::dns1123_subdomain(host));
            if addresses::parse_ip(host).is_some() {
                errors.invalid(&at.child("hostname"), host, "must be a DNS name, not an IP address");
            }
        }
    }
}

#[cfg(test)]
mod tests;
