//! Validation of a pod's spec, also inside templates (`pkg/apis/core/validation/validation.go`).

use std::collections::HashSet;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::pod_volumes;
use super::{pod_identity, pod_spread, resize_policy};
use crate::field::{ErrorList, Path};
use crate::names;
use crate::quantity::Quantity;

/// Reasons to refuse a spec. `template` is true inside a workload, where only `restartPolicy: Always` may stand
/// when `always_restart` says so.
pub fn validate(spec: &core::PodSpec, path: &Path, errors: &mut ErrorList) {
    let volumes =
        pod_volumes::validate(spec.volumes.as_deref().unwrap_or_default(), &path.child("volumes"), errors);
    let mut seen = HashSet::new();
    containers(spec, &volumes, &mut seen, path, errors);
    one_of(
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
        &path.child("restartPolicy"),
        errors,
    );
    one_of(
        spec.dns_policy.as_deref(),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        &path.child("dnsPolicy"),
        errors,
    );
    if spec.dns_policy.as_deref() == Some("None")
        && spec.dns_config.as_ref().and_then(|c| c.nameservers.as_ref()).is_none_or(Vec::is_empty)
    {
        errors.required(
            &path.child("dnsConfig").child("nameservers"),
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
    }
    if let Some(n) = spec.termination_grace_period_seconds {
        errors.non_negative(&path.child("terminationGracePeriodSeconds"), n);
    }
    if let Some(n) = spec.active_deadline_seconds.filter(|n| *n < 1 || *n > i64::from(i32::MAX)) {
        errors.invalid(
            &path.child("activeDeadlineSeconds"),
            n,
            "must be between 1 and 2147483647, inclusive",
        );
    }
    for (field, value) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(v) = value.as_deref().filter(|v| !v.is_empty()) {
            errors.invalid_all(&path.child(field), v, names::dns1123_label(v));
        }
    }
    for (field, value) in [
        ("serviceAccountName", &spec.service_account_name),
        ("nodeName", &spec.node_name),
        ("priorityClassName", &spec.priority_class_name),
        ("runtimeClassName", &spec.runtime_class_name),
    ] {
        if let Some(v) = value.as_deref().filter(|v| !v.is_empty()) {
            errors.invalid_all(&path.child(field), v, names::dns1123_subdomain(v));
        }
    }
    for (k, v) in spec.node_selector.iter().flatten() {
        let path = path.child("nodeSelector");
        errors.invalid_all(&path, k, names::qualified_name(k));
        errors.invalid_all(&path, v, names::label_value(v));
    }
    tolerations(spec.tolerations.as_deref().unwrap_or_default(), &path.child("tolerations"), errors);
    node_affinity(spec, &path.child("affinity"), errors);
    pod_identity::validate(spec, path, errors);
    pod_spread::validate(spec, path, errors);
    host_aliases(spec, &path.child("hostAliases"), errors);
}

/// One of a closed set of words; absent is fine.
pub fn one_of(value: Option<&str>, supported: &[&str], path: &Path, errors: &mut ErrorList) {
    match value {
        None | Some("") => errors.required(path, ""),
        Some(v) if !supported.contains(&v) => errors.not_supported(path, v, supported),
        Some(_) => {}
    }
}

fn containers(
    spec: &core::PodSpec,
    volumes: &HashSet<String>,
    seen: &mut HashSet<String>,
    path: &Path,
    errors: &mut ErrorList,
) {
    if spec.containers.is_empty() {
        errors.required(&path.child("containers"), "");
    }
    for (i, c) in spec.containers.iter().enumerate() {
        let path = path.child("containers").index(i);
        container(c, volumes, seen, &path, errors);
        resize_policy::validate(c, spec, &path, errors);
        if c.restart_policy.is_some() {
            errors.forbidden(&path.child("restartPolicy"), "may not be set for non-init containers");
        }
    }
    for (i, c) in spec.init_containers.iter().flatten().enumerate() {
        let path = path.child("initContainers").index(i);
        container(c, volumes, seen, &path, errors);
        resize_policy::validate(c, spec, &path, errors);
        let sidecar = c.restart_policy.as_deref() == Some("Always");
        if let Some(p) = c.restart_policy.as_deref().filter(|p| *p != "Always") {
            errors.not_supported(&path.child("restartPolicy"), p, &["Always"]);
        }
        if !sidecar {
            for (field, set) in [
                ("lifecycle", c.lifecycle.is_some()),
                ("livenessProbe", c.liveness_probe.is_some()),
                ("readinessProbe", c.readiness_probe.is_some()),
                ("startupProbe", c.startup_probe.is_some()),
            ] {
                if set {
                    errors.forbidden(
                        &path.child(field),
                        "may not be set for init containers without restartPolicy=Always",
                    );
                }
            }
            resize_policy::validate_init(c, &path, errors);
        }
    }
    host_ports(spec, path, errors);
}

