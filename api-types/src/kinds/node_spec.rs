//! Validation of nodes.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::fields::{below, entries, label_name, list, required_name, set, text, texts};
use super::pod_spec::one_of;
use super::{addresses, resource_names};
use crate::field::{ErrorList, Path};
use crate::names;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const SET_ONCE: &str = "node updates may not change podCIDR except from \"\" to valid";
const MAX_FEATURE: usize = 253;

fn part(object: &Value, field: &str) -> (Value, Path) {
    (below(object, field).clone(), Path::new(field))
}

/// Reasons to refuse a node.
pub fn validate(object: &Value, errors: &mut ErrorList) {
    let (spec, spec_path) = part(object, "spec");
    // Upstream blames the metadata as well.
    let metadata = Path::new("metadata");
    taints(&spec, &metadata.child("taints"), errors);
    amounts(object, errors);
    let swap = below(below(below(object, "status"), "nodeInfo"), "swap");
    if let Some(n) = swap.get("capacity").and_then(Value::as_i64).filter(|n| *n <= 0) {
        let at = metadata.child("nodeSwapStatus").child("capacity");
        errors.invalid(&at, n, "must be greater than 0");
    }
    features(object, errors);
    let (ranges, at) = (texts(&spec, "podCIDRs"), spec_path.child("podCIDRs"));
    for (i, range) in ranges.iter().enumerate() {
        errors.invalid_all(&at.index(i), range, addresses::cidr(range));
    }
    let read: Vec<_> = ranges.iter().filter_map(|r| addresses::parse_cidr(r)).collect();
    if read.len() == ranges.len() && ranges.len() > 1 {
        let both = read.iter().any(|r| r.ip.is_ipv4()) && read.iter().any(|r| r.ip.is_ipv6());
        if !both || ranges.len() > 2 {
            let why = "may specify no more than one CIDR for each IP family";
            errors.invalid(&at, json!(ranges), why);
        }
    }
}

fn taints(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, t) in list(spec, "taints").iter().enumerate() {
        let path = path.index(i);
        let (key, value, effect) = (text(t, "key"), text(t, "value"), text(t, "effect"));
        label_name(key, &path.child("key"), errors);
        let why = names::label_value(value);
        if !why.is_empty() {
            errors.invalid(&path.child("value"), value, why.join(";"));
        }
        let at = path.child("effect");
        if effect.is_empty() {
            errors.required(&at, "");
        } else {
            one_of(Some(effect), &EFFECTS, &at, errors);
        }
        if !seen.insert((key, effect)) {
            errors.duplicate_because(&path, t.clone(), "taints must be unique by key and effect pair");
        }
    }
}

/// Reasons to refuse what a node says that it has.
pub fn amounts(object: &Value, errors: &mut ErrorList) {
    let (status, path) = part(object, "status");
    for field in ["capacity", "allocatable"] {
        for (name, amount) in entries(&status, field) {
            resource_names::amount_of(name, amount, &path.child(field).child(name), errors);
        }
    }
}

/// Reasons to refuse the features that a node says it has: sorted names in upper camel case.
pub fn features(object: &Value, errors: &mut ErrorList) {
    let (status, path) = part(object, "status");
    let (all, path) = (texts(&status, "declaredFeatures"), path.child("declaredFeatures"));
    for (i, name) in all.iter().enumerate() {
        if name.len() > MAX_FEATURE {
            let why = format!("invalid feature name {name:?}: must be no more than {MAX_FEATURE} characters");
            errors.invalid(&path.index(i), *name, why);
        } else if !is_feature(name) {
            let why = format!(
                "invalid feature name {name:?}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
            );
            errors.invalid(&path.index(i), *name, why);
        }
        match all.get(i + 1) {
            Some(next) if next == name => errors.duplicate(&path.index(i + 1), *next),
            Some(next) if next < name => {
                errors.invalid(&path.index(i + 1), *next, "list must be sorted alphabetically");
            }
            _ => {}
        }
    }
}

