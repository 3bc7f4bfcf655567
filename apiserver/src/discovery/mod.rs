//! Discovery: what is served, told in the old form (a document a group) and the aggregated one (v2).

use std::fmt::Write as _;

use api_types::catalog::{self, Kind};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::endpoints::created_only;
use crate::endpoints::respond::{self, Answer};
use crate::request::negotiate;

/// The version of the API that is served.
pub const VERSION: (&str, &str, &str) = ("1", "36", "v1.36.0");

/// Answers a discovery path; `None` when it is none.
pub fn answer(path: &str, accept: Option<&str>) -> Option<Answer> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    let value = match parts.as_slice() {
        ["version"] => version(),
        [root @ ("api" | "apis")] => {
            if negotiate::wants_aggregated_discovery(accept) {
                return Some(Ok(aggregated(*root == "api")));
            }
            if *root == "api" { core_versions() } else { groups() }
        }
        ["api", "v1"] => resources("", "v1")?,
        ["apis", group] => group_document(group)?,
        ["apis", group, version] => resources(group, version)?,
        _ => return None,
    };
    Some(negotiate::negotiate(accept).map(|_| {
        let mut r = respond::json(StatusCode::OK, &value);
        r.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
        r
    }))
}

/// Whether a path lies below something that is served: what is not there is then told by a `Status`, as it is by
/// upstream's router, and elsewhere by plain text.
pub fn serves(path: &str) -> bool {
    let mut parts = path.split('/').filter(|p| !p.is_empty());
    match parts.next() {
        Some("api") => true,
        Some("apis") => parts.next().is_some_and(|group| group_document(group).is_some()),
        _ => false,
    }
}

fn version() -> Value {
    json!({
        "major": VERSION.0, "minor": VERSION.1,
        "emulationMajor": VERSION.0, "emulationMinor": VERSION.1,
        "minCompatibilityMajor": VERSION.0, "minCompatibilityMinor": "35",
        "gitVersion": concat!("v1.36.0+skiff.", env!("CARGO_PKG_VERSION")),
        "gitCommit": option_env!("SKIFF_COMMIT").unwrap_or("unknown"),
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none (Rust)",
        "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "x86_64") { "amd64" } else { std::env::consts::ARCH }),
    })
}

fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]})
}

/// Groups of stored kinds, and of questions that are only answered.
fn all_groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut out = catalog::groups();
    for (group, ..) in created_only() {
        if !out.iter().any(|(g, _)| *g == group) {
            out.push((group, vec!["v1"]));
        }
    }
    out
}

/// Every served version of every group.
pub fn group_versions() -> impl Iterator<Item = (&'static str, &'static str)> {
    all_groups().into_iter().flat_map(|(g, versions)| versions.into_iter().map(move |v| (g, v)))
}

fn group_value(group: &str, versions: &[&str]) -> Value {
    let of = |v: &&str| json!({"groupVersion": format!("{group}/{v}"), "version": v});
    json!({"name": group, "versions": versions.iter().map(of).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(of)})
}

fn groups() -> Value {
    let all = all_groups();
    let list = all.iter().filter(|(g, _)| !g.is_empty()).map(|(g, v)| group_value(g, v));
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list.collect::<Vec<_>>()})
}

fn group_document(group: &str) -> Option<Value> {
    let all = all_groups();
    let (group, versions) = all.iter().find(|(g, _)| *g == group && !g.is_empty())?;
    let mut v = group_value(group, versions);
    v["kind"] = "APIGroup".into();
    v["apiVersion"] = "v1".into();
    Some(v)
}

/// What can only be created of a group, as (kind, plural, namespaced).
fn group_created_only(group: &str) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    created_only().filter(move |(g, ..)| *g == group).map(|(_, kind, plural, ns)| (kind, plural, ns))
}

