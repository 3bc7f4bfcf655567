//! `pods/proxy`, `services/proxy` and `nodes/proxy`: HTTP and upgrades to what runs in the cluster. Names have
//! upstream's form `[scheme:]name[:port]`; rules and words are those of `pkg/registry/core/{pod,service,node}`.

pub mod carry;
mod html;
mod insecure;
mod links;
mod packing;
mod target;

use api_types::status::Status;
use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};

use super::Call;
use super::respond::Answer;
use crate::server::PeerAddress;
use carry::{CarryError, carry};
use links::Proxy;

/// The path of a request as its client sees it.
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
/// The addresses a request has passed through.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const CORS: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
];

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
    let proxy = Proxy { prefix: prefix.to_owned(), place: place.clone(), asked: asked(&call) };
    let mut request = call.into_request();
    tell_client(&mut request, proxy.asked.as_deref());
    let has_body = request.method() != http::Method::HEAD;
    if let Ok(uri) = HeaderValue::from_str(&proxy.forwarded(path)) {
        request.headers_mut().insert(FORWARDED_URI, uri);
    }
    match carry(&server, &to, &format!("{path}{query}"), request).await {
        Ok(answer) => Ok(led_back(answer, &proxy, has_body)),
        Err(CarryError::Request(status)) => Err(status),
        // Upstream's words for a backend that cannot be reached.
        Err(CarryError::Backend(e)) => {
            Err(Status::unavailable(format!("error trying to reach service: dial tcp {place}: {e}")))
        }
    }
}

/// Tells the backend whom the client has asked and, behind those that have passed the request on before, where it is.
fn tell_client(request: &mut Request<Body>, asked: Option<&str>) {
    if let Some(Ok(host)) = asked.map(HeaderValue::from_str) {
        request.headers_mut().insert(header::HOST, host);
    }
    let Some(PeerAddress(peer)) = request.extensions().get().copied() else { return };
    let before: Vec<_> =
        request.headers().get_all(FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
    let all = before.into_iter().map(str::to_owned).chain([peer.to_canonical().to_string()]);
    if let Ok(all) = HeaderValue::from_str(&all.collect::<Vec<_>>().join(", ")) {
        request.headers_mut().insert(FORWARDED_FOR, all);
    }
}

/// Whom the client has asked, as it calls it.
fn asked(call: &Call<'_>) -> Option<String> {
    let authority = call.uri().authority().map(|a| a.as_str().to_owned());
    authority.or_else(|| call.header(&header::HOST).map(str::to_owned))
}

/// An answer whose links and redirects go through the proxy. What a backend says of other origins would let their
/// pages at the API server's.
fn led_back(mut answer: Response<Body>, proxy: &Proxy, has_body: bool) -> Response<Body> {
    for name in CORS {
        answer.headers_mut().remove(name);
    }
    if let Some(location) = answer.headers().get(header::LOCATION) {
        let led = location.to_str().ok().and_then(|to| proxy.rewritten(to));
        if let Some(Ok(led)) = led.map(|led| HeaderValue::from_str(&led)) {
            answer.headers_mut().insert(header::LOCATION, led);
        }
        return answer;
    }
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS || !has_body {
        return answer;
    }
    html::rewrite(answer, proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_told_of_the_client() {
        for (peer, before, want) in [
            (Some("192.0.2.7"), None, Some("192.0.2.7")),
            (Some("::ffff:192.0.2.7"), Some("10.0.0.1, 10.0.0.2"), Some("10.0.0.1, 10.0.0.2, 192.0.2.7")),
            (None, Some("10.0.0.1"), Some("10.0.0.1")),
            (None, None, None),
        ] {
            let mut request = Request::new(Body::empty());
            if let Some(peer) = peer {
                request.extensions_mut().insert(PeerAddress(peer.parse().unwrap()));
            }
            if let Some(before) = before {
                request.headers_mut().insert(FORWARDED_FOR, HeaderValue::from_static(before));
            }
            tell_client(&mut request, Some("api.example:6443"));
            let told = request.headers().get(FORWARDED_FOR).map(|v| v.to_str().unwrap());
            assert_eq!(told, want);
            assert_eq!(request.headers()[header::HOST], "api.example:6443");
        }
    }
}