fn is_feature(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.split('/').all(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Reasons to refuse a change of a node or of its status.
pub fn update(new: &Value, old: &Value, errors: &mut ErrorList) {
    let (status, path) = part(new, "status");
    let mut seen = Vec::new();
    for (i, a) in list(&status, "addresses").iter().enumerate() {
        let address = (text(a, "type"), text(a, "address"));
        if seen.contains(&address) {
            errors.duplicate(&path.child("addresses").index(i), a.clone());
        }
        seen.push(address);
    }
    if let Some(config) = set(&status, "config") {
        for field in ["assigned", "active", "lastKnownGood"] {
            if let Some(source) = set(config, field) {
                config_source(source, true, &path.child("config").child(field), errors);
            }
        }
    }
    let ((spec, path), (before, _)) = (part(new, "spec"), part(old, "spec"));
    let (ranges, had) = (texts(&spec, "podCIDRs"), texts(&before, "podCIDRs"));
    if !had.is_empty() {
        let changed = if ranges.len() == had.len() {
            ranges.iter().zip(&had).filter(|(a, b)| a != b).count()
        } else {
            1
        };
        for _ in 0..changed {
            errors.forbidden(&path.child("podCIDRs"), SET_ONCE);
        }
    }
    let id = text(&before, "providerID");
    if !id.is_empty() && id != text(&spec, "providerID") {
        let why = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&path.child("providerID"), why);
    }
    if let Some(source) = set(&spec, "configSource") {
        config_source(source, false, &path.child("configSource"), errors);
    }
    if text(&spec, "externalID") != text(&before, "externalID") {
        errors.forbidden(&path.child("externalID"), "may not be updated");
    }
}

/// Where the configuration of a node agent once came from.
fn config_source(source: &Value, in_status: bool, path: &Path, errors: &mut ErrorList) {
    let Some(map) = set(source, "configMap") else {
        return errors.invalid(path, source.clone(), "exactly one reference subfield must be non-nil");
    };
    let path = path.child("configMap");
    for field in ["uid", "resourceVersion"] {
        match (text(map, field).is_empty(), in_status) {
            (true, true) => errors.required(&path.child(field), ""),
            (false, false) => {
                errors.forbidden(&path.child(field), format!("{field} must not be set in spec"));
            }
            _ => {}
        }
    }
    required_name(map, "namespace", names::dns1123_label, &path, errors);
    required_name(map, "name", names::dns1123_subdomain, &path, errors);
    required_name(map, "kubeletConfigKey", names::config_map_key, &path, errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(want: &[&str], of: &Value, run: impl Fn(&mut ErrorList)) {
        let mut e = ErrorList::new();
        run(&mut e);
        let got: Vec<String> = e.0.iter().map(ToString::to_string).collect();
        let fits = got.len() == want.len() && got.iter().zip(want).all(|(g, w)| g.starts_with(w));
        assert!(fits, "{of}: {got:#?}");
    }

    #[test]
    fn nodes() {
        let taint = |effect: &str| json!({"key": "a", "effect": effect});
        let taints = |t: Value| json!({"spec": {"taints": t}});
        for (o, want) in [
            (json!({"spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}}), vec![]),
            (json!({"status": {"capacity": {"cpu": "1500m", "pods": "10"}}}), vec![]),
            (json!({"status": {"declaredFeatures": ["A", "AnotherOne/part"]}}), vec![]),
            (taints(json!([taint("NoSchedule"), taint("NoExecute")])), vec![]),
            (
                taints(json!([taint("NoSchedule"), taint("NoSchedule")])),
                vec![
                    "metadata.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: taints must be unique by key and effect pair",
                ],
            ),
            (
                taints(json!([{"key": "", "value": "-", "effect": "x"}, {"key": "b"}])),
                vec![
                    "metadata.taints[0].key: Invalid value: \"\": name part must be non-empty",
                    "metadata.taints[0].key: Invalid value: \"\": name part must consist of",
                    "metadata.taints[0].value: Invalid value: \"-\": a valid label must be an empty string or",
                    "metadata.taints[0].effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                    "metadata.taints[1].effect: Required value",
                ],
            ),
            (
                json!({"spec": {"podCIDRs": ["x", "10.0.0.0/8"]}}),
                vec!["spec.podCIDRs[0]: Invalid value: \"x\": must be a valid CIDR value"],
            ),
            (
                json!({"spec": {"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}}),
                vec![
                    "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR for each IP family",
                ],
            ),
            (
                json!({"status": {"capacity": {"cpu": "-1"}, "allocatable": {"pods": "1500m"}}}),
                vec![
                    "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                    "status.allocatable.pods: Invalid value: \"1500m\": must be an integer",
                ],
            ),
            (
                json!({"status": {"declaredFeatures": ["B", "B", "A", "z"]}}),
                vec![
                    "status.declaredFeatures[1]: Duplicate value: \"B\"",
                    "status.declaredFeatures[2]: Invalid value: \"A\": list must be sorted alphabetically",
                    "status.declaredFeatures[3]: Invalid value: \"z\": invalid feature name \"z\": must start with",
                ],
            ),
            (
                json!({"status": {"nodeInfo": {"swap": {"capacity": -1}}}}),
                vec!["metadata.nodeSwapStatus.capacity: Invalid value: -1: must be greater than 0"],
            ),
        ] {
            check(&want, &o, |e| validate(&o, e));
        }
    }

    #[test]
    fn updates() {
        let spec = |s: Value| json!({"spec": s});
        for (new, old, want) in [
            (spec(json!({"podCIDRs": ["10.0.0.0/24"], "providerID": "a"})), spec(json!({})), vec![]),
            (
                spec(json!({})),
                spec(json!({"podCIDRs": ["10.0.0.0/24"], "providerID": "a", "externalID": "b"})),
                vec![
                    "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
                    "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
                    "spec.externalID: Forbidden: may not be updated",
                ],
            ),
            (
                json!({"status": {"addresses": [{"type": "a", "address": "b"}, {"type": "a", "address": "b"}]}}),
                json!({}),
                vec!["status.addresses[1]: Duplicate value: {\"address\":\"b\",\"type\":\"a\"}"],
            ),
            (
                spec(json!({"configSource": {}})),
                json!({}),
                vec!["spec.configSource: Invalid value: {}: exactly one reference subfield must be non-nil"],
            ),
            (
                spec(json!({"configSource": {"configMap": {"name": "a", "namespace": "b", "uid": "c"}}})),
                json!({}),
                vec![
                    "spec.configSource.configMap.uid: Forbidden: uid must not be set in spec",
                    "spec.configSource.configMap.kubeletConfigKey: Required value",
                ],
            ),
            (
                json!({"status": {"config": {"active": {"configMap": {"name": "a", "namespace": "b", "uid": "c", "kubeletConfigKey": "d"}}}}}),
                json!({}),
                vec!["status.config.active.configMap.resourceVersion: Required value"],
            ),
        ] {
            check(&want, &new, |e| update(&new, &old, e));
        }
    }
}
