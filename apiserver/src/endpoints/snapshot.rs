//! `/skiff/snapshot`: the whole store as a file, for who may ask for any path: it holds every secret.

use std::sync::Arc;

use api_types::status::Status;
use axum::body::Body;
use futures::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};

use super::respond::{self, Answer};
use crate::server::Server;
use crate::storage::snapshot;

/// The path. RBAC judges it as a non-resource URL: nobody but `cluster-admin` has it.
pub(crate) const PATH: &str = "/skiff/snapshot";

/// Streams a snapshot as of now. When the store fails on the way the connection is cut, so that nobody takes a part
/// for the whole; when it fails at once, that is the answer.
pub(crate) async fn answer(server: &Arc<Server>) -> Answer {
    let mut parts = Box::pin(snapshot::stream(server.registry().storage().clone()));
    let first = match parts.next().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => {
            tracing::error!(error = %crate::registry::chain(&error), "a snapshot cannot be taken");
            return Err(Status::internal("the store cannot be copied now"));
        }
        None => return Err(Status::internal("the store gave nothing to copy")),
    };
    let body = Body::from_stream(stream::iter([Ok(first)]).chain(parts));
    let mut answer = respond::text(StatusCode::OK, body);
    let media = HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(answer)
}
