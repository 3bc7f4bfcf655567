//! Certificate signing requests: who asked, for what, and what became of it.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::fields::{self, below, int, list, set, text};
use super::{certificate_pem, keep_status};
use crate::catalog::{Requester, Strategy, keep_all_but_status};
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};
use crate::{names, table};

/// The strategy of certificate signing requests.
pub struct CertificateSigningRequest;

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";
/// Sorted, as messages list them.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const MIN_SECONDS: i64 = 600;

/// What a write may do to the status.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    Issue,
    Approve,
}

impl Strategy for CertificateSigningRequest {
    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn note_requester(&self, object: &mut Value, requester: &Requester<'_>) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        for f in ["username", "uid", "groups", "extra"] {
            spec.remove(f);
        }
        spec.insert("username".into(), requester.name.into());
        if !requester.uid.is_empty() {
            spec.insert("uid".into(), requester.uid.into());
        }
        if !requester.groups.is_empty() {
            spec.insert("groups".into(), requester.groups.into());
        }
        if !requester.extra.is_empty() {
            spec.insert("extra".into(), json!(requester.extra));
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
        new["spec"] = old["spec"].clone();
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
        for kind in [APPROVED, DENIED] {
            preserve(new, old, kind);
        }
        stamp(new, old);
    }

    fn prepare_for_approval(&self, new: &mut Value, old: &Value) {
        let conditions = fields::shown(below(new, "status"), "conditions");
        keep_all_but_status(new, old);
        new["status"] = old.get("status").cloned().unwrap_or_else(|| json!({}));
        if conditions.is_null() {
            new["status"].as_object_mut().map(|s| s.remove("conditions"));
        } else {
            new["status"]["conditions"] = conditions;
        }
        stamp(new, old);
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let (spec, path) = (below(object, "spec"), Path::new("spec"));
        if let Err(why) = certificate_pem::request(text(spec, "request")) {
            errors.invalid(&path.child("request"), text(spec, "request"), why);
        }
        usages(&fields::texts(spec, "usages"), &path.child("usages"), errors);
        let signer = text(spec, "signerName");
        if signer == "kubernetes.io/legacy-unknown" {
            let text = "the legacy signerName is not allowed via this API version";
            errors.invalid(&path.child("signerName"), signer, text);
        } else {
            signer_name(signer, &path.child("signerName"), errors);
        }
        let seconds = int(spec, "expirationSeconds");
        if set(spec, "expirationSeconds").is_some() && seconds < MIN_SECONDS {
            let text = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.invalid(&path.child("expirationSeconds"), seconds, text);
        }
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        validate_status(new, old, May::Issue, errors);
    }

    fn validate_approval(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        validate_status(new, old, May::Approve, errors);
    }

    /// Any name a path can have.
    fn validate_name(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let spec = below(o, "spec");
        let duration = set(spec, "expirationSeconds")
            .map_or("<none>".into(), |_| table::human_duration(int(spec, "expirationSeconds")));
        let signer = text(spec, "signerName");
        vec![
            meta::name(o).into(),
            table::age(o, now).into(),
            if signer.is_empty() { "<none>".into() } else { signer.into() },
            text(spec, "username").into(),
            duration.into(),
            state(below(o, "status")).into(),
        ]
    }
}

/// What has become of it, in the order of what counts most.
fn state(status: &Value) -> String {
    let has = |kind: &str| list(status, "conditions").iter().any(|c| text(c, "type") == kind);
    let mut state = match (has(DENIED), has(APPROVED)) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has(FAILED) {
        state.push_str(",Failed");
    }
    if !text(status, "certificate").is_empty() {
        state.push_str(",Issued");
    }
    state
}

fn of_type<'a>(object: &'a Value, kind: &str) -> Vec<&'a Value> {
    list(below(object, "status"), "conditions").iter().filter(|c| text(c, "type") == kind).collect()
}

/// Puts back the conditions of a type as they were, unless some came or went: that is then refused.
fn preserve(new: &mut Value, old: &Value, kind: &str) {
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
fn stamp(new: &mut Value, old: &Value) {
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

fn usages(usages: &[&str], path: &Path, errors: &mut ErrorList) {
    if usages.is_empty() {
        errors.required(path, "");
    }
    for (i, u) in usages.iter().enumerate() {
        if !USAGES.contains(u) {
            errors.not_supported(&path.index(i), *u, USAGES);
        }
    }
    fields::no_repeats(usages, path, errors);
}

/// Reasons to refuse the name of a signer: a domain, a slash and a path of subdomains.
pub(super) fn signer_name(name: &str, path: &Path, errors: &mut ErrorList) {
    const MAX_DOMAIN: usize = 253;
    const MAX_NAME: usize = MAX_DOMAIN + 1 + 253 + 63 + 1;
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    let segments: Vec<&str> = name.split('/').collect();
    let [domain, rest] = segments.as_slice() else {
        let text = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.invalid(path, name, text);
        return;
    };
    if domain.len() > MAX_DOMAIN {
        errors.too_long(path, MAX_DOMAIN);
    }
    labels(domain, names::dns1123_label, path, errors);
    if !domain.contains('.') {
        let text = "should be a domain with at least two segments separated by dots";
        errors.invalid(path, *domain, text);
    }
    labels(rest, names::dns1123_subdomain, path, errors);
    if name.len() > MAX_NAME {
        errors.too_long(path, MAX_NAME);
    }
}

/// The reasons why the first bad label of a dotted name is refused.
fn labels(dotted: &str, rule: fn(&str) -> Vec<String>, path: &Path, errors: &mut ErrorList) {
    let Some(label) = dotted.split('.').find(|l| !rule(l).is_empty()) else { return };
    for e in rule(label) {
        errors.invalid(path, dotted, format!("validating label {label:?}: {e}"));
    }
}

fn validate_status(new: &Value, old: &Value, may: May, errors: &mut ErrorList) {
    let status = Path::new("status");
    let path = status.child("conditions");
    let (after, before) = (below(new, "status"), below(old, "status"));
    validate_conditions(after, before, &path, errors);
    let certificate = text(after, "certificate");
    if certificate != text(before, "certificate")
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

/// What stored requests already have wrong stays accepted.
fn validate_conditions(after: &Value, before: &Value, path: &Path, errors: &mut ErrorList) {
    let types = |s: &Value| -> Vec<String> {
        list(s, "conditions").iter().map(|c| text(c, "type").to_owned()).collect()
    };
    let old = types(before);
    let both = |t: &[String]| t.iter().any(|t| t == APPROVED) && t.iter().any(|t| t == DENIED);
    let repeats = |t: &[String]| t.iter().collect::<HashSet<_>>().len() != t.len();
    let mut seen = HashSet::new();
    for (i, c) in list(after, "conditions").iter().enumerate() {
        let (path, kind) = (path.index(i), text(c, "type"));
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
            let path = Path::new("status").child("conditions");
            errors.invalid(&path, kind, "Approved and Denied conditions are mutually exclusive");
        }
        if !seen.insert(kind) && !repeats(&old) {
            errors.duplicate(&path.child("type"), kind);
        }
    }
}
