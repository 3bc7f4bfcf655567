//! A copy of the whole store in one file, the same for every backend.
//!
//! The file, all numbers little-endian:
//!
//! | part | bytes |
//! |---|---|
//! | magic | `SKIFFSNP` |
//! | version of the format | u32, 1 |
//! | revision that the copy is exact at | u64 |
//! | when it was made | u64, unix time in ms |
//! | a record a key, in key order | u32 length of the key (never 0), u32 length of the value, u64 expiry (unix ms, 0: never), key, value |
//! | end | u32 0, u64 number of records |
//! | checksum | SHA-256 of everything before it |
//!
//! A file is checked to its last byte before anything is made of it. A copy holds every secret of the cluster, and
//! nothing of the PKI.
//!
//! Restored keys get new revisions, all of them later than any that was handed out before, and history begins after
//! them: a client that goes on with a revision from before is told 410.

mod read;
mod save;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Revision, StorageError};

pub use read::{Reader, Record, check};
pub use save::stream;

const MAGIC: [u8; 8] = *b"SKIFFSNP";
const VERSION: u32 = 1;
/// Keys and values longer than this are none that a store has taken.
const MAX_PART: u32 = 8 << 20;

/// What is copied: what upstream keeps its objects under, and so do we.
pub const PREFIX: &str = "/registry/";

/// The newest revision a client can be given: resource versions are signed to many of them.
pub const MAX_REVISION: Revision = i64::MAX as Revision;

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The revision it is exact at.
    pub revision: Revision,
    /// When it was made.
    pub made: SystemTime,
    /// How many keys it holds.
    pub keys: u64,
}

/// A snapshot cannot be written, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store fails.
    #[error("copying the store")]
    Storage(#[from] StorageError),
    /// A file fails.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is a snapshot of a version that is not known here.
    #[error("{} is a snapshot of format {found}; this version of skiff reads format {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is no snapshot, or not all of one, or was altered.
    #[error("{} is no whole snapshot: {why}; take another copy of it, or another snapshot", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The store it would be restored into holds something.
    #[error("{place} is not empty")]
    NotEmpty {
        /// Directory or endpoints.
        place: String,
    },
    /// Revisions would exceed what clients understand.
    #[error("revision {from} cannot be raised by {by}")]
    Bump {
        /// The revision to start from.
        from: Revision,
        /// By how much.
        by: u64,
    },
}

/// The revision that `revision` is raised to, with room for `keys` more.
pub(super) fn raise(revision: Revision, by: u64, keys: u64) -> Result<Revision, SnapshotError> {
    let base = revision.checked_add(by);
    let fits = |base: &Revision| base.checked_add(keys).is_some_and(|last| last < MAX_REVISION);
    base.filter(fits).ok_or(SnapshotError::Bump { from: revision, by })
}

/// Unix time in milliseconds.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms.min(u64::from(u32::MAX) * 1_000))
}

#[cfg(test)]
mod tests;
