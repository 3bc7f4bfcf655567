//! Cluster IPs of services and their families.

use serde_json::{Value, json};

use super::addresses;
use super::fields::{self, text, texts};
use crate::field::{ErrorList, Path};

/// The cluster IPs; the older field stands for them where they are not given.
pub fn cluster_ips(spec: &Value) -> Vec<&str> {
    let all = texts(spec, "clusterIPs");
    let first = text(spec, "clusterIP");
    if all.is_empty() && !first.is_empty() { vec![first] } else { all }
}

/// Whether it is to have no address.
pub fn is_headless(spec: &Value) -> bool {
    cluster_ips(spec) == ["None"]
}

/// Reasons to refuse the addresses of a service that has them, or their families.
pub fn validate(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let (ips, at) = (cluster_ips(spec), path.child("clusterIPs"));
    let (first, shown) = (text(spec, "clusterIP"), json!(ips));
    if first.is_empty() && !ips.is_empty() {
        errors.invalid(&at, shown.clone(), "must be empty when `clusterIP` is not specified");
    } else if ips.first().is_some_and(|ip| *ip != first) {
        errors.invalid(&at, shown.clone(), "first value must match `clusterIP`");
    }
    let families = texts(spec, "ipFamilies");
    for (i, family) in families.iter().enumerate() {
        let at = path.child("ipFamilies").index(i);
        if !["IPv4", "IPv6"].contains(family) {
            errors.not_supported(&at, *family, &["IPv4", "IPv6"]);
        }
        if families[..i].contains(family) {
            errors.duplicate(&at, *family);
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    fields::word(spec, "ipFamilyPolicy", &policies, path, errors);
    let before = errors.0.len();
    for (i, ip) in ips.iter().enumerate() {
        if i == 0 && *ip == "None" {
            if ips.len() > 1 {
                errors.invalid(&at, shown.clone(), "'None' must be the first and only value");
            }
            continue;
        }
        errors.invalid_all(&at.index(i), ip, addresses::readable_ip(ip));
    }
    if ips.len() > 2 {
        errors.invalid(&at, shown.clone(), "may only hold up to 2 values");
    }
    if errors.0.len() > before {
        return;
    }
    let is_v4: Vec<bool> =
        ips.iter().filter_map(|ip| addresses::parse_ip(ip)).map(|ip| ip.is_ipv4()).collect();
    if is_v4.len() > 1 && is_v4[0] == is_v4[1] {
        errors.invalid(&at, shown, "may specify no more than one IP for each IP family");
    }
    for (i, (v4, family)) in is_v4.iter().zip(&families).enumerate() {
        if ["IPv4", "IPv6"].contains(family) && *v4 != (*family == "IPv4") {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&at.index(i), ips[i], why);
        }
    }
}
