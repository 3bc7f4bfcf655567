//! Validation of where a pod wants to be: near nodes, near and far from other pods, spread
//! (`pkg/apis/core/validation/validation.go`).

use std::collections::HashSet;

use serde_json::Value;

use super::fields::{self, below, int, label_name, list, set, text, texts};
use super::node_selector;
use crate::field::{ErrorList, Path};
use crate::names;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Reasons to refuse the affinity of a pod with this spec.
pub fn validate(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let (affinity, path) = (below(spec, "affinity"), path.child("affinity"));
    let (nodes, at) = (below(affinity, "nodeAffinity"), path.child("nodeAffinity"));
    if let Some(selector) = set(nodes, REQUIRED) {
        node_selector::required(selector, &at.child(REQUIRED), errors);
    }
    for (i, t) in list(nodes, PREFERRED).iter().enumerate() {
        let at = at.child(PREFERRED).index(i);
        weight(t, &at, errors);
        node_selector::term(below(t, "preference"), false, &at.child("preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (pods, at) = (below(affinity, kind), path.child(kind));
        for (i, t) in list(pods, REQUIRED).iter().enumerate() {
            term(t, &at.child(REQUIRED).index(i), errors);
        }
        for (i, t) in list(pods, PREFERRED).iter().enumerate() {
            let at = at.child(PREFERRED).index(i);
            weight(t, &at, errors);
            term(below(t, "podAffinityTerm"), &at.child("podAffinityTerm"), errors);
        }
    }
}

fn weight(t: &Value, path: &Path, errors: &mut ErrorList) {
    if !(1..=100).contains(&int(t, "weight")) {
        errors.invalid(&path.child("weight"), int(t, "weight"), "must be in the range 1-100");
    }
}

fn term(t: &Value, path: &Path, errors: &mut ErrorList) {
    for field in ["labelSelector", "namespaceSelector"] {
        fields::selector(t, field, path, errors);
    }
    for name in texts(t, "namespaces") {
        errors.invalid_all(&path.child("namespace"), name, names::dns1123_label(name));
    }
    label_keys(t, path, errors);
    let key = text(t, "topologyKey");
    if key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    label_name(key, &path.child("topologyKey"), errors);
}

/// Keys of labels whose values the pod's own are taken for.
fn label_keys(t: &Value, path: &Path, errors: &mut ErrorList) {
    let (same, other) = (texts(t, "matchLabelKeys"), texts(t, "mismatchLabelKeys"));
    let no_selector = set(t, "labelSelector").is_none();
    for (field, keys) in [("matchLabelKeys", &same), ("mismatchLabelKeys", &other)] {
        if no_selector && !keys.is_empty() {
            errors.forbidden(&path.child(field), "must not be specified when labelSelector is not set");
        }
        for (i, key) in keys.iter().enumerate() {
            label_name(key, &path.child(field).index(i), errors);
        }
    }
    for (i, key) in same.iter().enumerate().filter(|(_, k)| other.contains(k)) {
        let why = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.invalid(&path.child("matchLabelKeys").index(i), *key, why);
    }
}

/// Refuses constraints of spreading that mean nothing or say the same twice.
pub fn spread(spec: &Value, path: &Path, errors: &mut ErrorList) {
    const WHEN: [&str; 2] = ["DoNotSchedule", "ScheduleAnyway"];
    let mut seen = HashSet::new();
    for (i, c) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(i);
        let (key, when) = (text(c, "topologyKey"), text(c, "whenUnsatisfiable"));
        if int(c, "maxSkew") <= 0 {
            errors.invalid(&path.child("maxSkew"), int(c, "maxSkew"), "must be greater than zero");
        }
        if key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        } else {
            label_name(key, &path.child("topologyKey"), errors);
        }
        if !WHEN.contains(&when) {
            errors.not_supported(&path.child("whenUnsatisfiable"), when, &WHEN);
        }
        if !seen.insert((key, when)) {
            let pair = format!("{{{key}, {when}}}");
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), pair);
        }
        if set(c, "minDomains").is_some() {
            let (n, at) = (int(c, "minDomains"), path.child("minDomains"));
            if n <= 0 {
                errors.invalid(&at, n, "must be greater than zero");
            }
            if when != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
                errors.invalid(&at, n, why);
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            fields::word(c, field, &["Honor", "Ignore"], &path, errors);
        }
        spread_keys(c, &path, errors);
        fields::selector(c, "labelSelector", &path, errors);
    }
}

fn spread_keys(c: &Value, path: &Path, errors: &mut ErrorList) {
    let (keys, at) = (texts(c, "matchLabelKeys"), path.child("matchLabelKeys"));
    if keys.is_empty() {
        return;
    }
    let selector = below(c, "labelSelector");
    if selector.is_null() {
        errors.forbidden(&at, "must not be specified when labelSelector is not set");
    }
    for (i, key) in keys.into_iter().enumerate() {
        label_name(key, &at.index(i), errors);
        let expressions = list(selector, "matchExpressions").iter().any(|e| text(e, "key") == key);
        if below(selector, "matchLabels").get(key).is_some() || expressions {
            errors.invalid(&at.index(i), key, "exists in both matchLabelKeys and labelSelector");
        }
    }
}
