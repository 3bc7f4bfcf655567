//! Every route refuses those without rights. The routes come from the catalog: a new kind, verb or subresource is
//! checked from the day it is served.

use std::sync::Arc;

use api_types::catalog::{self, Kind};
use apiserver::UserInfo;
use axum::body::Body;
use http::{Method, Request};

use crate::common::{Api, node};

struct Route {
    method: Method,
    path: String,
    resource: &'static str,
    verb: &'static str,
    subresource: &'static str,
}

fn method(verb: &str) -> Method {
    match verb {
        "create" => Method::POST,
        "update" => Method::PUT,
        "patch" => Method::PATCH,
        "delete" | "deletecollection" => Method::DELETE,
        _ => Method::GET,
    }
}

fn routes_of(k: &'static Kind) -> Vec<Route> {
    let root = if k.group.is_empty() {
        format!("/api/{}", k.version)
    } else {
        format!("/apis/{}/{}", k.group, k.version)
    };
    let place = if k.namespaced() { format!("{root}/namespaces/default") } else { root.clone() };
    let collection = format!("{place}/{}", k.plural);
    let one = format!("{collection}/x");
    let mut out = Vec::new();
    let mut add = |verb: &'static str, path: String, subresource: &'static str| {
        out.push(Route { method: method(verb), path, resource: k.plural, verb, subresource });
    };
    for &verb in k.verbs {
        match verb {
            "create" | "deletecollection" => add(verb, collection.clone(), ""),
            "list" => {
                add(verb, collection.clone(), "");
                add(verb, format!("{root}/{}", k.plural), "");
            }
            "watch" => {
                add(verb, format!("{collection}?watch=1"), "");
                add(verb, format!("{root}/watch/{}", k.plural), "");
            }
            _ => add(verb, one.clone(), ""),
        }
    }
    for s in k.subresources {
        for &verb in s.verbs() {
            add(verb, format!("{one}/{}", s.path()), s.path());
        }
    }
    out
}

fn routes() -> Vec<Route> {
    catalog::all().iter().flat_map(routes_of).collect()
}

/// Sends a request without going through the harness: with or without an identity.
async fn code(api: &Api, route: &Route, user: Option<&UserInfo>) -> u16 {
    let mut request =
        Request::builder().method(&route.method).uri(&route.path).body(Body::from("{}")).unwrap();
    if let Some(user) = user {
        request.extensions_mut().insert(Arc::new(user.clone()));
    }
    api.server.handle(request).await.status().as_u16()
}

#[tokio::test]
async fn strangers_are_refused_everywhere() {
    let api = Api::start().await;
    let all = routes();
    assert!(all.len() > 150, "only {} routes", all.len());
    let jane = UserInfo::authenticated("jane", Vec::new());
    for r in &all {
        let anonymous = code(&api, r, None).await;
        assert!([401, 403].contains(&anonymous), "anonymous: {} {} gives {anonymous}", r.method, r.path);
        assert_eq!(code(&api, r, Some(&jane)).await, 403, "jane: {} {}", r.method, r.path);
    }
}

/// What the agent of a node may ask about objects that have nothing to do with its node: the policy of nodes, by
/// resource and verb. What it may ask in general is still narrowed by admission.
const OF_ALL_NODES: &[(&str, &[&str])] = &[
    ("services", &["get", "list", "watch"]),
    ("endpointslices", &["get", "list", "watch"]),
    ("endpoints", &["get", "list", "watch"]),
    ("nodes", &["create", "get", "list", "watch", "update", "patch"]),
    ("pods", &["create", "delete", "get", "list", "watch", "patch", "update"]),
    ("events", &["create", "patch", "update"]),
    ("leases", &["create", "get", "update", "patch", "delete"]),
    ("certificatesigningrequests", &["create", "get", "list", "watch"]),
    ("csidrivers", &["get", "list", "watch"]),
    ("csinodes", &["create"]),
    ("runtimeclasses", &["get", "list", "watch"]),
];

#[tokio::test]
async fn a_node_gets_nothing_that_is_not_its_own() {
    let api = Api::start().await;
    let stranger = node("stranger");
    for r in &routes() {
        let policy = OF_ALL_NODES.iter().find(|(resource, _)| *resource == r.resource);
        if policy.is_some_and(|(_, verbs)| verbs.contains(&r.verb)) {
            continue;
        }
        assert_eq!(code(&api, r, Some(&stranger)).await, 403, "{} {} ({})", r.method, r.path, r.subresource);
    }
}

#[tokio::test]
async fn secrets_of_others_are_not_even_missing() {
    let api = Api::start().await;
    let stranger = api.acting(node("stranger"));
    for resource in ["secrets", "configmaps"] {
        stranger.get(&format!("/api/v1/namespaces/default/{resource}/x")).await.refused(403, "Forbidden");
        stranger.get(&format!("/api/v1/namespaces/default/{resource}")).await.refused(403, "Forbidden");
    }
    stranger.get("/api/v1/namespaces/default/pods/x/log").await.refused(403, "Forbidden");
}

#[tokio::test]
async fn only_health_and_what_clients_need_is_open() {
    let api = Api::start().await;
    let anonymous = api.acting(UserInfo::anonymous());
    for (path, code) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/healthz", 200),
        ("/version", 200),
        ("/", 403),
        ("/api", 403),
        ("/apis", 403),
        ("/api/v1", 403),
        ("/openapi/v2", 403),
        ("/openapi/v3", 403),
        ("/metrics", 403),
        ("/nosuch", 403),
        ("/debug/pprof", 403),
    ] {
        assert_eq!(anonymous.get(path).await.code, code, "{path}");
    }
    let jane = api.acting(UserInfo::authenticated("jane", Vec::new()));
    for (path, code) in
        [("/api", 200), ("/apis", 200), ("/openapi/v2", 200), ("/version", 200), ("/metrics", 403)]
    {
        assert_eq!(jane.get(path).await.code, code, "{path}");
    }
}