fn container(
    c: &core::Container,
    volumes: &HashSet<String>,
    seen: &mut HashSet<String>,
    path: &Path,
    errors: &mut ErrorList,
) {
    if c.name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        errors.invalid_all(&path.child("name"), &c.name, names::dns1123_label(&c.name));
        if !seen.insert(c.name.clone()) {
            errors.duplicate(&path.child("name"), c.name.as_str());
        }
    }
    match c.image.as_deref() {
        None | Some("") => errors.required(&path.child("image"), ""),
        Some(image) if image.trim() != image => {
            errors.invalid(&path.child("image"), image, "must not have leading or trailing whitespace");
        }
        Some(_) => {}
    }
    one_of(
        c.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
        &path.child("imagePullPolicy"),
        errors,
    );
    one_of(
        c.termination_message_policy.as_deref(),
        &["File", "FallbackToLogsOnError"],
        &path.child("terminationMessagePolicy"),
        errors,
    );
    ports(c.ports.as_deref().unwrap_or_default(), &path.child("ports"), errors);
    env(c, path, errors);
    pod_volumes::mounts(c, volumes, &path.child("volumeMounts"), errors);
    if let Some(r) = &c.resources {
        resources(r, &path.child("resources"), errors);
    }
    for (name, p) in [
        ("livenessProbe", &c.liveness_probe),
        ("readinessProbe", &c.readiness_probe),
        ("startupProbe", &c.startup_probe),
    ] {
        if let Some(p) = p {
            probe(p, name != "readinessProbe", &path.child(name), errors);
        }
    }
    for (name, h) in [
        ("postStart", c.lifecycle.as_ref().and_then(|l| l.post_start.as_ref())),
        ("preStop", c.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref())),
    ] {
        if let Some(h) = h {
            let path = path.child("lifecycle").child(name);
            let set = usize::from(h.exec.is_some())
                + usize::from(h.http_get.is_some())
                + usize::from(h.tcp_socket.is_some())
                + usize::from(h.sleep.is_some());
            exactly_one_handler(set, &path, errors);
        }
    }
}

fn ports(ports: &[core::ContainerPort], path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, p) in ports.iter().enumerate() {
        let path = path.index(i);
        if let Some(name) = p.name.as_deref().filter(|n| !n.is_empty()) {
            errors.invalid_all(&path.child("name"), name, names::port_name(name));
            if !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        if p.container_port == 0 {
            errors.required(&path.child("containerPort"), "");
        } else {
            for e in names::port_number(p.container_port.into()) {
                errors.invalid(&path.child("containerPort"), p.container_port, e);
            }
        }
        if let Some(h) = p.host_port.filter(|h| *h != 0) {
            for e in names::port_number(h.into()) {
                errors.invalid(&path.child("hostPort"), h, e);
            }
        }
        one_of(p.protocol.as_deref(), &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
    }
}

fn host_ports(spec: &core::PodSpec, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, c) in spec.containers.iter().enumerate() {
        for (j, p) in c.ports.iter().flatten().enumerate() {
            let path = path.child("containers").index(i).child("ports").index(j);
            let Some(host) = p.host_port.filter(|h| *h != 0) else { continue };
            if spec.host_network == Some(true) && host != p.container_port {
                errors.invalid(
                    &path.child("containerPort"),
                    p.container_port,
                    "must match `hostPort` when `hostNetwork` is true",
                );
            }
            let key = format!(
                "{}/{}/{host}",
                p.protocol.as_deref().unwrap_or("TCP"),
                p.host_ip.as_deref().unwrap_or("")
            );
            if !seen.insert(key.clone()) {
                errors.duplicate(&path.child("hostPort"), key);
            }
        }
    }
}

