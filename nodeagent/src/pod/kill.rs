//! Ending containers and whole pods, and reading how they ended.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use k8s_cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::context::PodContext;
use super::hooks;
use super::spec::{self, Kind};
use super::state::Containers;
use crate::events::EventType;
use crate::logs::read::tail_text;
use crate::runtime::{ContainerRecord, RunState, RuntimeError, SandboxRecord, labels};

const MESSAGE_FILE_LIMIT: u64 = 4096;
const MESSAGE_LOG_LIMIT: usize = 2048;
const MESSAGE_LOG_LINES: usize = 80;

/// What the runtime knows of a pod.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Newest sandbox.
    pub sandbox: Option<SandboxRecord>,
    /// Older sandboxes.
    pub old_sandboxes: Vec<String>,
    /// Containers.
    pub containers: Containers,
}

/// Reads everything the runtime knows of a pod.
pub async fn read_pod(ctx: &PodContext, uid: &str) -> Result<Known, RuntimeError> {
    let mut sandboxes = ctx.runtime.list_sandboxes(Some(uid)).await?;
    sandboxes.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.created_at));
    let mut known = Known::default();
    let mut ids = sandboxes.into_iter().map(|sandbox| sandbox.id);
    if let Some(id) = ids.next() {
        known.sandbox = match ctx.runtime.sandbox_status(&id).await {
            Ok(record) => Some(record),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
    }
    known.old_sandboxes = ids.collect();
    let listed = ctx.runtime.list_containers(Some(uid)).await?;
    for record in join_all(listed.iter().map(|container| read_container(ctx, &container.id))).await {
        match record {
            Ok(record) => known.containers.entry(record.name.clone()).or_default().push(record),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    for records in known.containers.values_mut() {
        records.sort_by_key(|record| std::cmp::Reverse(record.created_at));
    }
    Ok(known)
}

/// Reads one container, with its termination message if it has ended.
pub async fn read_container(ctx: &PodContext, id: &str) -> Result<ContainerRecord, RuntimeError> {
    let mut record = ctx.runtime.container_status(id).await?;
    if record.state == RunState::Exited && ctx.files {
        add_termination_message(&mut record).await;
    }
    Ok(record)
}

/// Reads a container whose process has ended; the runtime may take a moment to know it itself.
pub async fn read_ended(ctx: &PodContext, id: &str) -> Option<ContainerRecord> {
    let mut delay = Duration::from_millis(2);
    for _ in 0..12 {
        match read_container(ctx, id).await {
            Ok(record) if record.state == RunState::Running => {}
            Ok(record) => return Some(record),
            Err(error) if error.is_not_found() => return None,
            Err(error) => tracing::debug!(%error, "cannot read an ended container"),
        }
        tokio::time::sleep(delay).await;
        delay *= 2;
    }
    None
}

async fn add_termination_message(record: &mut ContainerRecord) {
    use tokio::io::AsyncReadExt;
    if let Some(path) = &record.termination_file
        && let Ok(file) = tokio::fs::File::open(path).await
    {
        let mut text = Vec::new();
        match file.take(MESSAGE_FILE_LIMIT).read_to_end(&mut text).await {
            Ok(0) => {}
            Ok(_) => {
                record.message = String::from_utf8_lossy(&text).into_owned();
                return;
            }
            Err(error) => tracing::debug!(%error, path, "cannot read a termination message"),
        }
    }
    if record.message_from_logs && record.exit_code != 0 && record.message.is_empty() {
        let path = record.log_path.clone();
        let text = tokio::task::spawn_blocking(move || {
            tail_text(path.as_ref(), MESSAGE_LOG_LINES, MESSAGE_LOG_LIMIT)
        })
        .await;
        match text {
            Ok(Ok(text)) => record.message = text,
            Ok(Err(error)) => tracing::debug!(%error, "no log for a termination message"),
            Err(error) => tracing::debug!(%error, "reading a log was cancelled"),
        }
    }
}

/// Ends one container: event, preStop hook, stop signal, SIGKILL when the grace period is over.
pub async fn kill_container(
    ctx: &PodContext,
    pod: &Pod,
    id: &str,
    name: &str,
    message: String,
    grace: Duration,
    pre_stop: bool,
) -> Result<(), RuntimeError> {
    let spec = spec::spec(pod);
    let found = spec::find_container(&spec, name);
    let kind = found.as_ref().map_or(Kind::Regular, |(kind, _)| *kind);
    ctx.container_event(pod, kind, name, EventType::Normal, "Killing", message);
    let began = tokio::time::Instant::now();
    let hook = found
        .as_ref()
        .and_then(|(_, container)| container.lifecycle.as_ref())
        .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let (Some(hook), Some((_, container)), true) = (hook, &found, pre_stop) {
        let ip = ctx.registry.get(spec::namespace(pod), spec::name(pod)).and_then(|entry| {
            entry.state.borrow().sandbox.as_ref().and_then(|sandbox| sandbox.ips.first().cloned())
        });
        match tokio::time::timeout(grace, hooks::run(ctx, pod, container, id, ip.as_deref(), hook)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(error, container = name, "preStop hook failed");
                ctx.container_event(
                    pod,
                    kind,
                    name,
                    EventType::Warning,
                    "FailedPreStopHook",
                    "PreStopHook failed",
                );
            }
            Err(_) => tracing::debug!(container = name, "preStop hook did not end within the grace period"),
        }
    }
    // Upstream leaves two seconds to a process whose hook used up the whole grace period.
    let left =
        grace.saturating_sub(began.elapsed()).max(Duration::from_secs(if hook.is_some() { 2 } else { 0 }));
    match ctx.runtime.stop_container(id, left).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Ends everything of a pod: regular containers together, then sidecars last to first, then the sandboxes.
pub async fn kill_pod(
    ctx: &PodContext,
    pod: &Pod,
    grace: Duration,
    pre_stop: bool,
) -> Result<Known, RuntimeError> {
    let uid = spec::uid(pod);
    let spec = spec::spec(pod);
    let began = tokio::time::Instant::now();
    let sidecars: Vec<String> = spec::init_containers(&spec)
        .filter(|(kind, _)| *kind == Kind::Sidecar)
        .map(|(_, container)| container.name.clone())
        .collect();
    let mut live: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in ctx.runtime.list_containers(Some(uid)).await? {
        if matches!(
            container.state(),
            v1::ContainerState::ContainerRunning | v1::ContainerState::ContainerUnknown
        ) {
            let name = container.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default();
            live.entry(name).or_default().push(container.id);
        }
    }
    let kill = |name: String, id: String| async move {
        let left = grace.saturating_sub(began.elapsed()).max(Duration::from_secs(1));
        let message = format!("Stopping container {name}");
        kill_container(ctx, pod, &id, &name, message, left, pre_stop).await
    };
    let first: Vec<_> = live
        .iter()
        .filter(|(name, _)| !sidecars.contains(name))
        .flat_map(|(name, ids)| ids.iter().map(|id| kill(name.clone(), id.clone())))
        .collect();
    for result in join_all(first).await {
        result?;
    }
    for name in sidecars.iter().rev() {
        for id in live.get(name).into_iter().flatten() {
            kill(name.clone(), id.clone()).await?;
        }
    }
    let sandboxes = ctx.runtime.list_sandboxes(Some(uid)).await?;
    for result in join_all(sandboxes.iter().map(|sandbox| ctx.runtime.stop_sandbox(&sandbox.id))).await {
        match result {
            Err(error) if !error.is_not_found() => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    read_pod(ctx, uid).await
}

/// Removes what the runtime still has of a pod.
pub async fn remove_pod(ctx: &PodContext, uid: &str) -> Result<(), RuntimeError> {
    for sandbox in ctx.runtime.list_sandboxes(Some(uid)).await? {
        match ctx.runtime.stop_sandbox(&sandbox.id).await {
            Err(error) if !error.is_not_found() => return Err(error),
            Ok(()) | Err(_) => {}
        }
        ctx.runtime.remove_sandbox(&sandbox.id).await?;
    }
    Ok(())
}
