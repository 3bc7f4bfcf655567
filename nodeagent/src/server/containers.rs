//! Finds the container a request is about.

use axum::http::StatusCode;
use tokio::sync::watch;

use crate::pod::registry::Entry;
use crate::pod::spec;
use crate::pod::state::PodState;
use crate::runtime::{ContainerRecord, RunState};
use std::sync::Arc;

/// An answer that is an error.
pub type Refusal = (StatusCode, String);

/// The newest record of a container; `previous` asks for the one before.
pub fn record(
    state: &PodState,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<ContainerRecord, Refusal> {
    let records = state.containers.get(container).map(Vec::as_slice).unwrap_or_default();
    let found = if previous {
        match records.first() {
            // While it waits for its restart, the newest one is the previous one.
            Some(newest) if newest.state != RunState::Running => Some(newest),
            _ => records.get(1),
        }
    } else {
        records.first()
    };
    found.cloned().ok_or_else(|| {
        let message = if previous {
            format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")
        } else {
            match state.waiting.get(container) {
                Some(waiting) => format!(
                    "container \"{container}\" in pod \"{pod}\" is waiting to start: {}",
                    if waiting.message.is_empty() { &waiting.reason } else { &waiting.message }
                ),
                None => format!(
                    "container \"{container}\" in pod \"{pod}\" is waiting to start: ContainerCreating"
                ),
            }
        };
        (StatusCode::BAD_REQUEST, message)
    })
}

/// The running container of that name.
pub fn running(entry: &Entry, container: &str) -> Result<ContainerRecord, Refusal> {
    let state: Arc<PodState> = entry.state.borrow().clone();
    let spec = spec::spec(&entry.pod);
    if spec::find_container(&spec, container).is_none() {
        let message = format!("container {container} is not valid for pod {}", spec::name(&entry.pod));
        return Err((StatusCode::BAD_REQUEST, message));
    }
    match state.latest(container) {
        Some(record) if record.state == RunState::Running => Ok(record.clone()),
        _ => Err((StatusCode::NOT_FOUND, format!("container not found (\"{container}\")"))),
    }
}

/// Follows whether a container runs, until it does not.
pub fn follow_running(
    mut state: watch::Receiver<Arc<PodState>>,
    id: String,
    name: String,
    stop: tokio_util::sync::CancellationToken,
) -> watch::Receiver<bool> {
    let runs = move |state: &PodState| {
        state
            .containers
            .get(&name)
            .into_iter()
            .flatten()
            .any(|record| record.id == id && record.state != RunState::Exited)
    };
    let (sender, receiver) = watch::channel(runs(&state.borrow()));
    tokio::spawn(async move {
        while *sender.borrow() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sender.closed() => return,
                changed = state.changed() => {
                    let running = changed.is_ok() && runs(&state.borrow_and_update());
                    sender.send_if_modified(|known| std::mem::replace(known, running) != running);
                }
            }
        }
    });
    receiver
}