fn resources(group: &str, version: &str) -> Option<Value> {
    all_groups().iter().find(|(g, v)| *g == group && v.contains(&version))?;
    let mut list = Vec::new();
    for (kind, plural, namespaced) in group_created_only(group) {
        list.push(json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced,
            "kind": kind, "verbs": ["create"]}));
    }
    for k in catalog::all().iter().filter(|k| k.group == group && k.version == version) {
        list.push(resource(k));
        for s in k.subresources {
            let (g, v, kind) = s.body(k.kind).unwrap_or((k.group, k.version, k.kind));
            let mut r = json!({"name": format!("{}/{}", k.plural, s.path()), "singularName": "",
                "namespaced": k.namespaced(), "kind": kind, "verbs": s.verbs()});
            if (g, v) != (k.group, k.version) {
                r["group"] = g.into();
                r["version"] = v.into();
            }
            list.push(r);
        }
    }
    list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut out = json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": list});
    if !group.is_empty() {
        out["apiVersion"] = "v1".into();
    }
    Some(out)
}

fn resource(k: &Kind) -> Value {
    let mut r = json!({"name": k.plural, "singularName": k.singular, "namespaced": k.namespaced(),
        "kind": k.kind, "verbs": k.verbs, "storageVersionHash": storage_version_hash(k)});
    if !k.short_names.is_empty() {
        r["shortNames"] = json!(k.short_names);
    }
    if !k.categories.is_empty() {
        r["categories"] = json!(k.categories);
    }
    r
}

/// Eight bytes that change when the stored version does.
fn storage_version_hash(k: &Kind) -> String {
    use base64::Engine;
    let digest = Sha256::digest(format!("{}/{}", k.stored_version, k.kind));
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

fn aggregated(core: bool) -> http::Response<axum::body::Body> {
    let items: Vec<Value> = all_groups()
        .into_iter()
        .filter(|(g, _)| g.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions.iter().map(|v| aggregated_version(group, v)).collect();
            let mut meta = json!({"creationTimestamp": null});
            if !group.is_empty() {
                meta["name"] = group.into();
            }
            json!({"metadata": meta, "versions": versions})
        })
        .collect();
    let value = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items});
    let etag = etag(&value.to_string());
    let mut r = respond::json(StatusCode::OK, &value);
    r.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    );
    r.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(v) = HeaderValue::from_str(&etag) {
        r.headers_mut().insert(header::ETAG, v);
    }
    r
}

/// A quoted hash of a document.
pub fn etag(document: &str) -> String {
    let digest = Sha256::digest(document);
    let mut hex = String::with_capacity(66);
    hex.push('"');
    for b in digest {
        // Writing to a String cannot fail.
        write!(hex, "{b:02X}").unwrap_or_default();
    }
    hex.push('"');
    hex
}

fn aggregated_version(group: &str, version: &str) -> Value {
    let kind = |g: &str, v: &str, k: &str| json!({"group": g, "version": v, "kind": k});
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let mut list = Vec::new();
    for (name, plural, namespaced) in group_created_only(group) {
        list.push(json!({"resource": plural, "responseKind": kind(group, version, name),
            "scope": scope(namespaced), "singularResource": name.to_lowercase(), "verbs": ["create"]}));
    }
    for k in catalog::all().iter().filter(|k| k.group == group && k.version == version) {
        let mut r = json!({"resource": k.plural, "responseKind": kind(group, version, k.kind),
            "scope": scope(k.namespaced()), "singularResource": k.singular, "verbs": k.verbs});
        if !k.short_names.is_empty() {
            r["shortNames"] = json!(k.short_names);
        }
        if !k.categories.is_empty() {
            r["categories"] = json!(k.categories);
        }
        let below: Vec<Value> = k
            .subresources
            .iter()
            .map(|s| {
                let (g, v, name) = s.body(k.kind).unwrap_or((k.group, k.version, k.kind));
                json!({"subresource": s.path(), "responseKind": kind(g, v, name), "verbs": s.verbs()})
            })
            .collect();
        if !below.is_empty() {
            r["subresources"] = below.into();
        }
        list.push(r);
    }
    json!({"version": version, "resources": list, "freshness": "Current"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_name_every_kind() {
        let core = resources("", "v1").unwrap();
        let names: Vec<&str> =
            core["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
        for n in ["pods", "pods/log", "pods/exec", "services", "nodes/status", "namespaces/finalize"] {
            assert!(names.contains(&n), "{n}");
        }
        assert!(resources("apps", "v2").is_none());
        assert!(groups()["groups"].as_array().unwrap().iter().any(|g| g["name"] == "authorization.k8s.io"));
    }
}