fn env(c: &core::Container, path: &Path, errors: &mut ErrorList) {
    for (i, e) in c.env.iter().flatten().enumerate() {
        let path = path.child("env").index(i);
        if e.name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.invalid_all(&path.child("name"), &e.name, names::env_var_name(&e.name));
        }
        let Some(source) = &e.value_from else { continue };
        let path = path.child("valueFrom");
        let set = usize::from(source.config_map_key_ref.is_some())
            + usize::from(source.secret_key_ref.is_some())
            + usize::from(source.field_ref.is_some())
            + usize::from(source.resource_field_ref.is_some())
            + usize::from(source.file_key_ref.is_some());
        if e.value.as_deref().is_some_and(|v| !v.is_empty()) {
            errors.invalid(&path, "", "may not be specified when `value` is not empty");
        } else if set == 0 {
            errors.invalid(
                &path,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            );
        } else if set > 1 {
            errors.invalid(&path, "", "may not have more than one field specified at a time");
        }
        if let Some(f) = &source.field_ref {
            field_path(&f.field_path, &path.child("fieldRef").child("fieldPath"), errors);
        }
        for (name, key) in [
            ("configMapKeyRef", source.config_map_key_ref.as_ref().map(|r| &r.key)),
            ("secretKeyRef", source.secret_key_ref.as_ref().map(|r| &r.key)),
        ] {
            if let Some(key) = key {
                let path = path.child(name).child("key");
                if key.is_empty() {
                    errors.required(&path, "");
                } else {
                    errors.invalid_all(&path, key, names::config_map_key(key));
                }
            }
        }
    }
    for (i, e) in c.env_from.iter().flatten().enumerate() {
        let path = path.child("envFrom").index(i);
        match usize::from(e.config_map_ref.is_some()) + usize::from(e.secret_ref.is_some()) {
            0 => errors.invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(&path, "", "may not have more than one field specified at a time"),
        }
    }
}

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn field_path(text: &str, path: &Path, errors: &mut ErrorList) {
    if text.is_empty() {
        errors.required(path, "");
        return;
    }
    let subscripted = ["metadata.labels['", "metadata.annotations['"];
    if subscripted.iter().any(|s| text.starts_with(s) && text.ends_with("']")) || ENV_FIELDS.contains(&text) {
        return;
    }
    errors.not_supported(path, text, &ENV_FIELDS);
}

/// Reasons to refuse requests and limits.
pub fn resources(r: &core::ResourceRequirements, path: &Path, errors: &mut ErrorList) {
    let parse = |q: &k8s_openapi::apimachinery::pkg::api::resource::Quantity| {
        q.0.parse::<Quantity>().unwrap_or_default()
    };
    for (list, name) in [(&r.limits, "limits"), (&r.requests, "requests")] {
        for (resource, amount) in list.iter().flatten() {
            let path = path.child(name).key(resource);
            resource_name(resource, &path, errors);
            if parse(amount).is_negative() {
                errors.invalid(&path, amount.0.as_str(), "must be greater than or equal to 0");
            }
        }
    }
    for (resource, request) in r.requests.iter().flatten() {
        if let Some(limit) = r.limits.as_ref().and_then(|l| l.get(resource))
            && parse(request) > parse(limit)
        {
            errors.invalid(
                &path.child("requests"),
                request.0.as_str(),
                format!("must be less than or equal to {resource} limit of {}", limit.0),
            );
        }
    }
}

fn resource_name(name: &str, path: &Path, errors: &mut ErrorList) {
    errors.invalid_all(path, name, names::qualified_name(name));
    let standard = ["cpu", "memory", "ephemeral-storage"];
    if !name.contains('/') && !standard.contains(&name) && !name.starts_with("hugepages-") {
        errors.invalid(path, name, "must be a standard resource for containers");
    }
}

fn probe(p: &core::Probe, single_success: bool, path: &Path, errors: &mut ErrorList) {
    let set = usize::from(p.exec.is_some())
        + usize::from(p.http_get.is_some())
        + usize::from(p.tcp_socket.is_some())
        + usize::from(p.grpc.is_some());
    exactly_one_handler(set, path, errors);
    for (name, value) in [
        ("initialDelaySeconds", p.initial_delay_seconds),
        ("timeoutSeconds", p.timeout_seconds),
        ("periodSeconds", p.period_seconds),
        ("successThreshold", p.success_threshold),
        ("failureThreshold", p.failure_threshold),
    ] {
        errors.non_negative(&path.child(name), value.unwrap_or(0).into());
    }
    if single_success && p.success_threshold.is_some_and(|n| n != 1) {
        errors.invalid(&path.child("successThreshold"), p.success_threshold.unwrap_or(0), "must be 1");
    }
    if let Some(h) = &p.http_get {
        port(&h.port, &path.child("httpGet").child("port"), errors);
    }
    if let Some(h) = &p.tcp_socket {
        port(&h.port, &path.child("tcpSocket").child("port"), errors);
    }
    if p.exec.as_ref().is_some_and(|e| e.command.as_ref().is_none_or(Vec::is_empty)) {
        errors.required(&path.child("exec").child("command"), "");
    }
}

