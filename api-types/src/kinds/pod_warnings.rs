//! What the author of a pod, or of a template of pods, should know although it is accepted
//! (`pkg/api/pod/warnings.go`).
//!
//! Order and texts are upstream's: scheduling, annotations, volumes, lists with repetitions, containers, ports,
//! affinity, addresses.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::fields::{self, below, entries, list, set, text};
use super::persistentvolumeclaim::{fractional_bytes, spec_warnings};
use super::{addresses, node_labels, pod_path_warnings};
use crate::field::Path;
use crate::{meta, names};

/// Annotations that have become fields.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub(super) const APPARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";
/// Backslashes and all: upstream's text is a raw literal.
const USE_SECCOMP: &str = "non-functional in v1.27+; use the \\\"seccompProfile\\\" field instead";
pub(super) const USE_APPARMOR: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

/// (source of a volume, what has become of it).
const VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";
const AFFINITY_REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const AFFINITY_PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// What becomes of a source of volumes, as upstream names it in warnings.
pub(super) fn deprecated_volume(source: &str) -> Option<(&'static str, &'static str)> {
    let (name, why) = VOLUMES.iter().find(|(name, _)| *name == source)?;
    Some((if *name == "storageos" { "storageOS" } else { name }, why))
}

/// What to say of a new pod.
pub fn of_pod(pod: &Value) -> Vec<String> {
    let why = names::dns1123_label(meta::name(pod));
    let mut all = Vec::new();
    if !why.is_empty() {
        all.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            why.join(" ")
        ));
    }
    all.extend(of(pod, &Path::new(""), false));
    all
}

/// What to say of a template of pods.
pub fn of_template(template: &Value, path: &Path) -> Vec<String> {
    of(template, path, true)
}

/// The same about a workload whose template is at `spec.template`: when it is new or its spec has changed.
pub fn of_workload(object: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|o| meta::generation(o) == meta::generation(object)) {
        return Vec::new();
    }
    of_template(below(below(object, "spec"), "template"), &Path::new("spec").child("template"))
}

fn of(pod: &Value, path: &Path, template: bool) -> Vec<String> {
    let (spec, annotations) = (below(pod, "spec"), below(below(pod, "metadata"), "annotations"));
    let (in_spec, in_annotations) = (path.child("spec"), path.child("metadata").child("annotations"));
    let mut all = Vec::new();
    scheduling(spec, &in_spec, &mut all);
    for (key, why) in ANNOTATIONS {
        if annotations.get(key).is_some() {
            all.push(format!("{}: {why}", in_annotations.key(key)));
        }
    }
    volumes(spec, &in_spec, &mut all);
    repetitions(spec, &in_spec, &mut all);
    for resource in ["memory", "ephemeral-storage"] {
        let at = in_spec.child("overhead").key(resource).to_string();
        all.extend(fractional_bytes(below(spec, "overhead").get(resource), &at));
    }
    let context = below(spec, "securityContext");
    if annotations.get(SECCOMP_POD).is_some() && set(context, "seccompProfile").is_none() {
        all.push(format!("{}: {USE_SECCOMP}", in_annotations.key(SECCOMP_POD)));
    }
    let confined = set(context, "appArmorProfile").is_some();
    for (c, at) in containers(spec, &in_spec) {
        let own = below(c, "securityContext");
        let key = format!("{SECCOMP_CONTAINER}{}", text(c, "name"));
        if annotations.get(&key).is_some() && set(own, "seccompProfile").is_none() {
            all.push(format!("{}: {USE_SECCOMP}", in_annotations.key(&key)));
        }
        let key = format!("{APPARMOR_CONTAINER}{}", text(c, "name"));
        let has_field = confined || set(own, "appArmorProfile").is_some();
        // A pod's are told when its fields are filled in from them.
        if template && annotations.get(&key).is_some() && !has_field {
            all.push(format!("{}: {}", in_annotations.key(&key), USE_APPARMOR.replace('"', "\\\"")));
        }
        container(c, &at, &mut all);
    }
    ports(spec, &in_spec, &mut all);
    port_names(spec, &in_spec, &mut all);
    if fields::int(spec, "terminationGracePeriodSeconds") < 0 {
        let at = in_spec.child("terminationGracePeriodSeconds");
        all.push(format!("{at}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    affinity(spec, &in_spec, &mut all);
    for (i, ip) in fields::texts(below(spec, "dnsConfig"), "nameservers").into_iter().enumerate() {
        let at = in_spec.child("dnsConfig").child("nameservers").index(i);
        all.extend(addresses::ip_warnings(&at, ip));
    }
    for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
        let at = in_spec.child("hostAliases").index(i).child("ip");
        all.extend(addresses::ip_warnings(&at, text(alias, "ip")));
    }
    all
}

/// All containers, in upstream's order.
pub(super) fn containers<'a>(spec: &'a Value, path: &Path) -> Vec<(&'a Value, Path)> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists
        .iter()
        .flat_map(|l| list(spec, l).iter().enumerate().map(|(i, c)| (c, path.child(l).index(i))))
        .collect()
}

fn scheduling(spec: &Value, path: &Path, all: &mut Vec<String>) {
    for (key, _) in entries(spec, "nodeSelector") {
        if let Some(why) = node_labels::deprecated(key) {
            all.push(format!("{}: {why}", path.child("nodeSelector").key(key)));
        }
    }
    let affinity = below(below(spec, "affinity"), "nodeAffinity");
    let at = path.child("affinity").child("nodeAffinity");
    let required = below(affinity, AFFINITY_REQUIRED);
    all.extend(node_labels::selector_warnings(required, &at.child(AFFINITY_REQUIRED)));
    for (i, term) in list(affinity, AFFINITY_PREFERRED).iter().enumerate() {
        let at = at.child(AFFINITY_PREFERRED).index(i).child("preference");
        all.extend(node_labels::term_warnings(below(term, "preference"), true, &at));
    }
    for (i, c) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let at = path.child("topologySpreadConstraints").index(i);
        let key = text(c, "topologyKey");
        if let Some(why) = node_labels::deprecated(key) {
            all.push(format!("{}: {key} is {why}", at.child("topologyKey")));
        }
        if set(c, "labelSelector").is_none() {
            all.push(format!("{}: {NO_SELECTOR}", at.child("labelSelector")));
        }
    }
}

