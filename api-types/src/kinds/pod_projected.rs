//! Validation of projected volumes: files of several sources in one place.

use std::collections::HashSet;

use serde_json::Value;

use super::certificatesigningrequest::signer_name;
use super::fields::{self, int, list, required, set, set_text, text};
use super::pod_volumes::{downward_file, items};
use super::volume_sources::local_path;
use crate::field::{ErrorList, Path};
use crate::names;

const KEY_TYPES: &[&str] = &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const MIN_TOKEN_SECONDS: i64 = 10 * 60;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;
const MIN_CERTIFICATE_SECONDS: i64 = 3600;
/// 91 days, and one of the signers that are Kubernetes' own.
const MAX_CERTIFICATE_SECONDS: i64 = 7_862_400;
const MAX_OWN_CERTIFICATE_SECONDS: i64 = 86_400;
const CERTIFICATE_FILES: [&str; 3] = ["credentialBundlePath", "keyPath", "certificateChainPath"];

/// Reasons to refuse the sources.
pub fn validate(projected: &Value, path: &Path, errors: &mut ErrorList) {
    let mut files = Files { seen: HashSet::new(), path };
    for (i, source) in list(projected, "sources").iter().enumerate() {
        let at = path.child("sources").index(i);
        for field in ["secret", "configMap"] {
            let Some(s) = set(source, field) else { continue };
            required(s, "name", &at.child(field), errors);
            items(s, &at.child(field), errors);
            for item in list(s, "items") {
                files.take(text(item, "path"), text(s, "name"), errors);
            }
        }
        if let Some(s) = set(source, "downwardAPI") {
            for file in list(s, "items") {
                downward_file(file, &at.child("downwardAPI"), errors);
                files.take(text(file, "path"), text(file, "path"), errors);
            }
        }
        if let Some(s) = set(source, "serviceAccountToken") {
            token(s, path, &at.child("serviceAccountToken"), errors);
        }
        if let Some(s) = set(source, "clusterTrustBundle") {
            trust_bundle(s, &at.child("clusterTrustBundle"), errors);
            files.take(text(s, "path"), text(s, "path"), errors);
        }
        if let Some(s) = set(source, "podCertificate") {
            certificate(s, &mut files, &at.child("podCertificate"), errors);
        }
        if source.as_object().is_some_and(|s| s.values().filter(|v| !v.is_null()).count() > 1) {
            errors.forbidden(&at, "may not specify more than 1 volume type per source");
        }
    }
}

/// The files so far: no two may be the same.
struct Files<'a> {
    seen: HashSet<String>,
    path: &'a Path,
}

impl Files<'_> {
    /// Takes a file, `shown` being what upstream shows where it is there already.
    fn take(&mut self, file: &str, shown: &str, errors: &mut ErrorList) {
        if !file.is_empty() && !self.seen.insert(file.to_owned()) {
            errors.invalid(self.path, shown, "conflicting duplicate paths");
        }
    }
}

fn token(s: &Value, volume: &Path, path: &Path, errors: &mut ErrorList) {
    let seconds = int(s, "expirationSeconds");
    let at = path.child("expirationSeconds");
    if seconds < MIN_TOKEN_SECONDS {
        errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > MAX_TOKEN_SECONDS {
        errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    // Upstream names the volume, not the source.
    if let Some(file) = required(s, "path", volume, errors) {
        local_path(file, &volume.child("path"), errors);
    }
}

fn trust_bundle(s: &Value, path: &Path, errors: &mut ErrorList) {
    match (set_text(s, "name"), set_text(s, "signerName")) {
        (Some(_), Some(_)) => {
            errors.invalid(path, s.clone(), "only one of name and signerName may be used");
        }
        (Some(name), None) => {
            let at = path.child("name");
            if name.is_empty() {
                errors.required(&at, "must be a valid object name");
            }
            for why in bundle_name(name) {
                errors.invalid(&at, name, format!("not a valid clustertrustbundlename: {why}"));
            }
            if let Some(selector) = set(s, "labelSelector") {
                let why = "labelSelector must be unset if name is specified";
                errors.invalid(&path.child("labelSelector"), selector.clone(), why);
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.required(&path.child("signerName"), "must be a valid signer name");
            }
            signer_name(signer, &path.child("signerName"), errors);
            fields::selector(s, "labelSelector", path, errors);
        }
        (None, None) => errors.required(path, "either name or signerName must be specified"),
    }
    required(s, "path", path, errors);
    local_path(text(s, "path"), &path.child("path"), errors);
}

/// The bundle of a signer begins with the signer's name.
fn bundle_name(name: &str) -> Vec<String> {
    names::dns1123_subdomain(name.rsplit_once(':').map_or(name, |(_, rest)| rest))
}

fn certificate(s: &Value, files: &mut Files<'_>, path: &Path, errors: &mut ErrorList) {
    let signer = text(s, "signerName");
    signer_name(signer, &path.child("signerName"), errors);
    super::object_meta::annotations(s.get("userAnnotations"), &path.child("userAnnotations"), errors);
    let kind = text(s, "keyType");
    if !KEY_TYPES.contains(&kind) {
        errors.not_supported(&path.child("keyType"), kind, KEY_TYPES);
    }
    if set(s, "maxExpirationSeconds").is_some() {
        let (seconds, at) = (int(s, "maxExpirationSeconds"), path.child("maxExpirationSeconds"));
        if seconds < MIN_CERTIFICATE_SECONDS {
            errors.invalid(&at, seconds, "if provided, maxExpirationSeconds must be >= 3600");
        }
        let domain = signer.split('/').next().unwrap_or("");
        let own = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
        let max = if own { MAX_OWN_CERTIFICATE_SECONDS } else { MAX_CERTIFICATE_SECONDS };
        if seconds > max {
            errors.invalid(&at, seconds, format!("if provided, maxExpirationSeconds must be <= {max}"));
        }
    }
    let given: Vec<&str> = CERTIFICATE_FILES.into_iter().filter(|f| !text(s, f).is_empty()).collect();
    for f in &given {
        local_path(text(s, f), &path.child(f), errors);
        files.take(text(s, f), text(s, f), errors);
    }
    if given.is_empty() {
        errors.required(
            path,
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        );
    }
}
