//! Rules that workloads and their relatives share; [`super::fields`] has the plainer ones.

use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::intstr;
use crate::meta;
use crate::names;

pub(crate) use super::fields::{below as part, list, set_text as text};

/// A whole number, where it is set.
pub(crate) fn int(object: &Value, field: &str) -> Option<i64> {
    object.get(field).and_then(Value::as_i64)
}

/// Refuses those of the fields that are set below zero.
pub(crate) fn non_negative(object: &Value, fields: &[&str], path: &Path, errors: &mut ErrorList) {
    for f in fields {
        errors.non_negative(&path.child(f), int(object, f).unwrap_or(0));
    }
}

/// Refuses a count of hash collisions that goes back.
pub(crate) fn collisions_only_grow(new: &Value, old: &Value, errors: &mut ErrorList) {
    let at = |o: &Value| meta::at(o, &["status", "collisionCount"]).and_then(Value::as_i64);
    if at(old).is_some_and(|before| at(new).is_none_or(|after| after < before)) {
        let path = Path::new("status").child("collisionCount");
        errors.invalid(&path, at(new).unwrap_or(0), "cannot be decremented");
    }
}

/// Refuses what is neither a count from 0 nor a percentage.
pub(crate) fn int_or_percent(value: &Value, path: &Path, errors: &mut ErrorList) {
    match value {
        Value::String(s) if intstr::percent(s).is_none() => errors.invalid(
            path,
            s.as_str(),
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
        Value::Number(n) => errors.non_negative(path, n.as_i64().unwrap_or(0)),
        _ => {}
    }
}

/// Refuses a percentage above 100.
pub(crate) fn at_most_all(value: &Value, path: &Path, errors: &mut ErrorList) {
    if let Some(s) = value.as_str().filter(|s| intstr::percent(s).is_some_and(|p| p > 100)) {
        errors.invalid(path, s, "must not be greater than 100%");
    }
}

/// Whether a count or a percentage is nothing; what is neither is not.
pub(crate) fn is_zero(value: &Value) -> bool {
    match value {
        // What is no percentage is as good as the number it is not.
        Value::String(s) => intstr::percent(s).unwrap_or_else(|| s.parse().unwrap_or(0)) == 0,
        other => other.as_i64().unwrap_or(0) == 0,
    }
}

/// Whether a condition of the status is `True`.
pub(crate) fn condition_is_true(object: &Value, kind: &str) -> bool {
    condition_is(object, kind, "True")
}

/// Whether a condition of the status has this status.
pub(crate) fn condition_is(object: &Value, kind: &str, status: &str) -> bool {
    let conditions = meta::at(object, &["status", "conditions"]).and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|c| text(c, "type") == Some(kind) && text(c, "status") == Some(status))
}

/// Refuses what is no path behind a domain: `acme.io/foo`.
pub(crate) fn domain_prefixed_path(value: &str, path: &Path, errors: &mut ErrorList) {
    if value.is_empty() {
        errors.required(path, "");
        return;
    }
    let Some((host, rest)) = value.split_once('/').filter(|(h, r)| !h.is_empty() && !r.is_empty()) else {
        errors.invalid(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    };
    errors.invalid_all(path, host, names::dns1123_subdomain(host));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    if !rest.bytes().all(allowed) {
        let text = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        errors.invalid(path, rest, text);
    }
}

/// What the creator of an object with a name that pods cannot have as their host's should know.
pub(crate) fn name_makes_hostnames(object: &Value) -> Vec<String> {
    let why = names::dns1123_label(meta::name(object));
    if meta::name(object).is_empty() || why.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
        why.join(" ")
    )]
}
