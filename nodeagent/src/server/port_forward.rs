//! `/portForward`: SPDY straight through to the runtime; in a WebSocket (`SPDY/3.1+portforward.k8s.io`) the same
//! bytes are taken out of its messages.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::containers::Refusal;
use super::exec::{is_websocket, offers};
use super::proxy;
use crate::pod::context::PodContext;

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const BLOCK: usize = 32 * 1024;

/// `/portForward/{namespace}/{pod}`.
pub async fn handle(
    State(ctx): State<Arc<PodContext>>,
    Path((namespace, pod)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    start(ctx, namespace, pod, request).await
}

/// `/portForward/{namespace}/{pod}/{uid}`.
pub async fn handle_uid(
    State(ctx): State<Arc<PodContext>>,
    Path((namespace, pod, _)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    start(ctx, namespace, pod, request).await
}

fn ports(query: &str) -> Vec<i32> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| matches!(key.as_ref(), "port" | "ports"))
        .flat_map(|(_, value)| value.split(',').filter_map(|port| port.parse().ok()).collect::<Vec<_>>())
        .collect()
}

async fn start(
    ctx: Arc<PodContext>,
    namespace: String,
    pod: String,
    request: Request,
) -> Result<Response, Refusal> {
    let entry = ctx
        .registry
        .get(&namespace, &pod)
        .ok_or_else(|| (StatusCode::NOT_FOUND, "pod does not exist".to_owned()))?;
    let sandbox = entry.state.borrow().sandbox.clone().filter(|sandbox| sandbox.ready);
    let sandbox = sandbox.ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod {pod} is not running")))?;
    let url = ctx
        .runtime
        .port_forward(&sandbox.id, ports(request.uri().query().unwrap_or_default()))
        .await
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.message))?;
    if !(is_websocket(&request) && offers(&request, TUNNEL)) {
        return proxy::pipe(request, &url, &ctx.tasks).await;
    }
    let runtime = proxy::spdy(&url, &["portforward.k8s.io"]).await?;
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| (StatusCode::BAD_REQUEST, error.body_text()))?;
    let stop = ctx.stop.clone();
    Ok(upgrade.protocols([TUNNEL]).on_upgrade(async move |socket| {
        tokio::select! {
            () = stop.cancelled() => {}
            result = tunnel(socket, runtime) => if let Err(error) = result {
                tracing::debug!(%error, "port-forward ended");
            }
        }
    }))
}

async fn tunnel(socket: WebSocket, runtime: Upgraded) -> std::io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(runtime));
    let (mut sink, mut source) = socket.split();
    let inbound = async {
        while let Some(message) = source.next().await {
            match message.map_err(std::io::Error::other)? {
                Message::Binary(data) => writer.write_all(&data).await?,
                Message::Text(text) => writer.write_all(text.as_bytes()).await?,
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(_) => break,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    let outbound = async {
        loop {
            let mut block = BytesMut::with_capacity(BLOCK);
            if reader.read_buf(&mut block).await? == 0 {
                return sink.close().await.map_err(std::io::Error::other);
            }
            sink.send(Message::Binary(block.freeze())).await.map_err(std::io::Error::other)?;
        }
    };
    tokio::select! {
        result = inbound => result,
        result = outbound => result,
    }
}
