//! Where a webhook is: a URL or a service (`apiserver/pkg/util/webhook`).

use serde_json::Value;

use super::fields::{int, set, set_text, text};
use crate::field::{ErrorList, Path};
use crate::names;

const FORM: &str = "; desired format: https://host[/path]";

/// Reasons to refuse the place of a webhook.
pub fn client_config(config: &Value, path: &Path, errors: &mut ErrorList) {
    match (set_text(config, "url"), set(config, "service")) {
        (Some(u), None) => url(u, &path.child("url"), errors),
        (None, Some(s)) => service(s, &path.child("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

fn url(url: &str, path: &Path, errors: &mut ErrorList) {
    let (before_fragment, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (address, query) = before_fragment.split_once('?').unwrap_or((before_fragment, ""));
    let (scheme, rest) = scheme(address);
    let authority = rest.strip_prefix("//").map_or("", |r| r.split('/').next().unwrap_or(""));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    if scheme != "https" {
        errors.invalid(path, scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid(path, "", format!("host must be specified{FORM}"));
    }
    if let Some(user) = user {
        errors.invalid(path, user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        errors.invalid(path, fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        errors.invalid(path, query, "query parameters are not permitted in the URL");
    }
}

/// The scheme, in lower case, and what follows it.
fn scheme(address: &str) -> (String, &str) {
    match address.split_once(':') {
        Some((s, rest))
            if s.starts_with(|c: char| c.is_ascii_alphabetic())
                && s.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
        {
            (s.to_lowercase(), rest)
        }
        _ => (String::new(), address),
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

/// Reasons to refuse the versions of reviews that a webhook takes. `words` completes "must specify one of".
pub fn review_versions(versions: &[&str], detail: &str, path: &Path, errors: &mut ErrorList) {
    const ACCEPTED: [&str; 2] = ["v1", "v1beta1"];
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
    if !versions.iter().any(|v| ACCEPTED.contains(v)) {
        errors.invalid(path, versions.to_vec(), "must include at least one of v1, v1beta1");
    }
}
