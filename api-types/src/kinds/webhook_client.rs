//! Where a webhook is: a URL or a service (`apiserver/pkg/util/webhook`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::pem::Pem;

use super::fields::{int, set, set_text, text};
use crate::field::{ErrorList, Path};
use crate::names;
use crate::url::Url;

const FORM: &str = "; desired format: https://host[/path]";

/// Reasons to refuse the place of a webhook.
pub fn client_config(config: &Value, path: &Path, errors: &mut ErrorList) {
    match (set_text(config, "url"), set(config, "service")) {
        (Some(u), None) => url(u, &path.child("url"), errors),
        (None, Some(s)) => service(s, &path.child("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

fn url(text: &str, path: &Path, errors: &mut ErrorList) {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => return errors.required(path, &format!("url must be a valid URL: {why}{FORM}")),
    };
    if url.scheme != "https" {
        errors.invalid(path, url.scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if url.host.is_empty() {
        errors.invalid(path, "", format!("host must be specified{FORM}"));
    }
    if let Some(user) = url.user {
        errors.invalid(path, user, "user information is not permitted in the URL");
    }
    if !url.fragment.is_empty() {
        errors.invalid(path, url.fragment, "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        errors.invalid(path, url.query, "query parameters are not permitted in the URL");
    }
}

fn service(s: &Value, path: &Path, errors: &mut ErrorList) {
    // Upstream gives both names to its check in the wrong order, so that each is reported for the other.
    for (value, field) in [("namespace", "name"), ("name", "namespace")] {
        if text(s, value).is_empty() {
            errors.required(&path.child(field), "");
        }
    }
    let port = int(s, "port");
    let reasons = names::port_number(port);
    if !reasons.is_empty() {
        errors.invalid(&path.child("port"), port, format!("port is not valid: {}", reasons.join(", ")));
    }
    if let Some(p) = set_text(s, "path") {
        service_path(p, &path.child("path"), errors);
    }
}

fn service_path(p: &str, path: &Path, errors: &mut ErrorList) {
    if p.is_empty() || p == "/" {
        return;
    }
    if p == "//" {
        errors.invalid(path, p, "segment[0] may not be empty");
        return;
    }
    if !p.starts_with('/') {
        errors.invalid(path, p, "must start with a '/'");
    }
    let inner = p.chars().next().map_or("", |first| &p[first.len_utf8()..]);
    for (i, step) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(path, p, format!("segment[{i}] may not be empty"));
            continue;
        }
        for e in names::dns1123_subdomain(step) {
            errors.invalid(path, p, format!("segment[{i}]: {e}"));
        }
    }
}

/// Why what should name the authority of a webhook (base64 of PEM) has no certificate; nothing is fine.
pub fn authority(bundle: &str) -> Result<(), String> {
    let pem = STANDARD.decode(bundle).unwrap_or_default();
    if pem.is_empty() {
        return Ok(());
    }
    let blocks: Vec<Pem> = Pem::iter_from_buffer(&pem).filter_map(Result::ok).collect();
    let certificates: Vec<&Pem> = blocks.iter().filter(|b| b.label == "CERTIFICATE").collect();
    if certificates.iter().any(|c| c.parse_x509().is_ok()) {
        return Ok(());
    }
    let why = match (blocks.is_empty(), certificates.is_empty()) {
        (true, _) => "unable to parse bytes as PEM block",
        (false, true) => "no valid certificate authority data seen",
        (false, false) => "failed to parse certificate: x509: malformed certificate",
    };
    Err(format!("unable to load root certificates: {why}"))
}

const ACCEPTED: [&str; 2] = ["v1", "v1beta1"];

/// Whether a webhook takes reviews in a version that this server can send.
pub fn has_accepted_version(versions: &[&str]) -> bool {
    versions.iter().any(|v| ACCEPTED.contains(v))
}

/// Reasons to refuse the versions of reviews that a webhook takes; `detail` is for an empty list. One of them must be
/// known where that is `required`.
pub fn review_versions(versions: &[&str], detail: &str, required: bool, path: &Path, errors: &mut ErrorList) {
    if versions.is_empty() {
        errors.required(path, detail);
        return;
    }
    for (i, v) in versions.iter().enumerate() {
        if versions[..i].contains(v) {
            errors.invalid(&path.index(i), *v, "duplicate version");
            continue;
        }
        errors.invalid_all(&path.index(i), v, names::dns1035_label(v));
    }
    if required && !has_accepted_version(versions) {
        errors.invalid(path, versions.to_vec(), "must include at least one of v1, v1beta1");
    }
}
