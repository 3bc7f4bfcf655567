//! Wake-ups from the runtime: which container ended.
//!
//! Newer runtimes stream them over CRI (`GetContainerEvents`); containerd 1.6 does not, but streams the exits of
//! its tasks over its own Events service on the same socket. Either way an event only says *look at this one*;
//! the state is read with a CRI call afterwards. After every (re)connection [`RuntimeEvent::Resync`] is sent, so
//! that nothing missed in between stays unseen.

use std::path::PathBuf;
use std::time::Duration;

use k8s_cri::v1;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::uri::PathAndQuery;

use super::RuntimeEvent;
use super::cri::{CriRuntime, channel};

#[derive(Clone, PartialEq, prost::Message)]
struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

/// containerd's envelope around an event (`containerd.services.events.v1.Envelope`).
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    topic: String,
    #[prost(message, optional, tag = "4")]
    event: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `containerd.events.TaskExit` (tag 2 is the exec's id) and `TaskDelete` (same meaning, other tags).
#[derive(Clone, PartialEq, prost::Message)]
struct TaskExit {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(string, tag = "2")]
    id: String,
}

const RETRY: Duration = Duration::from_millis(100);
const SETTLE: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Sends the runtime's events to `sink` until cancelled; reconnects with back-off.
pub async fn run(
    socket: PathBuf,
    runtime: CriRuntime,
    sink: mpsc::Sender<RuntimeEvent>,
    stop: CancellationToken,
) {
    let mut delay = RETRY;
    let mut use_cri = true;
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = session(&socket, &runtime, &sink, &mut use_cri) => ended,
        };
        match ended {
            Ok(()) => delay = RETRY,
            Err(status) => tracing::debug!(%status, "runtime event stream ended"),
        }
        if sink.is_closed() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(RETRY_MAX),
        }
    }
}

async fn session(
    socket: &std::path::Path,
    runtime: &CriRuntime,
    sink: &mpsc::Sender<RuntimeEvent>,
    use_cri: &mut bool,
) -> Result<(), tonic::Status> {
    if *use_cri {
        match opened(runtime.container_events(), sink).await {
            Ok(stream) => return cri_session(stream, sink).await,
            Err(status) if status.code() == tonic::Code::Unimplemented => *use_cri = false,
            Err(status) => return Err(status),
        }
    }
    containerd_session(socket, sink).await
}

/// Awaits the opening of a stream. A Go server sends the stream's header with the first message only, so the
/// call may stay open without an answer for as long as nothing happens: the resync is sent after a moment.
async fn opened<T>(
    call: impl Future<Output = Result<T, tonic::Status>>,
    sink: &mpsc::Sender<RuntimeEvent>,
) -> Result<T, tonic::Status> {
    let mut call = std::pin::pin!(call);
    match tokio::time::timeout(SETTLE, &mut call).await {
        Ok(answer) => {
            let stream = answer?;
            send(sink, RuntimeEvent::Resync).await?;
            Ok(stream)
        }
        Err(_) => {
            send(sink, RuntimeEvent::Resync).await?;
            call.await
        }
    }
}

async fn cri_session(
    mut stream: tonic::Streaming<v1::ContainerEventResponse>,
    sink: &mpsc::Sender<RuntimeEvent>,
) -> Result<(), tonic::Status> {
    while let Some(event) = stream.message().await? {
        if event.container_event_type() == v1::ContainerEventType::ContainerStoppedEvent {
            send(sink, RuntimeEvent::Exited { id: event.container_id }).await?;
        }
    }
    Ok(())
}

async fn containerd_session(
    socket: &std::path::Path,
    sink: &mpsc::Sender<RuntimeEvent>,
) -> Result<(), tonic::Status> {
    let mut client = tonic::client::Grpc::new(channel(socket));
    client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let filters = vec![r#"namespace==k8s.io,topic=="/tasks/exit""#.to_owned()];
    let path = PathAndQuery::from_static("/containerd.services.events.v1.Events/Subscribe");
    let codec: tonic_prost::ProstCodec<SubscribeRequest, Envelope> = tonic_prost::ProstCodec::default();
    let request = tonic::Request::new(SubscribeRequest { filters });
    let mut stream = opened(client.server_streaming(request, path, codec), sink).await?.into_inner();
    while let Some(envelope) = stream.message().await? {
        let Some(event) = envelope.event else { continue };
        match <TaskExit as prost::Message>::decode(event.value.as_slice()) {
            // The exit of an exec'd process has its own id; only the container's own process matters.
            Ok(exit) if exit.id == exit.container_id || exit.id.is_empty() => {
                send(sink, RuntimeEvent::Exited { id: exit.container_id }).await?;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, topic = envelope.topic, "undecodable runtime event"),
        }
    }
    Ok(())
}

async fn send(sink: &mpsc::Sender<RuntimeEvent>, event: RuntimeEvent) -> Result<(), tonic::Status> {
    sink.send(event).await.map_err(|_| tonic::Status::cancelled("agent stopped"))
}
