//! The OpenAPI documents, made from the type table, the catalog and the descriptions of `k8s-openapi`.
//!
//! `/openapi/v3` has one document a group and version; `/openapi/v2` is all of them as Swagger 2. Documents are made
//! at their first request and kept as bytes.

mod descriptions;
mod gnostic;
mod paths;
mod schemas;

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use api_types::catalog;
use api_types::status::Status;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::discovery::etag;
use crate::endpoints::respond::{self, Answer};
use crate::endpoints::reviews;

/// The two dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Swagger 2: `#/definitions/`.
    V2,
    /// OpenAPI 3: `#/components/schemas/`.
    V3,
}

impl Dialect {
    /// A reference to a schema.
    pub(crate) fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// A kind that is only asked and answered, never stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReviewKind {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
}

impl ReviewKind {
    /// Every review.
    fn all() -> impl Iterator<Item = Self> {
        reviews::ALL.into_iter().map(|(_, group, kind, plural, namespaced)| Self {
            group,
            kind,
            plural,
            namespaced,
        })
    }

    /// Its struct in the type table.
    fn type_name(&self) -> String {
        format!("{}.v1.{}", self.group.trim_end_matches(".k8s.io"), self.kind)
    }
}

/// The documents made so far.
#[derive(Default)]
pub struct Documents {
    v2: OnceLock<Bytes>,
    v2_protobuf: OnceLock<Bytes>,
    v3: Mutex<BTreeMap<String, Bytes>>,
}

impl Documents {
    /// Answers a path below `/openapi`; `None` when it is none. `asked` is the hash of the query, for documents of
    /// version 3.
    pub fn answer(&self, path: &str, asked: Option<&str>, headers: &HeaderMap) -> Option<Answer> {
        let rest = path.strip_prefix("/openapi/")?;
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let answer = match rest.trim_end_matches('/') {
            "v2" => self.v2(text(header::ACCEPT)),
            "v3" => Ok(index()),
            other => match other.strip_prefix("v3/").and_then(find) {
                Some(_) if asked.is_some_and(|h| h != hash()) => Ok(moved(path)),
                Some((group, version)) => Ok(lasting(self.v3(group, version), asked)),
                None => Err(Status::no_such_path()),
            },
        };
        Some(answer.map(|a| if_changed(a, text(header::IF_NONE_MATCH))))
    }

    fn v2(&self, accept: Option<&str>) -> Answer {
        let json =
            accept.is_none_or(|a| a.contains("json") && !a.trim().ends_with("protobuf") || a.contains("*/*"));
        if !json && accept.is_some_and(|a| a.contains(PROTOBUF)) {
            let bytes = self.v2_protobuf.get_or_init(|| gnostic::encode(&swagger()).into());
            let mut answer = document(bytes.clone());
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF_ANSWER));
            return Ok(answer);
        }
        if !json {
            return Err(Status::not_acceptable(&["application/json", PROTOBUF]));
        }
        let bytes = self.v2.get_or_init(|| Bytes::from(swagger().to_string()));
        Ok(document(bytes.clone()))
    }

    fn v3(&self, group: &'static str, version: &'static str) -> Response<Body> {
        let key = format!("{group}/{version}");
        if let Some(found) = self.v3.lock().get(&key) {
            return document(found.clone());
        }
        let types: Vec<_> =
            catalog::all().iter().filter(|k| k.group == group && k.version == version).collect();
        let mut paths = serde_json::Map::new();
        for k in &types {
            paths::add(k, Dialect::V3, &mut paths);
        }
        let reviews: Vec<_> = ReviewKind::all().filter(|r| r.group == group && version == "v1").collect();
        reviews.iter().for_each(|r| paths::add_review(r, Dialect::V3, &mut paths));
        let value = json!({"openapi": "3.0.0", "info": info(), "paths": paths,
            "components": {"schemas": schemas::closure(&types, &reviews, Dialect::V3)}});
        let bytes = Bytes::from(value.to_string());
        self.v3.lock().insert(key, bytes.clone());
        document(bytes)
    }
}

/// The whole Swagger 2 document.
fn swagger() -> Value {
    let mut paths = serde_json::Map::new();
    let mut types = Vec::new();
    for k in catalog::all() {
        paths::add(k, Dialect::V2, &mut paths);
        types.push(k);
    }
    let reviews: Vec<_> = ReviewKind::all().collect();
    reviews.iter().for_each(|r| paths::add_review(r, Dialect::V2, &mut paths));
    json!({"swagger": "2.0", "info": info(), "paths": paths,
        "definitions": schemas::closure(&types, &reviews, Dialect::V2)})
}

