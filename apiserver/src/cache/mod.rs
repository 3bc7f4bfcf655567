//! The watch cache: every object the store holds, encoded once, and the events of the recent past.
//!
//! Owns one watch of the whole key space, which it demultiplexes to a [`ResourceCache`] a resource.
//! What wakes it: events of the store. Invariants:
//! - one applied revision for all resources: once `applied_revision()` is R, every resource's snapshot
//!   contains every event up to R, and every watcher has been handed them;
//! - a snapshot is immutable and exact at its revision; readers take no lock;
//! - a watcher sees every event of its scope after its starting revision once, in order, or is ended
//!   with a reason.

mod feed;
mod form;
pub mod index;
pub mod object;
mod resource;
mod ring;
mod snapshot;
pub mod splice;
#[cfg(test)]
mod tests;
mod watcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::storage::{Revision, Storage, StorageError, WatchEvent};
pub use index::{FieldDef, ObjectIndex};
pub use object::{CacheEvent, CachedObject, EventKind};
pub use resource::{IngestError, ResourceCache, ResourceStats};
pub use snapshot::Snapshot;
pub use watcher::{CacheWatcher, WatchEnded, WatchScope};

/// A resource to cache.
#[derive(Debug, Clone)]
pub struct ResourceConfig {
    /// Storage prefix with its final slash, e.g. `/registry/pods/`.
    pub prefix: String,
    /// Whether keys are `<prefix><namespace>/<name>`.
    pub namespaced: bool,
    /// Fields that selectors may name besides `metadata.name` and `metadata.namespace`. Pods must have
    /// `spec.nodeName` among them for watchers of a node to be served.
    pub fields: &'static [FieldDef],
}

/// What the cache holds and how much of it.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// The prefix watched.
    pub root: String,
    /// The resources; keys of other prefixes are ignored. No prefix may be the start of another.
    pub resources: Vec<ResourceConfig>,
    /// Entries asked for at once when everything is listed. etcd counts all that are left for every page.
    pub page: usize,
    /// Events kept a resource at most.
    pub history_events: usize,
    /// Bytes of objects no longer current that a resource's events may hold.
    pub history_bytes: usize,
    /// Events older than this are dropped when new ones arrive, but for the newest few.
    pub history_age: Duration,
    /// Events a watcher may lag behind before it is ended.
    pub watcher_buffer: usize,
    /// How long a consistent read waits for the cache.
    pub read_timeout: Duration,
}

impl CacheConfig {
    /// The defaults for these resources.
    #[must_use]
    pub fn new(resources: Vec<ResourceConfig>) -> Self {
        Self {
            root: "/registry/".to_owned(),
            resources,
            page: 5_000,
            history_events: 16_384,
            history_bytes: 16 << 20,
            history_age: Duration::from_secs(300),
            watcher_buffer: 1_024,
            read_timeout: Duration::from_secs(3),
        }
    }
}

/// Failure of a cached read.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The cache did not reach the revision in time (upstream: `Too large resource version`).
    #[error("the cache is at revision {applied}, {wanted} was asked for")]
    Behind {
        /// Asked for.
        wanted: Revision,
        /// Reached.
        applied: Revision,
    },
    /// The store failed.
    #[error("reading the current revision")]
    Storage(#[source] StorageError),
}

/// The revision asked for precedes the events kept: list again.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("too old resource version: {requested} ({oldest})")]
pub struct Gone {
    /// Asked for.
    pub requested: Revision,
    /// The oldest revision a watch can start from.
    pub oldest: Revision,
}

