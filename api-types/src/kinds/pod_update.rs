//! What holds for pods but not for templates of them, and what may change of a pod
//! (`ValidatePodCreate`, `ValidatePodUpdate`, `ValidatePodStatusUpdate`).

use std::net::IpAddr;

use serde_json::Value;

use super::fields::{below, entries, int, label_name, list, set, set_text, text};
use super::pod_warnings::containers;
use super::{addresses, pod_statuses};
use crate::field::{ErrorList, Path};
use crate::{meta, names};

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const MUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Images are taken as they are written.
pub fn images(spec: &Value, path: &Path, errors: &mut ErrorList) {
    for field in ["containers", "initContainers"] {
        for (i, c) in list(spec, field).iter().enumerate() {
            let image = text(c, "image");
            if image.trim() != image {
                let why = "must not have leading or trailing whitespace";
                errors.invalid(&path.child(field).index(i).child("image"), image, why);
            }
        }
    }
}

/// Reasons to refuse a new pod.
pub fn create(pod: &Value, errors: &mut ErrorList) {
    let (spec, path) = (below(pod, "spec"), Path::new("spec"));
    if !list(spec, "ephemeralContainers").is_empty() {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(&path.child("nodeName"), why);
    }
    let annotations = below(below(pod, "metadata"), "annotations");
    if let Some(annotation) = set_text(annotations, SECCOMP_POD) {
        seccomp(annotation, below(spec, "securityContext"), &path, errors);
    }
    for (c, at) in containers(spec, &path) {
        let key = format!("{SECCOMP_CONTAINER}{}", text(c, "name"));
        if let Some(annotation) = set_text(annotations, &key) {
            seccomp(annotation, below(c, "securityContext"), &at, errors);
        }
    }
}

/// An annotation and the field it has become say the same.
fn seccomp(annotation: &str, context: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(field) = set(context, "seccompProfile") else { return };
    let path = path.child("securityContext").child("seccompProfile");
    let same = match text(field, "type") {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => ["runtime/default", "docker/default"].contains(&annotation),
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(file) if file != text(field, "localhostProfile") => {
                let why = "seccomp profile in annotation and field must match";
                errors.forbidden(&path.child("localhostProfile"), why);
                true
            }
            other => other.is_some(),
        },
        _ => true,
    };
    if !same {
        errors.forbidden(&path.child("type"), "seccomp type in annotation and field must match");
    }
}

/// Reasons to refuse a change of the spec.
pub fn update(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    for field in ["containers", "initContainers"] {
        if list(new, field).len() != list(old, field).len() {
            errors.forbidden(&path.child(field), "pod updates may not add or remove containers");
            return;
        }
    }
    if !deadline(new, old, &path.child("activeDeadlineSeconds"), errors) {
        return;
    }
    tolerations(new, old, &path.child("tolerations"), errors);
    let gates =
        |spec| -> Vec<&str> { list(spec, "schedulingGates").iter().map(|g| text(g, "name")).collect() };
    let before = gates(old);
    for (i, gate) in gates(new).into_iter().enumerate().filter(|(_, g)| !before.contains(g)) {
        let why = format!("only deletion is allowed, but found new scheduling gate '{gate}'");
        errors.forbidden(&path.child("schedulingGates").index(i).child("name"), why);
    }
    let mut rest = with_old(new, old);
    if !before.is_empty() {
        gated(&mut rest, new, old, path, errors);
    }
    if rest != *old {
        errors.forbidden(path, MUTABLE);
    }
}

