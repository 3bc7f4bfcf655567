//! `log`, `exec`, `attach` and `portforward`: passed on to the agent of the pod's node.
//!
//! The agent speaks upstream's kubelet API. The API server translates the options' names and then carries bytes:
//! an upgraded connection is piped in both directions, so every streaming protocol the agent speaks works.

use std::sync::Arc;

use api_types::catalog::{self, Subresource};
use api_types::meta::{self, str_at};
use api_types::status::Status;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::Call;
use super::proxy::carry::{Backend, CarryError, carry};
use super::respond::{self, Answer};
use crate::registry::parse_stored;
use crate::registry::read::Freshness;
use crate::request::query::Query;

/// How much of an agent's refusal is read.
const MAX_REFUSAL: usize = 16 * 1024;

pub async fn forward(call: Call<'_>, subresource: Subresource) -> Answer {
    let (namespace, name) = (call.info.namespace.clone(), call.info.name.clone());
    let found = call.registry().get(call.kind, &namespace, &name, Freshness::Consistent).await?;
    let pod = parse_stored(&found.bytes)?;
    let node = str_at(&pod, &["spec", "nodeName"]).to_owned();
    let container = match subresource {
        Subresource::PortForward => String::new(),
        _ => container(&pod, call.query.get("container").unwrap_or(""))?,
    };
    if node.is_empty() {
        if subresource == Subresource::Log {
            // Nothing runs it yet, so it has said nothing yet.
            return Ok(respond::text(StatusCode::NO_CONTENT, ""));
        }
        return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let path = match subresource {
        Subresource::Log => format!("/containerLogs/{namespace}/{name}/{container}"),
        Subresource::Exec => format!("/exec/{namespace}/{name}/{container}"),
        Subresource::Attach => format!("/attach/{namespace}/{name}/{container}"),
        _ => format!("/portForward/{namespace}/{name}"),
    };
    let query = match subresource {
        Subresource::Log => log_query(&call.query)?,
        _ => stream_query(&call.query),
    };
    let target = if query.is_empty() { path } else { format!("{path}?{query}") };
    let server = call.server.clone();
    let address = agent_address(&call, &node).await?;
    send(&server, &node, &address, &target, call.into_request()).await
}

/// The container meant: the only one, or the one named, which must be there.
fn container(pod: &Value, asked: &str) -> Result<String, Status> {
    let name = meta::name(pod);
    let names = |list: &str| -> Vec<String> {
        let list = meta::at(pod, &["spec", list]).and_then(Value::as_array);
        list.into_iter().flatten().map(|c| str_at(c, &["name"]).to_owned()).collect()
    };
    let (main, init, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if asked.is_empty() {
        if let [only] = main.as_slice()
            && init.is_empty()
        {
            return Ok(only.clone());
        }
        let init = if init.is_empty() {
            String::new()
        } else {
            format!(" or one of the init containers: [{}]", init.join(" "))
        };
        return Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]{init}",
            main.join(" ")
        )));
    }
    if main.iter().chain(&init).chain(&ephemeral).any(|c| c == asked) {
        return Ok(asked.to_owned());
    }
    Err(Status::bad_request(format!("container {asked} is not valid for pod {name}")))
}

fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn log_query(q: &Query) -> Result<String, Status> {
    let names = ["sinceTime", "tailLines", "limitBytes", "sinceSeconds", "stream"];
    for n in ["tailLines", "limitBytes", "sinceSeconds"] {
        let value = q.number(n)?;
        let least = i64::from(n != "tailLines");
        if let Some(bad) = value.filter(|v| *v < least) {
            let mut errors = api_types::field::ErrorList::new();
            let text =
                if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
            errors.invalid(&api_types::field::Path::new(n), bad, text);
            return Err(Status::invalid("", "PodLogOptions", "", &errors));
        }
    }
    let mut pairs: Vec<(&str, &str)> = names.iter().filter_map(|n| Some((*n, q.get(n)?))).collect();
    for flag in ["follow", "previous", "timestamps"] {
        if q.flag(flag) {
            pairs.push((flag, "true"));
        }
    }
    Ok(encode(&pairs))
}

