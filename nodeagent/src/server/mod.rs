//! The node's HTTPS server on port 10250: logs, exec, attach, port-forward, pods, metrics. Upstream's kubelet paths.
//!
//! Clients authenticate with a certificate; only the API server's client identity and `system:masters` are let
//! in, everybody may ask `/healthz`.

pub mod auth;
pub mod containers;
pub mod exec;
pub mod logs;
pub mod port_forward;
pub mod proxy;
pub mod spdy;
pub mod stats;
pub mod tls;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::pod::context::PodContext;

/// A bound server.
pub struct Bound {
    /// Its socket.
    pub listener: TcpListener,
    /// TLS; without it everybody is authorised (tests).
    pub tls: Option<TlsAcceptor>,
}

fn router(ctx: Arc<PodContext>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/pods", get(pods))
        .route("/metrics", get(metrics))
        .route("/stats/summary", get(stats::summary))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::handle))
        .route("/exec/{namespace}/{pod}/{container}", any(exec::exec))
        .route("/exec/{namespace}/{pod}/{uid}/{container}", any(exec::exec_uid))
        .route("/attach/{namespace}/{pod}/{container}", any(exec::attach))
        .route("/attach/{namespace}/{pod}/{uid}/{container}", any(exec::attach_uid))
        .route("/portForward/{namespace}/{pod}", any(port_forward::handle))
        .route("/portForward/{namespace}/{pod}/{uid}", any(port_forward::handle_uid))
        .layer(axum::middleware::from_fn(auth::authorize))
        .with_state(ctx)
}

async fn pods(State(ctx): State<Arc<PodContext>>) -> impl IntoResponse {
    let items: Vec<_> = ctx.registry.list().iter().map(|entry| entry.pod.as_ref().clone()).collect();
    axum::Json(serde_json::json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items }))
}

async fn metrics(State(ctx): State<Arc<PodContext>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], ctx.metrics.render())
}

/// Accepts connections until the agent stops.
pub async fn serve(bound: Bound, ctx: Arc<PodContext>) {
    let Bound { listener, tls } = bound;
    let router = router(ctx.clone());
    loop {
        let accepted = tokio::select! {
            () = ctx.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: pausing is all that helps.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (router, tls, stop) = (router.clone(), tls.clone(), ctx.stop.clone());
        ctx.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, tls, router) => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%error, "nodelay");
    }
    match tls {
        None => http(stream, auth::Client::trusted(), router).await,
        Some(acceptor) => {
            let handshake = tokio::time::timeout(std::time::Duration::from_secs(10), acceptor.accept(stream));
            match handshake.await {
                Ok(Ok(stream)) => {
                    let client = auth::Client::from_certificates(stream.get_ref().1.peer_certificates());
                    http(stream, client, router).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => tracing::debug!("TLS handshake timed out"),
            }
        }
    }
}

async fn http<S>(stream: S, client: auth::Client, router: Router)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(client.clone());
        router.clone().oneshot(request)
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::trace!(%error, "connection ended");
    }
}
