//! The embedded store: one process, one redb file in a directory.
//!
//! Owns the file exclusively. Reads run on the caller's side against redb's snapshots; writes go through
//! one [`writer`] thread. `kill -9` at any moment loses no acknowledged write and tears nothing: what is
//! not committed is not there.

mod apply;
mod compact;
#[cfg(test)]
mod crash;
mod db;
#[cfg(test)]
mod depth;
mod file;
mod history;
mod read;
mod restore;
mod tables;
mod watch;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::apply::{MAX_REQUEST, Write};
use self::db::{Db, classify, classify_open};
use self::tables::{DbResult, META_COMPACTED, META_REVISION, Tables};
use self::writer::{Committed, Op, OpKind, Writer};
use super::{Entry, ListOptions, ListPage, Revision, Storage, StorageError, TimesLeft, WatchStream};

pub use self::restore::{Restored, restore};

/// Writes that may wait for the writer.
const QUEUE: usize = 1_024;
/// Commits a watch may lag behind before it goes back to the file.
const LIVE: usize = 32;

/// How the embedded store is opened.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The directory it owns exclusively; made if missing.
    pub dir: PathBuf,
    /// History younger than this is kept.
    pub history: Duration,
    /// Unless the history holds more than this many bytes.
    pub history_bytes: u64,
    /// Bytes of redb's page cache.
    pub cache_bytes: usize,
}

impl EmbeddedOptions {
    /// The defaults: five minutes of history, at most 256 MiB of it; 8 MiB of page cache.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            history: Duration::from_secs(300),
            history_bytes: 256 << 20,
            cache_bytes: 8 << 20,
        }
    }
}

/// What the writer, the readers and the watches share.
#[derive(Debug)]
struct Shared {
    options: EmbeddedOptions,
    db: Db,
    /// Revision of the last committed write.
    committed: AtomicU64,
    /// Compaction has been asked for up to here.
    compact_to: AtomicU64,
}

impl Shared {
    fn place(&self) -> String {
        self.options.dir.display().to_string()
    }

    fn read<T>(
        &self,
        operation: &'static str,
        f: impl FnOnce(&Tables) -> DbResult<T>,
    ) -> Result<T, StorageError> {
        self.db.read(f).map_err(|e| classify(operation, &self.place(), &e))
    }

    /// For reads long enough to be in the way of other tasks.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        f: impl FnOnce(&Tables) -> DbResult<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let shared = self.clone();
        tokio::task::spawn_blocking(move || shared.read(operation, f))
            .await
            .map_err(|e| StorageError::Failed { operation, source: e.into() })?
    }
}

