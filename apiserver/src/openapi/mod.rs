//! The OpenAPI documents, made from the type table, the catalog and the descriptions of `k8s-openapi`.
//!
//! `/openapi/v3` has one document a group and version; `/openapi/v2` is all of them as Swagger 2. Documents are made
//! at their first request and kept as bytes.

mod descriptions;
mod gnostic;
mod operation;
mod parameters;
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
use crate::endpoints::created_only;
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

/// A kind that can be created and nothing else: what is asked and answered, and never stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CreatedOnly {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
}

impl CreatedOnly {
    /// Every one.
    fn all() -> impl Iterator<Item = Self> {
        created_only().map(|(group, kind, plural, namespaced)| Self { group, kind, plural, namespaced })
    }

    /// Its struct in the type table.
    fn type_name(&self) -> String {
        let group = if self.group.is_empty() { "core" } else { self.group.trim_end_matches(".k8s.io") };
        format!("{group}.v1.{}", self.kind)
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
        paths::add_resources(group, version, Dialect::V3, &mut paths);
        types.iter().for_each(|k| paths::add(k, Dialect::V3, &mut paths));
        let created: Vec<_> = CreatedOnly::all().filter(|c| c.group == group && version == "v1").collect();
        created.iter().for_each(|c| paths::add_created_only(c, Dialect::V3, &mut paths));
        let value = json!({"openapi": "3.0.0", "info": info(), "paths": paths,
            "components": {"schemas": schemas::closure(&types, &created, Dialect::V3),
                "securitySchemes": {"BearerToken": bearer()}}});
        let bytes = Bytes::from(value.to_string());
        self.v3.lock().insert(key, bytes.clone());
        document(bytes)
    }
}

/// The whole Swagger 2 document.
fn swagger() -> Value {
    let mut paths = serde_json::Map::new();
    paths::add_whole(Dialect::V2, &mut paths);
    for (group, versions) in all_groups() {
        paths::add_group(group, Dialect::V2, &mut paths);
        versions.iter().for_each(|v| paths::add_resources(group, v, Dialect::V2, &mut paths));
    }
    let types: Vec<_> = catalog::all().iter().collect();
    types.iter().for_each(|k| paths::add(k, Dialect::V2, &mut paths));
    let created: Vec<_> = CreatedOnly::all().collect();
    created.iter().for_each(|c| paths::add_created_only(c, Dialect::V2, &mut paths));
    json!({"swagger": "2.0", "info": info(), "paths": paths,
        "definitions": schemas::closure(&types, &created, Dialect::V2),
        "securityDefinitions": {"BearerToken": bearer()}, "security": [{"BearerToken": []}]})
}

/// How a client says who it is.
fn bearer() -> Value {
    json!({"type": "apiKey", "name": "authorization", "in": "header", "description": "A bearer token."})
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
    for r in CreatedOnly::all() {
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
                let created: Vec<_> = CreatedOnly::all().filter(|r| r.group == g).collect();
                let schemas = schemas::closure(&types, &created, Dialect::V3);
                let mut paths = serde_json::Map::new();
                paths::add_resources(g, v, Dialect::V3, &mut paths);
                types.iter().for_each(|k| paths::add(k, Dialect::V3, &mut paths));
                created.iter().for_each(|r| paths::add_created_only(r, Dialect::V3, &mut paths));
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

    #[test]
    fn operations_are_named_as_clients_know_them() {
        let document = swagger();
        let mut seen = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(m, _)| *m != "parameters") {
                let id = operation["operationId"].as_str().unwrap();
                assert!(seen.insert(id), "{method} {path}: {id} is there twice");
            }
        }
        for (path, method, id) in [
            ("/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"),
            ("/api/v1/namespaces/{namespace}/pods", "delete", "deleteCoreV1CollectionNamespacedPod"),
            ("/api/v1/namespaces/{namespace}/pods/{name}/exec", "post", "connectCoreV1PostNamespacedPodExec"),
            (
                "/api/v1/namespaces/{namespace}/services/{name}/proxy/{path}",
                "head",
                "connectCoreV1HeadNamespacedServiceProxyWithPath",
            ),
            ("/api/v1/namespaces/{namespace}/bindings", "post", "createCoreV1NamespacedBinding"),
            ("/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize"),
            ("/api/v1/watch/nodes/{name}", "get", "watchCoreV1Node"),
            (
                "/apis/rbac.authorization.k8s.io/v1/watch/rolebindings",
                "get",
                "watchRbacAuthorizationV1RoleBindingListForAllNamespaces",
            ),
            (
                "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/{name}/status",
                "patch",
                "patchFlowcontrolApiserverV1FlowSchemaStatus",
            ),
            (
                "/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews",
                "post",
                "createAuthorizationV1NamespacedLocalSubjectAccessReview",
            ),
            ("/apis/apps/", "get", "getAppsAPIGroup"),
            ("/apis/apps/v1/", "get", "getAppsV1APIResources"),
        ] {
            assert_eq!(document["paths"][path][method]["operationId"], id, "{method} {path}");
        }
        let deleted =
            &document["paths"]["/api/v1/namespaces/{namespace}/services/{name}"]["delete"]["responses"];
        assert_eq!(deleted["200"]["schema"]["$ref"], "#/definitions/io.k8s.api.core.v1.Service");
        let definition = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool";
        assert_eq!(document["definitions"][definition], json!({}), "true and a schema are both valid");
    }
}