/// The agent's names for the streams differ from the API's.
fn stream_query(q: &Query) -> String {
    let mut pairs: Vec<(&str, &str)> = q.all("command").iter().map(|c| ("command", c.as_str())).collect();
    for (ours, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if q.flag(ours) {
            pairs.push((theirs, "1"));
        }
    }
    pairs.extend(q.all("ports").iter().map(|p| ("ports", p.as_str())));
    encode(&pairs)
}

/// Where the agent of a node listens: (host, port).
pub(super) async fn agent_address(call: &Call<'_>, node: &str) -> Result<(String, u16), Status> {
    let kind = catalog::by_resource("", "v1", "nodes").ok_or_else(Status::no_such_path)?;
    let found = call.registry().get(kind, "", node, Freshness::Any).await?;
    let node_object = parse_stored(&found.bytes)?;
    let list = meta::at(&node_object, &["status", "addresses"]).and_then(Value::as_array);
    let preferred = ["InternalIP", "ExternalIP", "Hostname"];
    let host = preferred
        .iter()
        .find_map(|t| list.into_iter().flatten().find(|a| str_at(a, &["type"]) == *t))
        .map(|a| str_at(a, &["address"]).to_owned())
        .ok_or_else(|| {
            Status::internal(format!("no preferred addresses found; known addresses of node {node}: []"))
        })?;
    let port = meta::at(&node_object, &["status", "daemonEndpoints", "kubeletEndpoint", "Port"])
        .and_then(Value::as_u64)
        .and_then(|p| u16::try_from(p).ok())
        .unwrap_or(10250);
    Ok((host, port))
}

async fn send(
    server: &Arc<crate::server::Server>,
    node: &str,
    (host, port): &(String, u16),
    target: &str,
    request: Request<Body>,
) -> Answer {
    let Some(tls) = server.node_tls() else {
        return Err(Status::internal("no client certificate for node agents is configured"));
    };
    let agent = Backend { host: host.clone(), port: *port, tls: Some(tls.clone()) };
    let answer = carry(server, &agent, target, request).await.map_err(|e| match e {
        CarryError::Request(status) => status,
        CarryError::Backend(e) => {
            Status::internal(format!("error dialing backend: node {node} ({host}:{port}): {e}"))
        }
    })?;
    if answer.status().is_success() || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer);
    }
    Err(refusal(answer).await)
}

/// What an agent says when it refuses, as the client should see it: its words for 400 and 500, upstream's generic
/// answers for the rest.
async fn refusal(answer: Response<Body>) -> Status {
    let code = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_REFUSAL).collect().await;
    let text = body.map(|b| String::from_utf8_lossy(&b.to_bytes()).trim().to_owned()).unwrap_or_default();
    match code {
        400 => Status::bad_request(text),
        404 => Status::no_such_path(),
        401 | 403 => Status::internal(format!("the node agent refuses the API server ({code}): {text}")),
        _ => Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_only_container_needs_no_name() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&one, "").unwrap(), "a");
        assert_eq!(container(&one, "x").unwrap_err().message, "container x is not valid for pod p");
        let two = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(
            container(&two, "").unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [a b]"
        );
    }

    #[test]
    fn options_get_the_agents_names() {
        let q = Query::parse(Some("command=sh&command=-c&stdin=true&stdout=true&tty=true&container=a"));
        assert_eq!(stream_query(&q), "command=sh&command=-c&input=1&output=1&tty=1");
        let q = Query::parse(Some("follow=true&tailLines=5&container=a"));
        assert_eq!(log_query(&q).unwrap(), "tailLines=5&follow=true");
        assert!(log_query(&Query::parse(Some("tailLines=-1"))).is_err());
    }
}