/// It may be set, and shortened.
fn deadline(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) -> bool {
    let of = |spec| set(spec, "activeDeadlineSeconds").and_then(Value::as_i64);
    match (of(new), of(old)) {
        (Some(now), _) if !(0..=i64::from(i32::MAX)).contains(&now) => {
            errors.invalid(path, now, "must be between 0 and 2147483647, inclusive");
            false
        }
        (Some(now), Some(was)) if was < now => {
            errors.invalid(path, now, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(path, Value::Null, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

/// They may be added to, and last longer or shorter.
fn tolerations(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    let lasting = |t: &Value| {
        let mut t = t.clone();
        if let Value::Object(t) = &mut t {
            t.remove("tolerationSeconds");
        }
        t
    };
    let after: Vec<Value> = list(new, "tolerations").iter().map(lasting).collect();
    if list(old, "tolerations").iter().any(|t| !after.contains(&lasting(t))) {
        errors.forbidden(path, "existing toleration can not be modified except its tolerationSeconds");
    }
}

/// The new spec with everything that may change set back.
fn with_old(new: &Value, old: &Value) -> Value {
    let mut out = new.clone();
    for field in ["containers", "initContainers"] {
        let Some(after) = out.get_mut(field).and_then(Value::as_array_mut) else { continue };
        for (c, before) in after.iter_mut().zip(list(old, field)) {
            put_back(c, before, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put_back(&mut out, old, field);
    }
    if int(old, "terminationGracePeriodSeconds") < 0 && int(new, "terminationGracePeriodSeconds") == 1 {
        put_back(&mut out, old, "terminationGracePeriodSeconds");
    }
    out
}

fn put_back(new: &mut Value, old: &Value, field: &str) {
    if let Value::Object(map) = new {
        match old.get(field) {
            Some(v) => map.insert(field.into(), v.clone()),
            None => map.remove(field),
        };
    }
}

/// A pod that is not yet to be scheduled may become choosier about its node.
fn gated(rest: &mut Value, new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    let selector = below(new, "nodeSelector");
    if entries(old, "nodeSelector").any(|(k, v)| selector.get(k) != Some(v)) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(&path.child("nodeSelector"), selector.clone(), why);
    }
    put_back(rest, old, "nodeSelector");
    let affinity = |spec| below(below(spec, "affinity"), "nodeAffinity");
    let (after, before) = (affinity(new), affinity(old));
    if after == before {
        return;
    }
    let terms = |a| list(below(a, REQUIRED), "nodeSelectorTerms");
    let (now, was) = (terms(after), terms(before));
    let at = path.child("affinity").child("nodeAffinity").child(REQUIRED).child("nodeSelectorTerms");
    if !was.is_empty() && was.len() != now.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.invalid(&at, now.to_vec(), why);
    } else {
        for (i, (n, _)) in now.iter().zip(was).enumerate().filter(|(_, (n, o))| !only_adds(n, o)) {
            errors.invalid(&at.index(i), n.clone(), "only additions are allowed (no mutations or deletions)");
        }
    }
    let others = |spec| {
        let mut a = below(spec, "affinity").clone();
        if let Value::Object(a) = &mut a {
            a.remove("nodeAffinity");
        }
        if a.as_object().is_some_and(serde_json::Map::is_empty) { Value::Null } else { a }
    };
    if others(new) == others(old) {
        put_back(rest, old, "affinity");
    }
}

fn only_adds(new: &Value, old: &Value) -> bool {
    let fields = ["matchExpressions", "matchFields"];
    // A term without requirements selects nothing, which more of them would change.
    let empty = |t: &Value| fields.iter().all(|f| list(t, f).is_empty());
    empty(old) == empty(new) && fields.iter().all(|f| list(new, f).starts_with(list(old, f)))
}

/// Reasons to refuse a change of the status.
pub fn status(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    const OWN: [&str; 3] = ["PodScheduled", "Ready", "Initialized"];
    let (status, before) = (below(new, "status"), below(old, "status"));
    for (i, c) in list(status, "conditions").iter().enumerate() {
        let (kind, at) = (text(c, "type"), path.child("conditions").index(i));
        if int(c, "observedGeneration") < 0 {
            let why = "must be a non-negative integer";
            errors.invalid(&at.child("observedGeneration"), int(c, "observedGeneration"), why);
        }
        if !OWN.contains(&kind) {
            label_name(kind, &at.child("Type"), errors);
        }
    }
    let (now, was) = (text(status, "nominatedNodeName"), text(before, "nominatedNodeName"));
    if !now.is_empty() && now != was {
        let at = path.child("nominatedNodeName");
        errors.invalid_all(&at, now, names::dns1123_subdomain(now));
        if !meta::str_at(old, &["spec", "nodeName"]).is_empty() {
            errors.forbidden(&at, "may not be set on pods that are already bound to a node");
        }
    }
    if int(status, "observedGeneration") < 0 {
        let n = int(status, "observedGeneration");
        errors.invalid(&path.child("observedGeneration"), n, "must be a non-negative integer");
    }
    if text(status, "qosClass") != text(before, "qosClass") {
        errors.invalid(&path.child("qosClass"), text(status, "qosClass"), "field is immutable");
    }
    pod_statuses::transitions(new, old, path, errors);
    pod_statuses::claims(new, path, errors);
    ips(list(status, "podIPs"), list(before, "podIPs"), &path.child("podIPs"), errors);
    if let Some(first) = list(status, "hostIPs").first()
        && text(status, "hostIP") != text(first, "ip")
    {
        let at = path.child("hostIPs").index(0).child("ip");
        errors.invalid(&at, text(first, "ip"), "must be equal to `hostIP`");
    }
    ips(list(status, "hostIPs"), list(before, "hostIPs"), &path.child("hostIPs"), errors);
    pod_statuses::containers(new, path, errors);
}

/// New ones must be addresses, at most one of each family.
fn ips(now: &[Value], was: &[Value], path: &Path, errors: &mut ErrorList) {
    for (i, ip) in now.iter().enumerate().filter(|(_, ip)| !was.contains(ip)) {
        errors.invalid_all(&path.index(i), text(ip, "ip"), addresses::ip(text(ip, "ip")));
    }
    let families: Vec<bool> = now
        .iter()
        .filter_map(|ip| addresses::parse_ip(text(ip, "ip")))
        .map(|ip| IpAddr::is_ipv4(&ip))
        .collect();
    if now.len() > 1 && (now.len() > 2 || families.first() == families.get(1)) {
        errors.invalid(path, now.to_vec(), "may specify no more than one IP for each IP family");
    }
}

#[cfg(test)]
mod tests;
