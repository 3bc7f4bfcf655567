//! Carries a request to a backend and its answer back; an upgraded connection is piped in both directions.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use api_types::status::Status;
use axum::body::Body;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::server::Server;

/// How long a backend may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that belong to one connection and are made anew for the next, but for upgrades.
const HOP_HEADERS: [&str; 4] = ["keep-alive", "proxy-connection", "te", "transfer-encoding"];

/// Where a request goes.
pub struct Backend {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// With TLS, and how.
    pub tls: Option<Arc<ClientConfig>>,
}

/// A request that could not be carried.
pub enum CarryError {
    /// The request is at fault.
    Request(Status),
    /// The backend is; why.
    Backend(String),
}

fn backend(error: impl Display) -> CarryError {
    CarryError::Backend(error.to_string())
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(to: &Backend) -> std::io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect((to.host.as_str(), to.port)).await?;
    tcp.set_nodelay(true)?;
    let Some(tls) = &to.tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(to.host.clone()).map_err(std::io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, tcp).await?))
}

/// Sends `request` for `target` (a path with its query) and gives the answer's head with its body still to come.
pub async fn carry(
    server: &Arc<Server>,
    to: &Backend,
    target: &str,
    mut request: Request<Body>,
) -> Result<Response<Body>, CarryError> {
    let stream = timeout(CONNECT_TIMEOUT, connect(to))
        .await
        .map_err(|_| backend("connecting took too long"))?
        .map_err(backend)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(backend)?;
    server.tasks().spawn(async move {
        if let Err(e) = connection.with_upgrades().await {
            tracing::debug!(error = %e, "a connection to a backend ended");
        }
    });
    let upgrading = request.headers().contains_key(header::UPGRADE);
    let client = upgrading.then(|| hyper::upgrade::on(&mut request));
    let outgoing = rewrite(request, to, target).map_err(CarryError::Request)?;
    let mut answer = sender.send_request(outgoing).await.map_err(backend)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(strip(answer.map(Body::new)));
    }
    let other = hyper::upgrade::on(&mut answer);
    let Some(client) = client else {
        return Err(backend("it switched protocols unasked"));
    };
    server.tasks().spawn(async move {
        let (client, other) = match tokio::try_join!(client, other) {
            Ok(both) => both,
            Err(e) => {
                tracing::debug!(error = %e, "an upgrade to a backend failed");
                return;
            }
        };
        let (mut client, mut other) = (TokioIo::new(client), TokioIo::new(other));
        if let Err(e) = tokio::io::copy_bidirectional(&mut client, &mut other).await {
            tracing::debug!(error = %e, "a stream to a backend broke");
        }
    });
    let (parts, _) = answer.into_parts();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = parts.headers;
    Ok(response)
}

/// The request as the backend gets it: its own path, the name that the client has asked, none of its credentials.
fn rewrite(request: Request<Body>, to: &Backend, target: &str) -> Result<Request<Body>, Status> {
    let (mut parts, body) = request.into_parts();
    let path: PathAndQuery =
        target.parse().map_err(|_| Status::bad_request("the request has a malformed path"))?;
    parts.uri = http::Uri::from(path);
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    for h in HOP_HEADERS {
        parts.headers.remove(h);
    }
    parts.headers.remove(header::AUTHORIZATION);
    if !parts.headers.contains_key(header::HOST)
        && let Ok(v) = HeaderValue::from_str(&format!("{}:{}", to.host, to.port))
    {
        parts.headers.insert(header::HOST, v);
    }
    Ok(Request::from_parts(parts, body))
}

fn strip(mut response: Response<Body>) -> Response<Body> {
    for h in HOP_HEADERS {
        response.headers_mut().remove(h);
    }
    response.headers_mut().remove(header::CONNECTION);
    response
}
