//! Ingresses: HTTP routes into services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fields::{self, below, list, set, set_text, text};
use super::{addresses, drop_status, keep_status};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, names, table};

/// The strategy of ingresses.
pub struct Ingress;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];

fn class_annotation(object: &Value) -> Option<&str> {
    meta::at(object, &["metadata", "annotations", CLASS_ANNOTATION]).and_then(Value::as_str)
}

impl Strategy for Ingress {
    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
        object["status"] = json!({"loadBalancer": {}});
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        if list(spec, "rules").is_empty() && set(spec, "defaultBackend").is_none() {
            let text = "either `defaultBackend` or `rules` must be specified";
            errors.invalid(&path, fields::shown(spec, "rules"), text);
        }
        if let Some(b) = set(spec, "defaultBackend") {
            backend(b, &path.child("defaultBackend"), errors);
        }
        for (i, r) in list(spec, "rules").iter().enumerate() {
            rule(r, &path.child("rules").index(i), errors);
        }
        for (i, t) in list(spec, "tls").iter().enumerate() {
            tls(t, &path.child("tls").index(i), errors);
        }
        if let Some(class) = set_text(spec, "ingressClassName") {
            errors.invalid_all(&path.child("ingressClassName"), class, names::dns1123_subdomain(class));
        }
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        let class = set_text(below(object, "spec"), "ingressClassName");
        if let (Some(annotation), Some(class)) = (class_annotation(object), class)
            && annotation != class
        {
            errors.invalid(
                &Path::new("annotations").child(CLASS_ANNOTATION),
                annotation,
                "must match `ingressClassName` when both are specified",
            );
        }
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let ingress = |o| list(below(below(o, "status"), "loadBalancer"), "ingress");
        for (i, e) in ingress(new).iter().enumerate() {
            let path = Path::new("status").child("loadBalancer").child("ingress").index(i);
            let (ip, host) = (text(e, "ip"), text(e, "hostname"));
            if !ip.is_empty() && !ingress(old).iter().any(|o| text(o, "ip") == ip) {
                errors.invalid_all(&path.child("ip"), ip, addresses::ip(ip));
            }
            if !host.is_empty() {
                errors.invalid_all(&path.child("hostname"), host, names::dns1123_subdomain(host));
                no_address(host, &path.child("hostname"), errors);
            }
        }
    }

    fn status_warnings(&self, new: &Value, _old: &Value) -> Vec<String> {
        addresses::load_balancer_warnings(new)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let classless = set(below(object, "spec"), "ingressClassName").is_none();
        if old.is_none() && class_annotation(object).is_some() && classless {
            return vec![format!(
                "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
            )];
        }
        Vec::new()
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        let ends = list(below(below(o, "status"), "loadBalancer"), "ingress").iter();
        let address: BTreeSet<&str> = ends
            .map(|e| if text(e, "ip").is_empty() { text(e, "hostname") } else { text(e, "ip") })
            .filter(|a| !a.is_empty())
            .collect();
        vec![
            meta::name(o).into(),
            set_text(spec, "ingressClassName").unwrap_or("<none>").into(),
            hosts(list(spec, "rules")).into(),
            address.into_iter().collect::<Vec<_>>().join(",").into(),
            if list(spec, "tls").is_empty() { "80".into() } else { "80, 443".into() },
            table::age(o, now).into(),
        ]
    }
}

/// The first three hosts.
fn hosts(rules: &[Value]) -> String {
    const MAX: usize = 3;
    let mut hosts = Vec::new();
    let mut more = false;
    for r in rules {
        more |= hosts.len() == MAX;
        if !more && !text(r, "host").is_empty() {
            hosts.push(text(r, "host"));
        }
    }
    match (hosts.is_empty(), more) {
        (true, _) => "*".into(),
        (false, true) => format!("{} + {} more...", hosts.join(","), rules.len() - MAX),
        (false, false) => hosts.join(","),
    }
}

fn no_address(host: &str, path: &Path, errors: &mut ErrorList) {
    if addresses::parse_ip(host).is_some() {
        errors.invalid(path, host, "must be a DNS name, not an IP address");
    }
}