/// All resources' caches.
pub struct Cache {
    storage: Arc<dyn Storage>,
    root: String,
    /// Sorted by prefix.
    resources: Vec<Arc<ResourceCache>>,
    page: usize,
    read_timeout: Duration,
    /// The same number twice: for readers that only look, and for those that wait.
    applied: Arc<AtomicU64>,
    /// `None` until the first list is complete.
    reached: watch::Sender<Option<Revision>>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("root", &self.root)
            .field("resources", &self.resources.len())
            .field("applied", &self.applied_revision())
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// Makes the cache; nothing is read until [`Cache::run`] is polled.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, mut config: CacheConfig) -> Arc<Self> {
        config.resources.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        let applied = Arc::new(AtomicU64::new(0));
        let bounds = ring::Bounds {
            events: config.history_events,
            bytes: config.history_bytes,
            age: config.history_age,
        };
        let resource = |c| ResourceCache::new(c, bounds, config.watcher_buffer, applied.clone());
        let resources = config.resources.into_iter().map(resource).collect();
        Arc::new(Self {
            storage,
            root: config.root,
            page: config.page,
            resources,
            read_timeout: config.read_timeout,
            applied,
            reached: watch::Sender::new(None),
        })
    }

    /// Lists, then follows the store until `stop`; survives failures of the store. At the end all
    /// watchers are told [`WatchEnded::Stopped`].
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        feed::run(&self, stop).await;
        for resource in &self.resources {
            resource.with_watchers(|watchers| watchers.end_all(WatchEnded::Stopped));
        }
    }

    /// Waits for the first list to be complete.
    pub async fn ready(&self) {
        // Cannot fail: `self` keeps the sender.
        drop(self.reached.subscribe().wait_for(Option::is_some).await);
    }

    /// Whether the first list is complete.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reached.borrow().is_some()
    }

    /// The resource with this storage prefix.
    #[must_use]
    pub fn resource(&self, prefix: &str) -> Option<&Arc<ResourceCache>> {
        let at = self.resources.binary_search_by(|r| r.config().prefix.as_str().cmp(prefix)).ok()?;
        Some(&self.resources[at])
    }

    /// All resources, sorted by prefix.
    #[must_use]
    pub fn resources(&self) -> &[Arc<ResourceCache>] {
        &self.resources
    }

    /// The revision all snapshots have reached.
    #[must_use]
    pub fn applied_revision(&self) -> Revision {
        self.applied.load(Ordering::Acquire)
    }

    /// Waits until `revision` is applied.
    pub async fn wait_until(&self, revision: Revision, timeout: Duration) -> Result<(), CacheError> {
        if self.applied_revision() >= revision && self.is_ready() {
            return Ok(());
        }
        let mut reached = self.reached.subscribe();
        let wait = reached.wait_for(|now| now.is_some_and(|now| now >= revision));
        match tokio::time::timeout(timeout, wait).await {
            Ok(_) => Ok(()),
            Err(_) => Err(CacheError::Behind { wanted: revision, applied: self.applied_revision() }),
        }
    }

    /// Makes what follows a consistent read: afterwards snapshots contain every write acknowledged
    /// before the call. Returns the store's revision.
    pub async fn read_consistent(&self) -> Result<Revision, CacheError> {
        let revision = self.storage.current_revision().await.map_err(CacheError::Storage)?;
        self.wait_until(revision, self.read_timeout).await?;
        Ok(revision)
    }

    /// The resource a key belongs to.
    fn position(&self, key: &str) -> Option<usize> {
        let at = self.resources.partition_point(|r| r.config().prefix.as_str() <= key).checked_sub(1)?;
        key.starts_with(&self.resources[at].config().prefix).then_some(at)
    }

    /// Applies one item of the store's watch to all resources, then makes its last revision the applied one.
    fn apply(&self, events: Vec<WatchEvent>) {
        let Some(last) = events.last().map(|event| event.revision) else { return };
        let mut parts: Vec<(usize, Vec<WatchEvent>)> = Vec::new();
        for event in events {
            let Some(at) = self.position(&event.key) else { continue };
            match parts.iter_mut().find(|(part, _)| *part == at) {
                Some((_, part)) => part.push(event),
                None => parts.push((at, vec![event])),
            }
        }
        for (at, part) in parts {
            self.resources[at].apply(part);
        }
        self.publish(last);
    }

    fn publish(&self, revision: Revision) {
        self.applied.store(revision, Ordering::Release);
        self.reached.send_replace(Some(revision));
    }
}
