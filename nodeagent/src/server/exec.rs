//! `/exec` and `/attach`.
//!
//! A SPDY client is joined to the runtime's own SPDY server byte by byte. A WebSocket client speaking
//! `v5.channel.k8s.io` or `v4.channel.k8s.io` is bridged: its channels become the streams of a SPDY connection to
//! the runtime, which does not know v5 (the half-close of standard input).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use k8s_cri::v1;

use super::containers::{self, Refusal};
use super::proxy;
use super::spdy::session::{self, Received, StreamType};
use crate::pod::context::PodContext;

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
const CLOSE: u8 = 255;
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// How long a client may take to answer the end of a stream.
const GOODBYE: Duration = Duration::from_secs(10);

/// What a client wants to run and which streams it wants.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Wanted {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    fn parse(query: &str) -> Wanted {
        let mut wanted = Wanted::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let on = matches!(value.as_ref(), "1" | "true");
            match key.as_ref() {
                "command" => wanted.command.push(value.into_owned()),
                "input" | "stdin" => wanted.stdin |= on,
                "output" | "stdout" => wanted.stdout |= on,
                "error" | "stderr" => wanted.stderr |= on,
                "tty" => wanted.tty |= on,
                _ => {}
            }
        }
        // A terminal has one output.
        wanted.stderr &= !wanted.tty;
        wanted
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.stdin || self.stdout || self.stderr {
            return Ok(());
        }
        Err((StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr".to_owned()))
    }

    fn streams(&self) -> Vec<StreamType> {
        let mut streams = vec![StreamType::Error];
        for (on, stream) in [
            (self.stdin, StreamType::Stdin),
            (self.stdout, StreamType::Stdout),
            (self.stderr, StreamType::Stderr),
            (self.tty, StreamType::Resize),
        ] {
            if on {
                streams.push(stream);
            }
        }
        streams
    }
}

type Names = (String, String, String);
type NamesWithUid = (String, String, String, String);

/// `/exec/{namespace}/{pod}/{container}`.
pub async fn exec(
    State(ctx): State<Arc<PodContext>>,
    Path((namespace, pod, container)): Path<Names>,
    request: Request,
) -> Result<Response, Refusal> {
    start(ctx, namespace, pod, container, request, false).await
}

/// `/exec/{namespace}/{pod}/{uid}/{container}`.
pub async fn exec_uid(
    State(ctx): State<Arc<PodContext>>,
    Path((namespace, pod, _, container)): Path<NamesWithUid>,
    request: Request,
) -> Result<Response, Refusal> {
    start(ctx, namespace, pod, container, request, false).await
}

/// `/attach/{namespace}/{pod}/{container}`.
pub async fn attach(
    State(ctx): State<Arc<PodContext>>,
    Path((namespace, pod, container)): Path<Names>,
    request: Request,
) -> Result<Response, Refusal> {
    start(ctx, namespace, pod, container, request, true).await
}

/// `/attach/{namespace}/{pod}/{uid}/{container}`.
pub async fn attach_uid(
    State(ctx): State<Arc<PodContext>>,
    Path((namespace, pod, _, container)): Path<NamesWithUid>,
    request: Request,
) -> Result<Response, Refusal> {
    start(ctx, namespace, pod, container, request, true).await
}

async fn start(
    ctx: Arc<PodContext>,
    namespace: String,
    pod: String,
    container: String,
    request: Request,
    attach: bool,
) -> Result<Response, Refusal> {
    let wanted = Wanted::parse(request.uri().query().unwrap_or_default());
    wanted.check()?;
    let entry = ctx
        .registry
        .get(&namespace, &pod)
        .ok_or_else(|| (StatusCode::NOT_FOUND, "pod does not exist".to_owned()))?;
    let record = containers::running(&entry, &container)?;
    let url = if attach {
        let Wanted { stdin, stdout, stderr, tty, .. } = wanted;
        ctx.runtime.attach(v1::AttachRequest { container_id: record.id, stdin, tty, stdout, stderr }).await
    } else {
        let Wanted { command, stdin, stdout, stderr, tty } = wanted.clone();
        let call = v1::ExecRequest { container_id: record.id, cmd: command, tty, stdin, stdout, stderr };
        ctx.runtime.exec(call).await
    };
    let url = url.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.message))?;
    if !(is_websocket(&request) && (offers(&request, V5) || offers(&request, V4))) {
        return proxy::pipe(request, &url, &ctx.tasks).await;
    }
    let runtime = proxy::spdy(&url, &["v4.channel.k8s.io"]).await?;
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| (StatusCode::BAD_REQUEST, error.body_text()))?;
    let streams = wanted.streams();
    let stop = ctx.stop.clone();
    Ok(upgrade.protocols([V5, V4]).on_upgrade(async move |socket| {
        let bridged = bridge(socket, TokioIo::new(runtime), &streams);
        tokio::select! {
            () = stop.cancelled() => {}
            result = bridged => if let Err(error) = result {
                tracing::debug!(%error, "remote command stream ended");
            }
        }
    }))
}

