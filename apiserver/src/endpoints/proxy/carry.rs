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
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::server::Server;

/// How long a backend may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to end its stream once the backend has.
const GOODBYE: Duration = Duration::from_secs(10);

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
        match tokio::try_join!(client, other) {
            Ok((client, other)) => join(TokioIo::new(client), TokioIo::new(other)).await,
            Err(e) => tracing::debug!(error = %e, "an upgrade to a backend failed"),
        }
    });
    let (parts, _) = answer.into_parts();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = parts.headers;
    Ok(response)
}

/// Carries bytes both ways until both sides have ended. A side that breaks has ended: what it has sent before still
/// reaches the other, whose end is a proper one.
async fn join(client: impl Stream, other: impl Stream) {
    let (client_in, client_out) = tokio::io::split(client);
    let (other_in, other_out) = tokio::io::split(other);
    let (up, down) = (pass(client_in, other_out), pass(other_in, client_out));
    tokio::pin!(up, down);
    tokio::select! {
        // A client that has said all may still be told a lot.
        () = &mut up => down.await,
        () = &mut down => {
            if timeout(GOODBYE, up).await.is_err() {
                tracing::debug!("a client does not end its stream, it is cut");
            }
        }
    }
}

/// Passes on what comes, then the end.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    if let Err(e) = tokio::io::copy(&mut from, &mut to).await {
        tracing::debug!(error = %e, "a stream to a backend broke");
    }
    if let Err(e) = to.shutdown().await {
        tracing::debug!(error = %e, "the end of a stream was not passed on");
    }
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncReadExt, BufStream, ReadBuf, duplex};

    use super::*;

    /// Breaks where others end, as TLS does without a farewell.
    struct Breaking<S>(S);

    impl<S: AsyncRead + Unpin> AsyncRead for Breaking<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.0).poll_read(cx, buf);
            match read {
                Poll::Ready(Ok(())) if buf.filled().len() == before => {
                    Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
                }
                other => other,
            }
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Breaking<S> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn what_a_backend_has_said_arrives_although_it_breaks() {
        let (mut client, client_side) = duplex(1 << 16);
        let (mut backend, backend_side) = duplex(1 << 16);
        // What is written to the client stays in a buffer until it is flushed.
        let joined = tokio::spawn(join(BufStream::new(client_side), Breaking(backend_side)));
        client.write_all(b"question").await.unwrap();
        let mut question = [0; 8];
        backend.read_exact(&mut question).await.unwrap();
        assert_eq!(&question, b"question");
        backend.write_all(b"answer").await.unwrap();
        drop(backend);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        drop(client);
        joined.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_has_said_all_is_still_told() {
        let (mut client, client_side) = duplex(64);
        let (mut backend, backend_side) = duplex(64);
        let joined = tokio::spawn(join(client_side, backend_side));
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        backend.read_to_end(&mut heard).await.unwrap();
        backend.write_all(b"late").await.unwrap();
        drop(backend);
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"late");
        joined.await.unwrap();
    }
}
