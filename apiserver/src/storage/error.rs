//! What can go wrong in a store, named so that callers can tell what they may do about it.

use std::path::PathBuf;

use super::{Entry, Revision};

/// Failure of a storage operation. Unless the variant says otherwise, nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A create found the key.
    #[error("create {key}: the key exists")]
    KeyExists {
        /// The key.
        key: String,
    },
    /// An update or delete found no key.
    #[error("{operation} {key}: the key does not exist")]
    NotFound {
        /// What was tried.
        operation: &'static str,
        /// The key.
        key: String,
    },
    /// An update or delete found another revision than expected.
    #[error("{operation} {key}: expected revision {expected}, found {}", current.revision)]
    Conflict {
        /// What was tried.
        operation: &'static str,
        /// The key.
        key: String,
        /// The revision the caller expected.
        expected: Revision,
        /// The entry as it is, so that a caller may retry without reading.
        current: Box<Entry>,
    },
    /// History before `oldest` is gone.
    #[error("revision {requested} has been compacted, the oldest is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: Revision,
        /// The oldest revision that can be asked for.
        oldest: Revision,
    },
    /// The revision has not been reached.
    #[error("revision {requested} is in the future, the current one is {current}")]
    FutureRevision {
        /// The revision asked for.
        requested: Revision,
        /// The current revision.
        current: Revision,
    },
    /// The value or key exceeds what the backend takes.
    #[error("{operation} {key}: {size} bytes are more than the store takes ({limit})")]
    TooLarge {
        /// What was tried.
        operation: &'static str,
        /// The key.
        key: String,
        /// Its size.
        size: usize,
        /// The backend's limit.
        limit: usize,
    },
    /// The medium is full: writes fail, reads go on.
    #[error("{operation}: no space left for the store {place}")]
    NoSpace {
        /// What was tried.
        operation: &'static str,
        /// Path or endpoints.
        place: String,
    },
    /// Another process uses the data directory.
    #[error("data directory {} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The store cannot be reached or is closing; retrying later may help.
    #[error("{operation}: the store is unavailable")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A write was sent, its outcome is unknown: it may have been applied.
    #[error("{operation} {key}: the outcome is unknown")]
    Ambiguous {
        /// What was tried.
        operation: &'static str,
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The store itself failed (I/O, corruption); retrying does not help.
    #[error("{operation}: the store failed")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
}

/// A boxed cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl StorageError {
    /// Whether the same call may succeed later without the caller changing it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NoSpace { .. })
    }
}