/// What the protobuf form calls itself in an answer: an `@` is not allowed there.
const PROTOBUF_ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The media type in which older clients ask for version 2.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// To the document as it is now: who asks with a hash keeps what it gets.
fn moved(path: &str) -> Response<Body> {
    let mut r = Response::new(Body::empty());
    *r.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(v) = HeaderValue::from_str(&format!("{path}?hash={}", hash())) {
        r.headers_mut().insert(header::LOCATION, v);
    }
    r
}

/// A document that was asked for by its hash never changes.
fn lasting(mut r: Response<Body>, asked: Option<&str>) -> Response<Body> {
    if asked.is_some() {
        let headers = r.headers_mut();
        headers
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable, max-age=31536000"));
    }
    r
}

/// 304 for who has the document already.
fn if_changed(r: Response<Body>, have: Option<&str>) -> Response<Body> {
    let Some(tag) = r.headers().get(header::ETAG).cloned() else { return r };
    if !have.is_some_and(|h| h.split(',').any(|h| h.trim() == tag)) {
        return r;
    }
    let mut unchanged = Response::new(Body::empty());
    *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
    unchanged.headers_mut().insert(header::ETAG, tag);
    unchanged
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": crate::discovery::VERSION.2})
}

fn document(bytes: Bytes) -> Response<Body> {
    let tag = etag(&String::from_utf8_lossy(&bytes));
    let mut r = respond::bytes_json(StatusCode::OK, bytes);
    if let Ok(v) = HeaderValue::from_str(&tag) {
        r.headers_mut().insert(header::ETAG, v);
    }
    r
}

/// The place of a document: `api/v1`, `apis/apps/v1`.
fn place(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn find(path: &str) -> Option<(&'static str, &'static str)> {
    let all = all_groups();
    all.iter().flat_map(|(g, vs)| vs.iter().map(move |v| (*g, *v))).find(|(g, v)| place(g, v) == path)
}

fn index() -> Response<Body> {
    let mut paths = serde_json::Map::new();
    for (g, versions) in all_groups() {
        for v in versions {
            let place = place(g, v);
            let url = format!("/openapi/v3/{place}?hash={}", hash());
            paths.insert(place, json!({"serverRelativeURL": url}));
        }
    }
    respond::json(StatusCode::OK, &json!({"paths": paths}))
}

/// The groups of kinds, and of reviews.
fn all_groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut out = catalog::groups();
    for r in ReviewKind::all() {
        if !out.iter().any(|(g, _)| *g == r.group) {
            out.push((r.group, vec!["v1"]));
        }
    }
    out
}

/// Changes with everything the documents are made of, without making them: types, kinds, the program's version.
fn hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let kinds: Vec<String> = catalog::all()
            .iter()
            .map(|k| format!("{k:?} {} {:?} {:?}", k.kind, k.verbs, k.subresources))
            .collect();
        let version = env!("CARGO_PKG_VERSION");
        etag(&format!("{version} {kinds:?} {}", api_types::schema::SOURCE)).trim_matches('"').to_uppercase()
    });
    &HASH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_has_its_schema() {
        for (g, versions) in all_groups() {
            for v in versions {
                let types: Vec<_> =
                    catalog::all().iter().filter(|k| k.group == g && k.version == v).collect();
                let reviews: Vec<_> = ReviewKind::all().filter(|r| r.group == g).collect();
                let schemas = schemas::closure(&types, &reviews, Dialect::V3);
                let mut paths = serde_json::Map::new();
                types.iter().for_each(|k| paths::add(k, Dialect::V3, &mut paths));
                reviews.iter().for_each(|r| paths::add_review(r, Dialect::V3, &mut paths));
                assert!(!paths.is_empty(), "{g}/{v}");
                let text = json!([schemas, paths]).to_string();
                for part in text.split("#/components/schemas/").skip(1) {
                    let name = part.split('"').next().unwrap();
                    assert!(schemas.get(name).is_some(), "{g}/{v}: {name}");
                }
            }
        }
    }

    #[test]
    fn schemas_carry_merge_keys_and_descriptions() {
        let pods: Vec<_> = catalog::by_kind("", "v1", "Pod").into_iter().collect();
        let schemas = schemas::closure(&pods, &[], Dialect::V3);
        let spec = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
        assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
        assert!(spec["containers"]["description"].as_str().unwrap().len() > 20);
        assert_eq!(schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
    }
}
