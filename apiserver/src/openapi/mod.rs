//! The OpenAPI documents, made from the type table, the catalog and the descriptions of `k8s-openapi`.
//!
//! `/openapi/v3` has one document a group and version; `/openapi/v2` is all of them as Swagger 2. Documents are made
//! at their first request and kept as bytes.

mod descriptions;
mod gnostic;
mod paths;
mod schemas;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use api_types::catalog;
use api_types::status::Status;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::discovery::etag;
use crate::endpoints::respond::{self, Answer};

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

/// The documents made so far.
#[derive(Default)]
pub struct Documents {
    v2: OnceLock<Bytes>,
    v2_protobuf: OnceLock<Bytes>,
    v3: Mutex<BTreeMap<String, Bytes>>,
}

impl Documents {
    /// Answers a path below `/openapi`; `None` when it is none.
    pub fn answer(&self, path: &str, accept: Option<&str>) -> Option<Answer> {
        let rest = path.strip_prefix("/openapi/")?;
        Some(match rest.trim_end_matches('/') {
            "v2" => self.v2(accept),
            "v3" => Ok(index()),
            other => match other.strip_prefix("v3/").and_then(find) {
                Some((group, version)) => Ok(self.v3(group, version)),
                None => Err(Status::no_such_path()),
            },
        })
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

    fn v3(&self, group: &'static str, version: &'static str) -> http::Response<axum::body::Body> {
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
        let value = json!({"openapi": "3.0.0", "info": info(), "paths": paths,
            "components": {"schemas": schemas::closure(&types, Dialect::V3)}});
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
    json!({"swagger": "2.0", "info": info(), "paths": paths,
        "definitions": schemas::closure(&types, Dialect::V2)})
}

/// What the protobuf form calls itself in an answer: an `@` is not allowed there.
const PROTOBUF_ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The media type in which older clients ask for version 2.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

fn info() -> Value {
    json!({"title": "Kubernetes", "version": crate::discovery::VERSION.2})
}

fn document(bytes: Bytes) -> http::Response<axum::body::Body> {
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
    let all = catalog::groups();
    all.iter().flat_map(|(g, vs)| vs.iter().map(move |v| (*g, *v))).find(|(g, v)| place(g, v) == path)
}

fn index() -> http::Response<axum::body::Body> {
    let mut paths = serde_json::Map::new();
    for (g, versions) in catalog::groups() {
        for v in versions {
            let place = place(g, v);
            // The document changes only with the program, so its version is hash enough.
            let hash = etag(concat!(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")));
            let url = format!("/openapi/v3/{place}?hash={}", hash.trim_matches('"'));
            paths.insert(place, json!({"serverRelativeURL": url}));
        }
    }
    respond::json(StatusCode::OK, &json!({"paths": paths}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_has_its_schema() {
        for (g, versions) in catalog::groups() {
            for v in versions {
                let types: Vec<_> =
                    catalog::all().iter().filter(|k| k.group == g && k.version == v).collect();
                let schemas = schemas::closure(&types, Dialect::V3);
                let mut paths = serde_json::Map::new();
                types.iter().for_each(|k| paths::add(k, Dialect::V3, &mut paths));
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
        let schemas = schemas::closure(&pods, Dialect::V3);
        let spec = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
        assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
        assert!(spec["containers"]["description"].as_str().unwrap().len() > 20);
        assert_eq!(schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
    }
}
