//! `pods/proxy`, `services/proxy` and `nodes/proxy`: HTTP and upgrades to what runs in the cluster. Names have
//! upstream's form `[scheme:]name[:port]`; rules and words are those of `pkg/registry/core/{pod,service,node}`.

pub mod carry;
mod insecure;
mod target;

use api_types::status::Status;
use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use super::Call;
use super::respond::Answer;
use carry::{CarryError, carry};

pub async fn proxy(call: Call<'_>) -> Answer {
    let path = call.uri().path().to_owned();
    // The elements up to and with "proxy": /api/v1/nodes/x/proxy, or with a namespace before.
    let own = if call.info.namespace.is_empty() { 5 } else { 7 };
    let rest = path.splitn(own + 2, '/').nth(own + 1).map(|rest| format!("/{rest}"));
    let query = call.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    let Some(rest) = rest else {
        // Without a slash at its end a page's relative links would leave the proxy.
        if call.method().is_safe() {
            return redirect(&format!("{path}/{query}"));
        }
        return forward(call, "/", &query, &path).await;
    };
    let prefix = path[..path.len() - rest.len()].to_owned();
    forward(call, &rest, &query, &prefix).await
}

fn redirect(to: &str) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let to = HeaderValue::from_str(to).map_err(|_| Status::bad_request("the path is malformed"))?;
    response.headers_mut().insert(header::LOCATION, to);
    Ok(response)
}

async fn forward(call: Call<'_>, path: &str, query: &str, prefix: &str) -> Answer {
    let to = target::find(&call).await?;
    let server = call.server.clone();
    let place = format!("{}:{}", to.host, to.port);
    let request = call.into_request();
    match carry(&server, &to, &format!("{path}{query}"), request).await {
        Ok(mut answer) => {
            relocate(&mut answer, prefix, &place);
            Ok(answer)
        }
        Err(CarryError::Request(status)) => Err(status),
        // Upstream's words for a backend that cannot be reached.
        Err(CarryError::Backend(e)) => {
            Err(Status::unavailable(format!("error trying to reach service: dial tcp {place}: {e}")))
        }
    }
}

/// A backend that sends its client elsewhere on itself means elsewhere below the proxy.
fn relocate(answer: &mut Response<Body>, prefix: &str, place: &str) {
    let Some(location) = answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok()) else { return };
    let own = ["http://", "https://"].iter().find_map(|s| location.strip_prefix(s)?.strip_prefix(place));
    let path = own.unwrap_or(location);
    if !path.starts_with('/') || path.starts_with("//") {
        return;
    }
    if let Ok(v) = HeaderValue::from_str(&format!("{prefix}{path}")) {
        answer.headers_mut().insert(header::LOCATION, v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_below_the_proxy() {
        for (said, meant) in [
            ("/a", "/p/a"),
            ("http://10.0.0.1:80/b", "/p/b"),
            ("http://elsewhere/b", "http://elsewhere/b"),
            ("//elsewhere/b", "//elsewhere/b"),
            ("c", "c"),
        ] {
            let mut answer = Response::new(Body::empty());
            answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static(said));
            relocate(&mut answer, "/p", "10.0.0.1:80");
            assert_eq!(answer.headers()[header::LOCATION], meant, "{said}");
        }
    }
}
