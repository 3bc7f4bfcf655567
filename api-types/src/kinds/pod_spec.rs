//! Validation of a pod's spec, also inside templates (`pkg/apis/core/validation/validation.go`).
//!
//! What belongs together is in files of its own: volumes, containers, resources, security, affinity, tolerations.

use serde_json::Value;

use super::fields::{below, flag, label_name, list, set, set_text, text, texts};
use super::pod_containers::{self, Known};
use super::{
    addresses, object_meta, pod_affinity, pod_resources, pod_security, pod_tolerations, pod_volumes,
};
use crate::field::{ErrorList, Path};
use crate::names;

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCH_PATHS: usize = 32;
const MAX_SEARCH_LIST: usize = 2048;
const MAX_HOSTNAME: usize = 64;

/// Reasons to refuse a spec.
pub fn validate(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let volumes = pod_volumes::validate(list(spec, "volumes"), &path.child("volumes"), errors);
    let claims = pod_resources::claims(spec, path, errors);
    let known = Known { volumes: &volumes, claims: &claims };
    pod_containers::validate(spec, known, path, errors);
    pod_resources::of_pod(spec, path, errors);
    pod_containers::ports_on_the_host(spec, path, errors);
    let restarts = ["Always", "OnFailure", "Never"];
    one_of(set_text(spec, "restartPolicy"), &restarts, &path.child("restartPolicy"), errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(set_text(spec, "dnsPolicy"), &dns, &path.child("dnsPolicy"), errors);
    object_meta::labels(spec.get("nodeSelector"), &path.child("nodeSelector"), errors);
    pod_security::of_pod(spec, path, errors);
    pod_affinity::validate(spec, path, errors);
    dns_config(spec, &path.child("dnsConfig"), errors);
    for (i, gate) in list(spec, "readinessGates").iter().enumerate() {
        let at = path.child("readinessGates").index(i).child("conditionType");
        label_name(text(gate, "conditionType"), &at, errors);
    }
    scheduling_gates(spec, &path.child("schedulingGates"), errors);
    pod_affinity::spread(spec, path, errors);
    pod_security::users(spec, path, errors);
    host_names(spec, path, errors);
    if let Some(n) = set(spec, "activeDeadlineSeconds").and_then(Value::as_i64)
        && !(1..=i64::from(i32::MAX)).contains(&n)
    {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.invalid(&path.child("activeDeadlineSeconds"), n, why);
    }
    pod_tolerations::validate(list(spec, "tolerations"), &path.child("tolerations"), errors);
    host_aliases(spec, &path.child("hostAliases"), errors);
    if let Some(policy) = set_text(spec, "preemptionPolicy") {
        let known = ["PreemptLowerPriority", "Never"];
        one_of(Some(policy), &known, &path.child("preemptionPolicy"), errors);
    }
    pod_resources::overhead(spec, path, errors);
    pod_security::system(spec, path, errors);
}

/// One of a closed set of words, which must be there.
pub fn one_of(value: Option<&str>, supported: &[&str], path: &Path, errors: &mut ErrorList) {
    match value {
        None | Some("") => errors.required(path, ""),
        Some(v) if !supported.contains(&v) => errors.not_supported(path, v, supported),
        Some(_) => {}
    }
}

fn dns_config(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let config = below(spec, "dnsConfig");
    let (servers, searches) = (texts(config, "nameservers"), texts(config, "searches"));
    if text(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(&path.child("nameservers"), why);
            return;
        }
    }
    if servers.len() > MAX_NAMESERVERS {
        let why = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.invalid(&path.child("nameservers"), list(config, "nameservers").to_vec(), why);
    }
    for (i, ip) in servers.into_iter().enumerate() {
        errors.invalid_all(&path.child("nameservers").index(i), ip, addresses::ip(ip));
    }
    let at = path.child("searches");
    if searches.len() > MAX_SEARCH_PATHS {
        let why = format!("must not have more than {MAX_SEARCH_PATHS} search paths");
        errors.invalid(&at, list(config, "searches").to_vec(), why);
    }
    if searches.join(" ").len() > MAX_SEARCH_LIST {
        let why = format!(
            "must not have more than {MAX_SEARCH_LIST} characters (including spaces) in the search list"
        );
        errors.invalid(&at, list(config, "searches").to_vec(), why);
    }
    for (i, search) in searches.into_iter().enumerate().filter(|(_, s)| *s != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_all(&at.index(i), search, names::dns1123_subdomain_with_underscore(search));
    }
    for (i, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.required(&path.child("options").index(i), "must not be empty");
        }
    }
}

fn scheduling_gates(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let all: Vec<&str> = list(spec, "schedulingGates").iter().map(|g| text(g, "name")).collect();
    for (i, name) in all.iter().enumerate() {
        label_name(name, &path.index(i), errors);
        if all[..i].contains(name) {
            errors.duplicate(&path.index(i), *name);
        }
    }
}

fn host_names(spec: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(name) = set_text(spec, "hostnameOverride") {
        let at = path.child("hostnameOverride");
        for field in ["setHostnameAsFQDN", "hostNetwork"] {
            if flag(spec, field) {
                errors.forbidden(&at, format!("may not be specified when {field} is true"));
            }
        }
        if name.len() > MAX_HOSTNAME {
            errors.too_long(&at, MAX_HOSTNAME);
        }
        errors.invalid_all(&at, name, names::dns1123_subdomain(name));
    }
    for field in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        if let Some(v) = set_text(spec, field).filter(|v| !v.is_empty()) {
            errors.invalid_all(&path.child(field), v, names::dns1123_subdomain(v));
        }
    }
    for field in ["hostname", "subdomain"] {
        if let Some(v) = set_text(spec, field).filter(|v| !v.is_empty()) {
            errors.invalid_all(&path.child(field), v, names::dns1123_label(v));
        }
    }
}

fn host_aliases(spec: &Value, path: &Path, errors: &mut ErrorList) {
    for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
        let ip = text(alias, "ip");
        errors.invalid_all(&path.index(i).child("ip"), ip, addresses::ip(ip));
        for (j, name) in texts(alias, "hostnames").into_iter().enumerate() {
            let at = path.index(i).child("hostnames").index(j);
            errors.invalid_all(&at, name, names::dns1123_subdomain(name));
        }
    }
}

#[cfg(test)]
mod tests;
