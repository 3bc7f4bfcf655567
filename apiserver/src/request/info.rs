//! Reads the path and method as upstream's `RequestInfo` does: verb, group, resource, name.

use http::Method;

/// What is asked, as authorization sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, ...; the lower-case method for paths that are no resources.
    pub verb: &'static str,
    /// The path.
    pub path: String,
    /// Whether the path names a resource.
    pub is_resource: bool,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace, also of the namespace object itself.
    pub namespace: String,
    /// `pods`.
    pub resource: String,
    /// `log`; empty for the object itself.
    pub subresource: String,
    /// Object name; empty for collections.
    pub name: String,
    /// What follows the subresource (paths proxied to).
    pub rest: String,
}

/// Subresources of a namespace, which look like resources inside it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Reads a request line. `watch` tells whether the query asks for a watch, `selected_name` the name that a
    /// field selector pins.
    pub fn parse(method: &Method, path: &str, watch: bool, selected_name: Option<&str>) -> Self {
        let mut info = RequestInfo { path: path.to_owned(), verb: lower(method), ..Self::default() };
        let parts: Vec<String> = path.split('/').filter(|p| !p.is_empty()).map(percent_decode).collect();
        let mut rest: &[String] = match parts.as_slice() {
            [api, version, rest @ ..] if api == "api" && !rest.is_empty() => {
                info.version = version.clone();
                rest
            }
            [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
                info.group = group.clone();
                info.version = version.clone();
                rest
            }
            _ => return info,
        };
        info.is_resource = true;
        let mut verb = match *method {
            Method::POST => "create",
            Method::GET | Method::HEAD => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "",
        };
        // The old form of a watch: /api/v1/watch/pods.
        if rest[0] == "watch" && rest.len() > 1 {
            verb = "watch";
            rest = &rest[1..];
        }
        if rest[0] == "namespaces"
            && let Some(ns) = rest.get(1)
        {
            info.namespace = ns.clone();
            if rest.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&rest[2].as_str()) {
                rest = &rest[2..];
            }
        }
        info.resource = rest[0].clone();
        info.name = rest.get(1).cloned().unwrap_or_default();
        info.subresource = rest.get(2).cloned().unwrap_or_default();
        info.rest = rest.get(3..).map(|r| r.join("/")).unwrap_or_default();
        if info.name.is_empty() {
            verb = match verb {
                "get" if watch => "watch",
                "get" => "list",
                "delete" => "deletecollection",
                v => v,
            };
            if matches!(verb, "list" | "watch" | "deletecollection") {
                info.name = selected_name.unwrap_or_default().to_owned();
            }
        } else if verb == "get" && watch && info.subresource.is_empty() {
            verb = "watch";
        }
        info.verb = verb;
        info
    }

    /// Whether it asks for more than one object.
    pub fn is_collection(&self) -> bool {
        matches!(self.verb, "list" | "watch" | "deletecollection")
    }

    /// Whether it stays open as long as the client likes.
    pub fn is_long_running(&self) -> bool {
        self.verb == "watch"
            || self.verb == "proxy"
            || matches!(self.subresource.as_str(), "exec" | "attach" | "portforward" | "log" | "proxy")
    }

    /// Whether it changes nothing.
    pub fn is_read_only(&self) -> bool {
        matches!(self.verb, "get" | "list" | "watch" | "head" | "options")
    }
}

fn lower(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::HEAD => "head",
        Method::OPTIONS => "options",
        _ => "",
    }
}

/// `%41` as `A`; what is no such escape stays.
fn percent_decode(part: &str) -> String {
    if !part.contains('%') {
        return part.to_owned();
    }
    let bytes = part.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[i], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(b)) => {
                out.push(b);
                i += 3;
            }
            (b, _) => {
                out.push(b);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: Method, path: &str, watch: bool) -> String {
        let i = RequestInfo::parse(&method, path, watch, None);
        format!(
            "{} g={} v={} ns={} r={} n={} s={} rest={}",
            i.verb, i.group, i.version, i.namespace, i.resource, i.name, i.subresource, i.rest
        )
    }

    #[test]
    fn paths() {
        for (method, path, watch, want) in [
            (Method::GET, "/api/v1/pods", false, "list g= v=v1 ns= r=pods n= s= rest="),
            (Method::GET, "/api/v1/pods", true, "watch g= v=v1 ns= r=pods n= s= rest="),
            (Method::GET, "/api/v1/namespaces/a/pods/b", false, "get g= v=v1 ns=a r=pods n=b s= rest="),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods/b/log",
                false,
                "get g= v=v1 ns=a r=pods n=b s=log rest=",
            ),
            (Method::GET, "/api/v1/namespaces/a", false, "get g= v=v1 ns=a r=namespaces n=a s= rest="),
            (
                Method::PUT,
                "/api/v1/namespaces/a/finalize",
                false,
                "update g= v=v1 ns=a r=namespaces n=a s=finalize rest=",
            ),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/a/deployments",
                false,
                "deletecollection g=apps v=v1 ns=a r=deployments n= s= rest=",
            ),
            (Method::GET, "/api/v1/watch/pods", false, "watch g= v=v1 ns= r=pods n= s= rest="),
            (Method::GET, "/api/v1/nodes/n/proxy/a/b", false, "get g= v=v1 ns= r=nodes n=n s=proxy rest=a/b"),
            (Method::GET, "/apis/apps/v1", false, "get g= v= ns= r= n= s= rest="),
            (Method::POST, "/api/v1/namespaces", false, "create g= v=v1 ns= r=namespaces n= s= rest="),
            (
                Method::GET,
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                false,
                "get g=rbac.authorization.k8s.io v=v1 ns= r=clusterroles n=system:node s= rest=",
            ),
        ] {
            assert_eq!(info(method, path, watch), want, "{path}");
        }
    }
}
