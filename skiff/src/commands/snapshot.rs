//! `skiff snapshot`: all objects in one file, and a store made of it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use apiserver::EtcdOptions;
use apiserver::storage::Storage;
use apiserver::storage::embedded::{self, EmbeddedOptions, EmbeddedStorage};
use apiserver::storage::etcd::EtcdStorage;
use apiserver::storage::snapshot::{self, SnapshotError, Summary};
use futures::{AsyncReadExt, StreamExt};
use tokio::io::AsyncWriteExt;

use crate::assemble;
use crate::cli::{SnapshotCommand, StoreArgs};
use crate::credentials;
use crate::lock::{self, Lock};
use crate::paths::{self, Paths};
use crate::say::say;

/// How far revisions are raised when nobody says: what etcd's manual advises.
const BUMP: u64 = 1_000_000_000;
/// With etcd each costs a write.
const BUMP_ETCD: u64 = 10_000;

/// Saves or restores.
pub async fn snapshot(command: &SnapshotCommand) -> Result<ExitCode> {
    match command {
        SnapshotCommand::Save { dirs, store, file } => {
            let summary = save(&Paths::from(dirs), store, file).await?;
            say!("{}: {} objects at revision {}", file.display(), summary.keys, summary.revision);
            say!("Keep it secret, and {} with it.", Paths::from(dirs).pki().display());
        }
        SnapshotCommand::Restore { dirs, store, force, bump_revision, file } => {
            let file = file.clone();
            match assemble::etcd_options(store) {
                Some(options) => restore_etcd(options, &file, bump_revision.unwrap_or(BUMP_ETCD)).await?,
                None => {
                    let (paths, force) = (Paths::from(dirs), *force);
                    let bump = bump_revision.unwrap_or(BUMP);
                    tokio::task::spawn_blocking(move || restore_embedded(&paths, &file, bump, force))
                        .await
                        .context("restoring")??;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the file beside its place first, so that a save that fails leaves the last one.
async fn save(paths: &Paths, store: &StoreArgs, file: &Path) -> Result<Summary> {
    let dir = match file.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let part =
        tempfile::NamedTempFile::new_in(dir).with_context(|| format!("writing to {}", dir.display()))?;
    let mut out = tokio::fs::File::from_std(part.reopen().context("opening the new file")?);
    match assemble::etcd_options(store) {
        Some(options) => {
            let options = EtcdOptions { compaction_interval: None, ..options };
            let storage = EtcdStorage::connect(options).await.context("reaching etcd")?;
            copy(Arc::new(storage), &mut out).await?;
        }
        None if lock::holder(paths).is_some() => download(paths, &mut out).await?,
        None => {
            if !paths.store().join("store.redb").exists() {
                bail!(
                    "there is no store in {}; name its --data-dir, or --etcd-endpoints",
                    paths.data.display()
                );
            }
            let _lock = Lock::take(paths)?;
            let options = EmbeddedOptions::new(paths.store());
            let opened = tokio::task::spawn_blocking(move || EmbeddedStorage::open(options)).await;
            copy(Arc::new(opened.context("opening the store")??), &mut out).await?;
        }
    }
    out.sync_all().await.context("writing the snapshot")?;
    let target = file.to_owned();
    let kept = tokio::task::spawn_blocking(move || keep(part, &target)).await;
    kept.context("writing the snapshot")?
}

/// Checks what was written and puts it in its place.
fn keep(part: tempfile::NamedTempFile, file: &Path) -> Result<Summary> {
    let summary = snapshot::check(part.path()).context("the copy is not whole; try again")?;
    part.persist(file).with_context(|| format!("writing {}", file.display()))?;
    let dir = file.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    let synced = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(|| format!("syncing {}", dir.display()))?;
    Ok(summary)
}

async fn copy(storage: Arc<dyn Storage>, out: &mut tokio::fs::File) -> Result<()> {
    let mut parts = Box::pin(snapshot::stream(storage));
    while let Some(part) = parts.next().await {
        out.write_all(&part?).await.context("writing the snapshot")?;
    }
    Ok(())
}

/// From the server that has the store open.
async fn download(paths: &Paths, out: &mut tokio::fs::File) -> Result<()> {
    let client = credentials::from_kubeconfig(&paths.admin_kubeconfig(), "skiff").await?;
    let request = http::Request::get("/skiff/snapshot").body(Vec::new())?;
    let mut input =
        Box::pin(client.request_stream(request).await.context("asking the running server for a copy")?);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read =
            input.read(&mut buffer).await.context("the running server broke the copy off; try again")?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..read]).await.context("writing the snapshot")?;
    }
}

fn restore_embedded(paths: &Paths, file: &Path, bump: u64, force: bool) -> Result<()> {
    paths::private_dir(&paths.data).with_context(|| format!("making {}", paths.data.display()))?;
    let _lock = Lock::take(paths)?;
    let restored = match embedded::restore(&paths.store(), file, bump, force) {
        Err(e @ SnapshotError::NotEmpty { .. }) => {
            return Err(e)
                .context("there is a store already; --force moves it aside, or choose another --data-dir");
        }
        other => other?,
    };
    paths::private_dir(&paths.store()).context("closing the store to others")?;
    say!("{} holds the snapshot; revisions go on from {}", paths.store().display(), restored.revision);
    if let Some(before) = restored.before {
        say!("The store that was there is in {}", before.display());
    }
    if !paths.pki().exists() {
        say!(
            "{} is missing: the next start makes new certificates, and tokens of before are no longer accepted. Put the old one there to keep them.",
            paths.pki().display()
        );
    }
    Ok(())
}

async fn restore_etcd(options: EtcdOptions, file: &Path, bump: u64) -> Result<()> {
    let place = options.endpoints.join(",");
    let options = EtcdOptions { compaction_interval: None, ..options };
    let storage = EtcdStorage::connect(options).await.context("reaching etcd")?;
    match storage.restore(file, bump).await {
        Ok(revision) => say!("etcd at {place} holds the snapshot; revisions go on from {revision}"),
        Err(e @ SnapshotError::NotEmpty { .. }) => {
            return Err(e).context(
                "stop every API server and empty etcd first (etcdctl del --prefix /registry/), or start a new one",
            );
        }
        Err(e @ SnapshotError::Bump { .. }) => {
            return Err(e).context(
                "every revision costs etcd a write; choose a smaller --bump-revision, or restore etcd's own snapshot with etcdutl",
            );
        }
        Err(e) => return Err(e.into()),
    }
    Ok(())
}
