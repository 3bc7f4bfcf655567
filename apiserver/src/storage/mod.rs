//! The store: a small, linearizable, revisioned key-value map with a history window.
//!
//! Owns the [`Storage`] trait, which is the whole contract between the API server and whatever keeps
//! its data, and the two backends behind it: [`embedded`] (one process, one file) and [`etcd`] (v3 API).
//! One suite (`contract`) runs on both.
//!
//! Invariants every backend keeps:
//! - every successful write has a revision of its own, larger than that of every write acknowledged
//!   before it; revisions never go back, not over restarts either;
//! - an acknowledged write is durable;
//! - a watch delivers every event after its starting revision once, in revision order, or ends with
//!   an error; it never skips silently.
//!
//! Keys follow upstream's layout (`/registry/<resource>/[<namespace>/]<name>`); values are opaque.

#[cfg(test)]
pub(crate) mod contract;
pub mod embedded;
pub mod error;
pub mod etcd;
pub mod measured;
pub mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use error::StorageError;

/// A store revision. 0 is never the revision of a write.
pub type Revision = u64;

/// One live key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The full key.
    pub key: Arc<str>,
    /// Revision of the last write of this key.
    pub revision: Revision,
    /// Revision that created this incarnation of the key.
    pub create_revision: Revision,
    /// The stored bytes.
    pub value: Bytes,
}

/// What [`Storage::list`] should return. The default is everything, now.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Exactly this revision; `None` is the current one (linearizable).
    pub revision: Option<Revision>,
    /// At most this many entries.
    pub limit: Option<usize>,
    /// Only keys strictly greater than this one.
    pub start_after: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct ListPage {
    /// The revision the page is exact at; pass it as [`ListOptions::revision`] for the next page.
    pub revision: Revision,
    /// Entries in key order.
    pub entries: Vec<Entry>,
    /// Whether keys with the prefix follow after the last entry.
    pub more: bool,
    /// How many follow, when the backend knows without reading them.
    pub remaining: Option<u64>,
}

/// How long each entry of a page has left to live, in the page's order; `None` for ever.
pub type TimesLeft = Vec<Option<Duration>>;

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    /// Revision of the write.
    pub revision: Revision,
    /// The key written.
    pub key: Arc<str>,
    /// The new value; `None` when the key was deleted (or expired).
    pub value: Option<Bytes>,
    /// Whether the write created the key.
    pub create: bool,
}

/// What a watch delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// Changes in revision order. Never empty, and a revision is never split over two items.
    Events(Vec<WatchEvent>),
    /// Every event up to and including this revision has been delivered.
    Progress(Revision),
}

/// A running watch. Ends after the first error; dropping it stops the watch.
pub type WatchStream = BoxStream<'static, Result<WatchItem, StorageError>>;

/// The store. Object-safe; used as `Arc<dyn Storage>`.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// The current revision: at least that of every write acknowledged before the call.
    async fn current_revision(&self) -> Result<Revision, StorageError>;

    /// The key's current value; linearizable.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError>;

    /// Keys that start with `prefix`, in byte order, all at one revision.
    ///
    /// [`StorageError::Compacted`] when the revision asked for is older than the history kept,
    /// [`StorageError::FutureRevision`] when it has not been reached.
    async fn list(&self, prefix: &str, options: ListOptions) -> Result<ListPage, StorageError>;

    /// As [`Storage::list`], with how long each entry has left to live, for a copy of the store. Of an entry that was
    /// replaced since the revision asked for, it is the time of its successor.
    async fn export(&self, prefix: &str, options: ListOptions)
    -> Result<(ListPage, TimesLeft), StorageError>;

    /// Creates `key`. With `ttl`, the key expires (is deleted, with an event) not before that long;
    /// it may live somewhat longer.
    ///
    /// [`StorageError::KeyExists`] when it exists.
    async fn create(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<Revision, StorageError>;

    /// Replaces the value of `key` if its last write has revision `expected`. The time to live is
    /// replaced too: `None` means the key no longer expires.
    ///
    /// [`StorageError::Conflict`] (with the current entry) when it was written since,
    /// [`StorageError::NotFound`] when it does not exist.
    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        ttl: Option<Duration>,
    ) -> Result<Revision, StorageError>;

    /// Deletes `key` if its last write has revision `expected`; errors as for [`Storage::update`].
    /// Returns the revision of the deletion.
    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision, StorageError>;

    /// Events of keys that start with `prefix`, after revision `from` (exclusive). `from` 0 is not
    /// special: it asks for the whole history and is compacted unless the store is that young.
    ///
    /// Gap-free and in order over reconnects. A reader that falls behind costs the store nothing but
    /// a re-read of its history; it fails with [`StorageError::Compacted`] once that has been
    /// dropped (the call or the first item says so). `from` may be at most the current revision
    /// ([`StorageError::FutureRevision`]).
    ///
    /// Writes that change none of the watch's keys are reported as [`WatchItem::Progress`], promptly, so
    /// that a reader can wait for any revision the store has reached.
    async fn watch(&self, prefix: &str, from: Revision) -> Result<WatchStream, StorageError>;

    /// Forgets history before `revision`: afterwards lists at it and watches from it still work, older
    /// ones may be [`StorageError::Compacted`]. Idempotent; an older revision is a no-op.
    async fn compact(&self, revision: Revision) -> Result<(), StorageError>;

    /// Bytes the store takes on its medium, where known (metrics).
    async fn size(&self) -> Result<Option<u64>, StorageError>;
}
