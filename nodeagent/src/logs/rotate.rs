//! Rotation of container logs: 10 MiB a file, five files a container. Checked when a log has grown, which inotify
//! would report per write; a slow timer (upstream's ten seconds, here a minute, only while something runs) is
//! cheaper and bounds the overshoot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::pod::context::PodContext;
use crate::runtime::RunState;

/// Size from which a log is rotated.
pub const MAX_SIZE: u64 = 10 << 20;
/// Files kept for a container, the present one included.
pub const MAX_FILES: usize = 5;
const PERIOD: Duration = Duration::from_secs(60);

/// Rotates logs until the agent stops.
pub async fn run(ctx: Arc<PodContext>) {
    let stop = ctx.stop.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        for entry in ctx.registry.list() {
            let state = entry.state.borrow().clone();
            for record in state.containers.values().filter_map(|records| records.first()) {
                if record.state != RunState::Running || record.log_path.is_empty() {
                    continue;
                }
                let path = PathBuf::from(&record.log_path);
                if std::fs::metadata(&path).is_ok_and(|meta| meta.len() >= MAX_SIZE) {
                    rotate(&ctx, &path, &record.id).await;
                }
            }
        }
    }
}

async fn rotate(ctx: &PodContext, path: &Path, id: &str) {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    let rotated = PathBuf::from(format!("{}.{stamp}", path.display()));
    if let Err(error) = std::fs::rename(path, &rotated) {
        tracing::warn!(%error, path = %path.display(), "log not rotated");
        return;
    }
    if let Err(error) = ctx.runtime.reopen_log(id).await {
        tracing::warn!(%error, path = %path.display(), "log not reopened, taking it back");
        if let Err(error) = std::fs::rename(&rotated, path) {
            tracing::warn!(%error, path = %rotated.display(), "rotated log not taken back");
        }
        return;
    }
    let mut old = rotated_files(path);
    old.sort();
    let surplus = old.len().saturating_sub(MAX_FILES - 1);
    for file in old.into_iter().take(surplus) {
        remove(&file);
    }
}

/// The rotated files of a log.
pub fn rotated_files(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().map(|name| format!("{}.", name.to_string_lossy())) else {
        return Vec::new();
    };
    let Some(Ok(entries)) = path.parent().map(std::fs::read_dir) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&name))
        .map(|entry| entry.path())
        .collect()
}

/// Removes a log and what was rotated out of it.
pub fn remove_with_rotated(path: &Path) {
    for file in rotated_files(path) {
        remove(&file);
    }
    remove(path);
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(%error, path = %path.display(), "log not removed"),
    }
}