/// Whether the request is a WebSocket handshake.
pub fn is_websocket(request: &Request) -> bool {
    request
        .headers()
        .get(UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Whether the client offers a WebSocket subprotocol.
pub fn offers(request: &Request, protocol: &str) -> bool {
    request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offered| offered.trim() == protocol)
}

async fn bridge<S>(socket: WebSocket, runtime: S, streams: &[StreamType]) -> std::io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
{
    let (sender, receiver, writer) = session::open(runtime, streams)?;
    let (sink, source) = socket.split();
    // Input runs on its own: a command that does not read must not keep its output from flowing.
    let input = async {
        let writes = async {
            if let Err(error) = writer.await {
                tracing::trace!(%error, "runtime does not take input any more");
            }
        };
        tokio::join!(from_client(source, sender), writes);
    };
    let output = to_client(receiver, sink);
    tokio::pin!(input, output);
    tokio::select! {
        // Output goes on after the input has ended.
        _ = &mut input => output.await,
        result = &mut output => {
            result?;
            // Cut with something of the client's unread, the connection would be reset, and what the client has not
            // read yet would be lost with it.
            if tokio::time::timeout(GOODBYE, input).await.is_err() {
                tracing::debug!("a client does not end its stream, it is cut");
            }
            Ok(())
        }
    }
}

/// Takes what the client sends until it closes; what the runtime does not want any more is dropped.
async fn from_client(mut source: SplitStream<WebSocket>, sender: session::Sender) {
    let mut wanted = true;
    while let Some(message) = source.next().await {
        let data = match message {
            Ok(Message::Binary(data)) => data,
            Ok(Message::Text(text)) => Bytes::copy_from_slice(text.as_bytes()),
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Close(_)) | Err(_) => return,
        };
        let Some((channel, content)) = data.split_first() else { continue };
        wanted = wanted
            && match *channel {
                STDIN => sender.send(StreamType::Stdin, content).await,
                RESIZE => sender.send(StreamType::Resize, content).await,
                CLOSE if content.first() == Some(&STDIN) => sender.finish(StreamType::Stdin).await,
                _ => true,
            };
    }
}

async fn to_client<S>(
    mut receiver: session::Receiver<S>,
    mut sink: SplitSink<WebSocket, Message>,
) -> std::io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite,
{
    let mut outcome = BytesMut::new();
    loop {
        let (channel, data) = match receiver.next().await? {
            Some(Received::Data(StreamType::Stdout, data)) => (STDOUT, data),
            Some(Received::Data(StreamType::Stderr, data)) => (STDERR, data),
            Some(Received::Data(StreamType::Error, data)) => {
                outcome.extend_from_slice(&data);
                continue;
            }
            // The outcome is the last thing the runtime says.
            Some(Received::End(StreamType::Error)) | None => break,
            Some(Received::Data(..) | Received::End(_)) => continue,
        };
        sink.send(framed(channel, &data)).await.map_err(std::io::Error::other)?;
    }
    if !outcome.is_empty() {
        sink.send(framed(ERROR, &outcome)).await.map_err(std::io::Error::other)?;
    }
    sink.send(Message::Close(Some(axum::extract::ws::CloseFrame { code: 1000, reason: "".into() })))
        .await
        .map_err(std::io::Error::other)
}

fn framed(channel: u8, data: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(data.len() + 1);
    message.put_u8(channel);
    message.extend_from_slice(data);
    Message::Binary(message.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_kubelets_and_of_clients_are_understood() {
        let wanted = Wanted::parse("command=sh&command=-c&command=echo+%24A&input=1&output=1&error=1&tty=1");
        assert_eq!(wanted.command, ["sh", "-c", "echo $A"]);
        assert!(wanted.stdin && wanted.stdout && wanted.tty && !wanted.stderr);
        assert_eq!(
            Wanted::parse("stdout=true&stderr=true").streams(),
            [StreamType::Error, StreamType::Stdout, StreamType::Stderr]
        );
        assert!(Wanted::parse("command=x").check().is_err());
    }
}
