//! EndpointSlices: a service's addresses in pieces.

use std::collections::HashSet;

use serde_json::Value;

use super::fields::{below, list};
use super::pod_spec::one_of;
use super::{addresses, object_meta};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, names, table};

/// The strategy of endpoint slices.
pub struct EndpointSlice;

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLERS: [&str; 2] =
    ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
/// A slice may hold this many endpoints.
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_TOPOLOGY: usize = 16;
const MAX_HINTS: usize = 8;

impl Strategy for EndpointSlice {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        for p in super::pod_defaults::objects(root.get_mut("ports")) {
            meta::default_to(p, "name", "");
            meta::default_to(p, "protocol", "TCP");
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (kind, path) = (meta::str_at(object, &["addressType"]), Path::new("addressType"));
        if kind.is_empty() {
            errors.required(&path, "");
        } else {
            one_of(Some(kind), &["FQDN", "IPv4", "IPv6"], &path, errors);
        }
        ports(list(object, "ports"), &Path::new("ports"), errors);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        endpoints(object, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        // What is there already may be from a time when more was accepted.
        if list(new, "endpoints") != list(old, "endpoints") {
            endpoints(new, errors);
        }
        errors.immutable(&Path::new("addressType"), new.get("addressType"), old.get("addressType"));
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut all = Vec::new();
        if old.is_none() && meta::str_at(object, &["addressType"]) == "FQDN" {
            all.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        // The controllers' are in order.
        if CONTROLLERS.contains(&meta::str_at(object, &["metadata", "labels", MANAGED_BY])) {
            return all;
        }
        for (i, e) in list(object, "endpoints").iter().enumerate() {
            for (j, a) in list(e, "addresses").iter().enumerate() {
                let path = Path::new("endpoints").index(i).child("addresses").index(j);
                all.extend(addresses::ip_warnings(&path, a.as_str().unwrap_or("")));
            }
        }
        all
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let ports = list(o, "ports");
        let ports: Vec<String> = ports
            .iter()
            .map(|p| p.get("port").and_then(Value::as_i64).map_or("*".into(), |n| n.to_string()))
            .collect();
        let addresses: Vec<&str> = list(o, "endpoints")
            .iter()
            .flat_map(|e| list(e, "addresses"))
            .filter_map(Value::as_str)
            .collect();
        vec![
            meta::name(o).into(),
            meta::str_at(o, &["addressType"]).into(),
            shorten(ports.iter().map(String::as_str).collect(), "<unset>").into(),
            shorten(addresses, "<unset>").into(),
            table::age(o, now).into(),
        ]
    }
}

fn text_of<'a>(v: &'a Value, field: &str) -> Option<&'a str> {
    v.get(field).and_then(Value::as_str)
}

fn endpoints(object: &Value, errors: &mut ErrorList) {
    let kind = meta::str_at(object, &["addressType"]);
    let (all, path) = (list(object, "endpoints"), Path::new("endpoints"));
    if all.len() > MAX_ENDPOINTS {
        return errors.too_many(&path, all.len(), MAX_ENDPOINTS);
    }
    all.iter().enumerate().for_each(|(i, e)| endpoint(e, kind, &path.index(i), errors));
}

fn endpoint(e: &Value, kind: &str, path: &Path, errors: &mut ErrorList) {
    let (all, at) = (list(e, "addresses"), path.child("addresses"));
    if all.is_empty() {
        errors.required(&at, "must contain at least 1 address");
    } else if all.len() > MAX_ADDRESSES {
        errors.too_many(&at, all.len(), MAX_ADDRESSES);
    }
    for (i, a) in all.iter().enumerate() {
        address(a.as_str().unwrap_or(""), kind, &at, &at.index(i), errors);
    }
    if let Some(node) = text_of(e, "nodeName") {
        errors.invalid_all(&path.child("nodeName"), node, names::dns1123_subdomain(node));
    }
    let (topology, at) = (e.get("deprecatedTopology"), path.child("deprecatedTopology"));
    let count = topology.and_then(Value::as_object).map_or(0, serde_json::Map::len);
    if count > MAX_TOPOLOGY {
        errors.too_many(&at, count, MAX_TOPOLOGY);
    }
    object_meta::labels(topology, &at, errors);
    if let Some(host) = text_of(e, "hostname") {
        errors.invalid_all(&path.child("hostname"), host, names::dns1123_label(host));
    }
    let (hints, at) = (below(e, "hints"), path.child("hints"));
    if hint(list(hints, "forZones"), names::label_value, &at.child("forZones"), errors) {
        hint(list(hints, "forNodes"), names::dns1123_subdomain, &at.child("forNodes"), errors);
    }
}

