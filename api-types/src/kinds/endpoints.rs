//! Endpoints: the older list of a service's addresses.

use serde_json::Value;

use super::addresses;
use super::pod_spec::one_of;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta;
use crate::{names, table};

/// The strategy of endpoints.
pub struct Endpoints;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpoint-controller";

fn list<'a>(v: &'a Value, field: &str) -> &'a [Value] {
    v.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl Strategy for Endpoints {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        for subset in super::pod_defaults::objects(root.get_mut("subsets")) {
            for p in super::pod_defaults::objects(subset.get_mut("ports")) {
                meta::default_to(p, "protocol", "TCP");
            }
        }
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        subsets(object, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        // What is there already may be from a time when more was accepted.
        if list(new, "subsets") != list(old, "subsets") {
            subsets(new, errors);
        }
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        // The controller's are in order.
        if meta::str_at(object, &["metadata", "labels", MANAGED_BY]) == CONTROLLER {
            return Vec::new();
        }
        let mut all = Vec::new();
        for (i, s) in list(object, "subsets").iter().enumerate() {
            for f in ["addresses", "notReadyAddresses"] {
                for (j, a) in list(s, f).iter().enumerate() {
                    let path = Path::new("subsets").index(i).child(f).index(j).child("ip");
                    all.extend(addresses::ip_warnings(&path, meta::str_at(a, &["ip"])));
                }
            }
        }
        all
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::name(o).into(), shown(o).into(), table::age(o, now).into()]
    }
}

fn subsets(object: &Value, errors: &mut ErrorList) {
    for (i, s) in list(object, "subsets").iter().enumerate() {
        let path = Path::new("subsets").index(i);
        if list(s, "addresses").is_empty() && list(s, "notReadyAddresses").is_empty() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for f in ["addresses", "notReadyAddresses"] {
            for (j, a) in list(s, f).iter().enumerate() {
                address(a, &path.child(f).index(j), errors);
            }
        }
        let ports = list(s, "ports");
        for (j, p) in ports.iter().enumerate() {
            port(p, ports.len() > 1, &path.child("ports").index(j), errors);
        }
    }
}

fn address(a: &Value, path: &Path, errors: &mut ErrorList) {
    let (ip, at) = (meta::str_at(a, &["ip"]), path.child("ip"));
    errors.invalid_all(&at, ip, addresses::ip(ip));
    let host = meta::str_at(a, &["hostname"]);
    if !host.is_empty() {
        errors.invalid_all(&path.child("hostname"), host, names::dns1123_label(host));
    }
    if let Some(node) = a.get("nodeName").and_then(Value::as_str) {
        errors.invalid_all(&path.child("nodeName"), node, names::dns1123_subdomain(node));
    }
    if addresses::parse_ip(ip).is_some() {
        errors.invalid_all(&at, ip, addresses::reserved(ip));
    } else {
        // Upstream looks at it twice, with two texts.
        errors.invalid(&at, ip, "must be a valid IP address");
    }
}

fn port(p: &Value, named: bool, path: &Path, errors: &mut ErrorList) {
    let name = meta::str_at(p, &["name"]);
    if named && name.is_empty() {
        errors.required(&path.child("name"), "");
    } else if !name.is_empty() {
        errors.invalid_all(&path.child("name"), name, names::dns1123_label(name));
    }
    let number = p.get("port").and_then(Value::as_i64).unwrap_or(0);
    for e in names::port_number(number) {
        errors.invalid(&path.child("port"), number, e);
    }
    one_of(
        p.get("protocol").and_then(Value::as_str),
        &["SCTP", "TCP", "UDP"],
        &path.child("protocol"),
        errors,
    );
    if let Some(protocol) = p.get("appProtocol").and_then(Value::as_str) {
        errors.invalid_all(&path.child("appProtocol"), protocol, names::qualified_name(protocol));
    }
}

/// At most three `ip:port`, then how many more.
fn shown(o: &Value) -> String {
    const SHOWN: usize = 3;
    let mut all = Vec::new();
    for s in list(o, "subsets") {
        let ports = list(s, "ports");
        for a in list(s, "addresses") {
            let ip = meta::str_at(a, &["ip"]);
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            for p in ports {
                all.push(format!("{ip}:{}", p.get("port").and_then(Value::as_i64).unwrap_or(0)));
            }
        }
    }
    match all.len() {
        0 => "<none>".into(),
        n if n > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), n - SHOWN),
        _ => all.join(","),
    }
}
