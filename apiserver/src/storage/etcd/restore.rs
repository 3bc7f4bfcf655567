//! Fills an empty etcd from a snapshot, through its API.
//!
//! etcd's revision cannot be set from outside: it is raised by writing. For a raise by millions, restore etcd's own
//! snapshot with its own tool (`etcdutl snapshot restore --bump-revision --mark-compacted`).

use std::path::Path;
use std::time::Duration;

use etcd_client::Error;
use futures::{StreamExt, TryStreamExt, stream};

use super::EtcdStorage;
use super::error::of_write;
use crate::storage::snapshot::{PREFIX, Reader, SnapshotError, check, now_ms, raise};
use crate::storage::{ListOptions, Revision, Storage};

/// Outside of what API servers read.
const RAISING: &str = "skiff/restoring";
/// Writes under way at once.
const AT_ONCE: usize = 64;
/// Writes that are still a matter of minutes.
pub const MAX_RAISE: u64 = 2_000_000;

impl EtcdStorage {
    /// Writes what the snapshot in `file` holds, into an etcd that has nothing under `/registry/`. Its revision is
    /// raised first, past the snapshot's by `bump`; history begins after the last key. Returns the revision then.
    ///
    /// An etcd with objects is refused ([`SnapshotError::NotEmpty`]), and so is a raise by more than [`MAX_RAISE`].
    pub async fn restore(&self, file: &Path, bump: u64) -> Result<Revision, SnapshotError> {
        let path = file.to_owned();
        let read =
            tokio::task::spawn_blocking(move || check(&path).and_then(|s| Ok((s, Reader::open(&path)?))));
        let (summary, mut reader) = read.await.map_err(|e| self.failed(e.to_string()))??;
        let one = ListOptions { limit: Some(1), ..ListOptions::default() };
        let found = self.list(PREFIX, one).await?;
        if !found.entries.is_empty() {
            return Err(SnapshotError::NotEmpty { place: self.place.clone() });
        }
        self.raise_to(found.revision, raise(summary.revision, bump, summary.keys)?).await?;
        loop {
            let (back, records) = tokio::task::spawn_blocking(move || {
                let mut records = Vec::new();
                while records.len() < AT_ONCE {
                    match reader.next() {
                        Ok(Some(record)) => records.push(record),
                        Ok(None) => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok((reader, records))
            })
            .await
            .map_err(|e| self.failed(e.to_string()))??;
            reader = back;
            if records.is_empty() {
                break;
            }
            let now = now_ms();
            let live = records.into_iter().filter(|r| r.expires == 0 || r.expires > now);
            let writes = live.map(|record| async move {
                let left = Duration::from_millis(record.expires.saturating_sub(now));
                self.create(&record.key, record.value, (record.expires != 0).then_some(left)).await
            });
            stream::iter(writes).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        }
        let revision = self.current_revision().await?;
        self.compact(revision).await?;
        Ok(revision)
    }

    async fn raise_to(&self, now: Revision, target: Revision) -> Result<(), SnapshotError> {
        let missing = target.saturating_sub(now);
        if missing > MAX_RAISE {
            return Err(SnapshotError::Bump { from: now, by: missing });
        }
        let writes = (0..missing).map(|_| async {
            let mut kv = self.members.current().kv;
            let put = tokio::time::timeout(self.timeout, kv.put(RAISING, "", None)).await;
            let error = match put {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => Error::IoError(std::io::ErrorKind::TimedOut.into()),
            };
            Err(of_write("raise the revision", RAISING, 0, &self.place, error))
        });
        stream::iter(writes).buffer_unordered(AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
        if missing > 0 {
            let mut kv = self.members.current().kv;
            let deleted = kv.delete(RAISING, None).await;
            deleted.map_err(|error| of_write("raise the revision", RAISING, 0, &self.place, error))?;
        }
        Ok(())
    }

    fn failed(&self, why: String) -> SnapshotError {
        crate::storage::StorageError::Failed { operation: "restore", source: why.into() }.into()
    }
}
