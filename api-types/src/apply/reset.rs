//! Fields that a write through a path cannot change, and which its manager therefore does not own.
//!
//! Upstream's strategies name them (`GetResetFields`): a write of the object does not own the status, one of the
//! status does not own the rest.

use serde_json::Value;

use super::diff::Diff;
use super::set::{self, Set};
use crate::catalog::{Kind, Subresource};

/// What of a write counts.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Everything but these fields and what is below them.
    Exclude(Set),
    /// Only what is below these paths; `*` is any item.
    Include(&'static [&'static [&'static str]]),
}

/// A container's resources are what a resize may change.
const RESIZE: &[&[&str]] = &[
    &["f:spec", "f:containers", "*", "f:resources"],
    &["f:spec", "f:containers", "*", "f:resizePolicy"],
    &["f:spec", "f:initContainers", "*", "f:resources"],
    &["f:spec", "f:initContainers", "*", "f:resizePolicy"],
    &["f:spec", "f:resources"],
];

/// Kinds whose status updates leave all metadata as it is.
const STATUS_ALONE: [(&str, &str); 6] = [
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("apiregistration.k8s.io", "apiservices"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    ("resource.k8s.io", "resourceclaims"),
    ("storage.k8s.io", "volumeattachments"),
];

impl Filter {
    /// What counts of a write to `kind` through `subresource`.
    pub fn of(kind: &Kind, subresource: &str) -> Self {
        let name = (kind.group, kind.plural);
        let paths: &[&[&str]] = match subresource {
            "" if name == ("certificates.k8s.io", "certificatesigningrequests") => {
                &[&["f:spec"], &["f:status"]]
            }
            "" if kind.has(Subresource::Status) => &[&["f:status"]],
            "status" if name == ("", "pods") => {
                &[&["f:spec"], &["f:metadata", "f:deletionTimestamp"], &["f:metadata", "f:ownerReferences"]]
            }
            "status" if name == ("apps", "deployments") => &[&["f:spec"], &["f:metadata", "f:labels"]],
            "status" if STATUS_ALONE.contains(&name) => &[&["f:spec"], &["f:metadata"]],
            "status" => &[&["f:spec"]],
            "approval" => &[&["f:spec"], &["f:status", "f:certificate"]],
            "finalize" => &[&["f:status"]],
            "ephemeralcontainers" => return Self::Include(&[&["f:spec", "f:ephemeralContainers"]]),
            "resize" => return Self::Include(RESIZE),
            _ => &[],
        };
        Self::Exclude(set::of(paths))
    }

    /// Everything counts.
    pub fn none() -> Self {
        Self::Exclude(Set::new())
    }

    /// The part of a set that counts.
    pub fn set(&self, fields: Set) -> Set {
        match self {
            Self::Exclude(without) if without.is_empty() => fields,
            Self::Exclude(without) if without.values().all(set::is_member) => {
                let mut fields = fields;
                fields.retain(|k, _| !without.contains_key(k));
                fields
            }
            Self::Exclude(without) => set::recursive_difference(&fields, without),
            Self::Include(paths) => included(&fields, paths),
        }
    }

    /// The part of a change that counts.
    pub fn diff(&self, diff: Diff) -> Diff {
        Diff { changed: self.set(diff.changed), removed: self.set(diff.removed) }
    }
}

fn included(fields: &Set, paths: &[&[&str]]) -> Set {
    let mut out = Set::new();
    for (key, node) in set::nodes(fields) {
        let rest: Vec<&[&str]> = paths
            .iter()
            .filter_map(|p| p.split_first())
            .filter(|(first, _)| **first == "*" || *first == key)
            .map(|(_, rest)| rest)
            .collect();
        if rest.is_empty() {
            continue;
        }
        if rest.iter().any(|r| r.is_empty()) {
            out.insert(key.clone(), node.clone());
            continue;
        }
        // Upstream's matcher takes the steps of a path as members, where they are.
        let below = set::below(node).map(|s| included(s, &rest)).unwrap_or_default();
        if let Some(n) = set::node(set::is_member(node), below) {
            out.insert(key.clone(), n);
        }
    }
    out
}

/// What never has an owner, taken out of a set.
pub fn strip(fields: &mut Set) {
    fields.retain(|k, _| k != "f:apiVersion" && k != "f:kind");
    let Some(Value::Object(metadata)) = fields.get_mut("f:metadata") else { return };
    // The mark of metadata itself is no member either.
    metadata.remove(set::SELF);
    metadata.retain(|k, node| {
        let stripped = k.strip_prefix("f:").is_some_and(|n| super::diff::STRIPPED.contains(&n));
        !stripped || node.as_object().is_some_and(|m| set::nodes(m).next().is_some())
    });
    if metadata.is_empty() {
        fields.remove("f:metadata");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use serde_json::json;

    #[test]
    fn what_counts_of_a_write() {
        let all = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:ownerReferences": {}, "f:annotations": {"f:x": {}}},
            "f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:resources": {"f:limits": {}}}},
                "f:ephemeralContainers": {"k:{\"name\":\"e\"}": {".": {}, "f:image": {}}}},
            "f:status": {"f:phase": {}}});
        let pod = catalog::by_kind("", "v1", "Pod").unwrap();
        let deployment = catalog::by_kind("apps", "v1", "Deployment").unwrap();
        for (kind, through, kept, gone) in [
            (pod, "", &["f:metadata f:labels", "f:spec f:replicas"][..], &["f:status f:phase"][..]),
            (
                pod,
                "status",
                &["f:metadata f:labels", "f:status f:phase"],
                &["f:spec f:replicas", "f:metadata f:ownerReferences"],
            ),
            (
                deployment,
                "status",
                &["f:metadata f:annotations f:x", "f:status f:phase"],
                &["f:metadata f:labels", "f:metadata f:labels f:a"],
            ),
            (
                pod,
                "ephemeralcontainers",
                &["f:spec f:ephemeralContainers k:{\"name\":\"e\"} f:image"],
                &["f:metadata f:labels", "f:spec f:replicas", "f:status f:phase"],
            ),
            (
                pod,
                "resize",
                &["f:spec f:containers k:{\"name\":\"a\"} f:resources f:limits"],
                &["f:spec f:containers k:{\"name\":\"a\"} f:image", "f:spec f:replicas"],
            ),
        ] {
            let got = Filter::of(kind, through).set(all.as_object().unwrap().clone());
            for (paths, want) in [(kept, true), (gone, false)] {
                for p in paths {
                    let path: Vec<&str> = p.split(' ').collect();
                    assert_eq!(set::has(&got, &path), want, "{kind:?} {through}: {p}");
                }
            }
        }
    }

    #[test]
    fn metadata_of_the_system_is_stripped() {
        let mut s = json!({"f:kind": {}, "f:apiVersion": {}, "f:metadata": {".": {}, "f:name": {}, "f:uid": {}, "f:labels": {"f:a": {}}}, "f:data": {}})
            .as_object()
            .unwrap()
            .clone();
        strip(&mut s);
        assert_eq!(Value::Object(s), json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:data": {}}));
        let mut none = json!({"f:metadata": {"f:name": {}}}).as_object().unwrap().clone();
        strip(&mut none);
        assert!(none.is_empty());
    }
}
