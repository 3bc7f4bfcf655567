//! Certificate signing requests: who asked, for what, and what became of it.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::certificate_status::{self, APPROVED, DENIED, FAILED, May};
use super::fields::{self, below, int, list, set, text};
use super::{certificate_pem, keep_status};
use crate::catalog::{Requester, Strategy, keep_spec};
use crate::field::{ErrorList, Path};
use crate::meta::{self, object_mut};
use crate::{names, table};

/// The strategy of certificate signing requests.
pub struct CertificateSigningRequest;

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
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";

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
        keep_spec(new, old);
        for kind in [APPROVED, DENIED] {
            certificate_status::preserve(new, old, kind);
        }
        certificate_status::stamp(new, old);
    }

    fn prepare_for_approval(&self, new: &mut Value, old: &Value) {
        let conditions = fields::shown(below(new, "status"), "conditions");
        new["spec"] = old["spec"].clone();
        new["status"] = old.get("status").cloned().unwrap_or_else(|| json!({}));
        if conditions.is_null() {
            new["status"].as_object_mut().map(|s| s.remove("conditions"));
        } else {
            new["status"]["conditions"] = conditions;
        }
        certificate_status::stamp(new, old);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        validate_spec(below(object, "spec"), &Value::Null, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        validate_spec(below(new, "spec"), below(old, "spec"), errors);
        certificate_status::validate_conditions(below(new, "status"), below(old, "status"), errors);
    }

    fn validate_status_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        certificate_status::validate_status(new, old, May::Issue, errors);
    }

    fn validate_approval(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        certificate_status::validate_status(new, old, May::Approve, errors);
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

/// Usages and signers that `before` has wrong stay accepted.
fn validate_spec(spec: &Value, before: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    if let Err(why) = certificate_pem::request(text(spec, "request")) {
        errors.invalid(&path.child("request"), text(spec, "request"), why);
    }
    usages(&fields::texts(spec, "usages"), &fields::texts(before, "usages"), &path.child("usages"), errors);
    let (signer, at) = (text(spec, "signerName"), path.child("signerName"));
    if signer == LEGACY_SIGNER && text(before, "signerName") != LEGACY_SIGNER {
        errors.invalid(&at, signer, "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(signer, &at, errors);
    }
    let seconds = int(spec, "expirationSeconds");
    if set(spec, "expirationSeconds").is_some() && seconds < MIN_SECONDS {
        let text = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&path.child("expirationSeconds"), seconds, text);
    }
}

fn usages(usages: &[&str], before: &[&str], path: &Path, errors: &mut ErrorList) {
    if usages.is_empty() {
        errors.required(path, "");
    }
    if before.iter().all(|u| USAGES.contains(u)) {
        for (i, u) in usages.iter().enumerate().filter(|(_, u)| !USAGES.contains(u)) {
            errors.not_supported(&path.index(i), *u, USAGES);
        }
    }
    if before.iter().collect::<HashSet<_>>().len() == before.len() {
        fields::no_repeats(usages, path, errors);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_may_go_on_being_wrong() {
        let good = json!({"usages": ["client auth"], "signerName": "a.b/c"});
        for (field, bad) in [
            ("usages", json!(["client auth", "client auth"])),
            ("usages", json!(["other"])),
            ("signerName", json!(LEGACY_SIGNER)),
        ] {
            let mut spec = good.clone();
            spec[field] = bad;
            let refused = |before: &Value| {
                let mut errors = ErrorList::new();
                validate_spec(&spec, before, &mut errors);
                errors.0.iter().filter(|e| e.field != "spec.request").count()
            };
            assert_eq!([refused(&Value::Null), refused(&good), refused(&spec)], [1, 1, 0], "{spec}");
        }
    }
}
