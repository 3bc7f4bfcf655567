//! Conditions and certificates of signing requests: who may write what, and what is put in by itself.

use std::collections::HashSet;

use serde_json::Value;

use super::certificate_pem;
use super::fields::{self, below, list, set, text};
use crate::field::{ErrorList, Path};
use crate::meta;

/// The word of an approver.
pub const APPROVED: &str = "Approved";
/// The opposite.
pub const DENIED: &str = "Denied";
/// The signer gives up.
pub const FAILED: &str = "Failed";

/// What a write may do to the status.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// Put in a certificate.
    Issue,
    /// Approve or deny.
    Approve,
}

/// The conditions of a type.
fn of_type<'a>(object: &'a Value, kind: &str) -> Vec<&'a Value> {
    list(below(object, "status"), "conditions").iter().filter(|c| text(c, "type") == kind).collect()
}

/// Puts back the conditions of a type as they were, unless some came or went: that is then refused.
pub fn preserve(new: &mut Value, old: &Value, kind: &str) {
    let before = of_type(old, kind);
    if of_type(new, kind).len() != before.len() {
        return;
    }
    let conditions = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    let same = conditions.into_iter().flatten().filter(|c| text(c, "type") == kind);
    for (c, b) in same.zip(before) {
        *c = b.clone();
    }
}

/// Gives conditions the times that their writer has left out.
pub fn stamp(new: &mut Value, old: &Value) {
    let now = meta::now();
    let conditions = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for c in conditions.into_iter().flatten() {
        let since = of_type(old, text(c, "type"))
            .into_iter()
            .find(|o| text(o, "status") == text(c, "status") && set(o, "lastTransitionTime").is_some())
            .map(|o| text(o, "lastTransitionTime").to_owned());
        let Value::Object(c) = c else { continue };
        meta::default_to(c, "lastUpdateTime", now.as_str());
        meta::default_to(c, "lastTransitionTime", since.unwrap_or_else(|| now.clone()));
    }
}

/// Reasons to refuse a change of the status.
pub fn validate_status(new: &Value, old: &Value, may: May, errors: &mut ErrorList) {
    let status = Path::new("status");
    let path = status.child("conditions");
    let (after, before) = (below(new, "status"), below(old, "status"));
    validate_conditions(after, before, errors);
    let certificate = text(after, "certificate");
    if certificate != text(before, "certificate")
        && certificate_pem::certificate(text(before, "certificate")).is_ok()
        && let Err(why) = certificate_pem::certificate(certificate)
    {
        errors.invalid(&status.child("certificate"), "<certificate data>", why);
    }
    for kind in [APPROVED, DENIED, FAILED] {
        if of_type(new, kind).len() < of_type(old, kind).len() {
            errors.forbidden(&path, format!("updates may not remove a condition of type {kind:?}"));
        }
    }
    for kind in [APPROVED, DENIED] {
        if may != May::Approve && of_type(new, kind).len() > of_type(old, kind).len() {
            errors.forbidden(&path, format!("updates may not add a condition of type {kind:?}"));
        }
    }
    if certificate != text(before, "certificate") {
        let path = status.child("certificate");
        if may != May::Issue {
            errors.forbidden(&path, "updates may not set certificate content");
        } else if !text(before, "certificate").is_empty() {
            errors.forbidden(&path, "updates may not modify existing certificate content");
        }
    }
}

/// Reasons to refuse conditions; what stored requests already have wrong stays accepted.
pub fn validate_conditions(after: &Value, before: &Value, errors: &mut ErrorList) {
    let at = Path::new("status").child("conditions");
    let types = |s: &Value| -> Vec<String> {
        list(s, "conditions").iter().map(|c| text(c, "type").to_owned()).collect()
    };
    let old = types(before);
    let both = |t: &[String]| t.iter().any(|t| t == APPROVED) && t.iter().any(|t| t == DENIED);
    let repeats = |t: &[String]| t.iter().collect::<HashSet<_>>().len() != t.len();
    let mut seen = HashSet::new();
    for (i, c) in list(after, "conditions").iter().enumerate() {
        let (path, kind) = (at.index(i), text(c, "type"));
        if kind.is_empty() && !old.iter().any(String::is_empty) {
            errors.required(&path.child("type"), "");
        }
        let lasting = [APPROVED, DENIED, FAILED].contains(&kind);
        let statuses = if lasting { &["True"][..] } else { fields::CONDITION_STATUSES };
        if fields::required(c, "status", &path, errors).is_some() {
            fields::word(c, "status", statuses, &path, errors);
        }
        let other = if kind == APPROVED { DENIED } else { APPROVED };
        if (kind == APPROVED || kind == DENIED) && seen.contains(other) && !both(&old) {
            errors.invalid(&at, kind, "Approved and Denied conditions are mutually exclusive");
        }
        if !seen.insert(kind) && !repeats(&old) {
            errors.duplicate(&path.child("type"), kind);
        }
    }
}
