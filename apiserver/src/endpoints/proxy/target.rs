//! From `[scheme:]name[:port]` to an address.

use std::net::IpAddr;
use std::sync::Arc;

use api_types::catalog::{self, Kind};
use api_types::meta::{self, at, str_at};
use api_types::status::Status;
use rand::RngExt;
use rustls::ClientConfig;
use serde_json::Value;

use super::carry::Backend;
use super::insecure;
use crate::endpoints::{Call, node_proxy};
use crate::registry::read::Freshness;
use crate::registry::{Registry, parse_stored};

/// `[scheme:]name[:port]`, taken apart; scheme and port may be empty.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let parts: Vec<&str> = text.split(':').collect();
    let found = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme @ ("http" | "https" | ""), name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    (!found.1.is_empty()).then_some(found)
}

/// Where the request of this call goes.
pub async fn find(call: &Call<'_>) -> Result<Backend, Status> {
    let what = call.kind.kind.to_lowercase();
    let asked = &call.info.name;
    let (scheme, name, port) =
        split(asked).ok_or_else(|| Status::bad_request(format!("invalid {what} request {asked:?}")))?;
    let tls = if scheme == "https" {
        Some(insecure::config().ok_or_else(|| Status::internal("TLS cannot be set up"))?)
    } else {
        None
    };
    match call.kind.plural {
        "pods" => pod(call, name, port, tls).await,
        "services" => service(call, name, port, tls).await,
        "nodes" => node(call, name, port, tls).await,
        _ => Err(Status::no_such_path()),
    }
}

async fn read(registry: &Registry, kind: &Kind, namespace: &str, name: &str) -> Result<Value, Status> {
    parse_stored(&registry.get(kind, namespace, name, Freshness::Consistent).await?.bytes)
}

fn list<'a>(object: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a Value> {
    at(object, path).and_then(Value::as_array).into_iter().flatten()
}

fn number(text: &str) -> Result<u16, Status> {
    text.parse().map_err(|_| Status::bad_request(format!("invalid port {text:?}")))
}

/// Loopback and link-local addresses are the API server's own, not a pod's.
fn checked(host: &str) -> Result<String, Status> {
    let refused = || Status::bad_request("address not allowed");
    let address: IpAddr = host.parse().map_err(|_| refused())?;
    let local = match address {
        IpAddr::V4(a) => a.is_link_local() || a.is_broadcast(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    };
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() || local {
        return Err(refused());
    }
    Ok(host.to_owned())
}

async fn pod(
    call: &Call<'_>,
    name: &str,
    port: &str,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Backend, Status> {
    let object = read(call.registry(), call.kind, &call.info.namespace, name).await?;
    let host = checked(str_at(&object, &["status", "podIP"]))?;
    let declared = list(&object, &["spec", "containers"]).find_map(|c| list(c, &["ports"]).next());
    let port = match (port, declared.and_then(|p| p.get("containerPort")?.as_u64())) {
        ("", Some(first)) => u16::try_from(first).unwrap_or(80),
        ("", None) if tls.is_some() => 443,
        ("", None) => 80,
        (text, _) => number(text)?,
    };
    Ok(Backend { host, port, tls })
}

async fn node(
    call: &Call<'_>,
    name: &str,
    port: &str,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Backend, Status> {
    let (host, agent) = node_proxy::agent_address(call, name).await?;
    // The agent's own port is spoken to as the API server always does.
    if port.is_empty() || number(port)? == agent {
        let tls = call.server.node_tls().cloned();
        let tls =
            tls.ok_or_else(|| Status::internal("no client certificate for node agents is configured"))?;
        return Ok(Backend { host, port: agent, tls: Some(tls) });
    }
    Ok(Backend { host: checked(&host)?, port: number(port)?, tls })
}

async fn service(
    call: &Call<'_>,
    name: &str,
    port: &str,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Backend, Status> {
    let (registry, namespace) = (call.registry(), &call.info.namespace);
    let object = read(registry, call.kind, namespace, name).await?;
    let wanted = list(&object, &["spec", "ports"])
        .find(|p| {
            port.is_empty()
                || str_at(p, &["name"]) == port
                || p.get("port").and_then(Value::as_u64).is_some_and(|n| n.to_string() == port)
        })
        .ok_or_else(|| Status::unavailable(format!("no service port {port:?} found for service {name:?}")))?;
    let backends = backends(registry, namespace, name, str_at(wanted, &["name"]))?;
    if backends.is_empty() {
        return Err(Status::unavailable(format!("no endpoints available for service {name:?}")));
    }
    let (host, port) = &backends[rand::rng().random_range(0..backends.len())];
    Ok(Backend { host: checked(host)?, port: *port, tls })
}

/// The ready backends of a service behind the port of this name.
fn backends(
    registry: &Registry,
    namespace: &str,
    name: &str,
    port: &str,
) -> Result<Vec<(String, u16)>, Status> {
    let Some(kind) = catalog::by_resource("", "v1", "endpoints") else { return Ok(Vec::new()) };
    let Some(found) = registry.peek(kind, namespace, name) else {
        return Err(Status::unavailable(format!("no endpoints available for service {name:?}")));
    };
    let endpoints = parse_stored(&found.bytes)?;
    let mut out = Vec::new();
    for subset in list(&endpoints, &["subsets"]) {
        let number = list(subset, &["ports"])
            .find(|p| str_at(p, &["name"]) == port)
            .and_then(|p| u16::try_from(p.get("port")?.as_u64()?).ok());
        let Some(number) = number else { continue };
        out.extend(list(subset, &["addresses"]).map(|a| (str_at(a, &["ip"]).to_owned(), number)));
    }
    tracing::trace!(service = meta::name(&endpoints), backends = out.len(), "proxying");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart() {
        for (text, parts) in [
            ("a", Some(("", "a", ""))),
            ("a:80", Some(("", "a", "80"))),
            ("https:a:web", Some(("https", "a", "web"))),
            ("http:a:", Some(("http", "a", ""))),
            ("ftp:a:1", None),
            ("", None),
            (":80", None),
            ("a:b:c:d", None),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }

    #[test]
    fn some_addresses_are_not_proxied_to() {
        for bad in ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "", "fe80::1", "name"] {
            assert_eq!(checked(bad).unwrap_err().message, "address not allowed", "{bad}");
        }
        assert!(checked("10.244.0.3").is_ok());
    }
}
