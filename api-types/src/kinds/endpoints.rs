//! Endpoints: the older list of a service's addresses.

use serde_json::Value;

use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta;
use crate::{names, table};

/// The strategy of endpoints.
pub struct Endpoints;

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

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        for (i, s) in list(object, "subsets").iter().enumerate() {
            let path = Path::new("subsets").index(i);
            if list(s, "addresses").is_empty() && list(s, "notReadyAddresses").is_empty() {
                errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
            }
            for f in ["addresses", "notReadyAddresses"] {
                for (j, a) in list(s, f).iter().enumerate() {
                    let ip = meta::str_at(a, &["ip"]);
                    if ip.parse::<std::net::IpAddr>().is_err() {
                        errors.invalid(
                            &path.child(f).index(j).child("ip"),
                            ip,
                            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                        );
                    }
                }
            }
            for (j, p) in list(s, "ports").iter().enumerate() {
                for e in names::port_number(p.get("port").and_then(Value::as_i64).unwrap_or(0)) {
                    errors.invalid(&path.child("ports").index(j).child("port"), p["port"].clone(), e);
                }
            }
        }
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::name(o).into(), addresses(o).into(), table::age(o, now).into()]
    }
}

/// At most three `ip:port`, then how many more.
fn addresses(o: &Value) -> String {
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
