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

/// What a request was about, but for whether it was only tried.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Plain {
    component: &'static str,
    group: &'static str,
    resource: &'static str,
    scope: &'static str,
    subresource: &'static str,
    verb: &'static str,
    version: &'static str,
}

/// What a request was about that was ended early, and with which code.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Terminated {
    code: u16,
    component: &'static str,
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

impl Resource {
    /// Of a kind.
    pub fn of(kind: &Kind) -> Self {
        Self { group: kind.group, resource: kind.plural }
    }

    /// Found by an index; none has a name yet.
    pub fn by_index(self, index: &'static str) -> Indexed {
        Indexed { group: self.group, index, resource: self.resource }
    }

    /// As a request to the store.
    pub fn store_request(self, operation: &'static str) -> StoreRequest {
        StoreRequest { group: self.group, operation, resource: self.resource }
    }

    /// As a read that waits for the cache. Nothing falls back to the store.
    pub fn consistent_read(self, success: &'static str) -> ConsistentRead {
        ConsistentRead { fallback: "false", group: self.group, resource: self.resource, success }
    }
}

/// A resource and the index its objects were found by.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Indexed {
    group: &'static str,
    index: &'static str,
    resource: &'static str,
}

/// A request to the store.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StoreRequest {
    group: &'static str,
    operation: &'static str,
    resource: &'static str,
}

/// A read that waited until the cache was fresh.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ConsistentRead {
    fallback: &'static str,
    group: &'static str,
    resource: &'static str,
    success: &'static str,
}

/// A resource in one of its versions.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Versioned {
    group: &'static str,
    resource: &'static str,
    version: &'static str,
}

impl Versioned {
    /// Of a kind.
    pub fn of(kind: &Kind) -> Self {
        Self { group: kind.group, resource: kind.plural, version: kind.version }
    }
}

/// A store of which there is one.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Cluster {
    pub storage_cluster_id: &'static str,
}

/// A plugin of admission and what it said.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Admission {
    pub name: &'static str,
    pub operation: &'static str,
    pub rejected: &'static str,
    pub r#type: &'static str,
}

/// A round of admission and what it ended with.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct AdmissionStep {
    pub operation: &'static str,
    pub rejected: &'static str,
    pub r#type: &'static str,
}

/// What came of asking who somebody is, or whether they may.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Result {
    pub result: &'static str,
}

/// A user, as far as users are told apart.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct User {
    pub username: &'static str,
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

    /// But for whether it was only tried.
    pub fn plain(self) -> Plain {
        let Self { component, group, resource, scope, subresource, verb, version, .. } = self;
        Plain { component, group, resource, scope, subresource, verb, version }
    }

    /// Whether it was only tried.
    pub fn is_dry_run(self) -> bool {
        !self.dry_run.is_empty()
    }

    /// Whether it was a plain read.
    pub fn is_read(self) -> bool {
        matches!(self.verb, "GET" | "LIST")
    }

    /// With the code of the answer.
    pub fn answered(self, code: u16) -> Answered {
        let Self { component, dry_run, group, resource, scope, subresource, verb, version } = self;
        Answered { code, component, dry_run, group, resource, scope, subresource, verb, version }
    }
}

impl Plain {
    /// With the code that it was ended with.
    pub fn terminated(self, code: u16) -> Terminated {
        let Self { component, group, resource, scope, subresource, verb, version } = self;
        Terminated { code, component, group, resource, scope, subresource, verb, version }
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
    } else if !info.name.is_empty() || info.verb == "create" {
        // What is created is one, though its path does not name it.
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
            (Method::POST, "/api/v1/namespaces/a/pods", false, ["POST", "", "pods", "", "resource"]),
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