/// The embedded store. Dropping it closes it, after the writes that wait have been answered.
#[derive(Debug)]
pub struct EmbeddedStorage {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Op>,
    live: broadcast::WeakSender<Arc<Committed>>,
    stop: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedStorage {
    /// Opens or makes the store. Blocking, a few milliseconds for a small one.
    ///
    /// [`StorageError::Locked`] when another process has it open.
    pub fn open(options: EmbeddedOptions) -> Result<Self, StorageError> {
        let dir = options.dir.clone();
        let failed =
            |source: std::io::Error| StorageError::Failed { operation: "open", source: source.into() };
        std::fs::create_dir_all(&dir).map_err(failed)?;
        let name = |e: redb::Error| classify_open(&dir, &e);
        let db = Db::open(dir.join("store.redb"), options.cache_bytes).map_err(name)?;
        let (committed, compacted) = db
            .read(|tables| Ok((tables.meta(META_REVISION)?, tables.meta(META_COMPACTED)?)))
            .map_err(name)?;
        let shared = Arc::new(Shared {
            options,
            db,
            committed: AtomicU64::new(committed),
            compact_to: AtomicU64::new(compacted),
        });
        let (queue, ops) = mpsc::channel(QUEUE);
        let (live, _) = broadcast::channel(LIVE);
        let weak = live.downgrade();
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let thread = {
            let (shared, stop) = (shared.clone(), stop.clone());
            let run = move || match runtime.block_on(async { Writer::new(shared, ops, live, stop) }) {
                Ok(writer) => runtime.block_on(writer.run()),
                Err(error) => tracing::error!(%error, "the store's writer could not start"),
            };
            std::thread::Builder::new().name("store-writer".into()).spawn(run).map_err(failed)?
        };
        Ok(Self { shared, queue, live: weak, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Answers the writes that wait, then closes the file and releases the directory. Blocking.
    /// Afterwards every operation is [`StorageError::Unavailable`].
    pub fn close(&self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
        // If the writer never ran or panicked, the file is still open.
        self.shared.db.close();
    }

    async fn submit(
        &self,
        operation: &'static str,
        key: &str,
        kind: OpKind,
    ) -> Result<Revision, StorageError> {
        let (reply, answer) = oneshot::channel();
        let closed = || StorageError::Unavailable { operation, source: "the store is closed".into() };
        self.queue.send(Op { kind, reply }).await.map_err(|_| closed())?;
        // The writer answers everything it takes; it is gone without an answer only if it panicked.
        answer.await.unwrap_or_else(|_| {
            let source = "the store's writer is gone".into();
            Err(StorageError::Ambiguous { operation, key: key.to_owned(), source })
        })
    }
}

impl Drop for EmbeddedStorage {
    fn drop(&mut self) {
        self.close();
    }
}

fn check_size(operation: &'static str, key: &str, value: &Bytes) -> Result<(), StorageError> {
    let size = key.len() + value.len();
    if size <= MAX_REQUEST {
        return Ok(());
    }
    Err(StorageError::TooLarge { operation, key: key.to_owned(), size, limit: MAX_REQUEST })
}

#[async_trait]
impl Storage for EmbeddedStorage {
    async fn current_revision(&self) -> Result<Revision, StorageError> {
        Ok(self.shared.committed.load(Ordering::Acquire))
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        self.shared.read("get", |tables| read::get(tables, key))
    }

    async fn list(&self, prefix: &str, options: ListOptions) -> Result<ListPage, StorageError> {
        let prefix = prefix.to_owned();
        self.shared.blocking("list", move |tables| read::list(tables, &prefix, &options)).await?
    }

    async fn export(
        &self,
        prefix: &str,
        options: ListOptions,
    ) -> Result<(ListPage, TimesLeft), StorageError> {
        let prefix = prefix.to_owned();
        let now = super::snapshot::now_ms();
        self.shared.blocking("export", move |tables| read::export(tables, &prefix, &options, now)).await?
    }

    async fn create(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<Revision, StorageError> {
        check_size("create", key, &value)?;
        self.submit("create", key, OpKind::Write(Write::Create { key: key.into(), value, ttl })).await
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        ttl: Option<Duration>,
    ) -> Result<Revision, StorageError> {
        check_size("update", key, &value)?;
        self.submit("update", key, OpKind::Write(Write::Update { key: key.into(), value, expected, ttl }))
            .await
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, StorageError> {
        self.submit("delete", key, OpKind::Write(Write::Delete { key: key.into(), expected })).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<WatchStream, StorageError> {
        let closed =
            || StorageError::Unavailable { operation: "watch", source: "the store is closed".into() };
        let live = self.live.upgrade().ok_or_else(closed)?.subscribe();
        let current = self.shared.committed.load(Ordering::Acquire);
        if from > current {
            return Err(StorageError::FutureRevision { requested: from, current });
        }
        let oldest = self.shared.read("watch", |tables| tables.meta(META_COMPACTED))?;
        if from < oldest {
            return Err(StorageError::Compacted { requested: from, oldest });
        }
        Ok(watch::start(self.shared.clone(), live, prefix, from))
    }

    async fn compact(&self, revision: Revision) -> Result<(), StorageError> {
        let current = self.shared.committed.load(Ordering::Acquire);
        if revision > current {
            return Err(StorageError::FutureRevision { requested: revision, current });
        }
        self.submit("compact", "", OpKind::Compact(revision)).await.map(|_| ())
    }

    async fn size(&self) -> Result<Option<u64>, StorageError> {
        let size = self.shared.db.size();
        size.map(Some).map_err(|source| StorageError::Failed { operation: "size", source: source.into() })
    }
}

#[cfg(test)]
mod tests;
