//! Labels. Their values come from the catalog and are never what clients make up: so they are bounded, and cost no
//! allocation.

use api_types::catalog::{self, Kind};
use prometheus_client::encoding::EncodeLabelSet;

use crate::request::RequestInfo;

/// What a request was about.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Request {
    component: &'static str,
    dry_run: &'static str,
    group: &'static str,
    resource: &'static str,
    scope: &'static str,
    subresource: &'static str,
    verb: &'static str,
    version: &'static str,
}

/// What a request was about, and what came of it.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Answered {
    code: u16,
    component: &'static str,
    dry_run: &'static str,
    group: &'static str,
    resource: &'static str,
    scope: &'static str,
    subresource: &'static str,
    verb: &'static str,
    version: &'static str,
}

/// Whether a request changes anything.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestKind {
    pub request_kind: &'static str,
}

/// A resource, as most metrics name it.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Resource {
    pub group: &'static str,
    pub resource: &'static str,
}

/// A resource in one word, as older metrics name it: `deployments.apps`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Qualified {
    pub resource: String,
}

/// A kind that is watched.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Watched {
    pub group: &'static str,
    pub kind: &'static str,
    pub version: &'static str,
}

impl Request {
    /// The labels of a request. A resource that is not served is nameless.
    pub fn new(info: &RequestInfo, apply: bool, dry_run: bool) -> Self {
        let found = served(info);
        let mut labels = Self {
            component: "apiserver",
            dry_run: if dry_run { "All" } else { "" },
            scope: scope(info),
            verb: verb(info, apply),
            ..Self::default()
        };
        if let Some((kind, subresource)) = found {
            labels.group = kind.group;
            labels.version = kind.version;
            labels.resource = kind.plural;
            labels.subresource = subresource;
        }
        labels
    }

    /// With the code of the answer.
    pub fn answered(self, code: u16) -> Answered {
        let Self { component, dry_run, group, resource, scope, subresource, verb, version } = self;
        Answered { code, component, dry_run, group, resource, scope, subresource, verb, version }
    }
}

fn served(info: &RequestInfo) -> Option<(&'static Kind, &'static str)> {
    let kind = catalog::by_resource(&info.group, &info.version, &info.resource)?;
    if info.subresource.is_empty() {
        return Some((kind, ""));
    }
    let found = kind.subresources.iter().find(|s| s.path() == info.subresource)?;
    Some((kind, found.path()))
}

/// Upstream's words for verbs here are those of HTTP, and a few more.
fn verb(info: &RequestInfo, apply: bool) -> &'static str {
    if info.is_resource && matches!(info.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy") {
        return "CONNECT";
    }
    match info.verb {
        "get" | "head" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" if apply => "APPLY",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    if !info.is_resource {
        ""
    } else if !info.name.is_empty() {
        "resource"
    } else if !info.namespace.is_empty() {
        "namespace"
    } else {
        "cluster"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn requests_are_named_as_upstream_does() {
        for (method, path, watch, expected) in [
            (Method::POST, "/api/v1/namespaces/a/pods", false, ["POST", "", "pods", "", "namespace"]),
            (Method::GET, "/apis/apps/v1/deployments", true, ["WATCH", "apps", "deployments", "", "cluster"]),
            (Method::PUT, "/api/v1/nodes/n/status", false, ["PUT", "", "nodes", "status", "resource"]),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods/p/exec",
                false,
                ["CONNECT", "", "pods", "exec", "resource"],
            ),
            (Method::GET, "/api/v1/nosuch/x", false, ["GET", "", "", "", "resource"]),
            (Method::GET, "/api/v1/pods/x/nosuch", false, ["GET", "", "", "", "resource"]),
            (Method::GET, "/metrics", false, ["GET", "", "", "", ""]),
        ] {
            let l = Request::new(&RequestInfo::parse(&method, path, watch, None), false, false);
            assert_eq!([l.verb, l.group, l.resource, l.subresource, l.scope], expected, "{path}");
        }
    }
}
