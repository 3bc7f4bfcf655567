//! The TLS listener. One task a connection; all end when the server stops, politely first.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::{Server, linger};
use crate::authn::ConnectionIdentity;

/// How long a client may take to finish its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections at once.
const MAX_CONNECTIONS: usize = 20_000;
/// Requests at once on one HTTP/2 connection, as upstream bounds them (CVE-2023-44487).
const MAX_STREAMS: u32 = 100;
/// Size of all headers of a request.
const MAX_HEADERS: usize = 64 * 1024;

/// Where a request comes from, among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub IpAddr);

impl Server {
    /// Serves connections until the server stops.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Arc<ServerConfig>) {
        let acceptor = TlsAcceptor::from(tls);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let stop = self.stopping();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok((stream, peer)) => (stream, PeerAddress(peer.ip())),
                Err(e) => {
                    // Out of file descriptors, most likely: others must end before more can begin.
                    tracing::warn!(error = %e, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                tracing::warn!("too many connections, one is refused");
                continue;
            };
            let (server, acceptor) = (self.clone(), acceptor.clone());
            self.tasks().spawn(async move {
                server.connection(stream, peer, acceptor).await;
                drop(place);
            });
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: PeerAddress, acceptor: TlsAcceptor) {
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!(error = %e, "TCP_NODELAY was refused");
        }
        let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(e)) => {
                tracing::debug!(error = %e, "a TLS handshake failed");
                return;
            }
            Err(_) => return,
        };
        let identity = ConnectionIdentity::new(tls.get_ref().1.peer_certificates()).map(Arc::new);
        let stop = self.stopping();
        let server = self.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if let Some(identity) = &identity {
                request.extensions_mut().insert(identity.clone());
            }
            let server = server.clone();
            async move {
                let handler = |request| async move { server.handle(request).await };
                Ok::<_, std::convert::Infallible>(linger::answer(request, handler).await)
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADERS as u32)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(15));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(e) = ended {
            tracing::debug!(error = %e, "a connection ended");
        }
    }
}