fn exactly_one_handler(set: usize, path: &Path, errors: &mut ErrorList) {
    match set {
        0 => errors.required(path, "must specify a handler type"),
        1 => {}
        _ => errors.forbidden(path, "may not specify more than 1 handler type"),
    }
}

fn port(p: &IntOrString, path: &Path, errors: &mut ErrorList) {
    match p {
        IntOrString::Int(n) => {
            for e in names::port_number((*n).into()) {
                errors.invalid(path, *n, e);
            }
        }
        IntOrString::String(s) => errors.invalid_all(path, s, names::port_name(s)),
    }
}

pub(super) fn tolerations(list: &[core::Toleration], path: &Path, errors: &mut ErrorList) {
    for (i, t) in list.iter().enumerate() {
        let path = path.index(i);
        let key = t.key.as_deref().unwrap_or("");
        if !key.is_empty() {
            errors.invalid_all(&path.child("key"), key, names::qualified_name(key));
        }
        let operator = t.operator.as_deref().unwrap_or("");
        if key.is_empty() && operator != "Exists" {
            errors.invalid(
                &path.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if t.toleration_seconds.is_some() && t.effect.as_deref() != Some("NoExecute") {
            errors.invalid(
                &path.child("effect"),
                t.effect.as_deref().unwrap_or(""),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator {
            "" | "Equal" => {
                let v = t.value.as_deref().unwrap_or("");
                errors.invalid_all(&path.child("operator"), v, names::label_value(v));
            }
            "Exists" => {
                if t.value.as_deref().is_some_and(|v| !v.is_empty()) {
                    errors.invalid(
                        &path.child("operator"),
                        t.value.as_deref().unwrap_or(""),
                        "value must be empty when `operator` is 'Exists'",
                    );
                }
            }
            other => errors.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
        }
        if let Some(e) = t.effect.as_deref().filter(|e| !e.is_empty()) {
            one_of(Some(e), &["NoSchedule", "PreferNoSchedule", "NoExecute"], &path.child("effect"), errors);
        }
    }
}

fn node_affinity(spec: &core::PodSpec, path: &Path, errors: &mut ErrorList) {
    let Some(required) = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref())
    else {
        return;
    };
    let path = path.child("nodeAffinity").child("requiredDuringSchedulingIgnoredDuringExecution");
    node_selector(required, &path, errors);
}

/// Reasons to refuse a selector of nodes.
pub fn node_selector(required: &core::NodeSelector, path: &Path, errors: &mut ErrorList) {
    let path = path.child("nodeSelectorTerms");
    if required.node_selector_terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (i, term) in required.node_selector_terms.iter().enumerate() {
        for (j, e) in term.match_expressions.iter().flatten().enumerate() {
            let path = path.index(i).child("matchExpressions").index(j);
            errors.invalid_all(&path.child("key"), &e.key, names::qualified_name(&e.key));
            let n = e.values.as_ref().map_or(0, Vec::len);
            match e.operator.as_str() {
                "In" | "NotIn" if n == 0 => {
                    errors.required(
                        &path.child("values"),
                        "must be specified when `operator` is 'In' or 'NotIn'",
                    );
                }
                "Exists" | "DoesNotExist" if n > 0 => errors.forbidden(
                    &path.child("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ),
                "Gt" | "Lt" if n != 1 => errors.required(
                    &path.child("values"),
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                ),
                "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
                other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
            }
        }
    }
}

fn host_aliases(spec: &core::PodSpec, path: &Path, errors: &mut ErrorList) {
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        if alias.ip.parse::<std::net::IpAddr>().is_err() {
            errors.invalid(
                &path.index(i).child("ip"),
                alias.ip.as_str(),
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
    }
}
