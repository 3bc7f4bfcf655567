//! `/containerLogs`: the log of a container, as `kubectl logs` asks for it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::containers::{self, Refusal};
use crate::logs::format::Stream;
use crate::logs::read::{self, Options};
use crate::pod::context::PodContext;
use crate::pod::spec;

const CHUNKS: usize = 16;

fn options(query: &HashMap<String, String>) -> Result<Options, Refusal> {
    let flag = |name: &str| query.get(name).is_some_and(|value| matches!(value.as_str(), "true" | "1"));
    let invalid = |name: &str| (StatusCode::UNPROCESSABLE_ENTITY, format!("invalid {name}"));
    let number = |name: &'static str| -> Result<Option<i64>, Refusal> {
        query.get(name).map(|value| value.parse().map_err(|_| invalid(name))).transpose()
    };
    let since_seconds = number("sinceSeconds")?.filter(|seconds| *seconds > 0);
    let since_time = query
        .get("sinceTime")
        .map(|time| time.parse::<Timestamp>().map_err(|_| invalid("sinceTime")))
        .transpose()?;
    Ok(Options {
        follow: flag("follow"),
        tail: number("tailLines")?.and_then(|lines| u64::try_from(lines).ok()),
        since: since_time
            .or_else(|| since_seconds.map(|seconds| Timestamp::now() - SignedDuration::from_secs(seconds))),
        timestamps: flag("timestamps"),
        limit: number("limitBytes")?.and_then(|bytes| u64::try_from(bytes).ok()),
        stream: match query.get("stream").map(String::as_str) {
            Some("Stdout") => Some(Stream::Stdout),
            Some("Stderr") => Some(Stream::Stderr),
            _ => None,
        },
    })
}

/// The handler.
pub async fn handle(
    State(ctx): State<Arc<PodContext>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let options = options(&query)?;
    let previous = query.get("previous").is_some_and(|value| matches!(value.as_str(), "true" | "1"));
    let entry = ctx
        .registry
        .get(&namespace, &pod)
        .ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod \"{pod}\" does not exist")))?;
    let pod_spec = spec::spec(&entry.pod);
    if spec::find_container(&pod_spec, &container).is_none() {
        return Err((StatusCode::NOT_FOUND, format!("container \"{container}\" not found in pod \"{pod}\"")));
    }
    let state = entry.state.borrow().clone();
    let record = containers::record(&state, &pod, &container, previous)?;
    let running =
        containers::follow_running(entry.state.clone(), record.id.clone(), container, ctx.stop.clone());
    let (sink, source) = mpsc::channel(CHUNKS);
    ctx.tasks.spawn(read::stream(record.log_path.into(), options, running, sink));
    let body = Body::from_stream(ReceiverStream::new(source));
    Ok(([(CONTENT_TYPE, "text/plain")], body).into_response())
}
