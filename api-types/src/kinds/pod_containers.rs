//! Validation of the containers of a pod (`pkg/apis/core/validation/validation.go`). Those that are added to a running
//! pod are judged where they are added.

use std::collections::HashSet;

use serde_json::Value;

use super::fields::{self, int, list, required, set, set_text, text};
use super::pod_spec::one_of;
use super::pod_volumes::Volumes;
use super::{pod_env, pod_handlers, pod_mounts, pod_resources, pod_security};
use crate::field::{ErrorList, Path};
use crate::names;

/// What containers may refer to.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The volumes.
    pub volumes: &'a Volumes,
    /// The names of the pod's claims of devices.
    pub claims: &'a [&'a str],
}

/// Reasons to refuse the containers of a pod with this spec.
pub fn validate(spec: &Value, known: Known<'_>, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    let containers = list(spec, "containers");
    if containers.is_empty() {
        errors.required(&path.child("containers"), "");
    }
    for (i, c) in containers.iter().enumerate() {
        let path = path.child("containers").index(i);
        common(c, spec, known, &path, errors);
        unique(text(c, "name"), &mut seen, &path, errors);
        pod_handlers::validate(c, spec, &path, errors);
        pod_handlers::restart_policy(c, &path, errors);
    }
    host_ports(containers, &path.child("containers"), errors);
    for (i, c) in list(spec, "initContainers").iter().enumerate() {
        let path = path.child("initContainers").index(i);
        common(c, spec, known, &path, errors);
        let sidecar = text(c, "restartPolicy") == "Always";
        if sidecar && !list(c, "restartPolicyRules").is_empty() {
            let why = "restartPolicyRules are not allowed for init containers with restart policy Always";
            errors.forbidden(&path.child("restartPolicyRules"), why);
        } else {
            pod_handlers::restart_policy(c, &path, errors);
        }
        unique(text(c, "name"), &mut seen, &path, errors);
        if sidecar {
            pod_handlers::validate(c, spec, &path, errors);
        } else {
            pod_handlers::forbid(c, &path, errors);
            pod_resources::resize_policy_of_init(c, &path, errors);
        }
    }
}

fn unique<'a>(name: &'a str, seen: &mut HashSet<&'a str>, path: &Path, errors: &mut ErrorList) {
    if !name.is_empty() && !seen.insert(name) {
        errors.duplicate(&path.child("name"), name);
    }
}

fn common(c: &Value, spec: &Value, known: Known<'_>, path: &Path, errors: &mut ErrorList) {
    fields::required_name(c, "name", names::dns1123_label, path, errors);
    required(c, "image", path, errors);
    let messages = ["File", "FallbackToLogsOnError"];
    let at = path.child("terminationMessagePolicy");
    one_of(set_text(c, "terminationMessagePolicy"), &messages, &at, errors);
    ports(list(c, "ports"), &path.child("ports"), errors);
    pod_env::validate(c, path, errors);
    pod_env::files_are_in_empty_dirs(spec, c, path, errors);
    pod_mounts::validate(c, known.volumes, path, errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(set_text(c, "imagePullPolicy"), &policies, &path.child("imagePullPolicy"), errors);
    if let Some(r) = set(c, "resources") {
        pod_resources::of_container(r, known.claims, &path.child("resources"), errors);
    }
    pod_resources::resize_policy(c, text(spec, "restartPolicy"), &path.child("resizePolicy"), errors);
    if let Some(s) = set(c, "securityContext") {
        let on_host = set(spec, "hostUsers").and_then(Value::as_bool).unwrap_or(true);
        pod_security::of_container(s, on_host, &path.child("securityContext"), errors);
    }
}

fn ports(ports: &[Value], path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, p) in ports.iter().enumerate() {
        let path = path.index(i);
        let name = text(p, "name");
        if !name.is_empty() {
            let why = names::port_name(name);
            if why.is_empty() && !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
            errors.invalid_all(&path.child("name"), name, why);
        }
        let (port, host) = (int(p, "containerPort"), int(p, "hostPort"));
        if port == 0 {
            errors.required(&path.child("containerPort"), "");
        } else {
            for why in names::port_number(port) {
                errors.invalid(&path.child("containerPort"), port, why);
            }
        }
        if host != 0 {
            for why in names::port_number(host) {
                errors.invalid(&path.child("hostPort"), host, why);
            }
        }
        one_of(set_text(p, "protocol"), &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
    }
}

fn host_ports(containers: &[Value], path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, c) in containers.iter().enumerate() {
        for (j, p) in list(c, "ports").iter().enumerate().filter(|(_, p)| int(p, "hostPort") != 0) {
            let key = format!("{}/{}/{}", text(p, "protocol"), text(p, "hostIP"), int(p, "hostPort"));
            if !seen.insert(key.clone()) {
                errors.duplicate(&path.index(i).child("ports").index(j).child("hostPort"), key);
            }
        }
    }
}

/// On the host's network a port is the host's.
pub fn ports_on_the_host(spec: &Value, path: &Path, errors: &mut ErrorList) {
    for (i, c) in list(spec, "containers").iter().enumerate().filter(|_| fields::flag(spec, "hostNetwork")) {
        for (j, p) in list(c, "ports").iter().enumerate() {
            let (port, host) = (int(p, "containerPort"), int(p, "hostPort"));
            if host != 0 && host != port {
                let at = path.child("containers").index(i).child("ports").index(j).child("hostPort");
                errors.invalid(&at, host, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}
