//! Connections to the runtime's streaming server: an HTTP upgrade, then bytes both ways.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST, UPGRADE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::containers::Refusal;

fn bad_gateway(error: impl std::fmt::Display) -> Refusal {
    (StatusCode::BAD_GATEWAY, format!("the runtime's streaming server failed: {error}"))
}

/// The runtime's answer and, if it switched protocols, the connection.
pub struct Answer {
    /// Status and headers.
    pub head: hyper::http::response::Parts,
    /// The upgraded connection, or the body of a refusal.
    pub body: Result<Upgraded, Bytes>,
}

/// Sends an upgrade request to a streaming URL of the runtime.
pub async fn upgrade(url: &str, method: Method, headers: HeaderMap) -> Result<Answer, Refusal> {
    let uri: Uri = url.parse().map_err(bad_gateway)?;
    let authority = uri.authority().ok_or_else(|| bad_gateway("its URL has no address"))?.clone();
    let address: SocketAddr = authority.as_str().parse().map_err(bad_gateway)?;
    let stream = TcpStream::connect(address).await.map_err(bad_gateway)?;
    stream.set_nodelay(true).map_err(bad_gateway)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(bad_gateway)?;
    // Ends with the upgraded connection, which the caller owns.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "streaming connection ended");
        }
    });
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut request = hyper::Request::builder().method(method).uri(target);
    if let Some(own) = request.headers_mut() {
        *own = headers;
        own.insert(HOST, authority.as_str().parse().map_err(bad_gateway)?);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(bad_gateway)?;
    let mut response = sender.send_request(request).await.map_err(bad_gateway)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(bad_gateway)?;
        let (head, _) = response.into_parts();
        return Ok(Answer { head, body: Ok(upgraded) });
    }
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(bad_gateway)?.to_bytes();
    Ok(Answer { head, body: Err(body) })
}

/// Headers of an upgrade to SPDY with these stream protocols.
pub fn spdy_headers(protocols: &[&'static str]) -> HeaderMap {
    use axum::http::HeaderValue;
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    for protocol in protocols {
        headers.append("x-stream-protocol-version", HeaderValue::from_static(protocol));
    }
    headers
}

/// Connects to a streaming URL and insists on the upgrade.
pub async fn spdy(url: &str, protocols: &[&'static str]) -> Result<Upgraded, Refusal> {
    let answer = upgrade(url, Method::POST, spdy_headers(protocols)).await?;
    answer
        .body
        .map_err(|body| bad_gateway(format!("{}: {}", answer.head.status, String::from_utf8_lossy(&body))))
}

/// Hands the client's own upgrade on to the runtime and joins the two connections.
pub async fn pipe(mut request: Request, url: &str, tasks: &TaskTracker) -> Result<Response, Refusal> {
    let answer = upgrade(url, request.method().clone(), request.headers().clone()).await?;
    let mut response = match answer.body {
        Ok(upgraded) => {
            let client = hyper::upgrade::on(&mut request);
            tasks.spawn(async move {
                match client.await {
                    Ok(client) => {
                        let (mut client, mut runtime) = (TokioIo::new(client), TokioIo::new(upgraded));
                        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut runtime).await {
                            tracing::trace!(%error, "stream ended");
                        }
                    }
                    Err(error) => tracing::debug!(%error, "the client did not upgrade"),
                }
            });
            Response::new(Body::empty())
        }
        Err(body) => body.into_response(),
    };
    *response.status_mut() = answer.head.status;
    *response.headers_mut() = answer.head.headers;
    Ok(response)
}