fn address(a: &str, kind: &str, list: &Path, path: &Path, errors: &mut ErrorList) {
    if kind == "FQDN" {
        return domain(a, path, errors);
    }
    let is_v4 = match kind {
        "IPv4" => true,
        "IPv6" => false,
        _ => return,
    };
    let why = if is_v4 { addresses::ip(a) } else { addresses::canonical_ip(a) };
    if !why.is_empty() {
        return errors.invalid_all(path, a, why);
    }
    if addresses::parse_ip(a).is_some_and(|ip| ip.is_ipv4() != is_v4) {
        // Upstream names the list, not the element.
        errors.invalid(list, a, format!("must be an {kind} address"));
    }
    errors.invalid_all(path, a, addresses::reserved(a));
}

/// A name of a host of at least two parts; a dot may end it.
fn domain(name: &str, path: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let why = names::dns1123_subdomain(name);
    if !why.is_empty() {
        return errors.invalid(path, name, why.join(","));
    }
    if !name.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        return errors.invalid(path, name, why);
    }
    for label in name.split('.') {
        let why = names::dns1123_label(label);
        if !why.is_empty() {
            errors.invalid(path, label, why.join(","));
        }
    }
}

/// Whether the hints were few enough to be looked at.
fn hint(all: &[Value], rule: fn(&str) -> Vec<String>, path: &Path, errors: &mut ErrorList) -> bool {
    if all.len() > MAX_HINTS {
        errors.too_many(path, all.len(), MAX_HINTS);
        return false;
    }
    let mut seen = HashSet::new();
    for (i, h) in all.iter().enumerate() {
        let (name, at) = (meta::str_at(h, &["name"]), path.index(i).child("name"));
        if !seen.insert(name) {
            errors.duplicate(&at, name);
        }
        errors.invalid_all(&at, name, rule(name));
    }
    true
}

fn ports(all: &[Value], path: &Path, errors: &mut ErrorList) {
    if all.len() > MAX_PORTS {
        return errors.too_many(path, all.len(), MAX_PORTS);
    }
    let mut seen = HashSet::new();
    for (i, p) in all.iter().enumerate() {
        let path = path.index(i);
        let (name, at) = (meta::str_at(p, &["name"]), path.child("name"));
        if !name.is_empty() {
            errors.invalid_all(&at, name, names::dns1123_label(name));
        }
        if !seen.insert(name) {
            errors.duplicate(&at, name);
        }
        let protocol = p.get("protocol").and_then(Value::as_str);
        match protocol {
            None => errors.required(&path.child("protocol"), ""),
            some => one_of(some, &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors),
        }
        if let Some(protocol) = p.get("appProtocol").and_then(Value::as_str) {
            errors.invalid_all(&path.child("appProtocol"), protocol, names::qualified_name(protocol));
        }
    }
}