fn volumes(spec: &Value, path: &Path, all: &mut Vec<String>) {
    for (i, v) in list(spec, "volumes").iter().enumerate() {
        let at = path.child("volumes").index(i);
        for (source, _) in VOLUMES.iter().filter(|(source, _)| set(v, source).is_some()) {
            if let Some((name, why)) = deprecated_volume(source) {
                all.push(format!("{}: {why}", at.child(name)));
            }
        }
        if let Some(claim) = set(below(v, "ephemeral"), "volumeClaimTemplate") {
            let at = at.child("ephemeral").child("volumeClaimTemplate").child("spec");
            all.extend(spec_warnings(below(claim, "spec"), &at));
        }
    }
    all.extend(pod_path_warnings::of(list(spec, "volumes")));
}

/// Elements of lists that are merged by a key, which two of them share.
fn repetitions(spec: &Value, path: &Path, all: &mut Vec<String>) {
    for (field, key) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = HashSet::new();
        for (i, item) in list(spec, field).iter().enumerate() {
            if !seen.insert(text(item, key)) {
                let at = path.child(field).index(i).child(key);
                all.push(format!("{at}: duplicate {key} {:?}", text(item, key)));
            }
        }
    }
    for (i, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            let at = path.child("imagePullSecrets").index(i).child("name");
            all.push(format!("{at}: invalid empty name \"\""));
        }
    }
}

fn container(c: &Value, path: &Path, all: &mut Vec<String>) {
    for resource in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            let at = path.child("resources").child(list).key(resource).to_string();
            all.extend(fractional_bytes(below(below(c, "resources"), list).get(resource), &at));
        }
    }
    let mut seen = HashSet::new();
    for (i, e) in list(c, "env").iter().enumerate() {
        let (name, value) = (text(e, "name"), text(e, "value"));
        if seen.insert(name) {
            continue;
        }
        // X=abc and then X=$(X)123 is a way to append.
        let reference = format!("$({name})");
        let appends = value != reference && value.contains(&reference);
        if set(e, "valueFrom").is_some() || !appends {
            let at = path.child("env").index(i);
            all.push(format!(
                "{at}: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

/// Address and port of the host, and where they are given.
type HostPort<'a> = (&'a str, i64, Path);

fn ports(spec: &Value, path: &Path, all: &mut Vec<String>) {
    let mut known: HashMap<(i64, &str), Vec<HostPort<'_>>> = HashMap::new();
    for (c, at) in containers(spec, path) {
        for (i, p) in list(c, "ports").iter().enumerate() {
            let at = at.child("ports").index(i);
            let (ip, host) = (text(p, "hostIP"), fields::int(p, "hostPort"));
            let (port, protocol) = (fields::int(p, "containerPort"), text(p, "protocol"));
            if !ip.is_empty() && host == 0 {
                all.push(format!(
                    "{at}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{port} Protocol:{protocol} HostIP:{ip}}}",
                    text(p, "name")
                ));
            }
            let others = known.entry((port, protocol)).or_default();
            for (other_ip, other_host, other) in others.iter() {
                let same_host = *other_host == host;
                let how = if same_host && *other_ip == ip {
                    "duplicate"
                } else if host == 0 || *other_host == 0 {
                    "overlapping"
                } else if same_host && ip.is_empty() != other_ip.is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                all.push(format!("{at}: {how} port definition with {other}"));
            }
            others.push((ip, host, at));
        }
    }
}

fn port_names(spec: &Value, path: &Path, all: &mut Vec<String>) {
    let mut known: HashMap<&str, Path> = HashMap::new();
    for (c, at) in containers(spec, path) {
        for (i, p) in list(c, "ports").iter().enumerate() {
            let (name, at) = (text(p, "name"), at.child("ports").index(i));
            if name.is_empty() {
                continue;
            }
            if let Some(other) = known.get(name) {
                all.push(format!(
                    "{at}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}"
                ));
            } else {
                known.insert(name, at);
            }
        }
    }
}

fn affinity(spec: &Value, path: &Path, all: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let terms = below(below(spec, "affinity"), kind);
        let at = path.child("affinity").child(kind);
        for (i, t) in list(terms, AFFINITY_REQUIRED).iter().enumerate() {
            if set(t, "labelSelector").is_none() {
                let at = at.child(AFFINITY_REQUIRED).index(i).child("labelSelector");
                all.push(format!("{at}: {NO_SELECTOR}"));
            }
        }
        for (i, t) in list(terms, AFFINITY_PREFERRED).iter().enumerate() {
            if set(below(t, "podAffinityTerm"), "labelSelector").is_none() {
                let at =
                    at.child(AFFINITY_PREFERRED).index(i).child("podAffinityTerm").child("labelSelector");
                all.push(format!("{at}: {NO_SELECTOR}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