fn host_name(host: &str, path: &Path, errors: &mut ErrorList) {
    if !host.contains('*') {
        errors.invalid_all(path, host, names::dns1123_subdomain(host));
        return;
    }
    if host.len() > 253 {
        errors.invalid(path, host, names::max_len_error(253));
    }
    let rest = host.strip_prefix("*.").unwrap_or("");
    if rest.is_empty() || !names::dns1123_subdomain(rest).iter().all(|e| e.starts_with("must be no more")) {
        errors.invalid(
            path,
            host,
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        );
    }
}

fn rule(rule: &Value, path: &Path, errors: &mut ErrorList) {
    let host = text(rule, "host");
    if !host.is_empty() {
        no_address(host, &path.child("host"), errors);
        host_name(host, &path.child("host"), errors);
    }
    let Some(http) = set(rule, "http") else { return };
    let path = path.child("http").child("paths");
    if list(http, "paths").is_empty() {
        errors.required(&path, "");
    }
    for (i, p) in list(http, "paths").iter().enumerate() {
        http_path(p, &path.index(i), errors);
    }
}

fn http_path(p: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(kind) = set_text(p, "pathType") else {
        errors.required(&path.child("pathType"), "pathType must be specified");
        return;
    };
    let (at, value) = (path.child("path"), text(p, "path"));
    let exact = kind == "Exact" || kind == "Prefix";
    if !PATH_TYPES.contains(&kind) {
        errors.not_supported(&path.child("pathType"), kind, PATH_TYPES);
    } else if !value.starts_with('/') && (exact || !value.is_empty()) {
        errors.invalid(&at, value, "must be an absolute path");
    }
    if exact && !value.is_empty() {
        for part in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|p| value.contains(p)) {
            errors.invalid(&at, value, format!("must not contain '{part}'"));
        }
        for end in ["/..", "/."].into_iter().filter(|e| value.ends_with(e)) {
            errors.invalid(&at, value, format!("cannot end with '{end}'"));
        }
    }
    backend(below(p, "backend"), &path.child("backend"), errors);
}

fn backend(backend: &Value, path: &Path, errors: &mut ErrorList) {
    match (set(backend, "resource"), set(backend, "service")) {
        (Some(_), Some(_)) => errors.invalid(path, "", "cannot set both resource and service backends"),
        (None, None) => errors.invalid(path, "", "resource or service backend is required"),
        (Some(resource), None) => reference(resource, &path.child("resource"), errors),
        (None, Some(service)) => {
            fields::required_name(service, "name", names::dns1123_label, &path.child("service"), errors);
            service_port(below(service, "port"), path, errors);
        }
    }
}

fn service_port(port: &Value, path: &Path, errors: &mut ErrorList) {
    let (name, number) = (text(port, "name"), fields::int(port, "number"));
    let at = path.child("service").child("port");
    match (name.is_empty(), number == 0) {
        (false, false) => errors.invalid(path, "", "cannot set both port name & port number"),
        (false, true) => errors.invalid_all(&at.child("name"), name, names::port_name(name)),
        (true, false) => {
            for e in names::port_number(number) {
                errors.invalid(&at.child("number"), number, e);
            }
        }
        (true, true) => errors.required(path, "port name or number is required"),
    }
}

/// A reference to an object of any kind: group, kind and name.
pub(super) fn reference(r: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(group) = set_text(r, "apiGroup") {
        errors.invalid_all(&path.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    fields::required_name(r, "kind", names::path_segment, path, errors);
    fields::required_name(r, "name", names::path_segment, path, errors);
}

fn tls(tls: &Value, path: &Path, errors: &mut ErrorList) {
    for (i, host) in fields::texts(tls, "hosts").into_iter().enumerate() {
        host_name(host, &path.child("hosts").index(i), errors);
    }
    let secret = text(tls, "secretName");
    if !secret.is_empty() {
        errors.invalid_all(&path.child("secretName"), secret, names::dns1123_subdomain(secret));
    }
}