fn shorten(all: Vec<&str>, none: &str) -> String {
    const SHOWN: usize = 3;
    match all.len() {
        0 => none.into(),
        n if n > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), n - SHOWN),
        _ => all.join(","),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DOMAIN: &str = "should be a domain with at least two segments separated by dots";
    const LABEL: &str = "a lowercase RFC 1123 label must consist of";

    #[test]
    fn endpoints_and_ports() {
        let many = |n: usize| (0..n).map(|i| json!({"name": format!("n{i}")})).collect::<Vec<_>>();
        let topology: Value = (0..17).map(|i| (format!("k{i}"), json!("v"))).collect();
        for (kind, e, want) in [
            ("IPv4", json!({"addresses": ["10.0.0.1"], "hostname": "a", "nodeName": "n.b"}), vec![]),
            (
                "IPv4",
                json!({"addresses": ["010.0.0.1"]}),
                vec!["endpoints[0].addresses[0]: Invalid value: \"010.0.0.1\": must not have leading 0s"],
            ),
            (
                "IPv6",
                json!({"addresses": ["2001:DB8::1"]}),
                vec![
                    "endpoints[0].addresses[0]: Invalid value: \"2001:DB8::1\": must be in canonical form (\"2001:db8::1\")",
                ],
            ),
            ("IPv6", json!({"addresses": ["2001:db8::1"], "deprecatedTopology": {"a/b": "c"}}), vec![]),
            ("FQDN", json!({"addresses": ["a.b."]}), vec![]),
            ("", json!({"addresses": ["x"]}), vec!["addressType: Required value"]),
            ("X", json!({"addresses": ["x"]}), vec!["addressType: Unsupported value: \"X\""]),
            (
                "IPv4",
                json!({}),
                vec!["endpoints[0].addresses: Required value: must contain at least 1 address"],
            ),
            (
                "IPv4",
                json!({"addresses": vec!["10.0.0.1"; 101]}),
                vec!["endpoints[0].addresses: Too many: 101: must have at most 100 items"],
            ),
            (
                "IPv4",
                json!({"addresses": ["::1", "x", "169.254.0.1", "0.0.0.0"]}),
                vec![
                    "endpoints[0].addresses: Invalid value: \"::1\": must be an IPv4 address",
                    "endpoints[0].addresses[1]: Invalid value: \"x\": must be a valid IP address",
                    "endpoints[0].addresses[2]: Invalid value: \"169.254.0.1\": may not be in the link-local range",
                    "endpoints[0].addresses[3]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
                ],
            ),
            (
                "FQDN",
                json!({"addresses": ["a", "", "A.b"]}),
                vec![
                    &*format!("endpoints[0].addresses[0]: Invalid value: \"a\": {DOMAIN}"),
                    "endpoints[0].addresses[1]: Required value",
                    "endpoints[0].addresses[2]: Invalid value: \"A.b\": a lowercase RFC 1123 subdomain",
                ],
            ),
            (
                "IPv4",
                json!({"addresses": ["10.0.0.1"], "hostname": "A", "nodeName": "A", "deprecatedTopology": topology}),
                vec![
                    "endpoints[0].nodeName: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
                    "endpoints[0].deprecatedTopology: Too many: 17: must have at most 16 items",
                    &*format!("endpoints[0].hostname: Invalid value: \"A\": {LABEL}"),
                ],
            ),
            (
                "IPv4",
                json!({"addresses": ["10.0.0.1"], "hints": {"forZones": many(9), "forNodes": [{"name": "a"}, {"name": "a"}]}}),
                vec!["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"],
            ),
            (
                "IPv4",
                json!({"addresses": ["10.0.0.1"], "hints": {"forNodes": [{"name": "a"}, {"name": "a"}]}}),
                vec!["endpoints[0].hints.forNodes[1].name: Duplicate value: \"a\""],
            ),
        ] {
            check(&json!({"addressType": kind, "endpoints": [e]}), &want);
        }
        for (ports, want) in [
            (json!([{"name": "a", "port": 80}, {}]), vec![]),
            (json!([{}, {}]), vec!["ports[1].name: Duplicate value: \"\""]),
            (
                json!([{"name": "A_", "protocol": "X", "appProtocol": "a b"}]),
                vec![
                    &*format!("ports[0].name: Invalid value: \"A_\": {LABEL}"),
                    "ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                    "ports[0].appProtocol: Invalid value: \"a b\": name part must consist of",
                ],
            ),
        ] {
            check(&json!({"addressType": "IPv4", "ports": ports}), &want);
        }
        let all = vec![json!({}); MAX_ENDPOINTS + 1];
        check(
            &json!({"addressType": "IPv4", "endpoints": all}),
            &["endpoints: Too many: 1001: must have at most 1000 items"],
        );
    }

    fn check(slice: &Value, want: &[&str]) {
        let (mut o, mut e) = (slice.clone(), ErrorList::new());
        EndpointSlice.default(&mut o);
        EndpointSlice.validate(&o, &mut e);
        EndpointSlice.validate_create(&o, &mut e);
        let got: Vec<String> = e.0.iter().map(ToString::to_string).collect();
        let fits = got.len() == want.len() && got.iter().zip(want).all(|(g, w)| g.starts_with(w));
        assert!(fits, "{slice}: {got:#?}");
    }
}
