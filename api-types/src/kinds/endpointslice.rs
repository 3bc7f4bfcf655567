//! EndpointSlices: a service's addresses in pieces.

use serde_json::Value;

use super::addresses;
use super::pod_spec::one_of;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta;
use crate::table;

/// The strategy of endpoint slices.
pub struct EndpointSlice;

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLERS: [&str; 2] =
    ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
/// A slice may hold this many endpoints.
const MAX_ENDPOINTS: usize = 1000;

fn list<'a>(v: &'a Value, field: &str) -> &'a [Value] {
    v.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl Strategy for EndpointSlice {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        for p in super::pod_defaults::objects(root.get_mut("ports")) {
            meta::default_to(p, "name", "");
            meta::default_to(p, "protocol", "TCP");
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let kind = meta::str_at(object, &["addressType"]);
        one_of(Some(kind), &["FQDN", "IPv4", "IPv6"], &Path::new("addressType"), errors);
        let endpoints = list(object, "endpoints");
        if endpoints.len() > MAX_ENDPOINTS {
            errors.too_many(&Path::new("endpoints"), endpoints.len(), MAX_ENDPOINTS);
        }
        for (i, e) in endpoints.iter().enumerate() {
            let path = Path::new("endpoints").index(i).child("addresses");
            let addresses = list(e, "addresses");
            if addresses.is_empty() {
                errors.required(&path, "must contain at least 1 address");
            }
            for (j, a) in addresses.iter().enumerate() {
                let a = a.as_str().unwrap_or("");
                let fits = match kind {
                    "IPv4" => a.parse::<std::net::Ipv4Addr>().is_ok(),
                    "IPv6" => a.parse::<std::net::Ipv6Addr>().is_ok(),
                    _ => true,
                };
                if !fits {
                    let text = format!("must be an {kind} address");
                    errors.invalid(&path.index(j), a, text);
                }
            }
        }
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
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

fn shorten(all: Vec<&str>, none: &str) -> String {
    const SHOWN: usize = 3;
    match all.len() {
        0 => none.into(),
        n if n > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), n - SHOWN),
        _ => all.join(","),
    }
}
